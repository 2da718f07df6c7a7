# SPDX-License-Identifier: GPL-3.0-or-later
"""The units that a SCSI host sees, on files of a test's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import lun, udev_events
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.disk_users import Map
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.lun import Lun
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.port import of_luns
from devices import Host

BELOW = "pci0000:04/0000:04:00.0/host8/rport-8:0-0/target8:0:0"


def make_unit(
    host: Host,
    address: str,
    disk: str = "",
    generic: str = "",
    size: str | None = "2097152",
    links: tuple[str, ...] = (),
) -> str:
    """A unit with its disk and its generic device; the folder that it is in."""
    path = f"devices/{BELOW}/{address}"
    host.link(f"bus/scsi/devices/{address}", path)
    if generic:
        host.attributes(f"{path}/scsi_generic/{generic}", {})
    if disk:
        minor = str(len(disk) * 16 + ord(disk[-1]))
        uevent = f"MAJOR=8\nMINOR={minor}\nDEVNAME={disk}\nDEVTYPE=disk".encode()
        host.attributes(f"{path}/block/{disk}", {"uevent": uevent, **({} if size is None else {"size": size})})
        if links:
            host.write(host.records / f"b8:{minor}", "".join(f"S:{link}\n" for link in links).encode())
    return f"{host.sys}/{path}"


def test_a_disk(fibre: Host) -> None:
    by_path = "disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun-1"
    path = make_unit(fibre, "8:0:0:1", "sdd", "sg4", links=("disk/by-id/wwn-0x6006", by_path, "disk/by-uuid/1"))
    by_id = "/dev/disk/by-id/wwn-0x6006"
    assert lun.of_host(8) == [Lun("8:0:0:1", path, "/dev/sdd", "/dev/sg4", 1 << 30, f"/dev/{by_path}", by_id)]


def test_what_is_no_disk(fibre: Host) -> None:
    path = make_unit(fibre, "8:0:0:0", generic="sg2")
    assert lun.of_host(8) == [Lun("8:0:0:0", path, None, "/dev/sg2", None, None)]


def test_a_disk_in_a_multipath_map(fibre: Host) -> None:
    path = make_unit(fibre, "8:0:0:0", "sdb")
    for name, uuid in (("dm-1", "LVM-1"), ("dm-2", "mpath-1"), ("md0", None)):
        fibre.attributes(f"class/block/sdb/holders/{name}", {})
        if uuid is not None:
            fibre.attributes(f"class/block/{name}/dm", {"uuid": uuid, "name": f"{uuid}\\x20name"})
    (unit,) = lun.of_host(8)
    assert unit.path == path
    assert unit.multipath == Map(r"mpath-1\x20name", r"/dev/mapper/mpath-1\x20name", "/dev/dm-2")
    (described,) = of_luns([unit])
    assert described["multipath"] == {
        "name": r"mpath-1\x20name",
        "path": r"/dev/mapper/mpath-1\x20name",
        "block": "/dev/dm-2",
    }


def test_all_nodes_of_a_unit(fibre: Host) -> None:
    make_unit(fibre, "8:0:0:0", generic="sg2")
    for node in ("scsi_tape/nst0", "scsi_tape/st0", "scsi_changer/sch0", "bsg/8:0:0:0", "scsi_device/8:0:0:0"):
        fibre.attributes(f"devices/{BELOW}/8:0:0:0/{node}", {})
    (unit,) = lun.of_host(8)
    assert unit.characters == ("/dev/sg2", "/dev/nst0", "/dev/st0", "/dev/sch0", "/dev/bsg/8:0:0:0")


def test_a_disk_that_udev_has_not_seen(fibre: Host) -> None:
    make_unit(fibre, "8:0:0:0", "sdb", size=None)
    (unit,) = lun.of_host(8)
    assert (unit.block, unit.generic, unit.size, unit.by_path) == ("/dev/sdb", None, None, None)


def test_a_disk_without_a_link_by_path(fibre: Host) -> None:
    make_unit(fibre, "8:0:0:0", "sdb", links=("disk/by-id/wwn-0x6006",))
    assert [(unit.by_path, unit.by_id) for unit in lun.of_host(8)] == [(None, "/dev/disk/by-id/wwn-0x6006")]


def test_a_link_that_leads_to_another_disk(fibre: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder of ours in /dev, in the place of /dev/disk/by-path.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setattr(lun, "BY_PATH", f"{folder}/")
        shared, own = f"{folder}/shared", f"{folder}/own"
        os.symlink("../../sdc", shared)
        os.symlink("../../sdb", own)
        make_unit(fibre, "8:0:0:0", "sdb", links=(shared,))
        assert [unit.by_path for unit in lun.of_host(8)] == [None]
        make_unit(fibre, "8:0:0:1", "sdb", links=(shared, own))
        assert [unit.by_path for unit in lun.of_host(8)] == [own, own]


def test_units_of_this_host_alone_by_address(fibre: Host) -> None:
    for address in ("8:0:0:10", "8:0:0:2", "8:0:1:0", "8:0:0:0", "80:0:0:0", "18:0:0:0"):
        make_unit(fibre, address)
    for name in ("host8", "target8:0:0"):
        fibre.link(f"bus/scsi/devices/{name}", f"devices/{name}")
    assert [unit.address for unit in lun.of_host(8)] == ["8:0:0:0", "8:0:0:2", "8:0:0:10", "8:0:1:0"]
    assert lun.of_host(3) == []


def test_a_unit_that_vanishes_is_none(fibre: Host) -> None:
    make_unit(fibre, "8:0:0:0")
    (fibre.sys / "bus/scsi/devices/8:0:0:1").symlink_to("../../../devices/gone")
    assert [unit.address for unit in lun.of_host(8)] == ["8:0:0:0"]


@pytest.mark.parametrize(
    ("kind", "disk", "links", "runs", "complete"),
    [
        ("0", "sdb", ("disk/by-id/x",), True, True),
        ("0", "sdb", (), True, False),
        ("0", "sdb", (), False, True),
        ("0", "", (), True, False),
        ("0", "", (), False, False),
        ("7", "", (), True, False),
        ("14", "", (), True, False),
        ("20", "", (), True, False),
        ("1", "", (), True, True),
        ("13", "", (), True, True),
        (None, "", (), True, True),
    ],
)
def test_a_unit_is_complete_with_its_disk_and_udevs_record_of_it(
    fibre: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str | None,
    disk: str,
    links: tuple[str, ...],
    runs: bool,
    complete: bool,
) -> None:
    control = tmp_path / "control"
    monkeypatch.setattr(udev_events, "CONTROL", str(control))
    if runs:
        control.touch()
    make_unit(fibre, "8:0:0:0", disk, links=links)
    if kind is not None:
        fibre.attributes(f"devices/{BELOW}/8:0:0:0", {"type": kind})
    assert [lun.is_complete(unit) for unit in lun.of_host(8)] == [complete]


@pytest.mark.parametrize(
    ("inquiry", "disk", "connected"),
    [
        (b"\x00\x00\x06", "", True),
        # The storage answers for a LUN of which it has mapped none, and the kernel's disk driver leaves it alone.
        (b"\x20\x00\x06", "", False),
        (b"\x20\x00\x06", "sdb", True),
        (b"", "", True),
        (None, "", True),
    ],
)
def test_a_place_holder_is_complete_without_a_disk(
    fibre: Host, inquiry: bytes | None, disk: str, connected: bool
) -> None:
    make_unit(fibre, "8:0:0:0", disk)
    fibre.attributes(f"devices/{BELOW}/8:0:0:0", {"type": "0", **({} if inquiry is None else {"inquiry": inquiry})})
    (unit,) = lun.of_host(8)
    assert lun.is_connected(unit) is connected
    assert lun.is_complete(unit) is (bool(disk) or not connected)


@pytest.mark.parametrize(
    ("record", "mapped", "complete"),
    [
        ("DM_MULTIPATH_DEVICE_PATH=1", False, False),
        ("DM_MULTIPATH_DEVICE_PATH=1", True, True),
        ("DM_MULTIPATH_DEVICE_PATH=0", False, True),
        ("ID_BUS=scsi", False, True),
        ("ID_BUS=scsi", True, True),
    ],
)
def test_a_path_is_complete_in_its_map(
    fibre: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str, mapped: bool, complete: bool
) -> None:
    (tmp_path / "control").touch()
    monkeypatch.setattr(udev_events, "CONTROL", str(tmp_path / "control"))
    make_unit(fibre, "8:0:0:0", "sdb", links=("disk/by-id/x",))
    (number,) = fibre.records.iterdir()
    fibre.write(number, f"E:{record}\n".encode())
    if mapped:
        fibre.attributes("class/block/sdb/holders/dm-0", {})
        fibre.attributes("class/block/dm-0/dm", {"uuid": "mpath-1", "name": "mpatha"})
    assert [lun.is_complete(unit) for unit in lun.of_host(8)] == [complete]
