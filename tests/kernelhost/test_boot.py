# SPDX-License-Identifier: GPL-3.0-or-later
"""Defined devices come back on a real kernel: at boot, with a reloaded driver, on a parent that appears late."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called

from . import units
from .machine import Machine
from .playbooks import ROOT, Playbooks
from .test_kernelhost import PARENTS
from .test_vgpus import CARD

PROVISION = ROOT / "playbooks" / "provision_vgpu_pools.yml"
VGPU, VF, GONE = "0000:02:00.0", "0000:01:00.1", "0000:99:00.0"
# What a boot brings by itself: parents with what they have left, HBAs; and of a card its class, driver and functions.
BROUGHT = """
import glob, json, os

def read(path):
    with open(path) as file:
        return file.read().strip()

TYPES, CARD = "/sys/class/mdev_bus/0000:02:00.0/mdev_supported_types/", "/sys/bus/pci/devices/0000:04:00.0/"
print(json.dumps({
    "parents": sorted(os.listdir("/sys/class/mdev_bus")),
    "left": {name[-2:]: int(read(TYPES + name + "/available_instances")) for name in os.listdir(TYPES)},
    "wwpn": [read(path) for path in glob.glob("/sys/class/fc_host/*/port_name")],
    "card": [read(CARD + name) for name in ("vendor", "class", "sriov_numvfs")],
    "driver": os.path.basename(os.readlink(CARD + "driver")),
    "kept": os.path.exists("/root/intact"),
}))
"""
POOLS = [
    {"name": "desktops", "type": "vgpusim-11", "count": 4, "attrs": [{"vendor/params": "frame_rate_limiter=0"}]},
    {"name": "serial", "type": "mtty-2", "count": 3},
]
UNIT = "nodedev-restore.service"

# What runs, by UUID, with parent, type and parameters; and how the units of the boot engine ended.
OBSERVE = r"""
import json, os, sys, time

BUS = "/sys/bus/mdev/devices"

def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None

def running():
    found = {}
    for name in os.listdir(BUS) if os.path.isdir(BUS) else []:
        path = os.path.realpath(BUS + "/" + name)
        kind = os.path.basename(os.path.realpath(path + "/mdev_type"))
        found[name] = [os.path.basename(os.path.dirname(path)), kind, read(path + "/vendor/params")]
    return found

wanted, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
deadline = time.monotonic() + seconds
while not set(wanted) <= set(running()) and time.monotonic() < deadline:
    time.sleep(0.2)
# The unit that restored the last of them is still to end, and may be started again. Asking takes the processor from it.
while busy() and time.monotonic() < deadline:
    time.sleep(1)
print(json.dumps({
    "running": running(),
    "failed": failed(),
    "journal": journal(),
}))
"""
LIMIT = 120


def observe(machine: Machine, wanted: list[str], before: str = ":") -> dict[str, Any]:
    """What is there once these devices run, LIMIT seconds at most after a shell command was carried out."""
    command = f"{before} && python3 -IS - '{json.dumps(wanted)}' {LIMIT}"
    answer: dict[str, Any] = json.loads(machine.run(command, stdin=units.LOOK + OBSERVE).stdout)
    return answer


def left(machine: Machine) -> str:
    """All that the role and the modules keep on the host."""
    look = "find /etc/mdevctl.d /etc/nodedev.d /usr/lib/nodedev /usr/sbin/nodedev-restore -type f"
    units = "systemctl list-unit-files --no-legend 'nodedev-restore*'"
    return machine.run(f"{look}; {units}", check=False).stdout


@pytest.fixture(scope="module", autouse=True)
def provisioned(machine: Machine, playbooks: Playbooks) -> Iterator[dict[str, list[str]]]:
    """What runs once two pools were provisioned; gone again afterwards, with the boot engine."""
    role = {"import_role": {"name": "hostdev.nodedev.persistence"}}
    foretold = playbooks.tasks([{**role, "check_mode": True}])
    assert "changed=0" not in foretold
    assert left(machine) == ""
    playbooks.run(PROVISION, target="all", pools=POOLS)
    yield observe(machine, [])["running"]
    absent = [{"hostdev.nodedev.mdev_pool": {"name": pool["name"], "state": "absent"}} for pool in POOLS]
    removed = {**role, "vars": {"persistence_state": "absent"}}
    assert "changed=0" not in playbooks.tasks([{**removed, "check_mode": True}])
    assert "/usr/sbin/nodedev-restore" in left(machine)
    playbooks.tasks([*absent, removed])
    assert left(machine) == ""


def test_the_pools_are_there(provisioned: dict[str, list[str]]) -> None:
    kinds = sorted((parent, kind, params) for parent, kind, params in provisioned.values())
    vgpus = [(VGPU, "vgpusim-11", "frame_rate_limiter=0")] * 4
    assert kinds == [*vgpus, *[("mtty", "mtty-2", None)] * 3]


def test_the_examples_change_nothing_where_all_is_installed(playbooks: Playbooks) -> None:
    text = (ROOT / "plugins" / "modules" / "boot_engine.py").read_text()
    examples = yaml.safe_load(text.partition('EXAMPLES = r"""')[2].partition('"""')[0])
    assert len(examples) == 3
    assert "changed=0" in playbooks.tasks(examples)


RELOADS = [
    ("the module is loaded anew", "rmmod mtty && modprobe mtty"),
    ("the function is bound anew", f"cd /sys/bus/pci/drivers/vgpusim && echo {VGPU} > unbind && echo {VGPU} > bind"),
]


@pytest.mark.parametrize(("what", "reload"), RELOADS, ids=[case[0] for case in RELOADS])
def test_a_reloaded_driver(machine: Machine, provisioned: dict[str, list[str]], what: str, reload: str) -> None:
    after = observe(machine, list(provisioned), reload)
    assert after["running"] == provisioned
    assert after["failed"] == ""


def test_mdevctl_may_be_first(machine: Machine, provisioned: dict[str, list[str]]) -> None:
    link = "ln -s /usr/bin/mdevctl /usr/sbin/mdevctl"
    after = observe(machine, list(provisioned), f"{link} && rmmod mtty && modprobe mtty")
    machine.run("rm /usr/sbin/mdevctl")
    assert after["running"] == provisioned
    assert after["failed"] == ""


def test_the_units_are_in_a_sandbox(machine: Machine, provisioned: dict[str, list[str]]) -> None:
    """By systemd's own measure, from 0 to 10. All else in this file is restored in it."""
    units = [UNIT, "nodedev-restore@mtty.service"]
    told = machine.run(f"systemd-analyze security --no-pager {' '.join(units)}").stdout
    scores = dict(re.findall(r"Overall exposure level for (\S+): ([0-9.]+)", told))
    assert sorted(scores) == sorted(units)
    assert all(float(score) <= 5.0 for score in scores.values()), scores


def test_a_driver_that_is_reloaded_again_and_again(machine: Machine, provisioned: dict[str, list[str]]) -> None:
    """More often than systemd starts a unit unless it is told to, and while the one before is at work."""
    after = observe(machine, list(provisioned), "for _ in 1 2 3 4 5 6 7; do rmmod mtty && modprobe mtty || exit; done")
    assert after["running"] == provisioned
    assert after["failed"] == ""


# A script that holds the start of one device back for as long as a file is there.
HOLD = """#!/bin/sh
case "$*" in *"-e pre"*"-a start"*UUID*) while test -e /run/hold; do sleep 0.2; done;; esac
exit 2
"""
SCRIPT = "/etc/mdevctl.d/scripts.d/callouts/hold"
ARRIVED = "/run/nodedev/arrived/mtty"


def test_a_driver_that_is_reloaded_while_its_devices_are_restored(
    machine: Machine, provisioned: dict[str, list[str]]
) -> None:
    """What was restored already is gone again, and nothing but the second event says so."""
    *first, last = sorted(name for name, said in provisioned.items() if said[0] == "mtty")
    there = " && ".join(f"test -e /sys/bus/mdev/devices/{name}" for name in first)
    machine.write(SCRIPT, HOLD.replace("UUID", last), mode=0o755)
    machine.run(
        f"touch /run/hold && rmmod mtty && modprobe mtty && timeout {LIMIT} sh -c 'until {there}; do sleep 0.2; done'"
    )
    waits = f"test -e {ARRIVED} && ! test -e /sys/bus/mdev/devices/{first[0]}"
    reload = f"rmmod mtty && modprobe mtty && udevadm settle && {waits}"
    after = observe(machine, list(provisioned), f"{reload} && rm /run/hold")
    machine.run(f"rm {SCRIPT} && ! test -e {ARRIVED}")
    assert after["running"] == provisioned
    assert after["failed"] == ""


def test_a_unit_with_nothing_to_do_is_skipped(machine: Machine, provisioned: dict[str, list[str]]) -> None:
    """Once, and that is no failure; by hand it runs as ever."""
    mark = "/run/nodedev/dealt-with/mtty"
    starts = [f"mkdir -p $(dirname {mark}) && touch {mark} && systemctl start {{0}} && ! test -e {mark}"]
    starts += ["systemctl start {0}"]
    seen = [observe(machine, list(provisioned), start.format("nodedev-restore@mtty")) for start in starts]
    assert [each["failed"] for each in seen] == ["", ""]
    runs = [each["journal"].count(" restored, ") for each in seen]
    assert runs[1] == runs[0] + 1
    # systemd may have more to say of the unit, as what it has consumed.
    assert "being skipped" in seen[0]["journal"].rpartition(" restored, ")[2]


@dataclass(frozen=True)
class Boot:
    """A boot with one definition damaged, one whose parent appears later and one whose parent is gone."""

    others: dict[str, list[str]]
    file: str
    late: str
    lost: str
    passing: str
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def damaged(machine: Machine, provisioned: dict[str, list[str]]) -> Iterator[Boot]:
    """One reboot for all that is asked after it; mended, all runs again."""
    name = min(name for name, said in provisioned.items() if said[0] == "mtty")
    file, (late, lost, passing) = f"/etc/mdevctl.d/mtty/{name}", (str(uuid.uuid4()) for _name in range(3))
    define = "mdevctl define --auto --uuid"
    machine.run(
        f"cp {file} /root/intact && echo '{{' > {file}"
        f" && {define} {late} --parent {VF} --type vgpusim-12 && {define} {lost} --parent {GONE} --type vgpusim-12"
        f" && echo {passing} > /sys/class/mdev_bus/{VGPU}/mdev_supported_types/vgpusim-12/create"
        f" && /usr/lib/nvidia/sriov-manage -e {CARD} > /dev/null"
    )
    machine.reboot()
    others = {other: said for other, said in provisioned.items() if other != name}
    yield Boot(others, file, late, lost, passing, observe(machine, list(others)))
    mend = (
        f"mv /root/intact {file} && mdevctl undefine --uuid {lost} && systemctl restart 'nodedev-restore*'"
        f" && mdevctl stop --uuid {late} && mdevctl undefine --uuid {late}"
        " && echo 0 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs"
    )
    after = observe(machine, list(provisioned), mend)
    assert after["running"] == provisioned
    assert after["failed"] == ""


def test_after_a_damaged_boot_all_others_are_back(damaged: Boot) -> None:
    assert damaged.seen["running"] == damaged.others


def test_after_a_boot_what_nobody_has_defined_is_gone(machine: Machine, damaged: Boot) -> None:
    """That is the kernel's part, which the boot engine is there for; hardware and files are as they were."""
    assert damaged.passing not in damaged.seen["running"]
    brought = json.loads(machine.run("python3 -", stdin=BROUGHT).stdout)
    assert set(brought["parents"]) == PARENTS
    # Four of the card's eight units are the pool's.
    assert brought["left"] == {"11": 4, "12": 1, "13": 0}
    assert brought["wwpn"] == ["0x200002000000fc00"]
    # The card whose functions are vGPUs has its driver, and none of them.
    assert (brought["card"], brought["driver"]) == (["0x10de", "0x030200", "0"], "nvidia")
    assert brought["kept"]


def test_after_a_damaged_boot_the_unit_says_what_is_not_and_why(machine: Machine, damaged: Boot) -> None:
    assert UNIT in damaged.seen["failed"]
    assert f"{damaged.file} is damaged (no JSON" in damaged.seen["journal"]
    for name, parent in ((damaged.late, VF), (damaged.lost, GONE)):
        why = f"{name} of type vgpusim-12 on {called(parent)}: its parent {called(parent)} is not there"
        assert why in damaged.seen["journal"]
    assert machine.run(f"cat {damaged.file}").stdout == "{\n"


def test_after_a_damaged_boot_what_is_late_comes_with_its_parent(machine: Machine, damaged: Boot) -> None:
    appears = (
        "cd /sys/bus/pci/devices && echo 0 > 0000:01:00.0/sriov_drivers_autoprobe && echo 1 > 0000:01:00.0/sriov_numvfs"
        f" && echo vgpusim > {VF}/driver_override && echo {VF} > ../drivers_probe"
    )
    after = observe(machine, [*damaged.others, damaged.late], appears)
    assert after["running"] == {**damaged.others, damaged.late: [VF, "vgpusim-12", ""]}
