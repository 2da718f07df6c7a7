# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding who holds a node, on files of our own that this process and a child hold open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import holders


def test_the_holder_is_named(tmp_path: Path) -> None:
    node, other = tmp_path / "vfio" / "12", tmp_path / "vfio" / "13"
    node.parent.mkdir()
    node.touch()
    other.touch()
    hold = f"import sys; file = open({str(node)!r}); print('held', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", hold, "-name", "guest=desk,debug-threads=on"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = holders.of_nodes([str(node), str(other), str(tmp_path / "gone")])
        child.communicate()
    command = Path(os.path.realpath(sys.executable)).name[:15]
    assert [(holder["pid"], holder["node"], holder["domain"]) for holder in found] == [(child.pid, str(node), "desk")]
    assert found[0]["command"] in (command, Path(sys.executable).name[:15])


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holders.of_nodes([str(tmp_path / "gone")]) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([{"pid": 7, "command": "qemu", "node": "/dev/vfio/1"}], "process 7 (qemu)"),
        ([{"pid": 7, "command": "qemu", "node": "n", "domain": "desk"}], "process 7 (qemu) of domain desk"),
        (
            [{"pid": 7, "command": "qemu", "node": "n"}, {"pid": None, "command": "a process", "node": "n"}],
            "process 7 (qemu), a process",
        ),
    ],
)
def test_holders_in_words(found: list[holders.Holder], words: str) -> None:
    assert holders.named(found) == words
