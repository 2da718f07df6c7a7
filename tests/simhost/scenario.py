# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario files: loading, `repeat`, and the way from a declaration to a Device. README.md has the grammar."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simhost import pci
from simhost.devices import Device
from simhost.faults import Fault

FOLDER = Path(__file__).parent / "scenarios"
_TOP_KEYS = {
    "hostname",
    "description",
    "readonly",
    "vfio_cdev",
    "cards",
    "devices",
    "faults",
    "files",
    "directories",
    "sysfs",
    "proc",
    "shifting_hosts",
    "reuse_host_numbers",
    "drivers",
    "modules",
    "module_files",
    "network",
    "nvidia",
}
_DEVICE_KEYS = {
    "path",
    "bus",
    "class",
    "attributes",
    "links",
    "uevent",
    "udev",
    "devlinks",
    "driver",
    "iommu_group",
    "node",
    "behaviour",
    "slaves",
    "of_driver",
}


@dataclass(frozen=True)
class Tools:
    """Programs of NVIDIA's that the host has: nvidia-smi in /usr/bin, sriov-manage in each of these folders."""

    nvidia_smi: bool = False
    sriov_manage: tuple[str, ...] = ()


@dataclass
class Scenario:
    """One host. `files` are made below the host's own /etc, /run and /dev, `proc` covers files of its /proc."""

    hostname: str = "simhost"
    readonly: bool = False
    vfio_cdev: bool = False
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    sysfs: dict[str, Any] = field(default_factory=dict)
    proc: dict[str, str] = field(default_factory=dict)
    shifting_hosts: bool = False
    reuse_host_numbers: bool = False
    drivers: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    modules: dict[str, bool] = field(default_factory=dict)
    network: dict[str, Any] | None = None
    module_files: dict[str, str] = field(default_factory=dict)
    nvidia: Tools = field(default_factory=Tools)


def find(name: str) -> Path:
    """The file of a scenario given by name or by path; FileNotFoundError lists the names there are."""
    named = FOLDER / f"{name}.yml"
    if named.is_file():
        return named
    path = Path(name)
    if path.is_file():
        return path.resolve()
    names = ", ".join(sorted(item.stem for item in FOLDER.glob("*.yml")))
    raise FileNotFoundError(f"no scenario {name!r}: give a file or one of {names}")


def load(path: Path) -> Scenario:
    """Read a scenario file; ValueError says what is wrong with it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(data, Mapping):
        raise ValueError(f"{path}: a scenario is a mapping with the key devices")
    try:
        return parse(data)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def parse(data: Mapping[str, Any]) -> Scenario:
    """A scenario from plain data; ValueError says what is wrong with it."""
    _check_keys("scenario", data, _TOP_KEYS)
    places: dict[str, str] = {}
    devices = [declared_device(item, places) for item in _repeated(data.get("devices") or [])]
    faults = [dict(item) for item in data.get("faults") or []]
    for item in faults:
        Fault.from_mapping(item)
    return Scenario(
        hostname=str(data.get("hostname", "simhost")),
        readonly=bool(data.get("readonly", False)),
        vfio_cdev=bool(data.get("vfio_cdev", False)),
        cards={str(name): dict(card) for name, card in (data.get("cards") or {}).items()},
        devices=devices,
        faults=faults,
        files={str(name): str(text) for name, text in (data.get("files") or {}).items()},
        directories=[str(name) for name in data.get("directories") or []],
        sysfs={str(name): value for name, value in (data.get("sysfs") or {}).items()},
        proc={str(name): str(text) for name, text in (data.get("proc") or {}).items()},
        shifting_hosts=bool(data.get("shifting_hosts", False)),
        reuse_host_numbers=bool(data.get("reuse_host_numbers", False)),
        drivers={str(bus): dict(drivers or {}) for bus, drivers in (data.get("drivers") or {}).items()},
        modules={str(name): bool(loaded) for name, loaded in (data.get("modules") or {}).items()},
        network=None if data.get("network") is None else dict(data["network"]),
        module_files={str(name): str(text) for name, text in (data.get("module_files") or {}).items()},
        nvidia=_tools(data.get("nvidia") or {}),
    )


def _tools(data: Mapping[str, Any]) -> Tools:
    _check_keys("nvidia", data, {"nvidia_smi", "sriov_manage"})
    folders = tuple(str(folder) for folder in data.get("sriov_manage") or ())
    for folder in folders:
        if not folder.startswith(("/usr/lib/", "/run/")) or ".." in folder:
            raise ValueError(f"nvidia: sriov_manage: {folder} is not below /usr/lib or /run")
    return Tools(bool(data.get("nvidia_smi", False)), folders)


def _check_keys(what: str, data: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"{what}: unknown key {', '.join(unknown)}: use {', '.join(sorted(known))}")


def _repeated(items: list[Any]) -> Iterator[Mapping[str, Any]]:
    """The declarations with every `repeat` written out.

    `repeat` maps names to a count (0 to count-1) or to [first, last]; the rightmost name counts fastest. In the
    texts of `devices`, `{name}` is replaced, with a format as in `{bus:02x}`; `{index}` counts all rounds.
    """
    for item in items:
        if "repeat" not in item:
            yield item
            continue
        _check_keys("repeat", item, {"repeat", "devices"})
        names = list(item["repeat"])
        ranges = [_range(item["repeat"][name]) for name in names]
        for index, values in enumerate(itertools.product(*ranges)):
            variables = {"index": index, **dict(zip(names, values, strict=True))}
            for device in item["devices"]:
                yield filled(device, variables)


def _range(bounds: Any) -> range:
    if isinstance(bounds, int):
        return range(bounds)
    first, last = bounds
    return range(int(first), int(last) + 1)


def filled(value: Any, variables: Mapping[str, int | str]) -> Any:
    """The declaration with the names in its texts replaced."""
    if isinstance(value, str):
        return value.format(**variables) if "{" in value else value
    if isinstance(value, Mapping):
        return {filled(key, variables): filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    return value


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (values or {}).items()}


def declared_device(declaration: Mapping[str, Any], places: dict[str, str]) -> Device:
    """The device that a declaration describes; ValueError. `places` are those of PCI functions seen so far."""
    if "pci" in declaration:
        declaration = pci.expand(declaration, places)
    _check_keys(f"device {declaration.get('path', '')}", declaration, _DEVICE_KEYS)
    if "bus" in declaration and "class" in declaration:
        raise ValueError(f"device {declaration['path']}: give bus or class, not both")
    path = str(declaration["path"]).strip("/")
    if not path.startswith("devices/"):
        raise ValueError(f"device {path}: a path begins with devices/ and is taken below /sys")
    return Device(
        path=f"/sys/{path}",
        bus=declaration.get("bus"),
        class_=declaration.get("class"),
        attributes=dict(declaration.get("attributes") or {}),
        links=_texts(declaration.get("links")),
        uevent=_texts(declaration.get("uevent")),
        udev=_texts(declaration.get("udev")),
        devlinks=[str(link) for link in declaration.get("devlinks") or []],
        driver=declaration.get("driver"),
        iommu_group=declaration.get("iommu_group"),
        node=declaration.get("node"),
        behaviour={str(name): dict(given or {}) for name, given in (declaration.get("behaviour") or {}).items()},
        slaves=[str(name) for name in declaration.get("slaves") or []],
        of_driver=declaration.get("of_driver"),
    )
