# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a vGPU that is a virtual function: what is wished, what is there, the steps between; no host is touched.

And what is read of definitions, of the driver's list of types, and of what nvidia-smi prints.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import nvidia_smi, vgpu_types, vgpus
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.pci import Function
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_cards import Mode
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpu_types import Type
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vgpus import Vgpu
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.definition import Definition, decode
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu.device import (
    Observation,
    Wish,
    comes_with_guest,
    plan,
    starts,
    state,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from hypothesis import given
from hypothesis import strategies as st

CARD, FN = "0000:06:00.0", "0000:06:00.4"
CALLED, CARD_CALLED = f"pci_0000_06_00_4 ({FN})", f"pci_0000_06_00_0 ({CARD})"
PATH, RECORD = (f"/{root}/nodedev.d/vgpu/{FN}.json" for root in ("etc", "run"))
FOUR, EIGHT = 711, 712
TYPES = {FOUR: "NVIDIA A16-4Q", EIGHT: "NVIDIA A16-8Q"}
FUNCTION = Function(FN, f"/sys/devices/{FN}", "0x030200", "0x10de", "nvidia", physical=CARD)
SRIOV = Mode("SR-IOV", False, False)
GUEST = Holder("/dev/vfio/devices/vfio0", "qemu-system-x86", pid=7, domain="desk01")
IN_USE = f"the vGPU of {CALLED} is in use by process 7 (qemu-system-x86) of domain desk01"
DAMAGED = DamagedDefinition(PATH, "no JSON")
PARAMS, OTHER_PARAMS = "frame_rate_limiter=0", "disable_vnc=1"

KEPT = Definition(FN, FOUR, TYPES[FOUR])
KEPT_EIGHT = Definition(FN, EIGHT, TYPES[EIGHT])
FOR_NOW = replace(KEPT, root=files.RUNTIME)

CREATE = f"create a vGPU of type NVIDIA A16-4Q (711) on {CALLED}"
CLEAR = f"clear the vGPU of type NVIDIA A16-4Q (711) on {CALLED}"
CLEAR_EIGHT = f"clear the vGPU of type NVIDIA A16-8Q (712) on {CALLED}"
DEFINE = f"define the vGPU of {CALLED} with type NVIDIA A16-4Q (711)"
REDEFINE = f"change the definition of the vGPU of {CALLED} with type NVIDIA A16-4Q (711)"
MARK = f"record the vGPU of {CALLED} with type NVIDIA A16-4Q (711)"
UNDEFINE = f"undefine the vGPU of {CALLED}"
UNMARK = f"remove the record of the vGPU of {CALLED}"
REPAIR = f"remove the damaged definition of the vGPU of {CALLED}, {PATH}"
SET = f"set params {PARAMS} of the vGPU of {CALLED}"
STAYS = "which is not the one that is recorded here, and stays: name its type to have it cleared, or set force: true"


def wished(**options: Any) -> Wish:
    return Wish.checked(device=FN, **options)


def seen(type: int | None = 0, defined: Definition | None = None, **parts: Any) -> Observation:
    """What is observed, as observe() puts it together: of a function with this type on a card that has room for all."""
    offers = parts.pop("offers", TYPES if type == 0 else {})
    there = Vgpu(FUNCTION, 0, type, "its folder is not there" if type is None else None, offers)
    mode = parts.pop("mode", SRIOV)
    modes = {} if mode is None else {CARD: mode}
    found: dict[str, Any] = {"vgpu": there, "types": TYPES, "definition": defined, "card": (there,), "modes": modes}
    if type:
        found["params"] = ""
    return Observation(CARD, FN, **{**found, **parts})


# A name, the wish, what is observed, the steps.
CASES: list[tuple[str, dict[str, Any], Observation, list[str]]] = [
    ("none is there", {"type": "A16-4Q"}, seen(), [DEFINE, CREATE]),
    ("one that is defined", {}, seen(defined=KEPT), [CREATE]),
    ("it is there", {}, seen(FOUR, KEPT), []),
    ("it is there, by its name", {"type": "NVIDIA A16-4Q"}, seen(FOUR, KEPT), []),
    ("it is there, made by others", {"type": "711"}, seen(FOUR), [DEFINE]),
    ("it is there, and held", {}, seen(FOUR, KEPT, holders=(GUEST,)), []),
    ("another that is recorded", {"type": "711"}, seen(EIGHT, KEPT_EIGHT), [CLEAR_EIGHT, REDEFINE, CREATE]),
    ("another by force", {"type": "711", "force": True}, seen(EIGHT), [CLEAR_EIGHT, DEFINE, CREATE]),
    ("another by force, over its definition", {"force": True}, seen(EIGHT, KEPT), [CLEAR_EIGHT, CREATE]),
    ("parameters", {"type": "711", "params": PARAMS}, seen(), [f"{DEFINE}, params {PARAMS}", CREATE, SET]),
    ("parameters that are defined", {}, seen(defined=replace(KEPT, params=PARAMS)), [CREATE, SET]),
    ("parameters later", {"params": PARAMS}, seen(FOUR, KEPT), [SET, f"{REDEFINE}, params {PARAMS}"]),
    ("other parameters run", {}, seen(FOUR, replace(KEPT, params=PARAMS), params=OTHER_PARAMS), [SET]),
    ("parameters of which nothing is said", {}, seen(FOUR, KEPT, params=OTHER_PARAMS), []),
    (
        "no parameters any more",
        {"params": ""},
        seen(FOUR, replace(KEPT, params=PARAMS), params=PARAMS),
        # What is written in the definition is the empty list.
        [f"clear the params of the vGPU of {CALLED}", f"{REDEFINE}, params "],
    ),
    (
        "parameters of one that is held wait",
        {"params": PARAMS},
        seen(FOUR, KEPT, holders=(GUEST,)),
        [f"{REDEFINE}, params {PARAMS}"],
    ),
    ("a place", {"type": "711", "placement_id": 4}, seen(), [f"{DEFINE}, placement_id 4", f"{CREATE} at placement 4"]),
    ("the place that it has", {"placement_id": 4}, seen(FOUR, KEPT, placement=4), [f"{REDEFINE}, placement_id 4"]),
    (
        "another type, whose place is its own",
        {"type": "711"},
        seen(EIGHT, replace(KEPT_EIGHT, placement=8)),
        [CLEAR_EIGHT, REDEFINE, CREATE],
    ),
    ("for now", {"type": "711", "persistent": False}, seen(), [MARK, CREATE]),
    ("for now, again", {"persistent": False}, seen(FOUR, FOR_NOW), []),
    ("for now, and it is defined", {"persistent": False}, seen(defined=KEPT), [CREATE]),
    ("no longer for now alone", {}, seen(FOUR, FOR_NOW), [DEFINE]),
    ("only defined", {"type": "711", "state": "inactive"}, seen(), [DEFINE]),
    ("only defined, on a full card", {"type": "711", "state": "inactive"}, seen(offers={}), [DEFINE]),
    ("only defined, of a function without its folder", {"state": "inactive"}, seen(None, KEPT), []),
    ("only defined, and not there", {"type": "711", "state": "inactive"}, seen(vgpu=None, card=()), [DEFINE]),
    ("no longer there", {"state": "inactive"}, seen(FOUR, KEPT), [CLEAR]),
    ("what is there is kept for later", {"type": "711", "state": "inactive"}, seen(FOUR), [DEFINE, CLEAR]),
    ("only defined, another's stays", {"type": "711", "state": "inactive"}, seen(EIGHT), [DEFINE]),
    (
        "another is to be there later",
        {"type": "711", "state": "inactive"},
        seen(EIGHT, KEPT_EIGHT),
        [CLEAR_EIGHT, REDEFINE],
    ),
    ("no more", {"state": "absent"}, seen(FOUR, KEPT), [CLEAR, UNDEFINE]),
    ("no more, for now", {"state": "absent"}, seen(FOUR, FOR_NOW), [CLEAR, UNMARK]),
    ("no more, and it is not", {"state": "absent"}, seen(), []),
    ("no more, only defined", {"state": "absent"}, seen(defined=KEPT), [UNDEFINE]),
    ("no more, and it is another's", {"state": "absent"}, seen(EIGHT, KEPT), [UNDEFINE]),
    ("no more, and it was never ours", {"state": "absent"}, seen(EIGHT), []),
    ("no more, named by its type", {"state": "absent", "type": "A16-8Q"}, seen(EIGHT), [CLEAR_EIGHT]),
    ("no more, named by its number", {"state": "absent", "type": "0x2c8"}, seen(EIGHT), [CLEAR_EIGHT]),
    ("no more, named by another type", {"state": "absent", "type": "711"}, seen(EIGHT), []),
    ("no more, by force", {"state": "absent", "force": True}, seen(EIGHT, KEPT), [CLEAR_EIGHT, UNDEFINE]),
    ("no more, unknown", {"state": "absent", "force": True}, seen(None, KEPT), [UNDEFINE]),
    ("no more, held by another", {"state": "absent"}, seen(EIGHT, KEPT, holders=(GUEST,)), [UNDEFINE]),
    ("no more, damaged", {"state": "absent"}, seen(FOUR, damaged=DAMAGED), [REPAIR]),
    (
        "no more, of a card of another mode",
        {"state": "absent"},
        seen(defined=KEPT, mode=Mode("Non SR-IOV")),
        [UNDEFINE],
    ),
    (
        "no more, of a pool",
        {"state": "absent"},
        seen(FOUR, KEPT, pool="desktops"),
        [f"{CLEAR}, an instance of pool desktops", f"{UNDEFINE}, an instance of pool desktops"],
    ),
    ("with its guest", {"type": "711", "managed": True}, seen(), [f"{DEFINE}, start with its guest"]),
    ("with its guest, from now on", {"managed": True}, seen(FOUR, KEPT), [f"{REDEFINE}, start with its guest", CLEAR]),
    (
        "with its guest, from when it is free",
        {"managed": True},
        seen(FOUR, KEPT, holders=(GUEST,)),
        [f"{REDEFINE}, start with its guest"],
    ),
    ("made for its guest", {}, seen(FOUR, replace(KEPT, managed=True), holders=(GUEST,)), []),
    ("made by hand, and managed", {}, seen(FOUR, replace(KEPT, managed=True)), []),
    ("inactive, and managed", {"state": "inactive"}, seen(FOUR, replace(KEPT, managed=True)), [CLEAR]),
    ("managed no more", {"managed": False}, seen(defined=replace(KEPT, managed=True)), [REDEFINE, CREATE]),
]


@pytest.mark.parametrize(("wish", "before", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: dict[str, Any], before: Observation, steps: list[str]) -> None:
    planned = plan(wished(**wish), before)
    assert describe(planned.steps) == steps
    assert plan(wished(**wish), planned.then).steps == ()


WARNED: list[tuple[str, dict[str, Any], Observation, str]] = [
    ("another's stays", {"state": "absent"}, seen(EIGHT, KEPT), STAYS),
    ("another's stays, kept for later", {"state": "inactive"}, seen(EIGHT, KEPT), STAYS),
    ("parameters wait", {"params": PARAMS}, seen(FOUR, KEPT, holders=(GUEST,)), "the new params are set after that"),
    ("a guest has it", {"managed": True}, seen(FOUR, KEPT, holders=(GUEST,)), f"{IN_USE} and stays until that ends"),
]


@pytest.mark.parametrize(("wish", "before", "told"), [each[1:] for each in WARNED], ids=[each[0] for each in WARNED])
def test_warning(wish: dict[str, Any], before: Observation, told: str) -> None:
    (warning,) = plan(wished(**wish), before).warnings
    assert told in warning


FULL = seen(offers={}, card=(Vgpu(FUNCTION, 0, 0), Vgpu(replace(FUNCTION, address="0000:06:00.5"), 1, EIGHT)))
MODE = f"{CARD_CALLED} does not make vGPUs of its functions, so nothing is written: its Host VGPU Mode is "
UNTOLD = f"whether {CARD_CALLED} makes vGPUs of its functions is not known, so nothing is written: no tool"
REFUSED: list[tuple[str, dict[str, Any], Observation, str]] = [
    ("no type", {}, seen(), f"type is required: the vGPU of {CALLED} is not defined; the types of {CARD_CALLED} are:"),
    ("no such type", {"type": "A16-3Q"}, seen(), "type: 'A16-3Q' cannot be used: the types of"),
    ("no such type, nearly", {"type": "a16 4q"}, seen(), "did you mean 'A16-4Q'? the types of"),
    ("no such number", {"type": "9"}, seen(offers={}, supported={FOUR: Type(FOUR, "x")}), "'9' cannot be used: the"),
    (
        "two of that name",
        {"type": "A16-4Q"},
        seen(types={FOUR: "NVIDIA A16-4Q", EIGHT: "GRID A16-4Q"}),
        "several types have that name, use an id: 711, 712",
    ),
    ("another's", {"type": "711"}, seen(EIGHT), STAYS),
    ("another's, defined", {}, seen(EIGHT, KEPT), STAYS),
    ("a full card", {"type": "711"}, FULL, "NVIDIA A16-8Q (712) on pci_0000_06_00_5 (0000:06:00.5)"),
    (
        "another size",
        {"type": "711"},
        seen(offers={EIGHT: TYPES[EIGHT]}),
        f"{CALLED} offers NVIDIA A16-8Q (712) now, and",
    ),
    ("held, and another type", {"type": "711"}, seen(EIGHT, KEPT_EIGHT, holders=(GUEST,)), "is in use by process 7"),
    ("held, and inactive", {"state": "inactive"}, seen(FOUR, KEPT, holders=(GUEST,)), IN_USE),
    ("held, and absent", {"state": "absent"}, seen(FOUR, KEPT, holders=(GUEST,)), IN_USE),
    ("held, by force", {"state": "absent", "force": True}, seen(EIGHT, KEPT, holders=(GUEST,)), "is in use by process"),
    ("held, managed, and inactive", {"state": "inactive", "managed": True}, seen(FOUR, KEPT, holders=(GUEST,)), IN_USE),
    ("a legacy card", {"type": "711"}, seen(mode=Mode("Non SR-IOV")), f"{MODE}Non SR-IOV, not SR-IOV"),
    ("a card without a mode", {"type": "711"}, seen(mode=Mode()), f"{MODE}not told, not SR-IOV"),
    ("a card that is not told of", {"type": "711"}, seen(mode=None), f"{MODE}not told"),
    ("a legacy card, cleared", {"state": "absent"}, seen(FOUR, KEPT, mode=Mode("Non SR-IOV")), MODE),
    ("a legacy card, parameters", {"params": PARAMS}, seen(FOUR, KEPT, mode=Mode("Non SR-IOV")), MODE),
    ("no tool", {"type": "711"}, seen(mode=None, untold=NodedevError("no tool")), UNTOLD),
    ("no tool, inactive", {"state": "inactive"}, seen(FOUR, KEPT, mode=None, untold=NodedevError("no tool")), UNTOLD),
    ("no folder", {"type": "711"}, seen(None), "its folder is not there"),
    ("no folder, defined", {}, seen(None, KEPT), "its folder is not there"),
    (
        "no device",
        {},
        seen(defined=KEPT, vgpu=None, card=()),
        f"({FN})' cannot be used: there is no such device:",
    ),
    (
        "a card",
        {"type": "711"},
        seen(vgpu=Vgpu(replace(FUNCTION, physical=None, functions=(FN,)), None, None, "no folder"), card=()),
        "it is not a virtual function, which alone can be a vGPU",
    ),
    ("damaged", {"type": "711"}, seen(damaged=DAMAGED), "is damaged (no JSON)"),
    ("another place", {"placement_id": 0}, seen(FOUR, KEPT, placement=4), "is at 4: have it cleared first"),
    ("managed, and for now", {"persistent": False}, seen(defined=replace(KEPT, managed=True)), "is managed, and made"),
    (
        "for now, and another is defined",
        {"type": "712", "persistent": False},
        seen(defined=KEPT),
        f"the vGPU of {CALLED} is defined with type NVIDIA A16-4Q (711)",
    ),
]


@pytest.mark.parametrize(
    ("wish", "before", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_refusal(wish: dict[str, Any], before: Observation, message: str) -> None:
    with pytest.raises(NodedevError) as error:
        plan(wished(**wish), before)
    assert message in str(error.value)


def test_no_such_index() -> None:
    with pytest.raises(BadInput) as error:
        plan(Wish.checked(parent=CARD, index=9, type="711"), Observation(CARD, None))
    assert str(error.value) == f"index: 9 cannot be used: {CARD_CALLED} has no such virtual function"


def test_who_has_it_is_told_as_data() -> None:
    with pytest.raises(InUse) as error:
        plan(wished(state="absent"), seen(FOUR, KEPT, holders=(GUEST,)))
    assert [(each["pid"], each["function"]) for each in error.value.holders] == [(7, FN)]


def test_what_was_begun_is_taken_back_to_what_was_there() -> None:
    """Each step that changes what runs has a way back; of a new vGPU's parameters there is none but to clear it."""
    planned = plan(wished(type="711", params=PARAMS), seen(EIGHT, KEPT_EIGHT))
    assert [step.undo is not None for step in planned.steps] == [True, True, True, False]


STATES = [
    (seen(FOUR, KEPT, params=PARAMS), {"type": FOUR, "title": TYPES[FOUR], "params": PARAMS}, KEPT.document()),
    (seen(FOUR, FOR_NOW, placement=4), {"type": FOUR, "title": TYPES[FOUR], "placement_id": 4}, None),
    (seen(defined=KEPT), None, KEPT.document()),
    (seen(None), None, None),
]


@pytest.mark.parametrize(("observed", "runs", "kept"), STATES)
def test_what_runs_and_what_is_kept(
    observed: Observation, runs: dict[str, Any] | None, kept: dict[str, Any] | None
) -> None:
    assert state(observed) == {"runtime": {FN: runs} if runs else {}, "boot": {FN: kept} if kept else {}}


@pytest.mark.parametrize(
    ("defined", "boots", "guests"),
    [(None, False, False), (KEPT, True, False), (FOR_NOW, False, False), (replace(KEPT, managed=True), False, True)],
)
def test_when_it_starts(defined: Definition | None, boots: bool, guests: bool) -> None:
    assert (starts(seen(defined=defined)), comes_with_guest(seen(defined=defined))) == (boots, guests)


DEFINITIONS = st.builds(
    Definition,
    st.just(FN),
    st.sampled_from([FOUR, EIGHT]),
    st.just(TYPES[FOUR]) | st.none(),
    st.sampled_from([None, "", PARAMS]),
    st.sampled_from([None, 0, 4]),
    st.booleans(),
    st.just(files.STORE),
) | st.just(FOR_NOW)
WISHES = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["present", "present", "inactive", "absent"]),
        "type": st.sampled_from([None, "711", "A16-8Q"]),
        "params": st.sampled_from([None, "", PARAMS, OTHER_PARAMS]),
        "placement_id": st.sampled_from([None, 4]),
        "managed": st.sampled_from([None, True, False]),
        "force": st.booleans(),
    }
)


@given(
    WISHES,
    st.booleans(),
    st.sampled_from([0, FOUR, EIGHT, None]),
    DEFINITIONS | st.none(),
    st.sampled_from([(), (GUEST,)]),
    st.sampled_from([None, "", OTHER_PARAMS]),
    st.sampled_from([None, 4]),
)
def test_nothing_is_left_to_do(
    options: dict[str, Any],
    lasts: bool,
    type: int | None,
    defined: Definition | None,
    held: tuple[Holder, ...],
    params: str | None,
    placement: int | None,
) -> None:
    parts = {"holders": held, "params": params, "placement": placement} if type else {}
    observed = seen(type, defined, **parts)
    try:
        wish = wished(**options, persistent=lasts)
        planned = plan(wish, observed)
    except NodedevError:
        return
    assert plan(wish, planned.then).steps == ()
    # What somebody has stays as it is, whatever is wished.
    assert not held or not type or planned.then.current == type
    # And so does what is another's, unless it is named, or forced.
    recorded = defined is not None and defined.type == type
    named = options["type"] is not None and wish.type in (str(type), {FOUR: "A16-4Q", EIGHT: "A16-8Q"}.get(type or 0))
    assert not type or recorded or named or wish.force or planned.then.current == type


BAD: list[tuple[str, Any, str]] = [
    ("device", "eth0", "a PCI function is named like"),
    ("device", "../x", "a PCI function is named like"),
    ("parent", "mdev_x", "a PCI function is named like"),
    ("index", -1, "functions are counted from 0"),
    ("type", "", "a type is named by its kernel id or its vendor's name"),
    ("type", "a/../b", "a type is named by its kernel id or its vendor's name"),
    ("params", "a", "parameters are key=value"),
    ("params", "a=1,,b=2", "parameters are key=value"),
    ("params", "a=1 ", "parameters are key=value"),
    ("params", "a=1\n", "parameters are key=value"),
    ("params", "a=" + "1" * 4000, "parameters are key=value"),
    ("params", 5, "parameters are key=value"),
    ("placement_id", -1, "a place on the card is a number from 0 to 65534"),
    ("placement_id", 65535, "a place on the card is a number from 0 to 65534"),
    ("placement_id", True, "a place on the card is a number from 0 to 65534"),
    ("wait_timeout", -1, "a number of seconds"),
]


@pytest.mark.parametrize(("option", "value", "message"), BAD)
def test_bad_input(option: str, value: Any, message: str) -> None:
    with pytest.raises(BadInput) as error:
        Wish.checked(**{"device": FN, option: value})
    assert message in str(error.value)
    assert str(error.value).startswith(option)


@pytest.mark.parametrize("device", [FN, "pci_0000_06_00_4", "06:00.4", "00000000:06:00.4"])
def test_a_function_by_all_its_names(device: str) -> None:
    assert Wish.checked(device=device).device == FN


@given(DEFINITIONS)
def test_a_definition_is_read_as_it_was_written(definition: Definition) -> None:
    assert decode(definition.path, definition.document()) == definition


@pytest.mark.parametrize(
    ("path", "document", "reason"),
    [
        (PATH, {}, "type: None cannot be used: it is from 1 to 4294967295, in a file that is named by an address"),
        (PATH, {"type": 0}, "type: 0 cannot be used"),
        (PATH, {"type": 1 << 32}, "it is from 1 to"),
        (PATH, {"type": True}, "type: True cannot be used"),
        (PATH, {"type": "711"}, "type: '711' cannot be used"),
        (PATH, {"type": 711, "title": 5}, "title: 5 cannot be used"),
        (PATH, {"type": 711, "params": "a b"}, "params: 'a b' cannot be used"),
        (PATH, {"type": 711, "placement_id": 65535}, "placement_id: 65535 cannot be used"),
        (PATH, {"type": 711, "managed": "yes"}, "managed: 'yes' cannot be used"),
        (RECORD.replace(FN, "06:00.4"), {"type": 711}, "it is from 1 to"),
        ("/etc/nodedev.d/vgpu/x.json", {"type": 711}, "a PCI function is named like"),
    ],
)
def test_damaged(path: str, document: dict[str, Any], reason: str) -> None:
    with pytest.raises(DamagedDefinition) as error:
        decode(path, document)
    assert reason in error.value.reason


def test_where_a_definition_is_read_says_whether_it_lasts() -> None:
    assert [decode(path, {"type": 711}).lasts for path in (PATH, RECORD)] == [True, False]


HEADER = "ID    : vGPU Name"
LISTS: list[tuple[str, str, dict[int, str], list[str]]] = [
    ("with a header", f"{HEADER}\n1145  : NVIDIA L40S-1B\n1152  : NVIDIA L40S-8Q\n", {1145: "1B", 1152: "8Q"}, []),
    ("without a header", "1145  : NVIDIA L40S-1B\n", {1145: "1B"}, []),
    ("a full card", f"{HEADER}\n", {}, []),
    ("nothing", "", {}, []),
    ("blanks", f"\n  {HEADER} \n  1145:NVIDIA L40S-1B  \n\n", {1145: "1B"}, []),
    ("no number", "NVIDIA L40S-1B : 1145\n", {}, ["NVIDIA L40S-1B : 1145"]),
    ("no name", "1145  :\n1145\n", {}, ["1145  :", "1145"]),
    ("a number without an end", "9" * 11 + " : x\n", {}, ["9" * 11 + " : x"]),
    ("rubbish", "\0\x1b[31m\n1152 : NVIDIA L40S-8Q", {1152: "8Q"}, ["\0\x1b[31m"]),
]


@pytest.mark.parametrize(("text", "types", "odd"), [each[1:] for each in LISTS], ids=[each[0] for each in LISTS])
def test_a_list_of_types(text: str, types: dict[int, str], odd: list[str]) -> None:
    assert vgpu_types.listed(text) == ({id: f"NVIDIA L40S-{name}" for id, name in types.items()}, odd)


def test_a_name_may_have_blanks_and_colons() -> None:
    name = "NVIDIA RTX Pro 6000 Blackwell DC-24Q: (a) b"
    assert vgpu_types.listed(f"{HEADER}\n1519  : {name}\n") == ({1519: name}, [])


@given(st.text())
def test_any_list_is_read(text: str) -> None:
    found, odd = vgpu_types.listed(text)
    assert all(name == name.strip() and name for name in found.values())
    assert all(line in text for line in odd)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        *(("1152", 1152), (" 1152 ", 1152), ("0x480", 1152), ("nvidia-1152", 1152), ("NVIDIA-1152", 1152)),
        *(("0X480", 1152), ("-1", None), ("+1", None), ("L40S-8Q", None), ("8Q", None), ("nvidia-", None), ("", None)),
        *(("1.5", None), ("1_0", None), ("\u0661", None), ("4294967296", None), ("nvidia-nvidia-5", None)),
    ],
)
def test_a_number(text: str, id: int | None) -> None:
    assert vgpu_types.number(text) == id


@pytest.mark.parametrize(
    ("name", "short", "mebibytes"),
    [
        ("NVIDIA L40S-8Q", "L40S-8Q", 8192),
        ("NVIDIA A16-16C", "A16-16C", 16384),
        ("GRID V100D-0B", "V100D-0B", 512),
        ("NVIDIA RTX Pro 6000 Blackwell DC-24Q", "DC-24Q", 24576),
        ("NVIDIA A100-2-10CME", "A100-2-10CME", 10240),
        ("NVIDIA DC-1-2QGFX", "DC-1-2QGFX", 2048),
        ("NVIDIA L40S-8X", "L40S-8X", None),
        ("NVIDIA L40S", "L40S", None),
        ("x", "x", None),
        ("", "", None),
    ],
)
def test_a_type_by_its_name(name: str, short: str, mebibytes: int | None) -> None:
    assert (vgpu_types.short(name), vgpu_types.framebuffer(name)) == (short, mebibytes)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        *(("711", [711]), ("nvidia-712", [712]), ("0x2c7", [711]), ("999", [])),
        *(("NVIDIA A16-4Q", [711]), ("A16-4Q", [711]), ("a16-4q", []), ("A16", []), ("", [])),
    ],
)
def test_the_types_that_are_meant(wanted: str, ids: list[int]) -> None:
    assert vgpu_types.matching(wanted, TYPES) == ids


@pytest.mark.parametrize(
    ("wanted", "told"), [("a16_4Q", "did you mean 'A16-4Q'? "), ("nvidia A16 8q", "did you mean 'NVIDIA A16-8Q'? ")]
)
def test_a_type_of_another_spelling(wanted: str, told: str) -> None:
    assert vgpu_types.suggested(wanted, TYPES) == told
    assert (vgpu_types.suggested("x", TYPES), vgpu_types.suggested(None, TYPES)) == ("", "")


def test_what_a_card_has_in_words() -> None:
    card = [Vgpu(replace(FUNCTION, address=f"0000:06:00.{each}"), each, 0 if each < 4 else FOUR) for each in range(8)]
    more = [Vgpu(replace(FUNCTION, address=f"0000:06:01.{each}"), each, FOUR if each else None) for each in range(7)]
    assert vgpus.told((*card, *more), TYPES) == (
        "no vGPU on pci_0000_06_00_0 (0000:06:00.0), pci_0000_06_00_1 (0000:06:00.1), pci_0000_06_00_2 (0000:06:00.2)"
        " and 1 more; NVIDIA A16-4Q (711) on pci_0000_06_00_4 (0000:06:00.4), pci_0000_06_00_5 (0000:06:00.5),"
        " pci_0000_06_00_6 (0000:06:00.6) and 7 more; unknown on pci_0000_06_01_0 (0000:06:01.0)"
    )
    assert vgpus.told((), {}) == "none"


# What nvidia-smi -q of driver 580 has printed of a card in passthrough, shortened, with another UUID.
PASSTHROUGH = """
==============NVSMI LOG==============

Timestamp                                              : Fri Nov 27 05:14:53 2026
Driver Version                                         : 580.159.04
CUDA Version                                           : 13.0

Attached GPUs                                          : 1
GPU 00000000:00:06.0
    Product Name                                       : NVIDIA H200
    Addressing Mode                                    : HMM
    MIG Mode
        Current                                        : Disabled
        Pending                                        : Disabled
    Accounting Mode                                    : Disabled
    Driver Model
        Current                                        : N/A
        Pending                                        : N/A
    GPU UUID                                           : GPU-00000000-0000-0000-0000-000000000000
    GPU Virtualization Mode
        Virtualization Mode                            : Pass-Through
        Host VGPU Mode                                 : N/A
        vGPU Heterogeneous Mode                        : N/A
    GPU Recovery Action                                : None
    ECC Mode
        Current                                        : Enabled
        Pending                                        : Enabled
"""
# Made up after it: of a host with several cards.
CARDS = """Attached GPUs                                          : 3
GPU 00000000:41:00.0
    Driver Model
        Current                                        : Enabled
    MIG Mode
        Current                                        : Disabled
    GPU Virtualization Mode
        Virtualization Mode                            : Host VGPU
        Host VGPU Mode                                 : SR-IOV
        vGPU Heterogeneous Mode                        : Enabled

GPU 00000001:AF:00.1
    MIG Mode
        Current                                        : Enabled
    GPU Virtualization Mode
        Host VGPU Mode                                 : Non SR-IOV
        vGPU Heterogeneous Mode                        : Disabled
GPU 00010000:E1:00.0
    Product Name                                       : GPU 00000000:42:00.0
    Host VGPU Mode                                     :
"""
ANSWERS: list[tuple[str, str, dict[str, Mode]]] = [
    ("a card in passthrough", PASSTHROUGH, {"0000:00:06.0": Mode(None, None, False)}),
    (
        "several cards",
        CARDS,
        {
            "0000:41:00.0": Mode("SR-IOV", True, False),
            "0001:af:00.1": Mode("Non SR-IOV", False, True),
            "10000:e1:00.0": Mode(),
        },
    ),
    ("no card", "No devices were found\n", {}),
    ("no card in the mode", "No supported devices in vGPU mode\n", {}),
    ("nothing", "", {}),
    ("no address", "GPU 0: NVIDIA L40S\n    Host VGPU Mode : SR-IOV\n", {}),
    ("what is of no card", "    Host VGPU Mode : SR-IOV\n", {}),
    ("a card of which nothing is told", "GPU 00000000:41:00.0", {"0000:41:00.0": Mode()}),
    ("another word", "GPU 00000000:41:00.0\n    Host VGPU Mode : SR-IOV (x)\n", {"0000:41:00.0": Mode("SR-IOV (x)")}),
]


@pytest.mark.parametrize(("text", "modes"), [each[1:] for each in ANSWERS], ids=[each[0] for each in ANSWERS])
def test_the_modes_that_nvidia_smi_tells(text: str, modes: dict[str, Mode]) -> None:
    assert nvidia_smi.modes_of(text) == modes
    assert nvidia_smi.modes_of(text.replace("\n", "\r\n")) == modes


def test_the_mode_is_compared_whole() -> None:
    words = ("SR-IOV", "Non SR-IOV", "sr-iov", "SR-IOV (x)", "", None)
    assert [Mode(word).is_sriov for word in words] == [True, *[False] * 5]


# After what NVIDIA's vGPU user guide and public reports have of nvidia-smi vgpu -s -v.
SUPPORTED = """GPU 00000000:41:00.0
    vGPU Type ID                          : 0x480
        Name                              : NVIDIA L40S-8Q
        Class                             : Quadro
        GPU Instance Profile ID           : N/A
        Max Instances                     : 6
        Max Instances Per VM              : 16
        FB Memory                         : 8192 MiB
        Display Heads                     : 4
    vGPU Type ID                          : 0x47d
        Name                              : NVIDIA L40S-1B
        Max Instances                     : N/A
        FB Memory                         : 1024 KiB
    vGPU Type ID                          : N/A
        Name                              : a type without a number
    vGPU Type ID                          : 1152000
"""
TYPES_TOLD = {
    1152: Type(1152, "NVIDIA L40S-8Q", 8192, 6),
    1149: Type(1149, "NVIDIA L40S-1B", None, None),
    1152000: Type(1152000, ""),
}


@pytest.mark.parametrize(
    ("text", "types"),
    [(SUPPORTED, TYPES_TOLD), ("No supported devices in vGPU mode\n", {}), ("", {}), (PASSTHROUGH, {})],
    ids=["types", "no card in the mode", "nothing", "something else"],
)
def test_the_types_that_nvidia_smi_tells(text: str, types: dict[int, Type]) -> None:
    found = nvidia_smi.types_of(text).values()
    assert {id: each for card in found for id, each in card.items()} == types


LINES = st.sampled_from([*PASSTHROUGH.splitlines(), *CARDS.splitlines(), *SUPPORTED.splitlines()]) | st.text(max_size=9)


@given(st.lists(LINES).map("\n".join))
def test_whatever_nvidia_smi_says_is_read(text: str) -> None:
    for mode in nvidia_smi.modes_of(text).values():
        assert mode.host is None or mode.host in text
    assert all(0 <= id < 1 << 32 for card in nvidia_smi.types_of(text).values() for id in card)
