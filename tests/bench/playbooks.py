# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside the private host: measures playbooks on it, one run of ansible-playbook each, and writes JSON.

A task's duration is the one that ansible-core's own junit callback reports: from its announcement to its result, for a
loop that of all items. What is compared is run in turns, so that a slow moment of the machine hits all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.measure import PYTHON, ROOT, STAGE, Figures, timed

TYPE = "nvidia-231"
COUNT = 64
# A round of loops takes half a minute, one with nothing to do a second.
ROUNDS, IDLE_ROUNDS = 3, 25

Task = dict[str, Any]

POOL = "hostdev.nodedev.mdev_pool"
PING: Task = {"ansible.builtin.ping": {}}
PRESENT: Task = {POOL: {"name": "bench", "type": TYPE, "count": COUNT}}
ABSENT: Task = {POOL: {"name": "bench", "state": "absent"}}

REPORTS = STAGE / "reports"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))},
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_HOME": str(STAGE / "ansible"),
    "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
    "JUNIT_OUTPUT_DIR": str(REPORTS),
}


@dataclass
class Playbook:
    """What was measured of a playbook: its tasks' own durations together, and the whole process."""

    tasks: Figures = field(default_factory=Figures)
    whole: Figures = field(default_factory=Figures)

    def told(self) -> dict[str, Any]:
        return {"tasks": self.tasks.told(), "whole": self.whole.told()}


def play(*tasks: Task, measured: Playbook | None = None) -> list[dict[str, Any]]:
    """Run the tasks as a playbook on this host, and return their results; what it took is added to ``measured``."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    file = STAGE / "playbook.yml"
    file.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={PYTHON}", str(file)]
    whole, _peak = timed(command, "", STAGE / "output", ENVIRONMENT)
    cases = [case for report in REPORTS.iterdir() for case in ElementTree.parse(report).iter("testcase")]
    if measured is not None:
        measured.tasks.add(sum(float(case.attrib["time"]) for case in cases), 0)
        measured.whole.add(whole, 0)
    return [json.loads(case.findtext("system-out", "")) for case in cases]


def loops(instances: list[dict[str, Any]]) -> list[Task]:
    """The tasks that make these instances by mdevctl, as roles without a module for it do: a loop for each command."""
    device = "--uuid {{ item.uuid }} --parent {{ item.parent_addr }} --type {{ item.type }}"
    commands = (f"mdevctl define {device} --auto", "mdevctl start --uuid {{ item.uuid }}")
    return [{"ansible.builtin.command": command, "loop": instances} for command in commands]


def devices() -> list[str]:
    """All devices that run and all that are defined, in mdevctl's words."""
    said = [
        subprocess.run(["mdevctl", "list", *defined], check=True, capture_output=True, text=True).stdout
        for defined in ([], ["--defined"])
    ]
    return [line for lines in said for line in sorted(lines.split("\n")) if line]


def expect(holds: bool, what: str) -> None:
    """End the bench where its figures could not be compared."""
    if not holds:
        raise SystemExit(f"bench: {what}")


def main(answer: str) -> None:
    STAGE.mkdir()
    told = {name: Playbook() for name in ("pool", "loops", "idle", "ping")}
    for number in range(ROUNDS):
        (made,) = play(PRESENT, measured=told["pool"])
        ours = devices()
        expect(len(ours) == 2 * COUNT, f"the pool is not {COUNT} devices that run and are defined")
        play(ABSENT)
        play(*loops(made["instances"]), measured=told["loops"])
        expect(devices() == ours, "the loops did not make the devices of the pool")
        play(ABSENT)
        print(f"bench: round {number + 1} of {ROUNDS} with {COUNT} instances", flush=True)
    play(PRESENT)
    for _round in range(IDLE_ROUNDS):
        (found,) = play(PRESENT, measured=told["idle"])
        expect(not found["changed"], "a pool that is there was changed")
        play(PING, measured=told["ping"])
    print(f"bench: {IDLE_ROUNDS} rounds with nothing to do", flush=True)
    results = {name: playbook.told() for name, playbook in told.items()}
    Path(answer).write_text(json.dumps({"instances": COUNT, "playbooks": results}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
