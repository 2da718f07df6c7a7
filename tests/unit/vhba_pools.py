# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations of a pool of vHBAs called x, written shortly: vHBA 3 on HBA A is '3A', and its WWPN in a step is #3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import Port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine import derived_wwn
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_seen import Observation, Running
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import STORE
from vhba_wishes import MOUNT

MACHINE = "0123456789abcdef0123456789abcdef"
FABRIC, OTHER_FABRIC = "100000051e000001", "100000051e000002"
WWPNS, WWNNS = (
    [derived_wwn(MACHINE, f"x {index}", role, "001a4a") for index in range(12)] for role in ("port", "node")
)


def an_hba(host: int, most: int = 4, state: str = "Online", fabric: str | None = FABRIC, npiv: bool = True) -> Port:
    return Port(
        host=host,
        path=f"/sys/devices/host{host}",
        wwnn=f"20000090fa12340{host}",
        wwpn=f"10000090fa12340{host}",
        fabric_wwn=fabric,
        port_state=state,
        port_type=None,
        vport_folder=f"/sys/class/fc_host/host{host}" if npiv else None,
        most=most,
        used=0,
        vport=None,
        parent=None,
    )


# A and B take four vHBAs each; C has no link, D no fabric, E no NPIV, F no name yet.
A, B = an_hba(3), an_hba(4, fabric=OTHER_FABRIC)
HBAS = {
    "A": A,
    "B": B,
    "C": an_hba(5, state="Linkdown", fabric=None),
    "D": an_hba(6, fabric=None),
    "E": an_hba(7, most=0, npiv=False),
    "F": replace(an_hba(8), wwpn="0" * 16),
}
OTHERS = "5001a4a0000000a1"


def a_vhba(wwpn: str, wwnn: str, hba: str, host: int) -> Port:
    on = HBAS[hba].host
    return replace(
        HBAS[hba],
        host=host,
        wwnn=wwnn,
        wwpn=wwpn,
        vport_folder=None,
        most=0,
        vport=f"vport-{on}:0-{host}",
        parent=on,
    )


def recorded(*places: str, root: str = STORE, **wish: Any) -> Record:
    """A record as earlier releases wrote it, of a wish for as many vHBAs as it has unless told otherwise.

    They filled it up with the defaults of what they were not told.
    """
    said = {"parents": {"online": True}, "placement": "spread", "require_online": True, "oui": "001a4a"}
    return told(*places, root=root, **{**said, **wish})


def told(*places: str, root: str = STORE, **wish: Any) -> Record:
    """A record as this module writes it: of what it was told alone."""
    instances = tuple(Recorded(int(each[0]), WWPNS[int(each[0])], HBAS[each[1]].wwpn) for each in places)
    return Record("x", "vhba", {"count": len(places), **wish}, instances, root)


def observed(
    record: Record | None = None,
    active: Sequence[str] = (),
    defined: Sequence[str] = (),
    hbas: str = "AB",
    others: str = "",
    held: str = "",
    **more: Any,
) -> Observation:
    """A host with these HBAs; ``others`` are HBAs with a vHBA of somebody else, ``held`` are members in use."""
    vhbas = {each[0]: a_vhba(WWPNS[int(each[0])], WWNNS[int(each[0])], each[1], 10 + int(each[0])) for each in active}
    foreign = [a_vhba(f"{int(OTHERS, 16) + place:x}", OTHERS, hba, 30 + place) for place, hba in enumerate(others)]
    used = [each[1] for each in active] + list(others)
    ports = [replace(HBAS[letter], used=used.count(letter)) for letter in hbas]
    definitions = [
        Definition(WWPNS[int(each[0])], WWNNS[int(each[0])], HBAS[each[1]].wwpn, each[2:] != "-") for each in defined
    ]
    own = {one.id for one in record.instances} if record else set()
    there = {*(port.wwpn for port in vhbas.values()), *(each.wwpn for each in definitions)}
    known: dict[str, Any] = {
        "machine": MACHINE,
        "record": record,
        "ports": (*ports, *vhbas.values(), *foreign),
        "scsi_hosts": {"scsi_host0": True},
        "active": {
            vhbas[each[0]].wwpn: Running(
                vhbas[each[0]].wwnn,
                vhbas[each[0]].wwpn,
                HBAS[each[1]].wwpn,
                vhbas[each[0]],
                (),
                (("10:0:0:0", MOUNT),) if each[0] in held else (),
            )
            for each in active
        },
        "definitions": {each.wwpn: each for each in definitions},
        "damaged": (),
        "derived": {wwpn: index for index, wwpn in enumerate(WWPNS) if wwpn in there - own},
    }
    return Observation(**{**known, **more})


def wished(**options: Any) -> Wish:
    return Wish.checked(**{"name": "x", **options})


def shortly(planned: Plan[Observation]) -> list[str]:
    """The steps with the short names of vHBAs and HBAs, and without what is the same in all of them."""
    names = {f"{hba.name} (WWPN {hba.wwpn})": letter for letter, hba in HBAS.items()}
    names.update({f"the HBA with WWPN {hba.wwpn}": letter for letter, hba in HBAS.items()})
    names.update({f"{wwpn} (WWNN {WWNNS[index]})": f"#{index}" for index, wwpn in enumerate(WWPNS)})
    names.update({wwpn: f"#{index}" for index, wwpn in enumerate(WWPNS)})
    names.update({f"{STORE}/pool/x.json": "STORE", "/run/nodedev.d/pool/x.json": "RUNTIME", "vHBA ": ""})
    steps = []
    for step in describe(planned.steps):
        for value, name in names.items():
            step = step.replace(value, name)
        steps.append(step)
    return steps
