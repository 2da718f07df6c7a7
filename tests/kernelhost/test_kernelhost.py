# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hardware of the kernelhost is there and behaves as the tests of the collection expect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import units
from .machine import Machine
from .qemu import NETWORK_CARD
from .steps import KernelhostError

pytestmark = pytest.mark.every_release

VGPU = "0000:02:00.0"
PARENTS = {VGPU, "mbochs", "mdpy", "mtty"}

# What the programs in the guest share.
COMMON = r"""
import errno, glob, json, os, subprocess, time, uuid

def read(path):
    with open(path) as file:
        return file.read().strip()

def write(path, text):
    try:
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
"""

# One program in the guest observes everything, and removes what it made: each command there takes long.
OBSERVE = r"""
TYPES = "/sys/class/mdev_bus/0000:02:00.0/mdev_supported_types/"

def available():
    return {name[-2:]: int(read(TYPES + name + "/available_instances")) for name in sorted(os.listdir(TYPES))}

def create(kind, name):
    return write(TYPES + "vgpusim-" + kind + "/create", name)

seen = {
    "parents": sorted(os.listdir("/sys/class/mdev_bus")),
    "found": sorted(os.listdir("/sys/bus/mdev/devices")),
    "units": failed(),
    "journal": journal(),
    "virsh": said("virsh", "nodedev-list", "--cap", "mdev_types"),
    "wwpn": [read(path) for path in glob.glob("/sys/class/fc_host/*/port_name")],
    "vport_create": [os.access(path, os.W_OK) for path in glob.glob("/sys/class/fc_host/*/vport_create")],
    "totalvfs": int(read("/sys/bus/pci/devices/0000:01:00.0/sriov_totalvfs")),
    "mdevctl": os.path.exists("/usr/sbin/mdevctl"),
    "before": available(),
}
name = str(uuid.uuid4())
device = "/sys/bus/mdev/devices/" + name
seen["create"] = create("12", name)
seen["after"] = available()
seen["duplicate"] = create("12", name)
seen["malformed"] = create("12", "not-a-uuid")
seen["params_default"] = read(device + "/vendor/params")
seen["params_write"] = write(device + "/vendor/params", "frame_rate_limiter=0\n")
seen["params"] = read(device + "/vendor/params")
seen["params_long"] = write(device + "/vendor/params", "x" * 256)
seen["too_big"] = create("13", str(uuid.uuid4()))
others = [str(uuid.uuid4()) for _ in range(4)]
seen["fill"] = [create("11", other) for other in others]
seen["when_full"] = available()
seen["full"] = create("11", str(uuid.uuid4()))
seen["remove"] = [write("/sys/bus/mdev/devices/" + each + "/remove", "1") for each in [name, *others]]
seen["at_last"] = available()
print(json.dumps(seen))
"""

# Functions of the network card, then one of the NVMe controller that nvme-cli makes usable; none is left.
FUNCTIONS = r"""
PCI = "/sys/bus/pci/devices/"
NETWORK, NVME, FUNCTION = PCI + "0000:03:00.0/", PCI + "0000:01:00.0/", "0000:01:00.1"

def functions(card):
    found = {}
    for link in sorted(glob.glob(card + "virtfn*")):
        path = os.path.realpath(link)
        found[os.path.basename(path)] = os.path.basename(os.readlink(path + "/iommu_group"))
    return found

def nvme(*words):
    return subprocess.run(["nvme", *words], capture_output=True, text=True).stdout

def controller():
    # One that had another driver meanwhile may come back by another number, and takes a while.
    deadline = time.monotonic() + 60
    while not glob.glob(NVME + "nvme/nvme*/nvme*n1") and time.monotonic() < deadline:
        time.sleep(0.2)
    return "/dev/" + os.listdir(NVME + "nvme")[0]

def secondary():
    return json.loads(nvme("list-secondary", CONTROLLER, "-o", "json"))["secondary-controllers"][0]

def namespaces():
    return glob.glob(PCI + FUNCTION + "/nvme/nvme*/nvme*n1")

write(NETWORK + "sriov_numvfs", "0")
network = {
    "driver": os.path.basename(os.readlink(NETWORK + "driver")),
    "totalvfs": read(NETWORK + "sriov_totalvfs"),
    "too_many": write(NETWORK + "sriov_numvfs", "8"),
    "make": write(NETWORK + "sriov_numvfs", "4"),
    "fewer": write(NETWORK + "sriov_numvfs", "2"),
    "functions": functions(NETWORK),
}
links = json.loads(subprocess.run(["ip", "-json", "-details", "link"], capture_output=True, text=True).stdout)
network["vfinfo"] = [link["vfinfo_list"] for link in links if link.get("parentdev") == "0000:03:00.0"]
network["end"] = write(NETWORK + "sriov_numvfs", "0")

CONTROLLER = controller()
drive = {"steps": [write(NVME + "sriov_drivers_autoprobe", "0"), write(NVME + "sriov_numvfs", "1")]}
drive["before"] = secondary()
for action, resource, number in (("7", "0", "0"), ("8", "0", "2"), ("8", "1", "1"), ("9", "0", "0")):
    nvme("virt-mgmt", CONTROLLER, "--cntlid=1", "--act=" + action, "--rt=" + resource, "--nr=" + number)
drive["after"] = secondary()
drive["steps"] += [write(NVME + "sriov_drivers_autoprobe", "1"), write("/sys/bus/pci/drivers_probe", FUNCTION)]
deadline = time.monotonic() + 60
# The controller says that it is live before its namespace is there.
while not namespaces() and time.monotonic() < deadline:
    time.sleep(0.2)
drive["states"] = [read(path) for path in glob.glob(PCI + FUNCTION + "/nvme/nvme*/state")]
drive["namespaces"] = len(namespaces())
drive["steps"].append(write(NVME + "sriov_numvfs", "0"))
print(json.dumps({"network": network, "drive": drive}))
"""

# Waits until the network card is there, or is gone, and says whether.
PLUGGED = r"""
import os, sys, time

wanted, deadline = sys.argv[1] == "there", time.monotonic() + 60
while os.path.exists("/sys/bus/pci/devices/0000:03:00.0/net") != wanted and time.monotonic() < deadline:
    time.sleep(0.2)
print(os.path.exists("/sys/bus/pci/devices/0000:03:00.0/net"))
"""


def observe(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("python3 -", stdin=units.LOOK + COMMON + OBSERVE).stdout)
    return answer


@pytest.fixture(scope="module")
def seen(machine: Machine) -> dict[str, Any]:
    return observe(machine)


@pytest.fixture(scope="module")
def functions(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("python3 -", stdin=COMMON + FUNCTIONS).stdout)
    return answer


def test_boot_is_clean(seen: dict[str, Any]) -> None:
    assert seen["units"] == "", seen["journal"]


def test_parents(seen: dict[str, Any]) -> None:
    assert set(seen["parents"]) == PARENTS


def test_types_share_capacity(seen: dict[str, Any]) -> None:
    assert seen["before"] == {"11": 8, "12": 2, "13": 1}
    assert seen["create"] == "ok"
    assert seen["after"] == {"11": 4, "12": 1, "13": 0}
    assert seen["fill"] == ["ok"] * 4
    assert seen["when_full"] == {"11": 0, "12": 0, "13": 0}


def test_removing_gives_capacity_back(seen: dict[str, Any]) -> None:
    assert seen["remove"] == ["ok"] * 5
    assert seen["at_last"] == seen["before"]


@pytest.mark.parametrize(
    ("case", "error"),
    [("duplicate", "EEXIST"), ("malformed", "EINVAL"), ("too_big", "ENOSPC"), ("full", "ENOSPC")],
)
def test_create_errors(seen: dict[str, Any], case: str, error: str) -> None:
    assert seen[case] == error


def test_vendor_params(seen: dict[str, Any]) -> None:
    assert seen["params_default"] == ""
    assert seen["params_write"] == "ok"
    assert seen["params"] == "frame_rate_limiter=0"
    assert seen["params_long"] == "EINVAL"


def test_libvirt_answers(seen: dict[str, Any]) -> None:
    # libvirt 9.0 knows neither mdpy nor mbochs, whose parents have no bus that it looks at.
    assert seen["virsh"].split() == ["mtty_mtty", "pci_0000_02_00_0"]


def test_virtual_hba(seen: dict[str, Any]) -> None:
    assert seen["wwpn"] == ["0x200002000000fc00"]
    assert seen["vport_create"] == [True]


def test_sriov(seen: dict[str, Any]) -> None:
    assert seen["totalvfs"] == 4


def test_network_card(functions: dict[str, Any]) -> None:
    card = functions["network"]
    assert (card["driver"], card["totalvfs"]) == ("igb", "7")
    assert (card["too_many"], card["make"], card["fewer"], card["end"]) == ("ERANGE", "ok", "EBUSY", "ok")
    assert list(card["functions"]) == ["0000:03:10.0", "0000:03:10.2", "0000:03:10.4", "0000:03:10.6"]
    assert len(set(card["functions"].values())) == 4
    [vfinfo] = card["vfinfo"]
    assert [each["vf"] for each in vfinfo] == [0, 1, 2, 3]


def test_nvme_function_becomes_usable(functions: dict[str, Any]) -> None:
    drive = functions["drive"]
    assert drive["steps"] == ["ok"] * 5
    resources = ("secondary-controller-state", "num-virtual-queues", "num-virtual-interrupts")
    assert [drive["before"][name] for name in resources] == [0, 0, 0]
    assert [drive["after"][name] for name in resources] == [1, 2, 1]
    assert drive["states"] == ["live"]
    assert drive["namespaces"] == 1


def test_unplug_and_plug_in(machine: Machine) -> None:
    machine.monitor("device_del", id=NETWORK_CARD["id"])
    assert machine.run("python3 - gone", stdin=PLUGGED).stdout == "False\n"
    machine.monitor("device_add", **NETWORK_CARD)
    assert machine.run("python3 - there", stdin=PLUGGED).stdout == "True\n"


def test_monitor_refuses(machine: Machine) -> None:
    with pytest.raises(KernelhostError, match="refuses device_del: Device 'nonesuch' not found"):
        machine.monitor("device_del", id="nonesuch")


def test_debian_mdevctl_rule_stays_broken(seen: dict[str, Any]) -> None:
    assert not seen["mdevctl"]


def test_up_twice_does_nothing(machine: Machine) -> None:
    before = machine.running()
    assert Machine(machine.state).up() is False
    assert machine.running() == before


def test_write_and_copy(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "copied"
    source.write_text("from here\n", encoding="utf-8")
    machine.write("/run/kernelhost test/written", "text\n", mode=0o600)
    machine.copy(source, "/run/copied")
    answer = machine.run("stat -c %a '/run/kernelhost test/written'; cat '/run/kernelhost test/written' /run/copied")
    assert answer.stdout == "600\ntext\nfrom here\n"
