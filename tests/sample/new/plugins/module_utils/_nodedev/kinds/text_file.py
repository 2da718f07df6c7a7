# SPDX-License-Identifier: GPL-3.0-or-later
"""A text file below a folder: what is there of it, the plan that makes it as wished, its definition at boot.

Its name is its identity, whatever folder it is in. The folders are its parents, and come and go as devices do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .. import wishes
from ..errors import BadInput, Missing, NodedevError
from ..host import sysfs
from ..plan import Step
from ..resource import Hindrance, Plan
from ..store import files
from ..store.documents import Documents, name_of
from ..store.files import DamagedDefinition, Document, removal

KIND = "text_file"
# Nothing of udev's is awaited.
SUBSYSTEM = "text_file"
PEER = None
# Not kept over a boot, as devices are not.
FOLDERS = "/run/text_files"
NAME = re.compile(r"[a-z0-9_]{1,64}")
# Characters of a text, which is less than the page that is read of a file.
LONGEST = 1000
MODE = 0o644
# Seconds for making one at boot, where others wait.
WAIT = 30.0


@dataclass(frozen=True)
class Wish:
    """What a person wants of one text file; ``folder`` and ``text`` are as they are where they are None."""

    name: str
    folder: str | None = None
    text: str | None = None
    state: str = "present"
    persistent: bool = True
    force: bool = False
    wait_timeout: float = 30

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        for option in ("name", "folder"):
            if options.get(option) is not None:
                checked_name(option, options[option])
        if options.get("text") is not None:
            checked_text("text", options["text"])
        wishes.check(options)
        return cls(**options)


def checked_name(option: str, value: object) -> str:
    """What becomes part of a path; else BadInput."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise BadInput(option, value, "1 to 64 small letters, digits and underscores")
    return value


def checked_text(option: str, value: object) -> str:
    """A line of text that is read back as it is written; else BadInput."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST:
        raise BadInput(option, value, f"one line of at most {LONGEST} characters")
    return value


@dataclass(frozen=True)
class TextFile:
    """A text file, as it is there or as it is defined."""

    name: str
    folder: str
    text: str

    @property
    def file(self) -> str:
        return f"{FOLDERS}/{self.folder}/{self.name}"

    @property
    def path(self) -> str:
        """Where its definition is kept."""
        return DOCUMENTS.paths(self.name)[0]

    def document(self) -> dict[str, Any]:
        """The definition as it is written."""
        return {"folder": self.folder, "text": self.text}


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches; ``folders`` are all that are there."""

    folders: tuple[str, ...]
    active: TextFile | None = None
    definition: TextFile | None = None
    damaged: DamagedDefinition | None = None


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """That of its name: files of one folder do not share anything."""
    return {f"{KIND}:{wish.name}"}


def observe(wish: Wish) -> Observation:
    """Look for the file in all folders, and read its definition."""
    seen = Observation(tuple(sysfs.names(FOLDERS)), running(wish.name))
    try:
        return replace(seen, definition=DOCUMENTS.find(wish.name))
    except DamagedDefinition as error:
        return replace(seen, damaged=error)


def running(name: str) -> TextFile | None:
    """The file of this name, in whatever folder; None where there is none."""
    for folder in sysfs.names(FOLDERS):
        text = sysfs.read(f"{FOLDERS}/{folder}/{name}")
        if text is not None:
            return TextFile(name, folder, text)
    return None


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
    if wish.state == "absent":
        forget = [removal(seen.damaged, called(wish.name))] if seen.damaged else []
        forget += [undefine(seen.definition)] if seen.definition else []
        return _planned(seen, (*forget, *_removal(seen)), None, None)
    if seen.damaged:
        raise seen.damaged
    target = _target(wish, seen)
    kept = target if wish.persistent else seen.definition
    defining = [define(kept, seen.definition)] if kept and kept != seen.definition else []
    if wish.state == "inactive":
        return _planned(seen, (*defining, *_removal(seen)), None, kept)
    if target.folder not in seen.folders:
        raise BadInput(
            "folder", target.folder, f"it is not there; the folders are: {', '.join(seen.folders) or 'none'}"
        )
    making = [make(target, seen.active)] if target != seen.active else []
    return _planned(seen, (*making, *defining), target, kept)


def _target(wish: Wish, seen: Observation) -> TextFile:
    """The file as it is wished; what is not said is as it is defined, or else as it is."""
    known = seen.definition or seen.active
    folder = wish.folder or (known.folder if known else None)
    text = wish.text if wish.text is not None or known is None else known.text
    if folder is None:
        raise Missing("folder", "a file that is to be made has a folder")
    if seen.active and seen.active.folder != folder:
        raise NodedevError(
            f"{called(wish.name)} is in folder {seen.active.folder}, not in {folder}: remove it first with"
            " state: absent"
        )
    # Others may have written anything into a file that is there.
    return TextFile(wish.name, folder, checked_text("text", text or ""))


def _removal(seen: Observation) -> list[Step]:
    return [remove(seen.active)] if seen.active else []


def _planned(
    seen: Observation, steps: Sequence[Step], active: TextFile | None, kept: TextFile | None
) -> Plan[Observation]:
    # ``creates`` is for what udev tells of.
    return Plan(tuple(steps), replace(seen, active=active, definition=kept, damaged=None))


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of the file."""
    return observe(wish)


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """None."""
    return []


def starts(seen: Observation) -> bool:
    """Whether it is defined."""
    return seen.definition is not None


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    return {
        "runtime": {seen.active.name: seen.active.document()} if seen.active else {},
        "boot": {seen.definition.name: seen.definition.document()} if seen.definition else {},
    }


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The file afterwards."""
    known = after.active or after.definition
    return {
        KIND: {
            "file": wish.name,
            "parent_addr": known.folder if known else None,
            "text": known.text if known else None,
            "active": after.active is not None,
            "persistent": after.definition is not None,
        },
        "warnings": [*planned.warnings],
    }


def called(name: str) -> str:
    """What a person calls the file of this name."""
    return f"text file {name}"


# Steps.


def make(target: TextFile, former: TextFile | None) -> Step:
    """Write the file; ``former`` is what it replaces."""
    verb = "change" if former else "create"
    return Step(
        f"{verb} {called(target.name)} in folder {target.folder}",
        partial(_write, target),
        partial(_write, former) if former else partial(_unlink, target),
    )


def remove(active: TextFile) -> Step:
    """Remove the file."""
    return Step(
        f"remove {called(active.name)} from folder {active.folder}",
        partial(_unlink, active),
        partial(_write, active),
    )


def _write(target: TextFile) -> None:
    files.write(target.file, f"{target.text}\n", MODE)


def _unlink(target: TextFile) -> None:
    # The folder stays, also when it is empty.
    with files.explained(target.file):
        os.unlink(target.file)


def define(target: TextFile, former: TextFile | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces."""
    verb = "change the definition of" if former else "define"
    described = f"{verb} {called(target.name)} in folder {target.folder}"
    return DOCUMENTS.change(described, target.name, target, former)


def undefine(known: TextFile) -> Step:
    """Keep the definition no longer."""
    return DOCUMENTS.change(f"undefine {called(known.name)}", known.name, None, known)


# Definitions.


def decode(path: str, document: Document) -> TextFile:
    """Understand a definition; raises DamagedDefinition naming the file and what is wrong."""
    try:
        folder, text = checked_name("folder", document.get("folder")), checked_text("text", document.get("text"))
        return TextFile(checked_name("name", name_of(path)), folder, text)
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error


DOCUMENTS = Documents(KIND, decode)


def defined(arrived: str | None) -> tuple[list[TextFile], list[DamagedDefinition]]:
    """All definitions by name."""
    return DOCUMENTS.all()


def summary(definition: TextFile) -> tuple[str, str, bool]:
    """Its name, the file as a person knows it; one that is defined is there after every boot."""
    return definition.name, f"{called(definition.name)} in folder {definition.folder}", True


def place(definition: TextFile) -> list[str]:
    """Its folder."""
    return [f"{KIND}:{definition.folder}"]


def concerns(definition: TextFile, arrived: str) -> bool:
    """Whether this is its folder."""
    return arrived == definition.folder


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a definition that cannot be understood may be of this folder: each may."""
    return arrived in sysfs.names(FOLDERS)


def wish(definition: TextFile) -> Wish:
    """The wish that a definition is."""
    return Wish(definition.name, persistent=False, wait_timeout=WAIT)


def hindrance(definition: TextFile) -> Hindrance | None:
    """What is in its way now."""
    if definition.folder in sysfs.names(FOLDERS):
        return None
    return Hindrance("its folder is not there; it is restored when the folder arrives", passing=False)


def facts(definition: TextFile) -> dict[str, Any]:
    """What definition_facts says of it."""
    active = running(definition.name)
    actual = active.document() if active else {}
    drift = [
        {"what": what, "defined": value, "running": actual[what]}
        for what, value in definition.document().items()
        if actual and actual[what] != value
    ]
    return {
        "file": definition.name,
        "parent_addr": definition.folder,
        "text": definition.text,
        "autostart": True,
        "active": active is not None and active.folder == definition.folder,
        "parent_missing": definition.folder not in sysfs.names(FOLDERS),
        "drift": drift,
    }
