# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing a file that cannot be understood, and putting it back as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import Step, StepFailed, apply
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)


def state(folder: Path) -> dict[str, object]:
    """All that is in a folder: contents, modes, and where links lead."""
    return {
        path.name: os.readlink(path) if path.is_symlink() else (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.iterdir()
    }


def carried_out(step: Step) -> None:
    apply([step])


def fail() -> None:
    raise NodedevError("it fails")


def undone(step: Step) -> None:
    """Carry it out with one after it that fails."""
    with pytest.raises(StepFailed) as failure:
        apply([step, Step("fail", fail)])
    assert failure.value.left == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\0", b"x" * (files.LARGEST + 1)])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_it_is_put_back_byte_for_byte(tmp_path: Path, content: bytes, mode: int) -> None:
    folder = tmp_path / "kind"
    folder.mkdir()
    (folder / "x.json").write_bytes(content)
    (folder / "x.json").chmod(mode)
    before = state(folder)
    step = files.removal(DamagedDefinition(str(folder / "x.json"), "no JSON"), "pool x")
    assert step.description == f"remove the damaged definition of pool x, {folder}/x.json"
    undone(step)
    assert state(folder) == before
    carried_out(step)
    assert not folder.exists()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("{")
    (tmp_path / "x.json").symlink_to("other")
    before = state(tmp_path)
    step = files.removal(DamagedDefinition(str(tmp_path / "x.json"), "no JSON"), "pool x")
    undone(step)
    assert state(tmp_path) == before
    carried_out(step)
    assert state(tmp_path) == {"other": before["other"]}


def test_a_pipe_is_removed_without_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    os.mkfifo(path)
    inode = path.stat().st_ino
    step = files.removal(DamagedDefinition(str(path), "it is not a regular file"), "pool x")
    undone(step)
    assert path.stat().st_ino == inode
    carried_out(step)
    assert not os.path.lexists(path)


def test_one_that_is_gone_already_is_not_put_back(tmp_path: Path) -> None:
    undone(files.removal(DamagedDefinition(str(tmp_path / "x.json"), "no JSON"), "pool x"))
    assert state(tmp_path) == {}


def test_a_folder_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.mkdir()
    error = DamagedDefinition(str(path), "it is not a regular file")
    with pytest.raises(DamagedDefinition) as refused:
        files.removal(error, "pool x").apply()
    assert refused.value is error
    assert path.is_dir()


def test_what_a_later_release_wrote_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"version": 2}')
    with pytest.raises(LaterVersion) as later:
        files.document(str(path))
    with pytest.raises(LaterVersion):
        files.removal(later.value, "pool x")


@pytest.mark.parametrize("version", ["0", "-1", "null", "true", "1.0", '"2"', "[2]"])
def test_what_no_release_wrote_is(tmp_path: Path, version: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"version": {version}}}')
    with pytest.raises(DamagedDefinition) as damage:
        files.document(str(path))
    assert not isinstance(damage.value, LaterVersion)
