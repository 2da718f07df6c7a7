# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of vHBAs: what runs of them, what is unlike, and how one is restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...host import fc_port
from ...host.fc_port import NO_NAME, Port
from ...resource import Hindrance
from ...store.files import DamagedDefinition
from . import definition as vhba_definition
from .definition import Definition
from .device import Wish


@dataclass(frozen=True)
class Defined:
    """A definition; ``ports`` reads this host's, ``arrived_hba`` that of a SCSI host, once for all definitions."""

    definition: Definition
    ports: Callable[[], Sequence[Port]]
    arrived_hba: Callable[[str], Port | None]


def defined(arrived: str | None) -> tuple[list[Defined], list[DamagedDefinition]]:
    """All definitions by WWPN: of which HBA one is, its driver has to say."""
    found, damaged = vhba_definition.DOCUMENTS.all()
    ports, arrived_hba = cache(fc_port.ports), cache(_arrived_hba)
    return [Defined(definition, ports, arrived_hba) for definition in found], damaged


def summary(each: Defined) -> tuple[str, str, bool]:
    """Its WWPN and the vHBA as a person knows it; one that is defined is there after every boot."""
    wwpn = each.definition.wwpn
    return wwpn, f"vHBA {wwpn} on the HBA with WWPN {each.definition.parent_wwpn}", True


def place(each: Defined) -> tuple[str]:
    return (f"fc:{each.definition.parent_wwpn}",)


def concerns(each: Defined, arrived: str) -> bool:
    """Whether the HBA of this SCSI host is the parent, or may be: a driver may name its port after it has made it."""
    port = each.arrived_hba(arrived)
    return port is not None and port.wwpn in (each.definition.parent_wwpn, *NO_NAME)


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a file that cannot be understood may be of a vHBA on this SCSI host: each may that is an HBA's."""
    return _arrived_hba(arrived) is not None


def _arrived_hba(arrived: str) -> Port | None:
    """The HBA of this SCSI host; None where it has none, or a vHBA's port."""
    number = fc_port.HOST.fullmatch(arrived)
    port = fc_port.read(int(number[1])) if number else None
    return port if port is not None and port.vport is None else None


def wish(each: Defined) -> Wish:
    """The wish that a definition is, whatever the link is like now: a vHBA logs in by itself when the link comes up."""
    definition = each.definition
    return Wish(wwnn=definition.wwnn, wwpn=definition.wwpn, persistent=False, require_online=False)


def facts(each: Defined) -> dict[str, Any]:
    definition, ports = each.definition, each.ports()
    port = next((port for port in ports if port.vport and port.wwpn == definition.wwpn), None)
    hba = fc_port.hba_of(ports, definition.parent_wwpn)
    return {
        **definition.document(),
        "name": port.name if port else None,
        "parent": hba.name if hba else None,
        "parent_addr": hba.sysname if hba else None,
        "parent_missing": hba is None,
        "autostart": True,
        "active": port is not None and port.wwnn == definition.wwnn,
        "drift": list(_drift(definition, port, ports)) if port else [],
    }


def _drift(definition: Definition, port: Port, ports: Sequence[Port]) -> Iterator[dict[str, str]]:
    """Where the vHBA of this WWPN is unlike its definition."""
    parent = next((hba.wwpn for hba in ports if hba.host == port.parent), "none")
    pairs = (("wwnn", definition.wwnn, port.wwnn), ("parent", definition.parent_wwpn, parent))
    yield from ({"what": what, "defined": defined, "running": runs} for what, defined, runs in pairs if defined != runs)


def hindrance(each: Defined) -> Hindrance | None:
    ports = fc_port.ports()
    if fc_port.hba_of(ports, each.definition.parent_wwpn) is not None:
        return None
    nameless = any(port.vport is None and port.wwpn in NO_NAME for port in ports)
    reason = "its HBA is not there; it is restored when the HBA arrives"
    return Hindrance("its HBA may be one whose driver has not named its port" if nameless else reason, passing=nameless)
