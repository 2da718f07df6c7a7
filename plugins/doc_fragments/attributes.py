# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module needs on the host, how it behaves and where to read on: with a state, and (FACTS) to read only."""

from __future__ import annotations

# The pages for people who look for more than one module; below the repository of galaxy.yml.
PAGES = r"""
seealso:
  - name: From a bare host to a guest
    description: Two ways through, with all files and commands, for GPUs and for Fibre Channel.
    link: https://example.invalid/hostdev/nodedev/blob/main/docs/start.md
  - name: Troubleshooting
    description: What each message means, what to look at and what to do.
    link: https://example.invalid/hostdev/nodedev/blob/main/docs/troubleshooting.md
  - name: From other tools
    description: The same by mdevctl, virsh or a script, and how to adopt what they left.
    link: https://example.invalid/hostdev/nodedev/blob/main/docs/migration.md
  - name: Results
    description: What all modules return, by which word.
    link: https://example.invalid/hostdev/nodedev/blob/main/docs/results.md
"""


class ModuleDocFragment:
    DOCUMENTATION = (
        PAGES
        + r"""
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
    )

    FACTS = (
        PAGES
        + r"""
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
    )
