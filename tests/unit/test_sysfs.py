# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing single values, and what their errors say."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import sysfs


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"12\n", "12"), (b"12", "12"), (b"", ""), (b" a \n\n", " a \n"), (b"\xff\n", "\udcff")],
)
def test_read_drops_one_newline_only(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "value").write_bytes(content)
    assert sysfs.read(str(tmp_path / "value")) == value


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert sysfs.read(str(tmp_path / "gone")) is None
    assert sysfs.read(str(tmp_path / "file" / "below")) is None
    assert sysfs.link_name(str(tmp_path / "gone")) is None
    assert sysfs.link_name(str(tmp_path / "file")) is None
    assert sysfs.real(str(tmp_path / "gone")) is None
    assert sysfs.names(str(tmp_path / "gone")) == []


def test_an_error_names_path_errno_and_meaning(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError) as failure:
        sysfs.write(str(tmp_path / "gone"), "1", {errno.ENOENT: "no such type"})
    assert failure.value.errno == errno.ENOENT
    assert str(failure.value) == (
        f"writing '1' to {tmp_path}/gone failed with ENOENT (No such file or directory): no such type"
    )


def test_an_errno_without_a_meaning_of_its_own_has_the_general_one(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError, match="the device or its driver is gone"):
        sysfs.write(str(tmp_path / "gone"), "1")


def test_a_folder_cannot_be_read_as_a_value(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError, match="EISDIR"):
        sysfs.read(str(tmp_path))


def test_write_with_limit_writes(tmp_path: Path) -> None:
    target = tmp_path / "remove"
    target.write_text("")
    assert sysfs.write_with_limit(str(target), "1", 5)
    assert target.read_text() == "1"


def test_write_with_limit_tells_the_errno_of_the_child(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError) as failure:
        sysfs.write_with_limit(str(tmp_path / "gone"), "1", 5)
    assert failure.value.errno == errno.ENOENT


def test_write_with_limit_does_not_wait_for_a_blocked_write(tmp_path: Path) -> None:
    pipe = tmp_path / "remove"
    os.mkfifo(pipe)
    assert not sysfs.write_with_limit(str(pipe), "1", 0.05)


def test_link_name_and_real(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "link").symlink_to("driver")
    assert sysfs.link_name(str(tmp_path / "link")) == "driver"
    assert sysfs.real(str(tmp_path / "link")) == os.path.realpath(tmp_path / "driver")
