# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder below which the boot engine is: what it can be on this host, and what is there of it already.

Where /usr cannot be written, as on hosts that boot from an image, it is the first of a few others that can be. What is
installed stays where it is, whatever can be written later.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..errors import BadInput, NodedevError
from ..store import files, restorers
from ..store.files import DamagedDefinition

# In this order. Those that end in PACKAGE are the boot engine's own.
PREFIXES = ("/usr", "/usr/local", "/opt/nodedev", "/var/lib/nodedev")
# The package that nodedev-restore imports: a link to that of a release.
PACKAGE = "nodedev"
# A release is named by the hash of its files; a number follows where one of that name has to be replaced.
RELEASE = re.compile(r"release-[0-9a-f]{16}(-[0-9]+)?")
COMMANDS = (restorers.COMMAND, "sbin/nodedev-events")
# What is gone after a boot, or hidden from the units by ProtectHome=.
UNSEEN = ("/dev", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp")
# Where it is there, /usr is of an image, also while ostree or bootc have it written to until the next boot.
IMAGE = "/run/ostree-booted"


@dataclass(frozen=True)
class Place:
    """What can be done below a prefix: ``hindrance`` is why it cannot be written, ``found`` what is there of the boot
    engine, as the paths to be removed for it to be gone."""

    found: tuple[str, ...]
    hindrance: str | None


def library(prefix: str) -> str:
    return f"{prefix}/lib/{PACKAGE}"


def command_folder(prefix: str) -> str:
    return os.path.dirname(f"{prefix}/{restorers.COMMAND}")


def given(value: str | None) -> str | None:
    """The prefix that was asked for, None where none was; BadInput for what units and scripts cannot name or see."""
    if value is None:
        return None
    prefix = value.rstrip("/")
    if not restorers.PREFIX.fullmatch(prefix):
        raise BadInput(
            "prefix", value, "the path of a folder is required, with letters, digits and the signs / _ . + - only"
        )
    real = os.path.realpath(prefix)
    for folder in UNSEEN:
        if f"{real}/".startswith(f"{os.path.realpath(folder)}/"):
            raise BadInput("prefix", value, f"what is below {folder} is not there at boot, or hidden from the units")
    for folder in _above(real):
        if os.stat(folder).st_mode & stat.S_IWOTH:
            raise BadInput("prefix", value, f"everybody may write to {folder}, and root runs what is there")
    return prefix


def places(asked: str | None) -> dict[str, Place]:
    """All prefixes that come into question, in the order in which what is there counts."""
    prefixes = dict.fromkeys([asked, restorers.prefix(), *PREFIXES])
    return {prefix: Place(_found(prefix), _hindrance(prefix)) for prefix in prefixes if prefix is not None}


def chosen(asked: str | None, known: Mapping[str, Place], is_current: Callable[[str], bool]) -> str:
    """The prefix where the boot engine is to be; ``is_current`` says whether its library is there as it should be.

    Raises NodedevError where that cannot be written, or none can.
    """
    candidates = [asked] if asked is not None else [prefix for prefix, place in known.items() if place.found]
    for prefix in candidates:
        if known[prefix].hindrance is None or is_current(prefix):
            return prefix
    if asked is not None:
        raise BadInput("prefix", asked, str(known[asked].hindrance))
    for prefix in PREFIXES:
        if known[prefix].hindrance is None:
            return prefix
    hindrances = "; ".join(dict.fromkeys(str(place.hindrance) for place in known.values()))
    raise NodedevError(f"the boot engine can be nowhere on this host: {hindrances}. Name another folder by prefix")


def _above(path: str) -> Iterator[str]:
    """The folders that lead to a path, those that are there, from the nearest one up."""
    while path != "/":
        if os.path.isdir(path):
            yield path
        path = os.path.dirname(path)
    yield path


def _hindrance(prefix: str) -> str | None:
    """Why the library and the commands cannot be written below a prefix; None where they can."""
    for folder in (os.path.dirname(library(prefix)), command_folder(prefix)):
        path = folder
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        hindrance = _unwritable(path)
        if hindrance is not None:
            return hindrance
    return None


def _unwritable(path: str) -> str | None:
    if not os.path.isdir(path):
        return f"{path} does not lead to a folder"
    real = os.path.realpath(path)
    if os.path.exists(IMAGE) and f"{real}/".startswith("/usr/"):
        return f"{path} is of the image that ostree has booted"
    flags = os.statvfs(path).f_flag
    if flags & os.ST_RDONLY:
        return f"{path} is mounted read-only"
    if flags & os.ST_NOEXEC:
        return f"{path} is mounted so that nothing there is executed (noexec)"
    # What is not said of a mount: immutable folders (chattr(1)), security modules. A user may only foretell.
    if os.geteuid() == 0 and not os.access(path, os.W_OK):
        return f"{path} cannot be written, not even by root"
    return None


def _found(prefix: str) -> tuple[str, ...]:
    """What is there of the boot engine: its own folder as a whole, else its commands and its library."""
    commands = [path for path in (f"{prefix}/{command}" for command in COMMANDS) if _is_command(path, prefix)]
    folder = library(prefix)
    found = (*commands, *([folder] if _is_library(folder) else []))
    if found and os.path.basename(prefix) == PACKAGE and not os.path.islink(prefix) and _is_all(prefix, found):
        return (prefix,)
    return found


def _is_all(prefix: str, found: tuple[str, ...]) -> bool:
    """Whether nothing else is below a prefix."""
    folders = {os.path.dirname(library(prefix)), command_folder(prefix)}
    below = {f"{prefix}/{name}" for name in _names(prefix)}
    return below <= folders and all(f"{folder}/{name}" in found for folder in folders for name in _names(folder))


def _is_command(path: str, prefix: str) -> bool:
    """Whether this is the role's: it names the library, which a command of somebody else's does not."""
    try:
        content = files.content(path)
    except DamagedDefinition:
        return False
    return content is not None and f'"{library(prefix)}'.encode() in content


def _is_library(folder: str) -> bool:
    return any(name == PACKAGE or RELEASE.fullmatch(name) for name in _names(folder))


def _names(folder: str) -> list[str]:
    try:
        return files.entries(folder)
    except DamagedDefinition:
        return []
