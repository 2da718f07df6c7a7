# SPDX-License-Identifier: GPL-3.0-or-later
"""The sriov module on the simulated host: its states, what is refused, what is undone, and what restores functions."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from conftest import ROOT, Host, open_by, warnings
from looks import looks
from test_documentation import returned, samples_unlike, shape
from test_restore import install, restore

# A network card with 8 functions, which iavf takes; one with 4 that offers less; a GPU with 4; an NVMe card with 4.
PF, PICKY, GPU, SSD = "0000:3b:00.0", "0000:5e:00.0", "0000:06:00.0", "0000:81:00.0"
NAME = "pci_0000_3b_00_0"
CALLED = f"{NAME} ({PF})"
FUNCTIONS = f"the virtual functions of {CALLED}"
DEFINITION = f"/etc/nodedev.d/sriov/{PF}.json"
DEFINE, UNDEFINE = f"define {FUNCTIONS}", f"undefine {FUNCTIONS}"
PLACE = f"/sys/bus/pci/devices/{PF}"
NUMBER, AUTOPROBE = f"{PLACE}/sriov_numvfs", f"{PLACE}/sriov_drivers_autoprobe"
VFS = [f"0000:3b:01.{index}" for index in range(8)]
MAC = "02:00:00:00:00:01"
UNBOUND = ", not bound by the kernel"
LATE = 3600


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host with functions, and with VFIO's driver, which would otherwise be there after a failure and not before."""
    host = start("functions")
    host.run(["modprobe", "vfio-pci"])
    return host


@pytest.fixture
def engine(host: Host) -> Host:
    """The same with the boot engine, so that nothing is warned of."""
    install(host)
    return host


def sriov(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that succeeds."""
    return host.done("sriov", **{"device": PF, **wish})


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    return host.failed("sriov", **{"device": PF, **wish})


def plant(host: Host, path: str, text: str) -> None:
    """Have a file of this text, as somebody else may have written it."""
    host.run(["sh", "-c", f'mkdir -p "$(dirname {path})"'])
    host.write(path, text)


def foreseen(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what is known only once functions exist."""
    later = dict.fromkeys(("driver", "iommu_group", "netdev", "mac", "vlan"))
    found = [{**each, **later} for each in result["sriov"]["functions"]]
    return {**result, "sriov": {**result["sriov"], "functions": found}, "invocation": None, "warnings": None}


def changed(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that changes something, as check mode has foretold it; the next one changes nothing."""
    before = host.state()
    foretold = sriov(host, **wish, check_mode=True, diff=True)
    assert host.state() == before
    done = sriov(host, **wish, diff=True)
    assert foreseen(foretold) == foreseen(done)
    again = sriov(host, **wish, diff=True)
    assert (done["changed"], again["changed"], again["plan"]) == (True, False, [])
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    return done


def drivers(host: Host, pf: str = PF) -> list[str]:
    """The drivers of all functions by index; none for one without."""
    look = (
        f"for f in /sys/bus/pci/devices/{pf}/virtfn*; do"
        ' test -e "$f" && { d=$(readlink $f/driver) && echo ${d##*/} || echo none; }; done; true'
    )
    return host.run(["sh", "-c", look]).stdout.split()


def told(host: Host, interface: str = "ens3f0") -> list[dict[str, Any]]:
    """What the driver of a network card has of its functions."""
    links = json.loads(host.run(["ip", "-json", "-details", "link", "show", "dev", interface]).stdout)
    found: list[dict[str, Any]] = links[0].get("vfinfo_list", [])
    return found


def test_its_life(host: Host) -> None:
    made = changed(host, numvfs=4)
    assert made["plan"] == [f"create 4 virtual functions of {CALLED}", DEFINE]
    assert made["diff"] == {"before": "", "after": f"{PF}: runs and is defined; numvfs 4\n"}
    known = made["sriov"]
    functions = known.pop("functions")
    assert known == {
        "name": NAME,
        "address": PF,
        "total": 8,
        "numvfs": 4,
        "autoprobe": True,
        "active": True,
        "persistent": True,
        "driver": "ice",
    }
    assert [each["address"] for each in functions] == VFS[:4]
    first = functions[0]
    assert isinstance(first.pop("iommu_group"), int)
    assert first == {
        "index": 0,
        "name": "pci_0000_3b_01_0",
        "address": VFS[0],
        "driver": "iavf",
        "netdev": "ens3f0v0",
        "mac": "02:3b:00:00:00:00",
        "vlan": 0,
        "holders": [],
        "vgpu_type": None,
        "unusable": None,
    }
    assert json.loads(host.read(DEFINITION)) == {"version": 1, "numvfs": 4}
    assert changed(host, state="inactive", force=True)["diff"]["after"] == f"{PF}: is defined; numvfs 4\n"
    assert drivers(host) == []
    # What is not said is as it is defined.
    assert changed(host, device=NAME)["plan"] == [f"create 4 virtual functions of {CALLED}"]
    gone = changed(host, state="absent", force=True)
    assert gone["plan"] == [UNDEFINE, f"destroy {FUNCTIONS}, {', '.join(VFS[:4])}"]
    assert (gone["diff"]["after"], drivers(host)) == ("", [])
    assert host.run(["ls", "/etc/nodedev.d"], check=False).stdout == ""


def test_functions_for_now(host: Host) -> None:
    made = changed(host, numvfs=2, persistent=False)
    assert (made["sriov"]["active"], made["sriov"]["persistent"]) == (True, False)
    assert made["diff"]["after"] == f"{PF}: runs; numvfs 2\n"
    # They are taken as they are.
    assert changed(host)["plan"] == [DEFINE]


def test_others_functions_are_removed_too(host: Host) -> None:
    host.write(NUMBER, "3")
    assert changed(host, state="absent", force=True)["plan"] == [f"destroy {FUNCTIONS}, {', '.join(VFS[:3])}"]


def test_another_number(host: Host) -> None:
    sriov(host, numvfs=4)
    message = refused(host, numvfs=2)
    some = ", ".join(map(called, VFS[:3]))
    assert message == (
        f"virtual functions that are in use would be removed: {some} and 1 more: it is bound to iavf: set force: true"
        " to do so all the same"
    )
    made = changed(host, numvfs=2, force=True)
    assert made["plan"] == [
        f"destroy {FUNCTIONS}, {', '.join(VFS[:4])}",
        f"create 2 virtual functions of {CALLED}",
        f"change the definition of {FUNCTIONS}",
    ]
    assert drivers(host) == ["iavf", "iavf"]


def test_functions_that_nobody_uses_need_no_force(host: Host) -> None:
    sriov(host, numvfs=2, driver="none")
    assert changed(host, numvfs=3)["sriov"]["numvfs"] == 3


def test_as_many_as_there_can_be(host: Host) -> None:
    assert refused(host, numvfs=9) == f"numvfs: '9' cannot be used: {CALLED} has at most 8 virtual functions"
    made = changed(host, numvfs="max")
    assert [each["address"] for each in made["sriov"]["functions"]] == VFS
    assert json.loads(host.read(DEFINITION)) == {"version": 1, "numvfs": "max"}


def test_functions_on_the_next_bus(host: Host) -> None:
    made = changed(host, device=PICKY, numvfs=4)
    assert [each["address"] for each in made["sriov"]["functions"]] == [
        *("0000:5e:1f.6", "0000:5e:1f.7", "0000:5f:00.0", "0000:5f:00.1"),
    ]


def test_autoprobe_is_as_before(host: Host) -> None:
    made = changed(host, numvfs=2, autoprobe=False)
    assert made["plan"][0] == f"create 2 virtual functions of {CALLED}{UNBOUND}"
    assert drivers(host) == ["none", "none"]
    assert (host.read(AUTOPROBE), made["sriov"]["autoprobe"]) == ("1\n", True)
    sriov(host, state="absent")
    host.write(AUTOPROBE, "0")
    assert changed(host, numvfs=2, autoprobe=True)["plan"][0].endswith(", bound by the kernel")
    assert (drivers(host), host.read(AUTOPROBE)) == (["iavf", "iavf"], "0\n")
    assert host.run(["ls", "/run/nodedev/autoprobe"], check=False).stdout == ""


def test_a_mac_where_the_kernel_does_not_bind_by_itself(host: Host) -> None:
    """What is probed after that is bound all the same, as autoprobe says it."""
    host.write(AUTOPROBE, "0")
    changed(host, numvfs=1, autoprobe=True, vfs=[{"index": 0, "mac": MAC}])
    assert (drivers(host), host.read(AUTOPROBE)) == (["iavf"], "0\n")
    host.fault(NUMBER, op="write", errno="EIO", nth=2)
    refused(host, numvfs=2, force=True)
    assert (drivers(host), host.read(AUTOPROBE)) == (["iavf"], "0\n")


def test_a_driver(host: Host) -> None:
    made = changed(host, numvfs=2, driver="vfio-pci")
    bind = [f"bind virtual function {index} of {CALLED} to vfio-pci" for index in range(2)]
    assert made["plan"] == [f"create 2 virtual functions of {CALLED}{UNBOUND}", *bind, DEFINE]
    assert made["diff"]["after"] == f"{PF}: runs and is defined; numvfs 2, driver vfio-pci\n"
    assert (drivers(host), host.read(AUTOPROBE)) == (["vfio-pci", "vfio-pci"], "1\n")
    # Others have bound one otherwise.
    host.write(f"{PLACE}/virtfn1/driver_override", "\n")
    host.write(f"{PLACE}/virtfn1/driver/unbind", VFS[1])
    host.write("/sys/bus/pci/drivers_probe", VFS[1])
    assert drivers(host) == ["vfio-pci", "iavf"]
    assert changed(host)["plan"] == bind[1:]
    # None at all, and then the kernel's choice.
    changed(host, driver="none")
    assert drivers(host) == ["none", "none"]
    assert "back to the kernel's choice" in changed(host, driver="")["plan"][0]
    assert drivers(host) == ["iavf", "iavf"]
    assert json.loads(host.read(DEFINITION)) == {"version": 1, "numvfs": 2}
    # Also where it chooses none of itself.
    changed(host, driver="vfio-pci")
    host.write(AUTOPROBE, "0")
    changed(host, driver="", autoprobe=True)
    assert (drivers(host), host.read(AUTOPROBE)) == (["iavf", "iavf"], "0\n")


def test_a_driver_whose_module_is_to_be_loaded(start: Callable[..., Host]) -> None:
    assert sriov(start("functions"), numvfs=1, driver="vfio-pci")["sriov"]["functions"][0]["driver"] == "vfio-pci"


def test_no_such_driver(host: Host) -> None:
    message = refused(host, numvfs=1, driver="gone")
    assert message == "driver: 'gone' cannot be used: there is no such driver, and no module of that name"


def test_a_mac_and_a_vlan(host: Host) -> None:
    vfs = [{"index": 1, "mac": MAC, "vlan": 100, "qos": 3, "trust": True, "spoofchk": False, "max_tx_rate": 1000}]
    made = changed(host, numvfs=2, vfs=vfs)
    assert made["plan"] == [
        f"create 2 virtual functions of {CALLED}{UNBOUND}",
        f"set mac {MAC}, vlan 100, qos 3, trust on, spoofchk off, max_tx_rate 1000 of virtual function 1 of {CALLED}",
        f"have the kernel choose drivers for {FUNCTIONS}",
        DEFINE,
    ]
    # Its driver came after that, so that its interface has it.
    assert host.read("/sys/class/net/ens3f0v1/address") == f"{MAC}\n"
    assert [made["sriov"]["functions"][1][key] for key in ("mac", "vlan")] == [MAC, 100]
    second = told(host)[1]
    assert (second["vlan_list"], second["trust"], second["spoofchk"]) == ([{"vlan": 100, "qos": 3}], True, False)
    # Others change some of it: that is told, and set again; what was not said stays.
    host.run(["ip", "link", "set", "dev", "ens3f0", "vf", "1", "vlan", "7"])
    host.run(["ip", "link", "set", "dev", "ens3f0", "vf", "1", "state", "enable"])
    (facts,) = host.done("definition_facts", kinds=["sriov"])["ansible_facts"]["nodedev_definitions"]["sriov"]
    assert facts["drift"] == [
        {"what": "vlan of 1", "defined": 100, "running": 7},
        {"what": "qos of 1", "defined": 3, "running": 0},
    ]
    assert changed(host)["plan"] == [f"set vlan 100, qos 3 of virtual function 1 of {CALLED}"]
    assert (told(host)[1]["vlan_list"], told(host)[1]["link_state"]) == ([{"vlan": 100, "qos": 3}], "enable")
    host.run(["ip", "link", "set", "dev", "ens3f0", "vf", "1", "vlan", "7", "proto", "802.1ad"])
    assert changed(host)["plan"] == [f"set vlan 100, qos 3 of virtual function 1 of {CALLED}"]
    assert told(host)[1]["vlan_list"] == [{"vlan": 100, "qos": 3, "protocol": "802.1ad"}]


def test_an_interface_that_is_down(start: Callable[..., Host]) -> None:
    found, _card = scenario(PF)
    (interface,) = (each for each in found["devices"] if each.get("path", "").endswith("net/ens3f0"))
    interface["attributes"]["flags"] = "0x1002"
    host = start(found)
    install(host)
    (warning,) = warnings(sriov(host, numvfs=1, vfs=[{"index": 0, "mac": MAC}]))
    assert warning.startswith("interface ens3f0 is down: some drivers, as igb, give functions their MAC addresses only")
    assert warnings(sriov(host, vfs=[{"index": 0, "vlan": 5}])) == []


def test_what_a_card_does_not_offer(host: Host) -> None:
    sriov(host, device=PICKY, numvfs=1)
    message = refused(host, device=PICKY, vfs=[{"index": 0, "trust": True}])
    assert message == "vfs: {'index': 0} cannot be used: driver mlx5_core does not offer trust"


def test_what_a_card_does_not_offer_is_undone(host: Host) -> None:
    """Before there are functions it cannot be told what the driver offers of them."""
    message = refused(host, device=PICKY, numvfs=2, vfs=[{"index": 0, "vlan": 5, "trust": True}])
    assert "the driver of ens4f0np0 does not offer trust. undone: create 2 virtual functions" in message
    assert drivers(host, PICKY) == []


def test_what_is_not_taken_is_set_back(host: Host) -> None:
    sriov(host, device=PICKY, numvfs=1)
    before = told(host, "ens4f0np0")
    message = refused(host, device=PICKY, vfs=[{"index": 0, "vlan": 5, "min_tx_rate": 5, "max_tx_rate": 10}])
    assert "what was set before it was set back" in message
    assert told(host, "ens4f0np0") == before


def test_an_interface_that_comes_late(engine: Host) -> None:
    engine.fault("/sys/devices/*/0000:3b:01.*/net", lag=1.5)
    engine.fault("/sys/devices/*/net", lag=1.5)
    made = sriov(engine, numvfs=2)
    assert [each["netdev"] for each in made["sriov"]["functions"]] == ["ens3f0v0", "ens3f0v1"]
    assert warnings(made) == []


def test_an_interface_that_does_not_come(host: Host) -> None:
    host.fault("/sys/devices/*/0000:3b:01.1/net", lag=LATE)
    made = sriov(host, numvfs=2, wait_timeout=1)
    reason = "its driver iavf has made no network interface"
    assert [each["unusable"] for each in made["sriov"]["functions"]] == [None, reason]
    assert f"pci_0000_3b_01_1 cannot be used: {reason}" in warnings(made)


def test_a_function_without_a_group(host: Host) -> None:
    host.fault("*/0000:3b:01.0/iommu_group", lag=LATE)
    made = sriov(host, numvfs=1, driver="vfio-pci", wait_timeout=1)
    reason = "it has no IOMMU group, so that no guest can have it"
    assert made["sriov"]["functions"][0]["unusable"] == reason


def test_links_that_come_late(host: Host) -> None:
    host.fault(f"{PLACE}/virtfn1", lag=0.5)
    assert sriov(host, numvfs=2)["sriov"]["numvfs"] == 2


def test_a_card_without_a_driver(host: Host) -> None:
    host.write(f"{PLACE}/driver/unbind", PF)
    message = refused(host, numvfs=2)
    assert message == (
        f"{CALLED} has no driver, which makes and removes the virtual functions: load it, or bind the function"
    )
    # Nothing has to be made of these.
    assert sriov(host, numvfs=0)["plan"] == [DEFINE]


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ("ENOMEM", "the firmware has reserved too few bus numbers"),
        ("EIO", "the card's firmware refuses"),
        ("ENOENT", "it has no driver, or its driver makes no virtual functions"),
        ("EBUSY", "other virtual functions are enabled already"),
    ],
)
def test_what_the_kernel_answers(host: Host, answer: str, meaning: str) -> None:
    host.fault(NUMBER, op="write", errno=answer)
    message = refused(host, numvfs=2, autoprobe=False)
    assert message.startswith(f"could not create 2 virtual functions of {CALLED}{UNBOUND}: writing '2\\n' to ")
    assert meaning in message


def test_a_driver_that_never_answers(host: Host) -> None:
    host.fault(NUMBER, op="write", delay=LATE)
    result = host.module("sriov", device=PF, numvfs=2, driver="vfio-pci", wait_timeout=1)
    assert "the driver has not answered after 1 s; it may still do what was asked" in result["msg"]
    # Who looks does not wait for it, and autoprobe is as before.
    assert host.read(AUTOPROBE) == "1\n"
    assert not host.module("sriov", device=PF, check_mode=True, numvfs=4, force=True).get("failed")


def scenario(pf: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scenario, to be altered, and in it the device of this address."""
    found = yaml.safe_load((ROOT / "tests" / "simhost" / "scenarios" / "functions.yml").read_text())
    (card,) = (each for each in found["devices"] if each.get("pci", {}).get("address") == pf)
    return found, card


def test_fewer_than_asked_for(start: Callable[..., Host]) -> None:
    found, card = scenario(PF)
    card["behaviour"]["sriov"]["enables"] = 3
    host = start(found)
    message = refused(host, numvfs=4)
    assert message == (
        f"could not create 4 virtual functions of {CALLED}: the driver of {CALLED} has enabled 3 of 4 virtual"
        " functions: look at the kernel log, or ask for fewer; they were removed again"
    )
    assert sriov(host, numvfs=3)["sriov"]["numvfs"] == 3


def test_what_a_guest_has_is_never_taken_away(host: Host) -> None:
    made = sriov(host, numvfs=2, driver="vfio-pci")
    group = made["sriov"]["functions"][0]["iommu_group"]
    with host.hold(f"/dev/vfio/{group}") as pid:
        for wish in ({"numvfs": 1}, {"state": "absent"}, {"driver": "iavf"}):
            result = host.module("sriov", device=PF, force=True, **wish)
            assert "which force does not do" in result["msg"]
            assert [each["pid"] for each in result["holders"]] == [pid]
        seen = sriov(host)["sriov"]["functions"]
        assert [[each["pid"] for each in function["holders"]] for function in seen] == [[pid], []]
    assert sriov(host, state="absent", force=True)["changed"]


def test_what_a_guest_has_stays_as_it_is(host: Host) -> None:
    """libvirt sets the addresses and VLANs of its guests' functions itself."""
    made = sriov(host, numvfs=2, driver="vfio-pci", vfs=[{"index": 0, "vlan": 5}])
    wish = {"vfs": [{"index": 0, "vlan": 6}, {"index": 1, "vlan": 7}]}
    with host.hold(f"/dev/vfio/{made['sriov']['functions'][0]['iommu_group']}") as pid:
        done = changed(host, **wish)
        assert done["plan"][0] == f"set vlan 7 of virtual function 1 of {CALLED}"
        stays = (
            f"virtual function 0 of {CALLED} is in use by process {pid} (simhost-guest): its vlan stays as it is until"
            " that ends, unless force: true is set"
        )
        assert stays in warnings(done)
        assert [each["vlan_list"] for each in told(host)] == [[{"vlan": 5}], [{"vlan": 7}]]
        assert changed(host, **wish, force=True)["plan"] == [f"set vlan 6 of virtual function 0 of {CALLED}"]
        assert told(host)[0]["vlan_list"] == [{"vlan": 6}]


def test_nodes_are_opened_only_before_functions_are_taken_away(host: Host) -> None:
    """Whatever their number, processes are looked at once."""
    made = sriov(host, numvfs=3, driver="vfio-pci")
    node = f"/dev/vfio/{made['sriov']['functions'][0]['iommu_group']}"
    with host.hold(node) as pid:
        for wish in ({}, {"numvfs": 3}, {"driver": "vfio-pci"}):
            assert looks(host, "sriov.device", device=PF, **wish) == (1, 0)
        assert [each["holders"] for each in sriov(host)["sriov"]["functions"]] == [[open_by(pid, node)], [], []]
    for wish in ({"numvfs": 2}, {"state": "absent"}, {"state": "inactive"}, {"driver": "none"}):
        assert looks(host, "sriov.device", check_mode=True, device=PF, force=True, **wish) == (1, 3)


def test_what_is_on_a_function_needs_force(host: Host) -> None:
    functions = sriov(host, device=GPU, numvfs=2)["sriov"]["functions"]
    uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    host.done("mdev", uuid=uuid, parent=functions[1]["address"], type="vgpusim-2", persistent=False)
    message = refused(host, device=GPU, state="absent")
    assert functions[1]["address"] in message
    assert uuid in message
    assert sriov(host, device=GPU)["sriov"]["functions"][1]["vgpu_type"] == "vgpusim-2"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"device": "eth0"}, "device: 'eth0' cannot be used: a PCI function is named like"),
    (
        {"device": "0000:ff:1f.7", "numvfs": 1},
        f"device: '{called('0000:ff:1f.7')}' cannot be used: there is no such",
    ),
    ({"device": "0000:18:00.0", "numvfs": 1}, "it has no virtual functions, since it has no SR-IOV"),
    ({}, "numvfs is required: no virtual functions are there or defined whose number could stay"),
    ({"numvfs": "many"}, "numvfs: 'many' cannot be used: a number from 0 to 65535, or max"),
    ({"numvfs": 1, "driver": "../x"}, "driver: '../x' cannot be used: a driver's name has"),
    ({"numvfs": 1, "vfs": [{"index": 1, "vlan": 1}]}, "there are to be 1 functions, counted from 0"),
    ({"numvfs": 1, "vfs": [{"index": 0, "vlan": 5000}]}, "vfs.vlan: 5000 cannot be used: a number from 0 to 4094"),
    ({"numvfs": 1, "vfs": [{"index": 0, "mac": "x"}]}, "vfs.mac: 'x' cannot be used: a MAC address has 6 bytes"),
    ({"device": GPU, "numvfs": 1, "vfs": [{"index": 0, "vlan": 1}]}, "has no network interface by which to set them"),
    (
        {"numvfs": 1, "state": "inactive", "persistent": False},
        "with state 'inactive' the definition is all that is kept",
    ),
]


@pytest.mark.parametrize(("wish", "message"), BAD)
def test_bad_input(host: Host, wish: dict[str, Any], message: str) -> None:
    assert message in refused(host, **wish)


def test_a_virtual_function_has_none(host: Host) -> None:
    sriov(host, numvfs=1)
    assert f"it is a virtual function of {CALLED}" in refused(host, device=VFS[0], numvfs=1)


WISH: dict[str, Any] = {"numvfs": 2, "driver": "vfio-pci", "force": True, "vfs": [{"index": 0, "mac": MAC, "vlan": 9}]}
# What is written in that order for a wish of other functions, and which of the writes to that file it is.
FAULTS = [
    (NUMBER, 1),
    (AUTOPROBE, 1),
    (NUMBER, 2),
    ("*/driver_override", 1),
    ("/sys/bus/pci/drivers_probe", 1),
    ("/sys/bus/pci/drivers_probe", 2),
]


@pytest.mark.parametrize(("path", "nth"), FAULTS)
def test_a_fault_at_every_step_is_undone(host: Host, path: str, nth: int) -> None:
    sriov(host, numvfs=4, vfs=[{"index": 3, "vlan": 44, "mac": MAC.replace("1", "4")}])
    address = "/sys/class/net/ens3f0v3/address"
    before, settings, hardware = host.state(), told(host), host.read(address)
    host.fault(path, op="write", errno="EIO", nth=nth)
    message = refused(host, **WISH)
    assert "NOT undone" not in message
    assert (host.state(), told(host), host.read(address)) == (before, settings, hardware)
    host.clear_faults()
    assert sriov(host, **WISH)["changed"]


def test_a_definition_that_cannot_be_written_is_undone(host: Host) -> None:
    host.run(["sh", "-c", "mkdir -p /etc/nodedev.d; touch /etc/nodedev.d/sriov"])
    message = refused(host, **WISH)
    assert message.endswith(f"undone: create 2 virtual functions of {CALLED}{UNBOUND}")
    assert drivers(host) == []


def killed(host: Host, path: str, **wish: Any) -> None:
    """Run the module and kill it when it has written to this file, which returns late."""
    host.fault(path, op="write", delay=LATE)
    script = str(ROOT / "plugins" / "modules" / "sriov.py")
    run = host.popen(
        [host.python, script], env=host.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdin is not None
    run.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {"device": PF, **wish}}))
    run.stdin.close()
    end = time.monotonic() + 20
    while not any(fault["hits"] for fault in host.faults()) and time.monotonic() < end:
        time.sleep(0.02)
    run.kill()
    run.wait()
    host.clear_faults()


@pytest.mark.parametrize("path", [AUTOPROBE, NUMBER, "*/0000:3b:01.0/driver_override", "/sys/bus/pci/drivers_probe"])
def test_a_killed_run_is_completed_by_the_next(host: Host, path: str) -> None:
    killed(host, path, **WISH)
    done = sriov(host, **WISH)
    assert drivers(host) == ["vfio-pci", "vfio-pci"]
    assert told(host)[0]["address"] == MAC
    assert (host.read(AUTOPROBE), done["sriov"]["autoprobe"]) == ("1\n", True)
    assert host.run(["ls", "/run/nodedev/autoprobe"], check=False).stdout == ""
    assert sriov(host)["plan"] == []


@pytest.mark.parametrize("path", [NUMBER, "/sys/bus/pci/drivers_probe"])
def test_functions_that_a_killed_run_has_left_unbound(host: Host, path: str) -> None:
    wish = {"numvfs": 2, "vfs": [{"index": 0, "mac": MAC}]}
    killed(host, path, **wish)
    assert "none" in drivers(host)
    assert f"have the kernel choose drivers for {FUNCTIONS}" in sriov(host, **wish)["plan"]
    assert drivers(host) == ["iavf", "iavf"]
    assert host.run(["ls", "/run/nodedev/unbound"], check=False).stdout == ""
    # One that is taken from its driver later stays so.
    host.write(f"/sys/bus/pci/devices/{VFS[0]}/driver/unbind", VFS[0])
    assert sriov(host)["plan"] == []


def test_two_at_once(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _number: sriov(host, numvfs=4), range(2)))
    assert sorted(each["changed"] for each in results) == [False, True]
    assert drivers(host) == ["iavf"] * 4


TOOL, OTHER_TOOL = "/usr/lib/nvidia/sriov-manage", "/run/nvidia/driver/usr/lib/nvidia/sriov-manage"
# As often as /run/taken says, a client has the card; and /run/idle has it do nothing, and say that all is well.
SRIOV_MANAGE = """#!/bin/sh
left=$(cat /run/taken 2>/dev/null || echo 0)
if test "$left" -gt 0; then
    echo $((left - 1)) > /run/taken
    echo "Cannot obtain unbindLock for $2" >&2
    exit 1
fi
test -e /run/idle && exit 0
pf=/sys/bus/pci/devices/$2
case $1 in
-e) cat "$pf/sriov_totalvfs" > "$pf/sriov_numvfs" ;;
-d) echo 0 > "$pf/sriov_numvfs" ;;
esac
exit 3
"""


@pytest.fixture
def nvidia(start: Callable[..., Host]) -> Host:
    """A host with a GPU of NVIDIA's, and a tool in the place of theirs, whose exit status means nothing."""
    found, card = scenario(GPU)
    card["pci"]["vendor"] = 0x10DE
    found["drivers"]["pci"]["vgpusim"]["ids"] = ["pci:v000010DEd000000F*"]
    host = start(found)
    tool(host, TOOL)
    return host


def tool(host: Host, path: str) -> None:
    plant(host, path, SRIOV_MANAGE)
    host.run(["chmod", "755", path])


def test_functions_by_the_vendors_tool(nvidia: Host) -> None:
    functions = "the virtual functions of pci_0000_06_00_0 (0000:06:00.0)"
    assert refused(nvidia, device=GPU, numvfs=2) == (
        f"numvfs: '2' cannot be used: {TOOL} enables all 4 virtual functions or none: 0, 4 or max"
    )
    plant(nvidia, "/run/taken", "1")
    made = changed(nvidia, device=GPU, numvfs="max")
    assert made["plan"][0] == f"enable {functions} by {TOOL}"
    assert nvidia.read("/run/taken") == "0\n"
    address = made["sriov"]["functions"][0]["address"]
    uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    nvidia.done("mdev", uuid=uuid, parent=address, type="vgpusim-2", persistent=False)
    message = refused(nvidia, device=GPU, state="absent", force=True)
    assert message == f"{TOOL} would take the card from under its vGPUs, {address} (vgpusim-2): remove them first"
    nvidia.done("mdev", uuid=uuid, state="absent")
    assert changed(nvidia, device=GPU, state="absent", force=True)["plan"][1].endswith(f" by {TOOL}")


def test_the_vendors_tool_is_judged_by_what_is_there(nvidia: Host) -> None:
    plant(nvidia, "/run/idle", "")
    message = refused(nvidia, device=GPU, numvfs="max", wait_timeout=1)
    assert f"{TOOL} -e {GPU} has left 0 virtual functions" in message


def test_two_of_the_vendors_tools(nvidia: Host) -> None:
    tool(nvidia, OTHER_TOOL)
    message = refused(nvidia, device=GPU, numvfs="max")
    assert f"{TOOL} and {OTHER_TOOL} are both there, so that pci_0000_06_00_0 (0000:06:00.0) has two" in message


# An NVMe card's primary controller, as nvme-cli tells of it, with the rules of its firmware.
NVME = """#!/usr/bin/python3
import json, os, sys
KEPT, PF = "/run/nvme.json", "/sys/bus/pci/devices/0000:81:00.0"
KEYS = ("secondary-controller-identifier", "primary-controller-identifier", "secondary-controller-state",
        "virtual-function-number", "num-virtual-queues", "num-virtual-interrupts")
FREE = {"vqfrt": 8, "vqfrsm": 2, "vqgran": 1, "vqrfap": 0, "vifrt": 4, "vifrsm": 1, "vigran": 1, "vifrap": 0}
kept = json.load(open(KEPT)) if os.path.exists(KEPT) else [[9 + n, 1, 0, n, 0, 0] for n in range(1, 5)]
command, node, *options = sys.argv[1:]
if command == "list-secondary":
    print(json.dumps({"num": 4, "secondary-controllers": [dict(zip(KEYS, each)) for each in kept]}))
elif command == "primary-ctrl-caps":
    print(json.dumps({"cntlid": 1, **FREE, "virfap": 0}))
else:
    given = {name.strip("-"): int(value) for name, value in (each.split("=") for each in options)}
    (each,) = (each for each in kept if each[0] == given["cntlid"])
    if given["act"] == 7:
        each[2:] = [0, each[3], 0, 0]
    elif given["act"] == 8 and not each[2]:
        each[4 + given["rt"]] = given["nr"]
    elif given["act"] == 9 and each[4] >= 2 and each[5] and os.path.exists(f"{PF}/virtfn{each[3] - 1}"):
        each[2] = 1
    else:
        sys.exit("NVMe status: Invalid Controller Identifier(0x11f)")
    json.dump(kept, open(KEPT, "w"))
"""


def test_controllers_of_an_nvme_card(host: Host) -> None:
    made = sriov(host, device=SSD, numvfs=2, persistent=False)["sriov"]["functions"]
    missing = "nvme-cli is not installed, which brings its controller online"
    assert [each["unusable"] for each in made] == [missing, missing]
    plant(host, "/usr/sbin/nvme", NVME)
    host.run(["chmod", "755", "/usr/sbin/nvme"])
    reason = "its controller is offline, with 0 queues and 0 interrupts"
    assert sriov(host, device=SSD, persistent=False)["sriov"]["functions"][0]["unusable"] == reason
    assert "pci_0000_81_00_2 (0000:81:00.2): it is bound to nvme" in refused(host, device=SSD, numvfs=2)
    again = changed(host, device=SSD, numvfs=2, force=True, persistent=False)
    assert [each["unusable"] for each in again["sriov"]["functions"]] == [None] * 2
    done = changed(host, device=SSD, numvfs=3, force=True)
    assert done["plan"][1:5] == [
        "give queues and interrupts of /dev/nvme1 to the controllers of 3 virtual functions",
        f"create 3 virtual functions of pci_0000_81_00_0 ({SSD}){UNBOUND}",
        "bring the controllers of 3 virtual functions of /dev/nvme1 online",
        f"have the kernel choose drivers for the virtual functions of pci_0000_81_00_0 ({SSD})",
    ]
    assert [each["unusable"] for each in done["sriov"]["functions"]] == [None] * 3
    assert drivers(host, SSD) == ["nvme"] * 3
    host.fault(f"/sys/bus/pci/devices/{SSD}/sriov_numvfs", op="write", errno="ENOMEM", nth=2)
    assert "undone: destroy" in host.failed("sriov", device=SSD, numvfs=4, force=True)
    kept = sriov(host, device=SSD, persistent=False)["sriov"]["functions"]
    assert [(each["driver"], each["unusable"]) for each in kept] == [("nvme", None)] * 3


def test_a_damaged_definition(host: Host) -> None:
    plant(host, DEFINITION, "{")
    assert "is damaged" in refused(host, numvfs=2)
    (damage,) = host.done("definition_facts", kinds=["sriov"])["ansible_facts"]["nodedev_definitions"]["damaged"]
    assert damage["path"] == DEFINITION
    assert sriov(host, state="absent")["plan"] == [f"remove the damaged definition of {FUNCTIONS}, {DEFINITION}"]


def test_another_owner_is_named(engine: Host) -> None:
    profile = "/etc/NetworkManager/system-connections/x.nmconnection"
    plant(engine, profile, "[connection]\ninterface-name=ens3f0\n[sriov]\ntotal-vfs=2\n")
    (warning,) = warnings(sriov(engine, numvfs=1))
    assert f"{profile} has NetworkManager make 2 with the connection" in warning
    # Who changes nothing is in nobody's way, and does not look.
    assert warnings(sriov(engine, numvfs=1)) == []
    assert warnings(sriov(engine, device=PICKY, numvfs=1)) == []


def test_it_is_back_after_a_reboot(engine: Host) -> None:
    sriov(engine, **WISH)
    sriov(engine, device=GPU, numvfs=1, persistent=False)
    engine.reboot()
    assert drivers(engine) == []
    done = restore(engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"restored: {FUNCTIONS}", "1 restored, 0 there already, 0 failed"]
    assert (drivers(engine), told(engine)[0]["address"]) == (["vfio-pci", "vfio-pci"], MAC)
    assert restore(engine).stdout.splitlines()[0] == f"there already: {FUNCTIONS}"
    assert restore(engine, "--list").stdout.splitlines() == [f"{FUNCTIONS}: active, auto"]


def test_what_lives_on_functions_is_back_after_them(engine: Host) -> None:
    functions = sriov(engine, device=GPU, numvfs=2)["sriov"]["functions"]
    uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    engine.done("mdev", uuid=uuid, parent=functions[1]["address"], type="vgpusim-2")
    engine.reboot()
    foretold = restore(engine, "--dry-run")
    assert (foretold.returncode, foretold.stderr) == (0, "")
    step, waits = foretold.stdout.splitlines()
    assert step.startswith("would create 2 virtual functions")
    assert f"{uuid} of type vgpusim-2 on " in waits
    assert " waits for what is made before it: its parent " in waits
    done = restore(engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 restored, 0 there already, 0 failed" in done.stdout
    assert engine.run(["ls", "/sys/bus/mdev/devices"]).stdout.split() == [uuid]


def test_it_is_back_when_its_card_arrives(engine: Host) -> None:
    sriov(engine, numvfs=2)
    engine.write(f"{PLACE}/driver/unbind", PF)
    assert drivers(engine) == []
    done = restore(engine, "--wait", "0")
    assert done.returncode == 1
    assert f"failed: {FUNCTIONS}: its physical function has no driver yet" in done.stderr.splitlines()
    engine.write("/sys/bus/pci/drivers_probe", PF)
    plant(engine, f"/etc/nodedev.d/sriov/{PICKY}.json", "{")
    done = restore(engine, "--parent", PF)
    assert (done.returncode, done.stderr) == (0, "")
    assert drivers(engine) == ["iavf", "iavf"]
    assert "is damaged" in restore(engine, "--parent", PICKY).stderr


def test_its_interface_may_be_later_than_its_driver(engine: Host) -> None:
    """Its functions' addresses and VLANs are set by it."""
    sriov(engine, numvfs=2, vfs=[{"index": 0, "mac": MAC}])
    for late, wait, reason in ((LATE, "0", "its physical function has no network interface yet"), (1.5, "30", None)):
        engine.clear_faults()
        engine.fault(f"/sys/devices/*/{PF}/net", lag=late)
        engine.reboot()
        done = restore(engine, "--wait", wait)
        assert done.stderr == ("" if reason is None else f"failed: {FUNCTIONS}: {reason}\n")
    assert told(engine)[0]["address"] == MAC


def test_a_card_that_is_gone(engine: Host) -> None:
    plant(engine, "/etc/nodedev.d/sriov/0000:ff:00.0.json", '{"version": 1, "numvfs": 1}')
    done = restore(engine)
    assert "its physical function is not there; it is restored when that arrives" in done.stderr
    (facts,) = engine.done("definition_facts", kinds=["sriov"])["ansible_facts"]["nodedev_definitions"]["sriov"]
    assert (facts["parent_missing"], facts["active"], facts["drift"]) == (True, False, [])
    assert sriov(engine, device="0000:ff:00.0", state="absent")["changed"]


def test_it_returns_what_it_documents(host: Host) -> None:
    known = returned("sriov")
    made = sriov(host, numvfs=4, vfs=[{"index": 0, "vlan": 100}])
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["sriov"]) == shape(known["sriov"]["contains"])
    (sample,) = known["sriov"]["contains"]["functions"]["sample"]
    assert {frozenset(each) for each in made["sriov"]["functions"]} == {frozenset(sample)}
    assert samples_unlike(known, made) == []
    facts = returned("definition_facts")["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]["sriov"]
    host.run(["ip", "link", "set", "dev", "ens3f0", "vf", "0", "vlan", "7"])
    (found,) = host.done("definition_facts", kinds=["sriov"])["ansible_facts"]["nodedev_definitions"]["sriov"]
    assert set(found) == set(facts["sample"][0])
    assert found["drift"] == [{"what": "vlan of 0", "defined": 100, "running": 7}]
