# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions that mdevctl keeps in /etc/mdevctl.d.

The format is that of mdevctl 1.2 to 1.4: one JSON file a device, named by its UUID, in a folder named as the parent is
in /sys/class/mdev_bus. libvirt reads the same files through mdevctl. What mdevctl would start is understood as it does;
what it skips, as files of other names, is skipped. It stops at the first file that it cannot understand: here that is
one damaged definition, and all others count. docs/mdev.md has the cases that differ.
Whether a device is managed stands beside them, in a document of our own (marks.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID as Identifier

from ..errors import NodedevError
from ..text import shown
from . import files, marks
from .files import DamagedDefinition

STORE = "/etc/mdevctl.d"
# Of the marks beside these definitions.
KIND = "mdev"
# What stands in STORE and is no parent. Folders with a leading dot are others': editors', version control's.
SCRIPT_FOLDER = "scripts.d"
# mdevctl writes its files under the normal umask, and other tools read them.
MODE = 0o644
# The names of files that mdevctl's parser of UUIDs takes; it writes the first form in lower case.
HYPHENATED = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
FILE_NAME = re.compile(rf"(?:urn:uuid:)?({HYPHENATED})|\{{({HYPHENATED})\}}|([0-9A-Fa-f]{{32}})")

Attrs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Definition:
    """One mediated device as mdevctl keeps it; ``parent`` is the parent's kernel name, not its node device name.

    ``file`` is the name of its file where that is another than mdevctl gives it, as a UUID in capitals. ``managed``
    says that it comes and goes with the guest that names it, of which mdevctl knows nothing.
    """

    uuid: str
    parent: str
    type: str
    autostart: bool
    attrs: Attrs = ()
    file: str | None = field(default=None, compare=False)
    managed: bool = False

    @property
    def path(self) -> str:
        return os.path.join(STORE, self.parent, self.file or self.uuid)

    def document(self) -> dict[str, object]:
        """What is told of it beside its UUID."""
        attrs = [{name: value} for name, value in self.attrs]
        managed = {"managed": True} if self.managed else {}
        return {"type": self.type, "parent_addr": self.parent, "autostart": self.autostart, **managed, "attrs": attrs}


def uuid_of(name: str) -> str | None:
    """The UUID that the name of a file stands for, as mdevctl writes UUIDs; None for one that it skips."""
    match = FILE_NAME.fullmatch(name)
    return str(Identifier(next(filter(None, match.groups())))) if match else None


def place_of(damage: DamagedDefinition) -> tuple[str, str | None]:
    """The parent that a damaged file or folder belongs to, and the UUID that a file stands for."""
    folder, name = os.path.split(damage.path)
    if folder == STORE:
        return name, None
    return os.path.basename(folder), uuid_of(name) or name


def decode(uuid: str, parent: str, text: str, file: str | None = None) -> Definition:
    """Understand mdevctl's JSON as mdevctl does; raises DamagedDefinition naming the file and what is wrong."""
    path = os.path.join(STORE, parent, file or uuid)
    document = files.from_json(path, text)
    kind, start = document.get("mdev_type"), document.get("start")
    # It becomes part of a path.
    if not isinstance(kind, str) or kind in ("", ".", "..") or "/" in kind or "\0" in kind:
        raise DamagedDefinition(path, "mdev_type is not the name of a type")
    if start is None:
        raise DamagedDefinition(path, "start is missing")
    try:
        attrs = attributes(document.get("attrs"))
    except ValueError as error:
        raise DamagedDefinition(path, str(error)) from error
    # All else than this text, be it text or not, is a manual start.
    return Definition(uuid, parent, kind, start == "auto", attrs, file if file != uuid else None)


def attributes(listed: object) -> Attrs:
    """The attributes that mdevctl's JSON lists, in their order; ValueError where mdevctl refuses them."""
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise ValueError("attrs is not a list")
    return tuple(_attributes(listed))


def _attributes(listed: Iterable[object]) -> Iterator[tuple[str, str]]:
    for item in listed:
        if not isinstance(item, dict) or len(item) != 1 or not all(isinstance(value, str) for value in item.values()):
            raise ValueError("an item of attrs is not one name with one text value")
        yield from item.items()


def encode(definition: Definition) -> str:
    """The file's text, byte for byte as mdevctl writes it."""
    return json.dumps(_document(definition), indent=2, ensure_ascii=False)


def compact(definition: Definition) -> str:
    """The same document on one line, as mdevctl gives it to scripts."""
    return json.dumps(_document(definition), separators=(",", ":"), ensure_ascii=False)


def _document(definition: Definition) -> dict[str, object]:
    return {
        "mdev_type": definition.type,
        "start": "auto" if definition.autostart else "manual",
        "attrs": [{name: value} for name, value in definition.attrs],
    }


def check(definition: Definition) -> None:
    """Raise NodedevError for a definition that could be written and never be read again."""
    try:
        text = encode(definition)
        if len(text.encode()) > files.LARGEST:
            raise ValueError(f"it would have more than {files.LARGEST} bytes")
        if uuid_of(definition.uuid) != definition.uuid or not _is_parent(definition.parent):
            raise ValueError("mdevctl would not find it there")
        read = decode(definition.uuid, definition.parent, text)
    except (ValueError, DamagedDefinition) as error:
        reason = error.reason if isinstance(error, DamagedDefinition) else error
        raise NodedevError(f"mdev {shown(definition.uuid)} cannot be defined: {shown(reason)}") from error
    if read != replace(definition, managed=False):
        raise NodedevError(f"mdev {definition.uuid} cannot be defined: its definition would read as another")


def defined(uuid: str) -> tuple[list[Definition], list[DamagedDefinition]]:
    """The definitions of a UUID, which may stand under several parents, and what cannot be understood of them.

    A parent's folder that cannot be read counts as such: a definition may be in it.
    """
    return _found(uuid)


def all_defined(parent: str | None = None) -> tuple[list[Definition], list[DamagedDefinition]]:
    """All definitions by parent and UUID, or those under one parent; and what cannot be understood of them."""
    return _found(None, parent)


def _found(wanted: str | None, parent: str | None = None) -> tuple[list[Definition], list[DamagedDefinition]]:
    found: list[Definition] = []
    damaged: list[DamagedDefinition] = []
    try:
        parents = [name for name in files.entries(STORE) if _is_parent(name) and parent in (None, name)]
        managed = marks.marked(KIND) if parents else frozenset()
    except DamagedDefinition as error:
        return [], [error]
    for each in parents:
        try:
            for uuid, names in _files(each, wanted).items():
                _read(uuid, each, names, found, damaged)
        except DamagedDefinition as error:
            damaged.append(error)
    return [replace(each, managed=True) if each.uuid in managed else each for each in found], damaged


def _is_parent(name: str) -> bool:
    return name != SCRIPT_FOLDER and not name.startswith(".") and "/" not in name


def _files(parent: str, wanted: str | None) -> dict[str, list[str]]:
    """The names of a parent's files by UUID, mdevctl's own first; of the UUID that is wanted, or of all."""
    folder = os.path.join(STORE, parent)
    names = files.entries(folder)
    if names and os.path.islink(folder):
        raise DamagedDefinition(folder, "it is a link, which mdevctl does not follow")
    if wanted is not None:
        # Of many files, few are looked at closely.
        names = [name for name in names if wanted[-12:] in name.lower()]
    found: dict[str, list[str]] = {}
    for name in names:
        uuid = uuid_of(name)
        if uuid is not None and wanted in (None, uuid) and _is_file(os.path.join(folder, name)):
            found.setdefault(uuid, []).append(name)
    return {uuid: sorted(found[uuid], key=lambda name: name != uuid) for uuid in sorted(found)}


def _is_file(path: str) -> bool:
    """Whether something stands there that is meant as a file: a folder is not, which mdevctl skips too."""
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _read(uuid: str, parent: str, names: list[str], found: list[Definition], damaged: list[DamagedDefinition]) -> None:
    """Add what the files of one device say: the first of them counts."""
    for name in names:
        path = os.path.join(STORE, parent, name)
        try:
            if name != names[0]:
                raise DamagedDefinition(path, f"{names[0]} in the same folder defines the same device")
            if os.path.islink(path):
                raise DamagedDefinition(path, "it is a link, which mdevctl does not follow")
            text = files.read(path)
            if text is not None:
                found.append(decode(uuid, parent, text, name))
        except DamagedDefinition as error:
            damaged.append(error)


def define(definition: Definition) -> Callable[[], None]:
    """Write a definition, and the script folders without which mdevctl 1.2 refuses to run at all.

    Returns what takes it back: the file is then as it was, byte for byte, or gone. A file that is written anew keeps
    its mode, as with mdevctl. The mark comes first, since a device with it never starts by itself.
    """
    for folder in ("callouts", "notifiers"):
        files.make_folder(os.path.join(STORE, SCRIPT_FOLDER, folder))
    path = definition.path
    former, mode = files.content(path), _mode(path)
    unmark = marks.leave(KIND, definition.uuid, definition.managed)
    try:
        files.write(path, encode(definition), mode)
    except BaseException:
        unmark()
        raise
    return partial(_put_back, path, former, mode, unmark)


def undefine(definition: Definition) -> Callable[[], None]:
    """Remove a definition, and its parent's folder with the last one; one that is gone already is no error.

    Returns what takes it back: the file is then as it was, byte for byte. The mark goes with the last definition that
    there is of the UUID.
    """
    path = definition.path
    former, mode = files.content(path), _mode(path)
    files.remove(path)
    mark = marks.leave(KIND, definition.uuid, definition.managed and _is_defined(definition.uuid))
    return partial(_put_back, path, former, mode, mark)


def _is_defined(uuid: str) -> bool:
    """Whether there is a file of this UUID, be it one that cannot be understood."""
    others, damaged = defined(uuid)
    return bool(others) or any(place_of(damage)[1] == uuid for damage in damaged)


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return MODE


def _put_back(path: str, data: bytes | None, mode: int, mark: Callable[[], None]) -> None:
    if data is None:
        files.remove(path)
    else:
        files.write(path, data, mode)
    mark()


def clear_up(parents: Iterable[str]) -> None:
    """Remove what killed runs left of writing definitions under these parents, whose locks the caller holds."""
    for parent in parents:
        folder = os.path.join(STORE, parent)
        with contextlib.suppress(NodedevError):
            for name in files.entries(folder):
                if name.startswith(files.TEMPORARY):
                    files.clear_up(os.path.join(folder, name[len(files.TEMPORARY) :]))
