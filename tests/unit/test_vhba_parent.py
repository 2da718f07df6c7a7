# SPDX-License-Identifier: GPL-3.0-or-later
"""Which HBA carries a vHBA: what is asked, the order of choice, and why another one is not taken."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.fc_port import Port
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.parent import (
    Asked,
    choose,
    refusal,
    why_not,
)
from fibre import FABRIC, OTHER_FABRIC, WWPN, hba, names, vhba

OFFLINE = hba(5, port_state="Linkdown", fabric_wwn=None)
FULL = hba(4, used=4)
PLAIN = hba(7, vport_folder=None, most=0)
THIRD = {"wwnn": names(3)[0], "wwpn": names(3)[1]}


def asked(**options: str) -> Asked:
    return Asked.checked(**{"parent": None, "wwnn": None, "wwpn": None, "fabric_wwn": None, **options})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Asked()),
        ({"parent": "scsi_host3"}, Asked(parent="scsi_host3")),
        ({"parent": "host3"}, Asked(parent="scsi_host3")),
        ({"parent": "scsi_host03"}, Asked(parent="scsi_host3")),
        (
            {"wwnn": "0x20000090FA123403", "wwpn": "10:00:00:90:fa:12:34:03"},
            Asked(wwnn="20000090fa123403", wwpn="10000090fa123403"),
        ),
        ({"fabric_wwn": "10:00:00:05:1E:00:00:01"}, Asked(fabric_wwn=FABRIC)),
    ],
)
def test_what_is_asked(options: dict[str, str], expected: Asked) -> None:
    assert asked(**options) == expected
    assert asked(**options).nothing == (not options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parent": ""}, "parent: '' cannot be used: an HBA is named as libvirt does"),
        ({"parent": "3"}, "parent: '3'"),
        ({"parent": "../host3"}, "parent: '../host3'"),
        ({"parent": "scsi_host"}, "parent: 'scsi_host'"),
        ({"parent": "scsi_host3\n"}, "parent: "),
        ({"parent": "pci_0000_04_00_0"}, "parent: 'pci_0000_04_00_0'"),
        ({"wwpn": WWPN}, "parent_wwnn and parent_wwpn go together"),
        ({"wwnn": WWPN}, "parent_wwnn and parent_wwpn go together"),
        ({"wwnn": "x", "wwpn": WWPN}, "parent_wwnn: 'x'"),
        ({"wwnn": WWPN, "wwpn": "x"}, "parent_wwpn: 'x'"),
        ({"fabric_wwn": "0" * 16}, "parent_fabric_wwn: '0000000000000000'"),
        ({"parent": "scsi_host3", "fabric_wwn": FABRIC}, "by parent, by its WWNs or by parent_fabric_wwn, by one"),
        ({"parent": "scsi_host3", "wwnn": WWPN, "wwpn": WWPN}, "by one of them"),
        ({"fabric_wwn": FABRIC, "wwnn": WWPN, "wwpn": WWPN}, "by one of them"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput) as refused:
        asked(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parent": "host3"}, "parent scsi_host3"),
        (THIRD, "parent_wwnn 20000090fa123403 parent_wwpn 10000090fa123403"),
        ({"fabric_wwn": FABRIC}, f"parent_fabric_wwn {FABRIC}"),
    ],
)
def test_in_words(options: dict[str, str], words: str) -> None:
    assert str(asked(**options)) == words


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, True),
        ({"parent": "scsi_host3"}, True),
        ({"parent": "scsi_host4"}, False),
        (THIRD, True),
        ({**THIRD, "wwnn": names(4)[0]}, False),
        ({**THIRD, "wwpn": names(4)[1]}, False),
        ({"fabric_wwn": FABRIC}, True),
        ({"fabric_wwn": OTHER_FABRIC}, False),
    ],
)
def test_which_port_is_meant(options: dict[str, str], taken: bool) -> None:
    assert asked(**options).takes(hba()) == taken


@pytest.mark.parametrize(
    ("port", "online", "reason"),
    [
        (hba(), True, None),
        (hba(used=3), True, None),
        (hba(fabric_wwn=None), True, None),
        (OFFLINE, False, None),
        (vhba(), True, "it is a vHBA itself"),
        (PLAIN, True, "it has no NPIV: its driver offers no vport_create"),
        (OFFLINE, True, "its port is Linkdown, not Online"),
        (hba(port_state=None), True, "its port does not tell its state"),
        (FULL, True, "all of its 4 vports are in use"),
        (FULL, False, "all of its 4 vports are in use"),
        (hba(used=5), True, "all of its 4 vports are in use"),
        (hba(most=0), True, "all of its 0 vports are in use"),
        # The first thing that is against it, and the one that lasts longest, is said.
        (hba(port_state="Linkdown", used=4), True, "its port is Linkdown, not Online"),
        (hba(port_state="Linkdown", vport_folder=None), True, "it has no NPIV: its driver offers no vport_create"),
    ],
)
def test_why_not(port: Port, online: bool, reason: str | None) -> None:
    assert why_not(port, online) == reason


CHOICES: list[tuple[str, dict[str, str], list[Port], str, dict[str, str]]] = [
    ("the only one", {}, [hba()], "scsi_host3", {}),
    (
        "most free",
        {},
        [hba(3, used=2), hba(4, used=1)],
        "scsi_host4",
        {"scsi_host3": "it has 2 free vports, scsi_host4 has 3"},
    ),
    (
        "the lowest number of equals",
        {},
        [hba(12), hba(4), hba(3, used=1)],
        "scsi_host4",
        {
            "scsi_host3": "it has 3 free vports, scsi_host4 has 4",
            "scsi_host12": "scsi_host4 has as many free vports and the lower number",
        },
    ),
    (
        "one in a fabric, though it has fewer",
        {},
        [hba(3, fabric_wwn=None), hba(4, used=3)],
        "scsi_host4",
        {"scsi_host3": "it says of no fabric, scsi_host4 does"},
    ),
    ("without a fabric, where none says", {}, [hba(6, fabric_wwn=None)], "scsi_host6", {}),
    (
        "every reason",
        {},
        [hba(3, used=3), FULL, OFFLINE, PLAIN, vhba()],
        "scsi_host3",
        {
            "scsi_host4": "all of its 4 vports are in use",
            "scsi_host5": "its port is Linkdown, not Online",
            "scsi_host7": "it has no NPIV: its driver offers no vport_create",
        },
    ),
    (
        "by name, though it is the fuller",
        {"parent": "scsi_host4"},
        [hba(3), hba(4, used=3)],
        "scsi_host4",
        {"scsi_host3": "another one was asked for"},
    ),
    ("by its names", THIRD, [hba(3), hba(4)], "scsi_host3", {"scsi_host4": "another one was asked for"}),
    (
        "by fabric, the best of it",
        {"fabric_wwn": OTHER_FABRIC},
        [hba(3), hba(4, fabric_wwn=OTHER_FABRIC, used=1), hba(5, fabric_wwn=OTHER_FABRIC)],
        "scsi_host5",
        {"scsi_host3": "another one was asked for", "scsi_host4": "it has 3 free vports, scsi_host5 has 4"},
    ),
]


@pytest.mark.parametrize(
    ("options", "ports", "name", "reasons"), [case[1:] for case in CHOICES], ids=[case[0] for case in CHOICES]
)
def test_choice(options: dict[str, str], ports: list[Port], name: str, reasons: dict[str, str]) -> None:
    for order in (ports, ports[::-1]):
        best, hindrances = choose(asked(**options), order, True)
        assert best is not None
        assert (best.name, hindrances) == (name, reasons)


def test_a_link_that_is_down_is_no_matter_where_it_need_not_be_up() -> None:
    best, hindrances = choose(Asked(), [FULL, OFFLINE], False)
    assert (best, hindrances) == (OFFLINE, {"scsi_host4": "all of its 4 vports are in use"})


HBAS = "the HBAs with NPIV are: scsi_host3 (WWPN 10000090fa123403), scsi_host4 (WWPN 10000090fa123404)"
HINT = "; require_online: false makes it on a port whose link is down"
REFUSALS: list[tuple[str, dict[str, str], list[Port], str]] = [
    (
        "no such host",
        {"parent": "scsi_host99"},
        [hba(3), FULL, PLAIN],
        f"parent: 'scsi_host99' cannot be used: scsi_host99 is not there; {HBAS}",
    ),
    (
        "not an HBA",
        {"parent": "scsi_host0"},
        [hba(3), FULL],
        f"parent: 'scsi_host0' cannot be used: scsi_host0 is not a Fibre Channel HBA; {HBAS}",
    ),
    ("no HBAs at all", {}, [], "this host has no Fibre Channel HBA"),
    (
        "full",
        {"parent": "scsi_host4"},
        [hba(3), FULL],
        "parent: 'scsi_host4' cannot be used: no vHBA can be made there: scsi_host4: all of its 4 vports are in use",
    ),
    (
        "offline",
        {"parent": "scsi_host5"},
        [hba(3), OFFLINE],
        "parent: 'scsi_host5' cannot be used: no vHBA can be made there: scsi_host5: its port is Linkdown, not Online"
        + HINT,
    ),
    (
        "a vHBA",
        {"parent": "scsi_host8"},
        [hba(3), vhba()],
        "parent: 'scsi_host8' cannot be used: no vHBA can be made there: scsi_host8: it is a vHBA itself",
    ),
    (
        "a vHBA by its names",
        {"wwnn": vhba().wwnn, "wwpn": vhba().wwpn},
        [hba(3), vhba()],
        f"parent_wwpn: '{WWPN}' cannot be used: no vHBA can be made there: scsi_host8: it is a vHBA itself",
    ),
    (
        "no NPIV",
        {"parent": "scsi_host7"},
        [PLAIN],
        "scsi_host7: it has no NPIV: its driver offers no vport_create",
    ),
    (
        "unknown names",
        {"wwnn": names(3)[0], "wwpn": names(9)[1]},
        [hba(3), FULL],
        f"parent_wwpn: '10000090fa123409' cannot be used: no HBA has it with WWNN 20000090fa123403; {HBAS}",
    ),
    (
        "another HBA's WWNN",
        {"wwnn": names(4)[0], "wwpn": names(3)[1]},
        [hba(3), FULL],
        f"parent_wwpn: '10000090fa123403' cannot be used: no HBA has it with WWNN 20000090fa123404; {HBAS}",
    ),
    (
        "unknown fabric",
        {"fabric_wwn": OTHER_FABRIC},
        [hba(3), PLAIN],
        f"parent_fabric_wwn: '{OTHER_FABRIC}' cannot be used: no HBA has it; the HBAs with NPIV are: scsi_host3 (WWPN",
    ),
    (
        "a fabric whose HBAs are full",
        {"fabric_wwn": FABRIC},
        [FULL, PLAIN, vhba(), hba(3, fabric_wwn=OTHER_FABRIC)],
        f"parent_fabric_wwn: '{FABRIC}' cannot be used: no vHBA can be made there: scsi_host4: all of its 4 vports are"
        " in use; scsi_host7: it has no NPIV: its driver offers no vport_create",
    ),
    (
        "none fits",
        {},
        [FULL, OFFLINE],
        "no vHBA can be made on this host: scsi_host4: all of its 4 vports are in use;"
        f" scsi_host5: its port is Linkdown, not Online{HINT}",
    ),
]


@pytest.mark.parametrize(
    ("options", "ports", "message"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(options: dict[str, Any], ports: list[Port], message: str) -> None:
    wanted = asked(**options)
    assert choose(wanted, ports, True)[0] is None
    said = str(refusal(wanted, ports, {"scsi_host0": True, "scsi_host99": False}, True))
    assert message in said
    assert said.endswith(HINT) == (HINT in message)


def test_there_is_no_hint_where_it_would_not_help() -> None:
    full_and_offline = hba(5, port_state="Linkdown", used=4)
    assert HINT not in str(refusal(Asked(parent="scsi_host5"), [full_and_offline], {}, True))
    assert HINT not in str(refusal(Asked(), [FULL], {}, False))
