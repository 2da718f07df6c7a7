# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the collection at work: a simulated host with two vGPU cards and the playbook that provisions them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from simhost import SimHost
from simhost.api import python_wrapper

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOK = "playbooks/provision_gpu_host.yml"
PROGRAMS = {"ansible-playbook": "playbook", "ansible": "adhoc"}
VGPUS = [
    {"uuid": "9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01", "type": "GRID T4-4Q", "parent": "pci_0000_3d_00_0"},
    {"uuid": "9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02", "type": "GRID T4-4Q", "parent": "pci_0000_3d_00_0"},
    {"uuid": "9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a03", "type": "GRID T4-8Q", "parent": "pci_0000_af_00_0"},
]


ENVIRONMENT = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def say(text: str) -> None:
    print(f"\n\033[1m### {text}\033[0m" if sys.stdout.isatty() else f"\n### {text}", flush=True)


def show(*command: str, check: bool = True) -> None:
    """Print a command of Ansible as a person would type it, and run it."""
    print("$", shlex.join(command), flush=True)
    program, *arguments = command
    known = [sys.executable, "-m", "ansible", PROGRAMS[program], *arguments]
    subprocess.run(known, check=check, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL)


def main() -> int:
    with SimHost("nvidia-mdev") as host, tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        python.write_text(python_wrapper(host.folder, host.python))
        python.chmod(0o755)
        # Whoever starts a simulated host is root in it.
        connection = {"ansible_connection": "local", "ansible_become": False}
        variables = {**connection, "ansible_python_interpreter": str(python), "vgpus": VGPUS}
        inventory = Path(folder) / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"gpu_hosts": {"hosts": {"gpuhost": variables}}}))

        playbook = ["ansible-playbook", "-i", str(inventory), PLAYBOOK]
        say("A simulated host with two vGPU cards runs. What would the playbook do on it?")
        show(*playbook, "--check", "--diff")
        say("Now it does it.")
        show(*playbook)
        say("Once more: nothing is left to do.")
        show(*playbook)
        say("mdevctl, which was not asked so far, knows the same devices:")
        print(host.run(["sh", "-c", "mdevctl list; mdevctl list --defined"]).stdout, end="", flush=True)
        say("A vGPU that a guest has open is not removed:")
        with host.hold(VGPUS[0]["uuid"]):
            wish = f"uuid={VGPUS[0]['uuid']} state=absent"
            show("ansible", "-i", str(inventory), "gpuhost", "-m", "hostdev.nodedev.mdev", "-a", wish, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
