# SPDX-License-Identifier: GPL-3.0-or-later
"""One mediated device: what is there of it, and the plan that makes it as wished.

Identity is the UUID and the parent, as for mdevctl: one UUID may be defined under several parents, but runs once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import checked_address, checked_attrs, checked_type, checked_uuid
from ...host import holders, mdev_parents, mdevs, starting, subchannels
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...names import called, may_name, mdev_name
from ...plan import Step, of_pool
from ...resource import Plan
from ...store import marks, mdevctl, owners
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs, Definition
from ...store.scripts import Refused, Scripts, scripts_of_host
from . import leaving as mdev_leaving
from . import matrix, steps
from .leaving import Leaving

KIND = "mdev"
# Of udev's events.
SUBSYSTEM = "mdev"
PEER = "mdevctl"


@dataclass(frozen=True)
class Wish:
    """What a person wants of one device; ``type`` and ``parent`` may be left out for a device that is known.

    What is None is as it is defined: of a new device, no attributes and a start with its parent.
    """

    uuid: str
    state: str = "present"
    type: str | None = None
    parent: str | None = None
    attrs: Attrs | None = None
    persistent: bool = True
    autostart: bool | None = None
    managed: bool | None = None
    force: bool = False
    replace: bool = False
    wait_timeout: float = 30

    @classmethod
    def checked(cls, attrs: Sequence[dict[str, Any]] | None = None, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not.

        ``attrs`` is a list of mappings of one name to one value, in the order in which they are to be written.
        """
        options["uuid"] = checked_uuid(options["uuid"])
        if options.get("parent") is not None:
            options["parent"] = checked_address("parent", options["parent"])
        checked_type(options.get("type"))
        wishes.check(options)
        wishes.check_managed(options)
        return cls(attrs=None if attrs is None else checked_attrs(attrs), **options)


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``address`` is the kernel's name of the parent that the wish means, None where that cannot be told; ``parent`` is
    that parent's node device name and None where the parent is not registered now. ``cards`` says of each parent in
    question with which others it shares its capacity: those with the same card. ``leaving`` says that a device of this
    UUID is still being removed, from that parent where one is meant: the kernel hides it at once but waits for its
    user. ``holders`` are those of the device, also of one that is leaving. ``oddities`` are warnings of what makes no
    sense. ``callouts`` are mdevctl's scripts, None where there are none. ``script_attrs`` are the attributes that they
    tell of a device that runs undefined, or why they do not; ``changeable`` says that they change attributes of such a
    device while it runs. ``instead`` is what is there where the parent is not registered. ``doubt`` says which two
    parents the wish may mean, None where there is no doubt.
    ``pool`` is the pool of a device that is to be absent. ``marked`` says that the UUID has the mark of a managed
    device, be it defined or not. ``queues`` are the crypto queues where the parent is the matrix.
    """

    address: str | None
    parent: str | None
    types: mdev_parents.Types
    registered: tuple[str, ...]
    cards: Mapping[str, str]
    active: mdevs.Mdev | None
    leaving: bool
    definitions: tuple[Definition, ...]
    damaged: tuple[DamagedDefinition, ...]
    holders: tuple[Holder, ...]
    callouts: Scripts | None
    oddities: tuple[str, ...] = ()
    script_attrs: Attrs | Refused = ()
    changeable: bool = False
    instead: tuple[str, ...] = ()
    doubt: str | None = None
    pool: str | None = None
    marked: bool = False
    queues: matrix.Queues | None = None

    @property
    def definition(self) -> Definition | None:
        """The definition under the parent that is meant."""
        return _under(self.definitions, self.address)


def _under(definitions: Sequence[Definition], parent: str | None) -> Definition | None:
    """The definition under a parent, if there is one."""
    return next((each for each in definitions if each.parent == parent), None)


@dataclass(frozen=True)
class _Found:
    """The device, its definitions, and its parent by the kernel's name, as in Observation."""

    active: mdevs.Mdev | None
    definitions: tuple[Definition, ...]
    damaged: tuple[DamagedDefinition, ...]
    registered: tuple[str, ...]
    address: str | None
    leaving: Leaving | None
    doubt: str | None = None

    @property
    def cards(self) -> dict[str, str]:
        """The cards of all parents in question."""
        parents = {self.address, *(definition.parent for definition in self.definitions)}
        parents |= {self.active.parent} if self.active else set()
        return {parent: mdev_parents.card_of(parent) for parent in parents if parent is not None}


def _found(wish: Wish) -> _Found:
    active = mdevs.find(wish.uuid)
    definitions, damaged = mdevctl.defined(wish.uuid)
    registered = tuple(mdev_parents.addresses())
    parents = [definition.parent for definition in definitions]
    parents += [parent for parent, uuid in map(mdevctl.place_of, damaged) if uuid is not None and parent not in parents]
    channels = subchannels.meant(wish.parent) if wish.parent is not None else {}
    settled = [each for each in channels.values() if each in parents or (active and each == active.parent)]
    doubt = subchannels.doubt(channels) if len(settled) != 1 else None
    meant = settled or [*channels.values()]
    address = meant[0] if meant else _address(wish, active, parents, registered)
    leaving = mdev_leaving.find(wish.uuid, _left_by(wish, address, registered)) if active is None else None
    if address is None and leaving is not None:
        address = leaving.parent
    return _Found(active, tuple(definitions), tuple(damaged), registered, address, leaving, doubt)


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The cards of all parents in question."""
    return {*(seen or _found(wish)).cards.values()}


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the device, its definitions, its parent with the types, and who uses it."""
    found = _found(wish)
    active, leaving = found.active, found.leaving
    path = mdev_parents.path_of(found.address) if found.address else None
    oddities = Oddities()
    types = mdev_parents.types_of(path, oddities) if path else {}
    marked = marks.is_marked(KIND, wish.uuid)
    held_by: Sequence[Holder] = leaving.holders if leaving else ()
    if active is not None:
        probe = _is_touched(wish, found, active, types, marked)
        held_by = starting.holders_of(KIND, active.uuid, active.nodes, probe)
    if active is not None and active.oddity is not None:
        oddities.add(active.oddity)
    queues = oddities.attempt(partial(matrix.look, found.address, wish.uuid, oddities))
    scripts = scripts_of_host()
    instead = (oddities.attempt(partial(_instead, wish, found)) if path is None else None) or ()
    return Observation(
        address=found.address,
        parent=mdev_parents.name_of(path) if path else None,
        types=types,
        registered=found.registered,
        cards=found.cards,
        active=active,
        leaving=leaving is not None,
        definitions=found.definitions,
        damaged=found.damaged,
        holders=tuple(held_by),
        callouts=scripts,
        oddities=tuple(oddities.warnings),
        script_attrs=_script_attrs(wish, active, found.definitions, scripts),
        changeable=_changeable(wish, active, found.definitions, scripts),
        instead=instead,
        doubt=found.doubt,
        pool=owners.owner(KIND, wish.uuid) if wish.state == "absent" else None,
        marked=marked,
        queues=queues,
    )


def _is_touched(wish: Wish, found: _Found, active: mdevs.Mdev, types: mdev_parents.Types, marked: bool) -> bool:
    """Whether the device that runs may be removed, or given attributes.

    Else no node of it is opened to find out who uses it, which would keep out a guest that starts at this moment.
    """
    former = _under(found.definitions, active.parent)
    called_so = (None, active.type, types.get(active.type, {}).get("name"))
    moves = active.parent != found.address or wish.type not in called_so
    changes = former is not None and wish.attrs not in (None, former.attrs)
    sets = former is None and wish.persistent and bool(wish.attrs)
    becomes_managed = bool(wish.managed) and not marked
    loses = changes and active.parent == matrix.PARENT
    return wish.state != "present" or (wish.replace and (moves or changes)) or loses or sets or becomes_managed


def _instead(wish: Wish, found: _Found) -> tuple[str, ...]:
    """What there is to be said where the parent that is meant is not registered, or none is."""
    asked = wish.parent or found.address
    if wish.state == "absent" or (found.registered and asked is None):
        return ()
    why_not = () if asked is None else (mdev_parents.why_not(asked),)
    return why_not if found.registered else (*why_not, *mdev_parents.why_none())


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left, and wait for the end of a removal that nobody keeps; whether there was one."""
    mdevctl.clear_up(seen.cards)
    marks.clear_up(KIND, wish.uuid)
    leaving = [Leaving(wish.uuid, seen.address, seen.holders)] if seen.leaving and seen.address is not None else []
    return mdev_leaving.await_end(leaving, wish.wait_timeout)


def _left_by(wish: Wish, address: str | None, registered: Sequence[str]) -> Sequence[str]:
    """The parents that a device of the wish's UUID may still be leaving."""
    if address is not None:
        return (address,)
    return registered if wish.parent is None else ()


def _script_attrs(
    wish: Wish, active: mdevs.Mdev | None, definitions: Sequence[Definition], scripts: Scripts | None
) -> Attrs | Refused:
    """What the scripts tell of a device that runs undefined, where that is to be kept or put back."""
    wanted = wish.state != "absent" and (wish.replace or (wish.persistent and wish.attrs is None))
    if not wanted or active is None or _under(definitions, active.parent) is not None:
        return ()
    # Here, as in the following: only who has something to ask the scripts waits for its import.
    from ...store import callouts

    try:
        return callouts.attributes(scripts, Definition(wish.uuid, active.parent, active.type, False), wish.wait_timeout)
    except Refused as error:
        # What is not kept need not be known.
        return error if wish.persistent and wish.attrs is None else ()


def _changeable(
    wish: Wish, active: mdevs.Mdev | None, definitions: Sequence[Definition], scripts: Scripts | None
) -> bool:
    """Whether a device that runs with other attributes than it is to have can get them so."""
    definition = _under(definitions, active.parent) if active is not None else None
    if definition is None or not wish.replace or wish.attrs in (None, definition.attrs):
        return False
    from ...store import callouts

    with contextlib.suppress(Refused):
        return callouts.can_change(scripts, definition, wish.wait_timeout)
    return False


def _address(wish: Wish, active: mdevs.Mdev | None, parents: Sequence[str], registered: Sequence[str]) -> str | None:
    if wish.parent is None:
        if active is not None:
            return active.parent
        return parents[0] if len(parents) == 1 else None
    if wish.parent in registered or wish.parent in parents:
        return wish.parent
    for address in registered:
        path = mdev_parents.path_of(address)
        if path is not None and mdev_parents.name_of(path) == wish.parent:
            return address
    # A parent that is gone has no folder to take its subsystem from, so its name is compared by its end.
    return next((address for address in parents if may_name(wish.parent, address)), None)


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises BadInput or InUse before any of them, and writes nothing."""
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
        outdated = active is not None and wish.attrs is not None and matrix.is_outdated(target, defined, seen.queues)
        runs = wish.state == "present" and not (target.managed and wish.persistent)
        matrix.refuse(target, defined, seen.queues, runs, wish.persistent)

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
        warning = f"mdev {wish.uuid} runs: the new attrs take effect when it is started next, or with replace: true"
        # One that runs undefined may be of a run that was killed before it had set them.
        unset = wish.persistent and defined is None and not change and target.attrs not in ((), seen.script_attrs)
        sets = steps.set_attributes(target, wish.wait_timeout) if unset and not seen.holders else []
        late = (outdated and not change) or (unset and not sets)
        then = _with_queues(seen, target, (*change, *sets))
        told = (warning,) if late else _of_queues(seen, target) if change else ()
        return _planned(then, (*change, *sets, *define), active, definitions, told)
    _check_room(seen, target)
    made = mdevs.Mdev(target.uuid, target.parent, target.type, seen.types[target.type].get("device_api"), None, ())
    create = matrix.locked(_create(wish, seen, target), seen.queues, wish.wait_timeout)
    then = _with_queues(seen, target, create)
    return _planned(then, (*remove, *create, *define), made, definitions, _of_queues(seen, target))


def _of_queues(seen: Observation, target: Definition) -> tuple[str, ...]:
    """What of its crypto queues a guest will not get, where it has any."""
    return () if seen.queues is None else matrix.warnings(target, seen.queues)


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
        return _under(seen.definitions, seen.active.parent)
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
    return steps.create(target, _terms(wish, seen))


def _change(wish: Wish, seen: Observation, target: Definition) -> list[Step]:
    """Other attributes for a device that runs, where a script or the kernel can change them, and it need not go."""
    if seen.active is None or seen.definition is None or not seen.changeable or not wish.replace:
        if seen.queues is None or not seen.queues.changeable:
            return []
        return matrix.change(target, seen.queues, seen.holders, wish.force, wish.wait_timeout)
    _refuse_if_held(wish, seen, seen.active)
    return [steps.change(target, seen.definition.attrs, _terms(wish, seen))]


def _remove(wish: Wish, seen: Observation, active: mdevs.Mdev) -> Step:
    _refuse_if_held(wish, seen, active)
    definition = _under(seen.definitions, active.parent)
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
    """The device afterwards."""
    return {
        "mdev": _described(wish.uuid, before, after),
        "warnings": [*after.oddities, *planned.warnings],
    }


def starts(seen: Observation) -> bool:
    """Whether it is defined, and starts by itself."""
    return any(definition.autostart and not definition.managed for definition in seen.definitions)


def comes_with_guest(seen: Observation) -> bool:
    """Whether it is defined as managed."""
    return any(definition.managed for definition in seen.definitions)


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
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
