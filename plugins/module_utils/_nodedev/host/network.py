# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host itself does with its network interfaces: addresses, routes, and what is built upon them.

By iproute2, whose JSON has them all (ip-address(8), ip-route(8)); the files below /proc show the main table alone.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import programs
from ..errors import NodedevError
from ..store import files
from ..text import shown
from . import sysfs
from .processes import PROC

CLASS = "/sys/class/net"
# Seconds for ip, which asks the kernel alone.
PATIENCE = 10.0
UPPER = "upper_"
# Routes that come by themselves with an interface or an address.
AUTOMATIC = ("local", "broadcast", "anycast", "multicast")
LINK_LOCAL = ("fe80::/64", "fe80::/10", "ff00::/8", "169.254.0.0/16")
# How many processes lie between this one and the one of sshd at most: a shell, sudo, a shell, Python.
ANCESTORS = 32
PARENT = re.compile(r"^PPid:\s*([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Network:
    """One look at the host's addresses and routes.

    ``addresses`` and ``routes`` are by interface, ``defaults`` the interfaces of default routes, ``ssh`` the address
    at which this run came in, if it did. ``doubt`` says why nothing of this could be seen, None where it could.
    """

    addresses: dict[str, tuple[str, ...]]
    routes: dict[str, tuple[str, ...]]
    defaults: frozenset[str]
    ssh: str | None
    doubt: str | None = None


def look() -> Network:
    """Look at all of it, once."""
    try:
        links, routes = _asked("address", "show"), [*_routes("-4"), *_routes("-6")]
    except NodedevError as error:
        return Network({}, {}, frozenset(), None, str(error))
    addresses: dict[str, tuple[str, ...]] = {}
    for link in links:
        own = [each.get("local") for each in link.get("addr_info", ()) if each.get("scope") != "host"]
        addresses[str(link.get("ifname"))] = tuple(str(address) for address in own if address)
    ways: dict[str, tuple[str, ...]] = {}
    defaults = set()
    for route in routes:
        for interface in _interfaces(route):
            if route.get("dst") == "default":
                defaults.add(interface)
            elif route.get("type") not in AUTOMATIC and route.get("dst") not in LINK_LOCAL:
                ways[interface] = (*ways.get(interface, ()), str(route.get("dst")))
    return Network(addresses, ways, frozenset(defaults), _ssh_address())


def _routes(family: str) -> list[dict[str, Any]]:
    return _asked(family, "route", "show", "table", "all")


def _interfaces(route: dict[str, Any]) -> Iterator[str]:
    """The interfaces of a route, of which one with several ways has several."""
    for way in (route, *route.get("nexthops", ())):
        if isinstance(way.get("dev"), str):
            yield way["dev"]


def _asked(*arguments: str) -> list[dict[str, Any]]:
    tool = programs.find("ip")
    if tool is None:
        raise NodedevError("ip of iproute2 is not installed")
    answer = programs.run([tool, "-json", *arguments], PATIENCE)
    if answer.status != 0:
        # So it answers where the kernel has no such family.
        if "-6" in arguments:
            return []
        raise NodedevError(f"ip {' '.join(arguments)} failed: {shown(answer.errors.strip())}")
    try:
        found = files.json_value(answer.output) if answer.output.strip() else []
    except ValueError as error:
        # With a routing table of the whole internet there is more than is read.
        raise NodedevError(f"ip {' '.join(arguments)} has printed what is not understood: {shown(error)}") from error
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def uses(interface: str, network: Network) -> list[str]:
    """What the host does with an interface, and with what is built upon it, in words."""
    return [*_uses(interface, network, interface, set())]


def _uses(interface: str, network: Network, own: str, seen: set[str]) -> Iterator[str]:
    if interface in seen:
        return
    seen.add(interface)
    what = f"its interface {shown(own)}" if interface == own else f"{shown(interface)} upon its interface {shown(own)}"
    addresses = network.addresses.get(interface, ())
    if network.doubt is not None:
        yield f"what {what} is used for cannot be seen: {network.doubt}"
        return
    if interface in network.defaults:
        yield f"{what} has the default route"
    if network.ssh is not None and network.ssh in addresses:
        yield f"{what} has the address of this ssh connection, {network.ssh}"
    told = [address for address in addresses if not _is_link_local(address)]
    if told:
        yield f"{what} has the address {', '.join(map(shown, told))}"
    elif network.routes.get(interface):
        yield f"{what} has the route {', '.join(map(shown, network.routes[interface]))}"
    for name in sysfs.names(f"{CLASS}/{interface}"):
        if name.startswith(UPPER):
            upper = name[len(UPPER) :]
            yield f"{what} is part of {shown(upper)}"
            yield from _uses(upper, network, own, seen)


def _is_link_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_link_local
    except ValueError:
        return False


def _ssh_address() -> str | None:
    """The host's own address in the ssh connection that this run belongs to; None where it came another way.

    sudo leaves the variable out, so those are asked that started it.
    """
    pid = os.getpid()
    for _generation in range(ANCESTORS):
        words = _environment(pid).get("SSH_CONNECTION", "").split()
        if len(words) == 4:
            return words[2].partition("%")[0]
        found = PARENT.search(_text(pid, "status"))
        if found is None or int(found[1]) == 0:
            return None
        pid = int(found[1])
    return None


def _environment(pid: int) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in _text(pid, "environ").split("\0"))
    return {name: value for name, _sign, value in pairs}


def _text(pid: int, name: str) -> str:
    try:
        with open(f"{PROC}/{pid}/{name}", "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
