# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures ansible-runner with assert.yml on many hosts by ssh, against ping and setup, and writes docs/performance.md.

The hosts are simulated and share the processors with the controller, so that what an hour of the controller's takes is
reckoned from its own processor seconds: those of ansible-runner and all that it waits for. The modules run elsewhere.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import ansible_runner
from bench.report import COMMAND, ROOT, Goal, goals, machine, ratio, write
from conftest import CARD, Host, library_in
from fleet import Fleet, reached
from test_restore import install

HOSTS, FORKS, ROUNDS = 50, 10, 3
# Of fleets that nobody has here, by how many hosts.
LARGER = (1000, 10000)
POOL = {"name": "desktops", "type": "nvidia-231", "count": 3, "parents": {"names": [CARD]}}
VARIABLES = {"nodedev_mdev_pools": [POOL]}
PLAY = "- {{hosts: all, gather_facts: false, strategy: {strategy}, tasks: [{{{module}: {{}}}}]}}\n"
# What is compared, by what a row calls it: a file's name, and its text unless the collection has it.
PLAYBOOKS = {
    "ansible.builtin.ping": ("ping.yml", PLAY.format(strategy="linear", module="ansible.builtin.ping")),
    "ansible.builtin.ping, strategy free": ("free.yml", PLAY.format(strategy="free", module="ansible.builtin.ping")),
    "ansible.builtin.setup": ("setup.yml", PLAY.format(strategy="linear", module="ansible.builtin.setup")),
    "nodedev_facts, summary": (
        "facts.yml",
        "- {hosts: all, gather_facts: false, tasks: [{hostdev.nodedev.nodedev_facts: {devices: false}}]}\n",
    ),
    "hostdev.nodedev.assert": (str(ROOT / "playbooks" / "assert.yml"), None),
}


@dataclass
class Figures:
    """Seconds of whole runs over so many hosts, by the clock and of the controller's processors."""

    hosts: int
    clock: list[float] = field(default_factory=list)
    controller: list[float] = field(default_factory=list)

    def per_host(self) -> tuple[float, float]:
        return statistics.median(self.clock) / self.hosts, statistics.median(self.controller) / self.hosts


def processor() -> float:
    """Seconds of the processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(fleet: Fleet, playbook: str, figures: Figures, is_measured: bool) -> None:
    """Run one playbook on all hosts by ansible-runner; it must succeed on each."""
    with tempfile.TemporaryDirectory(prefix="runner-") as folder:
        start, before = time.monotonic(), processor()
        ended = ansible_runner.run(
            private_data_dir=folder,
            inventory=str(fleet.folder / "inventory.yml"),
            playbook=playbook,
            project_dir=str(fleet.folder),
            envvars=dict(fleet.environment),
            forks=FORKS,
            quiet=True,
        )
        if ended.status != "successful" or len(ended.stats["ok"]) != figures.hosts:
            raise SystemExit(f"{playbook}: {ended.status}\n{ended.stdout.read()[-3000:]}")
    if is_measured:
        figures.clock.append(time.monotonic() - start)
        figures.controller.append(processor() - before)


def measure(folder: Path, count: int, rounds: int) -> dict[str, Figures]:
    """All playbooks in turns over so many hosts, each once before it is measured."""
    (folder / "library").mkdir()
    library = library_in(folder / "library")
    measured = {name: Figures(count) for name in PLAYBOOKS}
    with ExitStack() as stack:
        hosts = {}
        for number in range(1, count + 1):
            host = Host("nvidia-mdev")
            host.library = library
            hosts[f"gpu{number:02}"] = stack.enter_context(host)
            install(host)
            host.done("mdev_pool", **POOL)
        print(f"bench: {count} hosts are up", flush=True)
        fleet = stack.enter_context(reached(hosts, folder, {"gpu": VARIABLES}))
        for file, text in PLAYBOOKS.values():
            if text is not None:
                (folder / file).write_text(text)
        for turn in range(rounds + 1):
            for name, (file, _text) in PLAYBOOKS.items():
                run(fleet, file, measured[name], turn > 0)
            print(f"bench: {turn} of {rounds} rounds", flush=True)
    return measured


def table(measured: Mapping[str, Figures]) -> list[str]:
    """The figures, a row each, in Markdown."""
    ping = measured["ansible.builtin.ping"].per_host()
    lines = ["| playbook | seconds a host | of ping | controller's processor seconds a host | of ping |"]
    lines.append("|---|---|---|---|---|")
    for name, figures in measured.items():
        found = figures.per_host()
        cells = [f"{each:.3f} | {each / other:.2f}" for each, other in zip(found, ping)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| hosts | playbook | minutes of one of the controller's processors |", "|---|---|---|"]
    for count in LARGER:
        for name in ("ansible.builtin.ping", "ansible.builtin.setup", "hostdev.nodedev.assert"):
            lines.append(f"| {count:,} | {name} | {measured[name].per_host()[1] * count / 60:.1f} |")
    return lines


def asked(measured: Mapping[str, Figures]) -> list[Goal]:
    found = {name: figures.per_host() for name, figures in measured.items()}
    facts = found["nodedev_facts, summary"], found["ansible.builtin.setup"]
    return [("the summary's processor seconds of the controller against setup's", ratio(facts[0][1], facts[1][1]), 1)]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        measured = measure(Path(folder), HOSTS, ROUNDS)
    told = (
        f"`{COMMAND}` on {machine('ansible-runner', str(Path(sys.executable).with_name('ansible-runner')))}; medians."
    )
    lines = [told, "", *table(measured), "", *goals(asked(measured))]
    write("fleet", lines)


if __name__ == "__main__":
    main()
