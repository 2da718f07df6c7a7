# SPDX-License-Identifier: GPL-3.0-or-later
"""A device as libudev shows it to libvirt: attributes, numbers, properties, nodes."""

from __future__ import annotations

import ctypes
import os

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import numbers, udev
from devices import Host
from hypothesis import given
from hypothesis import strategies as st


# As a running libvirtd 9.0 prints them.
@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"plain\n", "plain"),
        (b"no newline", "no newline"),
        (b" S/N 1 \n", " S/N 1 "),
        (b"two\nlines\n\n", "two\nlines"),
        (b"x\r\n", "x"),
        (b"a\tb\x7fc\x01d\x1fe\x0bf\x0cg\rh\x1ai\x0e\n", "a\tb\x7fcdefg\rhi"),
        (b"nul\0after\n", "nul"),
        (b"\0\n", None),
        (b"\x01\n", None),
        (b"\n", None),
        (b"", None),
        (b" \n", " "),
        ("café\n".encode(), "café"),
        (b"\xff\n", "\ufffd"),
    ],
)
def test_sysattr(host: Host, content: bytes, value: str | None) -> None:
    assert host.make_device("x", "x", {"value": content}).sysattr("value") == value


@pytest.mark.parametrize(("content", "value"), [(b"a\n\n", "a\n"), (b"", ""), (b"\n", ""), (b"\xff\n", "\ufffd")])
def test_value(host: Host, content: bytes, value: str) -> None:
    assert host.make_device("x", "x", {"value": content}).value("value") == value


def test_what_cannot_be_read_is_none(host: Host) -> None:
    device = host.make_device("x", "x", {"folder/model": "M"})
    assert device.sysattr("folder/model") == "M"
    for name in ("folder", "gone", "gone/below"):
        assert device.sysattr(name) is None
        assert device.value(name) is None
        assert device.link(name) is None
        assert device.number(name, default=7) == 7


@pytest.mark.parametrize(
    ("text", "base", "bits", "signed", "number"),
    [
        ("12", 10, 32, False, 12),
        ("0x10de", 16, 32, False, 0x10DE),
        ("10DE", 16, 32, False, 0x10DE),
        ("0b1", 16, 32, False, 0xB1),
        ("0b1", 0, 32, False, None),
        ("0x10", 10, 32, False, None),
        ("0x", 16, 32, False, None),
        ("0x10", 0, 32, False, 16),
        ("010", 0, 32, False, 8),
        ("010", 10, 32, False, 10),
        ("08", 0, 32, False, None),
        ("0", 0, 32, False, 0),
        (" \t+5", 10, 32, False, 5),
        ("5 ", 10, 32, False, None),
        ("- 5", 10, 32, False, None),
        ("--5", 10, 32, False, None),
        ("1_0", 10, 32, False, None),
        ("٣", 10, 32, False, None),
        ("", 10, 32, False, None),
        ("-1", 10, 32, False, 4294967295),
        ("-1", 10, 32, True, -1),
        ("-2147483648", 10, 32, True, -(1 << 31)),
        ("2147483648", 10, 32, True, None),
        ("2147483648", 10, 32, False, 1 << 31),
        ("4294967296", 10, 32, False, None),
        ("-4294967296", 10, 32, False, None),
        ("4294967296", 10, 64, False, 1 << 32),
        ("1e3", 10, 32, False, None),
        ("0o17", 0, 32, False, None),
        ("0x0x1f", 0, 32, False, None),
        ("-0x0x1f", 16, 32, False, None),
    ],
)
def test_integer(text: str, base: int, bits: int, signed: bool, number: int | None) -> None:
    assert numbers.integer(text, base, bits, signed) == number


@given(
    st.text(st.sampled_from(" +-0123456789abcoOxX_.\tgG"), min_size=1, max_size=12),
    st.sampled_from((0, 10, 16)),
)
def test_integer_is_as_strtol_has_it(text: str, base: int) -> None:
    libc = ctypes.CDLL(None)
    libc.strtoll.restype = ctypes.c_longlong
    raw = ctypes.create_string_buffer(text.encode())
    end = ctypes.c_char_p()
    number = libc.strtoll(raw, ctypes.byref(end), base)
    whole = any(map(str.isalnum, text)) and not end.value
    expected = number if whole and -(1 << 31) <= number < 1 << 31 else None
    assert numbers.integer(text, base, signed=True) == expected


def test_a_number_that_is_none_drops(host: Host) -> None:
    device = host.make_device("x", "x", {"value": "what", "empty": ""}, {"PROPERTY": "0x"})
    with pytest.raises(Dropped, match="empty is ''"):
        device.number("empty")
    with pytest.raises(Dropped, match="value is 'what'"):
        device.number("value")
    with pytest.raises(Dropped, match="PROPERTY is '0x'"):
        device.prop_number("PROPERTY", 16)
    assert device.prop_number("OTHER", default=3) == 3


@pytest.mark.parametrize(
    ("subsystem", "sysname", "uevent"),
    [
        ("block", "sda", {"MAJOR": "8", "MINOR": "0", "DEVNAME": "sda"}),
        ("drm", "card0", {"MAJOR": "226", "MINOR": "0", "DEVNAME": "dri/card0"}),
        ("net", "eth0", {"IFINDEX": "2"}),
        ("usb", "1-1", {"DEVTYPE": "usb_device"}),
        ("block", "cciss/c0d0", {"MAJOR": "104", "MINOR": "0", "DEVNAME": "cciss/c0d0"}),
        ("x", "odd!name", {}),
    ],
)
def test_properties_come_from_the_kernel_and_from_udevs_record(
    host: Host, subsystem: str, sysname: str, uevent: dict[str, str]
) -> None:
    record = {"BOTH": "rule", "A": "a=b", "B": ""}
    device = host.make_device(subsystem, sysname, uevent={**uevent, "BOTH": "kernel"}, record=record)
    assert device.prop("BOTH") == "kernel"
    assert device.prop("A") == "a=b"
    assert device.prop("B") is None
    assert device.prop("C") is None


def test_a_record_is_opened_only_for_what_the_kernel_lacks(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    device = host.make_device("x", "x", uevent={"A": "1"}, record={"B": "2"})
    opened: list[str] = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(path) or original(path, *more))
    assert device.prop("A") == device.prop("A") == "1"
    assert opened == [f"{device.path}/uevent"]
    assert device.prop("B") == device.prop("B") == "2"
    assert device.links == []
    assert opened == [f"{device.path}/uevent", f"{host.records}/+x:x"]


def test_node_and_links(host: Host) -> None:
    device = host.make_device("block", "sda", uevent={"MAJOR": "8", "MINOR": "0", "DEVNAME": "sda"})
    (host.records / "b8:0").write_text(
        "S:disk/by-id/wwn-1\nI:123\nS:disk/by-id/scsi-1\nE:ID_BUS=scsi\nS:Disk\nbroken\n"
    )
    assert device.devnode == device.prop("DEVNAME") == "/dev/sda"
    assert device.links == ["/dev/Disk", "/dev/disk/by-id/scsi-1", "/dev/disk/by-id/wwn-1"]
    assert host.make_device("net", "eth0", uevent={"DEVNAME": "eth0"}).devnode is None


def test_driver(host: Host) -> None:
    device = host.make_device("x", "x", links={"driver": "bus/x/drivers/vfio-pci"})
    assert device.driver == "vfio-pci"
    dangling = host.make_device("x", "y")
    host.dangling_link(dangling, "driver")
    assert dangling.driver is None


def test_a_device_by_its_folder(host: Host) -> None:
    device = host.make_device("block", "cciss/c0d0")
    assert udev.device_at(device.path) == device
    assert udev.device_at(str(host.sys / "devices")) is None


def test_the_devices_of_a_subsystem(host: Host) -> None:
    first, second = host.make_device("net", "eth0", below="pci/0"), host.make_device("net", "lo", below="virtual/net")
    host.attributes("class/net", {"bonding_masters": ""})
    for device in (first, second):
        host.link(f"class/net/{device.sysname}", os.path.relpath(device.path, host.sys))
    found = udev.of_subsystem(f"{host.sys}/class/net", "net")
    assert sorted(found, key=lambda device: device.sysname) == [first, second]
    assert udev.of_subsystem(f"{host.sys}/class/none", "none") == []
