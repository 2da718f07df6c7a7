# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks against a simulated host, as a user's ansible-playbook would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Host
from simhost.api import python_wrapper


def play(host: Host, playbook: Path, folder: Path) -> str:
    """The output of a playbook that must succeed on this host; ``folder`` is for files that it takes."""
    python = folder / "python"
    python.write_text(python_wrapper(host.folder, host.python))
    python.chmod(0o755)
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    inventory = folder / "inventory.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"simhost": variables}}}))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook)],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
