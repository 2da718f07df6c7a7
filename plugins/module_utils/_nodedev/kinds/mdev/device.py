# SPDX-License-Identifier: GPL-3.0-or-later
"""One mediated device: what is there of it, and the plan that makes it as wished.

Identity is the UUID and the parent, as for mdevctl: one UUID may be defined under several parents, but runs once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import BadInput, InUse, Missing, NodedevError
from ...host import holders, mdev_parents, mdevs, subchannels
from ...names import called, mdev_name
from ...plan import Step, of_pool
from ...resource import Plan
from ...store import marks, mdevctl
from ...store.files import DamagedDefinition
from ...store.mdevctl import Definition
from ...store.scripts import Refused
from . import leaving, steps
from .leaving import Leaving
from .seen import KIND, Observation, Wish, locks, observe, under

__all__ = [
    "KIND",
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "comes_with_guest",
    "described",
    "locks",
    "look_again",
    "observe",
    "plan",
    "starts",
    "state",
]

# Of udev's events.
SUBSYSTEM = "mdev"
PEER = "mdevctl"


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left, and wait for the end of a removal that nobody keeps; whether there was one."""
    mdevctl.clear_up(seen.cards)
    marks.clear_up(KIND, wish.uuid)
    left = [Leaving(wish.uuid, seen.address, seen.holders)] if seen.leaving and seen.address is not None else []
    return leaving.await_end(left, wish.wait_timeout)


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    for damage in seen.damaged:
        if _hinders(wish, seen, damage):
            raise damage
    if seen.doubt is not None:
        raise BadInput("parent", wish.parent, seen.doubt)
    if wish.parent is not None and seen.address is None and wish.state != "absent":
        raise BadInput("parent", wish.parent, mdev_parents.listed(seen.registered, seen.instead))
    _refuse_several(wish, seen)
    if seen.leaving and seen.address is not None:
        raise Leaving(wish.uuid, seen.address, seen.holders).refusal()
    planned = _absent(wish, seen) if wish.state == "absent" else _wanted(wish, seen)
    damaged = tuple(damage for damage in seen.damaged if wish.state != "absent" or not _discarded(wish, seen, damage))
    then = replace(planned.then, damaged=damaged)
    return replace(planned, then=then, warnings=(*map(str, damaged), *planned.warnings))


def _hinders(wish: Wish, seen: Observation, damage: DamagedDefinition) -> bool:
    """Whether it cannot be told what there is of the device, because of a file or folder that makes no sense."""
    parent, uuid = mdevctl.place_of(damage)
    if uuid is None:
        return parent == seen.address or (seen.address is None and wish.state != "absent")
    if wish.state == "absent":
        # Under the parent that is meant it goes too; another parent's is another device.
        return parent != seen.address and wish.parent is None
    return True


def _discarded(wish: Wish, seen: Observation, damage: DamagedDefinition) -> bool:
    return mdevctl.place_of(damage) == (seen.address, wish.uuid)


def _terms(wish: Wish, seen: Observation) -> steps.Terms:
    return steps.Terms(wish.wait_timeout, seen.callouts, wish.force)


def _refuse_several(wish: Wish, seen: Observation) -> None:
    """Raise BadInput where a UUID alone means several devices: to be removed, what is under each parent is one."""
    if wish.parent is not None or (seen.active is not None and wish.state != "absent"):
        return
    parents = [definition.parent for definition in seen.definitions]
    runs = ""
    if seen.active is not None:
        runs = f", and runs on {called(seen.active.parent)}"
        parents += [seen.active.parent] if seen.active.parent not in parents else []
    if len(parents) > 1:
        what = "is defined under several parents" if len(seen.definitions) > 1 else "is under several parents"
        raise BadInput("uuid", wish.uuid, f"it {what}, name one as 'parent': {', '.join(map(called, parents))}{runs}")


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
    def is_meant(parent: str) -> bool:
        return wish.parent is None or parent == seen.address

    gone = [each for each in seen.definitions if is_meant(each.parent)]
    left = tuple(each for each in seen.definitions if each not in gone)
    discarded = [damage for damage in seen.damaged if _discarded(wish, seen, damage)]
    change = [*(steps.undefine(each, _terms(wish, seen)) for each in gone), *map(steps.discard, discarded)]
    marked = seen.marked and bool(left or _damaged_left(wish, seen, discarded))
    if seen.marked and not marked and (discarded or not gone):
        # Else the mark goes with the last definition.
        change.append(steps.unmark(wish.uuid))
    active = seen.active
    if active is not None and is_meant(active.parent):
        change.append(_remove(wish, seen, active))
        active = None
    planned = _planned(seen, of_pool(change, seen.pool), active, left)
    return replace(planned, then=replace(planned.then, marked=marked))


def _damaged_left(wish: Wish, seen: Observation, discarded: Sequence[DamagedDefinition]) -> list[DamagedDefinition]:
    """The damaged files of this UUID that stay."""
    return [each for each in seen.damaged if each not in discarded and mdevctl.place_of(each)[1] == wish.uuid]


def _wanted(wish: Wish, seen: Observation) -> Plan[Observation]:
    active, defined = seen.active, seen.definition
    target = _target(wish, seen)
    strays = _strays(seen, target)
    _refuse_other(wish, seen, target, strays)
    outdated = active is not None and defined is not None and defined.attrs != target.attrs
    wrong = active is not None and (active.parent, active.type) != (target.parent, target.type)
    if seen.queues is not None:
        compared = wish.attrs is not None or (wish.replace and defined is not None)
        outdated = active is not None and compared and seen.queues.is_outdated(target, defined, wish.replace)
        runs = wish.state == "present" and not (target.managed and wish.persistent)
        seen.queues.refuse(target, defined, runs, wish.persistent)

    with_guest = target.managed and wish.persistent

    terms = _terms(wish, seen)

    define = [steps.undefine(stray, terms) for stray in strays]
    if wish.persistent and defined != target:
        define.append(steps.define(target, defined, terms))
    definition = target if wish.persistent else defined
    definitions = tuple(each for each in seen.definitions if each not in strays and each != defined)
    definitions += (definition,) if definition is not None else ()

    remove = []
    change = _change(wish, seen, target) if outdated and not wrong and wish.state == "present" else []
    goes = wrong or wish.state == "inactive" or (outdated and wish.replace and not change)
    becomes_managed = with_guest and not seen.marked
    if active is not None and (goes or (becomes_managed and not seen.holders)):
        remove.append(_remove(wish, seen, active))
        active = None
    if wish.state == "inactive" or (with_guest and active is None):
        # What cannot be taken back comes last.
        return _planned(seen, (*define, *remove), None, definitions, _not_compared(wish, seen))
    if active is not None and becomes_managed:
        return _planned(seen, (*change, *define), active, definitions, (_stays_held(seen, active),))
    if active is not None:
        # Later, most drivers do not tell what it has.
        when = " in the run that changes them" if seen.queues is None else ""
        warning = (
            f"mdev {wish.uuid} runs: the new attrs take effect when it is started next, or with replace: true{when}"
        )
        # One that runs undefined may be of a run that was killed before it had set them.
        unset = wish.persistent and defined is None and not change and target.attrs not in ((), seen.script_attrs)
        unset = unset and (seen.queues is None or seen.queues.is_begun(target))
        sets = steps.set_attributes(target, wish.wait_timeout) if unset and not seen.holders else []
        late = (outdated or unset) and not change and not sets
        then = _with_queues(seen, target, (*change, *sets))
        told = (warning,) if late else _of_queues(seen, target) if change else ()
        return _planned(then, (*change, *_locked(wish, seen, sets), *define), active, definitions, told)
    _check_room(seen, target)
    made = mdevs.Mdev(target.uuid, target.parent, target.type, seen.types[target.type].get("device_api"), None, ())
    create = _create(wish, seen, target)
    then = _with_queues(seen, target, create)
    return _planned(then, (*remove, *create, *define), made, definitions, _of_queues(seen, target))


def _of_queues(seen: Observation, target: Definition) -> tuple[str, ...]:
    """What of its crypto queues a guest will not get, where it has any."""
    return () if seen.queues is None else seen.queues.warnings(target)


def _with_queues(seen: Observation, target: Definition, made: Sequence[Step]) -> Observation:
    """The same with the queues of a device that is made, or changed while it runs."""
    return seen if seen.queues is None or not made else replace(seen, queues=seen.queues.having(target.attrs))


def _stays_held(seen: Observation, active: mdevs.Mdev) -> str:
    """The warning that a device that somebody uses is not taken away for being managed from now on."""
    return (
        f"mdev {active.uuid} is in use by {holders.named(seen.holders)} and stays until it is removed or the host"
        " boots: from then on it comes and goes with its guest"
    )


def _target(wish: Wish, seen: Observation) -> Definition:
    """The device as it should be, what the wish leaves open filled in from what is known of it."""
    defined = seen.definition
    if seen.address is None:
        listed = mdev_parents.listed(seen.registered, seen.instead)
        raise Missing("parent", f"mdev {wish.uuid} is not known here; {listed}")
    former = _former(seen)
    managed = wish.managed if wish.managed is not None else former is not None and former.managed
    if seen.parent is None and (defined is None or (wish.state == "present" and not (managed and wish.persistent))):
        listed = mdev_parents.listed(seen.registered, seen.instead)
        raise BadInput(
            "parent", wish.parent or seen.address, f"it is not registered for mediated devices now; {listed}"
        )
    running = seen.active if seen.active is not None and seen.active.parent == seen.address else None
    if wish.type is not None:
        kind = _type_id(wish, seen)
    elif running is not None:
        kind = running.type
    elif former is not None:
        kind = former.type
    else:
        raise Missing("type", f"mdev {wish.uuid} is not known here; {_offer(seen)}")
    attrs = wish.attrs if wish.attrs is not None else former.attrs if former is not None else ()
    undefined = running is not None and running.type == kind and former is None
    if undefined and wish.attrs is None and wish.persistent:
        if isinstance(seen.script_attrs, Refused):
            raise seen.script_attrs
        attrs = seen.script_attrs
    starts = _starts(wish, former, managed)
    return Definition(wish.uuid, seen.address, kind, starts, attrs, managed=managed)


def _starts(wish: Wish, former: Definition | None, managed: bool) -> bool:
    """Whether it starts with its parent; BadInput where it is managed and to do so."""
    if managed:
        if wish.autostart and wish.managed is None:
            raise BadInput(
                "autostart", True, f"mdev {wish.uuid} is managed, and starts with its guest: set managed: false too"
            )
        return False
    if wish.autostart is not None:
        return wish.autostart
    # One that is managed no longer did not start by itself for that reason alone.
    return former is None or former.autostart or former.managed


def _former(seen: Observation) -> Definition | None:
    """The definition that what the wish leaves open is taken from: that of the parent that is meant.

    Where the device comes from another parent, it is the one that it runs by there, else the only one.
    """
    if seen.definition is not None:
        return seen.definition
    if seen.active is not None:
        return under(seen.definitions, seen.active.parent)
    return seen.definitions[0] if len(seen.definitions) == 1 else None


def _type_id(wish: Wish, seen: Observation) -> str:
    wanted = str(wish.type)
    defined = seen.definition
    if wanted in seen.types or (defined is not None and wanted == defined.type):
        return wanted
    ids = [kind for kind, facts in seen.types.items() if facts.get("name") == wanted]
    if len(ids) > 1:
        several = f"{called(str(seen.address))} has several types of that name, use an id: {', '.join(ids)}"
        raise BadInput("type", wanted, several)
    if ids:
        return ids[0]
    if defined is not None and _hides_name(wish, seen, defined):
        return defined.type
    if seen.parent is None:
        return wanted
    raise BadInput("type", wanted, _offer(seen, wanted))


def _hides_name(wish: Wish, seen: Observation, definition: Definition) -> bool:
    """Whether the wished type may be the vendor's name of the defined one, which nobody tells any more.

    So it is where the parent is gone or has lost the type. A kernel's id begins as those of the same driver do.
    """
    return definition.type not in seen.types and not str(wish.type).startswith(definition.type.partition("-")[0] + "-")


def _not_compared(wish: Wish, seen: Observation) -> tuple[str, ...]:
    """The warning that a type was taken for the defined one without being compared, if so it was."""
    defined = seen.definition
    if wish.type is None or defined is None or wish.type == defined.type or not _hides_name(wish, seen, defined):
        return ()
    if any(wish.type == facts.get("name") for facts in seen.types.values()):
        return ()
    return (
        f"mdev {wish.uuid} stays defined with type {defined.type}: whether that is {wish.type} cannot be told, since"
        f" {called(defined.parent)} does not offer it now",
    )


def _offer(seen: Observation, wanted: str | None = None) -> str:
    types = {kind: facts.get("name") for kind, facts in seen.types.items()}
    return mdev_parents.offered({str(seen.address): types}, wanted)


def _strays(seen: Observation, target: Definition) -> Sequence[Definition]:
    """The definitions under other parents, which are in the way where there is nothing under the one that is meant."""
    active = seen.active
    here = seen.definition is not None or (active is not None and active.parent == target.parent)
    return () if here else seen.definitions


def _refuse_other(wish: Wish, seen: Observation, target: Definition, strays: Sequence[Definition]) -> None:
    """Raise NodedevError where the device exists with another type or parent, unless it may be replaced."""
    others = [(each.type, each.parent, "is defined") for each in strays]
    if seen.active is not None:
        others.append((seen.active.type, seen.active.parent, "runs"))
    if seen.definition is not None:
        others.append((seen.definition.type, seen.definition.parent, "is defined"))
    for kind, parent, how in others:
        if (kind, parent) != (target.type, target.parent) and not wish.replace:
            raise NodedevError(
                f"mdev {wish.uuid} {how} with type {kind} on {called(parent)}, not with type {target.type} on"
                f" {called(target.parent)}:"
                " set replace: true to make it anew, or choose another uuid"
            )


def _check_room(seen: Observation, target: Definition) -> None:
    if target.type not in seen.types:
        raise BadInput("type", target.type, _offer(seen, target.type))
    frees = seen.active is not None and seen.cards[seen.active.parent] == seen.cards[target.parent]
    if frees or seen.types[target.type].get("available_instances") != 0:
        return
    if target.type.startswith(subchannels.VFIO):
        own = next(iter(seen.types[target.type].get("instances", ())), "one")
        raise BadInput(
            "parent",
            called(target.parent),
            f"a subchannel carries one mediated device, and this one has {own} already: name that as 'uuid', remove it"
            " first, or choose another subchannel",
        )
    left = [f"{kind}: {facts.get('available_instances', 'unknown')}" for kind, facts in seen.types.items()]
    raise BadInput("type", target.type, f"no instance is left on {called(target.parent)}; left are {', '.join(left)}")


def _create(wish: Wish, seen: Observation, target: Definition) -> list[Step]:
    return _locked(wish, seen, steps.create(target, _terms(wish, seen)))


def _locked(wish: Wish, seen: Observation, made: list[Step]) -> list[Step]:
    return made if seen.queues is None else seen.queues.locked(made, wish.wait_timeout)


def _change(wish: Wish, seen: Observation, target: Definition) -> list[Step]:
    """Other attributes for a device that runs, where a script or the kernel can change them, and it need not go."""
    if seen.active is None or seen.definition is None or not seen.changeable or not wish.replace:
        if seen.queues is None or not seen.queues.changeable:
            return []
        return seen.queues.change(target, seen.holders, wish.force, wish.wait_timeout)
    _refuse_if_held(wish, seen, seen.active)
    return [steps.change(target, seen.definition.attrs, _terms(wish, seen))]


def _remove(wish: Wish, seen: Observation, active: mdevs.Mdev) -> Step:
    _refuse_if_held(wish, seen, active)
    definition = under(seen.definitions, active.parent)
    script_attrs = () if isinstance(seen.script_attrs, Refused) else seen.script_attrs
    return steps.remove(active, definition.attrs if definition else script_attrs, _terms(wish, seen))


def _refuse_if_held(wish: Wish, seen: Observation, active: mdevs.Mdev) -> None:
    """Raise InUse, naming the holders, when the device has any and may not be removed from under them."""
    if seen.holders and not wish.force:
        raise InUse(
            f"mdev {active.uuid} on {called(active.parent)} is in use by {holders.named(seen.holders)}:"
            " stop that first, or set force: true to have the kernel ask for its release, which takes it from a"
            " guest that runs",
            [holder.document(uuid=active.uuid) for holder in seen.holders],
        )


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of the device under the parent that was meant."""
    return observe(replace(wish, parent=before.address))


def _planned(
    seen: Observation,
    steps: Sequence[Step],
    active: mdevs.Mdev | None,
    definitions: tuple[Definition, ...],
    warnings: tuple[str, ...] = (),
) -> Plan[Observation]:
    stays = active is seen.active
    holders = seen.holders if stays else ()
    marked = any(definition.managed for definition in definitions) if definitions else seen.marked
    then = replace(seen, active=active, definitions=definitions, holders=holders, marked=marked)
    creates = () if active is None or stays else (active.uuid,)
    return Plan(tuple(steps), then, creates, warnings=warnings)


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    warnings = [*after.oddities, *planned.warnings, *steps.other_owners(planned.steps)]
    return {"mdev": _described(wish.uuid, before, after), "warnings": warnings}


def starts(seen: Observation) -> bool:
    return any(definition.autostart and not definition.managed for definition in seen.definitions)


def comes_with_guest(seen: Observation) -> bool:
    return any(definition.managed for definition in seen.definitions)


def state(seen: Observation) -> dict[str, Any]:
    definition = _kept(seen)
    return {
        "runtime": {seen.active.uuid: seen.active.document()} if seen.active else {},
        "boot": {definition.uuid: definition.document()} if definition else {},
    }


def _kept(seen: Observation) -> Definition | None:
    return seen.definition or next(iter(seen.definitions), None)


def _described(uuid: str, before: Observation, after: Observation) -> dict[str, Any]:
    """The device as it is, under the names of libvirt's XML; what is not known or no more is None."""
    active, definition = after.active, _kept(after)
    address = active.parent if active else definition.parent if definition else before.address
    kind = active.type if active else definition.type if definition else None
    return {
        "name": mdev_name(uuid, address) if address else None,
        "uuid": uuid,
        "parent": after.parent if address == after.address else None,
        "parent_addr": address,
        "type": kind,
        "device_api": active.device_api if active else after.types.get(kind or "", {}).get("device_api"),
        "iommu_group": active.iommu_group if active else None,
        "active": active is not None,
        "persistent": definition is not None,
        "autostart": definition.autostart if definition else None,
        "managed": definition is not None and definition.managed,
        "attrs": [{name: value} for name, value in definition.attrs] if definition else [],
        "holders": [holder.document() for holder in after.holders],
    }
