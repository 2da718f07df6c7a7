# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses disks, by a /proc and block devices of a test's own; no node is opened.

The disks have names that no machine gives to its own, since whether the kernel claims one is asked of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import programs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import (
    disk_users,
    nodes,
    pci_users,
    processes,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
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
        """A process with open files: of /dev those of this host, others where they are."""
        folder = self.proc / str(pid)
        self.host.write(folder / "comm", command)
        self.host.write(folder / "mountinfo", b"")
        (folder / "fd").mkdir()
        (folder / "ns").mkdir()
        (folder / "ns" / "mnt").symlink_to(f"mnt:[{space}]")
        for handle, node in enumerate(opened):
            (folder / "fd" / str(handle)).symlink_to(self.node(node))

    def node(self, name: str) -> Path:
        """A node of this host, which is a file."""
        path = self.host.dev / name.removeprefix("/dev/")
        if name.startswith("/dev/"):
            path.touch()
        return path

    def daemon(self, pid: int, program: Path, users: str = "0 0 0 0") -> None:
        """Let a process run this program for these users."""
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
        (self.proc / str(pid) / "exe").symlink_to(program)
        self.host.write(self.proc / str(pid) / "status", f"Name:\tx\nUid:\t{users}\nGid:\t0 0 0 0")

    def mount(self, *mounts: tuple[str, str], pid: int = 1) -> None:
        lines = [f"{20 + i} 1 {number} / {place} rw - ext4 x rw" for i, (number, place) in enumerate(mounts)]
        self.host.write(self.proc / str(pid) / "mountinfo", "\n".join(lines))

    def swaps(self, *nodes: str) -> None:
        lines = ["Filename Type Size Used Priority", *(f"{node} partition 1 0 -2" for node in nodes)]
        self.host.write(self.proc / "swaps", "\n".join(lines))


@pytest.fixture
def machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(processes, "PROC", str(host.root / "proc"))
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    monkeypatch.setattr(disk_users, "BLOCK", str(host.sys / "class" / "block"))
    monkeypatch.setattr(disk_users, "BTRFS", str(host.sys / "fs" / "btrfs"))
    monkeypatch.setattr(disk_users, "CHARACTERS", (str(host.sys / "class" / "tape"), str(host.sys / "class" / "sg")))
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
    assert disk_users.of_disks([f"/dev/{DISK}"]) == [Holder(f"/dev/{DISK}", place, "mounted on")]


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
        Holder(f"/dev/{DISK}", "qemu-system-x86", pid=7),
        Holder(f"/dev/{DISK}1", "dd", pid=8),
        Holder("/dev/sgzz1", "qemu-system-x86", pid=7),
        Holder("/dev/sgzz1", "sg_turs", pid=9),
    ]
    assert used("sdzzgone", generic=("/dev/sgzz2",)) == ["/dev/sgzz2 is open by process 9 (sg_turs)"]


UDEVD, MULTIPATHD = "usr/lib/systemd/systemd-udevd", "usr/sbin/multipathd"


@pytest.mark.parametrize(
    ("command", "program", "users", "watches"),
    [
        ("systemd-udevd", UDEVD, "0 0 0 0", True),
        ("(udev-worker)", UDEVD, "0 0 0 0", True),
        ("multipathd", MULTIPATHD, "0 0 0 0", True),
        # A program that was replaced under a daemon that runs, and one that is not there any more.
        ("multipathd", f"{MULTIPATHD} (deleted)", "0 0 0 0", True),
        ("multipathd", "usr/sbin/gone (deleted)", "0 0 0 0", False),
        # A name, a program or a user of somebody's choice.
        ("multipathd", "home/user/multipathd", "0 0 0 0", False),
        ("multipathd", "usr/bin/python3", "0 0 0 0", False),
        ("systemd-udevd", MULTIPATHD, "0 0 0 0", False),
        ("multipathd", MULTIPATHD, "1000 1000 1000 1000", False),
        ("multipathd", MULTIPATHD, "1000 0 0 0", False),
        ("multipathd", MULTIPATHD, "0 0 1000 0", False),
        ("multipathd", MULTIPATHD, "", False),
        # A tool that is udevd's own program: udevadm lock keeps a disk for who calls it.
        ("udevadm", UDEVD, "0 0 0 0", False),
    ],
)
def test_who_only_watches_is_known_by_program_and_user(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, command: str, program: str, users: str, watches: bool
) -> None:
    own = {f"{machine.host.root}{path}": names for path, names in disk_users.WATCHERS.items()}
    monkeypatch.setattr(disk_users, "WATCHERS", own)
    for path in (UDEVD, MULTIPATHD):
        machine.host.write(machine.host.root / path, b"")
    machine.process(7, command, (f"/dev/{DISK}",))
    machine.daemon(7, machine.host.root / program, users)
    assert used() == ([] if watches else [f"/dev/{DISK} is open by process 7 ({command})"])


def test_a_process_without_a_program_is_not_a_daemon(machine: Machine) -> None:
    machine.process(7, "multipathd", (f"/dev/{DISK}",))
    assert used() == [f"/dev/{DISK} is open by process 7 (multipathd)"]


def test_a_node_of_another_name(machine: Machine) -> None:
    machine.host.attributes("class/sg/sgzz1", {"dev": "1:3"})
    machine.host.attributes("class/tape/nstzz0", {"dev": "1:5"})
    machine.process(7, "qemu", (str(machine.host.root / "container" / "lun"),))
    (machine.host.root / "container").mkdir()
    (machine.host.root / "container" / "lun").symlink_to("/dev/null")
    machine.process(8, "tar", ("/tmp/dev/sgzz1", str(machine.host.root / "sgzz1")))
    machine.host.write(machine.host.root / "sgzz1", b"")
    found = disk_users.of_disks([], ["/dev/sgzz1", "/dev/nstzz0"])
    assert found == [Holder("/dev/sgzz1", "qemu", pid=7)]


def test_a_node_that_is_another_device_now(machine: Machine) -> None:
    machine.host.attributes("class/sg/sgzz1", {"dev": "1:5"})
    (machine.host.dev / "sgzz1").symlink_to("/dev/null")
    machine.process(7, "cat", ("/dev/sgzz1",))
    assert disk_users.of_disks([], ["/dev/sgzz1"]) == []


@pytest.mark.parametrize(
    ("line", "swapped"),
    [
        ("/srv/{disk} file 1 0 -2", False),
        ("/srv/{disk}\\040partition file 1 0 -2", False),
        ("/dev/{disk}\\040(deleted) partition 1 0 -2", True),
        ("/dev/{disk}              partition\t1\t\t0\t\t-2", True),
        ("/dev/{disk}x partition 1 0 -2", False),
        ("", False),
        ("partition", False),
    ],
)
def test_what_is_swapped_to(machine: Machine, line: str, swapped: bool) -> None:
    machine.host.write(machine.proc / "swaps", f"Filename Type\n{line.format(disk=DISK)}\n")
    assert used() == ([f"/dev/{DISK} is used for swap"] if swapped else [])


@pytest.mark.parametrize(("backing", "upon"), [("node", True), ("/srv/disk.img", False), ("/dev/shm/nothing", False)])
def test_loop_devices(machine: Machine, backing: str, upon: bool) -> None:
    machine.block("loop900", loop_backing_file=backing if backing != "node" else "/dev/null")
    machine.block("loop901")
    # A disk whose node is /dev/null, the one file below /dev that is everywhere.
    (machine.host.dev / DISK).symlink_to("/dev/null")
    (machine.host.sys / "class" / "block" / DISK / "dev").unlink()
    assert used() == ([f"/dev/{DISK} is used by the loop device /dev/loop900"] if upon else [])


@pytest.mark.parametrize(("label", "called"), [("", "83b8f4f2"), ("data\x1b[2J", "data\\x1b[2J")])
def test_a_btrfs_names_its_disks_itself(machine: Machine, label: str, called: str) -> None:
    machine.partition(DISK)
    machine.host.attributes("fs/btrfs/features", {"raid56": "0"})
    machine.host.attributes("fs/btrfs/83b8f4f2", {"label": label})
    for name in (f"{DISK}1", "sdzzgone"):
        machine.host.attributes(f"fs/btrfs/83b8f4f2/devices/{name}", {})
    machine.mount(("0:99", "/srv"))
    assert used() == [f"/dev/{DISK}1 is part of the btrfs {called}"]


@pytest.mark.parametrize("text", ["a\rb", "a\u2028b", "a\x0b40 1 8:1 / /forged rw - x x rw"])
def test_mounts_are_lines_as_the_kernel_ends_them(machine: Machine, text: str) -> None:
    machine.mount(("8:9", text), ("8:1", "/srv"))
    assert used() == [f"/dev/{DISK} is mounted on /srv"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qemu\x1b[2J", "qemu\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("", "without a name"),
    ],
)
def test_names_cannot_write_to_a_terminal(machine: Machine, name: str, words: str) -> None:
    machine.process(7, name, (f"/dev/{DISK}",))
    assert used() == [f"/dev/{DISK} is open by process 7 ({words})"]


def test_long_names_are_cut(machine: Machine) -> None:
    machine.mount(("8:1", f"/{'x' * 4000}"))
    assert len(used()[0]) < 300


class TestMultipath:
    """Maps upon the disks: mpatha, dm-900, is upon DISK and OTHER unless told otherwise."""

    @pytest.fixture(autouse=True)
    def start(self, machine: Machine) -> None:
        machine.block(OTHER)
        self.machine = machine
        self.number = self.map("dm-900", DISK, OTHER)

    def map(self, name: str, *paths: str, uuid: str = "mpath-1") -> str:
        number = self.machine.block(name, *paths, dm_name=f"map{name[-1]}", dm_uuid=uuid)
        for path in paths:
            self.machine.host.attributes(f"class/block/{name}/slaves/{path}", {})
        return number

    def state(self, path: str, state: str) -> None:
        self.machine.host.attributes(f"class/block/{path}/device", {"state": state})

    def dmsetup(self, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        folder = self.machine.host.root / "bin"
        folder.mkdir()
        self.machine.host.write(folder / "dmsetup", f'#!/bin/sh\necho "$@" > {folder}/asked\n{script}')
        (folder / "dmsetup").chmod(0o755)
        monkeypatch.setattr(programs, "FOLDERS", str(folder))

    def test_one_that_nobody_uses_is_no_use(self) -> None:
        assert used() == []
        assert used(DISK, OTHER) == []

    def test_the_maps_of_its_partitions_are_none_either(self) -> None:
        self.map("dm-901", "dm-900", uuid="part1-mpath-1")
        assert used(DISK, OTHER) == []

    def test_a_disk_below_a_map_is_not_opened(self) -> None:
        # That the map has it for itself is no use: it would be one that the kernel claims.
        assert not disk_users._is_free(DISK, ())
        assert disk_users._is_free("dm-900", ())

    @pytest.mark.parametrize(
        ("user", "use"),
        [
            ("mount", "/dev/dm-900 is mounted on /srv"),
            ("swap", "/dev/dm-900 is used for swap"),
            ("process", "/dev/dm-900 is open by process 7 (qemu)"),
            ("volume", "/dev/dm-900 is held by the logical volume map1 (dm-901)"),
            ("other map", "/dev/dm-900 is held by the map map1 (dm-901)"),
        ],
    )
    def test_one_that_is_used(self, user: str, use: str) -> None:
        machine = self.machine
        if user == "mount":
            machine.mount((self.number, "/srv"))
        elif user == "swap":
            machine.swaps("/dev/dm-900")
        elif user == "process":
            machine.process(7, "qemu", ("/dev/dm-900",))
        else:
            self.map("dm-901", "dm-900", uuid="LVM-1" if user == "volume" else "x-1")
        held = [f"/dev/{disk} is held by the multipath map map0 (dm-900)" for disk in (DISK, OTHER)]
        assert sorted(used(DISK, OTHER)) == sorted([*held, use])

    def test_a_partition_of_it_that_is_used(self) -> None:
        number = self.map("dm-901", "dm-900", uuid="part1-mpath-1")
        self.map("dm-902", "dm-900", uuid="part2-mpath-1")
        self.machine.mount((number, "/srv"))
        assert f"/dev/{DISK} is held by the multipath map map0 (dm-900)" in used(DISK, OTHER)
        assert "/dev/dm-900 is held by the map map1 (dm-901)" in used(DISK, OTHER)
        assert "/dev/dm-901 is mounted on /srv" in used(DISK, OTHER)

    @pytest.mark.parametrize(
        ("state", "script", "hinders"),
        [
            ("running", "echo 0 9 multipath 2 0 0 0 1 1 A 0 2 2 8:1 A 0 0 1 8:2 A 0 0 1", False),
            ("running", "echo 0 9 multipath 2 0 0 0 1 1 A 0 2 2 8:1 A 0 0 1 8:2 F 1 0 1", True),
            ("running", "echo 0 9 multipath 2 0 0 0 1 1 A 0 2 2 8:1 A 0 0 1 8:3 A 0 0 1", True),
            ("running", "exit 1", True),
            ("running", "echo 8:2 A; exit 1", True),
            ("running", "printf '\\377 8:2'", True),
            ("offline", "echo 8:2 A", True),
            ("transport-offline", "echo 8:2 A", True),
            ("blocked", "echo 8:2 A", True),
        ],
    )
    def test_another_path_carries_it_on(
        self, monkeypatch: pytest.MonkeyPatch, state: str, script: str, hinders: bool
    ) -> None:
        self.machine.mount((self.number, "/srv"))
        self.state(OTHER, state)
        self.dmsetup(monkeypatch, script)
        assert used() == (
            [f"/dev/{DISK} is held by the multipath map map0 (dm-900)", "/dev/dm-900 is mounted on /srv"]
            if hinders
            else []
        )
        # Of its last paths it cannot be deprived.
        assert "/dev/dm-900 is mounted on /srv" in used(DISK, OTHER)
        if state == "running":
            asked = (self.machine.host.root / "bin" / "asked").read_text()
            assert asked == f"status --noflush --major 8 --minor {self.number[2:]}\n"

    def test_without_dmsetup_no_path_is_known_to_work(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(programs, "FOLDERS", str(tmp_path))
        self.machine.mount((self.number, "/srv"))
        self.state(OTHER, "running")
        assert "/dev/dm-900 is mounted on /srv" in used()

    def test_a_path_that_is_gone_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dmsetup(monkeypatch, "echo 8:2 A")
        self.machine.mount((self.number, "/srv"))
        slave = self.machine.host.sys / "class" / "block" / "dm-900" / "slaves" / OTHER
        slave.rmdir()
        slave.symlink_to("../../gone")
        self.state(OTHER, "running")
        assert disk_users.paths_of("dm-900") == [DISK]
        assert "/dev/dm-900 is mounted on /srv" in used()

    def test_the_disk_itself_is_used_beside_a_map_that_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dmsetup(monkeypatch, "echo 8:2 A")
        self.state(OTHER, "running")
        self.machine.process(7, "dd", ("/dev/dm-900", f"/dev/{DISK}"))
        assert used() == [f"/dev/{DISK} is open by process 7 (dd)"]

    def test_units_that_go_together_lose_it_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dmsetup(monkeypatch, "echo 8:1 A 8:2 A")
        for path in (DISK, OTHER):
            self.state(path, "running")
        self.machine.mount((self.number, "/srv"))
        one = disk_users.of_each({"a": (f"/dev/{DISK}", ())})
        both = disk_users.of_each({"a": (f"/dev/{DISK}", ()), "b": (f"/dev/{OTHER}", ())})
        assert one == {"a": []}
        assert [[str(use) for use in uses] for uses in both.values()] == [
            [f"/dev/{disk} is held by the multipath map map0 (dm-900)", "/dev/dm-900 is mounted on /srv"]
            for disk in (DISK, OTHER)
        ]


class TestDoubt:
    """What cannot be looked at; a folder that is a file cannot, whoever asks."""

    @pytest.fixture(autouse=True)
    def start(self, machine: Machine) -> None:
        machine.process(7, "sleep")
        (machine.proc / "7" / "fd").rmdir()
        (machine.proc / "7" / "fd").touch()
        self.machine = machine

    def test_a_disk_is_possibly_used(self) -> None:
        doubt = "process 7 (sleep), whose open files cannot be read (ENOTDIR, Not a directory)"
        how = "possibly used by"
        assert used(generic=("/dev/sgzz1",)) == [f"/dev/{DISK} is {how} {doubt}"]
        assert disk_users.of_disks([], ["/dev/sgzz1"]) == [Holder("/dev/sgzz1", doubt, how)]
        found = disk_users.of_each(
            {"a": (f"/dev/{DISK}", ["/dev/sgzz1"]), "b": (None, ["/dev/sgzz2"]), "c": (None, ())}
        )
        assert found == {
            "a": [Holder(f"/dev/{DISK}", doubt, how)],
            "b": [Holder("/dev/sgzz2", doubt, how)],
            "c": [],
        }

    def test_a_use_that_is_known_says_enough(self) -> None:
        self.machine.mount(("8:1", "/srv"))
        assert used() == [f"/dev/{DISK} is mounted on /srv"]

    def test_nothing_asked_nothing_looked_at(self) -> None:
        assert disk_users.of_disks([]) == []
        assert disk_users.of_each({"a": (None, ())}) == {"a": []}

    def test_mounts(self) -> None:
        for name in ("fd", "mountinfo"):
            (self.machine.proc / "7" / name).unlink()
            (self.machine.proc / "7" / name).mkdir()
        # Of a process in the namespace of process 1, which is known.
        assert used() == []
        (self.machine.proc / "7" / "ns" / "mnt").unlink()
        (self.machine.proc / "7" / "ns" / "mnt").symlink_to("mnt:[2]")
        words = "possibly used by process 7 (sleep), whose mounts cannot be read (EISDIR, Is a directory)"
        assert used() == [f"/dev/{DISK} is {words}"]


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


@pytest.mark.parametrize(
    ("how", "by", "vital"),
    [
        ("mounted on", "/", True),
        ("mounted on", "/boot/efi", True),
        ("mounted on", "/srv", False),
        ("used for", "swap", True),
        ("held by", "the logical volume map1 (dm-901)", True),
        ("part of", "the btrfs root", True),
        # A ZFS pool has its disks so, and / may be on it: its mounts name no disk.
        ("claimed by", "the kernel", True),
        ("possibly claimed by", "the kernel, since it cannot be opened (EACCES)", False),
        ("open by", "dd", False),
    ],
)
def test_what_no_force_takes_away(how: str, by: str, vital: bool) -> None:
    assert pci_users.of_disk(Holder("/dev/sda", by, how)).forcible is not vital
