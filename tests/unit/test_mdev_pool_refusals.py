# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for a pool of mediated devices that cannot be honoured: refused before any step, with a message of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.leaving import Leaving
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Choice, Parent
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_seen import Observation
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool_wish import Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import Chosen
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)
from pools import HOLDER, IDS, OTHERS, PARENTS, TYPE, defined, new, observed, recorded, runs, told, uuid, wished

U, V = OTHERS["u"], OTHERS["v"]
PAIR = (recorded("0A", "1B"), runs("0A", "1B"), defined("0A", "1B"))

A, B = r"pci_0000_06_00_0 \(0000:06:00.0\)", r"pci_0000_07_00_0 \(0000:07:00.0\)"
EIGHT = [f"0000:{number:02x}:00.0" for number in range(8)]
NO_PARENTS = Choice((), {})
CRYPTO = "vfio_ap-passthrough"
MATRIX = Choice((Parent("matrix", "ap_matrix", "matrix", CRYPTO, "vfio-ap", 65536),), {})
NO_POOL = (
    "type: '{}' cannot be used: each device on the matrix needs crypto queues of its own, which instances of a pool,"
    " all alike, cannot have: make each by hostdev.nodedev.mdev with attrs$"
)
REFUSALS: list[tuple[str, Wish, Observation, type[NodedevError], str]] = [
    (
        "no type",
        wished(count=1),
        observed(),
        BadInput,
        "type is required: pool x is not known here",
    ),
    (
        "no type, what there is",
        wished(count=1),
        observed(choice=Choice((), {PARENTS["A"]: {"t": "T4", "u": None}})),
        BadInput,
        rf"type is required: pool x is not known here; {A} has the types: t \(T4\), u",
    ),
    ("devices on the matrix", new(type=CRYPTO), observed(choice=MATRIX), BadInput, NO_POOL.format(CRYPTO)),
    ("devices on the matrix before it is there", new(type=CRYPTO), observed(), BadInput, NO_POOL.format(CRYPTO)),
    (
        "one device on the matrix by the vendor's name",
        new(type="VFIO AP Passthrough Device", count=1, attrs=[{"assign_adapter": 5}]),
        observed(choice=MATRIX),
        BadInput,
        NO_POOL.format("VFIO AP Passthrough Device"),
    ),
    ("no count", wished(type=TYPE), observed(), BadInput, "count is required: pool x is not known here; or list"),
    (
        "a parent that is not registered",
        new(),
        observed(choice=Choice((), {}, Chosen(missing={"0000:99:00.0": "there is no such device"}))),
        BadInput,
        f"parents: '0000:99:00.0' cannot be used: there is no such device; the registered parents are: {A}, {B}",
    ),
    (
        "no parent is chosen",
        new(parents={"driver": "nope"}),
        observed(
            choice=Choice((), {}, Chosen(misses={"driver": {"nvidia": [PARENTS["A"], PARENTS["B"]], "none": ["m"]}}))
        ),
        BadInput,
        "parents: {'driver': 'nope'} cannot be used: it leaves out every parent: "
        f"driver is nvidia on {A}, {B} and none on m$",
    ),
    (
        "parents are chosen that contradict each other",
        new(parents={"names": ["pci_0000_06_00_0"], "driver": "nvidia", "numa_node": 1}),
        observed(choice=Choice((), {}, Chosen(misses={"numa_node": {"0": [PARENTS["A"]]}}))),
        BadInput,
        f"it leaves out every parent: numa_node is 0 on {A}$",
    ),
    (
        "no parent at all",
        new(),
        observed(capacity={}, choice=Choice((), {}, instead=("the IOMMU is off",))),
        NodedevError,
        "^pool x: no device on this host offers mediated devices; the IOMMU is off$",
    ),
    (
        "no parent at all, and no type",
        new(type=None),
        observed(capacity={}, choice=Choice((), {}, instead=("the IOMMU is off",))),
        NodedevError,
        "^pool x: no device on this host offers mediated devices; the IOMMU is off$",
    ),
    (
        "no parent at all, and one is listed",
        new(parents={"names": ["pci_0000_01_00_0"]}),
        observed(
            capacity={},
            choice=Choice((), {}, Chosen(missing={"pci_0000_01_00_0": "there is no such device"}), instead=("x",)),
        ),
        BadInput,
        "^parents: 'pci_0000_01_00_0' .*: no device on this host offers mediated devices; there is no such device; x$",
    ),
    (
        "no such type on eight cards",
        new(type="grid-t4-1q"),
        observed(choice=Choice((), {each: {"t": "GRID T4-1Q", "u": None} for each in EIGHT})),
        BadInput,
        r"did you mean 'GRID T4-1Q'\?; (\S+ \(\S+\)(, )?){3} and 5 more have the types: t \(GRID T4-1Q\), u$",
    ),
    (
        "no such type",
        new(type="t9"),
        observed(choice=Choice((), {PARENTS["A"]: {"t": None}, PARENTS["B"]: {}})),
        BadInput,
        f"type: 't9' cannot be used: {A} has the types: t; {B} has the types: none",
    ),
    (
        "too many",
        new(count=9),
        observed(active=runs("uA", "vB"), capacity={"A": 4, "B": 2}),
        BadInput,
        f"count: 9 cannot be used: pool x needs 9 more instances of type {TYPE} and there is room for 4;"
        f" free are {A}: 3, {B}: 1",
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
        rf"uuids: \['{U}', '{V}'\] cannot be used: pool x needs 2 more .* room for 1; free are {A}: 1",
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
        observed(*PAIR, choice=Choice((Parent(PARENTS["A"], "pci_A", PARENTS["A"], "nvidia-2", None, 4),), {})),
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
        "adopted, defined under several parents",
        new(uuids=[U], adopt=True),
        observed(definitions=defined("uA", "uB")),
        NodedevError,
        f"mdev #u is defined under several parents, {A}, {B}: undefine it under all but one",
    ),
    (
        "adopted, its parent gone",
        new(uuids=[U], adopt=True),
        observed(definitions=defined("uC")),
        NodedevError,
        rf"pool x has mdev #u on pci_0000_08_00_0 \({PARENTS['C']}\), which is not among the parents that are chosen",
    ),
    (
        "adopted, inactive, its parent not chosen",
        new(uuids=[U], adopt=True, state="inactive", parents={"addresses": [PARENTS["A"]]}),
        observed(definitions=defined("uB"), capacity={"A": 4}, registered=tuple(PARENTS.values())),
        NodedevError,
        "pool x has mdev #u on B, which is not among the parents that are chosen",
    ),
    (
        "adopted, its parent full",
        new(uuids=[U], adopt=True),
        observed(None, runs("vA"), defined("uA"), {"A": 1, "B": 1}),
        NodedevError,
        "mdev #u is defined on A, which has no room for it now: make room there, or adopt it with state: inactive",
    ),
    (
        "adopted, inactive, its type cannot be compared",
        new(uuids=[U], adopt=True, type="GRID T4-1Q", state="inactive"),
        observed(None, (), defined("uC")),
        NodedevError,
        r"mdev #u with type nvidia-1 on .*\(0000:08:00.0\): whether that is GRID T4-1Q cannot be told, since the",
    ),
    (
        "inactive, another type than before, and the parents gone",
        wished(type="nvidia-2", state="inactive"),
        observed(PAIR[0], (), PAIR[2], {}),
        NodedevError,
        "mdev #0 with type nvidia-1 on A: whether that is nvidia-2 cannot be told",
    ),
    *[
        (
            f"still being removed, {wish.state} {wish.count}",
            wish,
            observed(PAIR[0], runs("0A"), PAIR[2], leaving=(Leaving(IDS[1], PARENTS["B"], (HOLDER,)),)),
            InUse,
            rf"mdev #1 is still being removed from {B} and held by process 4711 \(qemu.* of domain desk: stop",
        )
        for wish in (wished(), wished(count=1), wished(state="inactive"), wished(state="absent", force=True))
    ],
    *[
        (
            f"the record cannot be understood, {wish.state}",
            wish,
            observed(damaged_records=(DamagedDefinition("/etc/nodedev.d/pool/x.json", "no JSON"),)),
            DamagedDefinition,
            "/etc/nodedev.d/pool/x.json is damaged .no JSON",
        )
        for wish in (new(), new(state="inactive"))
    ],
    (
        "absent, the record is of a later release",
        wished(state="absent"),
        observed(damaged_records=(LaterVersion("/etc/nodedev.d/pool/x.json", "its version is 2"),)),
        LaterVersion,
        "/etc/nodedev.d/pool/x.json is damaged .its version is 2",
    ),
    (
        "another identity",
        wished(identity="b"),
        observed(told("0A", identity="a"), runs("0A"), defined("0A")),
        BadInput,
        "identity: 'b' cannot be used: pool x has names that follow from the identity a: leave it so, or remove the p",
    ),
    (
        "an identity for a pool of the machine-id",
        wished(identity="b", state="absent"),
        observed(*PAIR),
        BadInput,
        "identity: 'b' cannot be used: pool x has names that follow from the host's machine-id: leave it so, or",
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
        message = message.replace(f" on {letter}", f" on {re.escape(called(PARENTS[letter]))}")
    with pytest.raises(kind, match=message):
        plan(wish, seen)


NONSENSE: list[tuple[str, dict[str, Any], str]] = [
    ("a type that is a path", {"type": "../x"}, "type: '../x'"),
    ("no count", {"count": None}, "count: None"),
    ("a count that is none", {"count": "many"}, "count: 'many'"),
    ("a UUID that is none", {"uuids": ["x"]}, "uuid: 'x'"),
    ("UUIDs that are no list", {"uuids": 5}, "uuids: 5 cannot be used: uuids is a list of texts"),
    ("an unknown way to choose", {"parents": {"slot": 1}}, "parents: {'slot': 1}"),
    ("a choice that is none", {"parents": []}, r"parents: \[\] cannot be used: parents is a mapping"),
    ("an attribute that leads elsewhere", {"attrs": [{"../x": "1"}]}, r"attrs: '\.\./x'"),
    ("a type of another kind", {"type": ["t"]}, r"type: \['t'\] cannot be used: type is text"),
    ("no type", {"type": None}, "type is required: it is not there"),
    ("a count that is true", {"count": True}, "count: True"),
    ("a count that is a fraction", {"count": 1.0}, "count: 1.0"),
    ("a count of many digits", {"count": "9" * 5000}, "count: '9999"),
    ("a list of UUIDs that is text", {"uuids": "ab"}, "uuids: 'ab' cannot be used: uuids is a list of texts"),
    ("UUIDs of another kind", {"uuids": [5]}, r"uuids: \[5\] cannot be used: uuids is a list of texts"),
    ("a placement of another kind", {"placement": 7}, "placement: 7 cannot be used: placement is text"),
    ("a placement that is none", {"placement": "pile"}, "placement: 'pile' cannot be used: placement is one of spread"),
    ("names of parents that are text", {"parents": {"names": "mtty"}}, "parents.names: 'mtty' cannot be used"),
    ("a driver of another kind", {"parents": {"driver": []}}, r"parents.driver: \[\] cannot be used: driver is text"),
    ("a node that is true", {"parents": {"numa_node": True}}, "parents.numa_node: True cannot be used"),
    ("an attribute of another kind", {"attrs": [{"a": [1]}]}, r"attrs.a: \[1\] cannot be used: a is text"),
    ("attributes in one mapping", {"attrs": [5]}, "attrs: .5. cannot be used: attrs is a list of mappings"),
    ("a start of another kind", {"autostart": "no"}, "autostart: 'no' cannot be used: autostart is true or false"),
    ("an identity of another kind", {"identity": 5}, "identity: 5 cannot be used"),
    ("attributes that are none", {"attrs": 5}, "attrs: 5 cannot be used: attrs is a list of mappings"),
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


@pytest.mark.parametrize("parent", ["my card", "матрица", "-x", "a!b"])
def test_a_parent_is_recorded_by_whatever_name_the_kernel_has_for_it(parent: str) -> None:
    odd = Parent(parent, "x_y", parent, TYPE, "vfio-pci", 4)
    seen = observed(choice=Choice((odd,), {}), registered=(parent,), cards={parent: parent})
    planned = plan(new(), seen)
    assert planned.then.record is not None
    then = planned.then
    assert plan(wished(), then).steps == ()
    assert len(plan(wished(state="absent"), then).steps) == 5


@pytest.mark.parametrize("parent", ["", ".", "..", "a/b", "a\0", "a\udcff", "scripts.d"])
def test_what_could_not_be_read_again_is_not_recorded(parent: str) -> None:
    odd = Parent(parent, "x_y", parent, TYPE, "vfio-pci", 4)
    seen = observed(choice=Choice((odd,), {}), registered=(parent,), cards={parent: parent})
    with pytest.raises(NodedevError, match=r"cannot be recorded so that it can be read again|cannot be defined: "):
        plan(new(), seen)


@pytest.mark.parametrize("id", [IDS[0].upper(), f"{IDS[0]}\n"])
def test_an_instance_whose_uuid_is_not_as_the_kernel_has_it_is_damaged(id: str) -> None:
    with pytest.raises(DamagedDefinition):
        plan(wished(), observed(Record("x", "mdev", recorded("0A").wish, (Recorded(0, id, PARENTS["A"]),))))


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
        ({"count": "1" * 5000}, "count: '1111"),
        ({"count": 10**5000}, "count: a number of thousands of digits"),
        ({"identity": ""}, "identity: '' cannot be used: it is text of 1 to 255 characters without blanks"),
        ({"identity": "a b"}, "identity: 'a b'"),
        ({"identity": "x" * 256}, "identity: 'xxx"),
        ({"identity": "a\n"}, r"identity: 'a\\n'"),
        (
            {"uuids": [f"{number:08x}{U[8:]}" for number in range(4097)]},
            "uuids: 4097 .* a pool has up to 4096 instances",
        ),
        ({"uuids": ["x"]}, "uuids: 'x'"),
        ({"uuids": [U, U.upper()]}, "each UUID stands once"),
        (
            {"parents": {"slot": 1}},
            "parents: {'slot': 1} cannot be used: what can be chosen by is: names, addresses, dr",
        ),
        ({"parents": {"addresses": ["../x"]}}, "parents: '../x'"),
        ({"attrs": [{"../x": "1"}]}, r"attrs: '\.\./x'"),
        ({"wait_timeout": -1}, "wait_timeout: -1"),
        ({"wait_timeout": float("inf")}, "wait_timeout: inf"),
        ({"wait_timeout": float("nan")}, "wait_timeout: nan"),
        ({"wait_timeout": 1e300}, "wait_timeout: 1e"),
        ({"state": "inactive", "persistent": False}, "persistent: False"),
    ],
)
def test_what_is_no_wish(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wished(**options)


def test_holders_are_told_with_their_domain() -> None:
    with pytest.raises(InUse, match=f"process {HOLDER.pid} .{HOLDER.by}. of domain {HOLDER.domain}"):
        plan(wished(count=0), observed(*PAIR, held="0"))
