# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of devices of whatever kind: so many over a choice of parents, always the same ones.

A pure function of what is wished and what is there. What differs from kind to kind is asked of the kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from ..errors import BadInput
from ..host import machine
from ..plan import Step
from ..resource import Plan
from ..store.files import DamagedDefinition, removal
from . import members, placement, record, space
from .members import Change, Member
from .placement import Room
from .record import Record, Recorded
from .space import Space


class Wish(Protocol):
    """What a person wants of a pool, with what is left open filled in from its record.

    ``runs`` says whether its instances are to run now.
    """

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def runs(self) -> bool: ...
    @property
    def count(self) -> int | str | None: ...
    @property
    def placement(self) -> str | None: ...
    @property
    def persistent(self) -> bool: ...
    @property
    def force(self) -> bool: ...
    @property
    def identity(self) -> str | None: ...


class Placed(Protocol):
    """An instance that runs, or its definition."""

    @property
    def parent(self) -> str:
        """The parent that it is on."""


class Defined(Placed, Protocol):
    """The definition of an instance."""

    @property
    def autostart(self) -> bool:
        """Whether it is there after a boot."""

    @property
    def managed(self) -> bool:
        """Whether it comes and goes with a guest."""


D = TypeVar("D", bound=Defined)
D_co = TypeVar("D_co", bound=Defined, covariant=True)


class Seen(Protocol[D_co]):
    """The parts of the host that a wish for a pool touches.

    ``machine`` is what names follow from, the host's machine-id or what stands in for it, None where there is none;
    ``derived`` the index by id of what runs or is defined and, by its id, belongs to the pool. ``active`` and
    ``definitions`` are by id. ``damaged_records`` are the pool's own that cannot be understood.
    """

    @property
    def machine(self) -> str | None: ...
    @property
    def record(self) -> Record | None: ...
    @property
    def active(self) -> Mapping[str, Any]: ...
    @property
    def definitions(self) -> Mapping[str, Any]: ...
    @property
    def damaged(self) -> tuple[DamagedDefinition, ...]: ...
    @property
    def derived(self) -> Mapping[str, int]: ...
    @property
    def damaged_records(self) -> tuple[DamagedDefinition, ...]: ...

    def defined(self, id: str, /) -> tuple[D_co, ...]:
        """The definitions of an instance, on whatever parents."""

    def held_by(self, id: str, /) -> str:
        """Who uses an instance, in words; nothing where it is idle."""

    def holders_of(self, id: str, /) -> list[dict[str, Any]]:
        """The same as data, with the id that an instance has in results."""


class Mix(Protocol):
    """What a kind gives for a pool of several types.

    ``counts`` are by type, in the order in which they are made; ``waits`` is as for members.mixed().
    """

    @property
    def counts(self) -> Mapping[int, int]: ...
    @property
    def waits(self) -> bool: ...

    def places(self, change: Change, ceilings: Mapping[str, int], /) -> tuple[Recorded, ...]:
        """Where every instance is to be, in the order in which they are made; raises NodedevError where it is not."""


S = TypeVar("S", bound=Seen[Any])
S_co = TypeVar("S_co", bound=Seen[Any], covariant=True)


class Poolable(Protocol[S_co, D]):
    """What a kind gives that its devices can be pooled, for one wish and one observation.

    ``NOUN`` is a word for a device, ``NAMES`` for what follows from the pool's name, if anything does. ``HELD`` stands
    between a device and who holds it, and says what ``force`` would do, if anything; ``STOPPED`` says of devices that
    they are to be stopped.
    ``listed`` are the ids that the pool is to have, None where they follow from its name; ``mix`` is None in a pool of
    one type.
    """

    @property
    def KIND(self) -> str: ...
    @property
    def NOUN(self) -> str: ...
    @property
    def NAMES(self) -> str: ...
    @property
    def HELD(self) -> tuple[str, str]: ...
    @property
    def STOPPED(self) -> str: ...
    @property
    def wish(self) -> Wish: ...
    @property
    def seen(self) -> S_co: ...
    @property
    def listed(self) -> tuple[str, ...] | None: ...
    @property
    def mix(self) -> Mix | None: ...

    def place_of(self, damage: DamagedDefinition, /) -> tuple[str | None, str | None]:
        """Of which parent, where that counts, and which instance a file is that cannot be understood."""

    def refuse(self, own: Sequence[Member], /) -> None:
        """Raise NodedevError for what forbids any plan."""

    def with_adopted(self, own: list[Member], /) -> list[Member]:
        """The pool's instances, with those that others made and that it takes over, and which of them can rest."""

    def refuse_change(self, stay: Sequence[Member], grows: bool, /) -> None:
        """Raise NodedevError where it ``grows`` and no parent can be chosen, or an instance cannot stay as it is."""

    def rooms(self, ever: bool, /) -> Iterable[tuple[str, str, int | None]]:
        """Each parent with its card and what it can take now, or ``ever``; None for one that counts for no new one."""

    def limits(self, go: Sequence[Member], resting: Mapping[str | None, int], /) -> dict[str, int]:
        """What cards can take, where they are known to take less than the sum of what their parents say."""

    def no_room(self, wanted: int, here: Space, /) -> BadInput:
        """What to raise where so many more do not fit."""

    def identity(self, index: int, parent: str, /) -> str:
        """The id of a new instance on this parent."""

    def moved(self, id: str, parent: str, /) -> str:
        """The id that an instance has which is placed on this parent, and may have been on another."""

    def target(self, one: Recorded, /) -> D:
        """How an instance is to be defined; what the wish leaves open stays as it is."""

    def make(self, creates: Collection[str], targets: Mapping[str, D], /) -> tuple[list[Step], tuple[str, ...]]:
        """The steps that make these and finish what a killed run has begun, and warnings of what stays unlike."""

    def foretold(self, target: D, /) -> Any:
        """A new instance that runs, as far as it is known."""

    def stop(self, id: str, /) -> Iterable[Step]:
        """The steps that remove an instance that runs; none where it does not."""

    def define(self, target: D, /) -> tuple[list[Step], tuple[D, ...]]:
        """The steps that have it defined so and not otherwise, and its definitions then."""

    def undefine(self, definition: D, /) -> Step:
        """The step that keeps a definition no longer."""

    def document(self) -> dict[str, Any]:
        """What is recorded of the wish."""

    def understood(self, kept: Record, /) -> object:
        """What a record's wish means; raises DamagedDefinition for one that cannot be."""

    def then(self, kept: Record | None, active: Mapping[str, Any], definitions: Mapping[str, tuple[D, ...]], /) -> S_co:
        """The host with this record, these instances and definitions, and with the room that they leave."""


def members_of(seen: Seen[Any]) -> list[Member]:
    """The pool's instances by index: those of its record, and those whose ids follow from its name."""
    found = []
    for name, (index, recorded) in record.known(seen.record, seen.derived).items():
        running, defined = seen.active.get(name), seen.defined(name)
        parent = running.parent if running else defined[0].parent if defined else recorded
        holders = tuple(seen.holders_of(name))
        found.append(Member(index, name, parent, running is not None, seen.held_by(name), holders=holders))
    return sorted(found, key=lambda member: member.index)


def starts(seen: Seen[Any]) -> bool:
    """Whether an instance is defined and starts by itself."""
    own = record.known(seen.record, seen.derived)
    return any(definition.autostart for name in own for definition in seen.defined(name))


def state(seen: Seen[Any]) -> dict[str, Any]:
    """What runs of the pool and what is kept, apart, as a diff shows them."""
    own = members_of(seen)
    return {
        "runtime": {member.id: seen.active[member.id].document() for member in own if member.active},
        "boot": {member.id: definition.document() for member in own for definition in seen.defined(member.id)},
    }


def plan(kind: Poolable[S, D], ceilings: Mapping[str, int]) -> Plan[S]:
    """The steps from what is to what is wished; raises BadInput or InUse before any of them, and writes nothing.

    ``ceilings`` is how many new instances a card has been found to take, where that is less than its parents say.
    """
    wish, seen, absent = kind.wish, kind.seen, kind.wish.state == "absent"
    if seen.damaged_records and not absent:
        raise seen.damaged_records[0]
    own = members_of(seen)
    places = {(parent, member.id) for member in own for parent in (None, member.parent)}
    discarded = [damage for damage in seen.damaged if absent and kind.place_of(damage) in places]
    damaged = [damage for damage in seen.damaged if damage not in discarded]
    _refuse_damaged(kind, damaged, {member.id for member in own} | {*(kind.listed or ())})
    kind.refuse(own)
    planned = _absent(kind, own, discarded) if absent else _wanted(kind, own, ceilings)
    if planned.then.record is not None:
        # Where a new instance is to be defined, a file may stand that cannot be understood.
        _refuse_damaged(kind, damaged, {one.id for one in planned.then.record.instances})
    follows = bool(kind.NAMES) and wish.identity is None and kind.listed is None
    doubts = machine.doubts(seen.machine, f"the {kind.NAMES} of pool {wish.name}") if follows else ()
    return replace(planned, warnings=(*map(str, damaged), *doubts, *planned.warnings))


def _refuse_damaged(kind: Poolable[S, D], damaged: Iterable[DamagedDefinition], ids: Collection[str]) -> None:
    for damage in damaged:
        if kind.place_of(damage)[1] in ids:
            raise damage


def _absent(kind: Poolable[S, D], own: Sequence[Member], discarded: Iterable[DamagedDefinition]) -> Plan[S]:
    name, seen = kind.wish.name, kind.seen
    change = members.resized(name, own, 0, kind.wish.force, *kind.HELD)
    gone = [
        *record.forget_damaged(name, seen.damaged_records),
        *(removal(damage, f"{kind.NOUN} {kind.place_of(damage)[1]}") for damage in discarded),
        *_removal(kind, change.go),
        *([record.forget(seen.record)] if seen.record else []),
    ]
    then = kind.then(None, *_without(seen, change.go))
    return Plan(tuple(gone), then, warnings=record.only_damaged_knew(name, seen.damaged_records))


def _without(seen: Seen[D], go: Iterable[Member]) -> tuple[dict[str, Any], dict[str, tuple[D, ...]]]:
    """What runs and what is defined, but for those that go."""
    ids = {member.id for member in go}
    active = {name: running for name, running in seen.active.items() if name not in ids}
    return active, {name: seen.defined(name) for name in seen.definitions if name not in ids}


def _removal(kind: Poolable[S, D], go: Sequence[Member], kept: Collection[str] = ()) -> Iterator[Step]:
    """Definitions first: what runs cannot always be taken back. Of ``kept`` ids others have the definitions then."""
    ids = [member.id for member in go if member.id not in kept]
    yield from (kind.undefine(definition) for id in ids for definition in kind.seen.defined(id))
    for member in go:
        yield from kind.stop(member.id)


def _wanted(kind: Poolable[S, D], own: list[Member], ceilings: Mapping[str, int]) -> Plan[S]:
    """The plan for a pool that is to be there, running or only defined."""
    wish, seen, runs = kind.wish, kind.seen, kind.wish.runs
    every = kind.with_adopted(own)
    change = _change(kind, every, runs, ceilings)
    as_many_as_fit = wish.count == members.MAX and (runs or not every)
    kind.refuse_change(change.stay, as_many_as_fit or space.wanted(change, runs) > 0)
    placed = _placed(kind, change, runs, ceilings)
    targets = {one.id: kind.target(one) for one in placed}
    defined = {name: kind.define(target) for name, target in targets.items()}
    # Those whose ids are others now are no longer what they were.
    go = [*change.go, *(member for member in change.stay if member.id not in targets)]
    remove = [*_removal(kind, go, targets)]
    active, definitions = _without(seen, go)
    definitions.update({name: after for name, (_steps, after) in defined.items()})
    creates = tuple(name for name in targets if runs and name not in active)
    make, warnings = kind.make(creates, targets) if runs else ([], ())
    active.update({name: kind.foretold(targets[name]) for name in creates})
    retired = [] if runs else [member for member in _retired(kind, change.stay) if member.id in active]
    members.refuse_if_held(wish.name, retired, kind.STOPPED, wish.force, *kind.HELD)
    for member in retired:
        remove += kind.stop(member.id)
        del active[member.id]
    root = record.root_for(wish.persistent, seen.record)
    instances = [*placed, *record.of_members(change.left)]
    recorded = record.with_instances(Record(wish.name, kind.KIND, kind.document(), (), root), instances)
    if recorded != seen.record:
        record.RECORDS.check(recorded, f"pool {wish.name} cannot be recorded", kind.understood)
    define = [step for each, _after in defined.values() for step in each]
    ordered = [*remove, *make, *define] if runs else [*define, *remove]
    cards = {parent: card for parent, card, _free in kind.rooms(False)}
    return Plan(
        record.around(ordered, recorded, seen.record, go),
        kind.then(recorded, active, definitions),
        creates,
        {name: cards[targets[name].parent] for name in creates},
        warnings,
    )


def _retired(kind: Poolable[S, D], stay: Sequence[Member]) -> Iterable[Member]:
    """Those of the instances that stay which are to run no longer.

    Of a managed pool, what a guest has stays with it, and what was made by hand since the pool is managed.
    """
    if not is_lent(kind.wish):
        return stay
    return (each for each in stay if not each.held_by and not any(d.managed for d in kind.seen.defined(each.id)))


def is_lent(wish: Wish) -> bool:
    """Whether instances are to be there as soon as guests want them, so that room is kept for all of them."""
    return wish.state == "present" and not wish.runs


def _change(kind: Poolable[S, D], every: list[Member], runs: bool, ceilings: Mapping[str, int]) -> Change:
    wish = kind.wish
    if kind.mix is not None:
        return members.mixed(wish.name, every, kind.mix.counts, kind.mix.waits, wish.force, *kind.HELD)
    if kind.listed is not None:
        return members.listed(wish.name, every, kind.listed, wish.force)
    if isinstance(wish.count, int):
        return members.resized(wish.name, every, wish.count, wish.force, *kind.HELD)
    here = _space(kind, (), every, ceilings)
    # What is named by its place and has no room there would be named as another that waits in its own place.
    waiting = [member for member in sorted(every, key=lambda member: member.index) if not member.stays(runs)]
    kept = placement.keep([member.parent for member in waiting], here.rooms, here.limits)
    placeless = [each.id for each, keeps in zip(waiting, kept) if not keeps and kind.moved(each.id, "") != each.id]
    return members.fitted(every, space.most(every, runs, here), runs, placeless)


def _placed(kind: Poolable[S, D], change: Change, runs: bool, ceilings: Mapping[str, int]) -> tuple[Recorded, ...]:
    """Where every instance is to be."""
    if kind.mix is not None:
        return kind.mix.places(change, ceilings)
    here = _space(kind, change.go, change.stay, ceilings)
    wanted = space.wanted(change, runs)
    if wanted > here.capacity and kind.wish.state != "present":
        here = _space(kind, change.go, change.stay, ceilings, ever=True)
    if wanted > here.capacity:
        raise kind.no_room(wanted, here)
    return space.placed(change, runs, here, kind.identity, kind.moved, kind.wish.placement)


def _space(
    kind: Poolable[S, D], go: Sequence[Member], stay: Sequence[Member], ceilings: Mapping[str, int], ever: bool = False
) -> Space:
    """What the parents can take, with what those instances leave that go or that are placed anew.

    ``ever`` is for instances that are only defined: then it is what the parents can take at the most, at any time.
    """
    runs = kind.wish.runs
    leaving, resting = space.leaving(go, stay, runs), space.resting(stay, runs)
    rooms = []
    for parent, card, free in kind.rooms(ever):
        left = 0 if free is None else free + (0 if ever else leaving[parent]) - resting[parent]
        if free is not None or resting[parent]:
            rooms.append(Room(parent, card, max(left, 0)))
    limits = kind.limits(go, resting)
    for card, most in ceilings.items():
        limits[card] = min(most, limits.get(card, most))
    return Space(rooms, limits)
