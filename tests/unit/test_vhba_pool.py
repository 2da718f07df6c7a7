# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of vHBAs: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine import derived_wwn
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import DOCUMENTS
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import RUNTIME, DamagedDefinition
from hypothesis import given
from hypothesis import strategies as st
from vhba_pools import (
    FABRIC,
    HBAS,
    MACHINE,
    OTHER_FABRIC,
    OTHERS,
    WWPNS,
    A,
    B,
    observed,
    recorded,
    shortly,
    told,
    wished,
)

PAIR = (recorded("0A", "1B"), ("0A", "1B"), ("0A", "1B"))
NEW = [
    "record pool x with 2 instances in STORE",
    "create #0 on A",
    "create #1 on B",
    "define #0 on A",
    "define #1 on B",
]
CHANGED = "change the record of pool x with {} instances in STORE"
TWO, THREE = CHANGED.format(2), CHANGED.format(3)
LISTED = {"wwpns": [HBAS["D"].wwpn]}

ONE, NONE = CHANGED.format(1), CHANGED.format(0)
BROKEN = DamagedDefinition("/etc/nodedev.d/pool/x.json", "no JSON")
DEFINE = [NEW[0], *NEW[3:]]
DOWN = "scsi_host5"
# What may have become of the HBAs of a pool that is not there, A and B, since it was defined.
PLIGHTS: list[tuple[str, dict[str, str]]] = [
    ("the HBAs gone", {"hbas": ""}),
    ("one HBA gone", {"hbas": "B"}),
    ("all full", {"others": "AAAABBBB"}),
    ("other HBAs alone", {"hbas": "CE"}),
]

UNCLEAR = DamagedDefinition(DOCUMENTS.paths(WWPNS[1])[0], "no JSON")

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", wished(count=2), observed(), NEW),
    ("all is there", wished(count=2), observed(*PAIR), []),
    ("all is there, by name alone", wished(), observed(*PAIR), []),
    ("no vHBA at all", wished(count=0), observed(), ["record pool x with 0 instances in STORE"]),
    ("packed", wished(count=2, placement="pack"), observed(), [step.replace("B", "A") for step in NEW]),
    ("defined only, as after a boot", wished(), observed(PAIR[0], (), PAIR[2]), ["create #0 on A", "create #1 on B"]),
    ("running only", wished(), observed(PAIR[0], PAIR[1]), ["define #0 on A", "define #1 on B"]),
    ("recorded only", wished(), observed(PAIR[0]), NEW[1:]),
    ("one is missing", wished(), observed(PAIR[0], ["0A"], ["0A"]), ["create #1 on B", "define #1 on B"]),
    ("the record is lost", wished(count=2), observed(None, PAIR[1], PAIR[2]), NEW[:1]),
    ("grow", wished(count=3), observed(*PAIR), [THREE, "create #2 on A", "define #2 on A"]),
    (
        "grow into the gaps",
        wished(count=3),
        observed(recorded("0A", "5B"), ["0A", "5B"], ["0A", "5B"]),
        [THREE, "create #1 on A", "define #1 on A"],
    ),
    (
        "grow beside others",
        wished(count=3),
        observed(*PAIR, others="AAA"),
        [THREE, "create #2 on B", "define #2 on B"],
    ),
    (
        "shrink",
        wished(count=1),
        observed(*PAIR),
        [TWO, "undefine #1", "delete #1 from B", CHANGED.format(1)],
    ),
    (
        "shrink, the highest is in use",
        wished(count=1),
        observed(*PAIR, held="1"),
        [TWO, "undefine #0", "delete #0 from A", CHANGED.format(1)],
    ),
    (
        "shrink by force",
        wished(count=0, force=True),
        observed(*PAIR, held="01"),
        [TWO, "undefine #1", "undefine #0", "delete #1 from B", "delete #0 from A", CHANGED.format(0)],
    ),
    (
        "max beside others",
        wished(count="max"),
        observed(*PAIR, others="AAABB"),
        [THREE, "create #2 on B", "define #2 on B"],
    ),
    (
        "max, there already",
        wished(),
        observed(recorded("0A", "1B", count="max"), PAIR[1], PAIR[2], others="AAABBB"),
        [],
    ),
    (
        "only HBAs that can take vHBAs are counted",
        wished(count="max"),
        observed(hbas="ACDE", others="AAA"),
        ["record pool x with 1 instances in STORE", "create #0 on A", "define #0 on A"],
    ),
    (
        "a link that is down does not matter",
        wished(count=1, parents={"wwpns": [HBAS["C"].wwpn], "online": False}, require_online=False),
        observed(hbas="ABC"),
        ["record pool x with 1 instances in STORE", "create #0 on C", "define #0 on C"],
    ),
    (
        "an HBA without a fabric that is listed",
        wished(count=1, parents=LISTED),
        observed(hbas="ABD"),
        ["record pool x with 1 instances in STORE", "create #0 on D", "define #0 on D"],
    ),
    (
        "one that need not log in may go where there is no fabric",
        wished(count=1, require_online=False),
        observed(hbas="D"),
        ["record pool x with 1 instances in STORE", "create #0 on D", "define #0 on D"],
    ),
    (
        "by fabric",
        wished(count=2, parents={"fabric_wwn": OTHER_FABRIC}),
        observed(hbas="ABCD"),
        [step.replace("A", "B") for step in NEW],
    ),
    (
        "by libvirt's name",
        wished(count=2, parents={"names": ["scsi_host4"]}),
        observed(hbas="AB"),
        [step.replace("A", "B") for step in NEW],
    ),
    (
        "an HBA that is listed is not there",
        wished(count=1, parents={"wwpns": [HBAS["C"].wwpn, B.wwpn]}),
        observed(),
        ["record pool x with 1 instances in STORE", "create #0 on B", "define #0 on B"],
    ),
    (
        "the HBA is gone",
        wished(),
        observed(PAIR[0], ["1B"], PAIR[2], hbas="B"),
        [TWO, "create #0 on B", "change the definition of #0 on B"],
    ),
    (
        "the HBA has no room any more",
        wished(),
        observed(PAIR[0], ["1B"], PAIR[2], others="AAAA"),
        [TWO, "create #0 on B", "change the definition of #0 on B"],
    ),
    (
        "the HBA has no link",
        wished(),
        observed(recorded("0C", "1B"), ["1B"], ["0C", "1B"], hbas="ABC"),
        [TWO, "create #0 on A", "change the definition of #0 on A"],
    ),
    ("one that is there stays without a link", wished(), observed(recorded("0C"), ["0C"], ["0C"], hbas="ABC"), []),
    (
        "one that is there stays without a link, chosen by fabric",
        wished(parents={"fabric_wwn": FABRIC}),
        observed(recorded("0C", parents={"fabric_wwn": FABRIC, "online": True}), ["0C"], ["0C"], hbas="ABC"),
        [],
    ),
    (
        "not persistent",
        wished(count=2, persistent=False),
        observed(),
        ["record pool x with 2 instances in RUNTIME", *NEW[1:3]],
    ),
    ("not persistent, there", wished(persistent=False), observed(recorded("0A", root=RUNTIME), ["0A"]), []),
    ("persistent, then not: what is kept stays", wished(persistent=False), observed(*PAIR), []),
    (
        "need not log in any more",
        wished(require_online=False),
        observed(recorded("0A"), ["0A"], ["0A"]),
        [CHANGED.format(1), "change the definition of #0 on A"],
    ),
    ("as it was made", wished(), observed(recorded("0A", require_online=False), ["0A"], ["0A-"]), []),
    ("inactive: defined", wished(count=2, state="inactive"), observed(), [NEW[0], *NEW[3:]]),
    ("inactive: stopped", wished(state="inactive"), observed(*PAIR), ["delete #0 from A", "delete #1 from B"]),
    ("inactive already", wished(state="inactive"), observed(PAIR[0], (), PAIR[2]), []),
    (
        "inactive, and the link is down",
        wished(state="inactive"),
        observed(recorded("0C", "1B"), (), ["0C", "1B"], hbas="ABC"),
        [],
    ),
    (
        "inactive on full HBAs",
        wished(state="inactive"),
        observed(*PAIR, others="AAABBB"),
        ["delete #0 from A", "delete #1 from B"],
    ),
    (
        "inactive by force",
        wished(state="inactive", force=True),
        observed(*PAIR, held="0"),
        ["delete #0 from A", "delete #1 from B"],
    ),
    (
        "absent",
        wished(state="absent"),
        observed(*PAIR, others="AB"),
        ["undefine #1", "undefine #0", "delete #1 from B", "delete #0 from A", "remove the record of pool x, STORE"],
    ),
    ("absent already", wished(state="absent"), observed(others="AB"), []),
    (
        "absent, the record is lost",
        wished(state="absent"),
        observed(None, ["0A"], ["0A", "1B"]),
        ["undefine #1", "undefine #0", "delete #0 from A"],
    ),
    (
        "absent, all HBAs gone",
        wished(state="absent"),
        observed(PAIR[0], (), PAIR[2], hbas=""),
        ["undefine #1", "undefine #0", "remove the record of pool x, STORE"],
    ),
    ("in use and as wished", wished(), observed(*PAIR, held="01"), []),
    ("what a member was defined with stays", wished(), observed(told("0A"), ["0A"], ["0A-"]), []),
    (
        "what a member was defined with stays when the pool grows",
        wished(count=2),
        observed(told("0A", require_online=True), ["0A"], ["0A-"]),
        [TWO, "create #1 on B", "define #1 on B"],
    ),
    (
        "what a member was defined with changes when that is said",
        wished(require_online=True),
        observed(told("0A"), ["0A"], ["0A-"]),
        [ONE, "change the definition of #0 on A"],
    ),
    ("by a record of what was told alone", wished(count=2), observed(told("0A", "1B"), *PAIR[1:]), []),
    *[
        (f"none at all, {how}", wish, observed(None, **host), ["record pool x with 0 instances in STORE"])
        for how, host in PLIGHTS
        for wish in (wished(count=0), wished(count=0, state="inactive"), wished(count=0, parents={"wwpns": ["1" * 16]}))
    ],
    *[
        (f"inactive already, {how}", wished(state="inactive"), observed(PAIR[0], (), PAIR[2], **host), [])
        for how, host in PLIGHTS
    ],
    *[
        (
            f"inactive already, by the WWPN of its HBA, {how}",
            wished(state="inactive", count=1, parents={"wwpns": [A.wwpn]}),
            observed(recorded("0A", parents={"wwpns": [A.wwpn], "online": True}), (), ["0A"], **host),
            [],
        )
        for how, host in PLIGHTS
    ],
    *[
        (
            f"{state} and one fewer, {how}",
            wished(state=state, count=0),
            observed(recorded("0A"), (), ["0A"], **host),
            [ONE, "undefine #0", NONE],
        )
        for how, host in PLIGHTS
        for state in ("inactive", "present")
    ],
    *[
        (
            f"inactive, max, {how}",
            wished(state="inactive"),
            observed(recorded("0A", "1B", count="max"), (), PAIR[2], **host),
            [] if how != "one HBA gone" else [CHANGED.format(4), "define #2 on B", "define #3 on B"],
        )
        for how, host in PLIGHTS
    ],
    ("inactive, new, all full", wished(count=2, state="inactive"), observed(others="AAAABBBB"), DEFINE),
    (
        "inactive, new, no link",
        wished(count=2, state="inactive"),
        observed(hbas="C"),
        [NEW[0], "define #0 on C", "define #1 on C"],
    ),
    (
        "inactive, new, an HBA without a link by name",
        wished(count=1, state="inactive", parents={"names": [DOWN]}),
        observed(hbas="AC"),
        ["record pool x with 1 instances in STORE", "define #0 on C"],
    ),
    (
        "inactive, new, those with a link and room come first",
        wished(count=2, state="inactive"),
        observed(hbas="ABC", others="AAAA"),
        [NEW[0], "define #0 on B", "define #1 on B"],
    ),
    (
        "inactive, on an HBA that is not chosen any more",
        wished(state="inactive", parents={"wwpns": [B.wwpn]}),
        observed(PAIR[0], (), PAIR[2]),
        [TWO, "change the definition of #0 on B"],
    ),
    (
        "inactive, the HBA gone and not chosen any more",
        wished(state="inactive", parents={"wwpns": [B.wwpn]}),
        observed(PAIR[0], (), PAIR[2], hbas="B"),
        [TWO, "change the definition of #0 on B"],
    ),
    (
        "inactive, HBAs by names that are not there now: those that were chosen are kept",
        wished(state="inactive", parents={"names": ["scsi_host3"]}),
        observed(told("0A", parents={"wwpns": [A.wwpn], "online": True}), (), ["0A"], hbas=""),
        [],
    ),
    (
        "absent: definitions that cannot be understood, by their names those of the pool",
        wished(state="absent"),
        observed(
            told("0A", "1B"), ["0A"], ["0A"], damaged=(DamagedDefinition(DOCUMENTS.paths(WWPNS[1])[0], "no JSON"),)
        ),
        [
            "remove the damaged definition of #1, /etc/nodedev.d/vhba/#1.json",
            "undefine #0",
            "delete #0 from A",
            "remove the record of pool x, STORE",
        ],
    ),
    (
        "absent: the record cannot be understood",
        wished(state="absent"),
        observed(None, ["0A"], ["0A", "1B"], damaged_records=(BROKEN,)),
        ["remove the damaged definition of pool x, STORE", "undefine #1", "undefine #0", "delete #0 from A"],
    ),
    ("one that its driver has not named is not counted", wished(count=2), observed(hbas="ABF"), NEW),
    (
        "a damaged definition of another",
        wished(),
        observed(*PAIR, damaged=(DamagedDefinition(DOCUMENTS.paths(OTHERS)[0], "no JSON"),)),
        [],
    ),
]
EACH = pytest.mark.parametrize(("wish", "seen", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


@EACH
def test_plan(wish: Wish, seen: Observation, steps: list[str]) -> None:
    assert shortly(plan(wish, seen)) == steps


@EACH
def test_a_second_plan_has_nothing_to_do(wish: Wish, seen: Observation, steps: list[str]) -> None:
    assert shortly(plan(wish, plan(wish, seen).then)) == []


def test_names_are_those_of_a_single_vhba_of_that_name() -> None:
    assert [one.id for one in _kept(plan(wished(count=3), observed()))] == WWPNS[:3]
    other = plan(wished(count=1, oui="00:50:56"), observed())
    assert _kept(other)[0].id == derived_wwn(MACHINE, "x 0", "port", "005056")
    assert other.then.active[other.creates[0]].wwnn == derived_wwn(MACHINE, "x 0", "node", "005056")


def _kept(planned: Plan[Observation]) -> tuple[Recorded, ...]:
    assert planned.then.record is not None
    return planned.then.record.instances


def test_a_selection_by_name_is_kept_by_wwpn() -> None:
    planned = plan(wished(count=1, parents={"names": ["host4"], "wwpns": [A.wwpn]}), observed())
    assert planned.then.record is not None
    assert planned.then.record.wish["parents"] == {"wwpns": [A.wwpn, B.wwpn], "online": True}


def test_a_ceiling_is_taken_into_account() -> None:
    assert [one.parent for one in _kept(plan(wished(count=3), observed(), {A.wwpn: 0}))] == [B.wwpn] * 3
    assert len(_kept(plan(wished(count="max"), observed(), {A.wwpn: 1}))) == 5
    with pytest.raises(BadInput, match=r"room for 5; free are scsi_host3 \(WWPN .*\): 1, scsi_host4 .*: 4"):
        plan(wished(count=6), observed(), {A.wwpn: 1})


@st.composite
def hosts(draw: st.DrawFn) -> Mapping[str, Any]:
    """A pool in any state that it can be in, on HBAs with vHBAs of others."""
    indexes = draw(st.lists(st.integers(0, 7), unique=True, max_size=6))
    places = [f"{index}{draw(st.sampled_from('AB'))}" for index in sorted(indexes)]
    running = [place for place in places if draw(st.booleans())][:4]
    return {
        "record": draw(st.sampled_from([recorded, told]))(*places) if draw(st.booleans()) else None,
        "active": running,
        "defined": [place + draw(st.sampled_from(["", "-"])) for place in places if draw(st.booleans())],
        "others": "A" * draw(st.integers(0, 4 - sum(place[1] == "A" for place in running))),
        "held": "".join(place[0] for place in running if draw(st.booleans())),
        "hbas": "ABCDE",
    }


@given(
    hosts(),
    st.one_of(st.integers(0, 8), st.just("max")),
    st.sampled_from(["present", "inactive", "absent"]),
    st.sampled_from(["spread", "pack"]),
)
def test_what_any_plan_leads_to(host: Mapping[str, Any], count: object, state: str, placement: str) -> None:
    seen = observed(**host)
    wish = wished(count=count, state=state, placement=placement)
    try:
        planned = plan(wish, seen)
    except (BadInput, InUse):
        return
    then = planned.then
    assert shortly(plan(wish, then)) == []
    assert all(
        planned.then.definitions[wwpn].require_online == known.require_online
        for wwpn, known in seen.definitions.items()
        if wwpn in planned.then.definitions
    )
    assert all(0 <= hba.used <= hba.most for hba in then.hbas)
    assert {port for port in seen.ports if port.wwnn == OTHERS} == {port for port in then.ports if port.wwnn == OTHERS}
    gone = {*seen.active} - {*planned.then.active}
    assert not any(seen.active[wwpn].uses for wwpn in gone)
    if state != "absent" and isinstance(count, int):
        assert len(_kept(planned)) == count
