# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a private host: measures tasks that have nothing to do, in turns with ansible.builtin.ping."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.measure import STAGE
from bench.playbooks import COUNT, PING, TYPE, Playbook, Task, expect, play

# By the host that they run on, the tasks by what a row calls them. Each is played once before it is measured.
TASKS: dict[str, dict[str, Task]] = {
    "cards": {
        "mdev": {
            "hostdev.nodedev.mdev": {
                "uuid": "9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01",
                "type": TYPE,
                "parent": "pci_0000_11_00_0",
            }
        },
        f"mdev_pool, {COUNT - 1} instances": {
            "hostdev.nodedev.mdev_pool": {"name": "bench", "type": TYPE, "count": COUNT - 1}
        },
    },
    "functions": {
        "driver": {"hostdev.nodedev.driver": {"device": "pci_0000_81_00_0", "driver": "vfio-pci"}},
        "sriov": {"hostdev.nodedev.sriov": {"device": "pci_0000_06_00_0", "numvfs": 2}},
    },
    "nvidia-vfio-small": {
        "vgpu": {"hostdev.nodedev.vgpu": {"device": "pci_0000_06_00_4", "type": "NVIDIA A16-4Q"}},
        "vgpu_pool, 2 instances": {"hostdev.nodedev.vgpu_pool": {"name": "bench", "type": "NVIDIA A16-4Q", "count": 2}},
    },
    "fc": {
        "vhba": {"hostdev.nodedev.vhba": {"name": "bench", "parent": "scsi_host3"}},
        "vhba_pool, 2 instances": {"hostdev.nodedev.vhba_pool": {"name": "bench", "count": 2}},
    },
}


def main(answer: str, host: str, rounds: str) -> None:
    STAGE.mkdir()
    tasks = TASKS[host]
    measured = {name: Playbook() for name in (*tasks, "ping")}
    for task in tasks.values():
        play(task)
    for _round in range(int(rounds)):
        for name, task in tasks.items():
            (found,) = play(task, measured=measured[name])
            expect(not found["changed"], f"{name} has changed what was there")
        play(PING, measured=measured["ping"])
    print(f"bench: {rounds} rounds of {', '.join(tasks)}", flush=True)
    results = {name: playbook.told() for name, playbook in measured.items()}
    Path(answer).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
