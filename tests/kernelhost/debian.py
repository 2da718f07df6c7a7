# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine's packages say: where Debian's packages come from, and which kernel the guest gets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .steps import KernelhostError, output_of

SUITE = "bookworm"
SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The plain kernel only: not the cloud and rt ones, whose names have one more word.
HEADERS_NAME = re.compile(r"linux-headers-(6\.1\.0-(\d+)-amd64)")
MIRROR_HELP = (
    "set KERNELHOST_MIRROR to the address of a Debian mirror, and after a space that of its security archive "
    "when this is not the same address with -security added"
)


@dataclass(frozen=True)
class Kernel:
    """A kernel of Debian's: `release` as uname -r has it, `version` of its packages."""

    release: str
    version: str

    @property
    def headers(self) -> Path:
        return Path(f"/usr/src/linux-headers-{self.release}")


def installed_kernel() -> Kernel:
    """The kernel of the newest installed headers: modules built with them load in no other."""
    # dpkg-query fails when nothing matches, which is for us the same as an empty answer.
    shown = output_of(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\t${Package}\t${Version}\n", "linux-headers-6.1*"],
        check=False,
    )
    kernels = []
    for line in shown.splitlines():
        status, package, version = line.split("\t")
        match = HEADERS_NAME.fullmatch(package)
        if match and status.startswith("ii"):
            kernels.append((int(match[2]), Kernel(match[1], version)))
    if not kernels:
        raise KernelhostError(
            "missing on this machine: Debian 12's kernel headers; run: apt-get install linux-headers-amd64"
        )
    return max(kernels, key=lambda entry: entry[0])[1]


def sources() -> list[str]:
    """Lines for apt's sources.list, one for each of SUITES, from the environment or from this machine's own apt."""
    addresses = _addresses()
    return [_line(addresses[suite], suite) for suite in SUITES]


def source(suite: str) -> str:
    """The line of another suite of the same mirror."""
    return _line(_addresses()[SUITE], suite)


def _line(address: str, suite: str) -> str:
    return f"deb [signed-by={KEYRING}] {address} {suite} main"


def _addresses() -> dict[str, str]:
    chosen = os.environ.get("KERNELHOST_MIRROR", "").split()
    if not chosen:
        return _machine_addresses()
    mirror = chosen[0].rstrip("/")
    security = chosen[1].rstrip("/") if len(chosen) > 1 else f"{mirror}-security"
    return {suite: security if suite.endswith("-security") else mirror for suite in SUITES}


def _machine_addresses() -> dict[str, str]:
    """Address of each suite; only archives that call themselves Debian's count, other vendors' sources do not."""
    fields = "$(ORIGIN)\t$(RELEASE)\t$(COMPONENT)\t$(REPO_URI)"
    shown = output_of(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    addresses: dict[str, str] = {}
    for line in shown.splitlines():
        origin, suite, component, address = line.split("\t")
        if origin == "Debian" and component == "main" and suite in SUITES:
            addresses.setdefault(suite, address)
    missing = [suite for suite in SUITES if suite not in addresses]
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
