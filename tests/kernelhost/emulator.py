# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 13's QEMU on a Debian 12 machine, for an architecture: that of Debian 12 has no network card with SR-IOV.

Its packages are unpacked into the cache and not installed; the program runs with the C library that came with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import paths
from .cache import find_or_make, name_for
from .debian import TRIXIE
from .steps import tool
from .unpacked import unpack

# By the architecture that is emulated: the packages, and the program in them.
PROGRAMS = {
    "amd64": (("qemu-system-x86", "seabios"), "qemu-system-x86_64"),
    "s390x": (("qemu-system-s390x",), "qemu-system-s390x"),
}
FIRMWARE = ("usr/share/qemu", "usr/share/seabios")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Emulator:
    """QEMU with all that it needs, below a folder whose files are never written to again."""

    root: Path
    program: str

    @property
    def command(self) -> list[str]:
        """The words that start it, as one process; its options follow."""
        libraries = self.root / LIBRARIES
        firmware = [self.root / folder for folder in FIRMWARE if (self.root / folder).exists()]
        return [
            # It would look for its own modules beside the program that /proc/self/exe names: that of the C library.
            *(tool("env"), f"QEMU_MODULE_DIR={libraries / 'qemu'}"),
            *(str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
            str(self.root / "usr/bin" / self.program),
            *(word for folder in firmware for word in ("-L", str(folder))),
        ]

    @property
    def name(self) -> str:
        return self.root.name


def find_or_unpack(architecture: str) -> Emulator:
    """The emulator for this file as it is now, fetched first if the cache does not have it."""
    packages, program = PROGRAMS[architecture]
    name = name_for(__file__)
    what = f"unpacking Debian 13's QEMU for {architecture} as {name}"
    folder = paths.emulators(architecture) / name
    return Emulator(find_or_make(folder, what, lambda work: unpack(work, TRIXIE, packages)), program)
