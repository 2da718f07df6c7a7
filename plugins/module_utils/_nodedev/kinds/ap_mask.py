# SPDX-License-Identifier: GPL-3.0-or-later
"""Which crypto queues of a mainframe are for guests, now and after every boot: those of adapters, and of domains.

By the masks of the AP bus, kept in chzdev's own rule; or on kernels whose queues have overrides, from 6.19, by these,
where no mask is in use: they are kept in a document of our own. Never by both, which the kernel refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .. import wishes
from ..errors import BadInput, InUse, Missing, NodedevError
from ..grammar import ap_mask, ap_queue, checked_ap_numbers, checked_ap_queues
from ..host import ap, ap_lock, binding, matrix
from ..host.ap import Bus, Number
from ..host.oddities import Oddities
from ..host.processes import Holder
from ..plan import Step
from ..resource import Hindrance, Plan
from ..store import ap_rules, files, mdevctl
from ..store.ap_rules import Rule
from ..store.documents import Documents, name_of
from ..store.files import DamagedDefinition, Document, removal
from ..waiting import wait_for

KIND = "ap_mask"
SUBSYSTEM = "ap"
PEER = None
# In what way queues are given to guests, which is the id of the definition too.
MASKS, OVERRIDES = "masks", "overrides"
# Seconds for making one at boot, where others wait.
WAIT = 30.0


@dataclass(frozen=True)
class Given:
    """What is for guests: all queues of these adapters, all of these domains, and these queues."""

    adapters: frozenset[int] = frozenset()
    domains: frozenset[int] = frozenset()
    queues: frozenset[Number] = frozenset()
    by: str = field(default=OVERRIDES, compare=False)

    @property
    def path(self) -> str:
        """Where it is kept."""
        return ap_rules.PATH if self.by == MASKS else DOCUMENTS.paths(OVERRIDES)[0]

    def has(self, number: Number) -> bool:
        """Whether a queue is among it."""
        return number[0] in self.adapters or number[1] in self.domains or number in self.queues

    def __bool__(self) -> bool:
        return bool(self.adapters or self.domains or self.queues)

    def __or__(self, other: Given) -> Given:
        return Given(self.adapters | other.adapters, self.domains | other.domains, self.queues | other.queues, self.by)

    def __sub__(self, other: Given) -> Given:
        return Given(self.adapters - other.adapters, self.domains - other.domains, self.queues - other.queues, self.by)

    def document(self) -> Document:
        """It as it is written, and told."""
        return {
            "adapters": sorted(self.adapters),
            "domains": sorted(self.domains),
            "queues": [ap.name(number) for number in sorted(self.queues)],
        }


@dataclass(frozen=True)
class Wish:
    """What a person wants for guests, or with ``state`` absent for the host; what is not named stays as it is."""

    given: Given = Given()
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
        given = Given(
            checked_ap_numbers("adapters", adapters or ()),
            checked_ap_numbers("domains", domains or ()),
            checked_ap_queues("queues", queues or ()),
        )
        return cls(given, **options)


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
        """What is kept, in either way."""
        return tuple(each for each in (_of_rule(self.rule), self.kept) if each)


def _of_rule(rule: Rule | None) -> Given:
    """What a rule leaves to guests."""
    if rule is None:
        return Given(by=MASKS)
    adapters = ap.EVERY if rule.adapters is None else rule.adapters
    domains = ap.EVERY if rule.domains is None else rule.domains
    return Given(ap.EVERY - adapters, ap.EVERY - domains, by=MASKS)


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
    return MASKS if not bus.overridable or bus.is_masked or _of_rule(seen.rule) else OVERRIDES


def _meant(wish: Wish, seen: Observation) -> Given:
    """What is named, and where nothing is, what is defined."""
    meant = wish.given
    for each in () if wish.given else seen.definitions:
        meant = meant | each
    return meant


def _after(wish: Wish, seen: Observation, bus: Bus) -> Bus:
    """The bus as it is wished."""
    given, by = _meant(wish, seen), _way(seen, bus)
    if wish.state != "present":
        return _returned(seen, bus, _back(wish, seen, bus), by)
    if by == MASKS:
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


def _returned(seen: Observation, bus: Bus, back: Given, by: str) -> Bus:
    if by == MASKS:
        return replace(bus, adapters=bus.adapters | back.adapters, domains=bus.domains | back.domains)
    left = (seen.kept or Given()) - back
    queues = {
        number: replace(each, override=None, driver=None)
        if each.override == ap.VFIO_AP and back.has(number) and not left.has(number)
        else each
        for number, each in bus.queues.items()
    }
    return replace(bus, queues=queues)


def _leaving(bus: Bus, after: Bus) -> frozenset[Number]:
    """The queues that the host would lose."""
    return frozenset(each for each in bus.queues if bus.is_hosts(each) and not after.is_hosts(each))


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
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
        _refuse_assigned(wish, seen, seen.bus, after)
    steps = [] if seen.loaded or wish.state == "inactive" else [_load(seen)]
    steps += _changes(wish, seen.bus, after)
    then = replace(seen, bus=after, loaded=seen.loaded or wish.state == "present", users=())
    return _kept(wish, seen, then, steps, given, by) if wish.persistent else Plan(tuple(steps), then)


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
            "queues",
            ap.named(given.queues),
            f"{why}, and masks give whole adapters and domains to guests: name those",
        )
    overridden = [number for number, each in bus.queues.items() if each.override is not None]
    if by == MASKS and overridden:
        raise NodedevError(
            f"the queues {ap.named(overridden)} have an override of their own, and the kernel takes no masks meanwhile:"
            f" give them back first, or remove {ap_rules.PATH}, whose masks the kernel would not take either"
        )


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


def _load(seen: Observation) -> Step:
    if not seen.loadable:
        raise NodedevError("no module vfio_ap could be loaded: this kernel gives no crypto queues to guests")
    return Step("load module vfio_ap", ap.load)


def _changes(wish: Wish, bus: Bus, after: Bus) -> list[Step]:
    """The steps from one bus to the other."""
    steps = []
    for what, file in ap.MASKS.items():
        before, wanted = getattr(bus, what), getattr(after, what)
        give, leave = before - wanted, wanted - before
        for numbers, hosts in ((give, False), (leave, True)):
            change, undo = (partial(ap.set_mask, file, numbers, way, wish.wait_timeout) for way in (hosts, not hosts))
            described = f"give {what} {ap.listed(numbers)} to {'the host' if hosts else 'guests'}, by {file}"
            steps += [Step(described, change, undo)] if numbers else []
    for number, queue in sorted(bus.queues.items()):
        if queue.override == after.queues[number].override:
            continue
        undo = partial(ap.put_back, queue, wish.wait_timeout)
        if after.queues[number].override is None:
            change = partial(ap.take_back, queue, wish.wait_timeout)
            steps.append(Step(f"give queue {ap.name(number)} to the host, by its override", change, undo))
        else:
            change = partial(ap.give, queue, wish.wait_timeout)
            steps.append(Step(f"give queue {ap.name(number)} to guests, by its override", change, undo))
    return steps


def _leave_rule(wish: Wish, target: Rule | None, former: Rule | None) -> Step:
    """The step that leaves this rule, under the lock that chzdev takes for it too."""

    def leave(rule: Rule | None) -> None:
        with ap_lock.held(wish.wait_timeout):
            ap_rules.leave(rule)

    words = _words(_of_rule(target))
    described = f"change the rule {ap_rules.PATH}{words}"
    if target is None:
        described = f"remove the rule {ap_rules.PATH}"
    elif former is None:
        described = f"write a rule of chzdev's form, {ap_rules.PATH}{words}"
    return Step(described, partial(leave, target), partial(leave, former))


def _leave_document(target: Given | None, former: Given | None) -> Step:
    """The step after which this is our own document, or there is none."""
    described = "undefine what is for guests"
    if target is not None:
        define, change = f"define what is for guests{_words(target)}", "change the definition of what is for guests"
        described = define if former is None else f"{change}{_words(target)}"
    return DOCUMENTS.change(described, OVERRIDES, target, former)


def _kept(
    wish: Wish, seen: Observation, then: Observation, steps: list[Step], given: Given, by: str
) -> Plan[Observation]:
    """The plan with what is kept of it."""
    if by == OVERRIDES:
        kept = (seen.kept or Given()) | given
        steps += [_leave_document(kept, seen.kept)] if kept != seen.kept else []
        return Plan(tuple(steps), replace(then, kept=kept))
    rule = _ruled(seen, given)
    steps += [_leave_rule(wish, rule, seen.rule)] if rule != seen.rule else []
    return Plan(tuple(steps), replace(then, rule=rule))


def _ruled(seen: Observation, given: Given) -> Rule:
    """The rule that leaves these to guests too; a mask that nothing is said of stays as the kernel begins with it."""
    rule, bus = seen.rule or Rule(), seen.bus or Bus()

    def without(kept: frozenset[int] | None, first: frozenset[int], numbers: frozenset[int]) -> frozenset[int] | None:
        return (first if kept is None else kept) - numbers if numbers or kept is not None else None

    return Rule(
        without(rule.adapters, bus.first_adapters, given.adapters),
        without(rule.domains, bus.first_domains, given.domains),
    )


def _words(given: Given) -> str:
    parts = []
    if given.adapters:
        parts.append(f", adapters {ap.listed(given.adapters)}")
    if given.domains:
        parts.append(f", domains {ap.listed(given.domains)}")
    if given.queues:
        parts.append(f", queues {ap.named(given.queues)}")
    return "".join(parts)


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
    """The host's again, and not defined."""
    bus = seen.bus or Bus()
    back = _back(wish, seen, bus) if seen.bus else wish.given
    after = _returned(seen, bus, back, _way(seen, bus))
    _refuse_assigned(wish, seen, bus, after)
    for damage in seen.damaged if wish.given else ():
        raise damage
    steps = [removal(each, KIND) for each in seen.damaged]
    rule = _ruled_back(seen.rule, wish.given)
    kept = (seen.kept - wish.given if seen.kept and wish.given else None) or None
    steps += [_leave_rule(wish, rule, seen.rule)] if rule != seen.rule else []
    steps += [_leave_document(kept, seen.kept)] if kept != seen.kept else []
    steps += _changes(wish, bus, after)
    then = replace(seen, bus=after if seen.bus else None, rule=rule, kept=kept, damaged=())
    return Plan(tuple(steps), then)


def _ruled_back(rule: Rule | None, back: Given) -> Rule | None:
    """The rule that leaves these to the host; None where it leaves nothing to guests any more, or all is given back."""
    if rule is None or not back:
        return None if rule is None or _of_rule(rule) else rule
    left = Rule(
        None if rule.adapters is None else rule.adapters | back.adapters,
        None if rule.domains is None else rule.domains | back.domains,
    )
    return left if left == rule or _of_rule(left) else None


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left of writing definitions."""
    DOCUMENTS.clear_up(OVERRIDES)
    files.clear_up(ap_rules.PATH)
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """Whose the queues are now."""
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
    """What is for guests now, and at boot, apart, as a diff shows them."""
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
    """What is for guests afterwards."""
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


# Definitions.


def decode(path: str, document: Document) -> Given:
    """Understand a definition; raises DamagedDefinition naming the file and what is wrong."""
    values = [document.get(option) for option in ("adapters", "domains", "queues")]
    if name_of(path) != OVERRIDES or not all(isinstance(each, list) for each in values):
        raise DamagedDefinition(path, "it has no lists of adapters, domains and queues")
    try:
        given = Wish.checked(*values).given
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if not given:
        raise DamagedDefinition(path, "it has no adapters, domains or queues")
    return given


DOCUMENTS = Documents(KIND, decode)


def defined(arrived: str | None) -> tuple[list[Given], list[DamagedDefinition]]:
    """What is kept: chzdev's rule, and our own document."""
    found, damaged = DOCUMENTS.all()
    try:
        ruled = _of_rule(ap_rules.find())
    except DamagedDefinition as error:
        return found, [error, *damaged]
    return ([ruled] if ruled else []) + found, damaged


def summary(definition: Given) -> tuple[str, str, bool]:
    """In which way it is kept, what a person calls it; what is defined is there after every boot."""
    return definition.by, f"crypto queues for guests by {definition.by}{_words(definition)}", True


def place(definition: Given) -> list[str]:
    """The matrix, whose devices come after it."""
    return [matrix.PARENT]


def concerns(definition: Given, arrived: str) -> bool:
    """Whether this is the bus, or one of the queues."""
    number = ap_queue(arrived)
    return arrived == ap.NAME or (number is not None and definition.has(number))


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a definition that cannot be understood may be of this: the bus, or any queue."""
    return arrived == ap.NAME or ap_queue(arrived) is not None


def wish(definition: Given) -> Wish:
    """The wish that a definition is."""
    return Wish(definition, persistent=False, wait_timeout=WAIT)


def hindrance(definition: Given) -> Hindrance | None:
    """What is in its way now."""
    if not ap.is_there():
        return Hindrance("this host has no AP bus now", passing=False)
    unready = ap.unready()
    return None if unready is None else Hindrance(unready, passing=True)


def facts(definition: Given) -> dict[str, Any]:
    """What definition_facts says of it: whether its queues are for guests, and which are not."""
    bus = ap.look(Oddities())
    mine = [] if bus is None else [each for number, each in sorted(bus.queues.items()) if definition.has(number)]
    unlike = [each for each in mine if bus is not None and bus.is_hosts(each.number)]
    # Of what is not there a mask speaks all the same, and an override does not.
    masked = definition.by != MASKS or (
        bus is not None and not definition.adapters & bus.adapters and not definition.domains & bus.domains
    )
    return {
        "by": definition.by,
        **definition.document(),
        "autostart": True,
        "active": bus is not None and masked and not unlike,
        "parent_missing": bus is None,
        "drift": [
            {"what": f"queue {ap.name(each.number)}", "defined": ap.VFIO_AP, "running": each.driver or binding.NONE}
            for each in unlike
        ],
    }
