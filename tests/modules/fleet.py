# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated hosts that Ansible reaches by ssh, as it reaches any other: each has a server of its own.

The server runs in the host and speaks by its standard streams, which the client's ProxyCommand gives it: no port is
open, and nothing is left when the host has ended. Keys, known hosts and home are made for the run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_playbook
from conftest import ROOT, Host
from plays import prepared

# Of the host's own: its keys, and root's home there.
FOLDER = "/etc/fleet"
SERVER = Path(__file__).with_name("ssh_server.py")
# There is no systemd to talk to in a simulated host: systemctl does what it does for an image.
PYTHON = '#!/bin/sh\nexport SYSTEMD_OFFLINE=1\n{prepared}[ "$1" != - ] || exec {ask} -\nexec {python} "$@"\n'
CLIENT = "-F none -o BatchMode=yes -o UserKnownHostsFile={known} -o ControlMaster=auto -o ControlPersist=120"


@dataclass(frozen=True)
class Played:
    """What a playbook said, and how it ended."""

    status: int | None
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """By host how many tasks were ok, changed, failed and so on."""
        lines = self.output.rpartition("PLAY RECAP ")[2].splitlines()[1:]
        rows = [line.partition(" : ") for line in lines if " : " in line]
        return {
            name.strip(): {key: int(number) for key, _is, number in (each.partition("=") for each in counts.split())}
            for name, _colon, counts in rows
        }


@dataclass(frozen=True)
class Fleet:
    """A controller with an inventory of simulated hosts."""

    folder: Path
    environment: Mapping[str, str]

    def start(self, playbook: str, *options: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook, by its path or by its name in the collection; all that it says is on its output."""
        return subprocess.Popen(
            [sys.executable, "-m", "ansible", "playbook", *self._arguments(playbook, options, variables)],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self, playbook: str, *options: str, warns: str | None = None, **variables: Any) -> Played:
        """Run a playbook to its end; nothing in it warns, but once of what ``warns`` says."""
        arguments = self._arguments(playbook, options, variables)
        status, output = ansible_playbook.ended(self.folder, self.environment, *arguments)
        said = [line for line in output.splitlines() if "WARNING]" in line]
        assert len(said) == (warns is not None), output
        assert all(str(warns) in line for line in said), output
        return Played(status, output)

    def _arguments(self, playbook: str, options: Sequence[str], variables: Mapping[str, Any]) -> list[str]:
        return ["-i", "inventory.yml", "-e", json.dumps(variables), *options, playbook]

    def done(self, playbook: str, *options: str, **variables: Any) -> Played:
        """Run a playbook that must succeed."""
        played = self.play(playbook, *options, **variables)
        assert played.status == 0, played.output
        return played


@contextmanager
def reached(hosts: Mapping[str, Host], folder: Path, variables: Mapping[str, Mapping[str, Any]]) -> Iterator[Fleet]:
    """A controller in this folder that reaches these hosts by ssh; ``variables`` are those of groups.

    A group is named as a host's name up to its number: gpu01 is of gpu.
    """
    # A socket's path is short.
    own = Path(tempfile.mkdtemp(prefix="ssh-"))
    try:
        _key(own / "user")
        groups: dict[str, Any] = {}
        for name, host in hosts.items():
            group = groups.setdefault(name.rstrip("0123456789"), {"hosts": {}})
            group["hosts"][name] = _serve(host, name, own)
        for name, each in variables.items():
            groups[name]["vars"] = dict(each)
        ssh = {
            "ansible_ssh_args": CLIENT.format(known=own / "known"),
            "ansible_control_path_dir": str(own / "cp"),
            "ansible_ssh_transfer_method": "piped",
        }
        (folder / "inventory.yml").write_text(json.dumps({"all": {"children": groups, "vars": ssh}}))
        environment = {
            "HOME": str(own),
            # ansible-runner looks for ansible-playbook there.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": ansible_playbook.CONFIGURATION,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        }
        yield Fleet(folder, environment)
    finally:
        for socket in (own / "cp").glob("*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "any"], capture_output=True, check=False
            )
        shutil.rmtree(own)


def _key(path: Path) -> str:
    """Make a key without a passphrase; its public half, as it is written among known hosts."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_suffix(".pub").read_text()


def _serve(host: Host, name: str, own: Path) -> dict[str, Any]:
    """Prepare a host to be reached; what the inventory says of it."""
    home = f"{FOLDER}/home"
    host.run(["mkdir", "-p", "-m", "700", FOLDER, home, f"{home}/.ssh"])
    host.write(f"{home}/.ssh/authorized_keys", (own / "user.pub").read_text())
    ask, python = shlex.join(host.command([host.python])), shlex.quote(host.python)
    host.write(f"{FOLDER}/python", PYTHON.format(prepared=prepared(host), ask=ask, python=python))
    host.run(["chmod", "755", f"{FOLDER}/python"])
    # Root's home would be the machine's.
    host.run(["sed", "-i", f"s,^root:.*,root:x:0:0::{home}:/bin/sh,", "/etc/passwd"])
    host.run(["dropbearkey", "-t", "ed25519", "-f", f"{FOLDER}/key"])
    public = host.run(["dropbearkey", "-y", "-f", f"{FOLDER}/key"]).stdout
    (line,) = (each for each in public.splitlines() if each.startswith("ssh-"))
    with (own / "known").open("a") as known:
        known.write(f"{name} {line}\n")
    server = host.command([host.python, "-I", "-S", str(SERVER), f"{FOLDER}/key"])
    return {
        "ansible_connection": "ssh",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(own / "user"),
        "ansible_ssh_common_args": f"-o {shlex.quote('ProxyCommand=' + shlex.join(server) + ' 2>/dev/null')}",
        "ansible_python_interpreter": f"{FOLDER}/python",
        # Who reaches the host is root already.
        "ansible_become": False,
    }
