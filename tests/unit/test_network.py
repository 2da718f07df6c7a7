# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host does with an interface, by what iproute2 prints and what is built upon the interface."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import programs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import network

ADDRESS = {"family": "inet", "local": "192.0.2.10", "prefixlen": 24, "scope": "global"}
OWN = {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}
DEFAULT = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "protocol": "dhcp"}
LOCAL = {"type": "local", "dst": "192.0.2.10", "dev": "eth0", "table": "local"}
ROUTE = {"dst": "198.51.100.0/24", "dev": "eth0"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(programs, "FOLDERS", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(network, "CLASS", str(tmp_path / "net"))
    monkeypatch.setenv("SSH_CONNECTION", "")
    return Host(tmp_path)


class Host:
    """A host with an ip that answers what it is told, and with interfaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def says(self, addresses: list[Any], routes: list[Any], six: list[Any] | None = None, status: int = 0) -> None:
        for name, value in {"address": addresses, "-4": routes, "-6": six or []}.items():
            (self.folder / f"{name}.json").write_text(json.dumps(value))
        script = self.folder / "ip"
        script.write_text(f'#!/bin/sh\ncat "{self.folder}/$2.json"; exit {status}\n')
        script.chmod(0o755)

    def builds(self, upper: str, lower: str) -> None:
        for name in (upper, lower):
            (self.folder / "net" / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "net" / lower / f"upper_{upper}").symlink_to("x")


def interface(name: str, *addresses: dict[str, Any]) -> dict[str, Any]:
    return {"ifname": name, "addr_info": [*addresses]}


CASES: list[tuple[str, list[Any], list[Any], list[str]]] = [
    ("nothing", [interface("eth0")], [], []),
    ("an address that comes by itself", [interface("eth0", OWN)], [LOCAL, {"dst": "fe80::/64", "dev": "eth0"}], []),
    ("an address", [interface("eth0", ADDRESS, OWN)], [], ["its interface eth0 has the address 192.0.2.10"]),
    ("a route", [interface("eth0")], [ROUTE], ["its interface eth0 has the route 198.51.100.0/24"]),
    (
        "the default route",
        [interface("eth0", ADDRESS)],
        [DEFAULT, LOCAL],
        ["its interface eth0 has the default route", "its interface eth0 has the address 192.0.2.10"],
    ),
    (
        "one of several ways",
        [interface("eth0")],
        [{"dst": "default", "nexthops": [{"dev": "eth1"}, {"dev": "eth0"}]}],
        ["its interface eth0 has the default route"],
    ),
    ("another interface's", [interface("eth1", ADDRESS)], [{**DEFAULT, "dev": "eth1"}], []),
    ("nonsense", [{}, {"ifname": 7}, "x"], [None, {"dst": 1, "dev": 2}], []),
]


@pytest.mark.parametrize(("addresses", "routes", "uses"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_an_interface_is_used_for(host: Host, addresses: list[Any], routes: list[Any], uses: list[str]) -> None:
    host.says(addresses, routes)
    assert network.uses("eth0", network.look()) == uses


def test_what_is_built_upon_it(host: Host) -> None:
    host.says([interface("eth0"), interface("bond0"), interface("bond0.7", ADDRESS)], [{**DEFAULT, "dev": "bond0.7"}])
    host.builds("bond0", "eth0")
    host.builds("bond0.7", "bond0")
    host.builds("eth0", "bond0.7")
    assert network.uses("eth0", network.look()) == [
        "its interface eth0 is part of bond0",
        "bond0 upon its interface eth0 is part of bond0.7",
        "bond0.7 upon its interface eth0 has the default route",
        "bond0.7 upon its interface eth0 has the address 192.0.2.10",
        "bond0.7 upon its interface eth0 is part of eth0",
    ]


def test_this_ssh_connection(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the environment of whoever started this, since sudo leaves the variable out."""
    parent = str(os.getppid())
    for pid, text in ((str(os.getpid()), ""), (parent, "SSH_CONNECTION=203.0.113.9 1234 192.0.2.10 22")):
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "environ").write_text(f"A=b\0{text}\0")
        (tmp_path / "proc" / pid / "status").write_text(f"Name:\tsh\nPPid:\t{parent}\n")
    monkeypatch.setattr(network, "PROC", str(tmp_path / "proc"))
    host.says([interface("eth0", ADDRESS)], [])
    assert network.uses("eth0", network.look())[0] == (
        "its interface eth0 has the address of this ssh connection, 192.0.2.10"
    )


UNSEEN = "what its interface eth0 is used for cannot be seen: "
DOUBTS = [
    ("not installed", None, [], "ip of iproute2 is not installed"),
    ("failed", 2, [], "ip address show failed: "),
    ("more than is read", 0, [DEFAULT] * 100, "ip -4 route show table all has printed what is not understood: "),
]


@pytest.mark.parametrize(("status", "routes", "why"), [case[1:] for case in DOUBTS], ids=[case[0] for case in DOUBTS])
def test_what_cannot_be_seen_is_a_use(
    host: Host, monkeypatch: pytest.MonkeyPatch, status: int | None, routes: list[Any], why: str
) -> None:
    monkeypatch.setattr(programs, "LARGEST", 1000)
    if status is None:
        monkeypatch.setattr(programs, "FOLDERS", str(host.folder))
    else:
        host.says([], routes, status=status)
    (use,) = network.uses("eth0", network.look())
    assert use.startswith(f"{UNSEEN}{why}")


def test_a_kernel_without_the_newer_protocol(host: Host) -> None:
    host.says([interface("eth0", ADDRESS)], [])
    (host.folder / "ip").write_text(f'#!/bin/sh\ncat "{host.folder}/$2.json"; test "$2" != -6\n')
    assert network.uses("eth0", network.look()) == ["its interface eth0 has the address 192.0.2.10"]
