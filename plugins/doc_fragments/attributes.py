# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module needs on the host, and how it behaves: with a state, and (FACTS) to read only."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - Linux with sysfs at /sys
  - python >= 3.9
  - pyudev (python3-pyudev)
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or in check mode would change, when diff is asked for.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

    FACTS = r"""
requirements:
  - Linux with sysfs at /sys
  - python >= 3.9
attributes:
  check_mode:
    description: Can run in check_mode; it never changes anything.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: N/A
  facts:
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""
