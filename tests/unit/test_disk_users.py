# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses disks, by a /proc and block devices of a test's own; no node is opened.

The disks have names that no machine gives to its own, since whether the kernel claims one is asked of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import disk_users
from ansible_collections.hostdev.nodedev.plugins.module_utils.disk_users import Use
from devices import Host

DISK, OTHER = "sdzzx", "sdzzy"


class Machine:
    """Block devices and processes; process 1 is there from the beginning."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.proc = host.root / "proc"
        self.count = 0
        self.block(DISK)
        self.process(1, "systemd")
        self.swaps()

    def block(self, name: str, *slaves: str, **attributes: str) -> str:
        """A block device, maybe upon others; its number."""
        self.count += 1
        number = f"8:{self.count}"
        values = {key.replace("_", "/", 1): value for key, value in attributes.items()}
        self.host.attributes(f"class/block/{name}", {"dev": number, **values})
        for slave in slaves:
            self.host.attributes(f"class/block/{slave}/holders/{name}", {})
        return number

    def partition(self, disk: str, number: int = 1) -> str:
        name = f"{disk}{number}"
        self.host.attributes(f"class/block/{disk}/{name}", {"partition": str(number)})
        return self.block(name, partition=str(number))

    def process(self, pid: int, command: str, opened: tuple[str, ...] = (), space: str = "1") -> None:
        folder = self.proc / str(pid)
        self.host.write(folder / "comm", command)
        self.host.write(folder / "mountinfo", b"")
        (folder / "fd").mkdir()
        (folder / "ns").mkdir()
        (folder / "ns" / "mnt").symlink_to(f"mnt:[{space}]")
        for handle, node in enumerate(opened):
            (folder / "fd" / str(handle)).symlink_to(node)

    def mount(self, *mounts: tuple[str, str], pid: int = 1) -> None:
        lines = [f"{20 + i} 1 {number} / {place} rw - ext4 x rw" for i, (number, place) in enumerate(mounts)]
        self.host.write(self.proc / str(pid) / "mountinfo", "\n".join(lines))

    def swaps(self, *nodes: str) -> None:
        lines = ["Filename Type Size Used Priority", *(f"{node} partition 1 0 -2" for node in nodes)]
        self.host.write(self.proc / "swaps", "\n".join(lines))


@pytest.fixture
def machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(disk_users, "PROC", str(host.root / "proc"))
    monkeypatch.setattr(disk_users, "BLOCK", str(host.sys / "class" / "block"))
    return Machine(host)


def used(*disks: str, generic: tuple[str, ...] = ()) -> list[str]:
    return [str(use) for use in disk_users.of_disks([f"/dev/{disk}" for disk in disks or (DISK,)], generic)]


def test_nobody(machine: Machine) -> None:
    machine.block(OTHER)
    machine.block("dm-900", OTHER, dm_name="x")
    machine.mount(("8:2", "/srv"), ("0:20", "/sys"))
    machine.swaps(f"/dev/{OTHER}")
    machine.process(7, "tar", (f"/dev/{OTHER}", "/dev/null", "socket:[1]", f"/dev/{DISK}x"))
    assert used() == []
    assert used(OTHER) != []
    assert used("sdzzgone") == []


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("/srv", "/srv"),
        (r"/srv/two\040words", "/srv/two words"),
        (r"/srv/a\134040\011b\012c", "/srv/a\\040\tb\nc"),
    ],
)
def test_mounted(machine: Machine, written: str, place: str) -> None:
    machine.mount(("8:1", written))
    assert disk_users.of_disks([f"/dev/{DISK}"]) == [Use(f"/dev/{DISK}", f"mounted on {place}")]


def test_a_mounted_partition(machine: Machine) -> None:
    number = machine.partition(DISK, 2)
    machine.host.attributes(f"class/block/{DISK}/queue", {"rotational": "0"})
    machine.mount((number, "/srv"))
    assert used() == [f"/dev/{DISK}2 is mounted on /srv"]


def test_mounted_in_a_container(machine: Machine) -> None:
    machine.process(20, "init", space="2")
    machine.process(21, "sleep", space="2")
    machine.mount(("8:1", "/data"), pid=20)
    machine.mount(("8:1", "/not looked at: a second process of the namespace"), pid=21)
    machine.process(30, "init", space="3")
    machine.mount(("8:1", "/data"), pid=30)
    machine.mount(("8:1", "/srv"))
    assert used() == [f"/dev/{DISK} is mounted on /srv", f"/dev/{DISK} is mounted on /data"]


def test_a_process_that_ends_meanwhile_hides_nothing(machine: Machine) -> None:
    (machine.proc / "1" / "mountinfo").unlink()
    (machine.proc / "1" / "fd").rmdir()
    machine.process(9, "init")
    machine.mount(("8:1", "/srv"), pid=9)
    (machine.proc / "10").mkdir()
    assert used() == [f"/dev/{DISK} is mounted on /srv"]


@pytest.mark.parametrize("node", [DISK, f"{DISK}1"])
def test_swap(machine: Machine, node: str) -> None:
    machine.partition(DISK)
    machine.swaps("/dev/sdzz9", f"/dev/{node}")
    assert used() == [f"/dev/{node} is used for swap"]


def test_swap_by_another_name(machine: Machine, tmp_path: Path) -> None:
    link = tmp_path / "by-label"
    link.symlink_to(f"/dev/{DISK}")
    machine.swaps(str(link))
    assert used() == [f"/dev/{DISK} is used for swap"]


def test_a_kernel_without_swap(machine: Machine) -> None:
    (machine.proc / "swaps").unlink()
    assert used() == []


@pytest.mark.parametrize(
    ("name", "attributes", "called"),
    [
        ("dm-900", {"dm_name": "mpatha", "dm_uuid": "mpath-3600"}, "the multipath map mpatha (dm-900)"),
        ("dm-900", {"dm_name": "vg-lv", "dm_uuid": "LVM-Zq1"}, "the logical volume vg-lv (dm-900)"),
        ("dm-900", {"dm_name": "safe", "dm_uuid": "CRYPT-LUKS2-1"}, "the encrypted device safe (dm-900)"),
        ("dm-900", {"dm_name": "x", "dm_uuid": "part1-mpath-3600"}, "the map x (dm-900)"),
        ("dm-900", {"dm_name": "x"}, "the map x (dm-900)"),
        ("md900", {"md_level": "raid1"}, "the array md900"),
        ("bcache900", {}, "bcache900"),
    ],
)
def test_held(machine: Machine, name: str, attributes: dict[str, str], called: str) -> None:
    machine.block(name, DISK, **attributes)
    assert used() == [f"/dev/{DISK} is held by {called}"]


def test_what_is_built_on_what_is_built_on_it(machine: Machine) -> None:
    machine.partition(DISK)
    machine.block("md900", f"{DISK}1")
    partition = machine.partition("md900", 1)
    machine.block("dm-900", "md900", dm_name="vg-lv", dm_uuid="LVM-1")
    machine.block("dm-901", "dm-900", dm_name="safe", dm_uuid="CRYPT-1")
    machine.mount((partition, "/boot"))
    machine.swaps("/dev/dm-901")
    machine.process(7, "tar", ("/dev/dm-900",))
    assert sorted(used()) == [
        "/dev/dm-900 is held by the encrypted device safe (dm-901)",
        "/dev/dm-900 is open by process 7 (tar)",
        "/dev/dm-901 is used for swap",
        "/dev/md900 is held by the logical volume vg-lv (dm-900)",
        "/dev/md9001 is mounted on /boot",
        f"/dev/{DISK}1 is held by the array md900",
    ]


def test_each_path_of_a_map_is_held_by_it(machine: Machine) -> None:
    machine.block(OTHER)
    machine.block("dm-900", DISK, OTHER, dm_name="mpatha", dm_uuid="mpath-1")
    number = machine.block("dm-901", "dm-900", dm_name="vg-lv", dm_uuid="LVM-1")
    machine.mount((number, "/srv"))
    assert used(DISK, OTHER) == [
        f"/dev/{DISK} is held by the multipath map mpatha (dm-900)",
        "/dev/dm-900 is held by the logical volume vg-lv (dm-901)",
        f"/dev/{OTHER} is held by the multipath map mpatha (dm-900)",
        "/dev/dm-901 is mounted on /srv",
    ]


def test_open_nodes(machine: Machine) -> None:
    machine.partition(DISK)
    machine.process(7, "qemu-system-x86", (f"/dev/{DISK}", f"/dev/{DISK}", "/dev/sgzz1"))
    machine.process(8, "dd", (f"/dev/{DISK}1",))
    machine.process(9, "sg_turs", ("/dev/sgzz1", "/dev/sgzz2"))
    found = disk_users.of_disks([f"/dev/{DISK}"], ["/dev/sgzz1"])
    assert sorted(found, key=str) == [
        Use(f"/dev/{DISK}", "open by process 7 (qemu-system-x86)", 7),
        Use(f"/dev/{DISK}1", "open by process 8 (dd)", 8),
        Use("/dev/sgzz1", "open by process 7 (qemu-system-x86)", 7),
        Use("/dev/sgzz1", "open by process 9 (sg_turs)", 9),
    ]
    assert used("sdzzgone", generic=("/dev/sgzz2",)) == ["/dev/sgzz2 is open by process 9 (sg_turs)"]


@pytest.mark.parametrize("command", ["systemd-udevd", "(udev-worker)"])
def test_udevs_own_look_is_no_use(machine: Machine, command: str) -> None:
    machine.process(7, command, (f"/dev/{DISK}",))
    assert used() == []


def test_maps(machine: Machine) -> None:
    kinds: Mapping[str, dict[str, str]] = {
        "dm-900": {"dm_name": "mpatha", "dm_uuid": "mpath-1"},
        "dm-901": {"dm_name": "vg-lv", "dm_uuid": "LVM-1"},
        "dm-902": {"dm_uuid": "mpath-2"},
        "md900": {},
    }
    for name, attributes in kinds.items():
        machine.block(name, DISK, **attributes)
    assert disk_users.maps_of(f"/dev/{DISK}") == ["mpatha", "dm-902"]
    assert disk_users.maps_of(f"/dev/{OTHER}") == []
