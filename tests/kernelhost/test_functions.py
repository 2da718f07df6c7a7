# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual functions and drivers on a real kernel, beside libvirt and driverctl; test_reboot.py has the boot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from repeats import repeats

from . import units
from .machine import Machine
from .playbooks import ROOT, Playbooks

NVME, CARD = "0000:01:00.0", "0000:03:00.0"
FUNCTIONS = ["0000:03:10.0", "0000:03:10.2", "0000:03:10.4", "0000:03:10.6"]
DEVICES = "/sys/bus/pci/devices"
UUID = "5a0b5e7c-3f0e-4a56-9d1c-0d6f2f6e7b01"
MAC = "02:00:00:00:00:a5"
# The card's interface has to be up for its functions to get their addresses by it.
UP = "ip link set enp3s0 up"
LIMIT = 300

# What is there of these functions once so many are, with the drivers that they have, and of the mediated device.
OBSERVE = r"""
import json, os, sys, time

CARD, count, wanted, seconds = json.loads(sys.argv[1])
DEVICES = "/sys/bus/pci/devices/"

def name(path):
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None

def functions():
    folder = DEVICES + CARD
    found = [name(folder + "/virtfn%d" % index) for index in range(8)] if os.path.isdir(folder) else []
    return {each: name(DEVICES + each + "/driver") for each in found if each}

def done():
    now = functions()
    return len(now) == count and all(now.get(each) == driver for each, driver in wanted.items()) and not busy()

deadline = time.monotonic() + seconds
# Asking takes the processor from what is waited for.
while not done() and time.monotonic() < deadline:
    time.sleep(1)
print(json.dumps({
    "functions": functions(),
    "mdevs": sorted(os.listdir("/sys/bus/mdev/devices")),
    "links": json.loads(said("ip", "-json", "-details", "link", "show", "dev", "enp3s0") or "[]"),
    "failed": failed(),
    "journal": journal(),
}))
"""
CYCLES = repeats(50, few=10)
# Bound to a VFIO driver and given back, again and again, by the library that the role has installed.
CYCLE = r"""
import sys
sys.path.insert(0, "/usr/lib/nodedev")
from nodedev import resource
from nodedev.kinds.driver import device as driver

for _ in range(int(sys.argv[2])):
    for options in ({"driver": "vfio-pci"}, {"state": "absent"}):
        result = resource.ensure(driver, driver.Wish.checked(device=sys.argv[1], persistent=False, **options))
        assert result["changed"]
print(result["device"]["driver"])
"""


def observe(machine: Machine, count: int, drivers: Mapping[str, str], before: str = ":") -> dict[str, Any]:
    """What is there once the card has so many functions with these drivers, LIMIT seconds at most."""
    arguments = json.dumps([CARD, count, drivers, LIMIT])
    answer: dict[str, Any] = json.loads(
        machine.run(f"{before} && python3 -IS - '{arguments}'", stdin=units.LOOK + OBSERVE).stdout
    )
    return answer


@pytest.fixture(scope="module", autouse=True)
def card(machine: Machine, engine: None) -> Iterator[None]:
    """The card with its interface up, and nothing left of these tests afterwards."""
    machine.run(UP)
    yield
    none = " && ".join(f"echo 0 > {DEVICES}/{card}/sriov_numvfs" for card in (NVME, CARD))
    machine.run(f"rm -rf /etc/driverctl.d /etc/nodedev.d /etc/mdevctl.d/{FUNCTIONS[2]} && {none}")


def test_their_life(playbooks: Playbooks) -> None:
    playbook = ROOT / "tests" / "integration" / "functions.yml"
    assert "failed=0" in playbooks.run(playbook, card=CARD, card_driver="igbvf")


def sriov(**wish: Any) -> dict[str, Any]:
    return {"hostdev.nodedev.sriov": {"device": CARD, "wait_timeout": 240, **wish}, "register": "made"}


def driver(device: str, **wish: Any) -> dict[str, Any]:
    return {"hostdev.nodedev.driver": {"device": device, "wait_timeout": 240, **wish}, "register": "bound"}


def holds(*that: str) -> dict[str, Any]:
    return {"assert": {"that": [*that], "quiet": True}}


def test_beside_driverctl_and_libvirt(playbooks: Playbooks) -> None:
    """Each reads what the other has set, and what libvirt detaches and attaches again is as ours."""
    first, second = FUNCTIONS[:2]
    virsh = f"virsh nodedev-{{}} pci_{first.translate(str.maketrans(':.', '__'))}"
    ours = {"driver": "vfio-pci", "persistent": False}
    # That of Debian 13 tells vfio-pci the function's id, and the driver would be the kernel's choice for the id.
    forget = f"cd {DEVICES}/{second} && echo $(cat vendor device) > /sys/bus/pci/drivers/vfio-pci/remove_id || true"
    playbooks.tasks(
        [
            sriov(numvfs=2),
            driver(first, driver="vfio-pci"),
            {"shell": f"driverctl list-overrides; cat /etc/driverctl.d/pci-{first}", "register": "said"},
            holds(f"'{first} vfio-pci' in said.stdout_lines", "said.stdout_lines[-1] == 'vfio-pci'"),
            {"command": f"driverctl set-override {second} vfio-pci"},
            {"shell": forget},
            {**driver(second), "failed_when": "bound is failed or bound is changed"},
            {"command": virsh.format("reattach")},
            {**driver(first, **ours), "failed_when": "bound is failed or bound is not changed"},
            driver(first, state="absent"),
            holds("bound.device.driver == 'igbvf'"),
            {"command": virsh.format("detach")},
            {**driver(first, **ours), "failed_when": "bound is failed or bound is changed"},
            {"command": virsh.format("reattach")},
            {**driver(first, state="absent"), "failed_when": "bound is failed or bound is changed"},
            driver(second, state="absent"),
            {"command": "driverctl list-overrides", "register": "said"},
            holds(f"'{second}' not in said.stdout", f"'{first}' not in said.stdout", "bound.device.driver == 'igbvf'"),
            sriov(state="absent", force=True),
        ]
    )


@pytest.mark.endurance
def test_bound_and_given_back_again_and_again(machine: Machine, playbooks: Playbooks) -> None:
    playbooks.tasks([sriov(numvfs=1)])
    assert machine.run(f"python3 - {FUNCTIONS[0]} {CYCLES}", stdin=CYCLE).stdout == "igbvf\n"
    playbooks.tasks([sriov(state="absent", force=True)])


def test_nvme_functions_that_are_usable(playbooks: Playbooks) -> None:
    """Also where somebody has made them by hand, whose controllers are offline."""
    usable = holds(
        "made.sriov.functions | map(attribute='driver') | list == ['nvme', 'nvme']",
        "made.sriov.functions | map(attribute='unusable') | list == [none, none]",
    )
    by_hand = "echo 0 > sriov_drivers_autoprobe && echo 2 > sriov_numvfs && echo 1 > sriov_drivers_autoprobe"
    playbooks.tasks(
        [
            # Others may have left the kernel's own choice switched off.
            sriov(device=NVME, numvfs=2, autoprobe=True),
            usable,
            {**sriov(device=NVME), "failed_when": "made is failed or made is changed"},
            sriov(device=NVME, state="absent", force=True),
            {"shell": {"cmd": by_hand, "chdir": f"{DEVICES}/{NVME}"}},
            {**sriov(device=NVME, numvfs=2), "failed_when": "made is failed or made is not changed"},
            usable,
            sriov(device=NVME, state="absent", force=True),
            # The disk of the physical function is still the host's.
            {"command": "dd if=/dev/nvme0n1 of=/dev/null bs=4096 count=1"},
        ]
    )
