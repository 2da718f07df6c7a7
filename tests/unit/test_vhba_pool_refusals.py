# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan for a pool of vHBAs refuses, before anything is done, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import DOCUMENTS
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)
from vhba_pools import OTHERS, WWNNS, WWPNS, A, B, a_vhba, observed, recorded, told, wished

SINGLE = (recorded("0A"), ["0A"], ["0A"])
REFUSALS: list[tuple[str, Wish, Observation, type[NodedevError], str]] = [
    ("no count", wished(), observed(), BadInput, "count is required: pool x is not known here"),
    (
        "too many",
        wished(count=7),
        observed(hbas="ABCDE", others="AAB"),
        BadInput,
        r"count: 7 cannot be used: pool x needs 7 more vHBAs and there is room for 5; free are scsi_host3 \(WWPN"
        r" 10000090fa123403\): 2, scsi_host4 \(WWPN 10000090fa123404\): 3; not counted are scsi_host5: its port is"
        r" Linkdown, not Online; scsi_host6: it says of no fabric; list it among the parents .*; scsi_host7: it has no"
        " NPIV",
    ),
    (
        "no HBA of those that are meant is up",
        wished(count=1, parents={"names": ["scsi_host5"]}),
        observed(hbas="AC"),
        BadInput,
        "there is room for 0; free are none; not counted are scsi_host3: another one was asked for; scsi_host5: its",
    ),
    (
        "not there",
        wished(count=1, parents={"names": ["scsi_host9"]}),
        observed(),
        BadInput,
        r"parents: 'scsi_host9' cannot be used: it is not there; the HBAs with NPIV are: scsi_host3 \(WWPN 1",
    ),
    (
        "no HBA",
        wished(count=1, parents={"names": ["scsi_host0"]}),
        observed(),
        BadInput,
        "parents: 'scsi_host0' cannot be used: it is no HBA",
    ),
    (
        "another fabric",
        wished(count=1, parents={"fabric_wwn": "1" * 16}),
        observed(),
        BadInput,
        f"parents: {{'fabric_wwn': '{'1' * 16}', 'online': True}} cannot be used: it leaves out every HBA: scsi_host",
    ),
    (
        "logged in without a link",
        wished(count=1, parents={"online": False}),
        observed(),
        BadInput,
        "parents: {'online': False} cannot be used: that goes with require_online: false",
    ),
    (
        "another OUI",
        wished(oui="00:50:56"),
        observed(*SINGLE),
        BadInput,
        "oui: '005056' cannot be used: pool x has names with 001a4a: remove it first",
    ),
    (
        "there on another HBA",
        wished(parents={"wwpns": [B.wwpn]}),
        observed(*SINGLE),
        NodedevError,
        rf"pool x has vHBA {WWPNS[0]} on scsi_host3 \(WWPN .*\), which is not among the HBAs that are chosen",
    ),
    (
        "too few are idle",
        wished(count=0),
        observed(*SINGLE, held="0"),
        InUse,
        rf"only 0 are idle; in use are {WWPNS[0]} \(index 0\) with LUN 10:0:0:0: /dev/sdb is mounted on /srv: stop that"
        " first, or set force: true to take the disks away all the same",
    ),
    (
        "absent in use",
        wished(state="absent"),
        observed(*SINGLE, held="0"),
        InUse,
        "with LUN 10:0:0:0: /dev/sdb is mounted on /srv",
    ),
    (
        "inactive in use",
        wished(state="inactive"),
        observed(*SINGLE, held="0"),
        InUse,
        rf"no longer are in use, {WWPNS[0]} \(index 0\) with LUN 10:0:0:0: /dev/sdb is mounted on /srv: stop that",
    ),
    (
        "somebody else has the WWPN",
        wished(count=1),
        observed(ports=(A, a_vhba(WWPNS[0], OTHERS, "A", 20))),
        BadInput,
        f"name: '{WWPNS[0]}' cannot be used: vHBA scsi_host20 has it already, with WWNN {OTHERS} instead of {WWNNS[0]}",
    ),
    (
        "two HBAs have one of its names",
        wished(state="absent"),
        observed(
            *SINGLE,
            ports=(A, B, a_vhba(WWPNS[0], WWNNS[0], "A", 10), a_vhba(WWPNS[0], WWNNS[0], "B", 11)),
        ),
        NodedevError,
        f"several vHBAs have the names {WWNNS[0]} and {WWPNS[0]}: scsi_host10 on scsi_host3, scsi_host11 on scsi_host4",
    ),
    ("no machine-id", wished(count=1), observed(machine=None), NodedevError, "/etc/machine-id holds no machine-id"),
    (
        "a damaged definition of a member",
        wished(),
        observed(*SINGLE, damaged=(DamagedDefinition(DOCUMENTS.paths(WWPNS[0])[0], "no JSON"),)),
        DamagedDefinition,
        "no JSON",
    ),
    (
        "a damaged definition in the place of a new one",
        wished(count=2),
        observed(*SINGLE, damaged=(DamagedDefinition(DOCUMENTS.paths(WWPNS[1])[0], "no JSON"),)),
        DamagedDefinition,
        "no JSON",
    ),
    (
        "inactive, more than the HBAs can ever take",
        wished(count=9, state="inactive"),
        observed(hbas="ABE"),
        BadInput,
        "pool x needs 9 more vHBAs and there is room for 8; free are",
    ),
    (
        "inactive, new, no HBA with NPIV",
        wished(count=1, state="inactive"),
        observed(hbas="E"),
        BadInput,
        "there is room for 0; free are none; not counted are scsi_host7: it has no NPIV",
    ),
    (
        "an HBA that its driver has not named, by its host",
        wished(count=1, parents={"names": ["scsi_host8"]}),
        observed(hbas="AF"),
        BadInput,
        "parents: 'scsi_host8' cannot be used: its WWPN is '0000000000000000', by which no HBA can be found again",
    ),
    (
        "none at all, HBAs by names that are not there",
        wished(count=0, parents={"names": ["scsi_host9"]}),
        observed(),
        BadInput,
        "parents: 'scsi_host9' cannot be used: it is not there",
    ),
    *[
        (
            f"there with another WWNN, {wish.state}",
            wish,
            observed(told("0A"), (), ["0A"], ports=(A, a_vhba(WWPNS[0], OTHERS, "A", 20))),
            BadInput,
            f"'{WWPNS[0]}' cannot be used: vHBA scsi_host20 has it already, with WWNN {OTHERS} instead of {WWNNS[0]}",
        )
        for wish in (wished(), wished(state="inactive"), wished(state="absent"))
    ],
    (
        "absent, recorded alone and there with another WWNN",
        wished(state="absent"),
        observed(told("0A"), ports=(A, a_vhba(WWPNS[0], OTHERS, "A", 20))),
        BadInput,
        f"wwpn: '{WWPNS[0]}' cannot be used: vHBA scsi_host20 has it already, with WWNN {OTHERS} instead of {WWNNS[0]}",
    ),
    (
        "inactive, HBAs by names that are not there, and none were chosen before",
        wished(state="inactive", parents={"names": ["scsi_host3"]}),
        observed(told("0B"), (), ["0B"], hbas="B"),
        BadInput,
        "parents: 'scsi_host3' cannot be used: it is not there",
    ),
    *[
        (
            f"the record cannot be understood, {wish.state}",
            wish,
            observed(damaged_records=(DamagedDefinition("/etc/nodedev.d/pool/x.json", "no JSON"),)),
            DamagedDefinition,
            "/etc/nodedev.d/pool/x.json is damaged .no JSON",
        )
        for wish in (wished(count=1), wished(count=1, state="inactive"))
    ],
    *[
        (
            f"absent, of a later release: {what}",
            wished(state="absent"),
            observed(told("0A"), **files),
            LaterVersion,
            "its version is 2",
        )
        for what, files in (
            ("the record", {"damaged_records": (LaterVersion("/etc/nodedev.d/pool/x.json", "its version is 2"),)}),
            ("a definition", {"damaged": (LaterVersion(DOCUMENTS.paths(WWPNS[0])[0], "its version is 2"),)}),
        )
    ],
    (
        "another identity",
        wished(identity="b"),
        observed(told("0A", identity="a"), ["0A"], ["0A"]),
        BadInput,
        "identity: 'b' cannot be used: pool x has names that follow from the identity a: leave it so, or remove the p",
    ),
    *[
        (
            f"a record with {key} of another kind",
            wished(),
            observed(told("0A", **{key: value})),
            DamagedDefinition,
            f"it is not what this module writes: {reason}",
        )
        for key, value, reason in (
            ("count", True, "count: True cannot be used"),
            ("count", None, "count: None cannot be used"),
            ("parents", [], r"parents: \[\] cannot be used: parents is a mapping"),
            (
                "parents",
                {"wwpns": A.wwpn},
                "parents.wwpns: '10000090fa123403' cannot be used: wwpns is a list of texts",
            ),
            ("parents", {"wwpns": [1]}, r"parents.wwpns: \[1\] cannot be used"),
            ("parents", {"fabric_wwn": 1}, "parents.fabric_wwn: 1 cannot be used: fabric_wwn is text"),
            ("parents", {"online": 1}, "parents.online: 1 cannot be used: online is true or false"),
            ("placement", 7, "placement: 7 cannot be used"),
            ("require_online", "no", "require_online: 'no' cannot be used"),
            ("oui", 5, "oui: 5 cannot be used"),
            ("identity", [], r"identity: \[\] cannot be used"),
        )
    ],
    (
        "a record with an HBA that its driver had not named",
        wished(),
        observed(replace(SINGLE[0], instances=(Recorded(0, WWPNS[0], "0" * 16),))),
        DamagedDefinition,
        "it is not what this module writes: parent: '0000000000000000' cannot be used",
    ),
    (
        "a pool of another kind",
        wished(),
        observed(replace(SINGLE[0], kind="mdev")),
        BadInput,
        "name: 'x' cannot be used: the pool of this name is one of mdev devices",
    ),
    (
        "a record with nonsense",
        wished(),
        observed(recorded("0A", oui="no")),
        DamagedDefinition,
        "it is not what this module writes: oui: 'no' cannot be used",
    ),
    (
        "a record with an instance that is none",
        wished(),
        observed(replace(SINGLE[0], instances=(Recorded(0, "../x", A.wwpn),))),
        DamagedDefinition,
        "it is not what this module writes: id: '../x' cannot be used",
    ),
]


@pytest.mark.parametrize(
    ("wish", "seen", "error", "message"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(wish: Wish, seen: Observation, error: type[NodedevError], message: str) -> None:
    with pytest.raises(error, match=message):
        plan(wish, seen)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "name: 'a b' cannot be used: a pool's name has up to 64 letters"),
    ({"count": "many"}, "count: 'many' cannot be used: a number from 0 to 4096, or 'max'"),
    ({"parents": {"names": ["pci_0000_04_00_0"]}}, "parents: 'pci_0000_04_00_0' cannot be used: an HBA is named"),
    ({"parents": {"wwpns": ["12"]}}, "parents: '12' cannot be used: a World Wide Name has 16 hexadecimal digits"),
    ({"parents": {"fabric_wwn": "0" * 16}}, "a name of zeros or of f alone stands for no port"),
    ({"parents": {"driver": "lpfc"}}, "what can be chosen by is: names, wwpns, fabric_wwn, online"),
    ({"parents": {"online": "no"}}, "online is true or false"),
    ({"oui": "5"}, "oui: '5' cannot be used: an OUI has 6 hexadecimal digits"),
    ({"state": "inactive", "persistent": False}, "persistent: False cannot be used"),
    ({"wait_timeout": -1}, "wait_timeout: -1 cannot be used"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[case[1][:40] for case in BAD])
def test_bad_input(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("(", r"\(")):
        wished(**options)
