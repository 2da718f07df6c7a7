# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for virtual functions: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.pci import Function, places
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.pci_users import Use
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.sriov import Capability
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.virtual_functions import Virtual
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.sriov.declared import (
    Declared,
    declare,
    decode,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.sriov.device import plan, state
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.sriov.seen import (
    Observation,
    Wish,
    takes_away,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)
from hypothesis import given
from hypothesis import strategies as st

PF, NAME = "0000:3b:00.0", "pci_0000_3b_00_0"
CALLED = f"{NAME} ({PF})"
PATH = f"/etc/nodedev.d/sriov/{PF}.json"
NIC = Function(PF, "/sys/devices/pci0000:3a/0000:3b:00.0", "0x020000", "0x8086", "igb", None, "12")
GPU = replace(NIC, kind="0x030200", vendor="0x10de", driver="nvidia")
SSD = replace(NIC, kind="0x010802", driver="nvme")
# Its routing ids, as of QEMU's igb.
AT = Capability(8, 0, True, 0x80, 2)
DAMAGED, LATER = DamagedDefinition(PATH, "no JSON"), LaterVersion(PATH, "its version is 2")
MAC = "02:00:00:00:00:01"
TOOL = "/usr/lib/nvidia/sriov-manage"
ALL = {"mac": "00:00:00:00:00:00", "vlan": 0, "qos": 0, "trust": False, "spoofchk": True, "link_state": "auto"}
FUNCTIONS = f"the virtual functions of {CALLED}"
DEFINE, UNDEFINE = f"define {FUNCTIONS}", f"undefine {FUNCTIONS}"
REDEFINE = f"change the definition of {FUNCTIONS}"
REPAIR = f"remove the damaged definition of {FUNCTIONS}, {PATH}"
PROBE = f"have the kernel choose drivers for {FUNCTIONS}"


def wished(**options: Any) -> Wish:
    return Wish.checked(device=PF, **options)


def functions(count: int, **parts: Any) -> tuple[Virtual, ...]:
    addresses = places(PF, AT.offset, AT.stride, count)
    return tuple(
        Virtual(index, address, Function(address, f"/sys/{index}", NIC.kind, NIC.vendor), **parts)
        for index, address in enumerate(addresses)
    )


def seen(
    wish: Wish,
    count: int = 0,
    defined: Declared | None = None,
    function: Function | None = NIC,
    there: tuple[Virtual, ...] | None = None,
    **parts: Any,
) -> Observation:
    """What is observed for a wish, as observe() puts it together."""
    if function is None:
        return Observation(wish.declared.over(defined), definition=defined, **parts)
    settings = parts.pop("settings", dict.fromkeys(range(count), ALL))
    return Observation(
        wish.declared.over(defined),
        function,
        replace(AT, count=count),
        functions(count) if there is None else there,
        defined,
        settings=settings,
        **{"interface": "eth0" if function.is_network else None, **parts},
    )


def create(count: int, how: str = "") -> str:
    return f"create {count} virtual functions of {CALLED}{how}"


def destroy(count: int) -> str:
    return f"destroy {FUNCTIONS}, {', '.join(places(PF, AT.offset, AT.stride, count))}"


def bind(index: int, driver: str) -> str:
    return f"bind virtual function {index} of {CALLED} to {driver}"


def configure(index: int, told: str) -> str:
    return f"set {told} of virtual function {index} of {CALLED}"


FOUR = Declared(PF, "4")
VFS = [{"index": 0, "mac": MAC, "vlan": 100}]
KEPT_VFS = ((0, (("mac", MAC), ("vlan", 100))),)
UNBOUND = ", not bound by the kernel"

# A name, the wish, what is observed beside it, the steps.
CASES: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("none are there", {"numvfs": 4}, {}, [create(4), DEFINE]),
    ("as many as there can be", {"numvfs": "max"}, {}, [create(8), DEFINE]),
    ("all is there", {"numvfs": 4}, {"count": 4, "defined": FOUR}, []),
    ("as many are there, and are to stay", {}, {"count": 4}, [DEFINE]),
    ("nothing is said, and they are defined", {}, {"defined": FOUR}, [create(4)]),
    (
        "all that there can be are there, and defined by number",
        {"numvfs": "max"},
        {"count": 8, "defined": Declared(PF, "8")},
        [REDEFINE],
    ),
    ("others are there", {"numvfs": 2}, {"count": 4}, [destroy(4), create(2), DEFINE]),
    ("none any more", {"numvfs": 0}, {"count": 4, "defined": FOUR}, [destroy(4), REDEFINE]),
    ("for now", {"numvfs": 2, "persistent": False}, {}, [create(2)]),
    ("for now, and defined otherwise", {"numvfs": 2, "persistent": False}, {"defined": FOUR}, [create(2)]),
    ("only defined", {"numvfs": 4, "state": "inactive"}, {}, [DEFINE]),
    ("only defined, and not there", {"numvfs": 4, "state": "inactive"}, {"function": None}, [DEFINE]),
    ("no longer there", {"state": "inactive"}, {"count": 4, "defined": FOUR}, [destroy(4)]),
    ("what is there is kept for later", {"state": "inactive"}, {"count": 4}, [DEFINE, destroy(4)]),
    ("no more", {"state": "absent"}, {"count": 4, "defined": FOUR}, [UNDEFINE, destroy(4)]),
    ("no more, made by others", {"state": "absent"}, {"count": 4}, [destroy(4)]),
    ("no more, and they are not", {"state": "absent"}, {}, []),
    ("no more, and the card is gone", {"state": "absent"}, {"function": None, "defined": FOUR}, [UNDEFINE]),
    ("no more, damaged", {"state": "absent"}, {"count": 2, "damaged": DAMAGED}, [REPAIR, destroy(2)]),
    ("0 of a card without a driver", {"numvfs": 0}, {"function": replace(NIC, driver=None)}, [DEFINE]),
    ("not bound", {"numvfs": 2, "autoprobe": False}, {}, [create(2, UNBOUND), DEFINE]),
    ("bound", {"numvfs": 2, "autoprobe": True}, {}, [create(2, ", bound by the kernel"), DEFINE]),
    (
        "a driver",
        {"numvfs": 2, "driver": "vfio-pci"},
        {},
        [create(2, UNBOUND), bind(0, "vfio-pci"), bind(1, "vfio-pci"), DEFINE],
    ),
    (
        "a driver for those that are there",
        {"driver": "vfio-pci"},
        {"count": 2, "there": functions(2, driver="igbvf")},
        [bind(0, "vfio-pci"), bind(1, "vfio-pci"), DEFINE],
    ),
    (
        "one has another driver than defined",
        {},
        {
            "count": 2,
            "there": (functions(1, driver="vfio-pci")[0], functions(2, driver="igbvf")[1]),
            "defined": replace(Declared(PF, "2"), driver="vfio-pci"),
        },
        [bind(1, "vfio-pci")],
    ),
    (
        "without a driver",
        {"driver": "none"},
        {"count": 1, "there": functions(1, driver="igbvf")},
        [f"leave virtual function 0 of {CALLED} without a driver", DEFINE],
    ),
    ("without a driver, and so it is", {"driver": "none"}, {"count": 1}, [DEFINE]),
    (
        "the kernel's choice again",
        {"driver": ""},
        {
            "count": 1,
            "there": functions(1, driver="vfio-pci", override="vfio-pci"),
            "defined": Declared(PF, "1", driver="vfio-pci"),
        },
        [f"give virtual function 0 of {CALLED} back to the kernel's choice of a driver", REDEFINE],
    ),
    (
        "a MAC before the driver",
        {"numvfs": 2, "vfs": VFS},
        {},
        [create(2, UNBOUND), configure(0, f"mac {MAC}, vlan 100"), PROBE, DEFINE],
    ),
    (
        "a MAC, and no driver",
        {"numvfs": 2, "vfs": VFS, "autoprobe": False},
        {},
        [create(2, UNBOUND), configure(0, f"mac {MAC}, vlan 100"), DEFINE],
    ),
    (
        "a VLAN alone",
        {"numvfs": 1, "vfs": [{"index": 0, "vlan": 5}]},
        {},
        [create(1), configure(0, "vlan 5"), DEFINE],
    ),
    (
        "settings that are otherwise",
        {},
        {
            "count": 2,
            "defined": Declared(PF, "2", vfs=KEPT_VFS),
            "settings": {0: {**ALL, "mac": MAC, "vlan": 7}, 1: ALL},
        },
        [configure(0, "vlan 100")],
    ),
    (
        "settings no longer declared stay",
        {"vfs": []},
        {"count": 1, "defined": Declared(PF, "1", vfs=KEPT_VFS)},
        [REDEFINE],
    ),
    (
        "by the vendor's tool",
        {"numvfs": "max"},
        {"function": GPU, "tools": (TOOL,)},
        [f"enable {FUNCTIONS} by {TOOL}", DEFINE],
    ),
    (
        "no longer, by the vendor's tool",
        {"state": "absent"},
        {"function": GPU, "tools": (TOOL,), "count": 8},
        [f"disable {FUNCTIONS}, {', '.join(places(PF, AT.offset, AT.stride, 8))} by {TOOL}"],
    ),
    (
        "fewer than all, which others made by hand",
        {},
        {"function": GPU, "tools": (TOOL,), "count": 3},
        [DEFINE],
    ),
    (
        "of an NVMe card",
        {"numvfs": 2},
        {"function": SSD, "node": "/dev/nvme0", "has_nvme": True},
        [
            "give queues and interrupts of /dev/nvme0 to the controllers of 2 virtual functions",
            create(2, UNBOUND),
            "bring the controllers of 2 virtual functions of /dev/nvme0 online",
            PROBE,
            DEFINE,
        ],
    ),
    (
        "a function of which nothing is told",
        {"numvfs": 1, "vfs": [{"index": 0, "vlan": 5}]},
        {"count": 1, "settings": {}},
        [f"set vlan 5 of virtual function 0 of {CALLED}", DEFINE],
    ),
    ("left unbound by a killed run", {"numvfs": 2}, {"count": 2, "unbound": True}, [PROBE, DEFINE]),
    ("of an NVMe card without its tool", {"numvfs": 2}, {"function": SSD, "node": "/dev/nvme0"}, [create(2), DEFINE]),
]


@pytest.mark.parametrize(("wish", "before", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: dict[str, Any], before: dict[str, Any], steps: list[str]) -> None:
    asked = wished(**wish)
    planned = plan(asked, seen(asked, **before))
    assert describe(planned.steps) == steps
    assert plan(asked, planned.then).steps == ()


def used(text: str, forcible: bool) -> tuple[Virtual, ...]:
    holder = None if forcible else Holder("/dev/vfio/41", "qemu-system-x86", pid=7)
    return (replace(functions(1)[0], uses=(Use(text, forcible, holder),)),)


VF = places(PF, AT.offset, AT.stride, 1)[0]
OPEN = "/dev/vfio/41 is open by process 7 (qemu-system-x86)"
REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("no driver any more", {"state": "absent"}, {"function": replace(NIC, driver=None), "count": 2}, "and removes"),
    ("nothing is said", {}, {}, "numvfs is required: no virtual functions are there or defined"),
    ("too many", {"numvfs": 9}, {}, f"numvfs: '9' cannot be used: {CALLED} has at most 8 virtual functions"),
    ("too many for later", {"numvfs": 9, "state": "inactive"}, {}, "has at most 8 virtual functions"),
    ("no such device", {"numvfs": 1}, {"function": None}, f"({PF})' cannot be used: there is no such device"),
    (
        "a virtual function",
        {"numvfs": 1},
        {"function": replace(NIC, physical="0000:3a:00.0")},
        "it is a virtual function of pci_0000_3a_00_0",
    ),
    ("no SR-IOV", {"numvfs": 1}, {"capability": None}, "it has no virtual functions, since it has no SR-IOV"),
    ("no driver", {"numvfs": 1}, {"function": replace(NIC, driver=None)}, f"{CALLED} has no driver"),
    (
        "no such driver",
        {"numvfs": 1, "driver": "gone"},
        {"loadable": False},
        "driver: 'gone' cannot be used: there is no such driver",
    ),
    ("damaged", {"numvfs": 1}, {"damaged": DAMAGED}, "is damaged (no JSON)"),
    ("of a later release", {"state": "absent"}, {"damaged": LATER}, "its version is 2"),
    (
        "settings of a function beyond",
        {"numvfs": 1, "vfs": [{"index": 1, "vlan": 1}]},
        {},
        "there are to be 1 functions",
    ),
    ("settings of no network card", {"numvfs": 1, "vfs": VFS}, {"function": SSD}, "has no network interface"),
    (
        "what is not offered",
        {"vfs": [{"index": 0, "trust": True}]},
        {"count": 1, "settings": {0: {"mac": MAC}}},
        "driver igb does not offer trust",
    ),
    (
        "settings that are not known",
        {"vfs": VFS},
        {"count": 1, "untold": "iproute2 is not installed"},
        "iproute2 is not installed",
    ),
    (
        "a part by the vendor's tool",
        {"numvfs": 3},
        {"function": GPU, "tools": (TOOL,)},
        f"{TOOL} enables all 8 virtual functions or none: 0, 8 or max",
    ),
    ("two tools", {"numvfs": "max"}, {"function": GPU, "tools": (TOOL, "/run/x")}, f"{TOOL} and /run/x are both there"),
    (
        "a vGPU, whatever is forced",
        {"state": "absent", "force": True},
        {"function": GPU, "tools": (TOOL,), "count": 1, "there": functions(1, vgpu="1145")},
        f"{TOOL} would take the card from under its vGPUs, {VF} (1145)",
    ),
    (
        "a driver",
        {"numvfs": 2},
        {"count": 1, "there": functions(1, driver="igbvf")},
        f"would be removed: {called(VF)}: it is bound to igbvf: set force: true",
    ),
    (
        "an address",
        {"numvfs": 0},
        {"count": 1, "there": used("eth1 has an address", True)},
        f"{called(VF)}: eth1 has an address",
    ),
    (
        "an instance",
        {"state": "absent"},
        {"count": 1, "there": used("it carries the mediated device u", True)},
        f"{called(VF)}: it carries the mediated device u",
    ),
    (
        "a vGPU",
        {"state": "absent"},
        {"count": 1, "there": functions(1, vgpu="5")},
        f"{called(VF)}: it carries a vGPU of type 5: set force: true to do so all the same, which removes what it",
    ),
    ("a guest, whatever is forced", {"state": "absent", "force": True}, {"count": 1, "there": used(OPEN, False)}, OPEN),
    ("a guest, and another driver", {"driver": "igbvf", "force": True}, {"count": 1, "there": used(OPEN, False)}, OPEN),
    (
        "an address, and another driver",
        {"driver": "vfio-pci"},
        {"count": 1, "there": used("eth1 has an address", True)},
        "would be bound to another driver",
    ),
]


@pytest.mark.parametrize(
    ("wish", "before", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_refusal(wish: dict[str, Any], before: dict[str, Any], message: str) -> None:
    asked = wished(**wish)
    observed = seen(asked, **{key: value for key, value in before.items() if key != "capability"})
    if "capability" in before:
        observed = replace(observed, capability=None)
    with pytest.raises(NodedevError) as error:
        plan(asked, observed)
    assert message in str(error.value)


def test_what_is_in_use_is_told_as_data() -> None:
    asked = wished(state="absent")
    with pytest.raises(InUse) as error:
        plan(asked, seen(asked, 1, there=used(OPEN, False)))
    assert [(each["pid"], each["function"]) for each in error.value.holders] == [(7, VF)]


def test_force_goes_on() -> None:
    asked = wished(numvfs=2, force=True)
    there = functions(4, driver="igbvf", uses=(Use("it carries the mediated device u", True),))
    assert describe(plan(asked, seen(asked, 4, there=there)).steps) == [destroy(4), create(2), DEFINE]


BAD: list[tuple[str, Any, str]] = [
    ("device", "eth0", "a PCI function is named like"),
    ("device", "../x", "a PCI function is named like"),
    ("device", "mdev_x", "a PCI function is named like"),
    ("device", 5, "a PCI function is named like"),
    ("numvfs", "-1", "a number from 0 to 65535, or max"),
    ("numvfs", "0x10", "a number from 0 to 65535, or max"),
    ("numvfs", "65536", "a number from 0 to 65535, or max"),
    ("numvfs", "MAX", "a number from 0 to 65535, or max"),
    ("numvfs", "\u0664", "a number from 0 to 65535, or max"),
    ("numvfs", True, "a number from 0 to 65535, or max"),
    ("autoprobe", "yes", "true or false"),
    ("driver", "../x", "a driver's name has"),
    ("driver", "a b", "a driver's name has"),
    ("vfs", "x", "a list of mappings"),
    ("vfs", [1], "a list of mappings"),
    ("vfs", [{"index": 0}, {"index": 0}], "each index stands once"),
    ("vfs", [{}], "index is required"),
    ("vfs", [{"index": -1}], "index is required"),
    ("vfs", [{"index": True}], "index is required"),
    ("vfs", [{"index": 0, "vln": 1}], "a function has index, mac, vlan"),
    ("vfs", [{"index": 0, "vlan": 4095}], "a number from 0 to 4094"),
    ("vfs", [{"index": 0, "qos": 8}], "a number from 0 to 7"),
    ("vfs", [{"index": 0, "mac": "02:00"}], "a MAC address has 6 bytes"),
    ("vfs", [{"index": 0, "mac": 1405012345}], "quote it"),
    ("vfs", [{"index": 0, "mac": "03:00:00:00:00:01"}], "an odd first byte"),
    ("vfs", [{"index": 0, "mac": "00:00:00:00:00:00"}], "zeros alone"),
    ("vfs", [{"index": 0, "trust": "on"}], "true or false"),
    ("vfs", [{"index": 0, "link_state": "up"}], "one of auto, enable, disable"),
    ("vfs", [{"index": 0, "max_tx_rate": -1}], "a number from 0 to"),
    ("vfs", [{"index": 0, "max_tx_rate": 10, "min_tx_rate": 20}], "min_tx_rate is at most max_tx_rate"),
    ("wait_timeout", -1, "a number of seconds"),
]


@pytest.mark.parametrize(("option", "value", "message"), BAD)
def test_bad_input(option: str, value: Any, message: str) -> None:
    with pytest.raises(BadInput) as error:
        Wish.checked(**{"device": PF, option: value})
    assert message in str(error.value)
    assert str(error.value).startswith(option)


@pytest.mark.parametrize("device", [PF, NAME, "3b:00.0", "00000000:3B:00.0", "0000:3B:00.0"])
def test_a_device_by_all_its_names(device: str) -> None:
    assert Wish.checked(device=device).declared.address == PF


@pytest.mark.parametrize(
    ("value", "number"), [(4, "4"), ("4", "4"), (" 04 ", "4"), ("max", "max"), ("0", "0"), (None, None)]
)
def test_a_number(value: object, number: str | None) -> None:
    assert Wish.checked(device=PF, numvfs=value).declared.number == number


def test_a_wish_waits_as_long_as_is_documented() -> None:
    assert wished().wait_timeout == 30


@pytest.mark.parametrize(
    ("address", "capability", "count", "addresses"),
    [
        (PF, AT, 3, ("0000:3b:10.0", "0000:3b:10.2", "0000:3b:10.4")),
        (PF, Capability(256, 0, True, 1, 1), 8, tuple(f"0000:3b:0{each // 8}.{each % 8}" for each in range(1, 9))),
        # They may be on the next bus.
        ("0000:3b:00.1", Capability(8, 0, True, 0x180, 2), 1, ("0000:3c:10.1",)),
        (PF, Capability(8, 0), 2, ()),
        # What the kernel refuses too: that of the card itself, and one for all.
        (PF, Capability(8, 0, True, 0, 0), 8, ()),
        (PF, Capability(8, 0, True, 0, 1), 1, ()),
        (PF, Capability(8, 0, True, 1, 0), 2, ()),
        (PF, Capability(8, 0, True, 1, 0), 1, ("0000:3b:00.1",)),
    ],
)
def test_addresses_foretold(address: str, capability: Capability, count: int, addresses: tuple[str, ...]) -> None:
    assert places(address, capability.offset, capability.stride, count) == addresses


def test_what_runs_is_told_as_far_as_it_is_declared() -> None:
    asked = wished(driver="vfio-pci", vfs=[{"index": 0, "vlan": 5}])
    told = state(seen(asked, 2, there=functions(2, driver="igbvf")))
    assert told == {
        "runtime": {PF: {"numvfs": 2, "driver": "igbvf", "vfs": [{"index": 0, "vlan": 0}]}},
        "boot": {},
    }


DOCUMENTS = st.fixed_dictionaries(
    {"numvfs": st.sampled_from(["max", 0, 4, "4"])},
    optional={
        "autoprobe": st.booleans(),
        "driver": st.sampled_from(["none", "vfio-pci"]),
        "vfs": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(0, 9)},
                optional={"mac": st.just(MAC), "vlan": st.integers(0, 4094), "trust": st.booleans()},
            ),
            unique_by=lambda each: each["index"],
        ),
    },
)


@given(DOCUMENTS)
def test_a_definition_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    found = decode(PATH, document)
    assert decode(PATH, found.document()) == found


@pytest.mark.parametrize(
    ("path", "document", "reason"),
    [
        (PATH, {}, "it says no number"),
        (PATH, {"numvfs": -1}, "numvfs: -1 cannot be used"),
        (PATH, {"numvfs": 1, "driver": 5}, "driver: 5 cannot be used"),
        (PATH, {"numvfs": 1, "autoprobe": 1}, "autoprobe: 1 cannot be used"),
        (PATH, {"numvfs": 1, "vfs": {}}, "vfs: {} cannot be used"),
        ("/etc/nodedev.d/sriov/x.json", {"numvfs": 1}, "a PCI function is named like"),
        ("/etc/nodedev.d/sriov/3b:00.0.json", {"numvfs": 1}, "its name is not an address"),
    ],
)
def test_damaged(path: str, document: dict[str, Any], reason: str) -> None:
    with pytest.raises(DamagedDefinition) as error:
        decode(path, document)
    assert reason in error.value.reason


NUMBERS = st.sampled_from([None, 0, 1, 2, 4, "max"])
DRIVERS = st.sampled_from([None, "", "none", "vfio-pci", "igbvf"])
SETTINGS = st.sampled_from([None, [], [{"index": 0, "vlan": 3}], [{"index": 0, "mac": MAC, "trust": True}]])
# How steps begin by which somebody may lose a function.
TAKING = ("destroy ", "disable ", "bind ", "leave ", "give virtual")
WISHES = st.fixed_dictionaries(
    {
        "numvfs": NUMBERS,
        "driver": DRIVERS,
        "vfs": SETTINGS,
        "autoprobe": st.sampled_from([None, True, False]),
        "state": st.sampled_from(["present", "inactive", "absent"]),
        "force": st.just(True),
    }
)


@given(
    WISHES,
    st.sampled_from([0, 1, 2, 8]),
    st.sampled_from([None, "igbvf", "vfio-pci"]),
    st.sampled_from([None, "vfio-pci"]),
    st.builds(lambda *parts: declare(PF, *parts), st.sampled_from([2, "max"]), st.none(), DRIVERS, SETTINGS)
    | st.none(),
    st.sampled_from([NIC, SSD, GPU]),
)
def test_nothing_is_left_to_do(
    options: dict[str, Any],
    count: int,
    driver: str | None,
    override: str | None,
    defined: Declared | None,
    function: Function,
) -> None:
    wish = wished(**options)
    there = functions(count, driver=driver, override=override)
    observed = seen(wish, count, defined, function, there, node="/dev/nvme0", has_nvme=True)
    try:
        planned = plan(wish, observed)
    except NodedevError:
        return
    assert plan(wish, planned.then).steps == ()
    # Else nobody would be asked whose functions they are.
    taking = [step for step in describe(planned.steps) if count and step.startswith(TAKING)]
    assert takes_away(wish, observed) or not taking
