# SPDX-License-Identifier: GPL-3.0-or-later
"""devlink's questions and answers, byte by byte as the kernel's headers have them."""

from __future__ import annotations

import socket
import struct

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import devlink

FAMILY = 0x15
ERROR = 2


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


def answer(kind: int, *attributes: bytes, cut: int = 0, longer: int = 0) -> bytes:
    body = struct.pack("=BBH", 29, 1, 0) + b"".join(attributes)
    body = body[: len(body) - cut]
    return struct.pack("=IHHII", 16 + len(body) + longer, kind, 0, 7, 99) + body


def error(number: int) -> bytes:
    """The kernel's struct nlmsgerr: the errno, and the head of the message that it is about."""
    return struct.pack("=IHHII", 36, ERROR, 0, 7, 99) + struct.pack("=i", -number) + bytes(16)


def mode(number: int) -> bytes:
    return attribute(25, struct.pack("=H", number))


DEVICE = attribute(1, b"pci\0") + attribute(2, b"0000:01:00.0\0")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(FAMILY, DEVICE, mode(1)), {1: b"pci\0", 2: b"0000:01:00.0\0", 25: b"\1\0"}),
        (answer(FAMILY), {}),
        (answer(FAMILY, attribute(0x8000 | 25, b"\1\0")), {25: b"\1\0"}),
        (answer(FAMILY, attribute(25, b"")), {25: b""}),
        (answer(FAMILY, mode(1)) + answer(FAMILY, mode(0)), {25: b"\1\0"}),
        (error(19), {}),
        (answer(FAMILY + 1, mode(1)), {}),
        (answer(FAMILY, mode(1), longer=4), {}),
        (answer(FAMILY, DEVICE, attribute(25, b"\1\0\0\0"), cut=4), {}),
        (answer(FAMILY, mode(1), b"\3\0\0\0"), {}),
        (answer(FAMILY, b"\0\0\0\0"), {}),
        (answer(FAMILY, b"\4"), {}),
        (b"", {}),
        (b"\0" * 19, {}),
        (b"\0" * 64, {}),
    ],
)
def test_an_answer(data: bytes, expected: dict[int, bytes]) -> None:
    assert devlink.answered(data, FAMILY) == expected


def test_every_beginning_of_an_answer_is_understood() -> None:
    data = answer(FAMILY, DEVICE, mode(1))
    assert all(devlink.answered(data[:size], FAMILY) == {} for size in range(len(data)))


def test_a_question() -> None:
    head = struct.pack("=IHHII", 16 + 4 + 8 + 20, FAMILY, 1, 0, 0)
    assert devlink.message(FAMILY, 29, {1: b"pci\0", 2: b"0000:01:00.0\0"}) == (
        head + struct.pack("=BBH", 29, 1, 0) + DEVICE
    )


class Kernel:
    """A netlink socket whose other end gives these answers."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def bind(self, address: tuple[int, int]) -> None:
        assert address == (0, 0)

    def send(self, data: bytes) -> int:
        self.asked.append(data)
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self.answers:
            raise TimeoutError
        return self.answers.pop(0)


KNOWN = answer(16, attribute(2, b"devlink\0"), attribute(1, struct.pack("=H", FAMILY)), attribute(3, b"\1\0\0\0"))


@pytest.mark.parametrize(
    ("answers", "switchdev"),
    [
        ([KNOWN, answer(FAMILY, DEVICE, mode(1))], True),
        ([KNOWN, answer(FAMILY, DEVICE, mode(0))], False),
        ([KNOWN, answer(FAMILY, DEVICE, mode(2))], False),
        ([KNOWN, answer(FAMILY, DEVICE)], False),
        ([KNOWN, answer(FAMILY, DEVICE, attribute(25, b"\1"))], False),
        ([KNOWN, error(19)], False),
        ([KNOWN, error(95)], False),
        ([error(2)], False),
        ([KNOWN], False),
        ([], False),
    ],
)
def test_is_switchdev(monkeypatch: pytest.MonkeyPatch, answers: list[bytes], switchdev: bool) -> None:
    kernel = Kernel(*answers)
    monkeypatch.setattr(socket, "socket", lambda *_kind: kernel)
    assert devlink.is_switchdev("0000:01:00.0") is switchdev
    expected = [devlink.message(16, 3, {2: b"devlink\0"})]
    if answers and answers[0] == KNOWN:
        expected.append(devlink.message(FAMILY, 29, {1: b"pci\0", 2: b"0000:01:00.0\0"}))
    assert kernel.asked == expected


def test_without_netlink_there_is_no_switchdev(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_kind: object) -> None:
        raise OSError

    monkeypatch.setattr(socket, "socket", refuse)
    assert not devlink.is_switchdev("0000:01:00.0")


def test_the_machines_kernel_is_asked_about_a_device_that_it_lacks() -> None:
    assert not devlink.is_switchdev("ffff:ff:1f.7")
