# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for libvirtd on the simulated host: it runs the hook as libvirt does, for domains without any guest."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Host
from test_restore import HOOK

RECORDS = "/run/nodedev.d/guest"
# The parts of the operations, as libvirt gives them.
PARTS = {"prepare": "begin", "start": "begin", "started": "begin", "stopped": "end", "release": "end"}
# libvirtd starts the hook itself, and goes on to live; each line is one call.
DAEMON = """
import json, subprocess, sys, threading
hooks = {}
def answer(id, hook, document):
    out, err = hook.communicate(document.encode())
    told = {"id": id, "status": hook.returncode, "out": out.decode(), "err": err.decode()}
    sys.stdout.write(json.dumps(told) + "\\n")
    sys.stdout.flush()
for line in sys.stdin:
    call = json.loads(line)
    if "command" in call:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        hooks[call["id"]] = hook = subprocess.Popen(call["command"], **pipes)
        threading.Thread(target=answer, args=[call["id"], hook, call["document"]]).start()
    else:
        hooks[call["id"]].kill()
"""


@dataclass(frozen=True)
class Answer:
    """How the hook ended."""

    status: int
    out: str
    err: str


def domain(name: str, *uuids: str, more: str = "") -> str:
    """A domain's document with these mediated devices, as libvirt writes one."""
    hostdevs = "".join(
        f"""
    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>
      <source>
        <address uuid='{each}'/>
      </source>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </hostdev>"""
        for each in uuids
    )
    return f"""<domain type='qemu' id='1'>
  <name>{name}</name>
  <uuid>{domain_uuid(name)}</uuid>
  <memory unit='KiB'>65536</memory>
  <devices>{more}{hostdevs}
    <memballoon model='none'/>
  </devices>
</domain>
"""


def domain_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


class Libvirt:
    """A daemon that runs domains. Of several calls that are begun, each is answered by itself."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.process = host.popen([host.python, "-c", DAEMON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: dict[int, Answer] = {}
        self._calls = 0

    def begin(self, name: str, operation: str, document: str) -> int:
        """Begin a call of the hook; returns its number."""
        self._calls += 1
        command = [HOOK, name, operation, PARTS.get(operation, "begin"), "-"]
        self._tell(id=self._calls, command=command, document=document)
        return self._calls

    def end(self, number: int) -> None:
        """Kill the hook that was begun by this number."""
        self._tell(id=number)

    def _tell(self, **call: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()

    def answer(self, number: int) -> Answer:
        """The answer to the call of this number, when it is there."""
        while number not in self._answers:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, "the daemon has ended"
            found = json.loads(line)
            self._answers[found["id"]] = Answer(found["status"], found["out"], found["err"])
        return self._answers[number]

    def call(self, name: str, operation: str, document: str) -> Answer:
        """Run the hook; what it says on its standard output would be a document to libvirt."""
        done = self.answer(self.begin(name, operation, document))
        assert done.out == ""
        return done

    def prepare(self, name: str, *uuids: str) -> Answer:
        """What comes before a start."""
        return self.call(name, "prepare", domain(name, *uuids))

    def release(self, name: str, *uuids: str) -> Answer:
        """What comes after an end, and after a start that failed."""
        return self.call(name, "release", domain(name, *uuids))

    def done(self, name: str, operation: str, *uuids: str) -> None:
        """Run the hook for such a domain; it must succeed, and say nothing."""
        assert self.call(name, operation, domain(name, *uuids)) == Answer(0, "", "")

    def refused(self, name: str, *uuids: str) -> str:
        """Run the hook before a start, which must fail with one line; returns that."""
        done = self.prepare(name, *uuids)
        assert done.status == 1, done
        assert done.err.startswith("nodedev: ")
        assert done.err.count("\n") == 1
        return done.err.rstrip("\n")

    def kill(self) -> None:
        """End it as kill -9 does: nobody hears of the end of its domains."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, whatever it does."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def libvirtd() -> Iterator[Callable[[Host], Libvirt]]:
    """Starts daemons that end with the test."""
    daemons: list[Libvirt] = []

    def start(host: Host) -> Libvirt:
        daemons.append(Libvirt(host))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.close()


def recorded(host: Host) -> dict[str, list[dict[str, str]]]:
    """The devices that are recorded, by the names of the domains."""
    found = {}
    for path in host.run(["find", RECORDS, "-name", "*.json"], check=False).stdout.split():
        document = json.loads(host.read(path))
        found[document["name"]] = document["devices"]
    return found
