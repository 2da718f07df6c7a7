# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts on which both sides are asked: simulated ones, and this machine with its own /sys."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible
from simhost import SimHost, libvirt

from .compare import Comparison, Listing, compare
from .judges import PYTHON, Judge
from .waivers import Rules, counted

ROOT = Path(__file__).resolve().parents[2]
DUMP = Path(__file__).with_name("libvirt_dump.py")
MODULE = ROOT / "plugins" / "modules" / "nodedev_facts.py"
EVERYTHING: Mapping[str, Any] = {"xml": True, "include": "all", "tree": True}
# A mount namespace with a /run and /etc/libvirt of its own; udev's database stays. It lasts as long as its input.
_OWN_NAMESPACE = """\
set -e
stage=$(mktemp -d)
if [ -d /run/udev ]; then mount -n --bind /run/udev "$stage"; else mount -n -t tmpfs conformance "$stage"; fi
mount -n -t tmpfs conformance /run
mkdir /run/udev /run/lock
mount -n --bind "$stage" /run/udev
umount -n "$stage"
rmdir "$stage"
[ ! -d /etc/libvirt ] || mount -n -t tmpfs conformance /etc/libvirt
echo ready
exec cat
"""


class Host:
    """A host on which commands run; `library` is a PYTHONPATH with ansible and the collection."""

    def __init__(self, library: str, run: libvirt.Run, popen: libvirt.Popen) -> None:
        self.library = library
        self.run = run
        self.popen = popen

    def libvirt(self, judge: Judge) -> Dump:
        """What this libvirt's daemon says, started for it."""
        with libvirt.running(judge.runner(self.run), judge.starter(self.popen)) as daemon:
            return Dump(json.loads(daemon.run([PYTHON, str(DUMP), daemon.uri]).stdout))

    def facts(self, **arguments: Any) -> dict[str, Any]:
        """The facts of our module, run with these arguments; AssertionError if it fails."""
        # Compiled code is kept for the next run, and not in the checkout.
        compiled = f"{self.library.partition(':')[0]}/compiled"
        done = self.run(
            [PYTHON, str(MODULE)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            check=False,
            env={"PYTHONPATH": self.library, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled},
        )
        assert done.stdout, done.stderr
        return facts_of(json.loads(done.stdout))

    def listing(self) -> Listing:
        """All that our module says."""
        return listing_of(self.facts(**EVERYTHING))


@dataclass(frozen=True)
class Dump:
    """The output of libvirt_dump.py."""

    data: Mapping[str, Any]

    @property
    def version(self) -> tuple[int, int]:
        """libvirt's version, as (9, 0)."""
        return counted(self.data["version"])

    @property
    def listing(self) -> Listing:
        """The devices that run and those that are defined only."""
        devices = self.data["devices"]
        return Listing(
            xml={name: device["xml"] for name, device in devices.items()},
            parents={name: device["parent"] for name, device in devices.items()},
            tree=self.data["tree_all"],
        )

    def names(self, state: str) -> set[str]:
        """The devices that are `active`, `persistent`, or not (`inactive`, `transient`)."""
        key = {"inactive": "active", "transient": "persistent"}.get(state, state)
        return {name for name, device in self.data["devices"].items() if device[key] == (key == state)}

    @property
    def capabilities(self) -> Mapping[str, list[str]]:
        """The names of devices that each filter of `nodedev-list --cap` gives."""
        found: Mapping[str, list[str]] = self.data["capabilities"]
        return found


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of the module has under `nodedev`; AssertionError if it failed."""
    assert not result.get("failed"), result.get("msg")
    found: dict[str, Any] = result["ansible_facts"]["nodedev"]
    return found


def listing_of(facts: Mapping[str, Any]) -> Listing:
    """The facts of a run with EVERYTHING as a side of a comparison."""
    devices = facts["devices"]
    return Listing(
        xml={name: device["xml"] for name, device in devices.items()},
        parents={name: device.get("parent") for name, device in devices.items()},
        tree="\n".join(facts["tree"]),
    )


@dataclass(frozen=True)
class Answer:
    """What ours and one libvirt said of one host, and the comparison."""

    dump: Dump
    ours: Listing
    comparison: Comparison


def compared(host: Host, rules: Rules, judges: Iterable[Judge]) -> dict[str, Answer]:
    """Ask each libvirt on one host, one after another, then ours, and compare: the answers by the judges' names."""
    dumps = {judge.name: host.libvirt(judge) for judge in judges}
    ours = host.listing()
    return {name: Answer(dump, ours, compare(ours, dump.listing, rules, dump.version)) for name, dump in dumps.items()}


@contextlib.contextmanager
def simulated(scenario: str | Mapping[str, Any], library: str) -> Iterator[Host]:
    """A simulated host, for the block."""
    with SimHost(scenario) as host:
        yield Host(library, host.run, host.popen)


@contextlib.contextmanager
def own_machine(library: str) -> Iterator[Host]:
    """This machine's own devices, in a mount namespace in which libvirtd has its files to itself."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    keeper = subprocess.Popen(
        ["unshare", *user, "--mount", "sh", "-c", _OWN_NAMESPACE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdin is not None and keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == "ready\n", "no mount namespace: run as root, or allow user namespaces"
        enter = ["nsenter", "--mount", "--target", str(keeper.pid), "--"]
        if user:
            enter[1:1] = ["--user", "--preserve-credentials"]
        yield Host(library, _runner(enter), _starter(enter))
    finally:
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()


def _runner(enter: list[str]) -> libvirt.Run:
    def run(
        arguments: list[str], *, input: str | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*enter, *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=check,
            env={**os.environ, **(env or {})},
        )

    return run


def _starter(enter: list[str]) -> Callable[..., subprocess.Popen[Any]]:
    def popen(arguments: list[str], **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen([*enter, *arguments], **options)

    return popen


def library(folder: Path) -> str:
    """A PYTHONPATH with ansible and the collection alone, made in `folder`: the host's Python has the rest."""
    (folder / "ansible").symlink_to(Path(ansible.__file__).parent)
    return f"{folder}:{ROOT / 'playbooks' / 'collections'}"
