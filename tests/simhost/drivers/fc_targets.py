# SPDX-License-Identifier: GPL-3.0-or-later
"""What an initiator sees through its zone: remote ports, targets and LUNs with their disks.

A zone is a list of targets with `wwpn`, `wwnn`, `port_state` (Online by default) and `luns`: LUN number to `size`
(bytes), `node` (name, major and minor of the disk), and optionally `wwid` (32 hex digits; one is derived), `after_scan`
(it shows only after a write to the host's `scan`), `vendor`, `model`, `partitions` (a list of sizes in bytes). One
without `size` and `node` is a place holder: the target answers for it, and says that nothing is connected there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simhost.devices import Device
from simhost.faults import errno_number
from simhost.host import Host
from simhost.tree import Store, failure

_SECTOR = 512
_PARTITION_START = 2048
_SG_MAJOR = 21
_SCAN_FIELDS = 3
_NO_WWN = "0xffffffffffffffff"
_PCI = re.compile(r"/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])/")
_TARGET_KEYS = {"wwpn", "wwnn", "port_state", "luns"}
_LUN_KEYS = {"size", "node", "wwid", "after_scan", "vendor", "model", "partitions"}


def wwn(value: Any) -> str:
    """A WWN of a scenario as 16 lower-case hex digits; ValueError for anything else."""
    text = str(value).lower().removeprefix("0x").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{16}", text):
        raise ValueError(f"{value!r} is not a WWN: write 16 hex digits, in quotes")
    return text


@dataclass(frozen=True)
class Lun:
    """A logical unit as the storage presents it."""

    number: int
    size: int
    node: Mapping[str, Any] | None
    wwid: str
    after_scan: bool
    vendor: str
    model: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """A port of the storage."""

    wwpn: str
    wwnn: str
    port_state: str
    luns: tuple[Lun, ...]


def _known(what: str, given: Mapping[str, Any], keys: set[str]) -> None:
    unknown = sorted(set(given) - keys)
    if unknown:
        raise ValueError(f"{what}: unknown key {', '.join(unknown)}: use {', '.join(sorted(keys))}")


def parse_zone(zone: list[Mapping[str, Any]]) -> list[Target]:
    """The targets of a zone as the scenario has it; ValueError or KeyError for what is wrong."""
    targets = []
    for given in zone:
        _known("target", given, _TARGET_KEYS)
        name = wwn(given["wwpn"])
        luns = tuple(_lun(name, int(number), lun) for number, lun in (given.get("luns") or {}).items())
        targets.append(Target(name, wwn(given["wwnn"]), str(given.get("port_state", "Online")), luns))
    return targets


def _lun(target: str, number: int, given: Mapping[str, Any]) -> Lun:
    _known("LUN", given, _LUN_KEYS)
    return Lun(
        number,
        int(given["size"]) if "node" in given else 0,
        dict(given["node"]) if "node" in given else None,
        str(given.get("wwid", f"6{target[1:]}{number:016x}")),
        bool(given.get("after_scan", False)),
        str(given.get("vendor", "SIMHOST")),
        str(given.get("model", "LUN")),
        tuple(int(size) for size in given.get("partitions") or ()),
    )


class Targets:
    """The remote ports of one SCSI host. Remote port and target of one WWPN keep their number while the host is."""

    def __init__(self, host: Host, path: str, number: int, zone: list[Target]) -> None:
        self._host = host
        self._path = path
        self._number = number
        self._zone = zone
        self._logged_in = False
        self._rports: dict[int, list[Device]] = {}
        self._targets: dict[int, Device] = {}
        self._luns: dict[tuple[int, int], list[Device]] = {}
        self._unscanned: set[tuple[int, int]] = set()

    def log_in(self) -> None:
        """The port reached the fabric: remote ports are found and their LUNs scanned."""
        if self._logged_in:
            return
        self._logged_in = True
        self._unscanned = {
            (index, lun.number) for index, target in enumerate(self._zone) for lun in target.luns if lun.after_scan
        }
        for index, target in enumerate(self._zone):
            if index not in self._rports:
                self._rports[index] = self._rport(index, target)
                self._host.appear(self._rports[index])
            self._find(index, target)

    def log_out(self) -> None:
        """The port lost the fabric, and its time to come back is over: remote ports stay, without their targets."""
        self._logged_in = False
        for key in reversed(list(self._luns)):
            self._host.vanish(self._luns.pop(key))
        for index in reversed(list(self._targets)):
            self._host.vanish([self._targets.pop(index)])

    def remove(self) -> None:
        """The SCSI host goes, and everything of it."""
        self.log_out()
        for index in reversed(list(self._rports)):
            self._host.vanish(self._rports.pop(index))

    def scan(self, data: bytes) -> None:
        """The `scan` file: channel, target and LUN, each a number or `-`; OSError EINVAL."""
        fields = data.partition(b"\0")[0].decode("ascii", "replace").split()
        if len(fields) != _SCAN_FIELDS or any(field != "-" and not field.isdecimal() for field in fields):
            raise failure(errno_number("EINVAL"), f"{self._path}/scan")
        channel, wanted_target, wanted_lun = (None if field == "-" else int(field) for field in fields)
        if not self._logged_in or channel not in (None, 0):
            return
        self._unscanned = {
            (index, lun)
            for index, lun in self._unscanned
            if wanted_target not in (None, index) or wanted_lun not in (None, lun)
        }
        for index, target in enumerate(self._zone):
            self._find(index, target)

    def _find(self, index: int, target: Target) -> None:
        """Make the target and those LUNs of it that are not there and not waiting for a scan."""
        for lun in target.luns:
            key = (index, lun.number)
            if key in self._luns or key in self._unscanned:
                continue
            if index not in self._targets:
                name = f"target{self._number}:0:{index}"
                above = self._rports[index][0].path
                self._targets[index] = Device(f"{above}/{name}", bus="scsi", uevent={"DEVTYPE": "scsi_target"})
                self._host.appear([self._targets[index]])
            self._luns[key] = self._lun_devices(index, target, lun)
            self._host.appear(self._luns[key])

    def _rport(self, index: int, target: Target) -> list[Device]:
        """A remote port with its class device; without login it is not present, and unknown but for its name."""
        name = f"rport-{self._number}:0-{index}"
        base = f"{self._path}/{name}"

        def shown(while_there: str, otherwise: str) -> bytes:
            return f"{while_there if self._logged_in else otherwise}\n".encode()

        class_device = Device(
            f"{base}/fc_remote_ports/{name}",
            class_="fc_remote_ports",
            attributes={
                "port_name": f"0x{target.wwpn}",
                "scsi_target_id": index,
                "dev_loss_tmo": {"text": 60, "store": {"pattern": "[0-9]+"}},
                "fast_io_fail_tmo": {"text": "off", "store": {"pattern": "[0-9]+|off"}},
            },
            dynamic={
                "node_name": (lambda: shown(f"0x{target.wwnn}", _NO_WWN), None),
                "port_state": (lambda: shown(target.port_state, "Not Present"), None),
                "roles": (lambda: shown("FCP Target", "unknown"), None),
            },
        )
        return [Device(base), class_device]

    def _remover(self, index: int, lun: Lun) -> Store:
        def store(_data: bytes) -> None:
            with self._host.lock:
                devices = self._luns.pop((index, lun.number))
                self._unscanned.add((index, lun.number))
                self._host.vanish(devices)

        return store

    def _lun_devices(self, index: int, target: Target, lun: Lun) -> list[Device]:
        """The SCSI device, its class devices, and its disk with partitions."""
        address = f"{self._number}:0:{index}:{lun.number}"
        base = f"{self._targets[index].path}/{address}"
        generic = self._host.free_name("/sys/class/scsi_generic/sg")
        device = Device(
            base,
            bus="scsi",
            driver="sd" if lun.node else None,
            uevent={"DEVTYPE": "scsi_device", "MODALIAS": "scsi:t-0x00"},
            attributes={
                "type": 0,
                "inquiry": {"hex": f"{'00' if lun.node else '20'}000602{'00' * 32}"},
                "vendor": f"{lun.vendor:8}",
                "model": f"{lun.model:16}",
                "rev": "0001",
                "state": {"text": "running", "store": ["running", "offline"]},
                "wwid": f"naa.{lun.wwid}",
                "rescan": {"mode": "0200", "store": True},
            },
            dynamic={"delete": (None, self._remover(index, lun))},
        )
        sg_node = {"name": f"sg{generic}", "major": _SG_MAJOR, "minor": generic}
        found = [
            device,
            Device(f"{base}/scsi_device/{address}", class_="scsi_device"),
            Device(f"{base}/scsi_generic/sg{generic}", class_="scsi_generic", node=sg_node),
        ]
        if lun.node is None:
            return found
        scsi_disk = Device(f"{base}/scsi_disk/{address}", class_="scsi_disk")
        return [*found, scsi_disk, *_disk(base, lun, lun.node, _devlinks(base, target, lun))]


def _devlinks(path: str, target: Target, lun: Lun) -> list[str]:
    """udev's links. That by path names the HBA's PCI function and the remote port: a vport's has the same form."""
    links = [f"disk/by-id/wwn-0x{lun.wwid}", f"disk/by-id/scsi-3{lun.wwid}"]
    functions = _PCI.findall(path)
    if functions:
        links.append(f"disk/by-path/pci-{functions[-1]}-fc-0x{target.wwpn}-lun-{lun.number}")
    return links


def _disk(base: str, lun: Lun, node: Mapping[str, Any], devlinks: list[str]) -> list[Device]:
    udev = {
        "ID_TYPE": "disk",
        "ID_BUS": "scsi",
        "ID_VENDOR": lun.vendor,
        "ID_MODEL": lun.model,
        "ID_SERIAL": f"3{lun.wwid}",
        "ID_SERIAL_SHORT": lun.wwid,
        "ID_WWN": f"0x{lun.wwid[:16]}",
        "ID_WWN_WITH_EXTENSION": f"0x{lun.wwid}",
    }
    name = str(node["name"])
    disk = Device(
        f"{base}/block/{name}",
        class_="block",
        node=node,
        attributes={"size": lun.size // _SECTOR, "removable": 0, "ro": 0, "queue/logical_block_size": _SECTOR},
        uevent={"DEVTYPE": "disk"},
        udev=udev,
        devlinks=devlinks,
    )
    devices = [disk]
    starts = itertools.accumulate(lun.partitions, lambda at, size: at + size // _SECTOR, initial=_PARTITION_START)
    for number, (size, start) in enumerate(zip(lun.partitions, starts, strict=False), 1):
        part = {**node, "name": f"{name}{number}", "minor": int(node["minor"]) + number}
        devices.append(
            Device(
                f"{disk.path}/{name}{number}",
                class_="block",
                node=part,
                attributes={"partition": number, "start": start, "size": size // _SECTOR, "ro": 0},
                uevent={"DEVTYPE": "partition", "PARTN": str(number)},
                udev=udev,
                devlinks=[f"{link}-part{number}" for link in devlinks],
            )
        )
    return devices
