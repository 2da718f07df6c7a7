# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of vHBAs: what runs of them, what is unlike, and how one is restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from ...host import fc_port
from ...host.fc_port import NO_NAME, Port
from ...resource import ensure
from ...store.definition import Hindrance, Kept
from ...store.files import DamagedDefinition
from . import definition as vhba_definition
from . import device
from .definition import Definition
from .device import Wish

# Seconds for making one at boot, where others wait.
WAIT = 30.0


def kept() -> tuple[list[Kept], list[DamagedDefinition]]:
    """All definitions by WWPN, and the files that cannot be understood."""
    defined, damaged = vhba_definition.DOCUMENTS.all()
    # For the facts of all of them, but read only when the first ones are asked for.
    ports = cache(fc_port.ports)
    return [_kept(definition, ports) for definition in defined], damaged


def may_concern(_damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a file that cannot be understood may be of a vHBA on this SCSI host: each may that is an HBA's."""
    return _arrived_hba(arrived) is not None


def _kept(definition: Definition, ports: Callable[[], Sequence[Port]]) -> Kept:
    def restored(check_mode: bool) -> dict[str, Any]:
        # Whatever the link is like now: a vHBA logs in by itself when the link or the fabric comes up.
        wish = Wish(
            wwnn=definition.wwnn, wwpn=definition.wwpn, persistent=False, require_online=False, wait_timeout=WAIT
        )
        return ensure(device, wish, check_mode)

    return Kept(
        id=definition.wwpn,
        name=f"vHBA {definition.wwpn} on the HBA with WWPN {definition.parent_wwpn}",
        autostart=True,
        card=lambda: f"fc:{definition.parent_wwpn}",
        facts=lambda: _facts(definition, ports()),
        concerns=lambda arrived: _concerns(definition, arrived),
        hindrance=lambda: _hindrance(definition),
        ensure=restored,
    )


def _facts(definition: Definition, ports: Sequence[Port]) -> dict[str, Any]:
    port = next((port for port in ports if port.vport and port.wwpn == definition.wwpn), None)
    hba = _hba(definition, ports)
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


def _hba(definition: Definition, ports: Sequence[Port]) -> Port | None:
    return next((port for port in ports if port.vport is None and port.wwpn == definition.parent_wwpn), None)


def _drift(definition: Definition, port: Port, ports: Sequence[Port]) -> Iterator[dict[str, str]]:
    """Where the vHBA of this WWPN is unlike its definition."""
    parent = next((hba.wwpn for hba in ports if hba.host == port.parent), "none")
    pairs = (("wwnn", definition.wwnn, port.wwnn), ("parent", definition.parent_wwpn, parent))
    yield from ({"what": what, "defined": defined, "running": runs} for what, defined, runs in pairs if defined != runs)


def _concerns(definition: Definition, arrived: str) -> bool:
    """Whether the HBA of this SCSI host is the parent, or may be: a driver may name its port after it has made it."""
    port = _arrived_hba(arrived)
    return port is not None and port.wwpn in (definition.parent_wwpn, *NO_NAME)


def _arrived_hba(arrived: str) -> Port | None:
    """The HBA of this SCSI host; None where it has none, or a vHBA's port."""
    number = fc_port.HOST.fullmatch(arrived)
    port = fc_port.read(int(number[1])) if number else None
    return port if port is not None and port.vport is None else None


def _hindrance(definition: Definition) -> Hindrance | None:
    ports = fc_port.ports()
    if _hba(definition, ports) is not None:
        return None
    nameless = any(port.vport is None and port.wwpn in NO_NAME for port in ports)
    reason = "its HBA is not there; it is restored when the HBA arrives"
    return Hindrance("its HBA may be one whose driver has not named its port" if nameless else reason, passing=nameless)
