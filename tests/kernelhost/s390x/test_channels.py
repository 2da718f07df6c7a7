# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel devices for guests on a real s390x kernel: by the shipped playbook, beside driverctl, mdevctl and libvirt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from .. import units
from ..machine import Machine
from ..playbooks import ROOT, Playbooks

PLAYBOOK = ROOT / "playbooks" / "provision_s390_hosts.yml"
HOLD = ROOT / "tests" / "integration" / "files" / "hold_vfio_device.py"
# Two devices with a driver of their own, by number and by libvirt's name.
DEVICES = ("0.0.1000", "0.0.1001")
CHANNELS = ["ccw_0_0_1000", "ccw_0_0_1001"]
LIMIT = 120
ABSENT: list[dict[str, Any]] = [
    {"hostdev.nodedev.mdev_pool": {"name": "channels", "state": "absent"}},
    {"hostdev.nodedev.driver": {"device": "{{ item }}", "state": "absent"}, "loop": CHANNELS},
]

# What is there of the subchannels of these devices once each has this driver, at most so many seconds from now on.
OBSERVE = r"""
import json, os, sys, time

devices, wanted, seconds = json.loads(sys.argv[1])
CSS, CCW = "/sys/bus/css/devices/", "/sys/bus/ccw/devices/"

def content(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None

def subchannels():
    return {content(CSS + each + "/dev_busid"): each for each in os.listdir(CSS)}

def driver(path):
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None

def seen():
    found = subchannels()
    return {
        device: {
            "subchannel": found[device],
            "driver": driver(CSS + found[device] + "/driver"),
            "override": content(CSS + found[device] + "/driver_override"),
            "online": content(CCW + device + "/online"),
        }
        for device in devices
    }

deadline = time.monotonic() + seconds
while time.monotonic() < deadline and (any(each["driver"] != wanted for each in seen().values()) or busy()):
    time.sleep(1)
print(json.dumps({
    "devices": seen(),
    "mdevs": sorted(os.listdir("/sys/bus/mdev/devices")) if os.path.isdir("/sys/bus/mdev/devices") else [],
    "overrides": said("driverctl", "-b", "css", "list-overrides").split(),
    "defined": json.loads(said("mdevctl", "list", "--defined", "--dumpjson") or "[]"),
    "journal": journal(),
}))
"""
CYCLES = 50
# Bound to the driver for guests and given back, again and again, by the library that the role has installed.
CYCLE = r"""
import sys
sys.path.insert(0, "/usr/lib/nodedev")
from nodedev import resource
from nodedev.kinds.driver import device as driver

for _ in range(int(sys.argv[2])):
    for options in ({"driver": "vfio_ccw"}, {"state": "absent"}):
        result = resource.ensure(driver, driver.Wish.checked(device=sys.argv[1], persistent=False, **options))
        assert result["changed"]
print(result["device"]["driver"])
"""


def observe(machine: Machine, driver: str, seconds: int = LIMIT) -> dict[str, Any]:
    """What is there of DEVICES once their subchannels have this driver, or so many seconds have gone by."""
    arguments = json.dumps([DEVICES, driver, seconds])
    answer: dict[str, Any] = json.loads(machine.run(f"python3 -IS - '{arguments}'", stdin=units.LOOK + OBSERVE).stdout)
    return answer


@pytest.fixture(scope="module", autouse=True)
def nothing_left(machine: Machine, playbooks: Playbooks) -> Iterator[None]:
    yield
    playbooks.tasks(ABSENT)


def test_the_playbook_and_back(machine: Machine, playbooks: Playbooks) -> None:
    """As libvirt's page on s390 devices ends in, by one playbook; after a reboot; and all of it taken back."""
    before = observe(machine, "io_subchannel", 0)
    assert {each["online"] for each in before["devices"].values()} == {"1"}
    done = playbooks.run(PLAYBOOK, target="all", channels=CHANNELS)
    assert done.count('model=\\"vfio-ccw\\"') == len(CHANNELS)
    given = observe(machine, "vfio_ccw", 0)
    subchannels = [given["devices"][device]["subchannel"] for device in DEVICES]
    assert given["devices"] == {
        device: {"subchannel": subchannel, "driver": "vfio_ccw", "override": "vfio_ccw", "online": None}
        for device, subchannel in zip(DEVICES, subchannels)
    }
    assert len(given["mdevs"]) == len(CHANNELS)
    # Both peers read what we keep.
    assert given["overrides"] == [word for each in sorted(subchannels) for word in (each, "vfio_ccw")]
    [defined] = given["defined"]
    assert sorted(defined) == sorted(subchannels)

    again = playbooks.run(PLAYBOOK, "--skip-tags", "persistence", target="all", channels=CHANNELS)
    assert "changed=0" in again

    machine.reboot()
    restored = observe(machine, "vfio_ccw")
    assert {**restored, "journal": ""} == {**given, "journal": ""}
    # Some by the unit of the boot, some by that of a subchannel that has come.
    assert set(re.findall(r"\d+ failed", restored["journal"])) == {"0 failed"}, restored["journal"]

    playbooks.tasks(ABSENT)
    assert {**observe(machine, "io_subchannel"), "journal": ""} == {**before, "journal": ""}


def test_one_instance_each_and_who_has_it(machine: Machine, playbooks: Playbooks) -> None:
    """A second instance is refused with what that means, and nothing is taken from who has the first one open."""
    mdev = {"parent": "{{ bound.device.name }}", "type": "vfio_ccw-io", "persistent": False}
    uuid, other = "5a0b5e7c-3f0e-4a56-9d1c-0d6f2f6e7c01", "5a0b5e7c-3f0e-4a56-9d1c-0d6f2f6e7c02"
    make, end = {"hostdev.nodedev.mdev": {**mdev, "uuid": uuid}, "register": "made"}, {"uuid": uuid, "state": "absent"}
    output = playbooks.tasks(
        [
            {"hostdev.nodedev.driver": {"device": CHANNELS[0], "driver": "vfio_ccw"}, "register": "bound"},
            make,
            {
                "hostdev.nodedev.mdev": {**mdev, "uuid": other},
                "register": "second",
                "failed_when": "second is not failed",
            },
            {
                "command": {
                    "argv": ["python3", "-", uuid, "{{ made.mdev.iommu_group }}"],
                    "stdin": HOLD.read_text(),
                },
                "async": 900,
                "poll": 0,
                "register": "holder",
            },
            {**make, "until": "made.mdev.holders | length > 0", "retries": 30, "delay": 1},
            {"hostdev.nodedev.mdev": end, "register": "kept", "failed_when": "kept is not failed"},
            {
                "hostdev.nodedev.driver": {"device": CHANNELS[0], "state": "absent"},
                "register": "bound_still",
                "failed_when": "bound_still is not failed",
            },
            {"command": "kill {{ made.mdev.holders[0].pid }}"},
            {"hostdev.nodedev.mdev": end, "register": "gone", "until": "gone is not failed", "retries": 10, "delay": 1},
            {"hostdev.nodedev.driver": {"device": CHANNELS[0], "state": "absent"}},
            {"debug": {"msg": "{{ [second, kept, bound_still] | map(attribute='msg') }}"}},
        ]
    )
    second, *held = re.findall(r'^ +"(.*)",?$', output[output.rindex('"msg": [') :], re.MULTILINE)
    assert "a subchannel carries one mediated device, and this one has" in second
    assert len(held) == 2
    assert all(re.search(r"process \d+ \(python3\)", each) for each in held), held


def test_what_chzdev_keeps(machine: Machine, playbooks: Playbooks) -> None:
    """Its rule is found, and nothing done against it; taken over through chzdev itself, and given back to it."""
    device, rule = DEVICES[0], f"/etc/udev/rules.d/41-generic-ccw-{DEVICES[0]}.rules"
    kept = f"chzdev --{{}} --persistent generic-ccw {device}"
    look = f"lszdev generic-ccw --all && cat {rule}"
    machine.run(kept.format("enable"))
    before = machine.run(look).stdout
    assert re.search(rf"{device} +yes +yes", before)
    bind = {"device": CHANNELS[0], "driver": "vfio_ccw"}
    playbooks.tasks(
        [
            {"hostdev.nodedev.driver": bind, "register": "refused", "failed_when": "refused is not failed"},
            {
                "assert": {
                    "that": [f"'{rule}, a rule of chzdev' in refused.msg", f"'{kept.format('disable')}' in refused.msg"]
                }
            },
            {"hostdev.nodedev.driver": {**bind, "take_over": True}, "register": "bound"},
            {"command": "lszdev generic-ccw --all", "register": "said"},
            {"stat": {"path": rule}, "register": "file"},
            {
                "assert": {
                    "that": [
                        "bound.device.driver == 'vfio_ccw'",
                        f"'{device}' not in said.stdout",
                        "not file.stat.exists",
                    ]
                }
            },
            {"hostdev.nodedev.driver": {"device": CHANNELS[0], "state": "absent"}},
        ]
    )
    assert machine.run(look).stdout == before
    machine.run(kept.format("disable"))


def test_again_and_again(machine: Machine, playbooks: Playbooks) -> None:
    playbooks.tasks([{"hostdev.nodedev.boot_engine": {}}])
    assert machine.run(f"python3 - {CHANNELS[1]} {CYCLES}", stdin=CYCLE).stdout.strip() == "io_subchannel"
    assert observe(machine, "io_subchannel", 0)["devices"][DEVICES[1]]["online"] == "1"
