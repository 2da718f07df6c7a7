# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants of one mediated device, and what is there of it: it, its definitions, its parent, who uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ... import wishes
from ...grammar import checked_address, checked_attrs, checked_type, checked_uuid
from ...host import mdev_parents, mdevs, starting, subchannels
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...names import device_name, may_name
from ...store import marks, mdevctl, owners
from ...store.files import DamagedDefinition
from ...store.mdevctl import Attrs, Definition
from ...store.scripts import Refused, Scripts, scripts_of_host
from ...waiting import wait_for
from . import leaving as mdev_leaving
from .leaving import Leaving

if TYPE_CHECKING:
    from . import matrix

KIND = "mdev"


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
        return under(self.definitions, self.address)


def under(definitions: Sequence[Definition], parent: str | None) -> Definition | None:
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
    if wish.state == "present" and _is_late(wish, found):
        # What makes mediated devices of a function comes some time after it.
        wait_for(lambda: not _is_late(wish, found), wish.wait_timeout)
        found = _found(wish)
    active, leaving = found.active, found.leaving
    path = mdev_parents.path_of(found.address) if found.address else None
    oddities = Oddities()
    types = mdev_parents.types_of(path, oddities) if path else {}
    marked = marks.is_marked(KIND, wish.uuid)
    queues = oddities.attempt(partial(_queues, found.address, wish.uuid, oddities))
    held_by: Sequence[Holder] = leaving.holders if leaving else ()
    if active is not None:
        probe = _is_touched(wish, found, active, types, marked, queues)
        held_by = starting.holders_of(KIND, active.uuid, active.nodes, probe)
    for odd in active.oddities if active is not None else ():
        oddities.add(odd)
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


def _is_late(wish: Wish, found: _Found) -> bool:
    """Whether the parent that is meant may be a function that NVIDIA's driver has not made one yet."""
    if found.address in found.registered:
        return False
    asked = wish.parent or found.address
    return any(asked in (None, each, device_name("pci", each)) for each in mdev_parents.late())


def _queues(address: str | None, uuid: str, oddities: Oddities) -> matrix.Queues | None:
    """The crypto queues that a device on the matrix may have; None on another parent."""
    if address != mdev_parents.MATRIX:
        return None
    # Here, so that only who has to do with the matrix waits for its import.
    from . import matrix

    return matrix.look(uuid, oddities)


def _is_touched(
    wish: Wish,
    found: _Found,
    active: mdevs.Mdev,
    types: mdev_parents.Types,
    marked: bool,
    queues: matrix.Queues | None,
) -> bool:
    """Whether the device that runs may be removed, or given attributes.

    Else no node of it is opened to find out who uses it, which would keep out a guest that starts at this moment.
    """
    former = under(found.definitions, active.parent)
    called_so = (None, active.type, types.get(active.type, {}).get("name"))
    moves = active.parent != found.address or wish.type not in called_so
    changes = former is not None and wish.attrs not in (None, former.attrs)
    sets = former is None and wish.persistent and bool(wish.attrs)
    becomes_managed = bool(wish.managed) and not marked
    loses = changes and active.parent == mdev_parents.MATRIX
    if wish.state != "present" or (wish.replace and (moves or changes)) or loses or sets or becomes_managed:
        return True
    return wish.replace and queues is not None and former is not None and queues.is_outdated(former, None, True)


def _instead(wish: Wish, found: _Found) -> tuple[str, ...]:
    """What there is to be said where the parent that is meant is not registered, or none is."""
    asked = wish.parent or found.address
    if wish.state == "absent" or (found.registered and asked is None):
        return ()
    why_not = () if asked is None else (mdev_parents.why_not(asked),)
    return why_not if found.registered else (*why_not, *mdev_parents.why_none())


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
    if not wanted or active is None or under(definitions, active.parent) is not None:
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
    definition = under(definitions, active.parent) if active is not None else None
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
