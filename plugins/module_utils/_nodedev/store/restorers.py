# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings defined devices back at boot on this host: our boot engine, or the udev rule of mdevctl or driverctl.

The engine is what the role ``persistence`` installs: the library, ``nodedev-restore`` and the units that run it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..text import shown

# Below the prefix that the role has found for it, as its unit says.
COMMAND = "sbin/nodedev-restore"
UNIT = "/etc/systemd/system/nodedev-restore.service"
# What can stand in units and scripts as it is.
PREFIX = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)+")
EXECUTED = re.compile(rf"^ExecStart=({PREFIX.pattern})/{COMMAND}(?:\s|$)", re.MULTILINE)
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


@dataclass(frozen=True)
class Peer:
    """Who else restores its own definitions: by a udev rule, in which ``starter`` finds the program that it has run.

    Where the rule starts a unit, ``program`` is what that runs.
    """

    rule: str
    starter: re.Pattern[str]
    program: str | None = None


# By which managed devices come and go with guests. libvirt runs it where it finds it.
HOOK = "/etc/libvirt/hooks/qemu.d/50-nodedev"

PEERS = {
    "mdevctl": Peer("60-mdevctl.rules", re.compile(r"(/\S*mdevctl) start-parent-mdevs")),
    "driverctl": Peer("05-driverctl.rules", re.compile(r"(driverctl)@"), "/usr/sbin/driverctl"),
}


def prefix() -> str | None:
    """The folder below which the boot engine is, as its unit says; None where there is no such unit."""
    try:
        with open(UNIT, encoding="utf-8", errors="replace") as file:
            executed = EXECUTED.search(file.read())
    except OSError:
        return None
    return executed[1] if executed else None


def idle_engine() -> str | None:
    """Why the boot engine restores nothing; None where it will."""
    below = prefix()
    if below is None or not os.path.exists(f"{below}/{COMMAND}"):
        return "the boot engine is not installed"
    if not os.path.lexists(ENABLED):
        return f"the boot engine is installed, and {os.path.basename(ENABLED)} is not enabled"
    return None


def broken_rule(name: str) -> str | None:
    """Why the udev rule of this peer starts nothing; None where it works.

    Debian 12's rule runs /usr/sbin/mdevctl, and the package installs /usr/bin/mdevctl.
    """
    peer = PEERS[name]
    path = next((path for folder in RULE_FOLDERS if os.path.exists(path := f"{folder}/{peer.rule}")), None)
    if path is None:
        return f"no udev rule {peer.rule} of {name} is installed"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = set(peer.starter.findall(file.read()))
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    programs = [peer.program] if found and peer.program else sorted(found)
    missing = [program for program in programs if not os.access(program, os.X_OK)]
    if missing:
        return f"{path} runs {missing[0]}, which is not there"
    return None if programs else f"{path} starts nothing"


def warning(peer: str | None) -> list[str]:
    """That what is defined on this host will not be restored, if that is so; ``peer`` is whose rule would do too.

    It names the host and no device, so that Ansible prints it once for all items of a loop.
    """
    lacking = idle_engine()
    if lacking is not None and peer is not None:
        broken = broken_rule(peer)
        lacking = None if broken is None else f"{lacking} and {broken}"
    if lacking is None:
        return []
    host = shown(os.uname().nodename)
    return [f"what is defined on {host} will not be there after a boot: {lacking}. Apply the role {ROLE} to this host"]


def hook_warning() -> list[str]:
    """That managed devices of this host will not be made for guests, if that is so; it names no device, as above."""
    if os.access(HOOK, os.X_OK):
        return []
    host = shown(os.uname().nodename)
    lacking = f"{HOOK} is not there"
    return [f"what is managed on {host} will not be made for guests: {lacking}. Apply the role {ROLE} to this host"]
