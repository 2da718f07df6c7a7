# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings defined devices back at boot on this host: our boot engine, or for mediated devices mdevctl's udev rule.

The engine is what the role ``persistence`` installs: the library, ``nodedev-restore`` and the units that run it.
"""

from __future__ import annotations

import os
import re

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


def engine_runs() -> bool:
    """Whether the boot engine is installed and enabled."""
    return os.path.exists(ENGINE) and os.path.lexists(ENABLED)


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


def warning(what: str, served_by_mdevctl: bool = False) -> list[str]:
    """That a definition which was written will not be restored, if that is so; ``what`` are such devices in words.

    ``served_by_mdevctl`` says that mdevctl's rule would do as well as the boot engine.
    """
    if engine_runs():
        return []
    lacking = "the boot engine is not installed"
    if served_by_mdevctl:
        broken = broken_rule()
        if broken is None:
            return []
        lacking += f" and {broken}"
    return [f"{what} will not be there after a boot: {lacking}. Apply the role {ROLE} to this host"]
