# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that say what should exist: read tolerantly, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a document of kind pool stands; neither it nor its folders are there."""
    return Path(files.document_path("pool", "x", str(tmp_path / "nodedev.d")))


def test_a_document_is_kept_with_its_version_for_root_alone(path: Path) -> None:
    files.write_document(str(path), {"kind": "mdev", "name": "ü"})
    assert json.loads(path.read_text()) == {"version": 1, "kind": "mdev", "name": "ü"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert files.document(str(path)) == {"kind": "mdev", "name": "ü"}


documents = st.dictionaries(
    st.text().filter(lambda key: key != "version"),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=8,
    ),
)


@given(documents=documents)
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, Any]) -> None:
    path = str(tmp_path_factory.getbasetemp() / "document.json")
    files.write_document(path, documents)
    assert files.document(path) == documents


def test_there_is_none(path: Path) -> None:
    assert files.document(str(path)) is None
    assert files.document_names("pool", str(path.parent.parent)) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "it is not UTF-8 text"),
        (b"[]", "not a JSON object"),
        (b"{}", "its version is None, and this release knows 1 only"),
        (b'{"version": 2}', "its version is 2, and this release knows 1 only"),
        (b'{"version": "1"}', "its version is '1'"),
    ],
)
def test_a_damaged_document_is_named_and_left(path: Path, content: bytes, reason: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DamagedDefinition) as failure:
        files.document(str(path))
    assert failure.value.path == str(path)
    assert failure.value.reason.startswith(reason)
    assert path.read_bytes() == content


def test_a_folder_in_the_place_of_a_document_is_damaged(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DamagedDefinition, match="it is not a regular file"):
        files.document(str(path))


def test_what_a_killed_run_left_is_no_document_and_goes_with_the_next_write(path: Path) -> None:
    path.parent.mkdir(parents=True)
    left = path.parent / ".nodedev-x.json"
    left.write_text("{")
    (path.parent / "notes.txt").write_text("")
    assert files.document_names("pool", str(path.parent.parent)) == []
    files.write_document(str(path), {})
    assert files.document_names("pool", str(path.parent.parent)) == ["x"]
    assert not left.exists()


def test_remove_takes_what_a_killed_run_left_and_the_empty_folder(path: Path) -> None:
    files.write_document(str(path), {})
    (path.parent / ".nodedev-x.json").write_text("{")
    files.remove(str(path))
    assert not path.parent.exists()
    files.remove(str(path))


def test_remove_keeps_a_folder_with_others(path: Path) -> None:
    files.write_document(str(path), {})
    other = path.parent / "y.json"
    other.write_text("")
    files.remove(str(path))
    assert [each.name for each in path.parent.iterdir()] == ["y.json"]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EROFS, errno.EPERM])
def test_remove_leaves_an_empty_folder_that_cannot_go(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As one that is a mount of its own, or that has to stay for another reason."""

    def refuse(folder: str) -> None:
        raise OSError(number, os.strerror(number), folder)

    files.write_document(str(path), {})
    monkeypatch.setattr(os, "rmdir", refuse)
    files.remove(str(path))
    assert os.listdir(path.parent) == []


def test_a_folder_that_vanishes_before_the_write_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = os.makedirs
    vanished = []

    def vanishing(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        made(name, mode, exist_ok)
        # Another run removes the last file in it, and with it the folder.
        if name == str(path.parent) and not vanished:
            os.rmdir(name)
            vanished.append(name)

    monkeypatch.setattr(os, "makedirs", vanishing)
    files.write_document(str(path), {"a": 1})
    assert files.document(str(path)) == {"a": 1}


def test_what_may_hold_something(tmp_path: Path) -> None:
    """What cannot be told may: whoever reads it says so."""
    for folder in ("empty", "filled/one"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    found = {name: files.may_hold(str(tmp_path / name)) for name in ("none", "empty", "filled", "file", "loop")}
    assert found == {"none": False, "empty": False, "filled": True, "file": True, "loop": True}


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NodedevError, match="file could not be changed: EEXIST"):
        files.write_document(str(tmp_path / "file" / "x.json"), {})
