# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import locks
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import NodedevError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FOLDER", str(tmp_path / "locks"))


def test_a_second_run_on_the_same_parent_gives_up() -> None:
    refused = pytest.raises(NodedevError, match="another run still works on b after 0 s")
    with locks.held(["a", "b"], 0), refused, locks.held(["c", "b"], 0):
        pass


def test_runs_on_other_parents_do_not_wait() -> None:
    with locks.held(["a"], 0), locks.held(["b"], 0):
        pass


def test_a_lock_ends_with_its_run() -> None:
    for _run in range(2):
        with locks.held(["a"], 0):
            pass
