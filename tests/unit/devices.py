# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices made of files below a test's folder, as sysfs and udev's record show them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs, udev


class Host:
    """A /sys, a /dev and a udev database of a test's own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.sys = root / "sys"
        self.dev = root / "dev"
        self.records = root / "records"
        for folder in (self.sys, self.dev, self.records):
            folder.mkdir()
        monkeypatch.setattr(sysfs, "SYS", str(self.sys))
        monkeypatch.setattr(udev, "RECORDS", str(self.records))

    def make_device(
        self,
        subsystem: str,
        sysname: str,
        attributes: Mapping[str, str | bytes] | None = None,
        uevent: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
        record: Mapping[str, str] | None = None,
        below: str = "",
    ) -> udev.Device:
        """A device in the folder ``below`` of /sys/devices, all of which is made.

        ``attributes`` are files by their path below the device, text with the newline that the kernel adds and bytes
        as they are; ``links`` lead to folders below /sys, which are made; ``record`` holds udev's own properties.
        """
        folder = self.sys / "devices" / below / sysname.replace("/", "!")
        folder.mkdir(parents=True)
        for name, value in (attributes or {}).items():
            self.write(folder / name, value)
        known = uevent or {}
        self.write(folder / "uevent", "".join(f"{key}={value}\n" for key, value in known.items()).encode())
        for name, target in {"subsystem": f"bus/{subsystem}", **(links or {})}.items():
            self.link(str((folder / name).relative_to(self.sys)), target)
        if record is not None:
            number = f"{known['MAJOR']}:{known['MINOR']}" if "MAJOR" in known else None
            kind = "b" if subsystem == "block" else "c"
            name = f"{kind}{number}" if number else f"+{subsystem}:{folder.name}"
            name = f"n{known['IFINDEX']}" if "IFINDEX" in known else name
            self.write(self.records / name, "".join(f"E:{key}={value}\n" for key, value in record.items()).encode())
        return udev.Device(str(folder), subsystem, sysname)

    def write(self, path: Path, value: str | bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else f"{value}\n".encode("utf-8", "surrogateescape"))

    def attributes(self, folder: str, values: Mapping[str, str | bytes]) -> None:
        """Files in a folder below /sys, which is made; a name ending in / is a folder, which nobody can read."""
        (self.sys / folder).mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            path = self.sys / folder / name
            if name.endswith("/"):
                path.mkdir()
            else:
                self.write(path, value)

    def link(self, path: str, target: str) -> None:
        """A link below /sys to a folder below /sys, which is made."""
        link, folder = self.sys / path, self.sys / target
        folder.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(folder, link.parent))

    def dangling_link(self, device: udev.Device, name: str) -> None:
        """A link of a device whose target has vanished."""
        os.symlink("../vanished", f"{device.path}/{name}")
