# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's network as the program `ip` shows and changes it: interfaces of the simulation, and settings of VFs.

The interfaces are the devices of the class net; the scenario's key `network` gives them `addresses`, `routes` and more
keys of a link (`links`), and says what the driver of a physical function does not offer for its VFs (`not_offered`).
What is kept for a VF by its physical function ends with the VF. Names of keys and messages are those of iproute2.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from simhost.devices import Device
from simhost.programs import Outcome
from simhost.tree import Attribute, Directory

if TYPE_CHECKING:
    from simhost.host import Host

SETTINGS = ("mac", "vlan", "rate", "spoofchk", "state", "query_rss", "trust")
_KEYS = {"addresses", "routes", "links", "not_offered"}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NONE = "00:00:00:00:00:00"
_BROADCAST = "ff:ff:ff:ff:ff:ff"
_OBJECTS = ("link", "address", "route")
_STATES = ("auto", "enable", "disable")
_PROTOCOLS = ("802.1Q", "802.1ad")
_VLANS = 4095
_PRIORITIES = 7
_LOOPBACK = {
    "ifindex": 1,
    "ifname": "lo",
    "flags": ["LOOPBACK", "UP", "LOWER_UP"],
    "mtu": 65536,
    "qdisc": "noqueue",
    "operstate": "UNKNOWN",
    "linkmode": "DEFAULT",
    "group": "default",
    "txqlen": 1000,
    "link_type": "loopback",
    "address": _NONE,
    "broadcast": _NONE,
}


class Refused(Exception):
    """The program ends with this text on standard error and this status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def _wrong(word: str, text: str) -> Refused:
    return Refused(f'Error: argument "{word}" is wrong: {text}\n', 255)


def _netlink(number: int) -> Refused:
    return Refused(f"RTNETLINK answers: {os.strerror(number)}\n", 2)


@dataclass(frozen=True)
class VfSettings:
    """What a physical function's driver keeps for one VF."""

    mac: str = _NONE
    vlan: tuple[int, int, str] = (0, 0, "802.1Q")
    rate: tuple[int, int] = (0, 0)
    spoofchk: bool = True
    state: str = "auto"
    query_rss: bool = False
    trust: bool = False

    def shown(self, index: int, not_offered: set[str]) -> dict[str, Any]:
        """The VF's object in vfinfo_list."""
        vlan, qos, protocol = self.vlan
        low, high = self.rate
        numbers: dict[str, Any] = {key: value for key, value in (("vlan", vlan), ("qos", qos)) if value}
        if protocol != _PROTOCOLS[0]:
            numbers["protocol"] = protocol
        result = {"vf": index, "link_type": "ether", "address": self.mac, "broadcast": _BROADCAST}
        result["vlan_list"] = [numbers]
        if high:
            result["tx_rate"] = high
        result["rate"] = {"max_tx": high, "min_tx": low}
        # A driver that has no such setting leaves it out.
        if "spoofchk" not in not_offered:
            result["spoofchk"] = self.spoofchk
        result["link_state"] = self.state
        if "trust" not in not_offered:
            result["trust"] = self.trust
        if "query_rss" not in not_offered:
            result["query_rss_en"] = self.query_rss
        return result


@dataclass
class _Options:
    """What stands before the object."""

    json: bool = False
    details: bool = False
    family: str = ""
    words: list[str] = field(default_factory=list)


class Network:
    """One boot's network."""

    def __init__(self, host: Host, declared: Mapping[str, Any] | None) -> None:
        given = declared or {}
        unknown = sorted(set(given) - _KEYS)
        if unknown:
            raise ValueError(f"network: unknown key {', '.join(unknown)}: use {', '.join(sorted(_KEYS))}")
        self._host = host
        self._addresses = {str(name): list(texts) for name, texts in (given.get("addresses") or {}).items()}
        self._routes = [dict(route) for route in given.get("routes") or ()]
        self._links = {str(name): dict(more) for name, more in (given.get("links") or {}).items()}
        self._not_offered = {str(name): set(keys) for name, keys in (given.get("not_offered") or {}).items()}
        self._settings: dict[tuple[str, int], VfSettings] = {}
        for name, keys in self._not_offered.items():
            if not keys <= {*SETTINGS, "min_tx_rate"}:
                raise ValueError(f"network: not_offered of {name}: use {', '.join(SETTINGS)} and min_tx_rate")

    # ---- what the simulation tells and asks ----------------------------------------------------------------------

    def lost(self, device: Device) -> None:
        """An interface has gone, with its addresses and routes."""
        self._addresses.pop(device.name, None)
        self._routes = [route for route in self._routes if route.get("dev") != device.name]

    def forget(self, physical: Device) -> None:
        """The VFs of this function have gone."""
        for key in [key for key in self._settings if key[0] == physical.path]:
            del self._settings[key]

    def as_set(self, function: Device, child: Device) -> Device:
        """What a driver makes below `function`: the interface of a VF has the address that was set for it."""
        vf = self._host.binding.vfs.get(function.path)
        if vf is None or child.class_ != "net":
            return child
        mac = self._settings.get((vf.physical.path, vf.index), VfSettings()).mac
        return child if mac == _NONE else replace(child, attributes={**child.attributes, "address": mac})

    # ---- ip ------------------------------------------------------------------------------------------------------

    def ip(self, arguments: list[str]) -> Outcome:
        """The program ip, as far as the simulation has it."""
        try:
            with self._host.lock:
                return Outcome(out=self._run(_options(arguments)))
        except Refused as refused:
            return Outcome(refused.status, err=str(refused))

    def _run(self, options: _Options) -> str:
        words = options.words
        if not words:
            raise Refused("Usage: ip [ OPTIONS ] OBJECT COMMAND\n", 255)
        kind = next((name for name in _OBJECTS if name.startswith(words[0])), None)
        command = words[1] if len(words) > 1 else "show"
        rest = words[2:]
        if kind == "link" and "set".startswith(command):
            self._set(rest)
            return ""
        if kind is None or not any(name.startswith(command) for name in ("show", "list", "lst")):
            raise Refused(f"simhost: ip {' '.join(words)} is not simulated\n", 255)
        if kind == "route":
            return _printed(self._shown_routes(options, rest), options)
        return _printed(self._shown_links(kind, options, rest), options)

    def _interfaces(self) -> Iterator[str]:
        """The paths of the interfaces that show."""
        tree = self._host.tree
        listed = tree.nodes.get("/sys/class/net")
        for name in list(listed.children) if isinstance(listed, Directory) else []:
            try:
                path = tree.resolve(f"/sys/class/net/{name}")
            except OSError:
                continue
            yield path

    def _attribute(self, path: str, name: str, default: str) -> str:
        node = self._host.tree.nodes.get(f"{path}/{name}")
        return node.show().decode().strip() if isinstance(node, Attribute) else default

    def _interface(self, name: str) -> str:
        for path in self._interfaces():
            if path.rpartition("/")[2] == name:
                return path
        raise Refused(f'Cannot find device "{name}"\n', 1)

    def _link(self, path: str, details: bool) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        state = self._attribute(path, "operstate", "down").upper()
        index = self._attribute(path, "ifindex", "0")
        result: dict[str, Any] = {
            "ifindex": int(index),
            "ifname": name,
            "flags": ["BROADCAST", "MULTICAST", *(["UP", "LOWER_UP"] if state == "UP" else [])],
            "mtu": int(self._attribute(path, "mtu", "1500")),
            "qdisc": "mq" if state == "UP" else "noop",
            "operstate": state,
            "linkmode": "DEFAULT",
            "group": "default",
            "txqlen": 1000,
            "link_type": "ether",
            "address": self._attribute(path, "address", _NONE),
            "broadcast": _BROADCAST,
            **self._links.get(name, {}),
        }
        function = self._host.binding.function_above(path)
        if details and function is not None:
            result.update(parentbus=str(function.bus), parentdev=function.name)
        return result

    def _vf_count(self, path: str) -> tuple[Device, int] | None:
        """The physical function of an interface and the number of its VFs; None for all others."""
        function = self._host.binding.function_above(path)
        if function is None or not self._host.tree.exists(f"{function.path}/sriov_numvfs"):
            return None
        count = sum(1 for vf in self._host.binding.vfs.values() if vf.physical is function)
        return function, count

    def _shown_links(self, kind: str, options: _Options, words: list[str]) -> list[dict[str, Any]]:
        names = [word for word in words if word not in ("dev", "up")]
        paths = [self._interface(names[0])] if names and names[0] != "lo" else list(self._interfaces())
        links = [] if names and names[0] != "lo" else [dict(_LOOPBACK)]
        if not names or names[0] != "lo":
            for path in paths:
                link = self._link(path, options.details)
                physical = self._vf_count(path)
                if physical is not None and (kind == "link" or options.details):
                    link["vfinfo_list"] = self._vfs(link["ifname"], *physical)
                links.append(link)
        if kind == "address":
            for link in links:
                link.pop("linkmode", None)
                link["addr_info"] = self._shown_addresses(str(link["ifname"]), options.family)
        return links

    def _vfs(self, name: str, physical: Device, count: int) -> list[dict[str, Any]]:
        hidden = self._not_offered.get(name, set())
        return [self._settings.get((physical.path, index), VfSettings()).shown(index, hidden) for index in range(count)]

    def _shown_addresses(self, name: str, family: str) -> list[dict[str, Any]]:
        texts = ["127.0.0.1/8", "::1/128"] if name == "lo" else self._addresses.get(name, [])
        result = []
        for text in texts:
            local, _slash, length = text.partition("/")
            kind = "inet6" if ":" in local else "inet"
            if family not in ("", kind):
                continue
            scope = "host" if name == "lo" else "link" if local.startswith("fe80:") else "global"
            entry: dict[str, Any] = {"family": kind, "local": local, "prefixlen": int(length), "scope": scope}
            if kind == "inet":
                entry["label"] = name
            result.append({**entry, "valid_life_time": 4294967295, "preferred_life_time": 4294967295})
        return result

    def _shown_routes(self, options: _Options, words: list[str]) -> list[dict[str, Any]]:
        everything = words[:2] == ["table", "all"]
        if everything:
            words = words[2:]
        family = options.family or ("" if everything else "inet")
        found = []
        for route in self._routes:
            kind = "inet6" if ":" in f"{route['dst']}{route.get('gateway', '')}" else "inet"
            if family in ("", kind) and (everything or route.get("table", "main") == "main"):
                found.append({**route, "flags": route.get("flags", [])})
        if words[:1] == ["default"]:
            found = [route for route in found if route["dst"] == "default"]
        if "dev" in words:
            found = [route for route in found if route.get("dev") == words[words.index("dev") + 1]]
        return found

    # ---- ip link set ---------------------------------------------------------------------------------------------

    def _set(self, words: list[str]) -> None:
        words = words[1:] if words[:1] == ["dev"] else words
        if len(words) < 2:
            raise Refused('Not enough information: "dev" argument is required.\n', 255)
        path = self._interface(words[0])
        if words[1:] in (["up"], ["down"]):
            node = self._host.tree.nodes.get(f"{path}/operstate")
            if isinstance(node, Attribute):
                node.content = f"{words[1]}\n".encode()
            return
        if words[1] != "vf" or len(words) < 4:
            raise Refused(f"simhost: ip link set {' '.join(words)} is not simulated\n", 255)
        index = _number(words[2], "vf")
        physical = self._vf_count(path)
        wanted = self._wanted(words[3:], path, index)
        for key, value in sorted(wanted.items(), key=lambda item: SETTINGS.index(item[0])):
            self._apply(words[0], physical, index, key, value)

    def _wanted(self, words: list[str], path: str, index: int) -> dict[str, Any]:
        """The settings that the words ask for, as ip reads them before it asks the kernel."""
        physical = self._vf_count(path)
        key = (physical[0].path if physical else "", index)
        low, high = self._settings.get(key, VfSettings()).rate
        wanted: dict[str, Any] = {}
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if not rest:
                raise Refused('Command line is not complete. Try option "help"\n', 255)
            value = rest.pop(0)
            if word == "mac":
                wanted["mac"] = _mac(value)
            elif word == "vlan":
                wanted["vlan"] = _vlan(value, rest)
            elif word in ("max_tx_rate", "min_tx_rate"):
                number = _number(value, word.replace("_", " "))
                low, high = (number, high) if word == "min_tx_rate" else (low, number)
                wanted["rate"] = (low, high)
            elif word in ("spoofchk", "query_rss", "trust"):
                if value not in ("on", "off"):
                    raise Refused(f'Error: argument of "{word}" must be one of "on, off", not "{value}"\n', 1)
                wanted[word] = value == "on"
            elif word == "state":
                if value not in _STATES:
                    raise _wrong(value, 'Invalid "state" value\n')
                wanted["state"] = value
            else:
                raise _wrong(word, "unknown")
        if "rate" in wanted and high and low > high:
            raise Refused(f"Invalid min_tx_rate {low} - must be <= max_tx_rate {high}\n", 1)
        return wanted

    def _apply(self, name: str, physical: tuple[Device, int] | None, index: int, key: str, value: Any) -> None:
        effect = self._host.faults.hit("write", f"/netlink/{name}/vf{index}/{key}")
        self._host.linger(effect.delay)
        if effect.errno is not None:
            raise _netlink(effect.errno)
        hidden = self._not_offered.get(name, set())
        if physical is None or key in hidden or (key == "rate" and value[0] and "min_tx_rate" in hidden):
            raise _netlink(errno.EOPNOTSUPP)
        function, count = physical
        if index >= count or not _valid(key, value):
            raise _netlink(errno.EINVAL)
        place = (function.path, index)
        self._settings[place] = replace(self._settings.get(place, VfSettings()), **{key: value})


def _options(arguments: list[str]) -> _Options:
    result = _Options()
    words = list(arguments)
    while words and words[0].startswith("-"):
        option = f"-{words.pop(0).lstrip('-')}"
        if option == "-4":
            result.family = "inet"
        elif option == "-6":
            result.family = "inet6"
        elif len(option) > 1 and "-json".startswith(option):
            result.json = True
        elif len(option) > 1 and "-details".startswith(option):
            result.details = True
        elif option in ("-f", "-family"):
            result.family = words.pop(0)
        elif option not in ("-o", "-oneline", "-p", "-pretty", "-s", "-stats", "-statistics", "-N", "-Numeric"):
            raise Refused(f'Option "{option}" is unknown, try "ip -help".\n', 255)
    result.words = words
    return result


def _printed(items: list[dict[str, Any]], options: _Options) -> str:
    """JSON, or for a person who looks one line an item."""
    if options.json:
        return json.dumps(items, separators=(",", ":")) + "\n"
    return "".join(" ".join(f"{key} {value}" for key, value in item.items()) + "\n" for item in items)


def _number(word: str, name: str) -> int:
    try:
        value = int(word, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFFFFFFFF:
        raise _wrong(word, f'Invalid "{name}" value\n')
    return value


def _mac(word: str) -> str:
    if not _MAC.fullmatch(word.lower()):
        raise Refused(f'"{word}" is invalid lladdr.\n', 1)
    return word.lower()


def _vlan(word: str, rest: list[str]) -> tuple[int, int, str]:
    """VLAN, priority and protocol; the words that belong to it are taken from `rest`."""
    number, qos, protocol = _number(word, "vlan"), 0, _PROTOCOLS[0]
    if number > _VLANS:
        raise _wrong(word, 'Invalid "vlan" value\n')
    while len(rest) > 1 and rest[0] in ("qos", "proto"):
        key, value = rest.pop(0), rest.pop(0)
        if key == "qos":
            qos = _number(value, "qos")
        else:
            found = next((name for name in _PROTOCOLS if name.lower() == value.lower()), None)
            if found is None:
                raise _wrong(value, "protocol is invalid\n")
            protocol = found
    return number, qos, protocol


def _valid(key: str, value: Any) -> bool:
    """What every driver checks."""
    if key == "mac":
        return not int(value[:2], 16) & 1
    if key == "vlan":
        return bool(value[1] <= _PRIORITIES)
    return True
