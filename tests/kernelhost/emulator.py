# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 13's QEMU on a Debian 12 machine: that of Debian 12 emulates no network card with SR-IOV.

Its packages are unpacked into the cache and not installed; the program runs with the C library that came with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from . import debian, paths
from .cache import find_or_make
from .steps import KernelhostError, require_tools, run_command, tool

SUITE = "trixie"
PACKAGES = ("qemu-system-x86", "seabios")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
HASH_LENGTH = 16
TOOLS = ("apt-get", "dpkg-deb", "env", "setpriv")


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
    name = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:HASH_LENGTH]
    return Emulator(find_or_make(paths.emulators() / name, f"unpacking Debian 13's QEMU as {name}", _unpack))


def _unpack(work: Path) -> Path:
    """Fetch the packages with an apt that knows nothing of this machine's packages, and unpack them."""
    require_tools(TOOLS)
    log = work / "unpack.log"
    options = _private_apt(work)
    try:
        run_command([tool("apt-get"), *options, "update"], log)
        fetch = ("install", "--yes", "--download-only", "--no-install-recommends")
        run_command([tool("apt-get"), *options, *fetch, *PACKAGES], log)
    except KernelhostError as error:
        raise KernelhostError(f"{error}\nIf the mirror has no suite {SUITE}: {debian.MIRROR_HELP}") from error
    root = work / "root"
    for package in sorted((work / "archives").glob("*.deb")):
        run_command([tool("dpkg-deb"), "--extract", str(package), str(root)], log)
    return root


def _private_apt(work: Path) -> list[str]:
    """Options for an apt with one source and all it writes in `work`; only the machine's proxies are its own."""
    (work / "sources.list").write_text(f"{debian.source(SUITE)}\n", encoding="utf-8")
    (work / "status").touch()
    for folder in ("lists", "archives"):
        (work / folder / "partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Default-Release": SUITE,
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
