# SPDX-License-Identifier: GPL-3.0-or-later
"""A device as a scenario declares it or a driver makes it, and the entries that it has in the tree."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simhost.faults import errno_number
from simhost.tree import Attribute, Directory, Show, Store, Tree, failure

_DECLARED_KEYS = {"text", "raw", "hex", "errno", "mode", "store", "size"}

_ACTIONS = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")


@dataclass
class Device:
    """A device directory. `bus` or `class_` names the subsystem; neither: a bare directory with a uevent file."""

    path: str
    bus: str | None = None
    class_: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    uevent: dict[str, str] = field(default_factory=dict)
    udev: dict[str, str] = field(default_factory=dict)
    devlinks: list[str] = field(default_factory=list)
    driver: str | None = None
    iommu_group: int | str | None = None
    node: Mapping[str, Any] | None = None
    behaviour: dict[str, dict[str, Any]] = field(default_factory=dict)
    dynamic: dict[str, tuple[Show | None, Store | None]] = field(default_factory=dict)
    slaves: list[str] = field(default_factory=list)
    of_driver: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def subsystem(self) -> str | None:
        return self.bus or self.class_

    @property
    def subsystem_path(self) -> str:
        return f"/sys/bus/{self.bus}" if self.bus else f"/sys/class/{self.class_}"

    @property
    def index_path(self) -> str:
        """Where the subsystem lists the device."""
        return f"{self.subsystem_path}/devices/{self.name}" if self.bus else f"{self.subsystem_path}/{self.name}"

    @property
    def is_disk(self) -> bool:
        """Whether /sys/block lists it too."""
        return self.class_ == "block" and self.uevent.get("DEVTYPE") == "disk"

    def properties(self) -> dict[str, str]:
        """The uevent file's properties, with those that follow from driver and device node."""
        result = dict(self.uevent)
        if self.node is not None:
            result["MAJOR"] = str(self.node["major"])
            result["MINOR"] = str(self.node["minor"])
            result["DEVNAME"] = str(self.node["name"])
        if self.driver is not None:
            result.setdefault("DRIVER", self.driver)
        return result

    def database_id(self) -> str | None:
        """The name of the device's file in udev's database, as libudev forms it."""
        if self.node is not None:
            letter = "b" if self.subsystem == "block" else "c"
            return f"{letter}{self.node['major']}:{self.node['minor']}"
        if "IFINDEX" in self.uevent:
            return f"n{self.uevent['IFINDEX']}"
        if self.subsystem is None:
            return None
        return f"+{self.subsystem}:{self.name}"


def _checked_store(path: str, rule: Any, keep: Store) -> Store:
    """A store function that accepts what `rule` allows and remembers it, byte for byte.

    `rule` is true (anything), a list of accepted texts, or a mapping with `pattern` (a regular expression that
    the text without its newline must match completely), `errno` (default EINVAL) and `drops_last`: the driver takes its
    value for a line and drops the last character, whatever that is.
    """
    if rule is True:
        return keep
    accepts: Callable[[str], object]
    number = errno_number("EINVAL")
    drops_last = isinstance(rule, Mapping) and bool(rule.get("drops_last"))
    if isinstance(rule, Mapping):
        number = errno_number(rule.get("errno", "EINVAL"))
        accepts = re.compile(str(rule.get("pattern", ".*")), re.DOTALL).fullmatch
    else:
        allowed = {str(item) for item in rule}
        accepts = allowed.__contains__

    def store(data: bytes) -> None:
        if not accepts(data.decode("utf-8", "surrogateescape").rstrip("\n")):
            raise failure(number, path)
        keep(data[:-1] + b"\n" if drops_last else data)

    return store


def declared_attribute(path: str, value: Any) -> Attribute:
    """The attribute that a scenario's value describes; README.md has the grammar. ValueError for unknown keys."""
    if not isinstance(value, Mapping):
        return Attribute(path, _line(value))
    unknown = sorted(set(value) - _DECLARED_KEYS)
    if unknown:
        raise ValueError(f"{path}: unknown key {', '.join(unknown)}: use {', '.join(sorted(_DECLARED_KEYS))}")
    content: bytes | Show
    binary_size: int | None = None
    if "errno" in value:
        number = errno_number(value["errno"])

        def refuse() -> bytes:
            raise failure(number, path)

        content = refuse
    elif "hex" in value:
        content = bytes.fromhex(str(value["hex"]))
        binary_size = int(value.get("size", len(content)))
        content = content.ljust(binary_size, b"\0")
    elif "raw" in value:
        content = str(value["raw"]).encode("utf-8", "surrogateescape")
    else:
        content = _line(value.get("text", ""))
    mode = int(str(value["mode"]), 8) if "mode" in value else None
    attribute = Attribute(path, content, None, mode, binary_size)
    if value.get("store"):
        attribute.store = _checked_store(path, value["store"], attribute.keep)
        if mode is None:
            attribute.mode = stat.S_IFREG | 0o644
    return attribute


def _line(value: Any) -> bytes:
    """A value as the kernel prints it: text and a newline; an empty text is a lone newline."""
    if isinstance(value, bool):
        value = int(value)
    return f"{'' if value is None else value}\n".encode("utf-8", "surrogateescape")


def plant(tree: Tree, device: Device, announce: Callable[[Device, str], None]) -> None:
    """Add the device's directory with all its entries. `announce` sends a uevent when `uevent` is written."""
    path = device.path
    tree.directory(path)

    def show_uevent() -> bytes:
        return "".join(f"{key}={value}\n" for key, value in device.properties().items()).encode()

    def store_uevent(data: bytes) -> None:
        action = data.decode("ascii", "replace").split()
        if not action or action[0] not in _ACTIONS:
            raise failure(errno_number("EINVAL"), f"{path}/uevent")
        announce(device, action[0])

    tree.add(Attribute(f"{path}/uevent", show_uevent, store_uevent))
    if device.subsystem is not None:
        if device.bus:
            tree.directory(f"{device.subsystem_path}/devices")
            tree.directory(f"{device.subsystem_path}/drivers")
        tree.link(f"{path}/subsystem", device.subsystem_path)
        tree.link(device.index_path, path)
        if device.is_disk:
            tree.link(f"/sys/block/{device.name}", path)
        power = Attribute(f"{path}/power/control", b"auto\n")
        power.store = _checked_store(power.path, ["auto", "on"], power.keep)
        power.mode = stat.S_IFREG | 0o644
        tree.add(power)
    if device.class_ and tree.exists(f"{_above_class(device)}/uevent"):
        tree.link(f"{path}/device", _above_class(device))
    if device.driver is not None:
        link_driver(tree, device, device.driver)
    if device.class_ == "block":
        tree.directory(f"{path}/holders")
        if device.is_disk:
            tree.directory(f"{path}/slaves")
    if device.node is not None:
        number = f"{device.node['major']}:{device.node['minor']}"
        tree.add(Attribute(f"{path}/dev", f"{number}\n".encode()))
        tree.link(f"/sys/dev/{'block' if device.subsystem == 'block' else 'char'}/{number}", path)
    for name, value in device.attributes.items():
        tree.add(declared_attribute(f"{path}/{name}", value))
    for name, (show, store) in device.dynamic.items():
        tree.add(Attribute(f"{path}/{name}", show or b"", store, 0o200 if show is None else None))
    for name, target in device.links.items():
        tree.link(f"{path}/{name}", target if target.startswith("/") else f"/sys/{target}")


def link_driver(tree: Tree, device: Device, driver: str) -> None:
    """Bind `device` to `driver` in the tree: the links in both directions."""
    place = f"/sys/bus/{device.bus}/drivers/{driver}"
    tree.directory(place)
    tree.link(f"{device.path}/driver", place)
    tree.link(f"{place}/{device.name}", device.path)


def unlink_driver(tree: Tree, device: Device) -> None:
    """Remove what `link_driver` added."""
    tree.remove(f"{device.path}/driver")
    tree.remove(f"/sys/bus/{device.bus}/drivers/{device.driver}/{device.name}")


def uproot(tree: Tree, device: Device) -> None:
    """Remove what `plant` added, and the directory named after the class when it is empty then."""
    if device.driver is not None:
        unlink_driver(tree, device)
    if device.node is not None:
        kind = "block" if device.subsystem == "block" else "char"
        tree.remove(f"/sys/dev/{kind}/{device.node['major']}:{device.node['minor']}")
    if device.subsystem is not None:
        tree.remove(device.index_path)
    if device.is_disk:
        tree.remove(f"/sys/block/{device.name}")
    tree.remove(device.path)
    folder = tree.nodes.get(device.parent)
    if isinstance(folder, Directory) and folder.name == device.class_ and not folder.children:
        tree.remove(device.parent)


def _above_class(device: Device) -> str:
    """The device that carries a class device: above the directory named after the class, if there is one."""
    parent = device.parent
    return parent.rpartition("/")[0] if parent.endswith(f"/{device.class_}") else parent
