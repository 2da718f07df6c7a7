# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev modules on a real kernel, with real mdevctl and libvirt to compare with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .machine import Machine

ROOT = Path(__file__).resolve().parents[2]
INTEGRATION = ROOT / "tests" / "integration"


class Playbooks:
    """Runs playbooks on the machine, as a user does; the test fails with their output when they do."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory

    def run(self, playbook: Path) -> str:
        done = subprocess.run(
            [
                "ansible-playbook",
                "--inventory",
                str(self.inventory),
                "--extra-vars",
                "libvirt_runs=true",
                str(playbook),
            ],
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def playbooks(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    inventory = tmp_path_factory.mktemp("inventory") / "kernelhost.yml"
    inventory.write_text(machine.inventory())
    return Playbooks(inventory)


@pytest.mark.parametrize("playbook", ["mdev.yml", "mdev_held.yml"])
def test_integration(playbooks: Playbooks, playbook: str) -> None:
    assert "failed=0" in playbooks.run(INTEGRATION / playbook)
