# SPDX-License-Identifier: GPL-3.0-or-later
"""One vHBA, a virtual Fibre Channel HBA by NPIV: what is there of it, and the plan that makes it as wished.

Identity is the pair of WWNN and WWPN, as for the kernel; the WWPN alone is unique on a host. Host numbers are not
stable from boot to boot, so the definition names the HBA by its WWPN.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import checked_oui, checked_wwn
from ...host import disk_users, fc_port, lun, machine
from ...host.fc_port import Port
from ...host.lun import Lun
from ...host.machine import derived_wwn
from ...host.processes import Holder
from ...plan import Step, of_pool
from ...resource import Plan
from ...store import owners
from ...store.files import DamagedDefinition, removal
from . import definition, kernel, steps
from .definition import Definition
from .parent import Asked, choose, refusal, why_not
from .port import of_port

# Of udev's events.
SUBSYSTEM = "scsi_host"
PEER = None
# The OUI of libvirt's own WWNs for QEMU.
OUI = "001a4a"
# What force does.
TAKEN = "take the disks away all the same, whose users get errors from then on"


@dataclass(frozen=True)
class Wish:
    """What a person wants of one vHBA; it has WWNs, or a ``name`` from which they follow with the ``oui``.

    ``identity`` stands in for the host's machine-id there. ``derived`` says that its WWNs follow from the machine-id
    though they are given. ``require_online`` is as it is defined where it is None.
    """

    wwnn: str | None = None
    wwpn: str | None = None
    name: str | None = None
    oui: str = OUI
    identity: str | None = None
    derived: bool = False
    asked: Asked = field(default_factory=Asked)
    state: str = "present"
    persistent: bool = True
    force: bool = False
    require_online: bool | None = None
    wait_timeout: float = 30
    wait_luns: int = 0
    rescan: bool = False

    @classmethod
    def checked(
        cls,
        parent: str | None = None,
        parent_wwnn: str | None = None,
        parent_wwpn: str | None = None,
        parent_fabric_wwn: str | None = None,
        **options: Any,
    ) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        for option in ("wwnn", "wwpn"):
            if options.get(option) is not None:
                options[option] = checked_wwn(option, options[option])
        if (options.get("wwpn") is None) != (options.get("wwnn") is None):
            raise Missing("wwnn" if options.get("wwnn") is None else "wwpn", "wwnn and wwpn go together")
        if options.get("wwpn") is None and options.get("name") is None:
            raise Missing("name", "a vHBA has either wwnn and wwpn, or a name they follow from")
        if options.get("wwpn") is not None and options.get("name") is not None:
            raise BadInput("name", options["name"], "a vHBA has either wwnn and wwpn, or a name they follow from")
        options["oui"] = checked_oui(options.get("oui") or OUI)
        if options.get("name") is not None:
            wishes.checked_text("name", options["name"])
        kernel.checked_luns(options.get("wait_luns", 0))
        wishes.check(options)
        return cls(asked=Asked.checked(parent, parent_wwnn, parent_wwpn, parent_fabric_wwn), **options)


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``ports`` are all Fibre Channel ports; ``active`` the vHBA among them, ``luns`` and ``uses`` its units and who uses
    them. ``scsi_hosts`` says of the parent that was asked for by name whether the kernel has such a SCSI host.
    ``foretold`` is the HBA of a vHBA that a plan makes, and that has no port yet. ``pool`` is the pool
    of one that is to be absent, ``adapters`` what is there where no port is.
    """

    wwnn: str
    wwpn: str
    ports: tuple[Port, ...]
    active: Port | None
    definition: Definition | None
    damaged: DamagedDefinition | None
    luns: tuple[Lun, ...] = ()
    uses: tuple[Holder, ...] = ()
    scsi_hosts: Mapping[str, bool] = field(default_factory=dict)
    foretold: Port | None = None
    pool: str | None = None
    adapters: tuple[str, ...] = ()

    @property
    def hba(self) -> Port | None:
        if self.active is None:
            return self.foretold
        return next((port for port in self.ports if port.host == self.active.parent), None)


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """Those of its own port and of its HBA; where that is still to be chosen, of all HBAs.

    So an HBA that does not answer keeps no vHBA from being made on another one.
    """
    seen = seen or _look(wish)
    hbas = {port.wwpn for port in seen.ports if port.vport is None}
    if wish.asked.nothing and seen.hba is not None:
        hbas = {seen.hba.wwpn}
    elif wish.asked.nothing and seen.definition is not None:
        hbas = {seen.definition.parent_wwpn}
    return {f"fc:{name}" for name in (*hbas, seen.wwpn)}


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: all ports, the vHBA's definition, its units and their users."""
    seen = _look(wish)
    luns = tuple(lun.of_host(seen.active.host)) if seen.active else ()
    uses = used(luns) if wish.state != "present" else []
    named = wish.asked.parent
    number = int(named[len("scsi_host") :]) if named else None
    scsi_hosts = {named: fc_port.is_scsi_host(number)} if named and number is not None else {}
    pool = owners.owner(definition.KIND, seen.wwpn) if wish.state == "absent" else None
    adapters = () if seen.ports else fc_port.why_none()
    return replace(seen, luns=luns, uses=tuple(uses), scsi_hosts=scsi_hosts, pool=pool, adapters=adapters)


def _look(wish: Wish) -> Observation:
    """The ports and the definition alone."""
    wwnn, wwpn = names_of(wish)
    ports = tuple(fc_port.ports())
    active = next((port for port in ports if port.vport and (port.wwnn, port.wwpn) == (wwnn, wwpn)), None)
    return Observation(wwnn, wwpn, ports, active, *definition.DOCUMENTS.look(wwpn))


def names_of(wish: Wish) -> tuple[str, str]:
    """WWNN and WWPN, given or following from host and name; reads the machine-id for the latter."""
    if wish.wwnn is not None and wish.wwpn is not None:
        return wish.wwnn, wish.wwpn
    host, name = wish.identity or machine.needed_id(machine.known_id()), str(wish.name)
    return derived_wwn(host, name, "node", wish.oui), derived_wwn(host, name, "port", wish.oui)


def used(luns: tuple[Lun, ...]) -> list[Holder]:
    """Who uses these units."""
    disks = [unit.block for unit in luns if unit.block is not None]
    return disk_users.of_disks(disks, [node for unit in luns for node in unit.characters])


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    if seen.damaged is not None and wish.state != "absent":
        raise seen.damaged
    refuse_if_several(seen.wwnn, seen.wwpn, seen.ports)
    forget = _forgotten(seen) if wish.state == "absent" else []
    others = [port for port in seen.ports if port is not seen.active]
    refuse_if_taken("wwpn", seen.wwnn, seen.wwpn, others)
    if wish.state == "absent":
        return _planned(seen, of_pool([*forget, *_removal(wish, seen)], seen.pool), None, None, {})
    hba: Port | None
    hindrances: dict[str, str]
    defined = seen.definition
    if wish.state == "inactive" and seen.active is None and defined is not None and _stays(wish.asked, defined, seen):
        # Its HBA need not be there to be remembered.
        hba, parent, hindrances = fc_port.hba_of(seen.ports, defined.parent_wwpn), defined.parent_wwpn, {}
    else:
        hba, hindrances = _parent(wish, seen)
        parent = hba.wwpn
    target = Definition(seen.wwpn, seen.wwnn, parent, _online(wish, defined))
    define = [definition.define(target, defined)] if wish.persistent and defined != target else []
    definition_then = target if wish.persistent else defined
    if wish.state == "inactive":
        return _planned(seen, (*define, *_removal(wish, seen)), None, definition_then, hindrances, hba)
    make = [] if seen.active or hba is None else [steps.create(target, hba, wish.wait_timeout)]
    return _planned(seen, (*make, *define), hba, definition_then, hindrances, hba)


def _forgotten(seen: Observation) -> list[Step]:
    """What removes the definition, also one that cannot be understood: by its name it is just this vHBA's."""
    if seen.damaged is not None:
        return [removal(seen.damaged, f"vHBA {seen.wwpn}")]
    if seen.definition is None:
        return []
    if seen.definition.wwnn != seen.wwnn:
        raise BadInput("wwnn", seen.wwnn, f"vHBA {seen.wwpn} is defined with WWNN {seen.definition.wwnn}")
    return [definition.undefine(seen.definition)]


def _online(wish: Wish, definition: Definition | None) -> bool:
    """Whether the HBA has to be online: as it is defined where nothing is said."""
    if wish.require_online is not None:
        return wish.require_online
    return definition is None or definition.require_online


def _stays(asked: Asked, definition: Definition, seen: Observation) -> bool:
    """Whether the HBA that is asked for is, or may be, the defined one, be it here or not."""
    if asked.nothing or asked.wwpn == definition.parent_wwpn:
        return True
    hba = fc_port.hba_of(seen.ports, definition.parent_wwpn)
    # Which fabric an HBA is in that is not here, or has no link, cannot be told.
    return asked.fabric_wwn is not None and (hba is None or not asked.contradicts(hba))


def _parent(wish: Wish, seen: Observation) -> tuple[Port, dict[str, str]]:
    """The HBA that carries the vHBA, or is to; one that is there stays, and so does the HBA of a definition."""
    carrier = seen.hba
    if carrier is not None:
        if wish.asked.contradicts(carrier):
            raise NodedevError(
                f"vHBA {seen.wwpn} is on {carrier.name} (WWPN {carrier.wwpn}), not where it is asked for,"
                f" {wish.asked}: remove it first with state: absent"
            )
        return carrier, {port.name: f"the vHBA is on {carrier.name}" for port in seen.ports if _other(port, carrier)}
    # Where nothing has to be made, neither the state of the HBA nor its room is of interest.
    making = wish.state == "present"
    asked, defined = wish.asked, seen.definition
    online = _online(wish, defined) and making
    if defined is not None:
        hba = fc_port.hba_of(seen.ports, defined.parent_wwpn)
        if hba is not None and not asked.contradicts(hba):
            if making and why_not(hba, online) is not None:
                raise refusal(Asked(parent=hba.name), seen.ports, {}, online)
            return hba, {port.name: f"the vHBA is defined on {hba.name}" for port in seen.ports if _other(port, hba)}
        if asked.nothing:
            missing = f"the HBA with WWPN {defined.parent_wwpn}, which is not here now"
            raise NodedevError(f"vHBA {seen.wwpn} is defined on {missing}: name another as parent")
    hba, hindrances = choose(asked, seen.ports, online, making)
    if hba is None:
        raise refusal(asked, seen.ports, seen.scsi_hosts, online, making, seen.adapters)
    return hba, hindrances


def _other(port: Port, taken: Port) -> bool:
    return port.vport is None and port is not taken


def _removal(wish: Wish, seen: Observation) -> list[Step]:
    port, hba = seen.active, seen.hba
    if port is None or hba is None:
        return []
    users = [use.document(wwpn=port.wwpn) for use in seen.uses]
    refuse_if_used(port, [*map(str, seen.uses)], users, wish.force)
    return steps.remove(port, hba, seen.luns, wish.wait_timeout, wish.force)


def refuse_if_used(port: Port, uses: Collection[str], users: Collection[Mapping[str, Any]], force: bool) -> None:
    """Raise InUse, naming the uses, when there are any and the disks may not be taken away from under them.

    ``users`` are the same as data.
    """
    if uses and not force:
        raise InUse(
            f"vHBA {port.wwpn} ({port.name}) is in use, {', '.join(uses)}: stop that first, or set"
            f" force: true to {TAKEN}",
            users,
        )


def refuse_if_taken(option: str, wwnn: str, wwpn: str, others: Collection[Port]) -> None:
    """Raise BadInput when another port of this host has the WWPN, which is to be unique."""
    for port in others:
        if port.wwpn != wwpn:
            continue
        if port.vport is None:
            raise BadInput(option, wwpn, f"it is the port's own name of HBA {port.name}")
        raise BadInput(option, wwpn, f"vHBA {port.name} has it already, with WWNN {port.wwnn} instead of {wwnn}")


def refuse_if_several(wwnn: str, wwpn: str, ports: Collection[Port]) -> None:
    """HBAs do not know of each other's vHBAs: two of them may have one of the same names, and only one is meant."""
    same = [port for port in ports if port.vport and (port.wwnn, port.wwpn) == (wwnn, wwpn)]
    if len(same) > 1:
        named = ", ".join(f"{port.name} on scsi_host{port.parent}" for port in same)
        raise NodedevError(
            f"several vHBAs have the names {wwnn} and {wwpn}: {named}; delete all but one by the vport_delete of their"
            " HBAs"
        )


def _planned(
    seen: Observation,
    steps: Sequence[Step],
    carrier: Port | None,
    definition_then: Definition | None,
    hindrances: Mapping[str, str],
    hba: Port | None = None,
) -> Plan[Observation]:
    """``carrier`` is the HBA that the vHBA is on then, ``hba`` also that of one which is only defined."""
    active = seen.active if carrier else None
    then = replace(
        seen,
        ports=tuple(port for port in seen.ports if active or port is not seen.active),
        active=active,
        definition=definition_then,
        damaged=None,
        luns=seen.luns if active else (),
        foretold=None if active else carrier,
    )
    creates = (seen.wwpn,) if carrier and not active else ()
    return Plan(tuple(steps), then, creates, also={"hindrances": hindrances, "hba": hba})


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    return observe(wish)


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """The kernel's name of its SCSI host."""
    return [after.active.sysname] if after.active is not None else []


def settled(wish: Wish, before: Observation, after: Observation) -> Observation:
    if after.active is None or wish.state != "present" or not (wish.wait_luns or wish.rescan):
        return after
    return replace(after, luns=kernel.awaited_luns([after.active], wish.wait_luns, wish.rescan, wish.wait_timeout)[0])


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The vHBA afterwards, and why it is on none of the other HBAs; units that a rescan has found are a change."""
    new_luns = {unit.address for unit in after.luns} - {unit.address for unit in before.luns}
    return {
        **({"changed": True} if new_luns and wish.rescan else {}),
        "vhba": _described(after, planned),
        "hindrances": dict(planned.also["hindrances"]),
        "warnings": [*planned.warnings, *_doubts(wish)],
    }


def _doubts(wish: Wish) -> list[str]:
    """What speaks against names that follow from the machine-id, where these do."""
    follows = wish.derived or (wish.name is not None and wish.identity is None)
    return machine.doubts(machine.known_id(), f"the WWNs of {wish.name or 'this vHBA'}") if follows else []


def starts(seen: Observation) -> bool:
    return seen.definition is not None


def state(seen: Observation) -> dict[str, Any]:
    return {
        "runtime": {seen.wwpn: {"wwnn": seen.wwnn, "parent_wwpn": seen.hba.wwpn}} if seen.hba else {},
        "boot": {seen.wwpn: seen.definition.document()} if seen.definition else {},
    }


def _described(seen: Observation, planned: Plan[Observation]) -> dict[str, Any]:
    hba = seen.hba or planned.also["hba"]
    facts: dict[str, Any] = {"wwnn": seen.wwnn, "wwpn": seen.wwpn}
    facts.update({"active": seen.hba is not None, "persistent": seen.definition is not None})
    facts["parent"] = hba.name if hba else None
    facts["parent_addr"] = hba.sysname if hba else None
    facts["parent_wwnn"] = hba.wwnn if hba else None
    facts["parent_wwpn"] = hba.wwpn if hba else None
    return {**facts, **of_port(seen.active, seen.luns)}
