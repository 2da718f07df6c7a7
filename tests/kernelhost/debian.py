# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's releases, one of which a guest is, and where their packages come from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .steps import KernelhostError, output_of

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What a suite's name may have at its end: updates and security fixes have suites of their own.
PARTS = ("", "-updates", "-security")
MIRROR_HELP = (
    "set KERNELHOST_MIRROR to the address of a Debian mirror, and after a space that of its security archive "
    "when this is not the same address with -security added"
)


# The architecture, by Debian's name of it, of a release for which no other is named.
USUAL = "amd64"


@dataclass(frozen=True)
class Release:
    """A release by the name of its suite, for an architecture by Debian's name of that."""

    suite: str
    number: int
    architecture: str = USUAL

    @property
    def name(self) -> str:
        """What it is called on the command line and in the names of folders."""
        return self.suite if self.architecture == USUAL else self.architecture

    def __str__(self) -> str:
        return f"Debian {self.number}" + ("" if self.architecture == USUAL else f" for {self.architecture}")


BOOKWORM = Release("bookworm", 12)
TRIXIE = Release("trixie", 13)
S390X = Release("bookworm", 12, "s390x")
RELEASES = {release.name: release for release in (BOOKWORM, TRIXIE, S390X)}


def chosen_release(name: str | None = None) -> Release:
    """The release of this name, else of KERNELHOST_RELEASE, else Debian 13; KernelhostError where there is none."""
    chosen = name or os.environ.get("KERNELHOST_RELEASE") or TRIXIE.suite
    if chosen not in RELEASES:
        raise KernelhostError(f"no release is called {chosen!r}: the releases are {', '.join(RELEASES)}")
    return RELEASES[chosen]


def sources(release: Release) -> list[str]:
    """Lines for apt's sources.list, one for each suite of the release; mirrors have all releases side by side."""
    addresses = _addresses()
    # In its last years a release is updated for the most used architectures alone.
    parts = PARTS if release.architecture == USUAL else ("",)
    return [f"deb [signed-by={KEYRING}] {addresses[part]} {release.suite}{part} main" for part in parts]


def _addresses() -> dict[str, str]:
    """Address of each of PARTS, from the environment or from this machine's own apt."""
    chosen = os.environ.get("KERNELHOST_MIRROR", "").split()
    if not chosen:
        return _machine_addresses()
    mirror = chosen[0].rstrip("/")
    security = chosen[1].rstrip("/") if len(chosen) > 1 else f"{mirror}-security"
    return {part: security if part == "-security" else mirror for part in PARTS}


def _machine_addresses() -> dict[str, str]:
    """Only archives that call themselves Debian's count, other vendors' sources do not."""
    fields = "$(ORIGIN)\t$(RELEASE)\t$(COMPONENT)\t$(REPO_URI)"
    shown = output_of(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    suites = {f"{BOOKWORM.suite}{part}": part for part in PARTS}
    addresses: dict[str, str] = {}
    for line in shown.splitlines():
        origin, suite, component, address = line.split("\t")
        if origin == "Debian" and component == "main" and suite in suites:
            addresses.setdefault(suites[suite], address)
    missing = [suite for suite, part in suites.items() if part not in addresses]
    if missing:
        raise KernelhostError(
            f"this machine's apt knows no Debian source for {', '.join(missing)}: run apt-get update, or {MIRROR_HELP}"
        )
    return addresses


def apt_options() -> list[str]:
    """This machine's proxy settings, which the guest's apt does not read by itself."""
    names = ("Acquire::http::Proxy", "Acquire::https::Proxy")
    shown = output_of(["apt-config", "dump", "--no-empty", "--format", "%f %v%n", *names])
    options = []
    for line in shown.splitlines():
        name, value = line.split(" ", 1)
        options.append(f'{name} "{value}";')
    return options
