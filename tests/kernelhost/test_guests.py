# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of a real libvirt with devices that playbooks have made: docs/guest.md as printed, and managed devices.

The domains have no operating system: QEMU has their devices from the start, and they stay paused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import clones
import pytest
import yaml
from pages import Controller, blocks, follow, page

from .machine import Machine
from .playbooks import Playbooks

BLOCKS = [*blocks(page("guest.md"))]
GUESTS = {
    "serial": "A mediated device",
    "storage": "A PCI function",
    "router": "A network function",
    "database": "A LUN of a vHBA",
}
# What the page's commands follow: files, commands and what they print.
CHAPTERS = ["The host", *GUESTS.values(), "Start, and end"]
KVM = 'type="kvm"'
NVME = "/sys/bus/pci/devices/0000:01:00.0"
UUIDS = [f"6f1a0c52-2b0e-4b5f-9a33-5d1f0f3c0d{number}" for number in (11, 12)]
SERIAL = "6f1a0c52-2b0e-4b5f-9a33-5d1f0f3c0d01"
DOMAIN = """
<domain type="qemu">
  <name>{name}</name>
  <memory unit="MiB">64</memory>
  <os><type machine="q35">hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""
# The page's vHBA sees its LUN once it may.
ALLOWED: list[dict[str, Any]] = [
    {"command": "systemctl start fabric fctarget"},
    {"hostdev.nodedev.vhba": {"name": "images", "require_online": False}, "register": "made"},
    {"command": "fctarget allow {{ made.vhba.wwpn }}"},
    {"hostdev.nodedev.vhba": {"name": "images", "wait_luns": 1}},
]
# What the tests of managed devices have defined, gone.
MANAGED_GONE: list[dict[str, Any]] = [{"hostdev.nodedev.mdev": {"uuid": uuid, "state": "absent"}} for uuid in UUIDS]
# What the page has made, gone.
GONE: list[dict[str, Any]] = [
    {"hostdev.nodedev.vhba": {"name": "images", "state": "absent"}},
    {"hostdev.nodedev.mdev": {"uuid": SERIAL, "state": "absent"}},
    {"hostdev.nodedev.driver": {"device": "pci_0000_01_00_0", "state": "absent"}},
    {"hostdev.nodedev.sriov": {"device": "pci_0000_03_00_0", "state": "absent", "force": True}},
]
EACH = " ".join(GUESTS)
START = f"for name in {EACH}; do virsh start $name --paused; done"
END = f"for name in {EACH}; do virsh destroy $name; done"
# libvirt sets a function's MAC address and VLAN by its card's interface.
UP = "ip link set enp3s0 up"
# The devices that exist once this many do or the time is over.
WAIT = """
import json, os, sys, time

count, deadline = int(sys.argv[1]), time.monotonic() + 60
while len(os.listdir("/sys/bus/mdev/devices")) != count and time.monotonic() < deadline:
    time.sleep(0.5)
print(json.dumps(sorted(os.listdir("/sys/bus/mdev/devices"))))
"""


def holds(*conditions: str) -> dict[str, Any]:
    return {"assert": {"that": [*conditions]}}


def refused(domain: str, module: str, **options: Any) -> list[dict[str, Any]]:
    """Tasks that show that a domain's device is not taken from it, and that the message names it and its process."""
    call = {f"hostdev.nodedev.{module}": options, "register": "told", "failed_when": "told is not failed"}
    return [call, holds(f"told.msg is search('process [0-9]+ .*of domain {domain}')")]


def devices(machine: Machine, count: int) -> list[str]:
    """The mediated devices that exist, once there are so many or after a minute."""
    found: list[str] = json.loads(machine.run(f"python3 -IS - {count}", stdin=WAIT).stdout)
    return found


def define(machine: Machine, name: str, *uuids: str) -> None:
    """Define a domain with mediated devices."""
    elements = "".join(
        f"<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{uuid}'/></source></hostdev>"
        for uuid in uuids
    )
    machine.write(f"/run/{name}.xml", DOMAIN.format(name=name, devices=elements), mode=0o600)
    machine.run(f"virsh define --validate /run/{name}.xml")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(machine: Machine, playbooks: Playbooks, engine: None) -> Iterator[None]:
    """None of these tests' domains and devices is there afterwards."""
    machine.run(UP)
    yield
    machine.run("for name in $(virsh list --name); do virsh destroy $name; done")
    machine.run("for name in $(virsh list --all --name); do virsh undefine $name; rm -f /root/$name.xml; done")
    playbooks.tasks([*MANAGED_GONE, *GONE])
    machine.run("systemctl stop fctarget fabric")


@pytest.fixture(scope="module")
def controller(playbooks: Playbooks, tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Where the page's commands are typed; its host is the machine, which has no KVM."""
    controller = Controller(tmp_path_factory.mktemp("page"), clones.build(tmp_path_factory.mktemp("archive")))
    # Nothing of the page needs facts of Ansible's own, which take longer there than its devices.
    (controller.home / ".ansible.cfg").write_text("[defaults]\ngathering = explicit\n")
    variables = yaml.safe_load(playbooks.inventory.read_text())["all"]["hosts"]["kernelhost"]
    controller.reach({"kvm01": {**variables, "ansible_become": False, "domain_type": "qemu"}})
    return controller


@pytest.mark.every_release
def test_a_pool_does_not_lose_what_a_guest_has(machine: Machine, playbooks: Playbooks) -> None:
    pool = {"name": "desks", "type": "mtty-1"}
    playbooks.tasks([{"hostdev.nodedev.mdev_pool": {**pool, "count": 2, "managed": True}}])
    uuids = sorted(machine.run("ls /etc/mdevctl.d/mtty").stdout.split())
    define(machine, "pooled", *uuids)
    machine.run("virsh start pooled --paused")
    assert devices(machine, 2) == uuids
    playbooks.tasks(
        [
            *refused("pooled", "mdev_pool", **pool, count=1),
            *refused("pooled", "mdev_pool", name="desks", state="absent"),
        ]
    )
    machine.run("virsh destroy pooled")
    assert devices(machine, 0) == []
    shrunk = {"hostdev.nodedev.mdev_pool": {**pool, "count": 1}, "register": "told"}
    playbooks.tasks([shrunk, holds("told is changed"), {"hostdev.nodedev.mdev_pool": {**pool, "state": "absent"}}])


@pytest.mark.every_release
def test_managed_devices_come_and_go_with_their_guest(machine: Machine, playbooks: Playbooks) -> None:
    managed = {"parent": "mtty_mtty", "type": "mtty-1", "managed": True}
    playbooks.tasks([{"hostdev.nodedev.mdev": {**managed, "uuid": uuid}} for uuid in UUIDS])
    define(machine, "both", *UUIDS)
    assert devices(machine, 0) == []
    machine.run("virsh start both --paused")
    assert devices(machine, 2) == UUIDS
    facts = [
        {"hostdev.nodedev.definition_facts": {}, "register": "told"},
        holds("ansible_facts.nodedev_definitions.mdev | map(attribute='domain') | list == ['both', 'both']"),
        *refused("both", "mdev", uuid=UUIDS[0], state="absent"),
    ]
    playbooks.tasks(facts)
    machine.run("virsh destroy both")
    assert devices(machine, 0) == []


@pytest.mark.every_release
def test_they_go_when_the_guest_is_killed(machine: Machine) -> None:
    machine.run("virsh start both --paused && pkill -KILL -f [g]uest=both")
    assert devices(machine, 0) == []


@pytest.mark.every_release
def test_a_start_that_fails_leaves_none(machine: Machine) -> None:
    # Nothing makes the second one: libvirt does not find it, after the hook has made the first.
    define(machine, "more", UUIDS[1], SERIAL)
    failed = machine.run("virsh start more --paused", check=False)
    assert failed.returncode != 0
    assert SERIAL in failed.stderr
    assert devices(machine, 0) == []


def test_they_go_though_libvirt_was_killed(machine: Machine) -> None:
    machine.run("virsh start both --paused && pkill -KILL libvirtd; virsh list")
    assert devices(machine, 2) == UUIDS
    machine.run("virsh destroy both")
    assert devices(machine, 0) == []
    machine.run("virsh start both --paused && pkill -KILL libvirtd; pkill -KILL -f [g]uest=both; virsh list --all")
    # Its end was told to nobody: the next start of any domain finds what it left.
    define(machine, "other", UUIDS[0])
    machine.run("virsh start other --paused")
    assert devices(machine, 1) == UUIDS[:1]
    machine.run("virsh destroy other")
    assert devices(machine, 0) == []


def test_the_page(playbooks: Playbooks, controller: Controller) -> None:
    playbooks.tasks(ALLOWED)
    output = ""
    for block in BLOCKS:
        # A task alone is an example of options.
        if block.chapter in CHAPTERS and (block.language != "yaml" or block.file):
            output = follow(replace(block, text=block.text.replace(KVM, 'type="qemu"')), controller, output)


def test_what_a_guest_has_is_not_taken(machine: Machine, playbooks: Playbooks) -> None:
    machine.run(START)
    card = {"device": "pci_0000_03_00_0"}
    playbooks.tasks(
        [
            *refused("serial", "mdev", uuid=SERIAL, state="absent"),
            *refused("serial", "mdev", uuid=SERIAL, state="inactive"),
            *refused("storage", "driver", device="pci_0000_01_00_0", state="absent", force=True),
            *refused("router", "sriov", **card, numvfs=1, force=True),
            *refused("router", "sriov", **card, state="absent", force=True),
            *refused("router", "driver", device="pci_0000_03_10_0", driver="none", force=True),
            *refused("database", "vhba", name="images", state="absent"),
            *refused("database", "vhba", name="images", state="inactive"),
        ]
    )
    machine.run(END)


def test_a_boot_after_which_all_start_again_and_no_managed_one_is_there(machine: Machine, playbooks: Playbooks) -> None:
    documents = f"for name in {EACH}; do virsh dumpxml --inactive $name; done"
    before = machine.run(documents).stdout
    machine.run("virsh start both --paused")
    machine.reboot()
    # What the page has defined is there, and nothing else.
    assert devices(machine, 1) == [SERIAL]
    playbooks.tasks(ALLOWED)
    machine.run(f"{UP}; {START}; virsh start both --paused")
    assert machine.run(documents).stdout == before
    assert machine.run("virsh list --name").stdout.split() == [*GUESTS, "both"]
    assert devices(machine, 3) == sorted([SERIAL, *UUIDS])
    machine.run(f"{END}; virsh destroy both")


def test_what_no_guest_has_any_more_goes(machine: Machine, playbooks: Playbooks) -> None:
    # At boot driverctl had vfio-pci have all of its product: what docs/driver.md says takes that back.
    machine.run(f"cd {NVME} && echo $(cat vendor device) > /sys/bus/pci/drivers/vfio-pci/remove_id")
    playbooks.tasks([step for each in GONE for step in ({**each, "register": "told"}, holds("told is changed"))])
    assert machine.run(f"readlink {NVME}/driver").stdout.endswith("/nvme\n")
