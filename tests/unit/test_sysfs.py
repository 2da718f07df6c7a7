# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing single values, and what their errors say."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs


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
        sysfs.write(str(tmp_path / "gone"), "1", 5, {errno.ENOENT: "no such type"})
    assert failure.value.errno == errno.ENOENT
    assert str(failure.value) == (
        f"writing '1' to {tmp_path}/gone failed with ENOENT (No such file or directory): no such type"
    )


def test_an_errno_without_a_meaning_of_its_own_has_the_general_one(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError, match="the device or its driver is gone"):
        sysfs.write(str(tmp_path / "gone"), "1", 5)


def test_a_folder_cannot_be_read_as_a_value(tmp_path: Path) -> None:
    with pytest.raises(sysfs.SysfsError, match="EISDIR"):
        sysfs.read(str(tmp_path))


def test_write_writes(tmp_path: Path) -> None:
    target = tmp_path / "remove"
    target.write_text("")
    sysfs.write(str(target), "1\n", 5)
    assert target.read_text() == "1\n"


def test_bytes_that_were_read_are_written_as_they_were(tmp_path: Path) -> None:
    target = tmp_path / "name"
    target.write_bytes(b"\xff")
    sysfs.write(str(target), sysfs.read(str(target)) or "", 5)
    assert target.read_bytes() == b"\xff"


@pytest.mark.parametrize("value", ["\ud800", "a\udfff"])
def test_what_is_no_text_is_not_written(tmp_path: Path, value: str) -> None:
    target = tmp_path / "name"
    target.write_text("")
    with pytest.raises(NodedevError, match=r"name is not possible: it is not text; nothing was written"):
        sysfs.write(str(target), value, 5)
    assert target.read_text() == ""


def test_a_driver_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "remove"
    os.mkfifo(pipe)
    with pytest.raises(sysfs.NoAnswer, match=r"remove: the driver has not answered after 0.05 s") as failure:
        sysfs.write(str(pipe), "1", 0.05)
    assert failure.value.begun


@pytest.mark.parametrize(
    ("number", "opened", "meaning"),
    [
        (errno.ENOENT, True, None),
        (errno.ENODEV, True, None),
        (errno.EPERM, True, None),
        (errno.ENOENT, False, "the kernel has no such file: the device or its driver is gone"),
        (errno.EROFS, False, "sysfs is mounted read-only here, as it is in most containers"),
    ],
)
def test_a_general_meaning_is_of_the_file_and_not_of_what_its_driver_says(
    number: int, opened: bool, meaning: str | None
) -> None:
    assert sysfs.SysfsError("writing '1' to", "/sys/x", number, of_driver=opened).meaning == meaning


def test_is_direct(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    (folder / "device" / "vendor").mkdir(parents=True)
    (folder / "device" / "link").symlink_to("vendor")
    assert sysfs.is_direct(f"{folder}/device/vendor/params")
    assert not sysfs.is_direct(f"{folder}/device/link/params")
    assert not sysfs.is_direct(f"{folder}/device/link")


def test_link_name_and_real(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "link").symlink_to("driver")
    assert sysfs.link_name(str(tmp_path / "link")) == "driver"
    assert sysfs.real(str(tmp_path / "link")) == os.path.realpath(tmp_path / "driver")
