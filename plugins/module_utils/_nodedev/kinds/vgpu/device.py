# SPDX-License-Identifier: GPL-3.0-or-later
"""One vGPU that is a virtual function: what is there of it, and the plan that makes it as wished.

Identity is the function. It stays what it is whoever has it, so that only what is recorded of it, or named with its
type, is cleared: else what was removed long ago would take the function from its next owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import checked_function, checked_type
from ...host import holders, mdevs, pci, starting, vgpu_types, vgpus
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...host.vgpu_cards import Mode
from ...host.vgpu_types import Type
from ...host.vgpus import Vgpu
from ...libvirt import domain
from ...names import called, device_name
from ...plan import Step, of_pool
from ...resource import Plan
from ...store import files, owners
from ...store.files import DamagedDefinition, removal
from . import steps as do
from .definition import (
    DOCUMENTS,
    KIND,
    Definition,
    checked_params,
    checked_placement,
    define,
    undefine,
    vgpu_of,
)

# Of udev's events.
SUBSYSTEM = "pci"
PEER = None


@dataclass(frozen=True)
class Wish:
    """What a person wants of one vGPU, which is named by its function, or by its card and an index there.

    What is None is as it is defined; a new vGPU has no parameters, the place that its driver chooses, and is there at
    once and after every boot. ``lends`` has a managed one made now, for its guest.
    """

    device: str | None = None
    parent: str | None = None
    index: int | None = None
    type: str | None = None
    params: str | None = None
    placement_id: int | None = None
    state: str = "present"
    persistent: bool = True
    managed: bool | None = None
    force: bool = False
    wait_timeout: float = 30
    lends: bool = False

    @classmethod
    def checked(cls, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        for option in ("device", "parent"):
            if options.get(option) is not None:
                options[option] = checked_function(option, options[option])
        if options.get("index") is not None and options["index"] < 0:
            raise BadInput("index", options["index"], "functions are counted from 0")
        checked_type(options.get("type"))
        checked_params(options.get("params"))
        checked_placement(options.get("placement_id"))
        wishes.check(options)
        wishes.check_managed(options)
        return cls(**options)


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``address`` is that of the function, None where the card has no such one, and ``vgpu`` it as it is there now.
    ``params`` and ``placement`` are what it has as a vGPU. ``types`` are the names of types that were met, by id.

    Where something is to be written, ``card`` are the functions of its card, ``modes`` how that makes vGPUs, and
    ``untold`` why that is not known; ``supported`` all types that it knows where the wish's one cannot be made.
    ``missing`` is what keeps the card from making vGPUs, and ``instead`` what it has, where the function cannot be one.
    """

    card_address: str
    address: str | None
    vgpu: Vgpu | None = None
    params: str | None = None
    placement: int | None = None
    types: Mapping[int, str] = field(default_factory=dict)
    definition: Definition | None = None
    damaged: DamagedDefinition | None = None
    holders: tuple[Holder, ...] = ()
    card: tuple[Vgpu, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)
    untold: NodedevError | None = None
    supported: Mapping[int, Type] = field(default_factory=dict)
    pool: str | None = None
    missing: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def function(self) -> pci.Function | None:
        """The function, None where it is not there."""
        return self.vgpu.function if self.vgpu else None

    @property
    def current(self) -> int | None:
        """The id of the type that it has, 0 for none; None where that is not known."""
        return self.vgpu.type if self.vgpu else None

    @property
    def offers(self) -> Mapping[int, str]:
        """What can be made of the function now."""
        return self.vgpu.offers if self.vgpu else {}

    @property
    def recorded(self) -> bool:
        """Whether the function has the type that is recorded of it."""
        return self.definition is not None and self.definition.type == self.current


def _place(wish: Wish) -> tuple[str, str | None]:
    """The card and the function that the wish means; None for a function that the card does not have."""
    if wish.device is not None:
        return pci.lineage(wish.device)[0], wish.device
    card, index = str(wish.parent), wish.index or 0
    return card, next(iter(pci.all_places(card)[index : index + 1]), None)


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """That of the card."""
    return {seen.card_address if seen else _place(wish)[0]}


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the function, its definition, who has it; of its card, where it is to change.

    What makes a vGPU of a function comes some time after the function, and is waited for.
    """
    seen = look(wish)
    if seen.function is not None and _is_to_run(wish, seen) and vgpus.await_folder(seen.function, wish.wait_timeout):
        seen = look(wish)
    if seen.current is None and wish.state != "absent":
        # Here, so that no run waits for its import that finds a vGPU.
        from ...host import vgpu_readiness

        why = Oddities().attempt(partial(vgpu_readiness.why_not, seen.card_address))
        instead = Oddities().attempt(partial(vgpus.instead, seen.card_address))
        seen = replace(seen, missing=tuple(why or ()), instead=tuple(instead or ()))
    if seen.function is None or not _changes(wish, seen):
        return seen
    nodes = vgpus.nodes(seen.function) if seen.current else ()
    held = starting.holders_of(KIND, str(seen.address), nodes, True)
    pool = owners.owner(KIND, str(seen.address)) if wish.state == "absent" else None
    return _with_card(wish, replace(seen, holders=tuple(held), pool=pool))


def look(wish: Wish) -> Observation:
    """The same without the card, and with who is seen to have the function."""
    card, address = _place(wish)
    seen = Observation(card, address)
    if address is None:
        return seen
    definition, damaged = DOCUMENTS.look(address)
    seen = replace(seen, definition=definition, damaged=damaged)
    if seen.definition is not None and seen.definition.title is not None:
        seen = replace(seen, types={seen.definition.type: seen.definition.title})
    function = pci.find(address)
    if function is None:
        return seen
    oddities = Oddities()
    vgpu = vgpus.look(function, _index(card, address), oddities)
    seen = replace(seen, vgpu=vgpu, types={**vgpu.offers, **seen.types})
    if vgpu.type:
        held = starting.holders_of(KIND, address, vgpus.nodes(function), False)
        params = vgpus.params_or(function.path, definition.params if definition else wish.params, oddities)
        placement = oddities.attempt(partial(vgpus.placement, function.path))
        seen = replace(seen, params=params, placement=placement, holders=tuple(held))
    return replace(seen, warnings=tuple(oddities.warnings))


def _index(card: str, address: str) -> int | None:
    places = pci.virtual_functions(f"{pci.DEVICES}/{card}")
    return places.index(address) if address in places else None


def _changes(wish: Wish, seen: Observation) -> bool:
    """Whether the function may be given another type than it has, or other parameters."""
    wanted = _known_type(wish, seen)
    if not _is_to_run(wish, seen):
        return seen.current != vgpus.NONE or (wanted is None and wish.state != "absent")
    params = wish.params if wish.params is not None or seen.definition is None else seen.definition.params
    return wanted is None or wanted != seen.current or params not in (None, seen.params or "")


def _is_to_run(wish: Wish, seen: Observation) -> bool:
    """Whether it is to be there now."""
    managed = wish.managed if wish.managed is not None else seen.definition is not None and seen.definition.managed
    return wish.state == "present" and (not managed or wish.lends)


def _known_type(wish: Wish, seen: Observation) -> int | None:
    """The id of the type that is wished where it is defined or named by it; None where the card has to tell."""
    if wish.type is None:
        return seen.definition.type if seen.definition else None
    found = vgpu_types.matching(wish.type, seen.types)
    return found[0] if found else vgpu_types.number(wish.type)


def _with_card(wish: Wish, seen: Observation) -> Observation:
    """With what the whole card has to say, and its tool."""
    # Here, as in _refuse_mode(), so that no run but one that changes something waits for its import.
    from ...host import nvidia_smi

    oddities = Oddities()
    card = vgpus.functions(seen.card_address, oddities, seen.vgpu)
    types = {**{id: name for each in card for id, name in each.offers.items()}, **seen.types}
    seen = replace(seen, card=card, types=types, warnings=(*seen.warnings, *oddities.warnings))
    try:
        seen = replace(seen, modes=nvidia_smi.modes(seen.card_address))
    except NodedevError as error:
        seen = replace(seen, untold=error)
    if _known_type(wish, seen) in seen.offers or seen.untold is not None:
        return seen
    every = Oddities().attempt(partial(nvidia_smi.supported, seen.card_address)) or {}
    supported = every.get(seen.card_address, {})
    return replace(seen, supported=supported, types={**vgpu_types.names(supported.values()), **types})


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
    if wish.state == "absent":
        return _absent(wish, seen)
    if seen.damaged:
        raise seen.damaged
    if seen.address is None:
        told = f"{called(seen.card_address)} has no such virtual function"
        raise BadInput("index", wish.index, "; ".join((told, *seen.instead, *seen.missing)))
    target = _target(wish, seen)
    if (target.managed and not wish.lends) or wish.state == "inactive":
        return _at_rest(wish, seen, target)
    return _running(wish, seen, target)


def _target(wish: Wish, seen: Observation) -> Definition:
    """What is to be kept of it."""
    former = seen.definition
    type = _type(wish, seen)
    known = former if former is not None and former.type == type else None
    params = wish.params if wish.params is not None else former.params if former else None
    placement = wish.placement_id if wish.placement_id is not None else known.placement if known else None
    managed = wish.managed if wish.managed is not None else former is not None and former.managed
    lasts = wish.persistent or (former is not None and former.lasts)
    if not wish.persistent and managed:
        raise BadInput("persistent", False, f"{vgpu_of(str(seen.address))} is managed, and made from its definition")
    if not wish.persistent and former is not None and former.lasts and known is None:
        raise BadInput("persistent", False, f"{vgpu_of(str(seen.address))} is defined with type {former.kind}")
    title = seen.types.get(type, known.title if known else None)
    root = files.STORE if lasts else files.RUNTIME
    return Definition(str(seen.address), type, title, params, placement, managed, root)


def _type(wish: Wish, seen: Observation) -> int:
    """The id of the type that is wished; BadInput where the card has none of that name, or has several."""
    if wish.type is None:
        if seen.definition is None:
            raise Missing("type", f"{vgpu_of(str(seen.address))} is not defined; {_choice(seen)}")
        return seen.definition.type
    found = vgpu_types.matching(wish.type, seen.types)
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise BadInput("type", wish.type, f"several types have that name, use an id: {listed}")
    id = found[0] if found else vgpu_types.number(wish.type)
    if id is None or (seen.supported and id not in seen.supported):
        if seen.function is None or seen.current is None:
            _refuse_no_vgpu(wish, seen)
        raise BadInput("type", wish.type, _choice(seen, wish.type))
    return id


def _choice(seen: Observation, wanted: str | None = None) -> str:
    """The types that there are to choose from, for a message."""
    told, question = vgpu_types.told(seen.types, vgpus.NAMED), vgpu_types.suggested(wanted, seen.types)
    listed = f"{question}the types of {called(seen.card_address)} are: {told}"
    if seen.types or not seen.card:
        return listed
    from ...host import vgpu_readiness

    return f"{listed}; it is a GPU {vgpu_readiness.offers(seen.modes.get(seen.card_address)).text}"


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
    change = [removal(seen.damaged, vgpu_of(str(seen.address)))] if seen.damaged else []
    change += [undefine(seen.definition)] if seen.definition else []
    then = replace(seen, definition=None, damaged=None)
    if not seen.current:
        return Plan(tuple(of_pool(change, seen.pool)), then)
    named = wish.type is not None and seen.current in _ids(wish.type, seen)
    if not (seen.recorded or named or wish.force):
        return Plan(tuple(of_pool(change, seen.pool)), then, warnings=(_of_another(seen),))
    # The definition goes last: of a vGPU that is not recorded any more, nobody would know whose it is.
    return Plan(tuple(of_pool([_clearing(wish, seen), *change], seen.pool)), _cleared(then))


def _ids(wanted: str, seen: Observation) -> list[int]:
    """The ids that a type which is named may have."""
    id = vgpu_types.number(wanted)
    return vgpu_types.matching(wanted, seen.types) if id is None else [id]


def _of_another(seen: Observation) -> str:
    """The warning that a function is left with what it has."""
    return (
        f"{called(str(seen.address))} has a vGPU of type {vgpu_types.called(seen.current or 0, seen.types)}, which is"
        " not the one that is recorded here, and stays: name its type to have it cleared, or set force: true"
    )


def _at_rest(wish: Wish, seen: Observation, target: Definition) -> Plan[Observation]:
    """The plan where it is only to be defined, until a guest wants it where it is managed."""
    former, there = seen.definition, seen.current == target.type
    defining = [define(target, former)] if target != former else []
    then = replace(seen, definition=target)
    began = former is not None and former.managed
    if not seen.current or (target.managed and wish.state == "present" and began):
        # One that is managed already may have been made for a guest, or by hand.
        return Plan(tuple(defining), then)
    if not (there or seen.recorded):
        return Plan(tuple(defining), then, warnings=(_of_another(seen),))
    if target.managed and wish.state == "present" and seen.holders:
        stays = f"{vgpu_of(target.address)} is in use by {holders.named(seen.holders)} and stays until that ends"
        return Plan(tuple(defining), then, warnings=(stays,))
    clearing = [_clearing(wish, seen)]
    # What runs is recorded as long as it does.
    return Plan(tuple([*defining, *clearing] if there else [*clearing, *defining]), _cleared(then))


def _running(wish: Wish, seen: Observation, target: Definition) -> Plan[Observation]:
    """The plan where it is to be there now."""
    if seen.current is None:
        _refuse_no_vgpu(wish, seen)
    # One that is not to last is recorded too, and each before it is there: what a killed run has made, and nobody
    # knows, would stay.
    defining = [define(target, seen.definition)] if target != seen.definition else []
    then = replace(seen, definition=target, types={**seen.types, **target.titles})
    if seen.current == target.type:
        return _adjusted(wish, then, target, defining)
    clearing = []
    if seen.current:
        if not (seen.recorded or wish.force):
            raise InUse(_of_another(seen))
        _refuse_other_size(seen, target)
        clearing = [_clearing(wish, seen)]
    else:
        _refuse_full(seen, target)
    _refuse_mode(seen)
    then = replace(then, vgpu=_typed(seen.vgpu, target.type), params=target.params or "", placement=target.placement)
    then = replace(then, holders=())
    return Plan((*clearing, *defining, *do.create(target, wish.wait_timeout)), then)


def _adjusted(wish: Wish, seen: Observation, target: Definition, defining: Sequence[Step]) -> Plan[Observation]:
    """The plan for one that has its type already."""
    if target.placement is not None and seen.placement not in (None, target.placement):
        raise BadInput(
            "placement_id",
            target.placement,
            f"{vgpu_of(target.address)} is at {seen.placement}: have it cleared first, with state: inactive",
        )
    if target.params in (None, seen.params or ""):
        return Plan(tuple(defining), seen)
    if seen.holders:
        late = (
            f"{vgpu_of(target.address)} is in use by {holders.named(seen.holders)}: the new params are set after that"
        )
        return Plan(tuple(defining), seen, warnings=(late,))
    _refuse_mode(seen)
    setting = do.set_params(target, target.params, seen.params or "", wish.wait_timeout)
    return Plan((setting, *defining), replace(seen, params=target.params))


def _clearing(wish: Wish, seen: Observation) -> Step:
    """The step that has the function be no vGPU; raises InUse where somebody has it, which force does not change."""
    if seen.holders:
        documents = [each.document(function=str(seen.address)) for each in seen.holders]
        raise InUse(f"{vgpu_of(str(seen.address))} is in use by {holders.named(seen.holders)}", documents)
    _refuse_mode(seen)
    type = seen.current or 0
    former = Definition(str(seen.address), type, seen.types.get(type), seen.params or None, seen.placement)
    return do.clear(former, wish.wait_timeout)


def _cleared(seen: Observation) -> Observation:
    return replace(seen, vgpu=_typed(seen.vgpu, vgpus.NONE), params=None, placement=None, holders=())


def _typed(vgpu: Vgpu | None, type: int) -> Vgpu | None:
    """The function with this type."""
    return None if vgpu is None else replace(vgpu, type=type)


def _refuse_no_vgpu(wish: Wish, seen: Observation) -> None:
    """Raise NodedevError for a function that cannot be a vGPU, or is not there."""
    function = seen.function
    if function is None:
        if wish.device is None:
            raise BadInput("index", wish.index, "; ".join(("this virtual function is not there", *seen.missing)))
        told = "there is no such device: are the card's virtual functions enabled?"
        raise BadInput("device", called(wish.device), "; ".join((told, *seen.missing)))
    if function.physical is None:
        told = "it is not a virtual function, which alone can be a vGPU"
        raise BadInput("device", called(function.address), "; ".join((told, *seen.instead)))
    hindrance = (seen.vgpu.hindrance if seen.vgpu else None) or vgpu_of(function.address)
    raise NodedevError("; ".join((hindrance, *seen.missing)))


def _refuse_mode(seen: Observation) -> None:
    """Raise NodedevError where the card is not known to make vGPUs of its functions."""
    from ...host import nvidia_smi

    nvidia_smi.refuse_other_mode(seen.card_address, seen.modes, seen.untold)


def _refuse_full(seen: Observation, target: Definition) -> None:
    """Raise BadInput where the type is not among those that can be made of the function now."""
    if target.type not in seen.offers:
        raise _no_room(seen, target)


def _refuse_other_size(seen: Observation, target: Definition) -> None:
    """Raise BadInput where other functions of a card that takes one framebuffer at a time have another one."""
    mode, types = seen.modes.get(seen.card_address), {**seen.types, **target.titles}
    own = vgpu_types.framebuffer(types.get(target.type, ""))
    others = [each.type for each in seen.card if each.type and each.address != target.address]
    sizes = {vgpu_types.framebuffer(types.get(type, "")) for type in others} - {None, own}
    if mode is not None and mode.is_shared is False and own is not None and sizes:
        raise _no_room(seen, target)


def _no_room(seen: Observation, target: Definition) -> BadInput:
    types = {**seen.types, **target.titles}
    return BadInput("type", target.kind, vgpus.refusal(target.address, target.kind, seen.offers, seen.card, types))


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of it, with the names that were met."""
    after = look(replace(wish, device=before.address, parent=None, index=None) if before.address else wish)
    return replace(after, types={**planned.then.types, **after.types})


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what a killed run has left of writing the definition."""
    if seen.address is not None:
        DOCUMENTS.clear_up(seen.address)
    return False


def starts(seen: Observation) -> bool:
    """Whether it is defined to be there after a boot."""
    return seen.definition is not None and seen.definition.lasts and not seen.definition.managed


def comes_with_guest(seen: Observation) -> bool:
    """Whether it is defined as managed."""
    return seen.definition is not None and seen.definition.managed


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    definition = seen.definition
    running: dict[str, Any] = {"type": seen.current, "params": seen.params or None, "placement_id": seen.placement}
    if seen.current in seen.types:
        running["title"] = seen.types[seen.current or 0]
    running = {key: value for key, value in running.items() if value is not None}
    return {
        "runtime": {str(seen.address): running} if seen.current else {},
        "boot": {definition.address: definition.document()} if definition and definition.lasts else {},
    }


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The vGPU afterwards."""
    owners = do.other_owners(planned.steps, [after.card_address])
    return {KIND: _described(after), "warnings": [*before.warnings, *planned.warnings, *owners]}


def _described(seen: Observation) -> dict[str, Any]:
    """The vGPU as it is, or else as it is defined; what is not known or no more is None."""
    definition, active = seen.definition, bool(seen.current)
    type = seen.current if active else definition.type if definition else None
    group = seen.function.group if seen.function else None
    return {
        "name": device_name("pci", seen.address) if seen.address else None,
        "address": seen.address,
        "index": seen.vgpu.index if seen.vgpu else None,
        "parent": device_name("pci", seen.card_address),
        "parent_addr": seen.card_address,
        "type": seen.types.get(type) if type else None,
        "type_id": type,
        "params": (seen.params if active else definition.params if definition else None) or "",
        "placement_id": seen.placement if active else definition.placement if definition else None,
        "iommu_group": None if group is None else mdevs.group_number(group),
        "active": active,
        "persistent": definition is not None and definition.lasts,
        "managed": definition is not None and definition.managed,
        "holders": [holder.document() for holder in seen.holders],
        "hostdev_xml": domain.function(seen.address) if seen.address else None,
    }
