# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the collection at work: the life of a pool of vGPUs on a simulated host with two cards.

The commands are printed as a person would type them, and run. One that ends otherwise than told ends the demo.
"""

from __future__ import annotations

import json
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
MACHINE = "6a1f4a8f3b0d4c7e9b52d8e07c91f3a4"
RECORD = "/etc/nodedev.d/pool/desktops.json"
PLAYBOOK = "ansible-playbook -i inventory.yml -e @pools.yml hostdev.nodedev.provision_vgpu_pools"
# The same for a host that has the role already.
POOLS = f"{PLAYBOOK} --skip-tags persistence"
DESKTOPS = """pools:
  - name: desktops
    type: GRID T4-4Q
    count: 4
    parents: {driver: nvidia}
"""
GRAPHICS = """  - name: graphics
    type: GRID T4-4
    count: 1
"""
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
}


class Demo:
    """A simulated host, and a folder with an inventory that has it and with the pools that are wished."""

    def __init__(self, host: SimHost, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.chapters = 0
        # The names of instances follow from it, and a container may have none.
        host.run(["sh", "-c", f"rm -f /etc/machine-id; echo {MACHINE} > /etc/machine-id"])
        python = folder / "python"
        python.write_text(python_wrapper(host.folder, host.python))
        python.chmod(0o755)
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(python),
            "ansible_remote_tmp": str(folder / "tmp"),
            # Whoever starts a simulated host is root in it.
            "ansible_become": False,
        }
        (folder / "inventory.yml").write_text(yaml.safe_dump({"gpu_hosts": {"hosts": {"gpuhost": variables}}}))

    def chapter(self, *lines: str) -> None:
        """Begin a chapter: what is seen in it."""
        self.chapters += 1
        print()
        for mark, line in zip((f"### {self.chapters}.", "###   "), lines, strict=False):
            bold = f"\033[1m{mark} {line}\033[0m" if sys.stdout.isatty() else f"{mark} {line}"
            print(bold, flush=True)

    def wish(self, pools: str, before: str = "") -> None:
        """Write the pools that are wished, after those that are already."""
        (self.folder / "pools.yml").write_text(before + pools)
        self.run("cat pools.yml")

    def run(self, command: str, fails: bool = False) -> None:
        """Run a command on the controller; whether it fails has been told."""
        print("$", command, flush=True)
        program, *arguments = shlex.split(command)
        known = [sys.executable, "-m", "ansible", "playbook"] if program == "ansible-playbook" else [program]
        done = subprocess.run(
            [*known, *arguments], cwd=self.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False
        )
        if (done.returncode != 0) != fails:
            sys.exit(f"this was not to be: {command} ended with {done.returncode}")

    def on_host(self, command: str) -> None:
        """Run a command on the managed host."""
        print("gpuhost#", command, flush=True)
        if command == "reboot":
            self.host.reboot()
        else:
            print(self.host.run(shlex.split(command)).stdout, end="", flush=True)

    def last_instance(self) -> str:
        """The UUID of the pool's instance with the highest index."""
        instances = json.loads(self.host.read(RECORD))["instances"]
        return str(max(instances, key=lambda instance: instance["index"])["id"])


def show(demo: Demo) -> None:
    """All chapters."""
    demo.chapter(
        "A host with two vGPU cards. The playbook, with no pool yet, installs what brings devices back at boot.",
    )
    demo.wish("pools: []\n")
    demo.run(PLAYBOOK)

    demo.chapter("A pool of four vGPUs over both cards: first the plan, which changes nothing; then the pool.")
    demo.wish(DESKTOPS)
    demo.run(f"{POOLS} --check --diff")
    demo.run(POOLS)

    demo.chapter(
        "The same again, role and all: nothing is left to do.",
        "mdevctl, which was not asked so far, knows the same four vGPUs.",
    )
    demo.run(PLAYBOOK)
    demo.on_host("mdevctl list")

    demo.chapter("Six instead of four: two more are made, one a card. The four that run stay as they are.")
    demo.run("sed -i 's/count: 4/count: 6/' pools.yml")
    demo.run(POOLS)

    held = demo.last_instance()
    with demo.host.hold(held) as guest:
        demo.chapter(
            f"Five instead of six, while a guest (process {guest}) has the last one open, {held}:",
            "that one stays, and another goes. None at all is refused: the guest is named, and nothing is changed.",
        )
        demo.run("sed -i 's/count: 6/count: 5/' pools.yml")
        demo.run(POOLS)
        demo.on_host("mdevctl list")
        demo.run("sed -i 's/count: 5/count: 0/' pools.yml")
        demo.run(POOLS, fails=True)
        demo.run("sed -i 's/count: 0/count: 5/' pools.yml")

    demo.chapter(
        "The host reboots, and no vGPU is left. What the enabled unit runs at boot brings all five back (here by hand,",
        "since the simulated host has no systemd). The playbook then finds nothing to do.",
    )
    demo.on_host("reboot")
    demo.on_host("mdevctl list")
    demo.on_host("systemctl is-enabled nodedev-restore.service")
    demo.on_host("nodedev-restore")
    demo.on_host("mdevctl list")
    demo.run(POOLS)

    demo.chapter(
        "A second pool, whose type was typed wrongly: the error lists the types that the cards have.",
        "With the right one the pool is there.",
    )
    demo.wish(GRAPHICS, before=DESKTOPS.replace("count: 4", "count: 5"))
    demo.run(POOLS, fails=True)
    demo.run("sed -i 's/T4-4$/T4-4Q/' pools.yml")
    demo.run(POOLS)


def main() -> int:
    with SimHost("nvidia-mdev") as host, tempfile.TemporaryDirectory() as folder:
        show(Demo(host, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
