# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of MIG-backed vGPUs with the GPU instances that it needs, which are made and defined before them.

Instances that are there are used first, and none is ever removed: who else counts on one, nobody can tell. What is
defined of a card has at least as many as all vGPUs need that are defined on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import BadInput
from ..host import vgpu_types
from ..host.vgpu_types import Type
from ..names import called, device_name
from ..plan import Step
from ..pools import capacity, members, placement
from ..resource import Plan
from .mig import definition as division
from .mig import device as mig
from .mig import types as mig_types
from .mig.definition import Division
from .vgpu import pool
from .vgpu.pool_seen import Observation, counts, with_cards
from .vgpu.pool_wish import Wish

SUBSYSTEM, PEER = pool.SUBSYSTEM, pool.PEER
events = pool.events


@dataclass(frozen=True)
class Both:
    """The pool, and where vGPUs are lacking the cards that MIG divides, by their addresses."""

    pool: Observation
    cards: Mapping[str, mig.Observation] = field(default_factory=dict)


def locks(wish: Wish, seen: Both | None = None) -> set[str]:
    """Those of the pool, whose cards are the ones to be divided."""
    return pool.locks(wish, seen.pool if seen else None)


def observe(wish: Wish) -> Both:
    """The pool, and the GPU instances of its cards where it lacks vGPUs, with who works on them."""
    seen = pool.observe(wish)
    filled = wish.filled(seen.record)
    own = dict.fromkeys(seen.card_of(one.id) for one in seen.record.instances) if seen.record else {}
    lasts = wish.state == "present" and wish.persistent
    if not seen.modes and seen.untold is None and lasts and not all(map(_is_defined, own)):
        seen = with_cards(filled, seen)
    if not seen.modes and not _lacking(filled, seen) and not _is_untold(wish, seen):
        return Both(seen)
    cards = {**dict.fromkeys(map(seen.card_of, seen.usable)), **own}
    looks = {card: mig.look(mig.Wish(Division(card), persistent=False)) for card in cards}
    return Both(seen, {card: mig.with_uses(each) for card, each in looks.items() if each.modes.current})


def _is_defined(card: str) -> bool:
    """Whether GPU instances of a card are defined; what is damaged has to be looked at."""
    found, _damaged = division.DOCUMENTS.look(card)
    return found is not None and bool(found.instances)


def _is_untold(wish: Wish, seen: Observation) -> bool:
    """Whether no card tells of a wished type, as it may be while MIG is off."""
    return seen.type is None if wish.filled(seen.record).types is None else None in seen.mix.values()


def _lacking(wish: Wish, seen: Observation) -> Counter[int]:
    """How many vGPUs of each type are to be made, of a managed pool once guests want them."""
    if wish.count == members.MAX and wish.state == "present":
        raise BadInput("count", wish.count, "GPU instances are derived from a number: say one, or set mig: keep")
    if wish.types is None:
        size = wish.size if isinstance(wish.size, int) else 0
        wanted = Counter({seen.type.id: size}) if seen.type else Counter[int]()
    else:
        wanted = counts(wish, seen)
    recorded = [one.id for one in seen.record.instances] if seen.record else []
    there = [*seen.active] if wish.runs else recorded
    types = [seen.type_of(each) for each in there]
    return wanted - Counter(type for type in types if type is not None)


class _Card:
    """A card while vGPUs are placed on its GPU instances, and on those that there can be besides."""

    def __init__(self, seen: Both, address: str) -> None:
        card, every = seen.cards[address], seen.pool.functions.values()
        here = [each for each in every if seen.pool.card_of(each.address) == address]
        usable = [each for each in here if each.address in seen.pool.usable and not each.type]
        self.functions = sum(not seen.pool.is_anothers(each.address) for each in usable)
        self.types = seen.pool.supported.get(address, {})
        self.free = {each.id: each.free for each in card.details.profiles}
        # The profile of each instance, and the framebuffer of each vGPU on it.
        self.instances: list[tuple[int, list[int]]] = []
        for each in card.instances:
            on_it = [one.type for one in here if one.type and card.places.get(one.address) == each.id]
            if not on_it and any(place == each.id for _client, place in card.details.clients):
                # Processes have it.
                continue
            self.instances.append((each.profile, [self._size(type) for type in on_it]))
        self.carried = Counter(each.type for each in here if each.type)
        self.fresh: Counter[int] = Counter()
        self.vgpus: Counter[int] = Counter()

    def _size(self, type: int) -> int:
        return self.types[type].framebuffer or 0 if type in self.types else 0

    def room(self, type: int) -> tuple[int, list[int]] | None:
        """The instance on which one more goes, a new one last; None where there is no room, or no such type."""
        known = self.types.get(type)
        if known is None or known.profile is None or not self.functions:
            return None
        if known.most is not None and self.carried[type] + self.vgpus[type] >= known.most:
            return None
        fitting = [
            (profile, sizes)
            for profile, sizes in self.instances
            if profile == known.profile and len(sizes) < (known.per_instance or 1) and {*sizes} <= {self._size(type)}
        ]
        if fitting:
            return max(fitting, key=lambda each: len(each[1]))
        more = self.free.get(known.profile, 0) - self.fresh[known.profile]
        return (known.profile, []) if more > 0 else None

    def take(self, type: int) -> None:
        """Place one more, for which there is room."""
        found = self.room(type)
        if found is not None:
            if not any(found[1] is sizes for _profile, sizes in self.instances):
                self.fresh[found[0]] += 1
                self.instances.append(found)
            found[1].append(self._size(type))
            self.functions -= 1
            self.vgpus[type] += 1

    def is_new(self, type: int) -> bool:
        """Whether one more needs another GPU instance."""
        found = self.room(type)
        return found is not None and not any(found[1] is sizes for _profile, sizes in self.instances)


def plan(wish: Wish, seen: Both, ceilings: Mapping[str, int]) -> Plan[Both]:
    """The steps that divide cards further, and those of the pool on what they are then."""
    filled = wish.filled(seen.pool.record)
    shares = _shares(filled, seen, _lacking(filled, seen.pool)) if wish.state == "present" else {}
    fresh = {card: share.fresh for card, share in shares.items() if share.fresh}
    divided = {card: _divided(seen.cards[card], more) for card, more in fresh.items()}
    most = {card: sum(share.vgpus.values()) for card, share in shares.items()}
    made = pool.plan(wish, _foretold(seen.pool, shares), {**most, **ceilings})
    _refuse_elsewhere(wish.name, shares, made)
    there = {card: divided[card].then.counts if card in divided else each.counts for card, each in seen.cards.items()}
    lasting = [each for each in seen.cards.values() if wish.persistent and wish.state == "present" and not each.manager]
    defined = {each.address: _definition(each, made.then, seen.pool, there[each.address]) for each in lasting}
    kept = {card: step for card, (step, _target) in defined.items() if step is not None}
    steps = [step for each in divided.values() for step in each.steps]
    then = {card: divided[card].then if card in divided else each for card, each in seen.cards.items()}
    then = {card: replace(each, definition=defined[card][1]) if card in kept else each for card, each in then.items()}
    derived = {device_name("pci", card): _named(seen.cards[card], more) for card, more in fresh.items()}
    return Plan(
        (*steps, *kept.values(), *made.steps),
        Both(made.then, then),
        made.creates,
        made.cards,
        (*made.warnings, *_spare(seen, made.then)),
        {**made.also, "derived": derived},
    )


def _named(card: mig.Observation, profiles: Mapping[int, int]) -> dict[str, int]:
    names = {each.id: each.name for each in card.details.profiles}
    return {names.get(id, str(id)): count for id, count in sorted(profiles.items())}


def _shares(wish: Wish, seen: Both, lacking: Mapping[int, int]) -> dict[str, _Card]:
    """Where the lacking vGPUs go, the largest first; BadInput where they do not fit."""
    cards = {address: _Card(seen, address) for address in seen.cards}
    known = {id: type for card in cards.values() for id, type in card.types.items() if id in lacking}
    _refuse_others(wish, seen, lacking, known)
    pinned = _pinned(seen.pool) if wish.runs else []
    for type in capacity.in_order(_sized(known)):
        count = lacking[type]
        for address in [card for card, own in pinned if own == type][:count]:
            if address in cards and cards[address].room(type) is not None:
                cards[address].take(type)
                count -= 1
        for number in range(count):
            able = [each for each in cards.values() if each.room(type) is not None]
            if not able:
                raise _no_room(wish, seen, known[type], count - number)
            # The first as they are listed is the one to fill; else the one that has been given the fewest.
            spread = wish.types is None and wish.placement != placement.PACK
            min(able, key=lambda each: (each.is_new(type), sum(each.vgpus.values()) if spread else 0)).take(type)
    return {address: each for address, each in cards.items() if each.vgpus}


def _sized(types: Mapping[int, Type]) -> Iterator[capacity.Type]:
    for id, each in types.items():
        yield capacity.Type(id, each.framebuffer or 0, each.most or 0)


def _pinned(seen: Observation) -> list[tuple[str, int]]:
    """The cards and types of instances that do not run, and come back where they were."""
    resting = [one.id for one in seen.record.instances if one.id not in seen.active] if seen.record else []
    there = [each for each in resting if each in seen.functions and not seen.functions[each].type]
    return [(seen.card_of(each), type) for each in there if (type := seen.type_of(each)) is not None]


def _refuse_others(wish: Wish, seen: Both, lacking: Collection[int], known: Mapping[int, Type]) -> None:
    """Raise BadInput where MIG divides no card, or a type is for none; a type that nobody knows is left to the pool."""
    if not seen.cards and (lacking or _is_untold(wish, seen.pool)):
        cards = ", ".join(map(called, dict.fromkeys(map(seen.pool.card_of, seen.pool.usable)))) or "none"
        raise BadInput(
            "mig",
            "derive",
            f"MIG is on for none of the cards of pool {wish.name}, which are: {cards}. Enable it first, by"
            " hostdev.nodedev.mig with enabled: true",
        )
    for id in lacking:
        if id in known and known[id].profile is None:
            name = vgpu_types.called(id, seen.pool.types)
            raise BadInput("mig", "derive", f"{name} is a type for a whole card, without GPU instances")


def _no_room(wish: Wish, seen: Both, type: Type, count: int) -> BadInput:
    told = []
    for address, card in seen.cards.items():
        of = next((each for each in card.details.profiles if each.id == type.profile), None)
        room = "no such profile" if of is None else f"{of.free} of {of.total} GPU instances {of.name} free"
        told.append(f"{called(address)}: {room}")
    return BadInput(
        "mig",
        "derive",
        f"pool {wish.name} needs {count} more vGPUs of type {vgpu_types.called(type.id, seen.pool.types)} than its GPU"
        f" instances, and those that there can be, have room for: {'; '.join(told)}",
    )


def _divided(card: mig.Observation, more: Mapping[int, int]) -> Plan[mig.Observation]:
    """The plan for the GPU instances that are there, and these."""
    there = Counter(each.profile for each in card.instances)
    wanted = {str(id): count for id, count in sorted((there + Counter(more)).items())}
    target = Division(card.address, True, wanted)
    planned = mig.plan(mig.Wish(target, persistent=False), replace(card, division=target))
    return replace(planned, then=replace(planned.then, division=card.division))


def _foretold(seen: Observation, shares: Mapping[str, _Card]) -> Observation:
    """What there is once the cards are divided: functions offer what is to be placed on their cards, and that alone."""
    functions = dict(seen.functions)
    for address, each in seen.functions.items() if shares else ():
        share = shares.get(seen.card_of(address))
        others = {id: name for id, name in each.offers.items() if id not in seen.wanted}
        offers = {**others, **{id: seen.types.get(id, "") for id in (share.vgpus if share else ())}}
        functions[address] = each if each.type else replace(each, offers=offers)
    return replace(seen, functions=functions)


def _refuse_elsewhere(name: str, shares: Mapping[str, _Card], made: Plan[Observation]) -> None:
    """Raise BadInput where the pool places its vGPUs otherwise than they were counted, as over cards unlike another."""
    placed = Counter((made.then.card_of(each), made.then.type_of(each)) for each in made.creates)
    if shares and placed != Counter({(card, id): n for card, share in shares.items() for id, n in share.vgpus.items()}):
        raise BadInput("mig", "derive", f"the vGPUs of pool {name} do not go over these cards so: choose fewer parents")


def _spare(seen: Both, then: Observation) -> Iterator[str]:
    """The warning that GPU instances stay which no vGPU needs any more, where the pool has fewer of these now."""
    before, after = (Counter(map(each.card_of, each.active)) for each in (seen.pool, then))
    spare = []
    for card in before - after:
        types, each = seen.pool.supported.get(card, {}), seen.cards.get(card)
        here = [one.type for one in then.functions.values() if one.type and then.card_of(one.address) == card]
        backed = Counter(str(id) for id in here if id in types and types[id].profile is not None)
        needed = Counter(mig_types.needed(backed, types, True))
        if each is not None and Counter(str(one.profile) for one in each.instances) - needed:
            spare.append(called(card))
    if spare:
        yield (
            f"GPU instances that no vGPU needs now stay on {', '.join(spare)}, since others may want them:"
            " hostdev.nodedev.mig removes them"
        )


def _definition(
    card: mig.Observation, then: Observation, seen: Observation, there: Mapping[str, int]
) -> tuple[Step | None, Division | None]:
    """The step that has a card divided so at boot as the vGPUs need that are defined on it, and how that is.

    Where none are defined, those that are ``there`` are too: they would be removed as too many when it is restored.
    """
    types = seen.supported.get(card.address, {})
    defined = [each for own in then.definitions.values() for each in own if each.lasts]
    here = Counter(each.type for each in defined if then.card_of(each.address) == card.address)
    wanted = {str(id): count for id, count in here.items() if id in types and types[id].profile is not None}
    if not wanted:
        return None, card.definition
    if card.damaged:
        raise card.damaged
    former = card.definition.instances if card.definition else None
    instances = dict(there if former is None else former)
    for id, count in mig_types.needed(wanted, types, True).items():
        name = next((each.name for each in card.details.profiles if str(each.id) == id), id)
        key = id if id in instances else name
        instances[key] = max(instances.get(key, 0), count)
    target = Division(card.address, True, dict(sorted(instances.items())))
    return (None if target == card.definition else division.define(target, card.definition)), target


def look_again(wish: Wish, before: Both, planned: Plan[Both]) -> Both:
    """What is there of the pool; each step has looked at the GPU instances that it has made."""
    return Both(pool.look_again(wish, before.pool, _of_pool(planned)), planned.then.cards)


def _of_pool(planned: Plan[Both]) -> Plan[Observation]:
    then = planned.then.pool
    return Plan(planned.steps, then, planned.creates, planned.cards, planned.warnings, planned.also)


def clear_up(wish: Wish, seen: Both) -> bool:
    """Remove what killed runs have left of writing what is defined."""
    for card in seen.cards:
        division.DOCUMENTS.clear_up(card)
    return pool.clear_up(wish, seen.pool)


def state(seen: Both) -> dict[str, Any]:
    """What runs and what is kept of the pool and of the cards."""
    every = [*map(mig.state, seen.cards.values()), pool.state(seen.pool)]
    return {part: {id: each for found in every for id, each in found[part].items()} for part in ("runtime", "boot")}


def starts(seen: Both) -> bool:
    """Whether an instance is defined and starts by itself."""
    return pool.starts(seen.pool)


def comes_with_guest(seen: Both) -> bool:
    """Whether an instance is defined as managed."""
    return pool.comes_with_guest(seen.pool)


def described(wish: Wish, before: Both, planned: Plan[Both], after: Both) -> dict[str, Any]:
    """The pool afterwards, and by card the GPU instances that were made for it."""
    told = pool.described(wish, before.pool, _of_pool(planned), after.pool)
    return {**told, "derived": planned.also["derived"]}
