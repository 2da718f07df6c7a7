# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a wish for a vHBA is refused before anything is done, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.device import Observation, Wish, plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)
from fibre import FABRIC, OTHER_FABRIC, WWNN, WWPN, hba, names, vhba
from vhba_wishes import DISK, HBA, HBA4, MOUNT, OFFLINE, OTHER, defined, observed, there, wished

REFUSALS: list[tuple[str, Wish, Observation, type[NodedevError], str]] = [
    (
        "on another HBA, by name",
        wished(parent="scsi_host4"),
        there(),
        NodedevError,
        f"vHBA {WWPN} is on scsi_host3 (WWPN {HBA}), not where it is asked for, parent scsi_host4: remove it first",
    ),
    (
        "on another HBA, by its names",
        wished(parent_wwnn=names(4)[0], parent_wwpn=HBA4, state="inactive"),
        there(),
        NodedevError,
        f"is on scsi_host3 (WWPN {HBA}), not where it is asked for, parent_wwnn {names(4)[0]} parent_wwpn {HBA4}",
    ),
    (
        "in another fabric",
        wished(parent_fabric_wwn=OTHER_FABRIC),
        there(),
        NodedevError,
        f"not where it is asked for, parent_fabric_wwn {OTHER_FABRIC}",
    ),
    (
        "another WWNN",
        wished(),
        observed(hba(3), vhba(wwnn=OTHER)),
        BadInput,
        f"wwpn: '{WWPN}' cannot be used: vHBA scsi_host8 has it already, with WWNN {OTHER} instead of {WWNN}",
    ),
    (
        "another WWNN on another HBA than asked",
        wished(parent="scsi_host4"),
        observed(hba(3), hba(4), vhba(wwnn=OTHER)),
        BadInput,
        f"with WWNN {OTHER} instead",
    ),
    (
        "the port's own name",
        wished(),
        observed(hba(3, wwpn=WWPN), hba(4)),
        BadInput,
        f"wwpn: '{WWPN}' cannot be used: it is the port's own name of HBA scsi_host3",
    ),
    (
        "twice there",
        wished(),
        observed(hba(3), hba(4), vhba(8), vhba(9, parent=4)),
        NodedevError,
        f"several vHBAs have the names {WWNN} and {WWPN}: scsi_host8 on scsi_host3, scsi_host9 on scsi_host4",
    ),
    (
        "absent, twice there",
        wished(state="absent"),
        observed(hba(3), hba(4), vhba(8), vhba(9, parent=4)),
        NodedevError,
        "scsi_host8 on scsi_host3, scsi_host9 on scsi_host4",
    ),
    (
        "absent, defined with another WWNN",
        wished(state="absent"),
        observed(definition=defined(wwnn=OTHER)),
        BadInput,
        f"wwnn: '{WWNN}' cannot be used: vHBA {WWPN} is defined with WWNN {OTHER}",
    ),
    (
        "full",
        wished(parent="scsi_host3"),
        observed(hba(3, used=4)),
        BadInput,
        "parent: 'scsi_host3' cannot be used: no vHBA can be made there: scsi_host3: all of its 4 vports are in use",
    ),
    ("offline", wished(parent="scsi_host5"), observed(OFFLINE), BadInput, "its port is Linkdown, not Online"),
    (
        "no HBA",
        wished(parent="host0"),
        observed(scsi_hosts={"scsi_host0": True}),
        BadInput,
        "is not a Fibre Channel HBA",
    ),
    ("not there", wished(parent="host9"), observed(scsi_hosts={"scsi_host9": False}), BadInput, "host9 is not there"),
    ("no HBAs here", wished(), observed(ports=()), NodedevError, "this host has no Fibre Channel HBA"),
    (
        "no HBAs here, but an adapter",
        wished(),
        observed(ports=(), adapters=("an adapter is there",)),
        NodedevError,
        "this host has no Fibre Channel HBA; an adapter is there",
    ),
    (
        "none fits",
        wished(),
        observed(hba(3, used=4), OFFLINE),
        NodedevError,
        "scsi_host3: all of its 4 vports are in use; scsi_host5: its port is Linkdown",
    ),
    (
        "its HBA gone",
        wished(),
        observed(hba(4), definition=defined()),
        NodedevError,
        f"vHBA {WWPN} is defined on the HBA with WWPN {HBA}, which is not here now",
    ),
    (
        "its HBA full, and another is not",
        wished(),
        observed(hba(3, used=4), hba(4), definition=defined()),
        BadInput,
        "scsi_host3: all of its 4 vports are in use",
    ),
    (
        "inactive, its HBA gone, another named",
        wished(state="inactive", parent="host9"),
        observed(definition=defined(7)),
        BadInput,
        "scsi_host9 is not there",
    ),
    (
        "absent in use",
        wished(state="absent"),
        there(defined(), luns=(DISK,), uses=(MOUNT, Holder("/dev/sg3", "tar", pid=7))),
        InUse,
        f"vHBA {WWPN} (scsi_host8) is in use, /dev/sdb is mounted on /srv, /dev/sg3 is open by process 7 (tar): stop",
    ),
    (
        "inactive in use",
        wished(state="inactive"),
        there(luns=(DISK,), uses=(MOUNT,)),
        InUse,
        "/dev/sdb is mounted on /srv",
    ),
    *[
        (
            f"damaged, {state}",
            wished(state=state),
            there(damaged=DamagedDefinition("/etc/nodedev.d/vhba/x.json", "no JSON")),
            DamagedDefinition,
            "/etc/nodedev.d/vhba/x.json is damaged (no JSON); it was left alone",
        )
        for state in ("present", "inactive")
    ],
    (
        "absent, of a later release",
        wished(state="absent"),
        there(damaged=LaterVersion("/etc/nodedev.d/vhba/x.json", "its version is 2")),
        LaterVersion,
        "/etc/nodedev.d/vhba/x.json is damaged (its version is 2)",
    ),
    (
        "absent, there with another WWNN",
        wished(state="absent"),
        observed(hba(3), vhba(wwnn=OTHER)),
        BadInput,
        f"wwpn: '{WWPN}' cannot be used: vHBA scsi_host8 has it already, with WWNN {OTHER} instead of {WWNN}",
    ),
    (
        "absent, an HBA's own name",
        wished(state="absent"),
        observed(hba(3, wwpn=WWPN), hba(4)),
        BadInput,
        f"wwpn: '{WWPN}' cannot be used: it is the port's own name of HBA scsi_host3",
    ),
    *[
        (
            f"an HBA that its driver has not named, {name!r}, {state}",
            wished(state=state, parent="scsi_host3"),
            observed(hba(3, wwpn=name), hba(4)),
            BadInput,
            f"scsi_host3: its WWPN is '{name}', by which no HBA can be found again: its driver has not named it",
        )
        for name in ("0" * 16, "f" * 16, "0", "", "10000090fa12340", "10000090fa12340g")
        for state in ("present", "inactive")
    ],
    (
        "there, on an HBA that its driver has not named",
        wished(),
        observed(hba(3, wwpn="0" * 16), vhba()),
        NodedevError,
        f"vHBA {WWPN} cannot be defined so that it can be read again: parent_wwpn: '{'0' * 16}' cannot be used",
    ),
    (
        "inactive, no HBA with NPIV",
        wished(state="inactive"),
        observed(hba(3, vport_folder=None, used=4)),
        NodedevError,
        "scsi_host3: it has no NPIV",
    ),
]


@pytest.mark.parametrize(
    ("wish", "seen", "kind", "message"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(wish: Wish, seen: Observation, kind: type[NodedevError], message: str) -> None:
    with pytest.raises(kind) as refused:
        plan(wish, seen)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wwpn": None}, "wwnn and wwpn go together"),
        ({"wwnn": None}, "wwnn and wwpn go together"),
        ({"wwnn": None, "wwpn": None}, "either wwnn and wwpn, or a name they follow from"),
        ({"name": "x"}, "either wwnn and wwpn, or a name they follow from"),
        ({"wwnn": None, "wwpn": None, "name": ""}, "a name has at least one character"),
        ({"wwnn": "x"}, "wwnn: 'x'"),
        ({"wwpn": "f" * 16}, "wwpn: 'ffffffffffffffff'"),
        ({"oui": "00163"}, "oui: '00163' cannot be used: an OUI has 6 hexadecimal digits"),
        ({"oui": "00163g"}, "oui: '00163g'"),
        ({"parent": "x"}, "parent: 'x'"),
        ({"parent": "host3", "parent_fabric_wwn": FABRIC}, "by one of them"),
        ({"wait_timeout": -1.0}, "wait_timeout: -1.0"),
        ({"wait_timeout": float("nan")}, "wait_timeout: nan"),
        ({"wait_luns": -1}, "wait_luns: -1"),
        ({"wait_luns": 10**5000}, "wait_luns: a number of thousands of digits"),
        ({"identity": "a b"}, "identity: 'a b' cannot be used: it is text of 1 to 255 characters without blanks"),
        ({"wwnn": None, "wwpn": None, "name": "\ud800"}, r"name: '\ud800' cannot be used: it is not UTF-8 text"),
        ({"parent": f"host{'1' * 5000}"}, "an HBA is named as libvirt does, scsi_host and its number"),
        ({"state": "inactive", "persistent": False}, "persistent: False"),
    ],
)
def test_what_is_no_wish(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as refused:
        wished(**options)
    assert message in str(refused.value)
