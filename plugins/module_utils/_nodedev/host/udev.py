# SPDX-License-Identifier: GPL-3.0-or-later
"""What udev knows of a device, read without pyudev.

That is the kernel's uevent file and, only for what that lacks, udev's own record of the device in /run/udev/data
(sd-device's format: a line "S:" a link, "E:" a property). libudev does the same, with three more opens a device and a
lookup of the subsystem that we have come from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import Dropped
from . import sysfs
from .numbers import integer

# A file a device: properties and links that udev's rules gave it.
RECORDS = "/run/udev/data"
# More than any record has: a device of many links has some kilobytes.
LONGEST = 1 << 20

# What libvirt takes out of attributes; tab, line feed and carriage return stay.
CONTROL_CHARACTERS = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f]+")


@dataclass(frozen=True)
class Device:
    """A device of the kernel; what is asked of it is read when it is asked, and uevent and udev's record only once.

    ``path`` is its real folder below /sys/devices, ``subsystem`` what its link of that name leads to, ``sysname`` the
    kernel's name of it. A device that vanishes or cannot be read says nothing: None, or no properties, as in libudev.
    """

    path: str
    subsystem: str
    sysname: str

    @cached_property
    def uevent(self) -> Mapping[str, str]:
        """The properties that the kernel gives, by name."""
        try:
            data = sysfs.content(f"{self.path}/uevent")
        except sysfs.SysfsError:
            data = None
        return _pairs(_lines(data))

    @cached_property
    def record(self) -> Record:
        """What udev's rules gave it; empty where udev has no record of it."""
        return _record(f"{RECORDS}/{self._record_name()}")

    @property
    def is_recorded(self) -> bool:
        """Whether udev has a record of it, as of all that its rules have dealt with."""
        return os.path.exists(f"{RECORDS}/{self._record_name()}")

    def _record_name(self) -> str:
        uevent = self.uevent
        if "MAJOR" in uevent and "MINOR" in uevent and uevent["MAJOR"] != "0":
            kind = "b" if self.subsystem == "block" else "c"
            return f"{kind}{uevent['MAJOR']}:{uevent['MINOR']}"
        if uevent.get("IFINDEX", "0") != "0":
            return f"n{uevent['IFINDEX']}"
        return f"+{self.subsystem}:{os.path.basename(self.path)}"

    def sysattr(self, name: str) -> str | None:
        """The value of an attribute without control characters, as libvirt takes it; None where nothing is left.

        ``name`` may lead on from the device, as in ``device/model``. Spaces at the ends are part of the value.
        """
        text = self._text(name)
        if text and not text.isprintable():
            text = CONTROL_CHARACTERS.sub("", text)
        return text or None

    def _text(self, name: str) -> str | None:
        """The value of an attribute as libudev has it, maybe empty; None where it cannot be read."""
        data = self._content(name)
        if data is None:
            return None
        return data.partition(b"\0")[0].rstrip(b"\r\n").decode("utf-8", "replace")

    def value(self, name: str) -> str | None:
        """The value of an attribute as it is but for its last newline, maybe empty; None where it cannot be read.

        So libvirt takes what it reads by itself and not through libudev: mdev types, remote ports.
        """
        data = self._content(name)
        if data is None:
            return None
        return data.removesuffix(b"\n").decode("utf-8", "replace")

    def _content(self, name: str) -> bytes | None:
        try:
            return sysfs.content(f"{self.path}/{name}")
        except sysfs.SysfsError:
            return None

    def link(self, name: str) -> str | None:
        """The last component of what a link of the device leads to; None where there is no such link."""
        try:
            return sysfs.link_name(f"{self.path}/{name}")
        except sysfs.SysfsError:
            return None

    def number(
        self, name: str, base: int = 10, default: int | None = None, bits: int = 32, signed: bool = False
    ) -> int | None:
        """An attribute as a number, ``default`` where it is absent; Dropped when it is there and none, be it empty.

        ``base``, ``bits`` and ``signed`` are those of integer().
        """
        return self._parsed(name, self._text(name), base, default, bits, signed)

    def prop(self, name: str) -> str | None:
        """A property, from the kernel, maybe an empty text, or else from udev's record."""
        value = self.uevent.get(name)
        if value is None:
            return self.record.properties.get(name)
        # udev, unlike the kernel, gives the node with its folder.
        return _node(value) if name == "DEVNAME" else value

    def prop_number(
        self, name: str, base: int = 10, default: int | None = None, bits: int = 32, signed: bool = False
    ) -> int | None:
        """A property as a number, under the rules of number()."""
        return self._parsed(name, self.prop(name), base, default, bits, signed)

    def _parsed(
        self, name: str, text: str | None, base: int, default: int | None, bits: int, signed: bool
    ) -> int | None:
        if text is None:
            return default
        value = integer(text, base, bits, signed)
        if value is None:
            raise Dropped(f"{name} is {text!r}, which is not a number in libvirt's eyes")
        return value

    @cached_property
    def devnode(self) -> str | None:
        """Its node in /dev; None where it has none."""
        name = self.uevent.get("DEVNAME")
        return _node(name) if name and "MAJOR" in self.uevent else None

    @property
    def links(self) -> list[str]:
        """The links in /dev that udev's rules made to its node, sorted by their bytes."""
        return sorted(map(_node, self.record.links), key=os.fsencode)

    @property
    def driver(self) -> str | None:
        """The driver that it is bound to now; None where there is none."""
        name = self.link("driver")
        return name if name is not None and sysfs.exists(f"{self.path}/driver") else None


@dataclass(frozen=True)
class Record:
    """udev's record of a device: its properties, and its links below /dev."""

    properties: Mapping[str, str]
    links: tuple[str, ...]


def _record(path: str) -> Record:
    try:
        lines = _lines(sysfs.whole(path, LONGEST))
    except sysfs.SysfsError:
        lines = []
    links = tuple(line[2:] for line in lines if line.startswith("S:"))
    properties = _pairs([line[2:] for line in lines if line.startswith("E:")])
    # For libudev, a property that is empty in the record is none.
    return Record({key: value for key, value in properties.items() if value}, links)


def _pairs(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _lines(data: bytes | None) -> list[str]:
    return data.decode("utf-8", "replace").split("\n") if data else []


def _node(name: str) -> str:
    return name if name.startswith("/dev/") else f"/dev/{name}"


def device_at(path: str) -> Device | None:
    """The device in a real folder of sysfs; None where the folder is none, as the root of a PCI domain."""
    subsystem = _subsystem(path)
    if subsystem is None:
        return None
    return Device(path, subsystem, sysname(path))


def sysname(path: str) -> str:
    """The kernel's name of the device in this folder; a folder has ! where the name has /."""
    return os.path.basename(path).replace("!", "/")


def _subsystem(path: str) -> str | None:
    return Device(path, "", "").link("subsystem")


def of_subsystem(folder: str, subsystem: str) -> list[Device]:
    """The devices that are linked in a folder such as /sys/bus/pci/devices, in the kernel's order."""
    return [Device(path, subsystem, sysname(path)) for path in sysfs.linked(folder)]
