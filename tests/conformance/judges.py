# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirts that judge ours: this machine's, and that of Debian 13, which is unpacked into the cache.

The latter runs where this machine's does, in a mount namespace in which its own programs and libraries stand at /usr:
the same /sys, /run, /dev, /etc and udev records, and the same pci.ids.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kernelhost import paths
from kernelhost.cache import find_or_make, name_for
from kernelhost.debian import TRIXIE
from kernelhost.unpacked import unpack
from simhost import libvirt

PYTHON = "/usr/bin/python3"
# The daemon with the driver and mdevctl, virsh and Python for the dump, and what a script of the host's needs.
PACKAGES = ("libvirt-daemon", "libvirt-daemon-driver-nodedev", "libvirt-clients", "python3-libvirt")
SCRIPTS = ("dash", "coreutils", "libc-bin")
# What libvirt and ours look names up in has to be the same file.
ENTER = 'mount -n --bind /usr/share/misc "$0/usr/share/misc" && mount -n --rbind "$0/usr" /usr && exec "$@"'
# All that the dump imports, so that it is compiled in the cache, which nothing is written to later.
COMPILE = "import json, subprocess, sys, typing, libvirt"


@dataclass(frozen=True)
class Judge:
    """A libvirt by its name in the tests; ``root`` is the folder that it is unpacked in, None if it is installed."""

    name: str
    root: Path | None = None

    @property
    def schema(self) -> Path:
        """libvirt's schema of node devices, of the package libvirt0 or libvirt-common."""
        return (self.root or Path("/")) / "usr/share/libvirt/schemas/nodedev.rng"

    def command(self, arguments: list[str], *unshared: str) -> list[str]:
        """The command that runs another one with this libvirt's programs; more options of unshare."""
        if self.root is None:
            return arguments
        return ["unshare", "--mount", *unshared, "sh", "-c", ENTER, str(self.root), *arguments]

    def outside(self, arguments: list[str]) -> list[str]:
        """The command outside of a host, where only a user namespace gives the right to mount to others than root."""
        return self.command(arguments, *([] if os.geteuid() == 0 else ["--map-root-user"]))

    def runner(self, run: libvirt.Run) -> libvirt.Run:
        """A host's `run` with this libvirt's programs."""
        return lambda arguments, **options: run(self.command(arguments), **options)

    def starter(self, popen: libvirt.Popen) -> libvirt.Popen:
        """A host's `popen` with this libvirt's programs."""
        return lambda arguments, **options: popen(self.command(arguments), **options)


INSTALLED = Judge("installed")
NAMES = (INSTALLED.name, str(TRIXIE))


def find_or_unpack() -> Judge:
    """Debian 13's libvirt for this file as it is now; KernelhostError if neither the cache nor a mirror has it."""
    name = name_for(__file__)
    return Judge(str(TRIXIE), find_or_make(paths.libvirts() / name, f"unpacking {TRIXIE}'s libvirt as {name}", _make))


def _make(work: Path) -> Path:
    root = unpack(work, TRIXIE, (*PACKAGES, *SCRIPTS))
    (root / "usr/share/misc").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""}
    subprocess.run(Judge(str(TRIXIE), root).outside([PYTHON, "-c", COMPILE]), check=True, env=environment)
    return root
