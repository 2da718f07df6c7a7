# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk or a drive for discs says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import udev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import storage
from devices import Host

SIZES = {"size": "80000", "queue/logical_block_size": "512"}
DISK = {"size": 40960000, "logical_block_size": 512, "num_blocks": 80000}


def make_disk(host: Host, name: str, attributes: dict[str, str], record: dict[str, str]) -> udev.Device:
    uevent = {"MAJOR": "8", "MINOR": "16", "DEVNAME": name.replace("!", "/"), "DEVTYPE": "disk"}
    return host.make_device("block", name, attributes, uevent, record=record)


def test_all_of_a_disk(host: Host) -> None:
    attributes = {**SIZES, "device/model": "LUN   ", "device/vendor": " ACME ", "removable": "1"}
    record = {"ID_TYPE": "disk", "ID_BUS": "scsi", "ID_SERIAL": "36000 <&>"}
    device = make_disk(host, "sdb", attributes, record)
    said = storage.read(device)
    expected = {
        "type": "storage",
        "block": "/dev/sdb",
        "bus": "scsi",
        "drive_type": "disk",
        "model": "LUN",
        "vendor": " ACME",
        "serial": "36000 <&>",
        **DISK,
    }
    assert list(said.items()) == list(expected.items())
    assert storage.name(device, said) == "block_sdb_36000____"


@pytest.mark.parametrize(
    ("record", "name"),
    [({}, "block_vda"), ({"ID_SERIAL": ""}, "block_vda"), ({"ID_SERIAL": "QM_1-é"}, "block_vda_QM_1___")],
)
def test_its_name(host: Host, record: dict[str, str], name: str) -> None:
    device = make_disk(host, "vda", SIZES, record)
    assert storage.name(device, storage.read(device)) == name


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {}),
        ({"device/vendor": "0x1af4"}, {"vendor": "0x1af4"}),
        ({"device/model": "    "}, {"model": ""}),
        ({"device/model": "a\x01b\t "}, {"model": "ab"}),
        ({"device/model": "Große <&> Platte"}, {"model": "Große <&> Platte"}),
    ],
)
def test_its_maker(host: Host, attributes: dict[str, str], expected: dict[str, str]) -> None:
    said = storage.read(make_disk(host, "vda", {**SIZES, **attributes}, {}))
    assert said == {"type": "storage", "block": "/dev/vda", "drive_type": "disk", **expected, **DISK}


@pytest.mark.parametrize(
    ("name", "record", "drive"),
    [
        *[("sda", {"ID_TYPE": kind}, kind) for kind in ("disk", "floppy", "sd", "dasd")],
        *[("sda", {"ID_TYPE": kind}, "cdrom") for kind in ("cd", "cd/dvd")],
        *[("vda", record, "disk") for record in ({}, {"ID_TYPE": "generic"})],
        ("nvme0n1", {}, "disk"),
        ("dasda", {}, "dasd"),
        ("dasda", {"ID_TYPE": "generic"}, "dasd"),
        ("dasda", {"ID_TYPE": "disk"}, "dasd"),
        ("dasda", {"ID_TYPE": "sd"}, "sd"),
        ("fd0", {"ID_DRIVE_FLOPPY": "1"}, "floppy"),
        ("sr0", {"ID_TYPE": "generic", "ID_CDROM": "1"}, "cdrom"),
        ("mmcblk0", {"ID_DRIVE_FLASH_SD": "1"}, "sd"),
        ("fd0", {"ID_DRIVE_FLASH_SD": "1", "ID_CDROM": "1", "ID_DRIVE_FLOPPY": "0"}, "floppy"),
        ("sr0", {"ID_DRIVE_FLASH_SD": "1", "ID_CDROM": "1"}, "cdrom"),
        ("vda", {"ID_CDROM": "1"}, "cdrom"),
    ],
)
def test_its_drive_type(host: Host, name: str, record: dict[str, str], drive: str) -> None:
    assert storage.read(make_disk(host, name, {**SIZES, "device/uid": "IBM.1"}, record))["drive_type"] == drive


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        *[
            (name, {}, f"cannot tell what kind of drive /dev/{name} is")
            for name in ("loop0", "ram0", "zram0", "dm-0", "md0", "nbd0", "xvda", "sda", "mmcblk0")
        ],
        *[("sda", {"ID_TYPE": kind}, f"type '{kind}'") for kind in ("optical", "tape", "rbc", "cdrom")],
    ],
)
def test_a_drive_that_libvirt_does_not_list(host: Host, name: str, record: dict[str, str], reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        storage.read(make_disk(host, name, SIZES, record))


def test_a_hidden_path_is_dropped(host: Host) -> None:
    with pytest.raises(Dropped, match="no node"):
        storage.read(host.make_device("block", "nvme0c0n1", SIZES, {"DEVTYPE": "disk"}))


def test_a_node_in_a_folder(host: Host) -> None:
    device = host.make_device(
        "block", "vd/c0", SIZES, {"MAJOR": "8", "MINOR": "16", "DEVNAME": "vd/c0"}, record={"ID_SERIAL": "1"}
    )
    said = storage.read(device)
    assert (said["block"], storage.name(device, said)) == ("/dev/vd/c0", "block_vd_c0_1")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (SIZES, DISK),
        (
            {"size": "0x10", "queue/logical_block_size": "01000"},
            {"size": 8192, "logical_block_size": 512, "blocks": 16},
        ),
        (
            {**SIZES, "queue/logical_block_size": "4096"},
            {"size": 40960000, "logical_block_size": 4096, "blocks": 10000},
        ),
        (
            {**SIZES, "queue/logical_block_size": "2048"},
            {"size": 40960000, "logical_block_size": 2048, "blocks": 20000},
        ),
        ({**SIZES, "size": "0"}, {"size": 0, "logical_block_size": 512, "blocks": 0}),
        ({"queue/logical_block_size": "4096"}, {"size": 0, "logical_block_size": 4096, "blocks": 0}),
        ({"size": "80000"}, {"size": 0, "logical_block_size": 0, "blocks": 80000}),
        ({}, {"size": 0}),
        ({"size": "0", "queue/logical_block_size": "0"}, {"size": 0}),
        (
            {**SIZES, "size": "18446744073709551615"},
            {"size": 18446744073709551104, "logical_block_size": 512, "blocks": 18446744073709551615},
        ),
    ],
)
@pytest.mark.parametrize("kind", ["disk", "sd"])
def test_its_size(host: Host, kind: str, attributes: dict[str, str], expected: dict[str, int]) -> None:
    said = storage.read(make_disk(host, "sda", attributes, {"ID_TYPE": kind}))
    renamed = {"num_blocks" if key == "blocks" else key: value for key, value in expected.items()}
    assert list(said.items())[3:] == list(renamed.items())


@pytest.mark.parametrize(
    "attributes",
    [
        *[{**SIZES, "size": text} for text in ("big", "80000 ", "1e3", "18446744073709551616")],
        *[{**SIZES, "queue/logical_block_size": text} for text in ("512B", "-", "0x")],
    ],
)
@pytest.mark.parametrize(
    "record", [{"ID_TYPE": "disk"}, {"ID_TYPE": "cd", "ID_CDROM_MEDIA": "1"}], ids=["disk", "cdrom"]
)
def test_a_size_that_is_no_number_drops(host: Host, attributes: dict[str, str], record: dict[str, str]) -> None:
    with pytest.raises(Dropped, match="not a number"):
        storage.read(make_disk(host, "sda", attributes, record))


@pytest.mark.parametrize("record", [{}, {"ID_TYPE": "disk"}, {"ID_TYPE": "dasd"}])
def test_a_dasd_has_its_uid_as_serial(host: Host, record: dict[str, str]) -> None:
    attributes = {**SIZES, "device/uid": "IBM.750000000.1", "queue/logical_block_size": "4096"}
    device = make_disk(host, "dasda", attributes, {**record, "ID_SERIAL": "other"})
    said = storage.read(device)
    assert (said["drive_type"], said["serial"], said["size"]) == ("dasd", "IBM.750000000.1", 40960000)
    assert storage.name(device, said) == "block_dasda_IBM_750000000_1"


def test_a_dasd_without_uid_is_dropped(host: Host) -> None:
    with pytest.raises(Dropped, match="uid"):
        storage.read(make_disk(host, "dasda", SIZES, {"ID_TYPE": "disk", "ID_SERIAL": "x"}))


MEDIA = {"size": "8388604", "queue/logical_block_size": "2048"}
BLOCKS = {"logical_block_size": 2048, "num_blocks": 2097151}
LABEL = {"ID_FS_LABEL": "L <&>"}


@pytest.mark.parametrize(
    ("record", "removable", "expected"),
    [
        (
            {"ID_TYPE": "cd", "ID_CDROM_MEDIA": "1", **LABEL},
            "1",
            {"media_available": 1, "media_size": 4294965248, "media_label": "L <&>", **BLOCKS},
        ),
        (
            {"ID_TYPE": "cd", "ID_CDROM_MEDIA": "0x1"},
            "1",
            {"media_available": 1, "media_size": 4294965248, **BLOCKS},
        ),
        ({"ID_TYPE": "cd", **LABEL}, "1", {"media_available": 0, "media_size": 0}),
        ({"ID_TYPE": "cd", "ID_CDROM_MEDIA": "0"}, "1", {"media_available": 0, "media_size": 0}),
        (
            {"ID_TYPE": "floppy", **LABEL},
            "1",
            {"media_available": 1, "media_size": 4294965248, "media_label": "L <&>", **BLOCKS},
        ),
        ({"ID_TYPE": "floppy", "ID_CDROM_MEDIA": "1"}, "1", {"media_available": 0, "media_size": 0}),
        ({"ID_TYPE": "cd", "ID_CDROM_MEDIA": "1", **LABEL}, "0", {"size": 0, **BLOCKS}),
        ({"ID_TYPE": "cd", "ID_CDROM_MEDIA": "1", **LABEL}, None, {"size": 0, **BLOCKS}),
        ({"ID_TYPE": "cd", "ID_CDROM_MEDIA": "1", **LABEL}, "2", {"size": 0, **BLOCKS}),
        ({"ID_TYPE": "cd"}, "0", {"size": 0}),
    ],
)
def test_a_drive_for_discs(host: Host, record: dict[str, str], removable: str | None, expected: dict[str, Any]) -> None:
    attributes = {**MEDIA, **({} if removable is None else {"removable": removable})}
    said = storage.read(make_disk(host, "sr0", attributes, record))
    found = dict(list(said.items())[3:])
    if "capability" in found:
        (nested,) = found.pop("capability")
        assert (nested["type"], list(nested.items())[1:]) == ("removable", list(expected.items()))
        assert not found
    else:
        assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("attributes", "record"),
    [
        ({"removable": "1"}, {"ID_CDROM_MEDIA": "yes"}),
        ({"removable": "yes"}, {}),
    ],
)
def test_a_damaged_drive_for_discs_is_dropped(host: Host, attributes: dict[str, str], record: dict[str, str]) -> None:
    with pytest.raises(Dropped, match="not a number"):
        storage.read(make_disk(host, "sr0", attributes, {"ID_TYPE": "cd", **record}))


def test_without_media_its_size_is_not_asked_for(host: Host) -> None:
    attributes = {"removable": "1", "size": "damaged"}
    said = storage.read(make_disk(host, "sr0", attributes, {"ID_TYPE": "cd"}))
    assert said["capability"] == [{"type": "removable", "media_available": 0, "media_size": 0}]
