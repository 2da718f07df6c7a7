# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on the running machine, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_playbook import printed

from .machine import Machine

ROOT = Path(__file__).resolve().parents[2]


class Playbooks:
    """Runs playbooks on a machine, by this Python of its; the test fails with their output when they do."""

    def __init__(self, machine: Machine, folder: Path, python: str) -> None:
        self.folder = folder
        self.inventory = folder / "kernelhost.yml"
        self.inventory.write_text(machine.inventory(python))

    def run(self, playbook: Path, *options: str, **variables: Any) -> str:
        """Run a playbook file with these options and variables; returns what it prints."""
        inventory = ("--inventory", str(self.inventory))
        return printed(ROOT, *inventory, "--extra-vars", json.dumps(variables), *options, str(playbook))

    def tasks(self, tasks: list[dict[str, Any]]) -> str:
        """Run these tasks as a playbook of one play; returns what it prints."""
        playbook = self.folder / "tasks.yml"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        return self.run(playbook)
