# SPDX-License-Identifier: GPL-3.0-or-later
"""One NPIV port: its fc_vports device and the SCSI host below it."""

from __future__ import annotations

from collections.abc import Callable

from simhost.devices import Device
from simhost.drivers.fc_port import Names, Port, Status
from simhost.drivers.fc_targets import Target
from simhost.faults import errno_number
from simhost.host import Host
from simhost.tree import failure

_NO_FABRIC = "0xffffffffffffffff"
# vport_state to the port_state of the vport's own host; Offline with all others.
_PORT_STATES = {"Active": "Online", "Linkdown": "Linkdown"}


class Vport:
    """A vport below the HBA's SCSI host at `above`. `state` says how a port of these names fares there now."""

    def __init__(
        self,
        host: Host,
        above: str,
        index: int,
        names: Names,
        zone: list[Target],
        *,
        state: Callable[[Names], str],
        physical: Callable[[], Status],
        delete: Callable[[Vport], None],
    ) -> None:
        self.names = names
        self._host = host
        self._number = host.numbers.take()
        self.name = f"vport-{above.rpartition('/host')[2]}:0-{index}"
        self._path = f"{above}/{self.name}"
        self._wanted = state
        self._physical = physical
        self._delete = delete
        self._disabled = False
        self._state = "Unknown"
        self._last_state = "Unknown"
        self._port = Port(host, f"{self._path}/host{self._number}", names, zone, self._status)
        self._devices: list[Device] = []

    def start(self) -> None:
        """Make its devices, and its targets if it is active."""
        path = f"{self._path}/host{self._number}"
        class_device = Device(
            f"{self._path}/fc_vports/{self.name}",
            class_="fc_vports",
            attributes={
                "node_name": f"0x{self.names.wwnn}",
                "port_name": f"0x{self.names.wwpn}",
                "roles": "FCP Initiator",
                "vport_type": "NPIV",
                "symbolic_name": {"text": "", "store": True},
            },
            dynamic={
                "vport_state": (self._show_state, None),
                "vport_last_state": (self._show_last_state, None),
                "vport_delete": (None, self._store_delete),
                "vport_disable": (None, self._store_disable),
            },
        )
        scsi = Device(path, bus="scsi", uevent={"DEVTYPE": "scsi_host"})
        classes = self._port.class_devices({"unique_id": 0}, f"NPIV port {self.names.wwpn}", {})
        self._devices = [Device(self._path), class_device, scsi, *classes]
        self._change()
        self._host.appear(self._devices)
        self._port.refresh()

    def stop(self) -> None:
        """Remove everything of it, whoever uses it."""
        self._port.remove_targets()
        self._host.vanish(self._devices)
        self._host.numbers.give_back(self._number)

    def refresh(self) -> None:
        """Follow the HBA's state."""
        self._change()
        self._port.refresh()

    def _change(self) -> None:
        state = "Disabled" if self._disabled else self._wanted(self.names)
        if state != self._state:
            self._last_state, self._state = self._state, state

    def _status(self) -> Status:
        physical = self._physical()
        active = self._state == "Active"
        return Status(
            port_state=_PORT_STATES.get(self._state, "Offline"),
            port_type="NPIV VPORT",
            fabric_name=physical.fabric_name if active else _NO_FABRIC,
            speed=physical.speed,
            max_vports=0,
            vports=0,
            logged_in=active,
        )

    def _show_state(self) -> bytes:
        return f"{self._state}\n".encode()

    def _show_last_state(self) -> bytes:
        return f"{self._last_state}\n".encode()

    def _store_delete(self, _data: bytes) -> None:
        with self._host.lock:
            self._delete(self)

    def _store_disable(self, data: bytes) -> None:
        path = f"{self._path}/fc_vports/{self.name}/vport_disable"
        if data[:1] not in (b"0", b"1"):
            raise failure(errno_number("EINVAL"), path)
        with self._host.lock:
            wanted = data[:1] == b"1"
            if wanted == self._disabled:
                raise failure(errno_number("EALREADY"), path)
            self._disabled = wanted
            self.refresh()
