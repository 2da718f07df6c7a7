# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vHBAs: so many over a choice of HBAs, always with the same World Wide Names.

The names follow from the host, the pool's name and an index, so that zones and LUN masks that were made for them hold.
vHBAs of others are never touched.
"""

from __future__ import annotations

from typing import Any

from ...host import fc_port
from ...pools import record
from ...pools.members import Member
from ...resource import Plan
from ...store import restorers
from .pool_plan import plan
from .pool_seen import Observation, members_of, observe
from .pool_wish import Wish
from .port import of_luns

__all__ = [
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "described",
    "events",
    "locks",
    "look_again",
    "observe",
    "plan",
    "state",
]

# Of udev's events.
SUBSYSTEM = "scsi_host"


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """The pool and all HBAs, as for a single vHBA, which may go to any of them."""
    ports = fc_port.ports() if seen is None else seen.ports
    return {f"pool:{wish.name}", *(f"fc:{port.wwpn}" for port in ports if port.vport is None)}


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what a killed run has left of the pool's record."""
    record.clear_up(wish.name)
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """What is there of the pool. What the wish leaves open stands in the record, which may be gone now."""
    return observe(wish.filled(before.record))


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """The kernel's names of the new SCSI hosts."""
    return [port.sysname for port in after.ports if port.vport and port.wwpn in planned.creates]


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The instances afterwards, and what the HBAs have room for."""
    written = {*planned.then.definitions.values()} - {*before.definitions.values()}
    return {
        "instances": [_instance(member, after) for member in members_of(after)],
        "capacity": _capacity(wish.filled(before.record), after),
        "warnings": [*planned.warnings, *(restorers.warning(f"pool {wish.name}") if written else [])],
    }


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    own = [member.id for member in members_of(seen)]
    running = {wwpn: seen.active[wwpn] for wwpn in own if wwpn in seen.active}
    return {
        "runtime": {wwpn: {"wwnn": each.wwnn, "parent_wwpn": each.parent} for wwpn, each in running.items()},
        "boot": {wwpn: seen.definitions[wwpn].document() for wwpn in own if wwpn in seen.definitions},
    }


def _instance(member: Member, seen: Observation) -> dict[str, Any]:
    running = seen.active.get(member.id)
    known = running or seen.definitions.get(member.id)
    port = running.port if running else None
    hba = next((hba for hba in seen.hbas if hba.wwpn == member.parent), None)
    return {
        "index": member.index,
        "wwnn": known.wwnn if known else None,
        "wwpn": member.id,
        "active": running is not None,
        "host": port.host if port else None,
        "name": port.name if port else None,
        "parent": hba.name if hba else None,
        "parent_addr": hba.sysname if hba else None,
        "parent_wwnn": hba.wwnn if hba else None,
        "parent_wwpn": member.parent,
        "vport_state": port.vport_state if port else None,
        "luns": of_luns(running.luns) if running else [],
        "holders": [{**use.document(), "lun": lun} for lun, use in running.uses] if running else [],
    }


def _capacity(wish: Wish, seen: Observation) -> dict[str, dict[str, Any]]:
    """By HBA that is chosen: what is free, how many vHBAs the pool and others have, and why it is not counted."""
    found = {}
    for hba in seen.hbas:
        if wish.selector.excludes(hba):
            continue
        own = sum(running.parent == hba.wwpn for running in seen.active.values())
        found[hba.name] = {
            "free": hba.free,
            "pool": own,
            "others": max(hba.used - own, 0),
            "hindrance": wish.selector.why_not(hba, wish.logged_in),
        }
    return found
