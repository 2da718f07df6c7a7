# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver module on a simulated host with the kernel's driver core: bound and given back, refused, back at boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Host, open_by, warnings
from looks import looks
from simhost.testing import eventually
from test_restore import install, restore

DISK, DATA, ROOT_DISK, TWIN = "0000:5e:00.0", "0000:5f:00.0", "0000:01:00.0", "0000:5e:00.1"
NIC, BRIDGE, ALONE, PICKY = "0000:18:00.0", "0000:00:01.0", "0000:05:00.0", "0000:06:00.0"
CONSOLE, SUBCHANNEL, SPARE, LATECOMER = "0000:02:00.0", "0.0.0013", "0000:3b:00.0", "0000:07:00.0"
CALLED = f"pci_0000_5e_00_0 ({DISK})"
KEPT = "/etc/driverctl.d/pci-{}"
LATE = 3600
NVME = {"vendor": 0x144D, "device": 0xA808, "class": 0x010802}


def disk(address: str, name: str) -> list[dict[str, Any]]:
    """An NVMe disk: its function, and what its driver has on it."""
    place = f"devices/pci{address[:7]}/{address}"
    number = int(name[4:].partition("n")[0])
    controller = name.rpartition("n")[0]
    return [
        {"pci": {"address": address, **NVME}, "iommu_group": "auto"},
        {"path": f"{place}/nvme/{controller}", "class": "nvme", "of_driver": "nvme"},
        {
            "path": f"{place}/nvme/{controller}/{name}",
            "class": "block",
            "of_driver": "nvme",
            "uevent": {"DEVTYPE": "disk", "DEVNAME": name},
            "node": {"name": name, "major": 259, "minor": number},
        },
    ]


def card(address: str, interface: str, number: int) -> list[dict[str, Any]]:
    """A network card with its interface."""
    return [
        {
            "pci": {"address": address, "vendor": 0x8086, "device": 0x1592, "class": 0x020000},
            "iommu_group": "auto",
        },
        {
            "path": f"devices/pci{address[:7]}/{address}/net/{interface}",
            "class": "net",
            "of_driver": "ice",
            "uevent": {"INTERFACE": interface, "IFINDEX": number},
        },
    ]


SCENARIO: dict[str, Any] = {
    "hostname": "drivers",
    "drivers": {
        "pci": {
            "nvme": {"ids": ["pci:*bc01sc08i02*"]},
            "ice": {"ids": ["pci:v00008086d00001592*"]},
            "nouveau": {"ids": ["pci:v000010DE*bc03*"]},
            "pcieport": {"ids": ["pci:*bc06sc04*"], "builtin": True},
            "vfio-pci": {"vfio": True, "override_only": True, "loaded": False, "probe_errno": {PICKY: "EIO"}},
            "spare_vfio_pci": {"vfio": True, "override_only": True, "loaded": False},
            "late": {"ids": ["pci:v00001AF4*"], "loaded": False},
        },
        "css": {"io_subchannel": {"ids": ["css:t0"]}, "vfio_ccw": {"ids": ["css:t0"], "loaded": False}},
    },
    "module_files": {
        "modules.alias": (
            "alias vfio_pci:v00008086d00001592sv*sd*bc*sc*i* spare_vfio_pci\n"
            "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
            "alias pci:v00001AF4d*sv*sd*bc*sc*i* late\n"
        )
    },
    "proc": {"cpuinfo": "vendor_id\t: GenuineIntel\n"},
    "devices": [
        {"pci": {"address": BRIDGE, "class": 0x060400, "header": 1}, "iommu_group": 0},
        *disk(DISK, "nvme1n1"),
        *disk(DATA, "nvme2n1"),
        *disk(ROOT_DISK, "nvme0n1"),
        *card(NIC, "eth0", 2),
        *card(SPARE, "eth1", 3),
        {"pci": {"address": PICKY, **NVME}, "iommu_group": "auto"},
        {"pci": {"address": ALONE, **NVME}},
        {"pci": {"address": LATECOMER, "vendor": 0x1AF4}, "iommu_group": "auto"},
        {
            "pci": {"address": CONSOLE, "vendor": 0x10DE, "device": 0x1EB8, "class": 0x030000},
            "iommu_group": "auto",
            "attributes": {"boot_vga": 1},
        },
        {
            "path": f"devices/css0/{SUBCHANNEL}",
            "bus": "css",
            "attributes": {"modalias": "css:t0", "dev_busid": "0.0.1520"},
        },
    ],
}


@pytest.fixture
def machine(start: Callable[..., Host]) -> Host:
    """The host, with the boot engine."""
    host = start(SCENARIO)
    install(host)
    return host


def bound(host: Host, address: str, bus: str = "pci") -> tuple[str | None, str]:
    """The driver and the override of a device."""
    place = f"/sys/bus/{bus}/devices/{address}"
    link = host.path(f"{place}/driver")
    return link.readlink().name if os.path.lexists(link) else None, host.read(f"{place}/driver_override")


def kept(host: Host, address: str = DISK) -> str | None:
    """The file of driverctl's, byte for byte."""
    path = host.path(KEPT.format(address))
    return path.read_text() if path.exists() else None


def changed(host: Host, foretold: bool = True, **wish: Any) -> dict[str, Any]:
    """The result of a run that changes something, as check mode has foretold it; the next one changes nothing."""
    before = host.state()
    checked = host.done("driver", **{"device": DISK, **wish}, check_mode=True, diff=True)
    assert host.state() == before
    done = host.done("driver", **{"device": DISK, **wish}, diff=True)
    keys = ("plan", "diff", "device", "group") if foretold else ("plan",)
    assert {key: checked[key] for key in keys} == {key: done[key] for key in keys}
    again = host.done("driver", **{"device": DISK, **wish}, diff=True)
    assert (done["changed"], again["changed"], again["plan"]) == (True, False, [])
    return done


def refused(host: Host, **wish: Any) -> str:
    return host.failed("driver", **{"device": DISK, "driver": "vfio-pci", **wish})


def test_its_life(machine: Host) -> None:
    made = changed(machine, driver="vfio-pci")
    assert made["plan"] == [
        "load module vfio-pci",
        f"bind {CALLED} to vfio-pci, now bound to nvme",
        f"define driver vfio-pci for {CALLED}",
    ]
    assert made["diff"] == {
        "before": f"{DISK}: runs; driver nvme\n",
        "after": f"{DISK}: runs and is defined; driver vfio-pci, override vfio-pci\n",
    }
    assert made["device"] == {
        "name": "pci_0000_5e_00_0",
        "address": DISK,
        "driver": "vfio-pci",
        "override": "vfio-pci",
        "iommu_group": made["device"]["iommu_group"],
        "active": True,
        "persistent": True,
    }
    assert isinstance(made["device"]["iommu_group"], int)
    assert (bound(machine, DISK), kept(machine)) == (("vfio-pci", "vfio-pci\n"), "vfio-pci\n")
    changed(machine, driver="vfio-pci", state="inactive", foretold=False)
    assert (bound(machine, DISK), kept(machine)) == (("nvme", "(null)\n"), "vfio-pci\n")
    changed(machine)
    assert bound(machine, DISK) == ("vfio-pci", "vfio-pci\n")
    changed(machine, state="absent", foretold=False)
    assert (bound(machine, DISK), kept(machine)) == (("nvme", "(null)\n"), None)


def test_a_driver_that_keeps_what_is_given_back(start: Callable[..., Host]) -> None:
    """As driverctl of Debian 13 has it after a boot, of all functions with the id of one that it has bound."""
    drivers = {"vfio-pci": {"vfio": True, "override_only": True}, "nvme": SCENARIO["drivers"]["pci"]["nvme"]}
    host = start({**SCENARIO, "drivers": {"pci": drivers}, "devices": disk(DISK, "nvme1n1")})
    install(host)
    host.done("driver", device=DISK, driver="vfio-pci")
    id = " ".join(host.read(f"/sys/bus/pci/devices/{DISK}/{name}").strip() for name in ("vendor", "device"))
    host.write("/sys/bus/pci/drivers/vfio-pci/new_id", id)
    told = host.done("driver", device=DISK, state="absent")
    assert (told["device"]["driver"], told["device"]["active"]) == ("vfio-pci", False)
    assert bound(host, DISK) == ("vfio-pci", "(null)\n")
    (warning,) = warnings(told)
    assert warning == (
        f"{CALLED} still has vfio-pci, now by the kernel's choice: its id was written to that driver's new_id, as"
        " driverctl 0.115 does; remove_id there takes that back, or driver names the one that is to have it"
    )
    named = host.done("driver", device=DISK, driver="nvme")
    assert (bound(host, DISK)[0], warnings(named)) == ("nvme", [])


def test_given_back_as_often_as_one_likes(machine: Host) -> None:
    before = machine.state()
    for _round in range(3):
        machine.done("driver", device=DISK, driver="vfio", persistent=False)
        assert bound(machine, DISK)[0] == "vfio-pci"
        machine.done("driver", device=DISK, state="absent")
        assert bound(machine, DISK)[0] == "nvme"
    assert [line for line in before.splitlines() if DISK in line and "driver_override" in line] != []
    assert bound(machine, DISK) == ("nvme", "(null)\n")


def test_no_driver(machine: Host) -> None:
    made = changed(machine, driver="none")
    assert made["plan"][0] == f"unbind {CALLED} for good, now bound to nvme"
    assert (bound(machine, DISK), kept(machine)) == ((None, "none\n"), "none\n")
    machine.write("/sys/bus/pci/drivers_probe", DISK)
    assert bound(machine, DISK)[0] is None


@pytest.mark.parametrize(("device", "driver"), [(SPARE, "spare_vfio_pci"), (DISK, "vfio-pci")])
def test_the_most_specific_driver_of_guests(machine: Host, device: str, driver: str) -> None:
    changed(machine, device=device, driver="vfio")
    assert (bound(machine, device)[0], kept(machine, device)) == (driver, f"{driver}\n")


def test_new_id_is_never_written(machine: Host) -> None:
    machine.fault("*/new_id", op="write", errno="EINVAL")
    machine.done("driver", device=DISK, driver="vfio-pci")
    machine.done("driver", device=DISK, state="absent")
    (fault,) = machine.faults()
    assert fault["hits"] == 0


def test_a_driver_that_does_not_take_the_device(machine: Host) -> None:
    machine.run(["modprobe", "vfio-pci"])
    message = refused(machine, device=PICKY)
    assert message == (
        f"could not bind pci_0000_06_00_0 ({PICKY}) to vfio-pci, now bound to nvme:"
        f" /sys/devices/pci0000:06/{PICKY}/driver: the device has no driver, and not vfio-pci:"
        " look at the kernel log; it is bound to nvme again"
    )


def test_given_back_to_a_driver_that_is_not_loaded(machine: Host) -> None:
    """Where an override has had the device since it came, nothing has loaded the driver that it has by itself."""
    machine.done("driver", device=LATECOMER, driver="vfio-pci")
    assert not machine.path("/sys/bus/pci/drivers/late").exists()
    assert changed(machine, device=LATECOMER, state="absent", foretold=False)["device"]["driver"] == "late"


REFUSED = [
    ("a bridge", {"device": BRIDGE, "force": True}, "it is a bridge or a root port, and stays with the kernel"),
    (
        "no IOMMU",
        {"device": ALONE, "force": True},
        "has no IOMMU group, so that no guest can have it: switch the IOMMU on in the firmware (VT-d), and by"
        " intel_iommu=on among the kernel's arguments",
    ),
    ("no such driver", {"driver": "vifo-pci"}, "no driver for pci has this name, and no module could be loaded"),
    (
        "no such device",
        {"device": "0000:77:00.0"},
        "device: 'pci_0000_77_00_0 (0000:77:00.0)' cannot be used: there is no such device",
    ),
    (
        "the console",
        {"device": CONSOLE},
        "is in use, it is the GPU of the console: stop that first, or set force: true",
    ),
    ("bad device", {"device": "../x"}, "device: '../x' cannot be used: a device is named as pci_0000_3d_00_0"),
    ("bad driver", {"driver": "a/b"}, "driver: 'a/b' cannot be used: a driver's name has 1 to 64 letters"),
    ("nothing says which", {"driver": None}, "driver is required: the device is not bound by an override"),
]


@pytest.mark.parametrize(("wish", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refusal(machine: Host, wish: dict[str, Any], text: str) -> None:
    assert text in refused(machine, **wish)


def test_the_console_by_force(machine: Host) -> None:
    assert changed(machine, device=CONSOLE, driver="vfio-pci", force=True)["device"]["driver"] == "vfio-pci"
    machine.reboot()
    assert "1 restored, 0 there already, 0 failed" in restore(machine).stdout
    assert bound(machine, CONSOLE)[0] == "vfio-pci"


def test_a_guest_has_it(machine: Host) -> None:
    machine.done("driver", device=DISK, driver="vfio-pci")
    group = machine.path(f"/sys/bus/pci/devices/{DISK}/iommu_group").readlink().name
    with machine.hold(group) as pid:
        result = machine.module("driver", device=DISK, state="absent", force=True)
        assert (
            f"is in use, /dev/vfio/{group} is open by process {pid} (simhost-guest): stop that first" in result["msg"]
        )
        assert "force" not in result["msg"]
        assert result["holders"] == [open_by(pid, f"/dev/vfio/{group}")]
        assert (bound(machine, DISK)[0], kept(machine)) == ("vfio-pci", "vfio-pci\n")
    machine.done("driver", device=DISK, state="absent")


@pytest.mark.parametrize(
    ("place", "forcible"), [("/", False), ("/boot", False), ("/usr", False), ("/srv", True), ("/home", True)]
)
def test_a_disk_that_is_mounted(start: Callable[..., Host], place: str, forcible: bool) -> None:
    mountinfo = f"30 1 259:1 / {place} rw - ext4 /dev/nvme1n1 rw\n"
    host = start({**SCENARIO, "proc": {**SCENARIO["proc"], "1/mountinfo": mountinfo}})
    assert f"/dev/nvme1n1 is mounted on {place}" in refused(host)
    if forcible:
        host.done("driver", device=DISK, driver="vfio-pci", force=True)
    else:
        assert f"/dev/nvme1n1 is mounted on {place}: stop that first" in refused(host, force=True)


def test_a_disk_that_is_swapped_to(start: Callable[..., Host]) -> None:
    swaps = "Filename Type Size Used Priority\n/dev/nvme1n1 partition 1024 0 -2\n"
    host = start({**SCENARIO, "proc": {**SCENARIO["proc"], "swaps": swaps}})
    assert "/dev/nvme1n1 is used for swap: stop that first" in refused(host, force=True)


FAULTS = {
    "override": (f"*/{DISK}/driver_override", "EINVAL", "the name is too long"),
    "unbind": ("/sys/bus/pci/drivers/nvme/unbind", "ENODEV", "the device is not bound to this driver any more"),
    "probe": ("/sys/bus/pci/drivers_probe", "ENODEV", "no driver takes this device"),
    "interrupted": ("/sys/bus/pci/drivers_probe", "EINTR", "failed with EINTR (Interrupted system call)"),
}


@pytest.mark.parametrize(("path", "errno", "text"), FAULTS.values(), ids=FAULTS)
def test_a_fault_at_every_step(machine: Host, path: str, errno: str, text: str) -> None:
    machine.done("driver", device=DATA, driver="vfio-pci")
    machine.fault(path, op="write", errno=errno)
    message = refused(machine)
    assert text in message
    assert message.endswith("; it is bound to nvme again")
    machine.clear_faults()
    assert bound(machine, DISK) == ("nvme", "(null)\n")
    changed(machine, driver="vfio-pci")


def test_no_time_to_wait(start: Callable[..., Host]) -> None:
    """A module is loaded all the same, by a program that has a moment at least."""
    host = start("functions")
    for wish in ({"driver": "vfio-pci"}, {"state": "absent"}):
        assert host.done("driver", device="0000:81:00.0", wait_timeout=0, **wish)["changed"]


def test_a_function_that_the_kernel_binds_by_an_override_alone(start: Callable[..., Host]) -> None:
    """What is put back by no override is so by one for a moment (sriov_drivers_autoprobe)."""
    host = start("functions")
    function = host.done("sriov", device=CARD, numvfs=1)["sriov"]["functions"][0]
    host.write(f"/sys/bus/pci/devices/{CARD}/sriov_drivers_autoprobe", "0")
    # Has the module loaded, which stays.
    host.done("driver", device="0000:81:00.0", driver="vfio-pci")
    host.fault("/sys/bus/pci/drivers_probe", op="write", errno="EINVAL")
    message = refused(host, device=function["address"])
    assert f"it is bound to {function['driver']} again" in message
    assert bound(host, function["address"]) == (function["driver"], "(null)\n")


@pytest.mark.parametrize("errno", ["ENOENT", "ENODEV"])
def test_a_driver_that_looks_at_the_device_again(machine: Host, errno: str) -> None:
    """While a driver looks at a device that shows as its driver; at boot one did so twice."""
    machine.fault("/sys/bus/pci/drivers/nvme/unbind", op="write", errno=errno, nth=1)
    changed(machine, driver="vfio-pci")
    assert bound(machine, DISK) == ("vfio-pci", "vfio-pci\n")


def test_a_kernel_that_asks_no_driver_the_first_time(machine: Host) -> None:
    """As while another one, whose module udev has just loaded, looks at the device: at boot one did."""
    machine.run(["modprobe", "vfio-pci"])
    machine.fault(f"/sys/bus/pci/drivers/vfio-pci/{DISK}", op="write", errno="EIO", nth=1)
    changed(machine, driver="vfio-pci")
    assert bound(machine, DISK) == ("vfio-pci", "vfio-pci\n")


def test_a_definition_that_cannot_be_written(machine: Host) -> None:
    machine.done("driver", device=DATA, driver="vfio-pci")
    machine.run(["sh", "-c", "rm -r /etc/driverctl.d && echo > /etc/driverctl.d"])
    message = refused(machine)
    assert f"could not define driver vfio-pci for {CALLED}: " in message
    assert f"undone: bind {CALLED} to vfio-pci, now bound to nvme" in message
    assert bound(machine, DISK) == ("nvme", "(null)\n")


def test_a_driver_that_never_lets_go(machine: Host) -> None:
    machine.fault("/sys/bus/pci/drivers/nvme/unbind", op="write", delay=LATE)
    result = machine.module("driver", device=DISK, driver="vfio-pci", wait_timeout=1)
    assert "the driver has not answered after 1 s" in result["msg"]


def test_its_whole_group(start: Callable[..., Host]) -> None:
    devices = [
        {**each, "iommu_group": 77} if each.get("pci", {}).get("address") in (DISK, DATA, BRIDGE) else each
        for each in SCENARIO["devices"]
    ]
    host = start({**SCENARIO, "devices": devices})
    install(host)
    message = refused(host)
    assert message == (
        f"the host uses others of IOMMU group 77, so that no guest can have {CALLED}: pci_0000_5f_00_0 ({DATA}) with"
        " nvme. Set group: true to bind them all, or force: true for this one alone"
    )
    made = changed(host, driver="vfio-pci", group=True)
    assert [each["address"] for each in made["group"]] == [DATA]
    assert (bound(host, DISK)[0], bound(host, DATA)[0], bound(host, BRIDGE)[0]) == ("vfio-pci", "vfio-pci", "pcieport")
    assert (kept(host), kept(host, DATA)) == ("vfio-pci\n", "vfio-pci\n")
    # Who uses it is asked once, and only before it is taken away.
    assert looks(host, "driver.device", device=DISK, driver="vfio-pci", group=True) == (0, 0)
    assert looks(host, "driver.device", check_mode=True, device=DISK, state="absent", group=True) == (1, 1)
    host.reboot()
    assert "2 restored, 0 there already, 0 failed" in restore(host).stdout
    assert (bound(host, DISK)[0], bound(host, DATA)[0]) == ("vfio-pci", "vfio-pci")
    changed(host, state="absent", group=True, foretold=False)
    assert looks(host, "driver.device", check_mode=True, device=DISK, driver="vfio-pci", group=True) == (1, 0)
    assert (bound(host, DISK)[0], bound(host, DATA)[0], kept(host), kept(host, DATA)) == ("nvme", "nvme", None, None)
    changed(host, driver="vfio-pci", force=True)
    host.reboot()
    assert "1 restored, 0 there already, 0 failed" in restore(host).stdout
    assert (bound(host, DISK)[0], bound(host, DATA)[0]) == ("vfio-pci", "nvme")


def test_each_of_a_group_has_its_own_driver_of_guests(start: Callable[..., Host]) -> None:
    """That of the card is not for the disk beside it; what is defined of each counts where no driver is named."""
    devices = [
        {**each, "iommu_group": 77} if each.get("pci", {}).get("address") in (SPARE, DISK) else each
        for each in SCENARIO["devices"]
    ]
    host = start({**SCENARIO, "devices": devices})
    drivers = {SPARE: "spare_vfio_pci", DISK: "vfio-pci"}
    made = changed(host, device=SPARE, driver="vfio", group=True)
    assert made["plan"][:2] == [f"load module {driver}" for driver in drivers.values()]
    for wish in ({"device": SPARE, "group": True}, {"device": DISK, "driver": "vfio", "group": True}, {"device": DISK}):
        assert host.done("driver", **wish)["plan"] == []
    changed(host, device=SPARE, group=True, state="inactive", foretold=False)
    changed(host, device=SPARE, group=True)
    for address, driver in drivers.items():
        assert (bound(host, address)[0], kept(host, address)) == (driver, f"{driver}\n")


@pytest.mark.parametrize("device", [f"css_{SUBCHANNEL.replace('.', '_')}", "ccw_0_0_1520"])
def test_a_subchannel(machine: Host, device: str) -> None:
    made = changed(machine, device=device, driver="vfio_ccw")
    assert (made["device"]["name"], made["device"]["address"]) == ("css_0_0_0013", SUBCHANNEL)
    assert bound(machine, SUBCHANNEL, "css") == ("vfio_ccw", "vfio_ccw\n")
    assert machine.read(f"/etc/driverctl.d/css-{SUBCHANNEL}") == "vfio_ccw\n"
    # No device comes back on it here, as one does in test_channels.py.
    changed(machine, device=device, state="absent", foretold=False, wait_timeout=2)
    assert bound(machine, SUBCHANNEL, "css") == ("io_subchannel", "(null)\n")


def test_a_card_that_is_pulled_out_in_the_middle(start: Callable[..., Host]) -> None:
    """While its driver makes functions, and while it is bound to another one."""
    host = start("functions")
    for module, wish, path in (
        ("sriov", {"numvfs": 4}, f"/sys/bus/pci/devices/{CARD}/sriov_numvfs"),
        ("driver", {"driver": "vfio-pci"}, "/sys/bus/pci/drivers_probe"),
    ):
        host.run(["modprobe", "vfio-pci"])
        host.fault(path, op="write", delay=2)
        with ThreadPoolExecutor() as pool:
            running = pool.submit(host.module, module, device=CARD, persistent=False, **wish)
            eventually(lambda: any(fault["hits"] for fault in host.faults()))
            host.unplug(CARD)
            result = running.result()
        assert result["failed"], result
        assert "\n" not in result["msg"]
        host.clear_faults()
        host.plug(CARD)
        assert host.done(module, device=CARD, persistent=False, force=True, **wish)["changed"]
        host.done("sriov", device=CARD, state="absent", force=True)


def test_the_driver_of_guests_of_a_subchannel(machine: Host) -> None:
    assert changed(machine, device="css_0_0_0013", driver="vfio")["device"]["driver"] == "vfio_ccw"


CARD, GPU, TAKEN, BOOT_DISK = "0000:3b:00.0", "0000:06:00.0", "0000:18:00.0", "0000:01:00.0"
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


def test_a_card_with_functions(start: Callable[..., Host]) -> None:
    """They would go with its driver; one that a guest has is never taken away."""
    host = start("functions")
    made = host.done("sriov", device=CARD, numvfs=2, driver="vfio-pci", persistent=False)["sriov"]["functions"]
    message = refused(host, device=CARD)
    assert "is in use, its 2 virtual functions would go with its driver: stop that first, or set force" in message
    with host.hold(f"/dev/vfio/{made[0]['iommu_group']}") as pid:
        message = refused(host, device=CARD, force=True)
        where = f"its virtual function {made[0]['name']} ({made[0]['address']}): /dev/vfio/"
        assert where in message
        assert f"process {pid}" in message
    assert looks(host, "driver.device", check_mode=True, device=CARD, driver="vfio-pci", force=True) == (1, 2)
    host.done("driver", device=CARD, driver="vfio-pci", force=True, persistent=False)
    assert not host.path(f"/sys/bus/pci/devices/{CARD}/virtfn0").exists()


def test_what_the_host_stands_on(start: Callable[..., Host]) -> None:
    """Its interface and its disk, as the scenario has them; what force does with each."""
    host = start("functions")
    message = refused(host, device=TAKEN)
    assert "its interface eno1 has the default route, its interface eno1 has the address 192.0.2.10" in message
    message = refused(host, device=BOOT_DISK, force=True)
    assert "/dev/nvme0n1p2 is mounted on /" in message
    assert "/dev/nvme0n1p3 is used for swap" in message
    host.done("driver", device=TAKEN, driver="vfio-pci", force=True, persistent=False)


@pytest.mark.parametrize("place", ["usb1/1-2/1-2:1.0/net", "mlx5_core.sf.2/net", "net"])
def test_an_interface_at_any_depth(start: Callable[..., Host], place: str) -> None:
    """That of a USB adapter on a controller, and of a sub-function of a card, go with the driver as the own one."""
    found = disk(DISK, "nvme1n1")[:1]
    found.append({**card(DISK, "eth7", 9)[1], "path": f"devices/pci0000:5e/{DISK}/{place}/eth7", "of_driver": "nvme"})
    route = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth7", "protocol": "static"}
    host = start({**SCENARIO, "devices": found, "network": {"routes": [route]}})
    assert f"{CALLED} is in use, its interface eth7 has the default route: stop that first, or set" in refused(host)
    host.done("driver", device=DISK, driver="vfio-pci", force=True, persistent=False)
    assert not host.path("/sys/class/net/eth7").exists()


def test_what_lives_on_functions_comes_back_in_order(start: Callable[..., Host]) -> None:
    """The functions of a card, a driver of one of them, and a mediated device on that: each after what makes it."""
    host = start("functions")
    install(host)
    function = host.done("sriov", device=GPU, numvfs=2)["sriov"]["functions"][1]
    host.done("driver", device=function["address"], driver="vgpusim")
    host.done("mdev", uuid=UUID, parent=function["name"], type="vgpusim-2")
    listed = [line.split(" ")[0] for line in restore(host, "--list").stdout.splitlines()]
    assert listed == ["the", "driver", "mdev"]
    host.reboot()
    done = restore(host)
    assert "3 restored, 0 there already, 0 failed" in done.stdout, done.stderr
    assert host.path(f"/sys/bus/mdev/devices/{UUID}").exists()


def test_back_after_a_reboot(machine: Host) -> None:
    machine.done("driver", device=DISK, driver="vfio-pci")
    machine.done("driver", device=DATA, driver="none")
    machine.reboot()
    assert (bound(machine, DISK)[0], bound(machine, DATA)[0]) == ("nvme", "nvme")
    done = restore(machine)
    assert "2 restored, 0 there already, 0 failed" in done.stdout
    assert (bound(machine, DISK)[0], bound(machine, DATA)[0]) == ("vfio-pci", None)
    assert "0 restored, 2 there already, 0 failed" in restore(machine).stdout


def test_what_driverctl_has_set(machine: Host) -> None:
    """Its files are definitions, whoever wrote them."""
    machine.run(["mkdir", "/etc/driverctl.d"])
    machine.write(KEPT.format(DISK), "vfio-pci\n")
    machine.write(KEPT.format("0000:77:00.0"), "vfio-pci\n")
    machine.write(KEPT.format(DATA), "two words\n")
    facts = machine.done("definition_facts")["ansible_facts"]["nodedev_definitions"]
    assert [(each["address"], each["active"], each["parent_missing"], each["drift"]) for each in facts["driver"]] == [
        (DISK, False, False, [{"what": "driver", "defined": "vfio-pci", "running": "nvme"}]),
        ("0000:77:00.0", False, True, []),
    ]
    assert [each["path"] for each in facts["damaged"]] == [KEPT.format(DATA)]
    done = restore(machine, "--parent", DISK)
    assert bound(machine, DISK)[0] == "vfio-pci"
    assert "1 restored" in done.stdout
    assert changed(machine, device=DATA, state="absent", foretold=False)["plan"] == [
        f"remove the damaged definition of the driver for pci_0000_5f_00_0 ({DATA}), {KEPT.format(DATA)}"
    ]


def test_a_run_beside_another_and_after_one_that_was_killed(machine: Host) -> None:
    machine.run(["modprobe", "vfio-pci"])
    machine.fault("/sys/bus/pci/drivers_probe", op="write", delay=LATE)
    script = str(ROOT / "plugins" / "modules" / "driver.py")
    arguments = {"device": DISK, "driver": "vfio-pci", "wait_timeout": LATE}
    first = machine.popen(
        [machine.python, script], stdin=subprocess.PIPE, text=True, env=machine.environment, start_new_session=True
    )
    assert first.stdin is not None
    first.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    first.stdin.close()
    eventually(lambda: bound(machine, DISK)[0] == "vfio-pci")
    result = machine.module("driver", device=DISK, driver="none", wait_timeout=0.5)
    assert f"another run still works on {CALLED} after 0.5 s" in result["msg"]
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    machine.run(["pkill", "-9", "-f", "driver.py"], check=False)
    machine.clear_faults()
    assert machine.done("driver", device=DISK, driver="vfio-pci")["plan"] == [f"define driver vfio-pci for {CALLED}"]
