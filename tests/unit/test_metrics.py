# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodedev-restore --metrics counts, and what became of definitions when they were restored."""

from __future__ import annotations

import errno
import math
import os
import time
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import metrics, outcomes, restore
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError

A, B, C = ("mdev", "a"), ("mdev", "b"), ("vhba", "c")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where what became of definitions is kept, for a test alone."""
    folder = tmp_path / "restored"
    monkeypatch.setattr(outcomes, "FOLDER", str(folder))
    return folder


def run(time: float, tried: set[outcomes.Key], failed: set[outcomes.Key]) -> outcomes.Outcome:
    return outcomes.Outcome(time, frozenset(tried), frozenset(failed))


@pytest.mark.parametrize(
    ("runs", "there", "failing"),
    [
        ([], set(), set()),
        ([run(1, {A, B}, {A})], set(), {A}),
        ([run(1, {A, B}, {A})], {A}, set()),
        ([run(1, {A, B}, {A, B}), run(2, {A}, set())], set(), {B}),
        ([run(1, {A}, set()), run(2, {A, C}, {A, C})], set(), {A, C}),
    ],
)
def test_what_has_failed_last(
    runs: list[outcomes.Outcome], there: set[outcomes.Key], failing: set[outcomes.Key]
) -> None:
    assert outcomes.failing(runs, there) == failing


def test_runs_are_kept_by_what_they_were_for(folder: Path) -> None:
    assert outcomes.kept() == []
    outcomes.keep(None, run(2.5, {A, B}, {A}))
    outcomes.keep("whole", run(1.0, {C}, {C}))
    outcomes.keep(None, run(3.5, {A}, set()))
    assert outcomes.kept() == [run(1.0, {C}, {C}), run(3.5, {A}, set())]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "time": "soon"}', '{"version": 2}'])
def test_a_run_that_cannot_be_understood_is_left_out(folder: Path, text: str) -> None:
    outcomes.keep(None, run(1.0, {A}, {A}))
    (folder / "parent-x.json").write_text(text)
    assert outcomes.kept() == [run(1.0, {A}, {A})]


def test_odd_keys_of_a_run_are_left_out(folder: Path) -> None:
    folder.mkdir()
    (folder / "whole.json").write_text('{"version": 1, "time": 1, "tried": [["mdev", "a"], 3, ["x"]], "failed": 7}')
    assert outcomes.kept() == [run(1.0, {A}, set())]


def test_the_text_of_samples() -> None:
    samples: list[metrics.Sample] = [
        ("nodedev_free", ["mdev", "card", 'a "b" \\ c\n\x1b'], 1),
        ("nodedev_wanted", ["mdev", ""], 2),
        # Two types that a person cannot tell from each other are told as one.
        ("nodedev_free", ["mdev", "card", "same"], 1),
        ("nodedev_free", ["mdev", "card", "same"], 2),
        ("nodedev_free", ["vgpu", "card", "x"], math.nan),
        ("nodedev_damaged_files", [], 0),
        ("nodedev_last_restore_timestamp_seconds", [], 1764338000.25),
    ]
    lines = [line for line in metrics.text(samples).splitlines() if not line.startswith("# HELP")]
    assert lines == [
        "# TYPE nodedev_wanted gauge",
        'nodedev_wanted{kind="mdev",pool=""} 2',
        "# TYPE nodedev_free gauge",
        r'nodedev_free{kind="mdev",card="card",type="a \"b\" \\ c\\n\\x1b"} 1',
        'nodedev_free{kind="mdev",card="card",type="same"} 3',
        'nodedev_free{kind="vgpu",card="card",type="x"} NaN',
        "# TYPE nodedev_damaged_files gauge",
        "nodedev_damaged_files 0",
        "# TYPE nodedev_last_restore_timestamp_seconds gauge",
        "nodedev_last_restore_timestamp_seconds 1764338000.25",
    ]


def test_a_file_that_cannot_be_written_is_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "nodedev.prom"
    monkeypatch.setattr(metrics, "COLLECTORS", {"made_up": lambda: [("nodedev_damaged_files", [], 1)]})
    assert metrics.write(str(file), 10) == []
    before = file.read_text()
    assert (before.splitlines()[2], file.stat().st_mode & 0o777) == ("nodedev_damaged_files 1", 0o644)

    def refuse(_source: str, _target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NodedevError, match=r"nodedev\.prom"):
        metrics.write(str(file), 10)
    assert file.read_text() == before
    # node_exporter reads whatever ends so.
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".prom")] == ["nodedev.prom"]


def test_a_part_that_does_not_answer_costs_that_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def crash() -> list[metrics.Sample]:
        raise MemoryError

    def refuse() -> list[metrics.Sample]:
        raise NodedevError("the definition /etc/nodedev.d/pool is damaged")

    parts = {"slow": lambda: time.sleep(60), "crashed": crash, "refused": refuse}
    monkeypatch.setattr(metrics, "COLLECTORS", {**parts, "well": lambda: [("nodedev_unreadable", [], 3)]})
    slow, crashed, refused = metrics.write(str(tmp_path / "x.prom"), 0.5)
    assert slow == "the slow could not be gathered: it has not answered after 0.5 s"
    assert crashed.startswith("the crashed could not be gathered: its process ended with status")
    assert refused == "the refused could not be gathered: the definition /etc/nodedev.d/pool is damaged"
    lines = (tmp_path / "x.prom").read_text().splitlines()
    told = [line for line in lines if not line.startswith("#")]
    assert told == [
        "nodedev_unreadable 3",
        'nodedev_collector_success{collector="crashed"} 0',
        'nodedev_collector_success{collector="refused"} 0',
        'nodedev_collector_success{collector="slow"} 0',
        'nodedev_collector_success{collector="well"} 1',
    ]


def test_metrics_are_of_all_that_is_defined(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        restore.main(["--metrics", "/x", "--parent", "mtty"])
    assert exit.value.code == 2
    assert capsys.readouterr().err.endswith("error: argument --parent: not allowed with argument --metrics\n")
