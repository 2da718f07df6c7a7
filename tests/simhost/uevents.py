# SPDX-License-Identifier: GPL-3.0-or-later
"""What udevd does for others: its database below /run/udev, links in /dev and its messages to listeners.

There is no udevd on the simulated host. The server writes the database, makes links to the nodes of `nodes.py` and
sends udev's messages itself, in the host's own network namespace, so that monitors (pyudev, libvirtd) and
`udevadm settle` work.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simhost.devices import Device
from simhost.nodes import Links

RUN = Path("/run/udev")
_NETLINK_KOBJECT_UEVENT = 15
_GROUP_UDEV = 2
_MAGIC = 0xFEEDCAFE
# The type of a message to udevd's control socket, a number after version and magic.
_TYPE = slice(20, 24)
_END_OF_MESSAGES = bytes(4)
_CLIENT_SECONDS = 1.0
_HEADER = struct.Struct("=8s8I")


def murmur2(data: bytes) -> int:
    """MurmurHash2 with seed 0, by which libudev's listeners filter subsystems and device types."""
    multiplier = 0x5BD1E995
    result = len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = word * multiplier & 0xFFFFFFFF
        word = (word ^ word >> 24) * multiplier & 0xFFFFFFFF
        result = (result * multiplier & 0xFFFFFFFF) ^ word
    if len(data) > whole:
        result = (result ^ int.from_bytes(data[whole:], "little")) * multiplier & 0xFFFFFFFF
    result = (result ^ result >> 13) * multiplier & 0xFFFFFFFF
    return result ^ result >> 15


def _hash(text: str | None) -> int:
    return socket.htonl(murmur2(text.encode())) if text else 0


def message(properties: Mapping[str, str]) -> bytes:
    """A udev message as libudev's monitors read it."""
    body = b"".join(f"{key}={value}".encode() + b"\0" for key, value in properties.items())
    head = _HEADER.pack(
        b"libudev\0",
        socket.htonl(_MAGIC),
        _HEADER.size,
        _HEADER.size,
        len(body),
        _hash(properties.get("SUBSYSTEM")),
        _hash(properties.get("DEVTYPE")),
        0,
        0,
    )
    return head + body


def database_entry(device: Device) -> str:
    """The text of the device's file in /run/udev/data."""
    lines = [f"S:{link}" for link in device.devlinks]
    lines.append(f"I:{int(time.monotonic() * 1_000_000)}")
    lines += [f"E:{key}={value}" for key, value in device.udev.items()]
    lines.append("V:1")
    return "\n".join(lines) + "\n"


@dataclass(eq=False)
class _Late:
    """A message that is held back until the monotonic time `due`."""

    due: float
    device: Device
    action: str
    extra: Mapping[str, str]


class Udev:
    """The database and the messages of one host."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT)
        self._lock = threading.Lock()
        self._sequence = 1000
        self._links = Links()
        self._late: list[_Late] = []
        self._changed = threading.Condition()
        (RUN / "data").mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._answer_udevadm, daemon=True).start()
        threading.Thread(target=self._send_late, daemon=True).start()

    def start(self, devices: list[Device]) -> None:
        """Write the database anew for the devices of a boot that declare something for it."""
        with self._changed:
            self._late.clear()
            (RUN / "queue").unlink(missing_ok=True)
        with self._lock:
            self._links.clear()
        for entry in (RUN / "data").iterdir():
            entry.unlink()
        for device in devices:
            if device.udev or device.devlinks or device.node is not None:
                self._store(device)

    def announce(self, device: Device, action: str, lag: float, extra: Mapping[str, str] | None = None) -> None:
        """Update the database and tell listeners, `lag` seconds from now and after what this device has due."""
        due = time.monotonic() + lag
        with self._changed:
            before = [late.due for late in self._late if late.device.path == device.path]
            if lag > 0 or before:
                self._late.append(_Late(max([due, *before]), device, action, extra or {}))
                (RUN / "queue").touch()
                self._changed.notify_all()
                return
        self._send(device, action, extra or {})

    def _send_late(self) -> None:
        """Send late messages at their time; those of one time in the order in which they were announced."""
        with self._changed:
            while True:
                late = min(self._late, key=lambda item: item.due, default=None)
                if late is None:
                    self._changed.wait()
                    continue
                left = late.due - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._send(late.device, late.action, late.extra)
                self._late.remove(late)
                if not self._late:
                    (RUN / "queue").unlink(missing_ok=True)

    def _store(self, device: Device) -> None:
        name = device.database_id()
        if name is not None:
            (RUN / "data" / name).write_text(database_entry(device), encoding="utf-8", errors="surrogateescape")

    def _send(self, device: Device, action: str, extra: Mapping[str, str]) -> None:
        if device.subsystem is None:
            return
        name = device.database_id()
        if action == "remove":
            (RUN / "data" / str(name)).unlink(missing_ok=True)
        else:
            self._store(device)
        with self._lock:
            if action == "remove":
                self._links.drop(device.path)
            elif device.node is not None:
                self._links.set(device.path, str(device.node["name"]), device.devlinks)
            self._sequence += 1
            sequence = self._sequence
        properties = {
            "ACTION": action,
            "DEVPATH": device.path.removeprefix("/sys"),
            "SUBSYSTEM": device.subsystem,
            **device.properties(),
            **extra,
            **device.udev,
            "SEQNUM": str(sequence),
            "USEC_INITIALIZED": str(int(time.monotonic() * 1_000_000)),
        }
        if "DEVNAME" in properties:
            properties["DEVNAME"] = f"/dev/{properties['DEVNAME']}"
        if device.devlinks:
            properties["DEVLINKS"] = " ".join(f"/dev/{link}" for link in device.devlinks)
        try:
            self._socket.sendto(message(properties), (0, _GROUP_UDEV))
        except ConnectionRefusedError:
            return  # nobody listens

    def _answer_udevadm(self) -> None:
        """Accept the ping of `udevadm settle`, which then looks at /run/udev/queue."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = str(RUN / "control")
        if os.path.lexists(path):
            os.unlink(path)
        listener.bind(path)
        listener.listen(16)
        while True:
            connection = listener.accept()[0]
            # udevadm says by a message of its own that its last one was sent; to close earlier fails that message.
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_CLIENT_SECONDS)
                while (data := connection.recv(4096)) and data[_TYPE] != _END_OF_MESSAGES:
                    pass
