# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks against a simulated host, as a user's ansible-playbook would."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ansible_playbook
from conftest import Host
from pages import Controller
from simhost.api import python_wrapper
from simhost.client import ANOTHER

# The managed host has its own programs, not those beside the controller's Python. There is no systemd to talk to in a
# simulated host: systemctl does what it does for an image.
MANAGED = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_OFFLINE=1\nexec "
# Has a simulated host keep what its Python compiles of what Ansible sends.
PAYLOADS = Path(__file__).with_name("payloads")


def play(host: Host, playbook: Path, folder: Path, *options: str, **variables: Any) -> str:
    """The output of a playbook that must succeed on this host; ``folder`` is for files that it takes."""
    return play_all({"simhost": host}, playbook, folder, *options, **variables)


def play_all(hosts: Mapping[str, Host], playbook: Path, folder: Path, *options: str, **variables: Any) -> str:
    """The same on several hosts, each in a group of its own that has the given name; with warnings in the output."""
    inventory = folder / "inventory.yml"
    groups = {name: {"hosts": {f"host-{name}": connection(host, folder / name)}} for name, host in hosts.items()}
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    return ansible_playbook.printed(folder, "-i", str(inventory), "-e", json.dumps(variables), *options, str(playbook))


def prepared(host: Host) -> str:
    """Lines of a shell's before it starts Python on a host with "$@".

    What that compiles of a payload is kept; and where the script comes on its standard input, as modules do, what they
    import of Ansible itself is there already.
    """
    library = host.library.partition(":")[0]
    compiled = Path(library, "payloads")
    compiled.mkdir(exist_ok=True)
    environment = {"PYTHONPATH": f"{PAYLOADS}:{library}", "COMPILED_PAYLOADS": str(compiled)}
    listening = host.prepared("plays", environment, "ansible.module_utils.basic")
    export = shlex.join(f"{name}={value}" for name, value in {**environment, "PYTHONPATH": str(PAYLOADS)}.items())
    return f"export {export}\n[ $# != 0 ] || {{ export {ANOTHER}={listening}; set -- -; }}\n"


def connection(host: Host, python: Path) -> dict[str, str]:
    """What an inventory says of a simulated host; ``python`` is the file by which Python is started there."""
    python.write_text(python_wrapper(host.folder, host.python).replace("exec ", f"{prepared(host)}exec ", 1))
    python.chmod(0o755)
    return {"ansible_connection": "local", "ansible_python_interpreter": str(python)}


def reach(controller: Controller, hosts: Mapping[str, Host]) -> None:
    """Have the hosts of an inventory lead to simulated ones."""
    variables = {}
    for name, host in hosts.items():
        python = controller.home.parent / f"python-{name}"
        # Whoever starts a simulated host is root in it. Molecule's tests do without pipelining, which takes longer.
        variables[name] = {**connection(host, python), "ansible_become": False, "ansible_pipelining": True}
        python.write_text(python.read_text().replace("exec ", MANAGED, 1))
    controller.reach(variables)
