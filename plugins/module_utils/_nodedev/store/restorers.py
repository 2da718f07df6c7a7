# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings defined devices back at boot on this host: our boot engine, or for mediated devices mdevctl's udev rule.

The engine is what the role ``persistence`` installs: the library, ``nodedev-restore`` and the units that run it.
"""

from __future__ import annotations

import os
import re

from ..text import shown

ENGINE = "/usr/sbin/nodedev-restore"
ENABLED = "/etc/systemd/system/multi-user.target.wants/nodedev-restore.service"
ROLE = "hostdev.nodedev.persistence"
# udev reads the first file of a name, in this order (udev(7)).
RULE_FOLDERS = (
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
)
RULE = "60-mdevctl.rules"
STARTER = re.compile(r"(/\S*mdevctl) start-parent-mdevs")


def idle_engine() -> str | None:
    """Why the boot engine restores nothing; None where it will."""
    if not os.path.exists(ENGINE):
        return "the boot engine is not installed"
    if not os.path.lexists(ENABLED):
        return f"the boot engine is installed, and {os.path.basename(ENABLED)} is not enabled"
    return None


def broken_rule() -> str | None:
    """Why mdevctl's udev rule starts nothing; None where it works.

    Debian 12's rule runs /usr/sbin/mdevctl, and the package installs /usr/bin/mdevctl.
    """
    path = next((path for folder in RULE_FOLDERS if os.path.exists(path := f"{folder}/{RULE}")), None)
    if path is None:
        return f"no udev rule {RULE} of mdevctl is installed"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            programs = set(STARTER.findall(file.read()))
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    missing = sorted(program for program in programs if not os.access(program, os.X_OK))
    if missing:
        return f"{path} runs {missing[0]}, which is not there"
    return None if programs else f"{path} starts nothing"


def warning(by_mdevctl: bool) -> list[str]:
    """That what is defined on this host will not be restored, if that is so; ``by_mdevctl`` says whose rule would do.

    It names the host and no device, so that Ansible prints it once for all items of a loop.
    """
    lacking = idle_engine()
    if lacking is not None and by_mdevctl:
        broken = broken_rule()
        lacking = None if broken is None else f"{lacking} and {broken}"
    if lacking is None:
        return []
    host = shown(os.uname().nodename)
    return [f"what is defined on {host} will not be there after a boot: {lacking}. Apply the role {ROLE} to this host"]
