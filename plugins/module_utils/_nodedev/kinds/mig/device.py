# SPDX-License-Identifier: GPL-3.0-or-later
"""A GPU that MIG divides: what is there of it, and the plan that divides it as wished.

Identity is the address of the card. GPU instances are counted by profile: what is wished and there stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import checked_function
from ...host import mig, nvidia_smi, pci, sysfs, virtual_functions
from ...host.mig import Details, Instance, Modes, Profile
from ...host.numbers import integer
from ...host.virtual_functions import Virtual
from ...names import called, device_name
from ...plan import Step
from ...resource import Plan
from ...store.files import DamagedDefinition, removal
from ...text import shown
from . import definition as do
from . import types as mig_types
from .definition import DOCUMENTS, KIND, Division, declare, define, division_of, undefine

SUBSYSTEM = "pci"
PEER = None
DRIVER = "nvidia"
UNKNOWN, UNASKED = Modes(None, None), Details()
# The GPU instance that the vGPU of a function is on.
PLACE, NOWHERE = "nvidia/gpu_instance_id", 0xFFFFFFFF


@dataclass(frozen=True)
class Wish:
    """What a person wants of a card; ``types`` are vGPUs, from which the instances follow that they need.

    ``mode_only`` has its instances left as they are, whatever is defined.
    """

    division: Division
    state: str = "present"
    persistent: bool = True
    allow_reset: bool = False
    force: bool = False
    wait_timeout: float = 30
    mode_only: bool = False
    types: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def checked(
        cls,
        device: str,
        enabled: bool | None = None,
        instances: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        wishes.check(options)
        if types is not None:
            options["types"] = mig_types.checked(types)
            if enabled is False:
                raise BadInput("enabled", False, "a card that MIG does not divide has no GPU instances")
            if options.get("state") == "inactive":
                allowed = "MIG is off with state 'inactive', and a card may list no such types then: name instances"
                raise BadInput("types", options["types"], allowed)
            enabled = True
        return cls(declare(checked_function("device", device), enabled, instances), **options)


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``division`` is the wish over the definition, ``function`` the card, and ``untold`` why nvidia-smi does not tell of
    it. Where something is to change, ``functions`` are the virtual ones, ``places`` by their addresses the GPU
    instances that their vGPUs are on as far as that is known, and ``manager`` is where NVIDIA's service is enabled.
    """

    division: Division
    function: pci.Function | None = None
    modes: Modes = UNKNOWN
    instances: tuple[Instance, ...] = ()
    untold: NodedevError | None = None
    definition: Division | None = None
    damaged: DamagedDefinition | None = None
    details: Details = UNASKED
    functions: tuple[Virtual, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    manager: str | None = None

    @property
    def address(self) -> str:
        return self.division.address

    @property
    def counts(self) -> dict[str, int]:
        """How many GPU instances of each profile there are, by its name."""
        return dict(sorted(Counter(each.name for each in self.instances).items()))


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """That of the card."""
    return {pci.card_of(wish.division.address)}


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the card and the definition, and who works on the card where that is to change."""
    seen = look(wish)
    return with_uses(seen) if seen.modes.current is not None and _changes(wish, seen) else seen


def with_uses(seen: Observation) -> Observation:
    """With what counts where a card is to change: its profiles, its functions, and who works on it."""
    if seen.function is None:
        return seen
    functions = virtual_functions.of(seen.function)
    carrying = [each for each in functions if each.vgpu]
    used = {each.address: each for each in virtual_functions.with_uses(carrying, True)}
    seen = replace(seen, functions=tuple(used.get(each.address, each) for each in functions), places=_places(carrying))
    try:
        return replace(seen, details=mig.details(seen.address), manager=mig.manager())
    except NodedevError as error:
        return replace(seen, untold=error)


def look(wish: Wish) -> Observation:
    """The same without what is for whoever changes something."""
    definition, damaged = DOCUMENTS.look(wish.division.address)
    seen = Observation(wish.division.over(definition), definition=definition, damaged=damaged)
    function = pci.find(seen.address)
    seen = replace(seen, function=function)
    if function is None or not _is_card(function) or function.driver != DRIVER:
        return seen
    try:
        modes = mig.modes(seen.address)
        seen = replace(seen, modes=modes, instances=mig.instances(seen.address) if modes.current else ())
        if wish.types and wish.state == "present" and not wish.mode_only:
            known = nvidia_smi.supported(seen.address).get(seen.address, {})
            needed = mig_types.needed(wish.types, known, bool(modes.current))
            seen = replace(seen, division=replace(seen.division, instances=needed))
        return seen
    except BadInput:
        raise
    except NodedevError as error:
        return replace(seen, untold=error)


def _is_card(function: pci.Function) -> bool:
    return function.vendor == pci.NVIDIA and function.kind.startswith(pci.DISPLAY) and function.physical is None


def _places(carrying: Collection[Virtual]) -> dict[str, int]:
    found = {str(each.address): sysfs.read(f"{pci.DEVICES}/{each.address}/{PLACE}") for each in carrying}
    numbers = {address: integer((text or "").strip(), 10) for address, text in found.items()}
    return {address: number for address, number in numbers.items() if number not in (None, NOWHERE)}


def _changes(wish: Wish, seen: Observation) -> bool:
    enabled = _enabled(wish, seen)
    if enabled is None:
        return False
    wanted = _wanted(wish, seen)
    if not seen.modes.is_settled(enabled) or not enabled or wanted is None:
        return not seen.modes.is_settled(enabled)
    found = _sorted(seen.instances, wanted)
    return bool(found.surplus or found.missing or found.incomplete)


def _enabled(wish: Wish, seen: Observation) -> bool | None:
    """Whether MIG is to divide the card now; None where nothing says so."""
    if wish.state != "present":
        return False
    if seen.division.enabled is None and seen.division.instances is not None:
        return seen.modes.current
    return seen.division.enabled


def _wanted(wish: Wish, seen: Observation) -> Mapping[str, int] | None:
    return None if wish.mode_only else seen.division.instances


@dataclass(frozen=True)
class _Sorted:
    """Instances that stay, those of them without a compute instance, that are too many; how many are missing."""

    kept: tuple[Instance, ...]
    incomplete: tuple[Instance, ...]
    surplus: tuple[Instance, ...]
    missing: Mapping[str, int]


def _sorted(instances: Sequence[Instance], wanted: Mapping[str, int], used: Collection[int | None] = ()) -> _Sorted:
    """What is there beside what is wanted; of several alike, those stay that are used, and then the older ones."""
    kept: list[Instance] = []
    missing: dict[str, int] = {}
    for profile, count in wanted.items():
        alike = [each for each in instances if each.is_of(profile) and each not in kept]
        alike.sort(key=lambda each: (each.id not in used, each.id is None, each.id or 0))
        kept += alike[:count]
        if len(alike) < count:
            missing[profile] = count - len(alike)
    surplus = list(instances)
    for each in kept:
        surplus.remove(each)
    return _Sorted(tuple(kept), tuple(each for each in kept if not each.compute), tuple(surplus), missing)


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
    if wish.state == "absent":
        forget = [removal(seen.damaged, division_of(seen.address))] if seen.damaged else []
        forget += [undefine(seen.definition)] if seen.definition else []
        change, then = _off(wish, seen)
        return Plan((*change, *forget), replace(then, division=wish.division, definition=None, damaged=None))
    if seen.damaged:
        raise seen.damaged
    _refuse_unable(wish, seen)
    target = seen.division
    if target.enabled is None:
        if target.instances is None:
            raise Missing("enabled", f"{division_of(seen.address)} is not defined, and no instances are named")
        target = replace(target, enabled=bool(seen.modes.current))
    if not target.enabled:
        target = replace(target, instances=None)
    kept = target if wish.persistent else seen.definition
    defining = [define(kept, seen.definition)] if kept and kept != seen.definition else []
    if wish.state == "inactive" or not target.enabled:
        change, then = _off(wish, seen)
    else:
        change, then = _on(wish, seen)
    return Plan((*change, *defining), replace(then, division=wish.division.over(kept), definition=kept))


def _refuse_unable(wish: Wish, seen: Observation) -> None:
    function = seen.function
    if function is None:
        if wish.state == "present":
            raise BadInput("device", called(seen.address), "there is no such device")
        return
    if function.physical is not None:
        allowed = f"it is a virtual function: MIG divides the card, {called(function.physical)}"
        raise BadInput("device", called(seen.address), allowed)
    if not _is_card(function):
        raise BadInput("device", called(seen.address), "it is not a GPU of NVIDIA's")
    if function.driver != DRIVER:
        if wish.state == "present":
            driver = shown(function.driver or "none")
            raise NodedevError(
                f"the driver of {called(seen.address)} is {driver}, and MIG is nvidia's: bind nvidia to it"
            )
        return
    if seen.untold is not None:
        raise seen.untold
    if seen.modes.current is None:
        raise BadInput("device", called(seen.address), "MIG cannot divide this card")


def _off(wish: Wish, seen: Observation) -> tuple[list[Step], Observation]:
    if seen.untold is not None:
        raise seen.untold
    if seen.modes.current is None or seen.modes.is_settled(False):
        return [], seen
    steps = _removals(seen, seen.instances)
    steps += _mode(wish, seen, False)
    return steps, replace(seen, modes=Modes(False, False), instances=())


def _on(wish: Wish, seen: Observation) -> tuple[list[Step], Observation]:
    """The steps for instances as wished, and the host then."""
    mode = [] if seen.modes.is_settled(True) else _mode(wish, seen, True)
    there = seen.instances if seen.modes.current else ()
    wanted = _wanted(wish, seen)
    if wanted is None:
        return mode, replace(seen, modes=Modes(True, True), instances=there)
    used = {*seen.places.values(), *(instance for _client, instance in seen.details.clients)}
    found = _sorted(there, wanted, used)
    of = _profiles(seen, wanted) if found.missing else {}
    _refuse_unfit(seen, wanted, found, of)
    steps = _removals(seen, found.surplus) + mode
    steps += [do.complete(seen.address, each) for each in found.incomplete]
    if found.missing:
        _refuse_managed(seen)
    # Large profiles have small ids, and come first: else small ones stand where a large one would.
    missing = sorted(((of[each], count) for each, count in found.missing.items()), key=lambda pair: pair[0].id)
    steps += [do.create(seen.address, profile, count) for profile, count in missing]
    fresh = [Instance(None, each.id, each.name, (0,)) for each, count in missing for _time in range(count)]
    whole = [each if each.compute else replace(each, compute=(0,)) for each in found.kept]
    return steps, replace(seen, modes=Modes(True, True), instances=(*whole, *fresh))


def _profiles(seen: Observation, wanted: Collection[str]) -> dict[str, Profile]:
    """The profiles that are named so, by what they are named; raises BadInput for one that the card does not have."""
    known = seen.details.profiles
    if not known:
        raise NodedevError(
            f"the driver of {called(seen.address)} lists no profiles while MIG is off: enable it first, by a task"
            " without instances"
        )
    found: dict[str, Profile] = {}
    for each in wanted:
        profile = next((profile for profile in known if each in (profile.name, str(profile.id))), None)
        if profile is None:
            raise BadInput("instances", each, _choice(seen))
        if profile in found.values():
            raise BadInput("instances", each, f"it is profile {profile.name}, which is named already")
        found[each] = profile
    return found


def _choice(seen: Observation) -> str:
    listed = ", ".join(f"{each.name} ({each.id}), {each.total} at most" for each in seen.details.profiles)
    return f"the profiles of {called(seen.address)} are: {listed}"


def _refuse_unfit(seen: Observation, wanted: Mapping[str, int], found: _Sorted, of: Mapping[str, Profile]) -> None:
    for key, profile in of.items():
        if wanted[key] > profile.total:
            raise BadInput("instances", {key: wanted[key]}, _choice(seen))
        missing = found.missing.get(key, 0)
        if seen.modes.current and not found.surplus and missing > profile.free:
            there = ", ".join(f"{count} of {name}" for name, count in seen.counts.items()) or "none"
            raise NodedevError(
                f"{called(seen.address)} has room for {profile.free} more GPU instances {profile.name}, and {missing}"
                f" are missing; there are: {there}"
            )


def _refuse_managed(seen: Observation) -> None:
    if seen.manager is not None:
        raise NodedevError(
            f"{mig.SERVICE} divides the cards of this host, by {seen.manager}, and is left in charge: have it divide"
            f" {called(seen.address)} so, or disable it first (systemctl disable --now {mig.SERVICE})"
        )


def _removals(seen: Observation, instances: Sequence[Instance]) -> list[Step]:
    if not instances:
        return []
    _refuse_managed(seen)
    _refuse_in_use(seen, {each.id for each in instances}, "GPU instances would be removed")
    return [do.remove(seen.address, each) for each in instances]


def _mode(wish: Wish, seen: Observation, enabled: bool) -> list[Step]:
    _refuse_managed(seen)
    _refuse_in_use(seen, None, "the MIG mode would change")
    if seen.details.needs_reset:
        after = f"{mig.word(seen.modes.current)} now and {mig.word(seen.modes.pending)} after a reset"
        if not wish.allow_reset:
            raise NodedevError(
                f"MIG of {called(seen.address)} is {after}, and changes with a reset of the card on this generation"
                f" ({shown(seen.details.architecture or 'not told')}): set allow_reset: true to have this card reset,"
                " and no other"
            )
        if seen.functions:
            raise NodedevError(
                f"a reset would take the {len(seen.functions)} virtual functions of {called(seen.address)} away: remove"
                " them first, as by hostdev.nodedev.sriov with state: inactive"
            )
    return [do.set_mode(seen.address, enabled, wish.allow_reset, seen.modes)]


def _refuse_in_use(seen: Observation, instances: Collection[int | None] | None, what: str) -> None:
    """Raise InUse where somebody works on these GPU instances, or where they are None on the card."""
    told: list[str] = []
    holders: list[Mapping[str, Any]] = []
    for each in seen.functions:
        address = str(each.address)
        place = seen.places.get(address)
        if not each.vgpu or (instances is not None and place is not None and place not in instances):
            continue
        by = "".join(f", {use.text}" for use in each.uses)
        told.append(f"{called(address)} is a vGPU of type {shown(each.vgpu)}{by}")
        holders += [use.document(function=address) for use in each.uses]
    for client, instance in seen.details.clients:
        if instances is None or instance in instances:
            told.append(client.who)
            holders.append(client.document(function=seen.address))
    if told:
        raise InUse(f"{what} on {called(seen.address)}, which is in use: {'; '.join(told)}: end that first", holders)


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of the card."""
    return look(wish)


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what a killed run left of writing the definition."""
    DOCUMENTS.clear_up(seen.address)
    return False


def starts(seen: Observation) -> bool:
    """Whether the card is defined to be divided."""
    return seen.definition is not None and bool(seen.definition.enabled)


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    running = {"enabled": True, "instances": seen.counts} if seen.modes.current else None
    return {
        "runtime": {seen.address: running} if running else {},
        "boot": {seen.address: seen.definition.document()} if seen.definition else {},
    }


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The card afterwards."""
    return {
        KIND: {
            "name": device_name("pci", after.address),
            "address": after.address,
            "enabled": after.modes.current,
            "pending": after.modes.pending,
            "gpu_instances": [_described(each) for each in after.instances],
            "active": bool(after.modes.current),
            "persistent": after.definition is not None,
        },
        "warnings": [*planned.warnings, *_other_owners(planned.steps, after.address)],
    }


def _other_owners(steps: Sequence[Step], address: str) -> list[str]:
    """The warning that names who else has the card's functions made, with which its instances go."""
    if not steps:
        return []
    from ...host import function_owners

    return function_owners.of_gpus([address])


def _described(each: Instance) -> dict[str, Any]:
    return {"id": each.id, "profile": each.name, "profile_id": each.profile, "compute_instances": [*each.compute]}
