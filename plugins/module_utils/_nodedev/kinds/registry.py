# SPDX-License-Identifier: GPL-3.0-or-later
"""All kinds of what can be declared, and what is asked of whichever kind something is.

A kind is a line here. Only what deals with all kinds imports this file; a module for one of them imports that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from .. import wishes
from ..errors import BadInput
from ..pools.record import Record
from ..store.definition import Damaged, Kept
from ..store.files import DamagedDefinition
from .mdev import document as mdev_document
from .mdev import pool_wish as mdev_pool
from .mdev import restored as mdev_restored
from .vhba import document as vhba_document
from .vhba import pool_wish as vhba_pool
from .vhba import restored as vhba_restored


class Documents(Protocol):
    """How a kind's devices are known in libvirt's words: by a document, and by a name."""

    @property
    def CAPABILITY(self) -> str:
        """The type of their capability."""

    @property
    def PREFIX(self) -> str:
        """What their names begin with, and those of no other kind that has documents."""

    @property
    def FOREIGN(self) -> tuple[str, ...]:
        """The options of the nodedev module that mean nothing for them."""

    def from_device(self, document: dict[str, Any], **options: Any) -> Any:
        """The wish that a document means; else BadInput."""

    def from_name(self, name: str, **options: Any) -> Any:
        """The wish for the device of a name; else BadInput."""

    def ensure(self, wish: Any, check_mode: bool, /) -> dict[str, Any]:
        """Make it as wished; the result in Ansible's shape."""


class Pools(Protocol):
    """What the records of a kind's pools say."""

    @property
    def DEFAULTS(self) -> Mapping[str, Any]:
        """What holds for new instances of a pool that was not told otherwise."""

    @property
    def PARENT(self) -> str:
        """What the parent of an instance is told as."""

    def kept(self, known: Record, /) -> object:
        """The wish that a record keeps; DamagedDefinition for nonsense."""


@dataclass(frozen=True)
class Kind:
    """How the definitions of a kind are read, and whether a file that cannot be understood may be of this parent.

    A kind that libvirt has no documents for has no ``documents``, one without pools no ``pools``.
    """

    kept: Callable[[], tuple[list[Kept], list[DamagedDefinition]]]
    may_concern: Callable[[DamagedDefinition, str], bool]
    documents: Documents | None = None
    pools: Pools | None = None

    def read(self) -> tuple[list[Kept], list[DamagedDefinition]]:
        """The definitions; where not even their folder can be read, that is what cannot be understood."""
        try:
            return self.kept()
        except DamagedDefinition as error:
            return [], [error]


# By the name that users choose a kind by, in the order in which they are restored: parents before children.
KINDS: dict[str, Kind] = {
    "mdev": Kind(mdev_restored.kept, mdev_restored.may_concern, mdev_document, mdev_pool),
    "vhba": Kind(vhba_restored.kept, vhba_restored.may_concern, vhba_document, vhba_pool),
}


def kept() -> tuple[list[Kept], list[Damaged]]:
    """The definitions of all kinds, and what cannot be understood."""
    found: list[Kept] = []
    damaged: list[Damaged] = []
    for kind in KINDS.values():
        definitions, files = kind.read()
        found += definitions
        damaged += [Damaged(each, partial(kind.may_concern, each)) for each in files]
    return found, damaged


def ensure(check_mode: bool, xml: str | None, name: str | None, **options: Any) -> dict[str, Any]:
    """Make the device of the document or of the name as wished; the result in Ansible's shape is its kind's own.

    ``options`` are those of the kinds' wishes. Raises BadInput for what is no device, or none that can be made.
    """
    wishes.check(options)
    if xml is not None:
        # Here, since importing lxml takes longer than all else.
        from ..libvirt.xml import from_xml

        device = from_xml(xml)
        capability = device.get("capability")
        said = capability.get("type") if isinstance(capability, dict) else None
        kind = _documents("xml", said, lambda each: said == each.CAPABILITY)
        wish = kind.from_device(device, **own(kind, options))
    else:
        kind = _documents("name", name, lambda each: name is not None and name.startswith(each.PREFIX))
        wish = kind.from_name(str(name), **own(kind, options))
    return kind.ensure(wish, check_mode)


def _documents(option: str, value: object, meant: Callable[[Documents], bool]) -> Documents:
    """The kind that is meant, of those that have documents; else BadInput."""
    every = [kind.documents for kind in KINDS.values() if kind.documents is not None]
    found = next(filter(meant, every), None)
    if found is None:
        listed = ", ".join(each.CAPABILITY for each in every)
        raise BadInput(option, value, f"the kinds of devices that can be made are: {listed}")
    return found


def own(kind: Documents, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that mean something for the kind."""
    return {option: value for option, value in options.items() if option not in kind.FOREIGN}
