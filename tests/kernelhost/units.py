# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts in the guest ask about units; they begin with this text."""

from __future__ import annotations

LOOK = r"""
import subprocess

def said(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout

# No scopes: that of an ssh session which broke off as the machine booted fails.
def failed():
    return said("systemctl", "--failed", "--type=service", "--plain", "--no-legend")

def journal():
    return said("journalctl", "--boot", "--output", "cat", "--unit", "nodedev-restore*")

# Whether the boot engine is at work, or is to be: units have a column for jobs where one of them has one.
def busy():
    units = said("systemctl", "list-units", "--all", "--plain", "nodedev-restore*")
    return any(word in units for word in (" JOB ", "activating", " running "))
"""
