# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a vGPU: the function that it is, and the type that was made of that.

It is kept in /etc/nodedev.d/vgpu; of one that is not to outlast the boot in /run, so that whoever removes it later
knows whether what the function has is still the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import BadInput
from ...grammar import checked_function
from ...host import vgpu_types
from ...names import called
from ...plan import Step
from ...pools import fields
from ...store import files
from ...store.documents import Documents, name_of
from ...store.files import DamagedDefinition, Document
from ...text import shown

KIND = "vgpu"
# What the kernel keeps of the id, and of a place on the card.
HIGHEST_TYPE, HIGHEST_PLACEMENT = (1 << 32) - 1, 65534
PARAMETER = re.compile(r"[A-Za-z0-9_.]+=[A-Za-z0-9_.:/+-]+")
# Bytes of a sysfs file, less the end of the line.
LONGEST_PARAMS = 4000


@dataclass(frozen=True)
class Definition:
    """A vGPU as it is to be; ``type`` is the id of its type and ``title`` the vendor's name, where that is known.

    ``params`` and ``placement`` are None where nothing is said of them. ``root`` is the folder below which it is kept.
    """

    address: str
    type: int
    title: str | None = None
    params: str | None = None
    placement: int | None = None
    managed: bool = False
    root: str = files.STORE

    @property
    def path(self) -> str:
        return files.document_path(KIND, self.address, self.root)

    @property
    def lasts(self) -> bool:
        """Whether it is to be there after a boot."""
        return self.root == files.STORE

    @property
    def parent(self) -> str:
        """Where it is, as members of pools have it: the function that it is itself."""
        return self.address

    @property
    def autostart(self) -> bool:
        """Whether it is there after a boot."""
        return self.lasts and not self.managed

    @property
    def kind(self) -> str:
        """Its type in words."""
        return vgpu_types.called(self.type, self.titles)

    @property
    def titles(self) -> dict[int, str]:
        """The name of its type by the id, where it is known."""
        return {self.type: self.title} if self.title else {}

    def document(self) -> Document:
        """The definition as it is written."""
        found: Document = {"type": self.type, "title": self.title, "params": self.params}
        found.update({"placement_id": self.placement, "managed": self.managed or None})
        return {key: value for key, value in found.items() if value is not None}


def vgpu_of(address: str) -> str:
    """What a person calls the vGPU of this function."""
    return f"the vGPU of {called(address)}"


def checked_params(value: object) -> str | None:
    """Parameters as the driver takes them, a list of key=value with commas, or none; else BadInput."""
    if value is None:
        return None
    text = value if isinstance(value, str) else " "
    if len(text) > LONGEST_PARAMS or not all(map(PARAMETER.fullmatch, text.split(",") if text else ())):
        raise BadInput("params", value, "parameters are key=value, several with commas and without blanks")
    return text


def checked_placement(value: object) -> int | None:
    """A place on a card, by the driver's number; else BadInput."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_PLACEMENT:
        raise BadInput("placement_id", value, f"a place on the card is a number from 0 to {HIGHEST_PLACEMENT}")
    return value


def decode(path: str, document: Document) -> Definition:
    """Understand a definition; raises DamagedDefinition naming the file and what is wrong."""
    try:
        address = checked_function("device", name_of(path))
        type = fields.number(document, "type")
        if address != name_of(path) or type is None or not 0 < type <= HIGHEST_TYPE:
            raise BadInput("type", type, f"it is from 1 to {HIGHEST_TYPE}, in a file that is named by an address")
        return Definition(
            address,
            type,
            fields.text(document, "title"),
            checked_params(fields.text(document, "params")),
            checked_placement(fields.number(document, "placement_id")),
            fields.flag(document, "managed") or False,
            files.STORE if path.startswith(f"{files.STORE}/") else files.RUNTIME,
        )
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error


DOCUMENTS = Documents(KIND, decode, runtime=True)


def define(target: Definition, former: Definition | None) -> Step:
    """Keep the definition, or where it is not to last a record of it; ``former`` is what it replaces."""
    known = former is not None and former.lasts == target.lasts
    verbs = ("define", "change the definition of") if target.lasts else ("record", "change the record of")
    what = f"{verbs[known]} {vgpu_of(target.address)} with type {shown(target.kind)}{_besides(target)}"
    return DOCUMENTS.change(what, target.address, target, former)


def _besides(target: Definition) -> str:
    parts: Sequence[tuple[str, object]] = (("params", target.params), ("placement_id", target.placement))
    said = "".join(f", {name} {shown(value)}" for name, value in parts if value is not None)
    return f"{said}, start with its guest" if target.managed else said


def undefine(known: Definition) -> Step:
    """Keep it no longer."""
    verb = "undefine" if known.lasts else "remove the record of"
    return DOCUMENTS.change(f"{verb} {vgpu_of(known.address)}", known.address, None, known)
