# SPDX-License-Identifier: GPL-3.0-or-later
"""A Fibre Channel HBA with NPIV: the SCSI host, its fc_host, and the vports made by `vport_create`.

The behaviour belongs to the declared SCSI host (bus scsi, DEVTYPE scsi_host). Parameters: `wwnn` and `wwpn`;
`port_state`, Online by default; `fabric`, a WWN or nothing; `npiv`, true by default; `max_vports`, 255 by default;
`fabric_npiv`, false for a switch that does not know NPIV; `rejected`, the WWPNs that the fabric refuses; `zones`, WWPN
to targets as in fc_targets.py; `port_type`, `speed`, `symbolic_name`, `unique_id` and `driver` (proc_name) as texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from simhost.devices import Device
from simhost.drivers import Driver
from simhost.drivers.fc_port import Dynamic, Names, Port, Status
from simhost.drivers.fc_targets import Target, parse_zone, wwn
from simhost.drivers.fc_vport import Vport
from simhost.faults import errno_number
from simhost.host import Host
from simhost.tree import Store, failure

PORT_STATES = ("Online", "Linkdown", "Offline", "Blocked", "Bypassed", "Diagnostics", "Error", "Loopback", "Marginal")
_PAIR = re.compile(rb"([0-9a-fA-F]{16}):([0-9a-fA-F]{16})\n?")
_NO_FABRIC = "0x0"
# There from the load of the kernel's module for Fibre Channel, empty or not.
_CLASSES = ("fc_host", "fc_remote_ports", "fc_vports")


class FcHost(Driver):
    """The HBA: state of the link, vports, and the driver's life."""

    KEYS = frozenset(
        {
            "wwnn",
            "wwpn",
            "port_state",
            "fabric",
            "npiv",
            "max_vports",
            "fabric_npiv",
            "rejected",
            "zones",
            "port_type",
            "speed",
            "symbolic_name",
            "unique_id",
            "driver",
        }
    )

    def attach(self) -> None:
        """Read the parameters and add the class devices of the port."""
        given = self.parameters
        self.names = Names(wwn(given["wwpn"]), wwn(given["wwnn"]))
        self.fabric = wwn(given["fabric"]) if given.get("fabric") else None
        self.port_state = _port_state(str(given.get("port_state", "Online")))
        self.npiv = bool(given.get("npiv", True))
        self.max_vports = int(given.get("max_vports", 255)) if self.npiv else 0
        self.rejected = {wwn(name) for name in given.get("rejected") or ()}
        self.zones: dict[str, list[Target]] = {
            wwn(name): parse_zone(zone) for name, zone in (given.get("zones") or {}).items()
        }
        for name in _CLASSES:
            self.host.tree.directory(f"/sys/class/{name}")
        self._start()

    def _start(self) -> None:
        """What the driver does when it has found the HBA."""
        given = self.parameters
        self.vports: list[Vport] = []
        self._next_vport = 0
        zone = self.zones.get(self.names.wwpn, [])
        self._port = Port(self.host, self.device.path, self.names, zone, self._status)
        scsi = {"unique_id": int(given.get("unique_id", 0)), "proc_name": str(given.get("driver", "qla2xxx"))}
        files: Dynamic = {}
        if self.npiv:
            files["vport_create"] = (None, self._writer("vport_create", self._create))
            files["vport_delete"] = (None, self._writer("vport_delete", self._delete))
        self._classes = self._port.class_devices(scsi, str(given.get("symbolic_name", "simulated HBA")), files)
        self.host.appear(self._classes)
        self._port.refresh()

    def unload(self) -> None:
        """The driver lets go of the HBA: everything below the PCI function goes, at once."""
        self.detach()
        self.host.vanish([self.device])

    def detach(self) -> None:
        """What is below the SCSI host goes."""
        for vport in reversed(self.vports):
            vport.stop()
        self.vports = []
        self._port.remove_targets()
        self.host.vanish(self._classes)

    def load(self) -> None:
        """The driver comes back: the SCSI host has a new number, and no vports."""
        old = self._port.number
        path = f"{self.device.parent}/host{self.host.numbers.take()}"
        self.host.numbers.give_back(old)
        self.device = replace(self.device, path=path)
        self.host.appear([self.device])
        self._start()

    def link(self, state: str) -> None:
        """Change port_state. The kernel tells of this by netlink only; udev sees what comes and goes by it."""
        self.port_state = _port_state(state)
        self._port.refresh()
        for vport in self.vports:
            vport.refresh()

    def _status(self) -> Status:
        online = self.port_state == "Online"
        logged_in = online and self.fabric is not None
        port_type = "Unknown"
        if online:
            port_type = "NPort (fabric via point-to-point)" if logged_in else "Point-To-Point (direct nport connection)"
        return Status(
            port_state=self.port_state,
            port_type=str(self.parameters.get("port_type", port_type)),
            fabric_name=f"0x{self.fabric}" if logged_in else _NO_FABRIC,
            speed=str(self.parameters.get("speed", "16 Gbit")) if online else "Unknown",
            max_vports=self.max_vports,
            vports=len(self.vports),
            logged_in=logged_in,
        )

    def _vport_state(self, names: Names) -> str:
        if self.port_state != "Online":
            return "Linkdown"
        if self.fabric is None or not self.parameters.get("fabric_npiv", True):
            return "No Fabric Support"
        return "Fabric Rejected WWN" if names.wwpn in self.rejected else "Active"

    def _writer(self, name: str, action: Callable[[Names, str], None]) -> Store:
        path = f"{self.device.path}/fc_host/{self.device.name}/{name}"

        def store(data: bytes) -> None:
            match = _PAIR.fullmatch(data)
            if match is None:
                raise failure(errno_number("EINVAL"), path)
            wwpn, wwnn = (part.decode().lower() for part in match.groups())
            with self.host.lock:
                action(Names(wwpn, wwnn), path)

        return store

    def _create(self, names: Names, path: str) -> None:
        if len(self.vports) >= self.max_vports:
            raise failure(errno_number("ENOSPC"), path)
        # The number is spent even if the driver then refuses the name.
        index = self._next_vport
        self._next_vport += 1
        if names.wwpn in {self.names.wwpn, *(vport.names.wwpn for vport in self.vports)}:
            raise failure(errno_number("EINVAL"), path)
        vport = Vport(
            self.host,
            self.device.path,
            index,
            names,
            self.zones.get(names.wwpn, []),
            state=self._vport_state,
            physical=self._status,
            delete=self._remove,
        )
        self.vports.append(vport)
        vport.start()

    def _delete(self, names: Names, path: str) -> None:
        for vport in self.vports:
            if vport.names == names:
                self._remove(vport)
                return
        raise failure(errno_number("ENODEV"), path)

    def _remove(self, vport: Vport) -> None:
        self.vports.remove(vport)
        vport.stop()


def _port_state(state: str) -> str:
    if state not in PORT_STATES:
        raise ValueError(f"port_state {state!r} is unknown: use one of {', '.join(PORT_STATES)}")
    return state


def find(host: Host, what: str) -> list[FcHost]:
    """The HBAs with this host name (host3) or WWPN, or below this PCI address; ValueError if there is none."""
    name = what.lower().removeprefix("0x")
    found = [
        driver
        for driver in host.drivers
        if isinstance(driver, FcHost)
        and (name == driver.names.wwpn or what in (driver.device.name, driver.device.parent.rpartition("/")[2]))
    ]
    if not found:
        raise ValueError(f"no Fibre Channel HBA is {what!r}: give a host such as host3, a WWPN or a PCI address")
    return found


def link(host: Host, what: str, state: str) -> None:
    """Change the link of HBAs while the host runs."""
    _port_state(state)
    with host.lock:
        held = host.faults.hold_values(host.tree)
        try:
            for hba in find(host, what):
                hba.link(state)
        finally:
            host.faults.release_values(host.tree, held)


def reload(host: Host, what: str) -> None:
    """Unload and load the driver of HBAs: new host numbers, no vports."""
    with host.lock:
        hbas = find(host, what)
        functions: list[Device] = [d for d in host.devices if d.path in {hba.device.parent for hba in hbas}]
        for hba in hbas:
            hba.unload()
        for function in functions:
            host.announce(function, "unbind")
        for hba in hbas:
            hba.load()
        for function in functions:
            host.announce(function, "bind")


DRIVER = FcHost
