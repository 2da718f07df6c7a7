# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain's document says of the domain and of the host's devices that it has (libvirt's formatdomain.html).

It is read as it comes, element by element, and nothing else of it is kept. A document with a type declaration is
refused: libvirt writes none, and entities are made there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from ..errors import BadInput, NodedevError
from ..grammar import checked_uuid
from ..text import shown

# libvirt itself takes no document of more than 4 MiB; what it writes of one may be longer.
LONGEST = 1 << 24
# Elements within each other. In a domain's document there are some ten.
DEEPEST = 100
HOSTDEV = ("domain", "devices", "hostdev")
ADDRESS = (*HOSTDEV, "source", "address")


@dataclass(frozen=True)
class Hostdev:
    """A device of the host that a domain has: the type of its <hostdev>, and the attributes of its address there."""

    type: str
    address: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Domain:
    """A domain as its document has it."""

    uuid: str
    name: str
    hostdevs: tuple[Hostdev, ...] = ()


class _Reader:
    """What has been read of a document so far; ``texts`` are those of the elements that are kept, by their paths."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.texts: dict[tuple[str, ...], str] = {("domain", "uuid"): "", ("domain", "name"): ""}
        self.types: list[str] = []
        self.addresses: list[dict[str, str]] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements within each other")
        path = tuple(self.path)
        if path == HOSTDEV:
            self.types.append(attributes.get("type", ""))
            self.addresses.append({})
        elif path == ADDRESS:
            self.addresses[-1] = attributes

    def end(self, _name: str) -> None:
        self.path.pop()

    def text(self, text: str) -> None:
        path = tuple(self.path)
        if path in self.texts:
            self.texts[path] += text


def read(document: bytes) -> Domain:
    """The domain that a document describes; raises NodedevError for one that libvirt has not written."""
    reader = _Reader()
    try:
        if len(document) > LONGEST:
            raise ValueError(f"more than {LONGEST} bytes")
        _parse(document, reader)
        uuid, name = reader.texts["domain", "uuid"].strip(), reader.texts["domain", "name"].strip()
        if not name:
            raise ValueError("it names no domain")
        hostdevs = tuple(map(Hostdev, reader.types, reader.addresses))
        return Domain(checked_uuid(uuid), name, hostdevs)
    except (ValueError, expat.ExpatError, BadInput) as error:
        raise NodedevError(f"the domain's document cannot be understood: {shown(error)}") from error


def _parse(document: bytes, reader: _Reader) -> None:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _no_declaration
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.Parse(document, True)


def _no_declaration(*_parts: object) -> None:
    raise ValueError("it has a document type declaration")
