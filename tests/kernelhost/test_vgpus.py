# SPDX-License-Identifier: GPL-3.0-or-later
"""vGPUs by playbooks on a real kernel: one playbook for both frameworks, in guests; test_reboot.py has the boot.

Those that are functions are of the stand-in for NVIDIA's driver, the mediated devices of the one that looks alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from . import units
from .machine import Machine
from .playbooks import ROOT, Playbooks

CARD, MEDIATED = "0000:04:00.0", "0000:02:00.0"
NAMES = {"vfio": "pci_0000_04_00_0", "mdev": "pci_0000_02_00_0"}
TYPE = "SIM V100-1Q"
DEVICES = "/sys/bus/pci/devices"
LIMIT = 300
DOMAIN = """
<domain type="qemu">
  <name>desk</name>
  <memory unit="MiB">64</memory>
  <os><type machine="q35">hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""
# What there is of both, once so many functions are vGPUs and so many mediated devices are there.
OBSERVE = r"""
import json, os, sys, time

CARD, MEDIATED, functions, mediated, seconds = json.loads(sys.argv[1])
DEVICES = "/sys/bus/pci/devices/"

def text(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""

def vgpus():
    folder = DEVICES + CARD
    links = [folder + "/virtfn%d" % index for index in range(8)]
    return [text(link + "/nvidia/current_vgpu_type") for link in links if os.path.exists(link)]

def mdevs():
    names = os.listdir("/sys/bus/mdev/devices")
    return [name for name in names if MEDIATED in os.path.realpath("/sys/bus/mdev/devices/" + name)]

def done():
    made = sum(each not in ("", "0") for each in vgpus())
    return made == functions and len(mdevs()) == mediated and not busy()

deadline = time.monotonic() + seconds
while not done() and time.monotonic() < deadline:
    time.sleep(1)
print(json.dumps({
    "vgpus": vgpus(),
    "params": text(DEVICES + CARD + "/virtfn0/nvidia/vgpu_params"),
    "mdevs": len(mdevs()),
    "failed": failed(),
    "journal": journal(),
}))
"""


def holds(*that: str) -> dict[str, Any]:
    return {"assert": {"that": [*that], "quiet": True}}


def pool(backend: str, **wish: Any) -> dict[str, Any]:
    """The task for a pool, which is called as its framework is."""
    return {"hostdev.nodedev.vgpu_pool": {"name": backend, "wait_timeout": 240, **wish}, "register": "made"}


def chosen(backend: str, **wish: Any) -> dict[str, Any]:
    """The same with the card and the type of a new pool."""
    return pool(backend, type=TYPE, parents={"names": [NAMES[backend]]}, **wish)


FUNCTIONS: dict[str, Any] = {"hostdev.nodedev.sriov": {"device": CARD, "numvfs": "max", "wait_timeout": 240}}
NO_FUNCTIONS: dict[str, Any] = {
    "hostdev.nodedev.sriov": {"device": CARD, "state": "absent", "force": True, "wait_timeout": 240}
}


def observe(machine: Machine, functions: int, mediated: int, before: str = ":") -> dict[str, Any]:
    arguments = json.dumps([CARD, MEDIATED, functions, mediated, LIMIT])
    answer: dict[str, Any] = json.loads(
        machine.run(f"{before} && python3 -IS - '{arguments}'", stdin=units.LOOK + OBSERVE).stdout
    )
    return answer


@pytest.fixture(scope="module", autouse=True)
def functions(machine: Machine, playbooks: Playbooks, engine: None) -> Iterator[None]:
    """The card's functions, and nothing left of these tests afterwards."""
    playbooks.tasks([FUNCTIONS])
    yield
    machine.run("virsh destroy desk; virsh undefine desk; rm -f /run/desk.xml", check=False)
    pools = [pool(each, state="absent") for each in NAMES]
    playbooks.tasks([*pools, {"hostdev.nodedev.vgpu": {"device": "0000:04:10.2", "state": "absent"}}, NO_FUNCTIONS])


@pytest.mark.parametrize("backend", NAMES)
def test_the_life_of_a_pool(playbooks: Playbooks, backend: str) -> None:
    """One playbook on both frameworks."""
    playbook = ROOT / "tests" / "integration" / "vgpu_pool.yml"
    assert "failed=0" in playbooks.run(playbook, card=NAMES[backend], type=TYPE, total=8)


def test_the_facts(playbooks: Playbooks) -> None:
    playbooks.tasks(
        [
            chosen("vfio", count=2),
            {"hostdev.nodedev.vgpu_facts": {"parent": CARD}},
            {"set_fact": {"card": "{{ ansible_facts.vgpu.cards.pci_0000_04_00_0 }}"}},
            holds(
                "card.framework == 'vfio' and card.mode == 'SR-IOV' and card.total == 8",
                "card.functions | length == 8 and card.functions | selectattr('type_id') | length == 2",
                f"(card.types | selectattr('name', 'eq', '{TYPE}') | first).free == 6",
            ),
            pool("vfio", state="absent"),
        ]
    )


def test_a_guest_has_it(machine: Machine, playbooks: Playbooks) -> None:
    """libvirt gives it to a domain as it is, nobody takes it away, and one that is managed comes with its domain."""
    playbooks.tasks(
        [
            FUNCTIONS,
            chosen("vfio", count=1),
            {
                "copy": {
                    "dest": "/run/desk.xml",
                    "content": DOMAIN.format(devices="{{ made.instances[0].hostdev_xml }}"),
                }
            },
            {"command": "virsh define --validate /run/desk.xml"},
            {"command": "virsh start desk --paused"},
            *(
                task
                for wish in ({"count": 0}, {"state": "absent", "force": True}, {"state": "inactive"})
                for task in (
                    {**pool("vfio", **wish), "failed_when": "made is not failed"},
                    holds("made.msg is search('process [0-9]+ .*of domain desk')", "made.holders[0].domain == 'desk'"),
                )
            ),
            pool("vfio"),
            holds("made is not changed and made.instances[0].holders[0].domain == 'desk'"),
            {"command": "virsh destroy desk"},
            pool("vfio", managed=True),
            holds("made is changed and not made.instances[0].active"),
            {"command": "virsh start desk --paused"},
            pool("vfio"),
            holds("made.instances[0].active and made.instances[0].holders[0].domain == 'desk'"),
            {"command": "virsh destroy desk"},
            {"pause": {"seconds": 3}},
            pool("vfio"),
            holds("made is not changed and not made.instances[0].active"),
            pool("vfio", state="absent"),
        ]
    )


def test_a_single_one(machine: Machine, playbooks: Playbooks) -> None:
    vgpu = {"parent": CARD, "index": 1, "wait_timeout": 240}
    playbooks.tasks(
        [
            FUNCTIONS,
            {"hostdev.nodedev.vgpu": {**vgpu, "type": "V100-4Q", "params": "a=1"}, "register": "made"},
            holds("made.vgpu.address == '0000:04:10.2' and made.vgpu.type_id == 12 and made.vgpu.params == 'a=1'"),
            {
                "hostdev.nodedev.vgpu": {**vgpu, "index": 2, "type": TYPE},
                "register": "told",
                "failed_when": "told is not failed",
            },
            holds("told.msg is search('takes one framebuffer at a time')"),
            {"hostdev.nodedev.vgpu": {**vgpu, "state": "absent"}},
        ]
    )
