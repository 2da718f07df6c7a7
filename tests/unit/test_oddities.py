# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be read or makes no sense: one warning each, on one line, naming the file and the value."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.oddities import Oddities


@pytest.mark.parametrize(
    ("content", "number"),
    [("0\n", 0), ("8", 8), ("007\n", 7), ("+7\n", 7), (" 7\n", 7), ("9223372036854775807\n", (1 << 63) - 1)],
)
def test_a_number(tmp_path: Path, content: str, number: int) -> None:
    (tmp_path / "n").write_text(content)
    oddities = Oddities()
    assert oddities.number(str(tmp_path / "n")) == number
    assert oddities.warnings == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n", "''"),
        (b"N/A\n", "'N/A'"),
        (b"0x10\n", "'0x10'"),
        (b"-1\n", "'-1'"),
        (b"1_0\n", "'1_0'"),
        (b"9223372036854775808\n", "'9223372036854775808'"),
        (b"9" * 4000, f"'{'9' * 200}...'"),
        (b"1\n2\n", "'1\\n2'"),
        (b"\x1b[31m\xff\n", "'\\x1b[31m\\udcff'"),
        ("\u202e7\n".encode(), "'\\u202e7'"),
    ],
)
def test_what_is_no_number(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "n").write_bytes(content)
    oddities = Oddities()
    assert oddities.number(str(tmp_path / "n")) is None
    assert oddities.warnings == [f"{tmp_path}/n is {said}, which is not a number that makes sense there"]


def test_the_lowest_number(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("-1\n")
    oddities = Oddities()
    assert oddities.number(str(tmp_path / "n"), lowest=-1) == -1
    assert oddities.warnings == []


def test_what_is_not_there_is_no_oddity(tmp_path: Path) -> None:
    oddities = Oddities()
    assert oddities.text(str(tmp_path / "gone")) is None
    assert oddities.number(str(tmp_path / "gone")) is None
    assert oddities.link_name(str(tmp_path / "gone")) is None
    assert oddities.warnings == []


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    oddities = Oddities()
    for _time in range(3):
        assert oddities.text(str(loop)) is None
        assert oddities.attempt(lambda: sysfs.names(str(loop))) is None
    assert [("ELOOP" in told, told.isprintable()) for told in oddities.warnings] == [(True, True)] * 2


def test_whatever_fails_is_told_on_one_line() -> None:
    def fail() -> int:
        raise NodedevError(f"a\n{'x' * 9000}")

    oddities = Oddities()
    assert oddities.attempt(fail) is None
    (told,) = oddities.warnings
    assert told.startswith("a\\nxxx")
    assert len(told) < 700
