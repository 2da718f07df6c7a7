# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a parent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import locks
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks are, in a folder of ours that is made with the first of them."""
    path = tmp_path / "nodedev" / "locks"
    monkeypatch.setattr(locks, "FOLDER", str(path))
    return path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_second_run_on_the_same_parent_gives_up() -> None:
    refused = pytest.raises(NodedevError, match="another run still works on b after 0 s")
    with locks.held(["a", "b"], 0), refused, locks.held(["c", "b"], 0):
        pass


def test_whether_one_is_held(folder: Path) -> None:
    assert not locks.is_held("a")
    with locks.held(["a"], 0):
        assert locks.is_held("a")
        assert not locks.is_held("b")
    assert not locks.is_held("a")
    (folder / "b").symlink_to("a")
    with locks.held(["a"], 0):
        assert not locks.is_held("b")


def test_runs_on_other_parents_do_not_wait() -> None:
    with locks.held(["a"], 0), locks.held(["b"], 0):
        pass


def test_a_lock_ends_with_its_run() -> None:
    for _run in range(2):
        with locks.held(["a"], 0):
            pass


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(folder: Path, mask: int) -> None:
    with umask(mask), locks.held(["a"], 0):
        assert (mode(folder.parent), mode(folder)) == (0o755, 0o755)
        assert mode(folder / "a") & 0o077 == 0


@pytest.mark.parametrize("which", ["nodedev", "nodedev/locks"])
@pytest.mark.parametrize("loose", [0o777, 0o775, 0o1777])
def test_a_folder_that_others_may_write_in_is_mended(folder: Path, which: str, loose: int) -> None:
    folder.mkdir(parents=True)
    path = folder.parents[1] / which
    path.chmod(loose)
    with locks.held(["a"], 0):
        assert mode(path) == 0o755


@pytest.mark.parametrize("which", ["nodedev", "nodedev/locks"])
@pytest.mark.parametrize("what", ["link", "file"])
def test_what_is_not_our_folder_is_refused(folder: Path, tmp_path: Path, which: str, what: str) -> None:
    path = folder.parents[1] / which
    path.parent.mkdir(exist_ok=True)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "locks").mkdir(parents=True)
    if what == "link":
        path.symlink_to(elsewhere)
    else:
        path.write_text("")
    with (
        pytest.raises(NodedevError, match=f"{path}.*(is not a folder: remove it|ENOTDIR|EEXIST)"),
        locks.held(["a"], 0),
    ):
        pass
    assert [each.name for each in elsewhere.rglob("*")] == ["locks"]


@pytest.mark.parametrize("planted", ["link", "dangling link", "folder"])
def test_what_is_not_our_file_is_refused(folder: Path, tmp_path: Path, planted: str) -> None:
    folder.mkdir(parents=True)
    target = tmp_path / "target"
    if planted == "folder":
        (folder / "a").mkdir()
    else:
        (folder / "a").symlink_to(target)
        if planted == "link":
            target.write_text("text")
    with pytest.raises(NodedevError, match=f"{folder}/a could not be changed: (ELOOP|EISDIR)"), locks.held(["a"], 0):
        pass
    assert target.exists() == (planted == "link")


NAMES = [
    ("0000:3d:00.0", "0000:3d:00.0"),
    ("fc:10000090fa123456", "fc:10000090fa123456"),
    ("pool:a-b_c", "pool:a-b_c"),
    ("", "%%e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (".", "%2E"),
    ("..", "%2E."),
    ("...", "%2E.."),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
    ("a/b", "a%2Fb"),
    ("a b\n", "a%20b%0A"),
    ("a%2Fb", "a%252Fb"),
    ("%%", "%25%25"),
    ("ä", "%C3%A4"),
    ("\udcff", "%FF"),
    ("a" * 255, "a" * 255),
]


@pytest.mark.parametrize(("name", "file"), NAMES)
def test_the_file_of_a_name(folder: Path, name: str, file: str) -> None:
    assert locks.file_name(name) == file
    with locks.held([name], 0):
        assert os.listdir(folder) == [file]


@pytest.mark.parametrize("name", ["a" * 256, "/" * 86, "ä" * 100, "a" * 100_000])
def test_a_name_that_is_too_long_for_a_file_has_one_of_its_own(folder: Path, name: str) -> None:
    other = locks.file_name(f"{name}b")
    assert locks.file_name(name) != other
    assert len(locks.file_name(name)) == len(other) == 66
    with locks.held([name, f"{name}b"], 0):
        assert sorted(os.listdir(folder)) == sorted([locks.file_name(name), other])
    refused = pytest.raises(NodedevError, match=r"another run still works on .{86,203} after 0 s")
    with locks.held([name], 0), refused, locks.held([name], 0):
        pass


def test_what_the_message_says_of_an_odd_name() -> None:
    name = "\x1b[31m\nforged"
    refused = pytest.raises(NodedevError, match=r"another run still works on \\x1b\[31m\\nforged after 0 s")
    with locks.held([name], 0), refused, locks.held([name], 0):
        pass
