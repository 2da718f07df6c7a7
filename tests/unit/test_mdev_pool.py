# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of mediated devices: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.mdevs import Mdev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Choice
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import Chosen
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import RUNTIME, DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.scripts import Scripts
from hypothesis import given
from hypothesis import strategies as st
from pools import IDS, OTHERS, PARENTS, defined, new, observed, recorded, runs, shortly, told, wished

U, V, W = OTHERS["u"], OTHERS["v"], OTHERS["w"]
PAIR = (recorded("0A", "1B"), runs("0A", "1B"), defined("0A", "1B"))
SPARE = (
    "record pool x with 2 instances in STORE",
    "create #0 on A",
    "create #1 on B",
    "define #0 on A",
    "define #1 on B",
)
CHANGED = "change the record of pool x with {} instances in STORE"
TWO, THREE = CHANGED.format(2), CHANGED.format(3)

ONE = CHANGED.format(1)
OWN = (("a", "1"),)
# What may have become of the parents of a pool that does not run, A and B, since it was defined.
PLIGHTS: list[tuple[str, list[Mdev], dict[str, int]]] = [
    ("the parents gone", [], {}),
    ("one parent gone", [], {"B": 4}),
    ("all full", runs("uA", "vB"), {"A": 1, "B": 1}),
    ("all full with instances of another size", runs("uA", "vB", kind="nvidia-2"), {"A": 1, "B": 1}),
]
WITHOUT_TYPE = Choice((), {PARENTS["A"]: {"nvidia-9": None}, PARENTS["B"]: {}})
BROKEN = DamagedDefinition("/etc/nodedev.d/pool/x.json", "no JSON")

WITH_GUEST = ", start with its guest"


def lendable(*places: str) -> list[Definition]:
    """Definitions of managed instances."""
    return [replace(each, managed=True) for each in defined(*places, autostart=False)]


LENT, LENDABLE = recorded("0A", "1B", managed=True), lendable("0A", "1B")

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", new(), observed(), [*SPARE]),
    ("all is there", new(), observed(*PAIR), []),
    ("all is there, by name alone", wished(), observed(*PAIR), []),
    ("no instance at all", new(count=0), observed(), ["record pool x with 0 instances in STORE"]),
    ("managed", new(managed=True), observed(), [SPARE[0], *(f"{step}{WITH_GUEST}" for step in SPARE[3:])]),
    ("managed already", wished(), observed(LENT, runs("0A"), LENDABLE, held="0"), []),
    ("managed, and one was started by hand", wished(), observed(LENT, runs("1B"), LENDABLE), []),
    ("managed, only defined", wished(state="inactive"), observed(LENT, runs("1B"), LENDABLE), ["remove #1 from B"]),
    ("managed, while the parents are gone", wished(), observed(LENT, (), LENDABLE, {}), []),
    (
        "managed from now on: what is idle goes, what is in use stays",
        wished(managed=True),
        observed(*PAIR, held="1"),
        [
            TWO,
            *(f"change the definition of {place}{WITH_GUEST}" for place in ("#0 on A", "#1 on B")),
            "remove #0 from A",
        ],
    ),
    (
        "managed no longer",
        wished(managed=False),
        observed(LENT, (), LENDABLE),
        [TWO, *SPARE[1:3], *(f"change the definition of {place}" for place in ("#0 on A", "#1 on B"))],
    ),
    (
        "managed, as many as fit beside a device of others that is managed",
        new(count="max", managed=True),
        observed(None, (), lendable("uA"), {"A": 2, "B": 1}),
        [SPARE[0], *(f"define {place}{WITH_GUEST}" for place in ("#0 on A", "#1 on B"))],
    ),
    ("packed", new(placement="pack"), observed(), [step.replace("B", "A") for step in SPARE]),
    (
        "attributes, repeated, in order",
        new(count=1, attrs=[{"a/b": "1"}, {"c": 2}, {"a/b": "3"}]),
        observed(),
        [
            "record pool x with 1 instances in STORE",
            "create #0 on A",
            "set a/b=1 on #0",
            "set c=2 on #0",
            "set a/b=3 on #0",
            "define #0 on A, a/b=1, c=2, a/b=3",
        ],
    ),
    (
        "scripts are asked",
        new(count=1, attrs=[{"a": "1"}]),
        observed(callouts=Scripts(("/x",))),
        [
            "record pool x with 1 instances in STORE",
            "create #0 on A, a=1, asking the callout scripts",
            "define #0 on A, a=1, asking the callout scripts",
        ],
    ),
    ("defined only, as after a boot", wished(), observed(PAIR[0], (), PAIR[2]), ["create #0 on A", "create #1 on B"]),
    ("running only", wished(), observed(PAIR[0], PAIR[1]), ["define #0 on A", "define #1 on B"]),
    (
        "a run was killed before it had set the attributes",
        wished(),
        observed(recorded("0A", attrs=[{"a": "1"}, {"b": "2"}]), runs("0A")),
        ["set a=1 on #0", "set b=2 on #0", "define #0 on A, a=1, b=2"],
    ),
    (
        "a guest has what is not defined: its attributes are not touched",
        wished(),
        observed(recorded("0A", attrs=[{"a": "1"}]), runs("0A"), held="0"),
        ["define #0 on A, a=1"],
    ),
    ("recorded only", wished(), observed(PAIR[0]), [*SPARE[1:]]),
    ("one is missing", wished(), observed(PAIR[0], runs("0A"), defined("0A")), ["create #1 on B", "define #1 on B"]),
    (
        "the record is lost",
        new(),
        observed(None, PAIR[1], PAIR[2]),
        ["record pool x with 2 instances in STORE"],
    ),
    (
        "the record is lost, and more is wished",
        new(count=3),
        observed(None, runs("0A"), defined("0A", "1B")),
        [
            "record pool x with 3 instances in STORE",
            "create #1 on B",
            "create #2 on A",
            "define #2 on A",
        ],
    ),
    ("grow", wished(count=3), observed(*PAIR), [THREE, "create #2 on A", "define #2 on A"]),
    (
        "grow into the gaps",
        wished(count=3),
        observed(recorded("0A", "5B"), runs("0A", "5B"), defined("0A", "5B")),
        [THREE, "create #1 on A", "define #1 on A"],
    ),
    (
        "grow, others' instances taken into account",
        wished(count=4),
        observed(PAIR[0], [*PAIR[1], *runs("uA", "vA", "wA")], PAIR[2]),
        [
            CHANGED.format(4),
            "create #2 on B",
            "create #3 on B",
            "define #2 on B",
            "define #3 on B",
        ],
    ),
    (
        "shrink",
        wished(count=1),
        observed(*PAIR),
        [TWO, "undefine #1 on B", "remove #1 from B", CHANGED.format(1)],
    ),
    (
        "shrink, the highest is in use",
        wished(count=1),
        observed(*PAIR, held="1"),
        [TWO, "undefine #0 on A", "remove #0 from A", CHANGED.format(1)],
    ),
    (
        "shrink by force",
        wished(count=0, force=True),
        observed(*PAIR, held="01"),
        [TWO, "undefine #1 on B", "undefine #0 on A", "remove #1 from B", "remove #0 from A", CHANGED.format(0)],
    ),
    (
        "shrink what runs nowhere",
        wished(count=1),
        observed(recorded("0A", "1B"), runs("0A"), defined("0A")),
        [TWO, CHANGED.format(1)],
    ),
    (
        "max",
        new(count="max"),
        observed(capacity={"A": 1, "B": 2}),
        [
            "record pool x with 3 instances in STORE",
            "create #0 on B",
            "create #1 on A",
            "create #2 on B",
            "define #0 on B",
            "define #1 on A",
            "define #2 on B",
        ],
    ),
    (
        "max, there already",
        wished(),
        observed(recorded("0B", "1A", count="max"), runs("0B", "1A"), defined("0B", "1A"), {"A": 1, "B": 1}),
        [],
    ),
    (
        "max beside others",
        wished(count="max"),
        observed(PAIR[0], [*PAIR[1], *runs("uA")], PAIR[2], {"A": 2, "B": 2}),
        [THREE, "create #2 on B", "define #2 on B"],
    ),
    (
        "autostart is as it was",
        wished(count=2),
        observed(recorded("0A", "1B", autostart=False), runs("0A", "1B"), defined("0A", "1B", autostart=False)),
        [],
    ),
    (
        "max, the card that was missing is back",
        wished(),
        observed(
            recorded("0A", "1B", "2A", count="max"), runs("0A", "1B"), defined("0A", "1B", "2A"), {"A": 2, "B": 1}
        ),
        ["create #2 on A"],
    ),
    (
        "max after a boot with less room",
        wished(),
        observed(recorded("0A", "1B", "2A", count="max"), (), defined("0A", "1B", "2A"), {"A": 1, "B": 1}),
        ["create #0 on A", "create #1 on B"],
    ),
    (
        "listed",
        new(uuids=[U, V]),
        observed(),
        [step.replace("#0", "#u").replace("#1", "#v") for step in SPARE],
    ),
    (
        "another is listed",
        wished(uuids=[U, W]),
        observed(recorded("uA", "vB", uuids=[U, V]), runs("uA", "vB"), defined("uA", "vB")),
        [THREE, "undefine #v on B", "remove #v from B", "create #w on B", "define #w on B", TWO],
    ),
    (
        "listed in another order",
        wished(uuids=[V, U]),
        observed(recorded("uA", "vB", uuids=[U, V]), runs("uA", "vB"), defined("uA", "vB")),
        [TWO],
    ),
    (
        "listed, then counted",
        wished(count=3),
        observed(recorded("uA", "vB", uuids=[U, V]), runs("uA", "vB"), defined("uA", "vB")),
        [THREE, "create #2 on A", "define #2 on A"],
    ),
    (
        "adopted",
        new(uuids=[U, V], adopt=True),
        observed(None, runs("uA")),
        ["record pool x with 2 instances in STORE", "create #v on B", "define #u on A", "define #v on B"],
    ),
    (
        "adopted: what others may have set is not touched",
        new(uuids=[U], adopt=True, attrs=[{"a": "1"}]),
        observed(None, runs("uA")),
        ["record pool x with 1 instances in STORE", "define #u on A, a=1"],
    ),
    (
        "adopted, defined only",
        new(uuids=[U], adopt=True),
        observed(None, (), defined("uB")),
        ["record pool x with 1 instances in STORE", "create #u on B"],
    ),
    ("adopted already", wished(uuids=[U]), observed(recorded("uA", uuids=[U]), runs("uA"), defined("uA")), []),
    (
        "the parent is gone",
        wished(),
        observed(PAIR[0], runs("1B"), PAIR[2], {"B": 4}),
        [TWO, "create #0 on B", "undefine #0 on A", "define #0 on B"],
    ),
    (
        "the parent has no room any more",
        wished(),
        observed(PAIR[0], runs("1B", "uA", "vA", "wA", "xA"), PAIR[2]),
        [TWO, "create #0 on B", "undefine #0 on A", "define #0 on B"],
    ),
    (
        "defined under two parents",
        wished(),
        observed(PAIR[0], PAIR[1], defined("0A", "0C", "1B")),
        ["undefine #0 on C"],
    ),
    (
        "not persistent",
        new(persistent=False),
        observed(),
        ["record pool x with 2 instances in RUNTIME", "create #0 on A", "create #1 on B"],
    ),
    ("not persistent, there", new(persistent=False), observed(recorded("0A", "1B", root=RUNTIME), PAIR[1]), []),
    (
        "not persistent, then persistent",
        wished(),
        observed(recorded("0A", "1B", root=RUNTIME), PAIR[1]),
        [TWO, "define #0 on A", "define #1 on B"],
    ),
    ("persistent, then not: what is kept stays", wished(persistent=False), observed(*PAIR), []),
    (
        "not persistent, grown: the new one is not defined",
        wished(persistent=False, count=3),
        observed(*PAIR),
        [THREE, "create #2 on A"],
    ),
    (
        "no autostart",
        wished(autostart=False),
        observed(*PAIR),
        [TWO, *(f"change the definition of #{place[0]} on {place[1]}, start manual" for place in ("0A", "1B"))],
    ),
    (
        "other attributes",
        wished(attrs=[{"a": "1"}]),
        observed(*PAIR),
        [TWO, *(f"change the definition of #{place[0]} on {place[1]}, a=1" for place in ("0A", "1B"))],
    ),
    ("another placement", wished(placement="pack"), observed(*PAIR), [TWO]),
    ("inactive: defined", new(state="inactive"), observed(), [SPARE[0], *SPARE[3:]]),
    (
        "inactive: stopped",
        wished(state="inactive"),
        observed(*PAIR),
        ["remove #0 from A", "remove #1 from B"],
    ),
    (
        "inactive: defined first, then stopped",
        wished(state="inactive"),
        observed(PAIR[0], PAIR[1]),
        ["define #0 on A", "define #1 on B", "remove #0 from A", "remove #1 from B"],
    ),
    ("inactive already", wished(state="inactive"), observed(PAIR[0], (), PAIR[2]), []),
    (
        "inactive and one fewer",
        wished(state="inactive", count=1),
        observed(*PAIR),
        [TWO, "undefine #1 on B", "remove #1 from B", "remove #0 from A", CHANGED.format(1)],
    ),
    (
        "inactive by force",
        wished(state="inactive", force=True),
        observed(*PAIR, held="0"),
        ["remove #0 from A", "remove #1 from B"],
    ),
    (
        "inactive, max: what runs is counted as room",
        wished(state="inactive"),
        observed(recorded("0A", "1B", count="max"), PAIR[1], PAIR[2], {"A": 1, "B": 1}),
        ["remove #0 from A", "remove #1 from B"],
    ),
    (
        "absent",
        wished(state="absent"),
        observed(PAIR[0], [*PAIR[1], *runs("uA")], PAIR[2]),
        [
            "undefine #1 on B",
            "undefine #0 on A",
            "remove #1 from B",
            "remove #0 from A",
            "remove the record of pool x, STORE",
        ],
    ),
    ("absent already", wished(state="absent"), observed(None, runs("uA"), defined("vB")), []),
    (
        "absent, the record is lost",
        wished(state="absent"),
        observed(None, runs("0A"), defined("0A", "1B")),
        ["undefine #1 on B", "undefine #0 on A", "remove #0 from A"],
    ),
    (
        "absent, not persistent",
        wished(state="absent"),
        observed(recorded("0A", root=RUNTIME), runs("0A")),
        ["remove #0 from A", "remove the record of pool x, RUNTIME"],
    ),
    (
        "absent, all parents gone",
        wished(state="absent"),
        observed(PAIR[0], (), PAIR[2], {}),
        ["undefine #1 on B", "undefine #0 on A", "remove the record of pool x, STORE"],
    ),
    (
        "absent by force",
        wished(state="absent", force=True),
        observed(*PAIR, held="1"),
        [
            "undefine #0 on A",
            "undefine #1 on B",
            "remove #0 from A",
            "remove #1 from B",
            "remove the record of pool x, STORE",
        ],
    ),
    ("in use and as wished", wished(), observed(*PAIR, held="01"), []),
    (
        "adopted: attributes and a manual start stay",
        new(uuids=[U], adopt=True),
        observed(None, runs("uA"), defined("uA", autostart=False, attrs=OWN)),
        ["record pool x with 1 instances in STORE"],
    ),
    (
        "adopted twice: attributes and a manual start stay",
        new(uuids=[U], adopt=True),
        observed(told("uA", uuids=[U]), runs("uA"), defined("uA", autostart=False, attrs=OWN)),
        [],
    ),
    (
        "adopted by an earlier release: attributes and a manual start stay",
        new(uuids=[U], adopt=True),
        observed(recorded("uA", uuids=[U]), runs("uA"), defined("uA", autostart=False, attrs=OWN)),
        [],
    ),
    (
        "adopted into a pool with attributes, which it was told before",
        wished(uuids=[U, V], adopt=True),
        observed(
            told("uA", uuids=[U], attrs=[{"b": "2"}], autostart=True),
            runs("uA", "vB"),
            [*defined("uA", attrs=(("b", "2"),)), *defined("vB", autostart=False, attrs=OWN)],
        ),
        [TWO],
    ),
    (
        "adopted, with attributes that are said now",
        new(uuids=[U], adopt=True, attrs=[{"b": "2"}], autostart=True),
        observed(None, runs("uA"), defined("uA", autostart=False, attrs=OWN)),
        ["record pool x with 1 instances in STORE", "change the definition of #u on A, b=2"],
    ),
    (
        "adopted, defined only, and inactive on a full parent",
        new(uuids=[U], adopt=True, state="inactive"),
        observed(None, runs("vA"), defined("uA"), {"A": 1, "B": 1}),
        ["record pool x with 1 instances in STORE"],
    ),
    (
        "what another gave to a member stays",
        wished(),
        observed(told("0A", "1B"), PAIR[1], [*defined("0A", attrs=OWN), *defined("1B", autostart=False)]),
        [],
    ),
    (
        "what another gave to a member stays when the pool grows, and new ones get what the pool was told",
        wished(count=3),
        observed(
            told("0A", "1B", attrs=[{"b": "2"}], autostart=False),
            PAIR[1],
            [*defined("0A", attrs=OWN), *defined("1B")],
        ),
        [THREE, "create #2 on A", "set b=2 on #2", "define #2 on A, start manual, b=2"],
    ),
    (
        "what another gave to a member is overwritten when that is said",
        wished(attrs=[], autostart=True),
        observed(told("0A"), runs("0A"), defined("0A", autostart=False, attrs=OWN)),
        [ONE, "change the definition of #0 on A"],
    ),
    (
        "one that moves takes along what it has",
        wished(),
        observed(told("0A"), (), defined("0A", autostart=False, attrs=OWN), {"B": 4}),
        [ONE, "create #0 on B", "set a=1 on #0", "undefine #0 on A", "define #0 on B, start manual, a=1"],
    ),
    (
        "a lost definition is as the pool was told",
        wished(),
        observed(told("0A", attrs=[{"a": "1"}], autostart=False), runs("0A"), held="0"),
        ["define #0 on A, start manual, a=1"],
    ),
    *[
        (f"none at all, {how}", wish, observed(None, active, (), capacity), ["record pool x with 0 instances in STORE"])
        for how, active, capacity in (
            ("no parents", (), {}),
            ("all full", runs("uA", "vB"), {"A": 1, "B": 1}),
        )
        for wish in (new(count=0), new(count=0, state="inactive"))
    ],
    *[
        (
            f"inactive already, {how}",
            wished(state="inactive"),
            observed(PAIR[0], active, PAIR[2], capacity),
            [],
        )
        for how, active, capacity in PLIGHTS
    ],
    *[
        (
            f"inactive and one fewer, {how}",
            wished(state="inactive", count=1),
            observed(PAIR[0], active, PAIR[2], capacity),
            [TWO, "undefine #1 on B", ONE],
        )
        for how, active, capacity in PLIGHTS
    ],
    *[
        (
            f"inactive and none, {how}",
            wished(state="inactive", count=0),
            observed(PAIR[0], active, PAIR[2], capacity),
            [TWO, "undefine #1 on B", "undefine #0 on A", CHANGED.format(0)],
        )
        for how, active, capacity in PLIGHTS
    ],
    *[
        (
            f"inactive and manual, {how}",
            wished(state="inactive", autostart=False),
            observed(PAIR[0], active, PAIR[2], capacity),
            [TWO, *(f"change the definition of #{place[0]} on {place[1]}, start manual" for place in ("0A", "1B"))],
        )
        for how, active, capacity in PLIGHTS
    ],
    *[
        (
            f"inactive, max, {how}",
            wished(state="inactive"),
            observed(recorded("0A", "1B", count="max"), active, PAIR[2], capacity),
            [] if how != "one parent gone" else [CHANGED.format(4), "define #2 on B", "define #3 on B"],
        )
        for how, active, capacity in PLIGHTS
    ],
    (
        "inactive, new, all full with instances of others",
        new(state="inactive"),
        observed(None, runs("uA", "vB"), (), {"A": 1, "B": 1}),
        [SPARE[0], *SPARE[3:]],
    ),
    (
        "inactive, new, all full with instances of another size",
        new(state="inactive", count=3),
        observed(None, runs("uA", "vB", kind="nvidia-2"), (), {"A": 1, "B": 1}),
        [
            "record pool x with 3 instances in STORE",
            "define #0 on A",
            "define #1 on B",
            "define #2 on A",
        ],
    ),
    (
        "inactive, new, a card that takes no instance now",
        new(state="inactive"),
        observed(capacity={"A": 0}),
        [SPARE[0], "define #0 on A", "define #1 on A"],
    ),
    (
        "inactive, more of them, and one parent is full",
        wished(state="inactive", count=3),
        observed(PAIR[0], runs("uA"), PAIR[2], {"A": 1, "B": 2}),
        [THREE, "define #2 on B"],
    ),
    (
        "inactive, on a parent that is not chosen any more",
        wished(state="inactive", parents={"addresses": [PARENTS["B"]]}),
        observed(PAIR[0], (), PAIR[2], {"B": 4}),
        [TWO, "undefine #0 on A", "define #0 on B"],
    ),
    (
        "inactive, on a parent that does not have the type any more",
        wished(state="inactive"),
        observed(PAIR[0], (), PAIR[2], {"B": 4}, choice=WITHOUT_TYPE, registered=tuple(PARENTS.values())),
        [],
    ),
    (
        "one fewer, none of them running and the parents gone: nothing to make",
        wished(count=0),
        observed(PAIR[0], (), PAIR[2], {}),
        [TWO, "undefine #1 on B", "undefine #0 on A", CHANGED.format(0)],
    ),
    (
        "all run, and a parent that is chosen is not registered",
        wished(),
        observed(
            recorded("0A", parents={"addresses": [PARENTS["A"], PARENTS["C"]]}),
            runs("0A"),
            defined("0A"),
            choice=Choice(observed().choice.parents[:1], {}, Chosen(missing={PARENTS["C"]: "there is no such device"})),
        ),
        [],
    ),
    (
        "absent: the record cannot be understood",
        wished(state="absent"),
        observed(None, runs("0A", "uB"), defined("0A", "1B"), damaged_records=(BROKEN,)),
        [
            "remove the damaged definition of pool x, STORE",
            "undefine #1 on B",
            "undefine #0 on A",
            "remove #0 from A",
        ],
    ),
    (
        "absent: the record cannot be understood, and a killed run left another",
        wished(state="absent"),
        observed(recorded("0A", root=RUNTIME), runs("0A"), damaged_records=(BROKEN,)),
        [
            "remove the damaged definition of pool x, STORE",
            "remove #0 from A",
            "remove the record of pool x, RUNTIME",
        ],
    ),
    (
        "a damaged definition of another",
        wished(),
        observed(*PAIR, damaged=(DamagedDefinition(f"/etc/mdevctl.d/p/{U}", "no JSON"),)),
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


@EACH
def test_the_instances_of_others_stay_as_they_are(wish: Wish, seen: Observation, steps: list[str]) -> None:
    planned = plan(wish, seen)
    own = {*IDS, *(wish.uuids or ()), *(one.id for one in (seen.record.instances if seen.record else ()))}
    for before, then in ((seen.active, planned.then.active), (seen.definitions, planned.then.definitions)):
        assert {key: value for key, value in then.items() if key not in own} == {
            key: value for key, value in before.items() if key not in own
        }


def test_new_attributes_of_running_instances_are_told_to_take_effect_later() -> None:
    later = "the new attrs take effect when these instances are started next: "
    planned = plan(wished(attrs=[{"a": "1"}]), observed(PAIR[0], runs("0A"), PAIR[2]))
    assert planned.warnings == (later + IDS[0],)
    half = recorded("0A", "1B", attrs=[{"a": "1"}])
    assert plan(wished(), observed(half, PAIR[1], held="1")).warnings == (later + IDS[1],)
    adopted = plan(new(uuids=[U], adopt=True, attrs=[{"a": "1"}]), observed(active=runs("uA")))
    assert adopted.warnings == (later + U,)


def test_a_damaged_definition_of_others_is_told() -> None:
    damage = DamagedDefinition(f"/etc/mdevctl.d/p/{U}", "no JSON")
    for wish in (wished(), wished(state="absent")):
        assert plan(wish, observed(*PAIR, damaged=(damage,))).warnings == (str(damage),)


places = st.sampled_from("AB")


@given(
    data=st.data(),
    capacity=st.fixed_dictionaries({"A": st.integers(0, 5), "B": st.integers(0, 5)}),
    options=st.fixed_dictionaries(
        {
            "state": st.sampled_from(["present", "inactive", "absent"]),
            "placement": st.sampled_from([None, "spread", "pack"]),
            "autostart": st.none() | st.booleans(),
            "force": st.booleans(),
            "attrs": st.none() | st.just([{"a": "1"}]),
        },
        optional={
            "count": st.integers(0, 8) | st.just("max"),
            "persistent": st.just(False),
            "managed": st.booleans(),
        },
    ),
)
def test_every_plan_leads_to_a_state_that_needs_no_other(
    data: st.DataObject, capacity: dict[str, int], options: dict[str, Any]
) -> None:
    indexes = data.draw(st.lists(st.integers(0, 8), unique=True, max_size=5))
    here = [f"{index}{data.draw(places)}" for index in indexes]
    active: list[str] = []
    for place in [*here, *(f"{letter}{data.draw(places)}" for letter in "uvw")]:
        if data.draw(st.booleans()) and sum(each[1] == place[1] for each in active) < capacity[place[1]]:
            active.append(place)
    known = [f"{place[0]}{data.draw(st.sampled_from('ABC'))}" for place in here if data.draw(st.booleans())]
    write = data.draw(st.sampled_from([recorded, told]))
    record = write(*here) if data.draw(st.booleans()) else None
    held = "".join(place[0] for place in active if data.draw(st.booleans()))
    others = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    drifted = [*defined(*[each for each in known if each not in others]), *defined(*others, autostart=False, attrs=OWN)]
    seen = observed(record, runs(*active), drifted, capacity, held)
    if options["state"] == "inactive":
        options.pop("persistent", None)
    try:
        wish = new(**options) if record is None else wished(**options)
        planned = plan(wish, seen)
    except (BadInput, InUse, NodedevError):
        return
    then = planned.then
    if wish.state != "absent" and isinstance(wish.count, int):
        assert planned.then.record is not None
        assert len(planned.then.record.instances) == wish.count
    if wish.state == "present":
        assert all(
            sum(device.parent == PARENTS[letter] for device in planned.then.active.values()) <= most
            for letter, most in capacity.items()
        )
    assert shortly(plan(wish, then)) == []
    if wish.managed and wish.state != "absent":
        own = [each for uuid in then.record.instances for each in then.defined(uuid.id)] if then.record else []
        assert all(each.managed and not each.autostart for each in own)
    if options["autostart"] is None and options["attrs"] is None:
        for place in others:
            kept = [(each.autostart, each.attrs) for each in planned.then.definitions.get(IDS[int(place[0])], ())]
            assert kept in ([], [(False, OWN)])
