# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for one vHBA: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import Port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.lun import Lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.device import (
    Observation,
    Wish,
    names_of,
    plan,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from fibre import FABRIC, OTHER_FABRIC, WWNN, WWPN, hba, names, vhba
from hypothesis import given
from hypothesis import strategies as st
from vhba_wishes import DISK, HBA, HBA4, MOUNT, OFFLINE, OTHER, defined, observed, there, wished

TAPE = Lun("8:0:0:1", "/sys/devices/x/8:0:0:1", None, "/dev/sg3", None, None)
CREATE = f"create vHBA {WWPN} (WWNN {WWNN}) on scsi_host3 (WWPN {HBA})"
CREATE4 = f"create vHBA {WWPN} (WWNN {WWNN}) on scsi_host4 (WWPN {HBA4})"
DEFINE = f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBA}"
DEFINE4 = f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBA4}"
CHANGE = f"change the definition of vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBA}"
CHANGE4 = f"change the definition of vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBA4}"
UNDEFINE = f"undefine vHBA {WWPN}"
DELETE = f"delete vHBA {WWPN} (WWNN {WWNN}) from scsi_host3 (WWPN {HBA})"
UNITS = ["remove LUN 8:0:0:0 (/dev/sdb)", "remove LUN 8:0:0:1"]

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", wished(), observed(), [CREATE, DEFINE]),
    ("all is there", wished(), there(defined()), []),
    ("defined only", wished(), observed(definition=defined()), [CREATE]),
    ("defined only, on an HBA that is not the best", wished(), observed(definition=defined(4)), [CREATE4]),
    ("running only", wished(), there(), [DEFINE]),
    ("running elsewhere than defined", wished(), there(defined(4)), [CHANGE]),
    ("transient", wished(persistent=False), observed(), [CREATE]),
    ("transient, a definition stays", wished(persistent=False), observed(definition=defined()), [CREATE]),
    ("transient and there", wished(persistent=False), there(), []),
    ("transient and there, defined elsewhere", wished(persistent=False), there(defined(4)), []),
    ("in use and as wished", wished(), there(defined(), luns=(DISK,), uses=(MOUNT,)), []),
    ("the HBA by name", wished(parent="scsi_host4"), observed(), [CREATE4, DEFINE4]),
    (
        "the HBA by its names",
        wished(parent_wwnn=names(4)[0], parent_wwpn=HBA4),
        observed(),
        [CREATE4, DEFINE4],
    ),
    (
        "the HBA by fabric",
        wished(parent_fabric_wwn=OTHER_FABRIC),
        observed(hba(3), hba(4, fabric_wwn=OTHER_FABRIC)),
        [CREATE4, DEFINE4],
    ),
    ("the HBA by name, where it is already", wished(parent="host3"), there(defined()), []),
    ("the HBA by fabric, where it is already", wished(parent_fabric_wwn=FABRIC), there(defined()), []),
    ("defined only, the same HBA by name", wished(parent="scsi_host3"), observed(definition=defined()), [CREATE]),
    (
        "defined only, a fabric that its HBA is in, and better ones",
        wished(parent_fabric_wwn=FABRIC),
        observed(definition=defined(4)),
        [CREATE4],
    ),
    ("defined only, another HBA", wished(parent="scsi_host4"), observed(definition=defined()), [CREATE4, CHANGE4]),
    (
        "defined only, a fabric that its HBA is not in",
        wished(parent_fabric_wwn=OTHER_FABRIC),
        observed(hba(3), hba(4, fabric_wwn=OTHER_FABRIC), definition=defined()),
        [CREATE4, CHANGE4],
    ),
    ("defined with another WWNN", wished(), observed(definition=defined(wwnn=OTHER)), [CREATE, CHANGE]),
    ("online or not", wished(require_online=False), there(defined()), [CHANGE]),
    (
        "on a port whose link is down",
        wished(parent="scsi_host5", require_online=False),
        observed(hba(3), OFFLINE),
        [
            f"create vHBA {WWPN} (WWNN {WWNN}) on scsi_host5 (WWPN {OFFLINE.wwpn})",
            f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {OFFLINE.wwpn}",
        ],
    ),
    (
        "there, and its HBA is full and offline now",
        wished(),
        observed(hba(3, used=4, port_state="Linkdown"), vhba(), definition=defined()),
        [],
    ),
    ("inactive: defined", wished(state="inactive"), observed(), [DEFINE]),
    (
        "inactive: defined on a port whose link is down",
        wished(state="inactive", parent="scsi_host5"),
        observed(hba(3), OFFLINE),
        [f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {OFFLINE.wwpn}"],
    ),
    ("inactive: deleted", wished(state="inactive"), there(defined(), luns=(DISK, TAPE)), [*UNITS, DELETE]),
    (
        "inactive: defined first, then deleted",
        wished(state="inactive"),
        there(luns=(DISK,)),
        [DEFINE, UNITS[0], DELETE],
    ),
    ("inactive already", wished(state="inactive"), observed(definition=defined(4)), []),
    ("inactive, the HBA by name", wished(state="inactive", parent="host4"), observed(definition=defined(4)), []),
    (
        "inactive already, its HBA full",
        wished(state="inactive", parent="host3"),
        observed(hba(3, used=4), definition=defined()),
        [],
    ),
    ("inactive, its HBA gone", wished(state="inactive"), observed(hba(4), definition=defined()), []),
    (
        "inactive, its HBA gone, by its names",
        wished(state="inactive", parent_wwnn=names(3)[0], parent_wwpn=HBA),
        observed(hba(4), definition=defined()),
        [],
    ),
    (
        "inactive, its HBA gone, changed",
        wished(state="inactive", require_online=False),
        observed(definition=defined(9)),
        [f"change the definition of vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {names(9)[1]}"],
    ),
    (
        "absent: both, the definition first",
        wished(state="absent"),
        there(defined(), luns=(DISK, TAPE)),
        [UNDEFINE, *UNITS, DELETE],
    ),
    ("absent: running only", wished(state="absent"), there(), [DELETE]),
    ("absent: defined only, its HBA gone", wished(state="absent"), observed(definition=defined(9)), [UNDEFINE]),
    ("absent: defined elsewhere", wished(state="absent"), there(defined(4)), [UNDEFINE, DELETE]),
    ("absent already", wished(state="absent"), observed(), []),
    ("absent already, no HBA here", wished(state="absent"), observed(ports=()), []),
    (
        "absent: a definition that cannot be understood, by its name this vHBA's",
        wished(state="absent"),
        there(damaged=DamagedDefinition(f"/etc/nodedev.d/vhba/{WWPN}.json", "no JSON")),
        [f"remove the damaged definition of vHBA {WWPN}, /etc/nodedev.d/vhba/{WWPN}.json", DELETE],
    ),
    (
        "inactive: new, all vports in use",
        wished(state="inactive"),
        observed(hba(3, used=4)),
        [DEFINE],
    ),
    (
        "inactive: new, all vports in use and the link down",
        wished(state="inactive", parent="scsi_host3"),
        observed(hba(3, used=4, port_state="Linkdown", fabric_wwn=None), hba(4)),
        [DEFINE],
    ),
    (
        "inactive: by fabric, its HBA without a link",
        wished(state="inactive", parent_fabric_wwn=FABRIC),
        observed(hba(3, port_state="Linkdown", fabric_wwn=None), hba(4), definition=defined()),
        [],
    ),
    (
        "inactive: by fabric, its HBA gone",
        wished(state="inactive", parent_fabric_wwn=FABRIC),
        observed(hba(4), definition=defined()),
        [],
    ),
    (
        "inactive: by a fabric that its HBA is not in",
        wished(state="inactive", parent_fabric_wwn=OTHER_FABRIC),
        observed(hba(3), hba(4, fabric_wwn=OTHER_FABRIC), definition=defined()),
        [CHANGE4],
    ),
    (
        "there, chosen by fabric, and the link is down now",
        wished(parent_fabric_wwn=FABRIC),
        observed(hba(3, used=1, port_state="Linkdown", fabric_wwn=None), vhba(), definition=defined()),
        [],
    ),
    ("online or not is as it is defined", wished(), there(defined(require_online=False)), []),
    (
        "defined for a port whose link is down, and it is",
        wished(),
        observed(hba(3, port_state="Linkdown"), definition=defined(require_online=False)),
        [CREATE],
    ),
    (
        "absent by force",
        wished(state="absent", force=True),
        there(luns=(DISK,), uses=(MOUNT,)),
        [UNITS[0], DELETE],
    ),
]


@pytest.mark.parametrize(("wish", "seen", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: Wish, seen: Observation, steps: list[str]) -> None:
    assert describe(plan(wish, seen).steps) == steps


def after(seen: Observation, planned: Plan[Observation]) -> Observation:
    """The host when the plan has been carried out."""
    ports = [port for port in seen.ports if port is not seen.active]
    active = None
    if planned.then.hba is not None:
        active = seen.active or vhba(parent=planned.then.hba.host)
    change = (active is not None) - (seen.active is not None)
    carrier = planned.also["hba"] or seen.hba
    ports = [replace(port, used=port.used + change) if port is carrier else port for port in ports]
    return replace(
        seen,
        ports=(*ports, *([active] if active else [])),
        active=active,
        definition=planned.then.definition,
        damaged=None,
        luns=(),
        uses=(),
    )


@pytest.mark.parametrize(("wish", "seen"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_a_second_plan_has_nothing_to_do(wish: Wish, seen: Observation) -> None:
    assert describe(plan(wish, after(seen, plan(wish, seen))).steps) == []


@pytest.mark.parametrize(
    ("wish", "seen", "expected"),
    [
        (wished(), observed(), {"scsi_host4": "it has 3 free vports, scsi_host3 has 4"}),
        (wished(parent="scsi_host4"), observed(), {"scsi_host3": "another one was asked for"}),
        (wished(), there(defined()), {"scsi_host4": "the vHBA is on scsi_host3"}),
        (wished(), observed(definition=defined(4)), {"scsi_host3": "the vHBA is defined on scsi_host4"}),
        (wished(state="absent"), there(), {}),
    ],
)
def test_why_other_hbas_are_not_taken(wish: Wish, seen: Observation, expected: dict[str, str]) -> None:
    assert plan(wish, seen).also["hindrances"] == expected


@pytest.mark.parametrize("oui", ["00163E", "00:16:3e"])
def test_an_ouis_notation(oui: str) -> None:
    assert wished(oui=oui).oui == "00163e"


def test_an_identity_stands_in_for_the_machine_id(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "machine-id"
    monkeypatch.setattr(
        "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine.MACHINE_ID", str(file)
    )
    named = Wish.checked(name="database", identity="gpu-7.example")
    assert names_of(named) == ("5001a4a5c106acea", "5001a4aabfad22d7")
    file.write_text("fedcba9876543210fedcba9876543210\n")
    # A former machine-id as identity gives the names that it gave.
    assert names_of(Wish.checked(name="database", identity="0123456789abcdef0123456789abcdef")) == (
        "5001a4a5c2f82842",
        "5001a4a2ecd0a2fb",
    )
    assert names_of(named) == ("5001a4a5c106acea", "5001a4aabfad22d7")


def test_names_follow_from_the_machine_and_the_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "machine-id"
    monkeypatch.setattr(
        "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine.MACHINE_ID", str(file)
    )
    wish = Wish.checked(name="database")
    with pytest.raises(NodedevError, match="run systemd-machine-id-setup"):
        _pair = names_of(wish)
    file.write_text("0123456789abcdef0123456789abcdef\n")
    assert names_of(wish) == ("5001a4a5c2f82842", "5001a4a2ecd0a2fb")


hbas = st.builds(
    lambda host, used, state, fabric: hba(host, used=used, port_state=state, fabric_wwn=fabric),
    st.sampled_from([3, 4, 5]),
    st.integers(1, 4),
    st.sampled_from(["Online", "Linkdown"]),
    st.sampled_from([FABRIC, OTHER_FABRIC, None]),
)
asked = st.sampled_from(
    [
        {},
        {"parent": "scsi_host3"},
        {"parent": "scsi_host9"},
        {"parent_wwnn": names(4)[0], "parent_wwpn": HBA4},
        {"parent_fabric_wwn": FABRIC},
    ]
)


@given(
    ports=st.lists(hbas, unique_by=lambda port: port.host),
    carrier=st.none() | st.sampled_from([3, 4, 5]),
    definition=st.none() | st.builds(defined, st.sampled_from([3, 4, 9]), require_online=st.booleans()),
    parent=asked,
    options=st.fixed_dictionaries(
        {
            "state": st.sampled_from(["present", "inactive", "absent"]),
            "require_online": st.none() | st.booleans(),
        }
    ),
)
def test_every_plan_leads_to_a_state_that_needs_no_other(
    ports: list[Port],
    carrier: int | None,
    definition: Definition | None,
    parent: dict[str, str],
    options: dict[str, Any],
) -> None:
    wish = wished(**parent, **options)
    on = [vhba(parent=carrier, fabric_wwn=FABRIC)] if carrier in [port.host for port in ports] and carrier else []
    seen = observed(ports=(*ports, *on), active=on[0] if on else None, definition=definition)
    try:
        first = plan(wish, seen)
    except NodedevError:
        return
    assert describe(plan(wish, after(seen, first)).steps) == []
