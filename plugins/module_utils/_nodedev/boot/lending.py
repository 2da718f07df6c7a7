# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed devices for one domain: all that it names are made, or none, and what was made for it is removed after it.

Each domain has a lock, held from before its record is read until it is written, and waited for with no other one held.
The devices have the locks of their cards besides, as in every other run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import locks
from ..errors import NodedevError
from ..host import starting
from ..kinds.registry import KINDS, Managed
from ..libvirt import domain_document
from ..libvirt.domain_document import Domain
from ..plan import UNDO, Step, StepFailed, apply
from ..store import files
from ..store.guests import FOUND, GUESTS, MADE, MAKING, Daemon, Guest, Lent
from ..text import shown
from ..waiting import within

# Seconds for one device that is to be made or removed, or for another run on the same domain.
WAIT = 30.0
# Seconds for all that nobody will ask for any more: another domain waits for it.
RECLAIMING = 10.0


@dataclass(frozen=True)
class _Wanted:
    """A managed device that a domain names; ``name`` is what a person calls it."""

    kind: str
    id: str
    name: str
    definition: Any

    @property
    def managed(self) -> Managed[Any]:
        return _managed(self.kind)


def prepare(document: bytes, daemon: Daemon) -> None:
    """Make all managed devices that a domain names and that are not there, or none; what libvirt does before a start.

    Raises NodedevError with the reason, having taken back what it made.
    """
    domain = domain_document.read(document)
    with locks.held([_lock(domain.uuid)], WAIT):
        GUESTS.clear_up(domain.uuid)
        with within(RECLAIMING):
            left = _reclaimed(domain.uuid)
        wanted = _wanted(domain)
        if wanted:
            _lend(domain, daemon, wanted, left)


def release(document: bytes, _daemon: Daemon) -> None:
    """Remove what was made for a domain, which has ended or has failed to start; raises NodedevError for what stays."""
    domain = domain_document.read(document)
    with locks.held([_lock(domain.uuid)], WAIT):
        guest = GUESTS.find(domain.uuid)
        _left, reasons = _taken_back(guest) if guest is not None else ((), [])
    if reasons:
        raise NodedevError("; ".join(reasons))


def reconnect(document: bytes, daemon: Daemon) -> None:
    """Note that this daemon has taken over a domain that runs, and will tell of its end."""
    domain = domain_document.read(document)
    with locks.held([_lock(domain.uuid)], WAIT):
        guest = GUESTS.find(domain.uuid)
        if guest is not None and not guest.ended:
            _keep(replace(guest, daemon=daemon))


def _lock(uuid: str) -> str:
    return f"guest:{uuid}"


def _managed(kind: str) -> Managed[Any]:
    """How devices of a kind come and go; NodedevError where a later release has recorded another kind."""
    found = KINDS[kind].managed if kind in KINDS else None
    if found is None:
        raise NodedevError(f"devices of the kind {shown(kind)} are not known to come and go with guests")
    return found


def _wanted(domain: Domain) -> list[_Wanted]:
    """The managed devices that a domain names, parents before children."""
    found = []
    for name, kind in KINDS.items():
        for id in kind.managed.named(domain.hostdevs) if kind.managed is not None and kind.is_used() else ():
            definition = _managed(name).managed(id)
            if definition is not None:
                found.append(_Wanted(name, id, kind.restorable.summary(definition)[1], definition))
    return found


def _lend(domain: Domain, daemon: Daemon, wanted: Sequence[_Wanted], left: Sequence[Lent]) -> None:
    """Make what of this is not there, with a record; ``left`` was made for the domain before, and is still there."""
    before = {(each.kind, each.id): each for each in left}
    devices = [before.pop((each.kind, each.id), _expected(each)) for each in wanted]
    guest = Guest(domain.uuid, domain.name, daemon, (*before.values(), *devices))
    _keep(guest)
    made: dict[str, bool] = {}
    try:
        apply([_making(each, domain.name, made) for each, lent in zip(wanted, devices) if lent.how == MAKING])
    except StepFailed:
        _keep(replace(guest, devices=tuple(_remaining(guest, made)), ended=True))
        raise
    _keep(replace(guest, devices=tuple(_outcome(each, made) for each in guest.devices)))


def _expected(wanted: _Wanted) -> Lent:
    return Lent(wanted.kind, wanted.id, FOUND if wanted.managed.is_there(wanted.id) else MAKING)


def _making(wanted: _Wanted, domain: str, made: dict[str, bool]) -> Step:
    """The step that makes a device, and notes in ``made`` whether it did or found it there."""

    def make() -> None:
        made[wanted.id] = wanted.managed.make(wanted.definition, WAIT)

    def unmake() -> None:
        if made[wanted.id]:
            wanted.managed.unmake(wanted.id, UNDO)

    return Step(f"make {wanted.name} for domain {shown(domain)}", make, unmake)


def _outcome(lent: Lent, made: dict[str, bool]) -> Lent:
    if lent.how != MAKING or lent.id not in made:
        return lent
    return replace(lent, how=MADE if made[lent.id] else FOUND)


def _remaining(guest: Guest, made: dict[str, bool]) -> Iterator[Lent]:
    """What a failed start has left of what was not there before it."""
    for each in (_outcome(each, made) for each in guest.devices):
        with contextlib.suppress(NodedevError):
            if each.how == FOUND or not _managed(each.kind).is_there(each.id):
                continue
        yield each


def _keep(guest: Guest) -> None:
    """Record a guest; one that has ended only as long as something is left of it."""
    if guest.ended and not guest.devices:
        files.remove(guest.path)
    else:
        files.write_document(guest.path, guest.document())


def _taken_back(guest: Guest) -> tuple[list[Lent], list[str]]:
    """Remove what was made for a guest that has ended; what stays, which is recorded, and why."""
    left: list[Lent] = []
    reasons: list[str] = []
    for each in reversed(guest.devices):
        if each.how == FOUND or (each.how == MAKING and _is_of_another(each, guest)):
            continue
        try:
            _managed(each.kind).unmake(each.id, WAIT)
        except NodedevError as error:
            left.insert(0, each)
            reasons.append(str(error))
    _keep(replace(guest, devices=tuple(left), ended=True))
    return left, reasons


def _is_of_another(lent: Lent, guest: Guest) -> bool:
    """Whether a device that was to be made for a guest was made for another one meanwhile."""
    made = replace(lent, how=MADE)
    return any(made in other.devices for other in GUESTS.all()[0] if other.uuid != guest.uuid)


def _reclaimed(uuid: str) -> list[Lent]:
    """Remove what was made for guests whose end nobody will tell of, and what is left of those that have ended.

    Of this domain, which is about to start, that is all there is; returns what of it stays, as where somebody uses it.
    """
    left: list[Lent] = []
    for guest in GUESTS.all()[0]:
        if guest.uuid == uuid:
            left, _reasons = _taken_back(guest)
        elif not starting.is_awaited(guest):
            # Another run works on a guest whose lock is held.
            with contextlib.suppress(NodedevError), locks.held([_lock(guest.uuid)], 0):
                _reclaim(guest.uuid)
    return left


def _reclaim(uuid: str) -> None:
    """The same for another domain: one that runs on without its daemon keeps everything."""
    guest = GUESTS.find(uuid)
    if guest is None or starting.is_awaited(guest):
        return
    if guest.ended or not any(map(_is_wanted, guest.devices)):
        _taken_back(guest)


def _is_wanted(lent: Lent) -> bool:
    """Whether somebody has a device open, or will in a moment since its command line names it."""
    return bool(starting.wanted_by(lent.id, _managed(lent.kind).nodes(lent.id)))
