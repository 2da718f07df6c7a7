# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for a pool of mediated devices that cannot be honoured: refused before any step, with a message of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.definitions import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_plan import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.mdev_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils.pools.record import Record, Recorded
from pools import HOLDER, IDS, OTHERS, PARENTS, TYPE, defined, new, observed, recorded, runs, uuid, wished

U, V = OTHERS["u"], OTHERS["v"]
PAIR = (recorded("0A", "1B"), runs("0A", "1B"), defined("0A", "1B"))

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
    ("inactive in use", wished(state="inactive"), observed(*PAIR, held="1"), InUse, r"in use, #1 \(index 1\) by proc"),
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
    (
        "of another pool",
        new(uuids=[U], adopt=True),
        observed(active=runs("uA"), owners={U: "y"}),
        NodedevError,
        "mdev #u on A belongs to pool y: take it out of that one first",
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
        ({"type": "a/../b"}, r"type: 'a/\.\./b'"),
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


def test_holders_are_told_with_their_domain() -> None:
    with pytest.raises(InUse, match=f"process {HOLDER['pid']} .{HOLDER['command']}. of domain {HOLDER['domain']}"):
        plan(wished(count=0), observed(*PAIR, held="0"))
