# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for one mediated device: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.mdevs import Mdev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.device import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.seen import Observation, Wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.scripts import Refused, Scripts
from hypothesis import given
from hypothesis import strategies as st

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
CARD, OTHER_CARD = "0000:06:00.0", "0000:07:00.0"
HERE, THERE = f"pci_0000_06_00_0 ({CARD})", f"pci_0000_07_00_0 ({OTHER_CARD})"
BOTH = re.escape(f"{HERE}, {THERE}")
TYPES: dict[str, dict[str, Any]] = {
    "nvidia-1": {"name": "GRID T4-1Q", "device_api": "vfio-pci", "available_instances": 8, "instances": []},
    "nvidia-4": {"name": "GRID T4-4Q", "device_api": "vfio-pci", "available_instances": 2, "instances": []},
    "nvidia-9": {"name": "GRID T4-9", "device_api": "vfio-pci", "available_instances": 1, "instances": []},
    "nvidia-10": {"name": "GRID T4-9", "device_api": "vfio-pci", "available_instances": 1, "instances": []},
    "nvidia-16": {"name": "GRID T4-16Q", "device_api": "vfio-pci", "available_instances": 0, "instances": []},
}
HOLDER = Holder("/dev/vfio/12", "qemu-system-x86", pid=4711, domain="desk")

CREATE = f"create mdev {UUID} of type nvidia-4 on {HERE}"
REMOVE = f"remove mdev {UUID} of type nvidia-4 from {HERE}"
DEFINE = f"define mdev {UUID} with type nvidia-4 on {HERE}, start auto"
CHANGE = f"change the definition of mdev {UUID} with type nvidia-4 on {HERE}, start"
UNDEFINE = f"undefine mdev {UUID} on {HERE}"
ASKING = ", asking the callout scripts"
SCRIPTS = Scripts(("/etc/mdevctl.d/scripts.d/callouts/x",))
DAMAGE = DamagedDefinition(f"/etc/mdevctl.d/{CARD}/{UUID}", "no JSON")
SECOND = DamagedDefinition(f"/etc/mdevctl.d/{CARD}/{UUID.upper()}", "a second file")
OTHER_DAMAGE = DamagedDefinition(f"/etc/mdevctl.d/{OTHER_CARD}/{UUID}", "no JSON")
FOLDER = DamagedDefinition("/etc/mdevctl.d/0000:99:00.0", "it is a link")


def running(kind: str = "nvidia-4", parent: str = CARD) -> Mdev:
    return Mdev(UUID, parent, kind, "vfio-pci", 12, ("/dev/vfio/12",))


def defined(kind: str = "nvidia-4", parent: str = CARD, autostart: bool = True, **attrs: str) -> Definition:
    return Definition(UUID, parent, kind, autostart, tuple(attrs.items()))


def observed(
    active: Mdev | None = None, *definitions: Definition, address: str | None = CARD, **more: Any
) -> Observation:
    known: dict[str, Any] = {
        "address": address,
        "parent": "pci_0000_06_00_0" if address == CARD else None,
        "types": TYPES if address == CARD else {},
        "registered": (CARD, OTHER_CARD),
        "cards": {CARD: CARD, OTHER_CARD: OTHER_CARD},
        "active": active,
        "leaving": False,
        "definitions": definitions,
        "damaged": (),
        "holders": (),
        "callouts": False,
    }
    return Observation(**{**known, **more})


def wished(**options: Any) -> Wish:
    return Wish.checked(**{"uuid": UUID, "type": "nvidia-4", "parent": CARD, **options})


CHANGE_AUTO = f"{CHANGE} auto"
MANAGED = replace(defined(autostart=False), managed=True)
GONE, FULL = replace(MANAGED, parent=OTHER_CARD), replace(MANAGED, type="nvidia-16")
DEFINE_MANAGED = DEFINE.replace("auto", "with its guest")
UNMARK = f"remove the mark of mdev {UUID} as managed"
MANUAL = defined(autostart=False)
GONE_TYPE = observed(None, defined("nvidia-999"))

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", wished(), observed(), [CREATE, DEFINE]),
    ("by the vendor's name", wished(type="GRID T4-4Q"), observed(), [CREATE, DEFINE]),
    ("all is there", wished(), observed(running(), defined()), []),
    ("all is there, no type or parent given", wished(type=None, parent=None), observed(running(), defined()), []),
    ("defined only", wished(), observed(None, defined()), [CREATE]),
    ("defined only, no type or parent given", wished(type=None, parent=None), observed(None, defined()), [CREATE]),
    ("running only", wished(), observed(running()), [DEFINE]),
    ("transient", wished(persistent=False), observed(), [CREATE]),
    ("transient, a definition stays", wished(persistent=False), observed(None, defined()), [CREATE]),
    ("transient and there", wished(persistent=False), observed(running()), []),
    ("manual start", wished(autostart=False), observed(running(), defined()), [f"{CHANGE} manual"]),
    ("managed, and nothing is there", wished(managed=True), observed(), [DEFINE.replace("auto", "with its guest")]),
    ("managed already", wished(managed=True), observed(None, MANAGED, marked=True), []),
    ("managed already, and that is not said", wished(), observed(None, MANAGED, marked=True), []),
    ("managed, and a guest has it", wished(), observed(running(), MANAGED, marked=True, holders=(HOLDER,)), []),
    ("managed, and somebody started it", wished(managed=True), observed(running(), MANAGED, marked=True), []),
    ("managed, only defined", wished(state="inactive"), observed(running(), MANAGED, marked=True), [REMOVE]),
    ("managed and its parent gone", wished(parent=None), observed(None, GONE, address=OTHER_CARD, marked=True), []),
    ("managed, and the type is full", wished(type=None), observed(None, FULL, marked=True), []),
    ("managed no longer", wished(managed=False), observed(None, MANAGED, marked=True), [CREATE, CHANGE_AUTO]),
    (
        "managed no longer, and not by itself",
        wished(managed=False, autostart=False),
        observed(None, MANAGED, marked=True),
        [CREATE, f"{CHANGE} manual"],
    ),
    (
        "managed from now on, idle",
        wished(managed=True),
        observed(running(), defined()),
        [f"{CHANGE} with its guest", REMOVE],
    ),
    (
        "managed from now on, in use",
        wished(managed=True),
        observed(running(), defined(), holders=(HOLDER,)),
        [f"{CHANGE} with its guest"],
    ),
    ("managed from now on, undefined", wished(managed=True), observed(running()), [DEFINE_MANAGED, REMOVE]),
    (
        "managed, and mdevctl has it start",
        wished(),
        observed(None, replace(MANAGED, autostart=True), marked=True),
        [f"{CHANGE} with its guest"],
    ),
    ("managed, for now by hand", wished(persistent=False), observed(None, MANAGED, marked=True), [CREATE]),
    ("managed, absent", wished(state="absent"), observed(None, MANAGED, marked=True), [UNDEFINE]),
    ("a mark alone, absent", wished(state="absent"), observed(marked=True), [UNMARK]),
    (
        "a mark alone, absent, by the UUID",
        wished(state="absent", parent=None),
        observed(address=None, marked=True),
        [UNMARK],
    ),
    ("a mark alone, present", wished(), observed(marked=True), [CREATE, DEFINE]),
    (
        "managed, its definition damaged, absent",
        wished(state="absent"),
        observed(damaged=(DAMAGE,), marked=True),
        [f"remove the damaged definition of mdev {UUID}, {DAMAGE.path}", UNMARK],
    ),
    (
        "managed under two parents, absent on one",
        wished(state="absent"),
        observed(None, MANAGED, GONE, marked=True),
        [UNDEFINE],
    ),
    (
        "attributes in order, repeated",
        wished(attrs=[{"a/b": "2"}, {"c": 1}, {"a/b": "3"}]),
        observed(),
        [CREATE, *(f"set {pair} on mdev {UUID}" for pair in ("a/b=2", "c=1", "a/b=3")), f"{DEFINE}, a/b=2, c=1, a/b=3"],
    ),
    ("defined attributes are kept", wished(), observed(None, defined(a="1")), [CREATE, f"set a=1 on mdev {UUID}"]),
    (
        "attributes of a running device",
        wished(attrs=[{"a": "1"}]),
        observed(running(), defined()),
        [f"{CHANGE} auto, a=1"],
    ),
    (
        "attributes of a running device without a definition",
        wished(attrs=[{"a": "1"}]),
        observed(running()),
        [f"set a=1 on mdev {UUID}", f"{DEFINE}, a=1"],
    ),
    (
        "attributes of a running device without a definition that is in use",
        wished(attrs=[{"a": "1"}]),
        observed(running(), holders=(HOLDER,)),
        [f"{DEFINE}, a=1"],
    ),
    ("attributes taken away", wished(attrs=[]), observed(running(), defined(a="1")), [f"{CHANGE} auto"]),
    (
        "attributes, made anew",
        wished(attrs=[{"a": "1"}], replace=True),
        observed(running(), defined()),
        [REMOVE, CREATE, f"set a=1 on mdev {UUID}", f"{CHANGE} auto, a=1"],
    ),
    (
        "another type, made anew",
        wished(replace=True),
        observed(running("nvidia-1"), defined("nvidia-1")),
        [f"remove mdev {UUID} of type nvidia-1 from {HERE}", CREATE, f"{CHANGE} auto"],
    ),
    (
        "another parent, made anew",
        wished(replace=True),
        observed(running(parent=OTHER_CARD), defined(parent=OTHER_CARD)),
        [
            f"remove mdev {UUID} of type nvidia-4 from {THERE}",
            CREATE,
            f"undefine mdev {UUID} on {THERE}",
            DEFINE,
        ],
    ),
    (
        "a full type, its own instance replaced",
        wished(type="nvidia-16", replace=True),
        observed(running()),
        [REMOVE, CREATE.replace("-4 ", "-16 "), DEFINE.replace("-4 ", "-16 ")],
    ),
    (
        "defined here, and under another parent too",
        wished(),
        observed(None, defined(), defined(parent=OTHER_CARD)),
        [CREATE],
    ),
    (
        "scripts are asked",
        wished(attrs=[{"a": "1"}]),
        observed(callouts=SCRIPTS),
        [f"{CREATE}, a=1{ASKING}", f"{DEFINE}, a=1{ASKING}"],
    ),
    (
        "scripts are asked for all that is taken away",
        wished(state="absent"),
        observed(running(), defined(), callouts=SCRIPTS),
        [f"{UNDEFINE}{ASKING}", f"{REMOVE}{ASKING}"],
    ),
    (
        "scripts tell the attributes of a running device without a definition",
        wished(),
        observed(running(), callouts=SCRIPTS, script_attrs=(("a", "1"), ("b", "2"))),
        [f"{DEFINE}, a=1, b=2{ASKING}"],
    ),
    (
        "scripts tell them, and it is to run no longer",
        wished(state="inactive"),
        observed(running(), callouts=SCRIPTS, script_attrs=(("a", "1"),)),
        [f"{DEFINE}, a=1{ASKING}", f"{REMOVE}{ASKING}"],
    ),
    (
        "scripts tell what they should be",
        wished(attrs=[{"a": "1"}], replace=True),
        observed(running(), callouts=SCRIPTS, script_attrs=(("a", "1"),)),
        [f"{DEFINE}, a=1{ASKING}"],
    ),
    (
        "scripts tell others than are wished",
        wished(attrs=[{"a": "2"}]),
        observed(running(), callouts=SCRIPTS, script_attrs=(("a", "1"),)),
        [f"set a=2 on mdev {UUID}", f"{DEFINE}, a=2{ASKING}"],
    ),
    (
        "scripts tell those of another type",
        wished(type="nvidia-9", replace=True),
        observed(running(), callouts=SCRIPTS, script_attrs=(("a", "1"),)),
        [
            f"{REMOVE}{ASKING}",
            f"create mdev {UUID} of type nvidia-9 on {HERE}{ASKING}",
            f"define mdev {UUID} with type nvidia-9 on {HERE}, start auto{ASKING}",
        ],
    ),
    (
        "a script changes what runs",
        wished(attrs=[{"a": "1"}, {"b": "2"}], replace=True),
        observed(running(), defined(), callouts=SCRIPTS, changeable=True),
        [
            f"have a callout script change the attributes of mdev {UUID}, a=1, b=2",
            f"{CHANGE} auto, a=1, b=2{ASKING}",
        ],
    ),
    (
        "a script could change what runs, and it is to run no longer",
        wished(attrs=[{"a": "1"}], replace=True, state="inactive"),
        observed(running(), defined(), callouts=SCRIPTS, changeable=True),
        [f"{CHANGE} auto, a=1{ASKING}", f"{REMOVE}{ASKING}"],
    ),
    (
        "a script could change what runs, but not its type",
        wished(attrs=[{"a": "1"}], replace=True),
        observed(running("nvidia-1"), defined("nvidia-1"), callouts=SCRIPTS, changeable=True),
        [
            f"remove mdev {UUID} of type nvidia-1 from {HERE}{ASKING}",
            f"{CREATE}, a=1{ASKING}",
            f"{CHANGE} auto, a=1{ASKING}",
        ],
    ),
    (
        "absent, a damaged definition just there",
        wished(state="absent"),
        observed(running(), damaged=(DAMAGE,)),
        [f"remove the damaged definition of mdev {UUID}, {DAMAGE.path}", REMOVE],
    ),
    (
        "absent, a damaged definition that is the only one",
        wished(state="absent", parent=None, type=None),
        observed(damaged=(DAMAGE,)),
        [f"remove the damaged definition of mdev {UUID}, {DAMAGE.path}"],
    ),
    (
        "absent, a damaged definition under another parent",
        wished(state="absent"),
        observed(running(), defined(), damaged=(OTHER_DAMAGE,)),
        [UNDEFINE, REMOVE],
    ),
    (
        "absent, a second file of the same device",
        wished(state="absent"),
        observed(None, defined(), damaged=(SECOND,)),
        [UNDEFINE, f"remove the damaged definition of mdev {UUID}, {SECOND.path}"],
    ),
    ("another parent's folder cannot be read", wished(), observed(damaged=(FOLDER,)), [CREATE, DEFINE]),
    (
        "absent, another parent's folder cannot be read",
        wished(state="absent", parent=None),
        observed(running(), damaged=(FOLDER,)),
        [REMOVE],
    ),
    ("inactive: defined", wished(state="inactive"), observed(), [DEFINE]),
    ("inactive: stopped", wished(state="inactive"), observed(running(), defined()), [REMOVE]),
    ("inactive: defined first, then stopped", wished(state="inactive"), observed(running()), [DEFINE, REMOVE]),
    ("inactive already", wished(state="inactive", type=None, parent=None), observed(None, defined()), []),
    (
        "inactive, its parent gone",
        wished(state="inactive", autostart=False, parent=None),
        observed(None, defined(parent=OTHER_CARD), address=OTHER_CARD),
        [f"change the definition of mdev {UUID} with type nvidia-4 on {THERE}, start manual"],
    ),
    ("a manual start stays", wished(), observed(running(), defined(autostart=False)), []),
    ("a manual start stays while it is stopped", wished(state="inactive"), observed(running(), MANUAL), [REMOVE]),
    ("a manual start stays while it is started", wished(), observed(None, MANUAL), [CREATE]),
    (
        "a manual start becomes auto when that is said",
        wished(autostart=True),
        observed(running(), MANUAL),
        [CHANGE_AUTO],
    ),
    (
        "another type, made anew: a manual start and attributes stay",
        wished(replace=True),
        observed(running("nvidia-1"), defined("nvidia-1", autostart=False, a="1")),
        [
            f"remove mdev {UUID} of type nvidia-1 from {HERE}",
            CREATE,
            f"set a=1 on mdev {UUID}",
            f"{CHANGE} manual, a=1",
        ],
    ),
    (
        "another parent, made anew: a manual start and attributes come with it",
        wished(replace=True),
        observed(running(parent=OTHER_CARD), defined(parent=OTHER_CARD, autostart=False, a="1")),
        [
            f"remove mdev {UUID} of type nvidia-4 from {THERE}",
            CREATE,
            f"set a=1 on mdev {UUID}",
            f"undefine mdev {UUID} on {THERE}",
            DEFINE.replace("auto", "manual, a=1"),
        ],
    ),
    (
        "another parent, made anew with the type that it has",
        wished(type=None, replace=True),
        observed(None, defined(parent=OTHER_CARD, autostart=False)),
        [CREATE, f"undefine mdev {UUID} on {THERE}", DEFINE.replace("auto", "manual")],
    ),
    (
        "inactive, its parent gone, by the vendor's name of its type",
        wished(state="inactive", type="GRID T4-4Q", parent=OTHER_CARD),
        observed(None, defined(parent=OTHER_CARD), address=OTHER_CARD),
        [],
    ),
    (
        "inactive, its type vanished",
        wished(state="inactive", type=None),
        observed(None, defined("nvidia-999")),
        [],
    ),
    ("inactive, its type vanished, by id", wished(state="inactive", type="nvidia-999"), GONE_TYPE, []),
    ("inactive, its type vanished, by name", wished(state="inactive", type="GRID T4-99Q"), GONE_TYPE, []),
    (
        "inactive and manual, its type vanished",
        wished(state="inactive", type=None, autostart=False),
        observed(None, defined("nvidia-999")),
        [f"change the definition of mdev {UUID} with type nvidia-999 on {HERE}, start manual"],
    ),
    ("inactive, full", wished(state="inactive", type="nvidia-16"), observed(), [DEFINE.replace("-4 ", "-16 ")]),
    ("absent, its type vanished", wished(state="absent", type=None), GONE_TYPE, [UNDEFINE]),
    (
        "absent: by parent, defined under two and running on one",
        wished(state="absent", type=None),
        observed(running(parent=OTHER_CARD), defined(), defined(parent=OTHER_CARD)),
        [UNDEFINE],
    ),
    ("absent: both", wished(state="absent"), observed(running(), defined()), [UNDEFINE, REMOVE]),
    ("absent: by uuid alone", wished(state="absent", type=None, parent=None), observed(running()), [REMOVE]),
    ("absent already", wished(state="absent"), observed(), []),
    ("absent: unknown everywhere", wished(state="absent", parent=None), observed(address=None), []),
    (
        "absent: of this parent only",
        wished(state="absent"),
        observed(running(parent=OTHER_CARD), defined()),
        [UNDEFINE],
    ),
    ("absent by force", wished(state="absent", force=True), observed(running(), holders=(HOLDER,)), [REMOVE]),
    ("in use and as wished", wished(), observed(running(), defined(), holders=(HOLDER,)), []),
]


@pytest.mark.parametrize(("wish", "seen", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: Wish, seen: Observation, steps: list[str]) -> None:
    assert describe(plan(wish, seen).steps) == steps


@pytest.mark.parametrize(("wish", "seen"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_a_second_plan_has_nothing_to_do(wish: Wish, seen: Observation) -> None:
    assert describe(plan(wish, plan(wish, seen).then).steps) == []


REFUSALS: list[tuple[str, Wish, Observation, type[NodedevError], str]] = [
    (
        "unknown parent",
        wished(parent="nope"),
        observed(address=None),
        BadInput,
        r"parent: 'nope'.*pci_0000_06_00_0 \(0000:06:00.0\), pci_0000_07_00_0 \(0000:07",
    ),
    (
        "no parent for a new device",
        wished(parent=None),
        observed(address=None),
        BadInput,
        r"parent is required: .*: pci_0000_06_00_0 \(0000:06:00.0\)",
    ),
    ("parent not registered", wished(parent=OTHER_CARD), observed(address=OTHER_CARD), BadInput, "not registered"),
    (
        "no type for a new device",
        wished(type=None),
        observed(),
        BadInput,
        r"type is required: .*nvidia-1 \(GRID T4-1Q\)",
    ),
    ("unknown type", wished(type="nvidia-99"), observed(), BadInput, r"type: 'nvidia-99'.*nvidia-1 \(GRID T4-1Q\)"),
    (
        "ambiguous name",
        wished(type="GRID T4-9"),
        observed(),
        BadInput,
        "several types of that name.*nvidia-9, nvidia-10",
    ),
    ("no instance left", wished(type="nvidia-16"), observed(), BadInput, "type: 'nvidia-16'.*nvidia-1: 8, nvidia-4: 2"),
    (
        "runs with another type",
        wished(),
        observed(running("nvidia-1")),
        NodedevError,
        "runs with type nvidia-1 on.*not with type nvidia-4.*replace",
    ),
    (
        "runs elsewhere",
        wished(),
        observed(running(parent=OTHER_CARD)),
        NodedevError,
        r"on pci_0000_07_00_0 \(0000:07:00.0\), not with.*on pci_0000_06_00_0 \(0000:06:00.0\)",
    ),
    (
        "defined with another type",
        wished(),
        observed(None, defined("nvidia-1")),
        NodedevError,
        "is defined with type nvidia-1",
    ),
    (
        "defined elsewhere",
        wished(),
        observed(None, defined(parent=OTHER_CARD)),
        NodedevError,
        r"is defined.*on pci_0000_07_00_0 \(0000:07:00.0\)",
    ),
    (
        "defined twice",
        wished(parent=None),
        observed(None, defined(), defined(parent=OTHER_CARD), address=None),
        BadInput,
        r"under several parents.*pci_0000_06_00_0 \(0000:06:00.0\), pci_0000_07_00_0 \(0000:07:00.0\)",
    ),
    (
        "absent in use",
        wished(state="absent"),
        observed(running(), holders=(HOLDER,)),
        InUse,
        r"4711 \(qemu-system-x86\) of domain desk",
    ),
    ("inactive in use", wished(state="inactive"), observed(running(), holders=(HOLDER,)), InUse, "4711"),
    ("replace in use", wished(replace=True), observed(running("nvidia-1"), holders=(HOLDER,)), InUse, "4711"),
    ("still leaving", wished(), observed(leaving=True), InUse, f"{UUID} is still being removed from {re.escape(HERE)}"),
    *[
        (
            f"still leaving, {state}",
            wished(state=state, type=None, force=True),
            observed(None, *known, leaving=True, holders=(HOLDER,)),
            InUse,
            rf"mdev {UUID} is still being removed from {re.escape(HERE)} and held by process 4711 .*desk: stop",
        )
        for state in ("inactive", "absent")
        for known in ((), (defined(),))
    ],
    *[
        (
            f"absent, defined twice, {how}",
            wished(state="absent", parent=None),
            observed(active, defined(), defined(parent=OTHER_CARD), address=active.parent if active else None),
            BadInput,
            f"under several parents, name one as 'parent': {BOTH}",
        )
        for how, active in (
            ("none runs", None),
            ("one runs", running()),
            ("the other runs", running(parent=OTHER_CARD)),
        )
    ],
    (
        "absent, defined here and running there",
        wished(state="absent", parent=None),
        observed(running(parent=OTHER_CARD), defined(), address=OTHER_CARD),
        BadInput,
        f"under several parents, name one as 'parent': {BOTH}, and runs on {re.escape(THERE)}",
    ),
    *[
        (
            f"a defined type that vanished, {type}",
            wished(type=type),
            GONE_TYPE,
            BadInput,
            rf"type: 'nvidia-999' cannot be used: {re.escape(HERE)} has the types: nvidia-1 \(GRID T4-1Q\), nvidia-4",
        )
        for type in (None, "nvidia-999", "GRID T4-99Q")
    ],
    (
        "a vanished type, another id is wished",
        wished(type="nvidia-998", state="inactive"),
        GONE_TYPE,
        BadInput,
        r"type: 'nvidia-998' cannot be used: pci_0000_06_00_0 \(0000:06:00.0\) has the types: nvidia-1",
    ),
    (
        "its parent gone, another id is wished",
        wished(type="nvidia-5", state="inactive", parent=OTHER_CARD),
        observed(None, defined(parent=OTHER_CARD), address=OTHER_CARD),
        NodedevError,
        r"is defined with type nvidia-4 on pci_0000_07_00_0 \(0000:07:00.0\), not with type nvidia-5",
    ),
    ("damaged, here", wished(), observed(damaged=(DAMAGE,)), DamagedDefinition, "is damaged .no JSON.*left alone"),
    ("damaged, inactive", wished(state="inactive"), observed(damaged=(DAMAGE,)), DamagedDefinition, "is damaged"),
    ("damaged, under another parent", wished(), observed(damaged=(OTHER_DAMAGE,)), DamagedDefinition, "is damaged"),
    (
        "damaged, absent with two of them",
        wished(state="absent", parent=None),
        observed(address=None, damaged=(DAMAGE, OTHER_DAMAGE)),
        DamagedDefinition,
        "is damaged",
    ),
    (
        "damaged, absent where another parent's runs",
        wished(state="absent", parent=None),
        observed(running(), damaged=(OTHER_DAMAGE,)),
        DamagedDefinition,
        f"{OTHER_CARD}/{UUID} is damaged",
    ),
    (
        "a folder that cannot be read, and no parent known",
        wished(parent=None),
        observed(address=None, damaged=(FOLDER,)),
        DamagedDefinition,
        "0000:99:00.0 is damaged",
    ),
    (
        "the parent's folder cannot be read, absent",
        wished(state="absent"),
        observed(damaged=(DamagedDefinition(f"/etc/mdevctl.d/{CARD}", "it is a link"),)),
        DamagedDefinition,
        f"{CARD} is damaged",
    ),
    (
        "a script does not tell the attributes",
        wished(),
        observed(running(), callouts=SCRIPTS, script_attrs=Refused("the script says nothing")),
        Refused,
        "the script says nothing",
    ),
    (
        "what could not be read again",
        wished(attrs=[{"a": "x" * 4000}] * 300),
        observed(),
        NodedevError,
        f"mdev {UUID} cannot be defined: it would have more than 1048576 bytes",
    ),
    (
        "a script could change what runs, and a guest has it",
        wished(attrs=[{"a": "1"}], replace=True),
        observed(running(), defined(), callouts=SCRIPTS, changeable=True, holders=(HOLDER,)),
        InUse,
        "is in use by",
    ),
    (
        "damaged",
        wished(),
        observed(damaged=(DamagedDefinition("/etc/mdevctl.d/p/u", "no JSON"),)),
        DamagedDefinition,
        "/etc/mdevctl.d/p/u is damaged .no JSON.*left alone",
    ),
]


@pytest.mark.parametrize(
    ("wish", "seen", "kind", "message"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(wish: Wish, seen: Observation, kind: type[NodedevError], message: str) -> None:
    with pytest.raises(kind, match=message):
        plan(wish, seen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uuid": "x"}, "uuid: 'x'"),
        ({"parent": "../x"}, "parent: '../x'"),
        ({"type": "a/../b"}, r"type: 'a/\.\./b'"),
        ({"type": ".."}, r"type: '\.\.'"),
        ({"attrs": [{"../x": "1"}]}, r"attrs: '\.\./x'"),
        ({"attrs": [{"/x": "1"}]}, "attrs: '/x'"),
        ({"attrs": [{"a": "1", "b": "2"}]}, "one name to one value"),
        ({"wait_timeout": -1}, "wait_timeout: -1"),
        *[
            ({"wait_timeout": value}, f"wait_timeout: {value!r} cannot be used: a number of seconds, 0 or more and at")
            for value in (float("-inf"), 86401, True, "5")
        ],
        ({"wait_timeout": float("inf")}, "wait_timeout: inf"),
        ({"wait_timeout": float("nan")}, "wait_timeout: nan"),
        ({"wait_timeout": 1e300}, r"wait_timeout: 1e\+300"),
        ({"wait_timeout": 10**5000}, "wait_timeout: a number of thousands of digits"),
        ({"state": "inactive", "persistent": False}, "persistent: False"),
    ],
)
def test_what_is_no_wish(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wished(**options)


@pytest.mark.parametrize(("type", "warned"), [("nvidia-999", False), ("GRID T4-99Q", True), (None, False)])
def test_a_type_that_cannot_be_compared_is_told(type: str | None, warned: bool) -> None:
    told = (
        f"mdev {UUID} stays defined with type nvidia-999: whether that is GRID T4-99Q cannot be told, since {HERE} does"
        " not offer it now"
    )
    planned = plan(wished(type=type, state="inactive"), GONE_TYPE)
    assert planned.warnings == ((told,) if warned else ())


def test_new_attributes_of_a_running_device_are_told_to_take_effect_later() -> None:
    planned = plan(wished(attrs=[{"a": "1"}]), observed(running(), defined()))
    assert planned.warnings == (
        f"mdev {UUID} runs: the new attrs take effect when it is started next, or with replace: true in the run that"
        " changes them",
    )


kinds = st.sampled_from(["nvidia-1", "nvidia-4", "nvidia-16", "nvidia-999"])
parents = st.sampled_from([CARD, OTHER_CARD])


@given(
    active=st.none() | st.builds(running, kinds, parents),
    definitions=st.lists(st.builds(defined, kinds, parents, st.booleans()), max_size=2, unique_by=lambda d: d.parent),
    options=st.fixed_dictionaries(
        {
            "state": st.sampled_from(["present", "inactive", "absent"]),
            "type": st.none() | kinds,
            "autostart": st.none() | st.booleans(),
            "managed": st.none() | st.booleans(),
            "persistent": st.booleans(),
            "replace": st.booleans(),
        }
    ),
    marked=st.booleans(),
    held=st.booleans(),
)
def test_every_plan_leads_to_a_state_that_needs_no_other(
    active: Mdev | None, definitions: list[Definition], options: dict[str, Any], marked: bool, held: bool
) -> None:
    known = [replace(each, managed=marked) for each in definitions]
    try:
        wish = wished(**options)
        first = plan(wish, observed(active, *known, marked=marked, holders=(HOLDER,) if held and active else ()))
    except NodedevError:
        return
    assert describe(plan(wish, first.then).steps) == []
    assert not any(each.managed and each.autostart for each in first.then.definitions if each not in known)
    if first.then.definitions:
        assert first.then.marked == any(each.managed for each in first.then.definitions)
    before = {known.parent: known.autostart for known in definitions}
    if options["autostart"] is None and options["managed"] is None and not marked:
        assert all(before.get(known.parent, known.autostart) == known.autostart for known in first.then.definitions)
