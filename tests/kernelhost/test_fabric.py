# SPDX-License-Identifier: GPL-3.0-or-later
"""A software FCoE HBA and its vports behave on a fabric as the tests of vHBAs expect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import units
from .machine import Machine

FABRIC = "0x200102000000fcff"
TARGET = "0x200002000000fc10"

# One program in the guest observes everything, and leaves the guest as it was: each command there takes long.
OBSERVE = r"""
import json, os, shutil, subprocess, time
from pathlib import Path

HOSTS = Path("/sys/class/fc_host")
POLICY = Path("/run/fabric")
WWPN = "2101001b32a9d001"
OTHER = "2101001b32a9d002"
LIMIT = 120

def read(path):
    return path.read_text().strip()

def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

def host_of(wwpn):
    return next((host for host in HOSTS.iterdir() if read(host / "port_name") == "0x" + wwpn), None)

HBA = host_of("200002000000fc00")

def write_vport(attribute, wwpn):
    with open(HBA / attribute, "w") as file:
        file.write(wwpn + ":2001001b32a9d001")

def luns(wwpn):
    number = host_of(wwpn).name.removeprefix("host")
    return sorted(Path("/sys/bus/scsi/devices").glob(number + ":*:*:*"))

def disks(wwpn):
    return [block for lun in luns(wwpn) for block in (lun / "block").glob("*")]

def state(wwpn):
    host = host_of(wwpn)
    (vport,) = (path for path in Path("/sys/class/fc_vports").iterdir() if read(path / "port_name") == "0x" + wwpn)
    rports = Path("/sys/class/fc_remote_ports").glob(host.name.replace("host", "rport-") + ":*")
    return {
        "hba": read(HBA / "port_state"),
        "fabric": read(HBA / "fabric_name"),
        "port": read(host / "port_state"),
        "vport": read(vport / "vport_state"),
        "rports": {
            read(rport / "port_name"): read(rport / "port_state")
            for rport in rports
            if read(rport / "roles") != "Directory Server"
        },
        "luns": [lun.name.split(":", 1)[1] for lun in luns(wwpn)],
    }

def wait(wwpn, **wanted):
    # The last state is what the test judges, if the wanted one never comes.
    end = time.monotonic() + LIMIT
    while True:
        seen = state(wwpn)
        if wanted.items() <= seen.items() or time.monotonic() > end:
            return seen
        time.sleep(0.2)

def wait_refused(wwpn):
    started = "_SYSTEMD_INVOCATION_ID=" + run("systemctl", "show", "--value", "-p", "InvocationID", "fabric").strip()
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if f"login of {wwpn} on fcoesw0 refused" in run("journalctl", "-o", "cat", started):
            return True
        time.sleep(0.5)
    return False

def around():
    return {
        "hosts": len(list(HOSTS.iterdir())),
        "vports": os.listdir("/sys/class/fc_vports"),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "target": os.path.exists("/sys/module/tcm_fc"),
        "policy": POLICY.exists(),
        "failed": failed(),
    }

def observe(seen):
    write_vport("vport_create", WWPN)
    seen["no fabric"] = wait(WWPN, vport="Linkdown")
    POLICY.mkdir()
    (POLICY / "test").write_text("no-npiv\n")
    run("systemctl", "start", "fabric")
    seen["no npiv"] = wait(WWPN, hba="Online", vport="No Fabric Support")
    (POLICY / "test").write_text(f"reject {WWPN}\n")
    run("systemctl", "restart", "fabric")
    seen["refused"] = wait_refused(WWPN)
    seen["rejected"] = wait(WWPN, hba="Online", vport="Initializing")
    (POLICY / "test").unlink()
    seen["not zoned"] = wait(WWPN, vport="Active")
    write_vport("vport_create", OTHER)
    run("systemctl", "start", "fctarget")
    run("fctarget", "allow", WWPN)
    seen["zoned"] = wait(WWPN, luns=["0:0:0", "0:0:1"])
    run("udevadm", "settle")
    seen["other"] = wait(OTHER, vport="Active")
    names = [block.name for block in disks(WWPN)]
    seen["sectors"] = [int(read(block / "size")) for block in disks(WWPN)]
    with open("/dev/" + names[0], "r+b", buffering=0) as disk:
        disk.write(b"kernelhost".ljust(512, b"\0"))
        os.fsync(disk)
    run("systemctl", "stop", "fabric")
    seen["stopped"] = wait(WWPN, hba="Offline", vport="Linkdown")
    run("systemctl", "start", "fabric")
    wait(WWPN, hba="Online", vport="Active")
    seen["again"] = wait(WWPN, rports={"0x200002000000fc10": "Online"})
    run("blockdev", "--flushbufs", "/dev/" + names[0])
    seen["content"] = Path("/dev/" + names[0]).open("rb").read(10).decode()

def leave():
    run("udevadm", "settle")
    for wwpn in (WWPN, OTHER):
        if host_of(wwpn):
            for lun in luns(wwpn):
                (lun / "delete").write_text("1")
            write_vport("vport_delete", wwpn)
    run("systemctl", "stop", "fctarget", "fabric")
    shutil.rmtree(POLICY, ignore_errors=True)
    end = time.monotonic() + LIMIT
    while host_of(WWPN) or host_of(OTHER) or read(HBA / "port_state") != "Offline":
        if time.monotonic() > end:
            break
        time.sleep(0.2)

seen = {"before": around()}
try:
    observe(seen)
finally:
    leave()
seen["after"] = around()
seen["hba after"] = read(HBA / "port_state")
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("python3 -", stdin=units.LOOK + OBSERVE).stdout)
    return answer


def states(seen: dict[str, Any], situation: str) -> tuple[str, str, str]:
    state = seen[situation]
    return state["hba"], state["port"], state["vport"]


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        ("no fabric", ("Offline", "Linkdown", "Linkdown")),
        ("no npiv", ("Online", "Linkdown", "No Fabric Support")),
        ("rejected", ("Online", "Offline", "Initializing")),
        ("not zoned", ("Online", "Online", "Active")),
        ("zoned", ("Online", "Online", "Active")),
        ("stopped", ("Offline", "Linkdown", "Linkdown")),
        ("again", ("Online", "Online", "Active")),
    ],
)
def test_states(seen: dict[str, Any], situation: str, expected: tuple[str, str, str]) -> None:
    assert states(seen, situation) == expected


def test_rejected_login(seen: dict[str, Any]) -> None:
    assert seen["refused"]


def test_fabric_name(seen: dict[str, Any]) -> None:
    assert seen["not zoned"]["fabric"] == FABRIC
    assert seen["stopped"]["fabric"] == "0x0"


def test_remote_ports_follow_zones(seen: dict[str, Any]) -> None:
    assert seen["not zoned"]["rports"] == {}
    assert seen["zoned"]["rports"] == {TARGET: "Online"}
    assert seen["stopped"]["rports"] == {TARGET: "Blocked"}
    assert seen["again"]["rports"] == {TARGET: "Online"}


def test_luns(seen: dict[str, Any]) -> None:
    assert seen["not zoned"]["luns"] == []
    assert seen["zoned"]["luns"] == seen["stopped"]["luns"] == seen["again"]["luns"] == ["0:0:0", "0:0:1"]
    assert seen["sectors"] == [32768, 32768]
    assert seen["content"] == "kernelhost"


def test_other_vport_sees_nothing(seen: dict[str, Any]) -> None:
    assert states(seen, "other") == ("Online", "Online", "Active")
    assert seen["other"]["rports"] == {}
    assert seen["other"]["luns"] == []


def test_guest_is_left_as_found(seen: dict[str, Any]) -> None:
    assert seen["after"] == seen["before"]
    assert seen["hba after"] == "Offline"
