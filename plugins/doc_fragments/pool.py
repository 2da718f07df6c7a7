# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module for pools shares."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: The name of the pool, of up to 64 letters, digits and C(_ . -).
    type: str
    required: true
  identity:
    description:
      - A text of 1 to 255 characters without blanks that stands in for the host's machine-id in the instances' UUIDs or
        WWNs, such as the host's name in the inventory. It makes up for machine-ids that several hosts have, which is a
        warning where it can be told, and lasts when a host is installed anew.
      - It is kept with the pool. That of a pool cannot be changed.
    type: str
"""
