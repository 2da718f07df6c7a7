# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules on simulated hosts, as processes of their own, the way Ansible starts them there."""

from __future__ import annotations

import functools
import json
import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ansible
import clones
import house
import pytest
from simhost import SimHost, commands
from simhost.api import attendant

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(__file__).with_name("state.py")
CARD, OTHER_CARD = "0000:3d:00.0", "0000:af:00.0"
# The same in a message.
HERE, THERE = f"pci_0000_3d_00_0 ({CARD})", f"pci_0000_af_00_0 ({OTHER_CARD})"
UUID, OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"

LIBRARY = "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev"
# What a module may have imported before it runs. The boot engine's installs what it is sent with, and is by itself.
BASIC = "ansible.module_utils.basic"
IMPORTED = {"boot_engine": (BASIC, f"{LIBRARY}.ansible_module", f"{LIBRARY}.boot.engine")}
# Below the library, what Ansible sends with that module.
SENT = "sent"
_REQUEST_BYTES, _REQUEST_SECONDS = 65536, 60

Result = dict[str, Any]
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What library_in() tells, for all tests."""
    return library_in(tmp_path_factory.mktemp("library"))


def library_in(folder: Path) -> str:
    """A PYTHONPATH with ansible and the collection alone: the host's own Python has its own pyudev and lxml.

    The folder gets what is not in the checkout, such as what Ansible sends with the boot engine's module.
    """
    (folder / "ansible").symlink_to(Path(ansible.__file__).parent)
    for name in house.needed("ansible_module", "boot.engine"):
        file = Path(*name.split(".")).with_suffix(".py")
        sent = folder / SENT / Path(*LIBRARY.split(".")) / file
        sent.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(house.LIBRARY / file, sent)
    return f"{folder}:{ROOT / 'playbooks' / 'collections'}"


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is built to be installed."""
    return clones.build(tmp_path_factory.mktemp("archive"))


def warnings(result: Result) -> list[str]:
    """The texts of a module's warnings, which newer Ansible wraps."""
    return [each["event"]["msg"] if isinstance(each, dict) else each for each in result.get("warnings", [])]


def open_by(pid: int, node: str) -> dict[str, Any]:
    """The holder that has a node open by the program that Host.hold() starts."""
    return {"node": node, "how": "open by", "by": "simhost-guest", "pid": pid, "domain": None}


def vhba_names(end: str, name: str | None = None, **_others: Any) -> dict[str, str]:
    """The WWNN and WWPN of the scenario fc that end so; none for a vHBA with a name."""
    return {} if name is not None else {"wwnn": f"5001a4a1000000{end}", "wwpn": f"5001a4a0000000{end}"}


def ids(result: dict[str, Any]) -> list[str]:
    """The UUIDs of a pool's instances, by index."""
    return [instance["uuid"] for instance in result["instances"]]


@functools.cache
def _preparer(python: str, environment: tuple[tuple[str, str], ...], imported: tuple[str, ...]) -> socket.socket:
    """The socket on which prepared.py takes requests."""
    requests = attendant([python, str(Path(__file__).with_name("prepared.py")), *imported], dict(environment))
    # What cannot enter a host does not answer.
    requests.settimeout(_REQUEST_SECONDS)
    return requests


class Host(SimHost):
    """A simulated host with a way to run a module on it."""

    library = ""
    user: Sequence[str] = ()
    prepares = True
    """Whether prepared.py runs modules here; else an interpreter is started for each, as Ansible does it."""
    _preparing = threading.Lock()

    def __init__(self, scenario: str | dict[str, Any]) -> None:
        super().__init__(scenario)
        self._prepared: dict[str, int] = {}
        """By socket a descriptor of the process that listens there, which can be read when that has ended."""

    @property
    def environment(self) -> dict[str, str]:
        """What a module's Python gets. Compiled code is kept for the next run, and not in the checkout."""
        compiled = f"{self.library.partition(':')[0]}/compiled"
        return {"PYTHONPATH": self.library, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}

    @property
    def engine_environment(self) -> dict[str, str]:
        """The same of the module that installs the boot engine."""
        folder = self.library.partition(":")[0]
        return {**self.environment, "PYTHONPATH": f"{folder}:{folder}/{SENT}"}

    def module(self, name: str, /, **arguments: Any) -> Result:
        """Run a module and return what it says; ``check_mode`` is check mode, and so on for Ansible's own."""
        internal = {f"_ansible_{key}": arguments.pop(key) for key in ("check_mode", "diff") if key in arguments}
        script = str(ROOT / "plugins" / "modules" / f"{name}.py")
        text = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}})
        done = self._python(script, text, name if name in IMPORTED else "modules", self.user)
        assert done.stdout, done.stderr
        result: Result = json.loads(done.stdout)
        return result

    def _python(
        self, script: str, text: str = "", apart: str = "modules", user: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a script with this text as its input; ``apart`` says what may be imported before, and is its socket."""
        environment = self.engine_environment if apart == "boot_engine" else self.environment
        if user or not self.prepares:
            return self.run([*user, self.python, script], input=text, check=False, env=environment)
        listening = self.prepared(apart, environment, *IMPORTED.get(apart, (BASIC, LIBRARY)))
        return self.ask(listening, [self.python, script], input=text, env=environment)

    def prepared(self, socket: str, environment: Mapping[str, str], *imported: str) -> str:
        """The name of the socket where prepared.py stands in for Python on this host; a reboot ends it."""
        with self._preparing:
            ended = self._prepared.get(socket)
            if ended is None or select.select([ended], [], [], 0)[0]:
                requests = _preparer(self.python, tuple(environment.items()), imported)
                requests.send(
                    json.dumps([str(self.folder), self.pid, socket, commands.environment(self.folder)]).encode()
                )
                self._prepared[socket] = os.pidfd_open(int(requests.recv(_REQUEST_BYTES)))
                if ended is not None:
                    os.close(ended)
        return socket

    def stop(self) -> None:
        for ended in self._prepared.values():
            os.close(ended)
        self._prepared.clear()
        super().stop()

    def mdev(self, **arguments: Any) -> Result:
        """Run the mdev module on the first card, unless told otherwise; it must succeed."""
        return self.done("mdev", **{"uuid": UUID, "parent": CARD, "type": "nvidia-231", **arguments})

    def refused(self, **arguments: Any) -> str:
        """Run the mdev module on the first card; it must fail, change nothing, and give one line of message."""
        return self.failed("mdev", **{"uuid": UUID, "parent": CARD, "type": "nvidia-231", **arguments})

    def pool(self, **arguments: Any) -> Result:
        """Run the mdev_pool module for pool x, unless told otherwise; it must succeed."""
        return self.done("mdev_pool", **{"name": "x", **arguments})

    def pool_refused(self, **arguments: Any) -> str:
        """Run the mdev_pool module for pool x; it must fail, change nothing, and give one line of message."""
        return self.failed("mdev_pool", **{"name": "x", **arguments})

    def vhba(self, end: str = "a1", **arguments: Any) -> Result:
        """Run the vhba module for the vHBA whose names end so, unless it has a name; it must succeed."""
        return self.done("vhba", **{**vhba_names(end, **arguments), **arguments})

    def vhba_refused(self, end: str = "a1", **arguments: Any) -> str:
        """Run the vhba module in the same way; it must fail, change nothing, and give one line of message."""
        return self.failed("vhba", **{**vhba_names(end, **arguments), **arguments})

    def done(self, module: str, **arguments: Any) -> Result:
        """Run a module; it must succeed."""
        result = self.module(module, **arguments)
        assert not result.get("failed"), result
        return result

    def failed(self, module: str, **arguments: Any) -> str:
        """Run a module; it must fail, change nothing, and give one line of message."""
        before = self.state()
        result = self.module(module, **arguments)
        assert result.get("failed"), result
        assert self.state() == before
        message = str(result["msg"])
        assert "\n" not in message
        return message

    def state(self) -> str:
        """All that a module may change: what runs, with parent, type and driver, what is free, and what is kept."""
        done = self._python(str(STATE))
        done.check_returncode()
        return done.stdout


def running(host: Host) -> list[str]:
    return sorted(host.run(["ls", "/sys/bus/mdev/devices"]).stdout.split())


def definitions(host: Host) -> list[str]:
    """The UUIDs that are defined, each as often as it is."""
    find = ["find", "/etc/mdevctl.d", "-type", "f", "-printf", "%f\n"]
    return sorted(host.run(find).stdout.split())


@pytest.fixture
def start(library: str) -> Iterator[Callable[..., Host]]:
    """Starts hosts that end with the test."""
    hosts: list[Host] = []

    def start(scenario: str | dict[str, Any] = "nvidia-mdev") -> Host:
        host = Host(scenario)
        host.library = library
        host.start()
        hosts.append(host)
        return host

    yield start
    for host in hosts:
        host.stop()


@pytest.fixture
def fc(start: Callable[..., Host]) -> Host:
    """A host with Fibre Channel HBAs."""
    return start("fc")


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host with two vGPU cards."""
    return start()
