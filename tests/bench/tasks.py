# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures every state module with nothing to do against ansible.builtin.ping, and writes docs/performance.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bench.idle import TASKS
from bench.pools import scenario
from bench.report import COMMAND, Goal, goals, machine, measured, ratio, write

MOST = 1.4
ROUNDS = 15


def rows(results: dict[str, dict[str, Any]]) -> list[tuple[str, float, float, int]]:
    """Each task with its seconds, those of ping on the same host, and how often both ran."""
    found = []
    for host, playbooks in results.items():
        ping = playbooks["ping"]["tasks"]["median"]
        for name in TASKS[host]:
            tasks = playbooks[name]["tasks"]
            found.append((name, tasks["median"], ping, tasks["runs"]))
    return sorted(found)


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The figures, a row each, in Markdown."""
    lines = ["| with nothing to do | seconds of the task | of ansible.builtin.ping | of the other | runs |"]
    lines.append("|---|---|---|---|---|")
    for name, seconds, ping, runs in rows(results):
        lines.append(f"| {name} | {seconds:.3f} | {ping:.3f} | {seconds / ping:.3f} | {runs} |")
    return lines


def asked(results: dict[str, dict[str, Any]]) -> list[Goal]:
    """The goals: of the tasks' own durations, each against that of ping."""
    return [(name, ratio(seconds, ping), MOST) for name, seconds, ping, _runs in rows(results)]


def measure(host: str, rounds: int) -> dict[str, Any]:
    """The tasks of one host and ping, in so many turns."""
    return measured(scenario() if host == "cards" else host, "idle.py", host, str(rounds))


def main(hosts: Sequence[str]) -> None:
    results = {host: measure(host, ROUNDS) for host in hosts or tuple(TASKS)}
    told = f"`{COMMAND}` on {machine('mdevctl', 'mdevctl')}; medians."
    lines = [told, "", *table(results), "", *goals(asked(results))]
    if hosts:
        print("\n".join(lines))
    else:
        write("tasks", lines)


if __name__ == "__main__":
    main(sys.argv[1:])
