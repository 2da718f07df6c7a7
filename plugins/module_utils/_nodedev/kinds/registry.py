# SPDX-License-Identifier: GPL-3.0-or-later
"""All kinds of what can be declared, and what is asked of whichever kind something is.

A kind is a line here. Only what deals with all kinds imports this file; a module for one of them imports that one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from .. import resource, wishes
from ..errors import BadInput
from ..libvirt.domain_document import Hostdev
from ..pools.record import Record
from ..resource import Hindrance, Resource
from ..store import ap_rules, driverctl, files, mdevctl
from ..store.files import DamagedDefinition
from .ap_mask import device as ap_mask_device
from .ap_mask import restored as ap_mask_restored
from .driver import device as driver_device
from .driver import restored as driver_restored
from .mdev import device as mdev_device
from .mdev import document as mdev_document
from .mdev import managed as mdev_managed
from .mdev import pool_wish as mdev_pool
from .mdev import restored as mdev_restored
from .mig import device as mig_device
from .mig import restored as mig_restored
from .sriov import device as sriov_device
from .sriov import restored as sriov_restored
from .vgpu import device as vgpu_device
from .vgpu import managed as vgpu_managed
from .vgpu import pool_wish as vgpu_pool
from .vgpu import restored as vgpu_restored
from .vhba import device as vhba_device
from .vhba import document as vhba_document
from .vhba import pool_wish as vhba_pool
from .vhba import restored as vhba_restored

D = TypeVar("D")


class Restorable(Protocol[D]):
    """How what is defined of a kind is told of and made again; D is the kind's own type of a definition.

    All but ``summary`` looks at the host, and only when it is asked, so that a device that cannot be read, for which it
    raises NodedevError, hides no other one.
    """

    def defined(self, arrived: str | None, /) -> tuple[list[D], list[DamagedDefinition]]:
        """All definitions, or only those that may wait for a parent that has arrived; and what cannot be understood."""

    def summary(self, definition: D, /) -> tuple[str, str, bool]:
        """The id of its device in its kind, what a person calls it, and whether it starts by itself."""

    def place(self, definition: D, /) -> Sequence[str]:
        """The name of what shares its capacity, the card, and of the virtual function of that, where it is on one.

        That of the card is the name of its lock too.
        """

    def concerns(self, definition: D, arrived: str, /) -> bool:
        """Whether a device of the kernel, by its name there, is the parent that it waits for."""

    def may_concern(self, damage: DamagedDefinition, arrived: str, /) -> bool:
        """Whether a file that cannot be understood may be of this parent."""

    def hindrance(self, definition: D, /) -> Hindrance | None:
        """Why it cannot be made now, if so it is."""

    def wish(self, definition: D, /) -> Any:
        """The wish that it is."""

    def facts(self, definition: D, /) -> dict[str, Any]:
        """What definition_facts says of it: always active, autostart, parent_missing and drift."""


@runtime_checkable
class Preparing(Protocol):
    """A kind of which a part has to be made before what is restored after it, or which somebody else restores too."""

    def prepare(self, definition: Any, /) -> None:
        """Make that part, if it is not there, or let the other one be through; NodedevError where it cannot be."""


class Managed(Protocol[D]):
    """How devices of a kind come and go with the guests that name them.

    What is managed is defined, so D is the type of Restorable, whose ``managed`` says so, and never starts by itself.
    """

    def named(self, devices: Iterable[Hostdev], /) -> list[str]:
        """The ids of this kind's devices among those of a domain, managed or not, each once."""

    def managed(self, id: str, /) -> D | None:
        """The definition of a device that is managed, None of any other; NodedevError where that cannot be told."""

    def is_there(self, id: str, /) -> bool:
        """Whether the device exists now, whoever made it."""

    def make(self, definition: D, seconds: float, /) -> bool:
        """Make the device, complete, in so many seconds; whether it was not there before."""

    def unmake(self, id: str, seconds: float, /) -> None:
        """Remove the device, if it is there; raises InUse where somebody has it and does not let go."""

    def nodes(self, id: str, /) -> Collection[str]:
        """The nodes by which the device is opened; none where it is not there."""


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
    """How a kind is made, and how what is defined of it is made again.

    ``records`` are the folders and files in which something of it is kept. A kind that libvirt has no documents for has
    no ``documents``, one without pools no ``pools``, and one whose devices do not come and go with guests no
    ``managed``.
    """

    records: Sequence[str]
    resource: Resource[Any, Any]
    restorable: Restorable[Any]
    documents: Documents | None = None
    pools: Pools | None = None
    managed: Managed[Any] | None = None

    def is_used(self) -> bool:
        """Whether anything of it may be defined here; where that cannot be read, it may.

        Of a kind that is not used the boot engine runs nothing (boot/compiled.py).
        """
        return any(map(files.may_hold, self.records))

    def read(self, arrived: str | None = None) -> tuple[list[Defined], list[DamagedDefinition]]:
        """What is defined; where not even its folder can be read, that is what cannot be understood."""
        if not self.is_used():
            return [], []
        # What makes it is run here, before anything is waited for: a later release may take the place of this one.
        vars(self.resource)
        try:
            definitions, damaged = self.restorable.defined(arrived)
        except DamagedDefinition as error:
            return [], [error]
        return [Defined(self, each, *self.restorable.summary(each)) for each in definitions], damaged


@dataclass(frozen=True)
class Defined:
    """A definition, of whichever kind; ``rank`` is how many kinds are restored before its own."""

    kind: Kind
    definition: Any
    id: str
    name: str
    autostart: bool
    rank: int = 0

    @property
    def managed(self) -> bool:
        """Whether it comes and goes with the guest that names it."""
        return self.kind.managed is not None and bool(self.definition.managed)

    def place(self) -> Sequence[str]:
        """The name of what shares its capacity, the card, and of the virtual function of that, where it is on one."""
        return self.kind.restorable.place(self.definition)

    def concerns(self, arrived: str) -> bool:
        """Whether this is the parent that it waits for."""
        return self.kind.restorable.concerns(self.definition, arrived)

    def hindrance(self) -> Hindrance | None:
        """Why it cannot be made now, if so it is."""
        return self.kind.restorable.hindrance(self.definition)

    def prepare(self) -> None:
        """Make that part of it for which what is restored after it waits, or wait for who else restores it."""
        if isinstance(self.kind.restorable, Preparing):
            self.kind.restorable.prepare(self.definition)

    def facts(self) -> dict[str, Any]:
        """What definition_facts says of it."""
        return self.kind.restorable.facts(self.definition)

    def ensure(self, check_mode: bool) -> dict[str, Any]:
        """Make it, as a module does; or in check mode say what would be done."""
        return resource.ensure(self.kind.resource, self.kind.restorable.wish(self.definition), check_mode)


@dataclass(frozen=True)
class Damaged:
    """What cannot be understood among the definitions of a kind."""

    kind: Kind
    error: DamagedDefinition

    def concerns(self, arrived: str) -> bool:
        """Whether it may be of this parent."""
        return self.kind.restorable.may_concern(self.error, arrived)


# mdevctl's definitions, and what it has no word for.
MDEVS = [mdevctl.STORE, *files.folders("mdev")]
# By the name that users choose a kind by, in the order in which they are restored: parents before children.
KINDS: dict[str, Kind] = {
    "driver": Kind([driverctl.STORE], driver_device, driver_restored),
    "ap_mask": Kind([ap_rules.PATH, *files.folders("ap_mask")], ap_mask_device, ap_mask_restored),
    # Its mode comes before virtual functions, and the rest of it after them (Preparing).
    "mig": Kind(files.folders("mig"), mig_device, mig_restored),
    "sriov": Kind(files.folders("sriov"), sriov_device, sriov_restored),
    "vgpu": Kind(files.folders("vgpu"), vgpu_device, vgpu_restored, pools=vgpu_pool, managed=vgpu_managed),
    "mdev": Kind(MDEVS, mdev_device, mdev_restored, mdev_document, mdev_pool, mdev_managed),
    "vhba": Kind(files.folders("vhba"), vhba_device, vhba_restored, vhba_document, vhba_pool),
}


def defined(arrived: str | None = None) -> tuple[list[Defined], list[Damaged]]:
    """What is defined of all kinds, or may wait for a parent that has arrived; and what cannot be understood."""
    found: list[Defined] = []
    damaged: list[Damaged] = []
    for rank, kind in enumerate(KINDS.values()):
        definitions, files = kind.read(arrived)
        found += [replace(each, rank=rank) for each in definitions]
        damaged += [Damaged(kind, each) for each in files]
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
        capability_type = capability.get("type") if isinstance(capability, dict) else None
        kind = _documents("xml", capability_type, lambda each: capability_type == each.CAPABILITY)
        wish = kind.from_device(device, **own(kind, options))
    else:
        kind = _documents("name", name, lambda each: name is not None and name.startswith(each.PREFIX))
        wish = kind.from_name(str(name), **own(kind, options))
    return kind.ensure(wish, check_mode)


def _documents(option: str, value: object, is_meant: Callable[[Documents], bool]) -> Documents:
    """The kind that is meant, of those that have documents; else BadInput."""
    every = [kind.documents for kind in KINDS.values() if kind.documents is not None]
    found = next(filter(is_meant, every), None)
    if found is None:
        listed = ", ".join(each.CAPABILITY for each in every)
        raise BadInput(option, value, f"the kinds of devices that can be made are: {listed}")
    return found


def own(kind: Documents, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that mean something for the kind."""
    return {option: value for option, value in options.items() if option not in kind.FOREIGN}
