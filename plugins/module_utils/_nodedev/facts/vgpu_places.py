# SPDX-License-Identifier: GPL-3.0-or-later
"""Where vGPUs are on a card, or can be: its virtual functions, or the card itself, alike for both frameworks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..host import holders, mdev_parents, pci, starting, sysfs, vfio, vgpu_cards, vgpu_types, vgpus
from ..host.oddities import Oddities
from ..host.processes import Holder
from ..host.vgpu_cards import Card
from ..host.vgpu_types import Type
from ..names import called, device_name
from ..pools import capacity
from ..pools.capacity import Instance, Outlook

# The attribute of a vGPU that is a mediated device, below its folder; the other one has the same file.
PARAMS = vgpus.PARAMS


@dataclass(frozen=True)
class Place:
    """A virtual function, or of a card that makes vGPUs itself one of those, without ``index``.

    ``type`` is the id of the type that is there, NONE for none, and None where it is not known. ``hindrance`` says why
    there can be no vGPU, or what is there is not known. ``path`` and ``group`` are those of the device that a guest
    gets, and ``key`` its kind and id among definitions.
    """

    index: int | None
    address: str
    driver: str | None
    type: int | None = vgpus.NONE
    uuid: str | None = None
    params: str | None = None
    placement: int | None = None
    hindrance: str | None = None
    path: str = ""
    group: str | None = None
    holders: tuple[Holder, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return ("vgpu", self.address) if self.uuid is None else ("mdev", self.uuid)

    def document(self, types: Mapping[int, Type]) -> dict[str, Any]:
        """It as data; ``types`` are those of its card."""
        known = types.get(self.type) if self.type else None
        return {
            "index": self.index,
            "name": device_name("pci", self.address),
            "address": self.address,
            "driver": self.driver,
            "uuid": self.uuid,
            "type": (known.name or None) if known else None,
            "type_id": self.type or None,
            "params": self.params or "",
            "placement_id": self.placement,
            "holders": [each.document() for each in self.holders],
            "hindrance": self.hindrance,
        }


@dataclass(frozen=True)
class Carried:
    """What a card carries, with its types by id, and how many more of each its driver offers, by id too.

    ``exact`` says whether those are numbers of the card. Those of functions are each that function's own, so that
    together they are the most that can be, and not what the card's memory has left.
    """

    places: tuple[Place, ...] = ()
    types: Mapping[int, Type] = field(default_factory=dict)
    offered: Mapping[int, int] = field(default_factory=dict)
    exact: bool = False

    @property
    def ids(self) -> list[int] | None:
        """The types of all vGPUs on the card; None where one is not known."""
        found = [each.type for each in self.places]
        return None if None in found else [type for type in found if type]

    @property
    def unnamed(self) -> list[int]:
        """The types of vGPUs of which no more is known than the id."""
        return [each.type for each in self.places if each.type and each.type not in self.types]

    @property
    def is_stuck(self) -> bool:
        """Whether there is no vGPU, and none can be made, on functions that could have one."""
        free = [each for each in self.places if each.hindrance is None]
        return bool(free) and not any(each.type for each in free) and not any(self.offered.values())

    def now(self, id: int) -> int:
        """How many vGPUs of a type there are."""
        return sum(each.type == id for each in self.places)

    def free(self, wanted: Type, now: int | None) -> int | None:
        """How many more of a type fit, where by what is there it would be ``now``; None where it is not known."""
        offered = self.offered.get(wanted.id, 0)
        if self.exact or not offered:
            return offered
        return None if now is None else min(now, offered)

    def outlooks(self, heterogeneous: bool) -> dict[int, Outlook]:
        """What fits by what is there, by type; nothing where it is not known what is there."""
        types = {
            id: capacity.Type(id, each.framebuffer, each.most or 0)
            for id, each in self.types.items()
            if each.framebuffer is not None
        }
        if self.ids is None or not types.keys() >= {*self.ids}:
            return {}
        carried = [
            Instance(str(number), each.type, each.placement, bool(each.holders))
            for number, each in enumerate(self.places)
            if each.type
        ]
        left = sum(each.type == vgpus.NONE and not each.hindrance for each in self.places)
        # What stands on the card itself is bounded by the card alone.
        functions = None if self.exact else left
        found = capacity.outlook(capacity.Card("", types, tuple(carried), heterogeneous, functions))
        return {id: each for id, each in found.items() if self.types[id].most is not None}


def of_card(card: Card, supported: Mapping[int, Type], oddities: Oddities) -> Carried:
    """What is on a card; ``supported`` are the types that its tool knows, by id."""
    if card.framework == vgpu_cards.MDEV:
        return _mediated(card, oddities)
    return _own(card, supported, oddities)


def _own(card: Card, supported: Mapping[int, Type], oddities: Oddities) -> Carried:
    places, offered = [], dict[int, int]()
    types = dict(supported)
    for index, function in _functions(card, oddities):
        found = vgpus.look(function, index, oddities)
        # Without the file it is no vGPU; with it, and something in it that is no type, nobody knows.
        unknown = found.type is None and sysfs.exists(f"{function.path}/{vgpus.CURRENT}")
        if unknown:
            oddities.add(found.hindrance)
        for id, name in found.offers.items():
            offered[id] = offered.get(id, 0) + 1
            types.setdefault(id, Type(id, name, vgpu_types.framebuffer(name)))
        type = None if unknown else found.type or vgpus.NONE
        place = Place(index, function.address, function.driver, type, hindrance=found.hindrance)
        places.append(_made(place, function, oddities) if found.type else place)
    return Carried(tuple(places), types, offered)


def _made(place: Place, function: pci.Function, oddities: Oddities) -> Place:
    return replace(
        place,
        params=oddities.attempt(partial(vgpus.params, function.path)),
        placement=oddities.attempt(partial(vgpus.placement, function.path)),
        path=function.path,
        group=function.group,
    )


def _functions(card: Card, oddities: Oddities) -> Iterator[tuple[int, pci.Function]]:
    """The virtual functions of a card by their index; what vanishes or cannot be read is left out."""
    for index, address in enumerate(card.function.functions):
        function = oddities.attempt(partial(pci.find, address))
        if function is not None:
            yield index, function


def _mediated(card: Card, oddities: Oddities) -> Carried:
    parents = [(None, card.function)] if card.itself else [*_functions(card, oddities)]
    places: list[Place] = []
    types: dict[int, Type] = {}
    offered: dict[int, int] = {}
    for index, function in parents:
        offers = oddities.attempt(partial(mdev_parents.types_of, function.path, oddities)) or {}
        made = [*_on_parent(index, function, offers, types, offered, oddities)]
        if index is not None and not made:
            made = [Place(index, function.address, function.driver, hindrance=_lack(function, offers))]
        places += made
    return Carried(tuple(places), types, offered, exact=card.itself)


def _on_parent(
    index: int | None,
    function: pci.Function,
    offers: mdev_parents.Types,
    types: dict[int, Type],
    offered: dict[int, int],
    oddities: Oddities,
) -> Iterator[Place]:
    """The mediated devices of a parent; its types and how many more there can be are added to the others."""
    for kind, offer in offers.items():
        id = vgpu_types.number(kind)
        if id is None:
            oddities.add(f"{called(function.address)} has a type {kind}, which is not named as NVIDIA's are")
            continue
        if id not in types or not types[id].name:
            name = offer.get("name") or ""
            types[id] = Type(id, name, vgpu_types.framebuffer(name), mdev_parents.most_of(offer.get("description")))
        offered[id] = offered.get(id, 0) + offer.get("available_instances", 0)
        for uuid in offer["instances"]:
            path = f"{function.path}/{uuid}"
            params = (oddities.text(f"{path}/{PARAMS}") or "").strip()
            group = oddities.link_name(f"{path}/iommu_group")
            yield Place(index, function.address, function.driver, id, uuid, params, path=path, group=group)


def _lack(function: pci.Function, offers: mdev_parents.Types) -> str | None:
    return None if offers else vgpus.lack(function, vgpu_cards.MEDIATED)


def named(carried: Carried, titles: Mapping[int, str]) -> Carried:
    """The same with the types that were not known; ``titles`` are names by id, of which some may be missing."""
    more = {id: titles.get(id, "") for id in carried.unnamed}
    types = {id: Type(id, name, vgpu_types.framebuffer(name)) for id, name in more.items()}
    return replace(carried, types={**carried.types, **types})


def with_holders(carried: Mapping[str, Carried]) -> dict[str, Carried]:
    """What cards carry, with who is seen to have it or is about to, by one look at all processes; no node is opened."""
    made = [each for one in carried.values() for each in one.places if each.path]
    nodes = vfio.nodes_of({each.path: each.group for each in made})
    held = holders.of_each(nodes, probe=False)
    by_kind: dict[str, dict[str, list[str]]] = {}
    for each in made:
        if not held[each.path]:
            by_kind.setdefault(each.key[0], {})[each.key[1]] = sorted(nodes[each.path])
    awaiting = [holder for kind, own in by_kind.items() for holder in starting.awaiting(kind, own)]
    for path, own in nodes.items():
        held[path] = held[path] or tuple(each for each in awaiting if each.node in own)
    return {address: replace(one, places=_held(one.places, held)) for address, one in carried.items()}


def _held(places: Iterable[Place], held: Mapping[str, tuple[Holder, ...]]) -> tuple[Place, ...]:
    return tuple(replace(each, holders=held.get(each.path, ())) for each in places)
