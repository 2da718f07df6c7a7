# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make bench` measures can be measured: as it does it, on fewer hosts and in one round."""

from __future__ import annotations

from pathlib import Path

from bench import scale, tasks
from bench.idle import TASKS


def test_a_fleet_is_measured(tmp_path: Path) -> None:
    measured = scale.measure(tmp_path, count=1, rounds=1)
    assert list(measured) == list(scale.PLAYBOOKS)
    rows = [line for line in scale.table(measured) if line.startswith(("| ansible.", "| nodedev_", "| hostdev."))]
    assert len(rows) == len(scale.PLAYBOOKS)
    for name, figures in measured.items():
        assert len(figures.clock) == len(figures.controller) == 1, name
        assert min(figures.per_host()) > 0, name


def test_tasks_with_nothing_to_do_are_measured() -> None:
    results = {"fc": tasks.measure("fc", rounds=1)}
    assert [name for name, *_figures in tasks.rows(results)] == sorted(TASKS["fc"])
    assert all(seconds > 0 and ping > 0 and runs == 1 for _name, seconds, ping, runs in tasks.rows(results))
    assert len(tasks.table(results)) == 2 + len(TASKS["fc"])
