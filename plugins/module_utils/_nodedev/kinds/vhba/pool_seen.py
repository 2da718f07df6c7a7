# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there of a pool of vHBAs: its record, its instances with their LUNs and who uses those, and the HBAs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...host import disk_users, fc_port, lun, machine
from ...host.fc_port import Port
from ...host.lun import Lun
from ...host.processes import Holder
from ...pools import members, record
from ...pools.record import Record
from ...store.documents import name_of
from ...store.files import DamagedDefinition
from . import definition as vhba_definition
from .definition import Definition
from .device import OUI
from .pool_wish import KIND, Wish, kept


@dataclass(frozen=True)
class Running:
    """An instance that is there; ``parent`` is the WWPN of its HBA.

    ``uses`` are the addresses of its LUNs that are in use, each with who uses it. ``port`` is None of one that is only
    foretold.
    """

    wwnn: str
    wwpn: str
    parent: str
    port: Port | None = None
    luns: tuple[Lun, ...] = ()
    uses: tuple[tuple[str, Holder], ...] = ()

    def document(self) -> dict[str, str]:
        """What is told of it beside its WWPN."""
        return {"wwnn": self.wwnn, "parent_wwpn": self.parent}

    @property
    def held_by(self) -> list[str]:
        return [f"LUN {lun}: {use}" for lun, use in self.uses]


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``derived`` is the index by WWPN of what runs or is defined and, by its names, belongs to this pool; ``machine`` is
    what names follow from, the host's machine-id or what stands in for it, None where there is none. ``active`` are the
    members that run; ``definitions`` are all of the host. Both are by WWPN. ``scsi_hosts`` says of the names that were
    asked for whether the kernel has such a SCSI host. ``damaged_records`` are the pool's own that cannot be understood.
    ``adapters`` is what is there where no port is.
    """

    machine: str | None
    record: Record | None
    ports: tuple[Port, ...]
    scsi_hosts: Mapping[str, bool]
    active: Mapping[str, Running]
    definitions: Mapping[str, Definition]
    damaged: tuple[DamagedDefinition, ...]
    derived: Mapping[str, int]
    damaged_records: tuple[DamagedDefinition, ...] = ()
    adapters: tuple[str, ...] = ()

    @property
    def hbas(self) -> list[Port]:
        """The ports that are no vHBAs."""
        return [port for port in self.ports if port.vport is None]

    def defined(self, wwpn: str) -> tuple[Definition, ...]:
        return (self.definitions[wwpn],) if wwpn in self.definitions else ()

    def held_by(self, wwpn: str) -> str:
        return ", ".join(self.active[wwpn].held_by) if wwpn in self.active else ""

    def holders_of(self, wwpn: str) -> list[dict[str, Any]]:
        uses = self.active[wwpn].uses if wwpn in self.active else ()
        return [use.document(lun=lun, wwpn=wwpn) for lun, use in uses]


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the record, all ports and definitions, the members' units and who uses them."""
    recorded, broken = record.look(wish.name, KIND, kept)
    wish = wish.filled(recorded)
    ports = tuple(fc_port.ports())
    listed, damaged = vhba_definition.DOCUMENTS.all()
    defined = {definition.wwpn: definition for definition in listed}
    host = wish.identity or machine.known_id()
    indexes = {one.id: one.index for one in recorded.instances} if recorded else {}
    # By its name, a file that cannot be understood is one of a vHBA too.
    files = {*defined, *(name_of(damage.path) for damage in damaged)}
    derived = _derived(wish, host, ports, files, {*indexes})
    names = {
        wwpn: defined[wwpn].wwnn if wwpn in defined else wish.wwnn(host, index) if host else None
        for wwpn, index in {**indexes, **derived}.items()
    }
    return Observation(
        machine=host,
        record=recorded,
        ports=ports,
        scsi_hosts={name: fc_port.is_scsi_host(int(name[len("scsi_host") :])) for name in wish.selector.names},
        active=_active(ports, names, _may_remove(wish, len(names))),
        definitions=defined,
        damaged=tuple(damaged),
        derived=derived,
        damaged_records=tuple(broken),
        adapters=() if ports else fc_port.why_none(),
    )


def _derived(wish: Wish, host: str | None, ports: tuple[Port, ...], files: set[str], own: set[str]) -> dict[str, int]:
    """The instances that the record does not have, by WWPN; one that has another WWNN is somebody else's."""
    if host is None:
        return {}
    vhbas = {(port.wwpn, port.wwnn) for port in ports if port.vport is not None}
    prefix = f"5{wish.oui or OUI}"
    candidates = {wwpn for wwpn in {*files, *(wwpn for wwpn, _wwnn in vhbas)} - own if wwpn.startswith(prefix)}
    found = members.derived(candidates, partial(wish.wwpn, host))
    return {wwpn: index for wwpn, index in found.items() if wwpn in files or (wwpn, wish.wwnn(host, index)) in vhbas}


def _may_remove(wish: Wish, members: int) -> bool:
    return wish.state != "present" or (isinstance(wish.count, int) and wish.count < members)


def _active(ports: tuple[Port, ...], names: Mapping[str, str | None], removes: bool) -> dict[str, Running]:
    """The members that run; ``names`` are their WWNNs by WWPN, None where any will do."""
    hbas = {port.host: port for port in ports if port.vport is None}
    found = {
        port.wwpn: (port, hbas[port.parent])
        for port in ports
        if port.parent in hbas and port.wwpn in names and names[port.wwpn] in (None, port.wwnn)
    }
    luns = {wwpn: tuple(lun.of_host(port.host)) for wwpn, (port, _hba) in found.items()}
    # A map's path by way of another member is no way out: that may be the next to go.
    units = {unit.address: (unit.block, unit.characters) for each in luns.values() for unit in each}
    # Where none will be removed, without opening a disk, which would keep out a mount.
    uses = disk_users.of_each(units, probe=removes)
    return {
        wwpn: Running(
            wwnn=port.wwnn,
            wwpn=wwpn,
            parent=hba.wwpn,
            port=port,
            luns=luns[wwpn],
            uses=tuple((unit.address, use) for unit in luns[wwpn] for use in uses[unit.address]),
        )
        for wwpn, (port, hba) in found.items()
    }
