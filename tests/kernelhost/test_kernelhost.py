# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hardware of the kernelhost is there and behaves as the tests of the collection expect."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from .machine import Machine

VGPU = "0000:02:00.0"
PARENTS = {VGPU, "mbochs", "mdpy", "mtty"}

# One program in the guest observes everything, and removes what it made: each command there takes long.
OBSERVE = r"""
import errno, glob, json, os, subprocess, uuid

TYPES = "/sys/class/mdev_bus/0000:02:00.0/mdev_supported_types/"

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

def available():
    return {name[-2:]: int(read(TYPES + name + "/available_instances")) for name in sorted(os.listdir(TYPES))}

def create(kind, name):
    return write(TYPES + "vgpusim-" + kind + "/create", name)

seen = {
    "parents": sorted(os.listdir("/sys/class/mdev_bus")),
    "found": sorted(os.listdir("/sys/bus/mdev/devices")),
    "units": subprocess.run(["systemctl", "--failed", "--plain", "--no-legend"], capture_output=True, text=True).stdout,
    "virsh": subprocess.run(["virsh", "nodedev-list", "--cap", "mdev_types"], capture_output=True, text=True).stdout,
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


def observe(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("python3 -", stdin=OBSERVE).stdout)
    return answer


@pytest.fixture(scope="module")
def seen(machine: Machine) -> dict[str, Any]:
    return observe(machine)


def test_boot_is_clean(seen: dict[str, Any]) -> None:
    assert seen["units"] == ""


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


def test_reboot(machine: Machine) -> None:
    name = str(uuid.uuid4())
    boot = machine.run(
        f"echo {name} > /sys/class/mdev_bus/{VGPU}/mdev_supported_types/vgpusim-12/create && "
        "touch /root/kept && cat /proc/sys/kernel/random/boot_id"
    ).stdout
    machine.reboot()
    kept, new_boot = machine.run("ls /root/kept; cat /proc/sys/kernel/random/boot_id").stdout.splitlines()
    assert kept == "/root/kept"
    assert new_boot != boot.strip()
    after = observe(machine)
    assert set(after["parents"]) == PARENTS
    assert name not in after["found"]
    assert after["before"] == {"11": 8, "12": 2, "13": 1}
    assert after["wwpn"] == ["0x200002000000fc00"]
