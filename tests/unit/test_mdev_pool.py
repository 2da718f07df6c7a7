# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool of mediated devices: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.definitions import RUNTIME, DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_plan import Plan, plan
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.record import Record, Recorded
from hypothesis import given
from hypothesis import strategies as st
from pools import HOLDER, IDS, OTHERS, PARENTS, TYPE, defined, new, observed, recorded, runs, shortly, uuid, wished

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

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", new(), observed(), [*SPARE]),
    ("all is there", new(), observed(*PAIR), []),
    ("all is there, by name alone", wished(), observed(*PAIR), []),
    ("no instance at all", new(count=0), observed(), ["record pool x with 0 instances in STORE"]),
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
        "through mdevctl",
        new(count=1, attrs=[{"a": "1"}]),
        observed(callouts=True),
        [
            "record pool x with 1 instances in STORE",
            "create #0 on A through mdevctl, a=1",
            "define #0 on A, a=1",
        ],
    ),
    ("defined only, as after a boot", wished(), observed(PAIR[0], (), PAIR[2]), ["create #0 on A", "create #1 on B"]),
    ("running only", wished(), observed(PAIR[0], PAIR[1]), ["define #0 on A", "define #1 on B"]),
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
        "max after a boot with less room",
        wished(),
        observed(recorded("0A", "1B", "2A", count="max"), (), defined("0A", "1B", "2A"), {"A": 1, "B": 1}),
        ["undefine #2 on A", "create #0 on A", "create #1 on B", TWO],
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


def after(seen: Observation, planned: Plan) -> Observation:
    """The host when the plan was carried out, as far as the plan itself says."""
    known = [definition for each in planned.definitions.values() for definition in each]
    total = {
        letter: parent.free + sum(device.parent == parent.address for device in seen.active.values())
        for letter, address in PARENTS.items()
        for parent in seen.choice.parents
        if parent.address == address
    }
    return observed(planned.record, [*planned.active.values()], known, total, callouts=seen.callouts)


@EACH
def test_a_second_plan_has_nothing_to_do(wish: Wish, seen: Observation, steps: list[str]) -> None:
    assert shortly(plan(wish, after(seen, plan(wish, seen)))) == []


@EACH
def test_the_instances_of_others_stay_as_they_are(wish: Wish, seen: Observation, steps: list[str]) -> None:
    planned = plan(wish, seen)
    own = {*IDS, *(wish.uuids or ()), *(one.id for one in (seen.record.instances if seen.record else ()))}
    for before, then in ((seen.active, planned.active), (seen.definitions, planned.definitions)):
        assert {key: value for key, value in then.items() if key not in own} == {
            key: value for key, value in before.items() if key not in own
        }


NO_PARENTS = Choice((), {}, ())
REFUSALS: list[tuple[str, Wish, Observation, type[NodedevError], str]] = [
    (
        "no type",
        wished(count=1),
        observed(),
        BadInput,
        "type: None cannot be used: pool x is not known here, so a type",
    ),
    (
        "no type, what there is",
        wished(count=1),
        observed(choice=Choice((), {PARENTS["A"]: ("t (T4)", "u")}, ())),
        BadInput,
        r"a type is needed; 0000:06:00.0 has the types: t \(T4\), u",
    ),
    ("no count", wished(type=TYPE), observed(), BadInput, "count: None cannot be used: pool x is not known here, so"),
    (
        "a parent that is not registered",
        new(),
        observed(choice=Choice((), {}, ("0000:99:00.0",))),
        BadInput,
        "parents: '0000:99:00.0' cannot be used: the registered parents are: 0000:06:00.0, 0000:07:00.0",
    ),
    (
        "no parent is chosen",
        new(parents={"driver": "nope"}),
        observed(choice=NO_PARENTS),
        BadInput,
        "parents: {'driver': 'nope'} cannot be used: it takes none of the registered parents: 0000:06:00.0, 0000",
    ),
    ("no parent at all", new(), observed(capacity={}), BadInput, "it takes none of the registered parents: none"),
    (
        "no such type",
        new(type="t9"),
        observed(choice=Choice((), {PARENTS["A"]: ("t",), PARENTS["B"]: ()}, ())),
        BadInput,
        "type: 't9' cannot be used: 0000:06:00.0 has the types: t; 0000:07:00.0 has the types: none",
    ),
    (
        "too many",
        new(count=9),
        observed(active=runs("uA", "vB"), capacity={"A": 4, "B": 2}),
        BadInput,
        f"count: 9 cannot be used: pool x needs 9 more instances of type {TYPE} and there is room for 4;"
        " free are 0000:06:00.0: 3, 0000:07:00.0: 1",
    ),
    (
        "too many more",
        wished(count=9),
        observed(*PAIR),
        BadInput,
        "count: 9 cannot be used: pool x needs 7 more instances of type nvidia-1 and there is room for 6; free",
    ),
    (
        "too many to define",
        new(count=9, state="inactive"),
        observed(),
        BadInput,
        "pool x needs 9 more instances of type nvidia-1 and there is room for 8",
    ),
    (
        "too many listed",
        new(uuids=[U, V]),
        observed(capacity={"A": 1}),
        BadInput,
        rf"uuids: \['{U}', '{V}'\] cannot be used: pool x needs 2 more .* room for 1; free are 0000:06:00.0: 1",
    ),
    ("shrink in use", wished(count=1), observed(*PAIR, held="01"), InUse, r"1 of 2 .* #0 \(index 0\) by process 4711"),
    ("absent in use", wished(state="absent"), observed(*PAIR, held="1"), InUse, "#1 .* of domain desk"),
    ("inactive in use", wished(state="inactive"), observed(*PAIR, held="1"), InUse, "mdev #1 on B is in use by proc"),
    (
        "no longer listed, in use",
        wished(uuids=[V]),
        observed(recorded("uA", "vB", uuids=[U, V]), runs("uA", "vB"), defined("uA", "vB"), held="u"),
        InUse,
        r"no longer listed are in use, #u \(index 0\) by",
    ),
    (
        "made by others",
        new(uuids=[U]),
        observed(active=runs("uA")),
        NodedevError,
        "mdev #u on A was not made for pool x: set adopt: true to take it into the pool, or list another UUID",
    ),
    ("defined by others", new(uuids=[U]), observed(definitions=defined("uB")), NodedevError, "mdev #u on B was not ma"),
    (
        "adopted with another type",
        new(uuids=[U], adopt=True),
        observed(active=runs("uA", kind="nvidia-2")),
        NodedevError,
        "pool x has mdev #u with type nvidia-2 on A, not with type nvidia-1",
    ),
    (
        "another type",
        wished(type="nvidia-2"),
        observed(*PAIR, choice=Choice((Parent(PARENTS["A"], "pci_A", PARENTS["A"], "nvidia-2", None, 4),), {}, ())),
        NodedevError,
        "with type nvidia-1 on A, not with type nvidia-2: remove the pool first with state: absent, or choose another",
    ),
    (
        "defined with another type",
        wished(),
        observed(PAIR[0], (), defined("0A", kind="nvidia-2")),
        NodedevError,
        "mdev #0 with type nvidia-2 on A, not with type nvidia-1",
    ),
    (
        "runs outside of the choice",
        wished(),
        observed(*PAIR, capacity={"A": 4}),
        NodedevError,
        "pool x has mdev #1 on B, which is not among the parents that are chosen and have type nvidia-1: choose it too",
    ),
    ("no machine-id", new(), observed(machine=None), NodedevError, "/etc/machine-id holds no machine-id"),
    (
        "a damaged definition of a member",
        wished(count=1),
        observed(*PAIR, damaged=(DamagedDefinition(f"/etc/mdevctl.d/p/{IDS[0]}", "no JSON"),)),
        DamagedDefinition,
        "/etc/mdevctl.d/p/#0 is damaged .no JSON.*left alone",
    ),
    (
        "absent, a damaged definition of a member",
        wished(state="absent"),
        observed(*PAIR, damaged=(DamagedDefinition(f"/etc/mdevctl.d/p/{IDS[0]}", "no JSON"),)),
        DamagedDefinition,
        "/etc/mdevctl.d/p/#0 is damaged",
    ),
    (
        "a damaged definition where a new member's is to be",
        wished(count=3),
        observed(*PAIR, damaged=(DamagedDefinition(f"/etc/mdevctl.d/p/{IDS[2]}", "no JSON"),)),
        DamagedDefinition,
        "/etc/mdevctl.d/p/#2 is damaged",
    ),
    (
        "a damaged definition of one that is listed",
        new(uuids=[U], adopt=True),
        observed(damaged=(DamagedDefinition(f"/etc/mdevctl.d/p/{U}", "no JSON"),)),
        DamagedDefinition,
        "/etc/mdevctl.d/p/#u is damaged",
    ),
    (
        "a pool of another kind",
        new(),
        observed(replace(PAIR[0], kind="vhba")),
        BadInput,
        "name: 'x' cannot be used: the pool of this name is one of vhba devices",
    ),
]


@pytest.mark.parametrize(
    ("wish", "seen", "kind", "message"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(wish: Wish, seen: Observation, kind: type[NodedevError], message: str) -> None:
    for name in "012uv":
        message = message.replace(f"#{name}", uuid(name))
    for letter in "AB":
        message = message.replace(f" on {letter}", f" on {PARENTS[letter]}")
    with pytest.raises(kind, match=message):
        plan(wish, seen)


NONSENSE: list[tuple[str, dict[str, Any], str]] = [
    ("a type that is a path", {"type": "../x"}, "type: '../x'"),
    ("no count", {"count": None}, "count: None"),
    ("a count that is none", {"count": "many"}, "count: 'many'"),
    ("a UUID that is none", {"uuids": ["x"]}, "uuid: 'x'"),
    ("UUIDs that are no list", {"uuids": 5}, "not iterable"),
    ("an unknown way to choose", {"parents": {"slot": 1}}, "parents: {'slot': 1}"),
    ("a choice that is none", {"parents": []}, "no attribute 'items'"),
    ("an attribute that leads elsewhere", {"attrs": [{"../x": "1"}]}, r"attrs: '\.\./x'"),
    ("attributes that are none", {"attrs": 5}, "not iterable"),
]


@pytest.mark.parametrize(("said", "reason"), [case[1:] for case in NONSENSE], ids=[case[0] for case in NONSENSE])
def test_a_record_with_nonsense_is_damaged(said: dict[str, Any], reason: str) -> None:
    record = recorded("0A", "1B")
    with pytest.raises(DamagedDefinition, match=rf"/etc/nodedev.d/pool/x.json is damaged .*{reason}"):
        plan(wished(), observed(replace(record, wish={**record.wish, **said})))


@pytest.mark.parametrize("one", [Recorded(0, "../../x", PARENTS["A"]), Recorded(0, IDS[0], "../x")])
def test_a_record_whose_instances_are_none_is_damaged(one: Recorded) -> None:
    with pytest.raises(DamagedDefinition, match=r"/etc/nodedev.d/pool/x.json is damaged .*\.\./x"):
        plan(wished(), observed(Record("x", "mdev", recorded("0A").wish, (one,))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name: ''"),
        ({"name": ".x"}, "name: '.x'"),
        ({"name": "../x"}, "name: '../x'"),
        ({"name": "x" * 65}, "up to 64 letters"),
        ({"name": "x\n"}, "name: "),
        ({"type": "a/b"}, "type: 'a/b'"),
        ({"count": "-1"}, "count: '-1' cannot be used: a number from 0 to 4096, or 'max'"),
        ({"count": "4097"}, "count: '4097'"),
        ({"count": "1.5"}, "count: '1.5'"),
        ({"count": ""}, "count: ''"),
        ({"count": "٣"}, "count: '٣'"),
        ({"uuids": ["x"]}, "uuids: 'x'"),
        ({"uuids": [U, U.upper()]}, "each UUID stands once"),
        (
            {"parents": {"slot": 1}},
            "parents: {'slot': 1} cannot be used: what can be chosen by is: names, addresses, dr",
        ),
        ({"parents": {"addresses": ["../x"]}}, "parents: '../x'"),
        ({"attrs": [{"../x": "1"}]}, r"attrs: '\.\./x'"),
        ({"wait_timeout": -1}, "wait_timeout: -1"),
        ({"state": "inactive", "persistent": False}, "persistent: False"),
    ],
)
def test_what_is_no_wish(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wished(**options)


def test_new_attributes_of_running_instances_are_told_to_take_effect_later() -> None:
    planned = plan(wished(attrs=[{"a": "1"}]), observed(PAIR[0], runs("0A"), PAIR[2]))
    assert planned.warnings == (f"the new attrs take effect when these instances are started next: {IDS[0]}",)


def test_a_damaged_definition_of_others_is_told() -> None:
    damage = DamagedDefinition(f"/etc/mdevctl.d/p/{U}", "no JSON")
    for wish in (wished(), wished(state="absent")):
        assert plan(wish, observed(*PAIR, damaged=(damage,))).warnings == (str(damage),)


def functions(**free: int) -> Choice:
    """Virtual functions of cards A and B, called A1, A2 and so on, and how many each says that it takes."""
    return Choice(
        tuple(
            Parent(f"{PARENTS[name[0]]}.{name[1]}", f"pci_{name}", PARENTS[name[0]], TYPE, "vfio-pci", count, 3)
            for name, count in free.items()
        ),
        {},
        (),
    )


CARDS = {f"{PARENTS[letter]}.{number}": PARENTS[letter] for letter in "AB" for number in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("ceilings", "count", "places"),
    [
        ({}, "max", ["A.1", "B.1", "A.2", "B.2"]),
        ({"A": 1}, "max", ["B.1", "A.1", "B.2"]),
        ({"A": 0, "B": 1}, "max", ["B.1"]),
        ({"A": 9}, "max", ["A.1", "B.1", "A.2", "B.2"]),
        ({"A": 0}, 2, ["B.1", "B.2"]),
    ],
)
def test_a_card_that_was_found_to_take_less(ceilings: Mapping[str, int], count: str | int, places: list[str]) -> None:
    seen = observed(choice=functions(A1=1, A2=1, B1=1, B2=1), cards=CARDS)
    planned = plan(new(count=count), seen, {PARENTS[letter]: most for letter, most in ceilings.items()})
    assert [target.parent for target in planned.creates] == [f"{PARENTS[place[0]]}{place[1:]}" for place in places]


def test_what_a_card_says_it_takes_and_what_was_found_are_told_when_it_is_too_little() -> None:
    seen = observed(choice=functions(A1=1, A2=1, A3=1, A4=1, B1=1), cards=CARDS)
    with pytest.raises(BadInput, match=r"needs 5 more .* room for 4; free are all of 0000:06:00.0: 3, all of 0000:07"):
        plan(new(count=5), seen)
    with pytest.raises(BadInput, match=r"room for 2; free are all of 0000:06:00.0: 1, all of 0000:07:00.0: 3"):
        plan(new(count=5), seen, {PARENTS["A"]: 1})


def test_others_on_the_card_count_against_what_it_takes() -> None:
    others = [replace(device, parent=f"{device.parent}.1") for device in runs("uA", "vA")]
    seen = observed(active=others, choice=functions(A2=1, A3=1, A4=1), cards=CARDS)
    with pytest.raises(BadInput, match=r"room for 1; free are all of 0000:06:00.0: 1"):
        plan(new(count=2), seen)
    # Only to be defined, the pool has the card to itself.
    assert len(shortly(plan(new(count=3, state="inactive"), seen))) == 4


places = st.sampled_from("AB")


@given(
    data=st.data(),
    capacity=st.fixed_dictionaries({"A": st.integers(0, 5), "B": st.integers(0, 5)}),
    options=st.fixed_dictionaries(
        {
            "state": st.sampled_from(["present", "inactive", "absent"]),
            "placement": st.sampled_from([None, "spread", "pack"]),
            "autostart": st.booleans(),
            "force": st.booleans(),
            "attrs": st.none() | st.just([{"a": "1"}]),
        },
        optional={"count": st.integers(0, 8) | st.just("max"), "persistent": st.just(False)},
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
    record = recorded(*here) if data.draw(st.booleans()) else None
    held = "".join(place[0] for place in active if data.draw(st.booleans()))
    seen = observed(record, runs(*active), defined(*known), capacity, held)
    if options["state"] == "inactive":
        options.pop("persistent", None)
    try:
        wish = new(**options) if record is None else wished(**options)
        planned = plan(wish, seen)
    except (BadInput, InUse, NodedevError):
        return
    then = after(seen, planned)
    if wish.state != "absent" and isinstance(wish.count, int):
        assert planned.record is not None
        assert len(planned.record.instances) == wish.count
    if wish.state == "present":
        assert all(
            sum(device.parent == PARENTS[letter] for device in planned.active.values()) <= most
            for letter, most in capacity.items()
        )
    assert shortly(plan(wish, then)) == []


def test_holders_are_told_with_their_domain() -> None:
    with pytest.raises(InUse, match=f"process {HOLDER['pid']} .{HOLDER['command']}. of domain {HOLDER['domain']}"):
        plan(wished(count=0), observed(*PAIR, held="0"))
