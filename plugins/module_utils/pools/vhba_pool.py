# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of vHBAs: so many over a choice of HBAs, always with the same World Wide Names.

The names follow from the host, the pool's name and an index, so that zones and LUN masks that were made for them hold.
vHBAs of others are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from .. import boot, sysfs, udev_events
from ..capabilities import fc_port
from ..capabilities.fc_port import Port
from ..errors import NodedevError
from ..plan import StepFailed, apply, describe
from ..resources.vhba_port import of_luns
from .attempts import Ceilings, alone
from .members import Member
from .vhba_plan import Plan, plan
from .vhba_seen import Observation, members_of, observe
from .vhba_wish import Wish


def ensure(wish: Wish, check_mode: bool = False) -> dict[str, Any]:
    """Make the pool as wished, or in check mode only say what would be done; the result in Ansible's shape."""
    hindrance = sysfs.why_not_writable()
    if check_mode or hindrance:
        before = observe(wish)
        planned = plan(wish, before)
        if planned.steps and not check_mode:
            raise NodedevError(hindrance)
        return _result(wish, before, planned, predicted(before, planned))
    return _result(wish, *alone(wish.name, wish.wait_timeout, lambda: _locks(fc_port.ports()), partial(_applied, wish)))


def _locks(ports: Iterable[Port]) -> set[str]:
    """What is locked: all HBAs, as for a single vHBA, which may go to any of them."""
    return {f"fc:{port.wwpn}" for port in ports if port.vport is None}


def _applied(wish: Wish, locked: set[str]) -> tuple[Observation, Plan, Observation] | None:
    """What was there, the plan that was carried out, and what is there then; None where there are other HBAs."""
    ceilings = Ceilings()
    while True:
        before = observe(wish)
        if not locked.issuperset(_locks(before.ports)):
            return None
        planned = plan(wish, before, ceilings.found)
        watch = udev_events.Watch("scsi_host") if planned.creates else None
        try:
            apply(planned.steps)
        except StepFailed as error:
            ceilings.learn(error, [(target.wwpn, target.parent_wwpn) for target in planned.creates])
            continue
        if watch is not None:
            made = {target.wwpn for target in planned.creates}
            hosts = [port.sysname for port in fc_port.ports() if port.vport and port.wwpn in made]
            late = watch.wait_added(hosts, wish.wait_timeout)
            planned = replace(planned, warnings=(*planned.warnings, *late))
        # What the wish leaves open stands in the record, which may be gone now.
        return before, planned, observe(wish.filled(before.record)) if planned.steps else before


def predicted(before: Observation, planned: Plan) -> Observation:
    """The host when the plan is carried out, as far as the plan itself says; a new vHBA has no port yet."""

    def used(hba: Port) -> int:
        now, then = (sum(each.parent == hba.wwpn for each in seen.active.values()) for seen in (before, planned))
        return max(hba.used + then - now, 0)

    gone = {running.port for wwpn, running in before.active.items() if wwpn not in planned.active}
    ports = [port if port.vport else replace(port, used=used(port)) for port in before.ports if port not in gone]
    return replace(
        before,
        ports=tuple(ports),
        record=planned.record,
        active=planned.active,
        definitions=planned.definitions,
        derived={},
        damaged_records=(),
    )


def _result(wish: Wish, before: Observation, planned: Plan, after: Observation) -> dict[str, Any]:
    written = {*planned.definitions.values()} - {*before.definitions.values()}
    return {
        "changed": bool(planned.steps),
        "plan": describe(planned.steps),
        "diff": {"before": _state(before), "after": _state(after)},
        "instances": [_instance(member, after) for member in members_of(after)],
        "capacity": _capacity(wish.filled(before.record), after),
        "warnings": [*planned.warnings, *(boot.warning(f"pool {wish.name}") if written else [])],
    }


def _state(seen: Observation) -> dict[str, Any]:
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
