# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 13's QEMU on a Debian 12 machine: that of Debian 12 emulates no network card with SR-IOV.

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

PACKAGES = ("qemu-system-x86", "seabios")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Emulator:
    """QEMU with all that it needs, below a folder whose files are never written to again."""

    root: Path

    @property
    def command(self) -> list[str]:
        """The words that start it, as one process; its options follow."""
        libraries = self.root / LIBRARIES
        firmware = [self.root / "usr/share/qemu", self.root / "usr/share/seabios"]
        return [
            # It would look for its own modules beside the program that /proc/self/exe names: that of the C library.
            *(tool("env"), f"QEMU_MODULE_DIR={libraries / 'qemu'}"),
            *(str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
            str(self.root / "usr/bin/qemu-system-x86_64"),
            *(word for folder in firmware for word in ("-L", str(folder))),
        ]

    @property
    def name(self) -> str:
        return self.root.name


def find_or_unpack() -> Emulator:
    """The emulator for this file as it is now, fetched first if the cache does not have it."""
    name = name_for(__file__)
    what = f"unpacking Debian 13's QEMU as {name}"
    return Emulator(find_or_make(paths.emulators() / name, what, lambda work: unpack(work, TRIXIE, PACKAGES)))
