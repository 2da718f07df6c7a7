# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of a release that are unpacked into a folder and not installed: programs that run on this machine as they
are, by the C library that came with them or in a chroot."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from . import debian
from .steps import KernelhostError, require_tools, run_command, tool

TOOLS = ("apt-get", "dpkg-deb", "setpriv", "sh", "tar")
# Debian has one folder of programs and libraries; packages of Debian 12 still name them by these links.
MERGED = ("bin", "lib", "lib64", "sbin")
# What the packages' maintainer scripts would have made for programs that run in a chroot.
AWK = "mawk"
NULL = (1, 3)
# dpkg-deb's own extraction replaces a link by the folder that a package has in its place.
EXTRACT = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"'


def unpack(work: Path, release: debian.Release, packages: Iterable[str]) -> Path:
    """The folder in `work` with these packages and all that they depend on; the rest of `work` may be thrown away.

    The apt that fetches them knows nothing of this machine's packages.
    """
    require_tools(TOOLS)
    log = work / "unpack.log"
    options = _private_apt(work, release)
    fetch = ("install", "--yes", "--download-only", "--no-install-recommends")
    try:
        run_command([tool("apt-get"), *options, "update"], log)
        run_command([tool("apt-get"), *options, *fetch, *packages], log)
    except KernelhostError as error:
        raise KernelhostError(f"{error}\nIf the mirror has no suite {release.suite}: {debian.MIRROR_HELP}") from error
    root = work / "root"
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((work / "archives").glob("*.deb")):
        run_command([tool("sh"), "-c", EXTRACT, "sh", str(package), str(root)], log)
    return root


def unpack_tools(work: Path, release: debian.Release, packages: Iterable[str]) -> Path:
    """The same, as a folder in which these programs run by chroot; mawk has to be one of the packages."""
    root = unpack(work, release, packages)
    (root / "usr/bin/awk").symlink_to(AWK)
    for folder in ("dev", "tmp"):
        (root / folder).mkdir(exist_ok=True)
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(*NULL))
    return root


def _private_apt(work: Path, release: debian.Release) -> list[str]:
    """Options for an apt with one release and all it writes in `work`; only the machine's proxies are its own."""
    lines = "".join(f"{line}\n" for line in debian.sources(release))
    (work / "sources.list").write_text(lines, encoding="utf-8")
    (work / "status").touch()
    for folder in ("lists", "archives"):
        (work / folder / "partial").mkdir(parents=True)
    settings = {
        "APT::Architecture": release.architecture,
        "APT::Architectures": release.architecture,
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
