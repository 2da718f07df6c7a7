# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of a simulated host: nodedev-events on it, and ansible-rulebook with the event source of the collection."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, ROOT, UUID, Host, running
from plays import play
from test_restore import ENGINE, install

FORWARD = """
import sys
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.forward import main
sys.exit(main())
"""
NAME = f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"
PARENT = "pci_0000_3d_00_0"
# What says nothing of the device: its parent's types have another number of free instances.
PASSING = ("changed", PARENT)


class Events:
    """What nodedev-events prints on a host."""

    def __init__(self, host: Host, *arguments: str) -> None:
        command = [host.python, "-u", "-c", FORWARD, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = host.popen(command, **pipes, text=True, env=host.environment)
        assert self._process.stderr is not None
        assert "listens" in self._process.stderr.readline()

    def next(self, count: int) -> list[dict[str, Any]]:
        """The next events but those in passing, as many as are awaited."""
        assert self._process.stdout is not None
        found: list[dict[str, Any]] = []
        while len(found) < count:
            line = self._process.stdout.readline()
            assert line, self._process.communicate()[1]
            event = json.loads(line)
            if (event["event"], event["name"]) != PASSING:
                found.append(event)
        return found

    def end(self) -> None:
        self._process.terminate()
        self._process.communicate()


@pytest.fixture
def events(host: Host) -> Iterator[Events]:
    found = Events(host)
    yield found
    found.end()


def words(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((each["event"], each["what"], each["name"]) for each in events)


def test_the_life_of_a_device(host: Host, events: Events) -> None:
    host.mdev()
    assert words(events.next(2)) == [("created", "device", NAME), ("defined", "definition", NAME)]
    host.mdev(state="inactive")
    [gone] = events.next(1)
    assert (gone["event"], gone["name"], gone["kind"]) == ("deleted", NAME, "mdev")
    assert gone["definition"]["parent_addr"] == CARD
    assert gone["host"] == host.run(["hostname"]).stdout.strip()
    host.mdev(state="absent")
    assert words(events.next(1)) == [("undefined", "definition", NAME)]


def test_crypto_queues_have_no_name(start: Callable[..., Host]) -> None:
    host = start("ap")
    told = Events(host)
    try:
        host.done("ap_mask", adapters=[5])
        defined = next(each for each in iter(lambda: told.next(1)[0], None) if each["what"] == "definition")
    finally:
        told.end()
    assert (defined["event"], defined["kind"], defined["name"]) == ("defined", "ap_mask", None)
    assert defined["definition"]["adapters"] == [5]
    # A look begins with what is defined already.
    Events(host).end()


# How often a device goes, the seconds for which it is there before, and those in which it has to be back.
COMMAND, UNIT = "/usr/sbin/nodedev-events", "/etc/systemd/system/nodedev-events.service"
TRIES, SEEN, PATIENCE = 6, 4.0, 20.0
ROLE = """
- hosts: all
  gather_facts: false
  roles: [hostdev.nodedev.persistence]
"""
RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "restore_vanished.yml"
PROGRAMS = ROOT / ".venv-rulebook" / "bin"


def test_a_rulebook_puts_back_what_has_gone(host: Host, tmp_path: Path) -> None:
    """The real ansible-rulebook, on the host itself, by the rulebook that comes with the collection."""
    install(host)
    # ansible-runner asks for a terminal of its own.
    own = "mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx"
    host.run(["sh", "-c", own])
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}))
    path = f"{PROGRAMS}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"), "HOME": "/root"}
    command = [str(PROGRAMS / "ansible-rulebook"), "--rulebook", str(RULEBOOK), "--inventory", str(inventory), "-v"]
    log = tmp_path / "rulebook.log"
    with log.open("w") as output:
        rulebook = host.popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            # It does not tell when it listens: what goes before that is not put back, and goes once more.
            for _try in range(TRIES):
                host.mdev()
                # What comes and goes between two looks is not told.
                time.sleep(SEEN)
                host.run(["sh", "-c", f"echo 1 > /sys/bus/mdev/devices/{UUID}/remove"])
                deadline = time.monotonic() + PATIENCE
                while running(host) == [] and time.monotonic() < deadline:
                    time.sleep(0.5)
                if running(host):
                    break
        finally:
            rulebook.terminate()
            rulebook.wait()
    assert running(host) == [UUID], log.read_text()


# Takes events on the host itself, and prints each; it refuses the first one.
RECEIVER = """
import http.server, json, sys

class Receiver(http.server.BaseHTTPRequestHandler):
    refused = False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 200 if Receiver.refused else 503
        Receiver.refused = True
        if status == 200:
            print(json.dumps([body["event"], body["name"], self.headers["Authorization"]]), flush=True)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", 5000), Receiver).serve_forever()
"""


def test_events_are_sent_again_until_they_are_taken(host: Host, tmp_path: Path) -> None:
    host.run(["ip", "link", "set", "lo", "up"])
    host.write("/etc/token", "secret\n")
    receiver = host.popen([host.python, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    sent = Events(host, "--post", "http://127.0.0.1:5000/nodedev", "--token-file", "/etc/token")
    try:
        host.mdev(persistent=False)
        taken = [json.loads(receiver.stdout.readline()) for _try in range(2)]
    finally:
        sent.end()
        receiver.terminate()
        receiver.communicate()
    assert taken == [["created", NAME, "Bearer secret"], [*PASSING, "Bearer secret"]]


def test_the_role_sends_them(host: Host, tmp_path: Path) -> None:
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)
    there = {
        "persistence_events_post": "https://eda.example.com:5000/a%20b",
        "persistence_events_token_file": "/etc/token",
    }
    foretold = play(host, playbook, tmp_path, "--check", "--diff", **there)
    assert "nodedev-events" in foretold
    play(host, playbook, tmp_path, **there)
    assert '--post "https://eda.example.com:5000/a%%20b" --token-file "/etc/token"\n' in host.read(UNIT)
    assert host.run([COMMAND, "--help"]).stdout.startswith("usage: nodedev-events")
    assert "changed=0" in play(host, playbook, tmp_path, **there)
    play(host, playbook, tmp_path)
    assert host.run(["ls", UNIT, COMMAND], check=False).returncode == 2


# As systemd answers where the unit runs; what is restarted is written down.
SYSTEMCTL = """#!/bin/sh
case "$1" in
    show) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\n' ;;
    restart) echo "$2" >> /run/restarted ;;
    *) exec /usr/bin/systemctl.real "$@" ;;
esac
"""


def test_it_runs_on_with_another_library(host: Host, tmp_path: Path) -> None:
    """It loads what it needs when it needs it: of the release that it has begun with, or not at all."""
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)
    there = {"persistence_events_post": "https://eda.example.com:5000/nodedev"}
    play(host, playbook, tmp_path, **there)
    host.run(["mkdir", "-p", "/run/systemd/system"])
    host.run(["mv", "/usr/bin/systemctl", "/usr/bin/systemctl.real"])
    host.run(["install", "-m", "755", "/dev/stdin", "/usr/bin/systemctl"], input=SYSTEMCTL)
    assert "changed=0" in play(host, playbook, tmp_path, **there)
    host.run(["sh", "-c", f"echo >> {ENGINE}/nodedev/boot/forward.py"])
    play(host, playbook, tmp_path, **there)
    assert host.read("/run/restarted") == "nodedev-events.service\n"
