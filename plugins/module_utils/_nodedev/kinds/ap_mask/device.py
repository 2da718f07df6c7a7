# SPDX-License-Identifier: GPL-3.0-or-later
"""Which crypto queues of a mainframe are for guests, now and after every boot: those of adapters, and of domains.

By the masks of the AP bus, kept in chzdev's own rule; or on kernels whose queues have overrides, from 6.19, by these,
where no mask is in use: they are kept in a document of our own. Never by both, which the kernel refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import ap_mask
from ...host import ap, binding, matrix
from ...host.ap import Bus, Number
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...plan import Step
from ...resource import Plan
from ...store import ap_rules, files, mdevctl
from ...store.ap_rules import Rule
from ...store.files import DamagedDefinition, removal
from ...waiting import wait_for
from .definition import DOCUMENTS, KIND, MASKS, OVERRIDES, Given, of_rule

SUBSYSTEM = "ap"
PEER = None


@dataclass(frozen=True)
class Wish:
    """What a person wants for guests, or with ``state`` absent for the host; what is not named stays as it is."""

    given: Given = field(default_factory=Given)
    state: str = "present"
    persistent: bool = True
    force: bool = False
    wait_timeout: float = 30

    @classmethod
    def checked(
        cls,
        adapters: Sequence[object] | None = None,
        domains: Sequence[object] | None = None,
        queues: Sequence[object] | None = None,
        **options: Any,
    ) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        wishes.check(options)
        return cls(Given.checked(adapters, domains, queues), **options)


@dataclass(frozen=True)
class Observation:
    """The bus, what is kept, and who has queues; ``bus`` is None where the host has none.

    ``rule`` is chzdev's, ``kept`` our own document. ``assigned`` are the queues of mediated devices that run,
    ``defined`` those of definitions that start by themselves, by UUID. ``users`` have the host's queues open.
    """

    bus: Bus | None
    loaded: bool = True
    loadable: bool = True
    rule: Rule | None = None
    kept: Given | None = None
    damaged: tuple[DamagedDefinition, ...] = ()
    assigned: Mapping[str, frozenset[Number]] = field(default_factory=dict)
    defined: Mapping[str, frozenset[Number]] = field(default_factory=dict)
    users: tuple[Holder, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def definitions(self) -> tuple[Given, ...]:
        return tuple(each for each in (of_rule(self.rule), self.kept) if each)


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """That of the matrix, whose devices have the queues."""
    return {matrix.PARENT}


def observe(wish: Wish) -> Observation:
    """Read the bus, what is kept, the queues of mediated devices, and who uses those that the host would lose."""
    oddities = Oddities()
    bus = ap.look(oddities)
    damaged: list[DamagedDefinition] = []
    rule = kept = None
    try:
        rule = ap_rules.find()
    except DamagedDefinition as error:
        damaged.append(error)
    try:
        kept = DOCUMENTS.find(OVERRIDES)
    except DamagedDefinition as error:
        damaged.append(error)
    loaded = bus is None or ap.is_loaded()
    seen = Observation(bus, loaded, loaded or binding.can_be_loaded(ap.VFIO_AP), rule, kept, tuple(damaged))
    if bus is not None and wish.state == "present" and _leaving(bus, _after(wish, seen, bus)):
        seen = replace(seen, users=ap.users())
    definitions, _ignored = mdevctl.all_defined(matrix.PARENT)
    starting = {each.uuid: matrix.attrs_of(each.attrs) for each in definitions if each.autostart or each.managed}
    return replace(
        seen,
        assigned={uuid: each.queues for uuid, each in matrix.running().items()},
        defined={uuid: each.queues for uuid, each in starting.items() if each is not None},
        oddities=tuple(oddities.warnings),
    )


def _way(seen: Observation, bus: Bus) -> str:
    """How queues are given to guests here: by masks where one is in use or kept, or queues have no overrides."""
    return MASKS if not bus.overridable or bus.is_masked or of_rule(seen.rule) else OVERRIDES


def _meant(wish: Wish, seen: Observation) -> Given:
    """What is named, and where nothing is, what is defined."""
    meant = wish.given
    for each in () if wish.given else seen.definitions:
        meant = meant | each
    return meant


def _after(wish: Wish, seen: Observation, bus: Bus) -> Bus:
    """The bus as it is wished."""
    given = _meant(wish, seen)
    if wish.state != "present":
        return _returned(seen, bus, _back(wish, seen, bus))
    if _way(seen, bus) == MASKS:
        return replace(bus, adapters=bus.adapters - given.adapters, domains=bus.domains - given.domains)
    queues = {
        number: replace(each, override=ap.VFIO_AP, driver=ap.VFIO_AP) if given.has(number) else each
        for number, each in bus.queues.items()
    }
    return replace(bus, queues=queues)


def _back(wish: Wish, seen: Observation, bus: Bus) -> Given:
    """What the host is to get: what is named, and where nothing is, all that guests have got since the kernel began."""
    if wish.state == "inactive":
        return _meant(wish, seen)
    overridden = frozenset(number for number, each in bus.queues.items() if each.override is not None)
    every = Given(bus.first_adapters - bus.adapters, bus.first_domains - bus.domains, overridden)
    return wish.given or every | (seen.kept or Given())


def _returned(seen: Observation, bus: Bus, back: Given) -> Bus:
    """The bus with this given back, by whatever guests have it."""
    left = (seen.kept or Given()) - back
    queues = {
        number: replace(each, override=None, driver=None)
        if each.override == ap.VFIO_AP and back.has(number) and not left.has(number)
        else each
        for number, each in bus.queues.items()
    }
    return replace(bus, adapters=bus.adapters | back.adapters, domains=bus.domains | back.domains, queues=queues)


def _leaving(bus: Bus, after: Bus) -> frozenset[Number]:
    """The queues that the host would lose."""
    return frozenset(each for each in bus.queues if bus.is_hosts(each) and not after.is_hosts(each))


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    if wish.state == "absent":
        return _absent(wish, seen)
    if seen.damaged:
        raise seen.damaged[0]
    if seen.bus is None:
        raise NodedevError("this host has no AP bus: a mainframe (s390x) with crypto adapters has one")
    given, by = _meant(wish, seen), _way(seen, seen.bus)
    if not given:
        raise Missing("adapters", "nothing is defined for guests here, so adapters, domains or queues have to be named")
    _check(given, seen.bus, by)
    after = _after(wish, seen, seen.bus)
    _refuse_unfit(wish, given, seen.bus, after)
    _refuse_in_use(wish, seen, seen.bus, after)
    if wish.state == "inactive":
        _refuse_covered(wish, after, Given())
        _refuse_assigned(wish, seen, seen.bus, after)
    then = replace(seen, bus=after, loaded=seen.loaded or wish.state == "present", users=())
    if wish.persistent and by == OVERRIDES:
        then = replace(then, kept=(seen.kept or Given()) | given)
    elif wish.persistent:
        then = replace(then, rule=_ruled(seen, given))
    return Plan(tuple(_steps(wish, seen, then)), then)


def _steps(wish: Wish, seen: Observation, then: Observation) -> list[Step]:
    """What has to be done for it; what is kept goes first where the host gets its queues back for good."""
    before, after = ((each.bus, each.loaded, each.rule, each.kept) for each in (seen, then))
    if before == after:
        return []
    # Here, so that a run that changes nothing does not wait for its import.
    from . import steps

    load = [] if seen.loaded == then.loaded else [steps.load(seen.loadable)]
    changes = steps.changes(seen.bus or Bus(), then.bus or Bus(), wish.wait_timeout)
    rule = [] if seen.rule == then.rule else [steps.leave_rule(then.rule, seen.rule, wish.wait_timeout)]
    document = [] if seen.kept == then.kept else [steps.leave_document(then.kept, seen.kept)]
    kept = [*rule, *document]
    return [*kept, *changes] if wish.state == "absent" else [*load, *changes, *kept]


def _check(given: Given, bus: Bus, by: str) -> None:
    """Raise BadInput for what this machine, or this kernel, cannot have."""
    for option, numbers, most in (
        ("adapters", given.adapters, bus.max_adapter),
        ("domains", given.domains, bus.max_domain),
    ):
        beyond = [number for number in sorted(numbers) if number > most]
        if beyond:
            raise BadInput(option, beyond[0], f"the highest number that this machine has is {most} (0x{most:02x})")
    if given.queues and by == MASKS:
        why = (
            "apmask or aqmask is in use"
            if bus.overridable
            else "the queues of this kernel have no override of their own"
        )
        raise BadInput(
            "queues", ap.named(given.queues), f"{why}, and masks give whole adapters and domains to guests: name those"
        )
    overridden = [number for number, each in bus.queues.items() if each.override is not None]
    if by == MASKS and overridden:
        raise NodedevError(
            f"the queues {ap.named(overridden)} have an override of their own, and the kernel takes no masks meanwhile:"
            f" give them back first, or remove {ap_rules.PATH}, whose masks the kernel would not take either"
        )


def _refuse_covered(wish: Wish, after: Bus, kept: Given) -> None:
    """Raise BadInput for queues that would stay with guests, now or by what is kept: as a whole they were given."""
    covered = [each for each in wish.given.queues if kept.has(each) or not after.is_hosts(each)]
    if covered:
        raise BadInput("queues", ap.named(covered), "their whole adapters or domains are for guests: name those")


def _refuse_unfit(wish: Wish, given: Given, bus: Bus, after: Bus) -> None:
    """Raise NodedevError for adapters that are too old for vfio_ap: nobody would have their queues."""
    old = {number[0] for number in _leaving(bus, after)}
    for adapter in sorted(old | given.adapters):
        card = bus.cards.get(adapter)
        if card is None or card.takes_vfio or (wish.force and adapter not in given.adapters):
            continue
        what = f"adapter {ap.listed([adapter])} is of type {card.hwtype}, and vfio_ap takes {ap.OLDEST} and newer"
        if adapter in given.adapters:
            raise NodedevError(f"{what}: leave it to the host")
        raise NodedevError(
            f"{what}, so that nobody would have its queues of these domains: set force: true to take them from the host"
        )


def _refuse_in_use(wish: Wish, seen: Observation, bus: Bus, after: Bus) -> None:
    """Raise InUse where the host works with queues that it would lose, or would have no queue left for a program."""
    leaving = _leaving(bus, after)
    if wish.force or not leaving:
        return
    at_work = [number for number in sorted(leaving) if bus.queues[number].work]
    if at_work:
        raise InUse(
            f"the host works with the queues {ap.named(at_work)} at this moment: stop that first, or set force: true to"
            " take them away all the same"
        )
    stays = [each for each in after.queues.values() if after.is_hosts(each.number) and each.online]
    if seen.users and not stays:
        users = ", ".join(map(str, seen.users))
        raise InUse(
            f"the host would have no crypto queue left, and {users}: stop that first, or set force: true",
            [each.document() for each in seen.users],
        )


def _refuse_assigned(wish: Wish, seen: Observation, bus: Bus, after: Bus) -> None:
    """Raise InUse where a mediated device has queues that the host would get, or is to have them when it starts."""

    def are_taken(numbers: Iterable[Number]) -> list[Number]:
        return [each for each in numbers if not bus.is_hosts(each) and after.is_hosts(each)]

    for uuid, numbers in seen.assigned.items():
        taken = are_taken(numbers)
        if taken:
            raise InUse(f"mdev {uuid} has the queues {ap.named(taken)}: remove it, or unassign them, first")
    for uuid, numbers in seen.defined.items():
        taken = are_taken(numbers)
        if taken and not wish.force:
            raise InUse(
                f"mdev {uuid} is defined with the queues {ap.named(taken)}, and could not start any more: change its"
                " definition first, or set force: true"
            )


def _ruled(seen: Observation, given: Given) -> Rule:
    """The rule that leaves these to guests too; a mask that nothing is said of stays as the kernel begins with it."""
    rule, bus = seen.rule or Rule(), seen.bus or Bus()

    def without(kept: frozenset[int] | None, first: frozenset[int], numbers: frozenset[int]) -> frozenset[int] | None:
        return (first if kept is None else kept) - numbers if numbers or kept is not None else None

    return Rule(
        without(rule.adapters, bus.first_adapters, given.adapters),
        without(rule.domains, bus.first_domains, given.domains),
    )


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
    """The host's again, and not defined."""
    bus = seen.bus or Bus()
    back = _back(wish, seen, bus) if seen.bus else wish.given
    after = _returned(seen, bus, back)
    _refuse_assigned(wish, seen, bus, after)
    for damage in seen.damaged if wish.given else ():
        raise damage
    rule = _ruled_back(seen.rule, wish.given)
    kept = (seen.kept - wish.given if seen.kept and wish.given else None) or None
    _refuse_covered(wish, after, of_rule(rule) | (kept or Given()))
    then = replace(seen, bus=after if seen.bus else None, rule=rule, kept=kept, damaged=())
    removals = [removal(each, KIND) for each in seen.damaged]
    return Plan((*removals, *_steps(wish, seen, then)), then)


def _ruled_back(rule: Rule | None, back: Given) -> Rule | None:
    """The rule that leaves these to the host; None where it leaves nothing to guests any more, or all is given back."""
    if rule is None or not back:
        return None if rule is None or of_rule(rule) else rule
    left = Rule(
        None if rule.adapters is None else rule.adapters | back.adapters,
        None if rule.domains is None else rule.domains | back.domains,
    )
    return left if left == rule or of_rule(left) else None


def clear_up(wish: Wish, seen: Observation) -> bool:
    DOCUMENTS.clear_up(OVERRIDES)
    files.clear_up(ap_rules.PATH)
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    return observe(wish)


def settled(wish: Wish, before: Observation, after: Observation) -> Observation:
    """Once vfio_ap has all queues that it can have, which may take a moment; what it has not got is told."""
    if wish.state == "present" and after.bus is not None:
        numbers = _for_vfio(after.bus)
        if ap.unbound(numbers) and wait_for(lambda: not ap.unbound(numbers), min(wish.wait_timeout, binding.SETTLING)):
            return observe(wish)
    return after


def _for_vfio(bus: Bus) -> list[Number]:
    """The queues that are there, for guests, and new enough."""
    return [
        number
        for number in sorted(bus.queues)
        if not bus.is_hosts(number) and (number[0] not in bus.cards or bus.cards[number[0]].takes_vfio)
    ]


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """None: no device is new but for the matrix."""
    return []


def starts(seen: Observation) -> bool:
    """Whether something is defined that the boot engine alone brings back: chzdev's rule is udev's."""
    return bool(seen.kept)


def state(seen: Observation) -> dict[str, Any]:
    running = Given() if seen.bus is None else _running(seen.bus)
    return {
        "runtime": {"ap": running.document()} if running else {},
        "boot": {each.by: each.document() for each in seen.definitions},
    }


def _running(bus: Bus) -> Given:
    """What is for guests by the masks, or by overrides."""
    overridden = frozenset(number for number, each in bus.queues.items() if each.override == ap.VFIO_AP)
    return Given(ap.EVERY - bus.adapters, ap.EVERY - bus.domains, overridden)


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    bus = after.bus or Bus()
    numbers = _for_vfio(bus)
    lost = [each for each in numbers if bus.queues[each].driver != ap.VFIO_AP] if after is not planned.then else []
    late = [f"the queues {ap.named(lost)} are for guests, and vfio_ap has not got them: look at the kernel log"]
    defined = [{"by": each.by, **each.document()} for each in after.definitions]
    return {
        KIND: {
            "by": _way(after, bus),
            "adapters": sorted(ap.EVERY - bus.adapters),
            "domains": sorted(ap.EVERY - bus.domains),
            "queues": [ap.name(number) for number in numbers],
            "apmask": ap_mask(bus.adapters),
            "aqmask": ap_mask(bus.domains),
            "active": bool(_running(bus)),
            "persistent": bool(defined),
            "defined": defined,
        },
        "warnings": [*after.oddities, *planned.warnings, *(late if lost and wish.state == "present" else [])],
    }
