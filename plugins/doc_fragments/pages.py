# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wrote the modules, and the pages for who looks for more than one; below the repository of galaxy.yml."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
author:
  - The hostdev.nodedev authors (@hostdev)
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
