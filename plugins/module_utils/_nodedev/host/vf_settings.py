# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver of a network card is told of its virtual functions: MAC, VLAN, trust, rates; by iproute2.

The names in its JSON are those of print_vfinfo() in its ip/ipaddress.c, those of the options of iplink_parse_vf() in
ip/iplink.c.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .. import programs
from ..errors import BadInput, NodedevError
from ..grammar import checked_mac
from ..plan import UNDO
from ..text import is_number, shown
from ..waiting import anew
from . import pci, sysfs
from .numbers import integer

Values = Mapping[str, Any]
# What functions are to have, by their index.
Settings = tuple[tuple[int, tuple[tuple[str, Any], ...]], ...]
# In the order in which they are set.
KEYS = ("mac", "vlan", "qos", "trust", "spoofchk", "link_state", "min_tx_rate", "max_tx_rate")
LINK_STATES = ("auto", "enable", "disable")
# What is allowed of what is a number.
RANGES = {"vlan": (0, 4094), "qos": (0, 7), "min_tx_rate": (0, 2**31 - 1), "max_tx_rate": (0, 2**31 - 1)}
# Of a VLAN, which nobody can wish: it stays as it is. The common one is left out, as before there were others.
PROTOCOL, COMMON = "proto", "802.1Q"
# What is set together, since the kernel takes it by one message.
TOGETHER = (
    ("mac",),
    ("vlan", "qos", PROTOCOL),
    ("trust",),
    ("spoofchk",),
    ("link_state",),
    ("max_tx_rate", "min_tx_rate"),
)
# As iproute2 calls what it calls otherwise.
WORDS = {"link_state": "state"}
# More functions than the kernel counts.
MOST = 65535
NO_MAC = "00:00:00:00:00:00"
# Seconds for ip, which asks the kernel, and that the card's driver.
PATIENCE = 30.0
# A port of a switchdev card has the interfaces that stand for its functions beside its own.
REPRESENTOR = re.compile(r"(c\d+)?pf\d+(vf|sf)\d+")
MEANINGS = {
    "Operation not supported": "its driver does not offer that",
    "Invalid argument": "its driver does not take that value, or not while the card's own interface is down",
    "Operation not permitted": "root is needed, or its driver does not allow it",
    "Device or resource busy": "its driver is resetting the function: try again",
}


def checked(vfs: object) -> Settings | None:
    """What functions are to have, each part of its grammar, by index; None where nothing is said. Else BadInput."""
    if vfs is None:
        return None
    if not isinstance(vfs, (list, tuple)) or not all(isinstance(each, Mapping) for each in vfs):
        raise BadInput("vfs", vfs, "a list of mappings")
    found = dict(map(_checked_item, vfs))
    if len(found) != len(vfs):
        raise BadInput("vfs", [each["index"] for each in vfs], "each index stands once")
    return tuple(sorted(found.items()))


def _checked_item(item: Mapping[str, Any]) -> tuple[int, tuple[tuple[str, Any], ...]]:
    if {*map(str, item)} - {"index", *KEYS}:
        raise BadInput("vfs", item, f"a function has index, {', '.join(KEYS)}")
    index = item.get("index")
    if not isinstance(index, int) or not is_number(index) or not 0 <= index < MOST:
        raise BadInput("vfs", item, "index is required: the functions are counted from 0")
    values = {key: _checked_value(key, item[key]) for key in KEYS if item.get(key) is not None}
    if 0 < values.get("max_tx_rate", 0) < values.get("min_tx_rate", 0):
        raise BadInput("vfs", item, "min_tx_rate is at most max_tx_rate")
    return index, tuple(values.items())


def _checked_value(key: str, value: object) -> Any:
    option = f"vfs.{key}"
    if key == "mac":
        return checked_mac(option, value)
    if key == "link_state":
        if value not in LINK_STATES:
            raise BadInput(option, value, f"one of {', '.join(LINK_STATES)}")
    elif key in RANGES:
        low, high = RANGES[key]
        if not isinstance(value, int) or not is_number(value) or not low <= value <= high:
            raise BadInput(option, value, f"a number from {low} to {high}")
    elif not isinstance(value, bool):
        raise BadInput(option, value, "true or false")
    return value


def interface_of(function: pci.Function) -> str | None:
    """The network interface by which the driver of a physical function is told; None where it has none."""
    found = pci.interfaces(function.path)
    return next((each for each in found if not _represents(each)), None)


def is_down(interface: str) -> bool:
    """Whether nobody has switched the interface on, where that can be told (IFF_UP)."""
    flags = integer(sysfs.read(f"/sys/class/net/{interface}/flags") or "", 0)
    return flags is not None and not flags & 1


def _represents(interface: str) -> bool:
    try:
        name = sysfs.read(f"/sys/class/net/{interface}/phys_port_name")
    except sysfs.SysfsError:
        # What has no such name answers EOPNOTSUPP.
        return False
    return name is not None and REPRESENTOR.fullmatch(name) is not None


def read(interface: str) -> dict[int, dict[str, Any]]:
    """What each function has, by its index; a key is absent where the driver does not offer it. NodedevError."""
    return parsed(_asked("-json", "-details", "link", "show", "dev", interface))


def parsed(text: str) -> dict[int, dict[str, Any]]:
    """The same of what iproute2 prints; raises NodedevError for what is none of its JSON."""
    try:
        links = json.loads(text)
        return {int(each["vf"]): _values(each) for link in links for each in link.get("vfinfo_list", ())}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NodedevError(f"ip -json link show has printed what is not understood: {shown(error)}") from error


def _values(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of vfinfo_list in our words; a VLAN and a quality of 0 are left out there."""
    vlan = next(iter(entry.get("vlan_list") or ()), entry)
    rate = entry.get("rate")
    found = {
        "mac": entry.get("address"),
        "vlan": vlan.get("vlan", 0),
        "qos": vlan.get("qos", 0),
        PROTOCOL: vlan.get("protocol", COMMON),
        "trust": entry.get("trust"),
        "spoofchk": entry.get("spoofchk"),
        "link_state": entry.get("link_state"),
        "min_tx_rate": None if rate is None else rate.get("min_tx"),
        "max_tx_rate": entry.get("tx_rate", 0) if rate is None else rate.get("max_tx"),
    }
    return {key: value for key, value in found.items() if value is not None and _fits(key, value)}


def _fits(key: str, value: object) -> bool:
    if key in ("trust", "spoofchk"):
        return isinstance(value, bool)
    return isinstance(value, str) if key in ("mac", "link_state", PROTOCOL) else is_number(value)


def change(interface: str, index: int, values: Values) -> None:
    """Have the function of this index have these values.

    Raises NodedevError where the driver does not offer one or does not take it, with all as it was.
    """
    before = read(interface).get(index)
    if before is None:
        raise NodedevError(f"{shown(interface)} does not tell of virtual function {index}")
    lacking = [key for key in values if key not in before]
    if lacking:
        raise NodedevError(f"the driver of {shown(interface)} does not offer {', '.join(lacking)}")
    done: list[str] = []
    for keys in TOGETHER:
        if not set(keys) & set(values):
            continue
        try:
            _tell(interface, index, keys, {**before, **values})
        except NodedevError as error:
            raise NodedevError(f"{error}; {_taken_back(interface, index, done, before)}") from error
        done += keys


def put_back(interface: str, index: int, values: Values) -> None:
    """Have a function that is made again what it had, as far as that is not what it has."""
    now = read(interface).get(index, {})
    unlike = {key: value for key, value in values.items() if key in now and now[key] != value}
    if unlike.get("mac") == NO_MAC:
        # None was given; a driver that makes one up has made up another.
        del unlike["mac"]
    if unlike:
        change(interface, index, unlike)


def _tell(interface: str, index: int, keys: Sequence[str], values: Values) -> None:
    """Say what stands together; what the driver does not offer is left out."""
    told = [key for key in keys if key in values and values[key] != COMMON]
    words = [each for key in told for each in (WORDS.get(key, key), word(values[key]))]
    _asked("link", "set", "dev", interface, "vf", str(index), *words)


def _taken_back(interface: str, index: int, done: Sequence[str], before: Values) -> str:
    with anew(UNDO):
        try:
            for keys in TOGETHER:
                if set(keys) & set(done):
                    _tell(interface, index, keys, before)
        except NodedevError as error:
            return f"what was set before it could not be set back: {error}"
    return "what was set before it was set back"


def word(value: object) -> str:
    """A value as iproute2 takes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _asked(*arguments: str) -> str:
    tool = programs.find("ip")
    if tool is None:
        raise NodedevError("iproute2 is not installed, which tells a network card of its virtual functions")
    answer = programs.run([tool, *arguments], PATIENCE)
    if answer.status != 0:
        said = shown(answer.errors.strip() or f"exit status {answer.status}")
        meaning = next((f": {text}" for words, text in MEANINGS.items() if words in said), "")
        raise NodedevError(f"ip {shown(' '.join(arguments))} has failed ({said}){meaning}")
    return answer.output
