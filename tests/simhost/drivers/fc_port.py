# SPDX-License-Identifier: GPL-3.0-or-later
"""A Fibre Channel initiator, physical or virtual: the class devices of its SCSI host, and the targets behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Optional

from simhost.devices import Device
from simhost.drivers.fc_targets import Target, Targets
from simhost.host import Host
from simhost.tree import Show, Store

Dynamic = dict[str, tuple[Optional[Show], Optional[Store]]]


@dataclass(frozen=True)
class Names:
    """The port's and the node's name, 16 lower-case hex digits each."""

    wwpn: str
    wwnn: str


@dataclass(frozen=True)
class Status:
    """What an initiator's fc_host says now."""

    port_state: str
    port_type: str
    fabric_name: str
    speed: str
    max_vports: int
    vports: int
    logged_in: bool


class Port:
    """The initiator below the SCSI host at `path`. `status` is asked at every read."""

    def __init__(self, host: Host, path: str, names: Names, zone: list[Target], status: Callable[[], Status]) -> None:
        self.host = host
        self.names = names
        self.number = int(path.rpartition("/host")[2])
        self._path = path
        self._status = status
        self._targets = Targets(host, path, self.number, zone)

    def class_devices(self, scsi: Mapping[str, object], symbolic_name: str, files: Dynamic) -> list[Device]:
        """scsi_host and fc_host, with `scsi` as more attributes of the one and `files` as more files of the other."""
        name = f"host{self.number}"
        scsi_host = Device(
            f"{self._path}/scsi_host/{name}",
            class_="scsi_host",
            attributes={"state": "running", "host_busy": 0, "cmd_per_lun": 3, "can_queue": 1024, **scsi},
            dynamic={"scan": (None, self._scan)},
        )
        fc_host = Device(
            f"{self._path}/fc_host/{name}",
            class_="fc_host",
            attributes={
                "node_name": f"0x{self.names.wwnn}",
                "port_name": f"0x{self.names.wwpn}",
                "symbolic_name": symbolic_name,
                "dev_loss_tmo": {"text": 60, "store": {"pattern": "[0-9]+"}},
            },
            dynamic={
                "port_state": (lambda: self._line(self._status().port_state), None),
                "port_type": (lambda: self._line(self._status().port_type), None),
                "fabric_name": (lambda: self._line(self._status().fabric_name), None),
                "speed": (lambda: self._line(self._status().speed), None),
                "max_npiv_vports": (lambda: self._line(self._status().max_vports), None),
                "npiv_vports_inuse": (lambda: self._line(self._status().vports), None),
                **files,
            },
        )
        return [scsi_host, fc_host]

    @staticmethod
    def _line(value: object) -> bytes:
        return f"{value}\n".encode()

    def refresh(self) -> None:
        """Find or lose the targets, as the port is logged in to a fabric now or not."""
        if self._status().logged_in:
            self._targets.log_in()
        else:
            self._targets.log_out()

    def remove_targets(self) -> None:
        """Before the SCSI host goes."""
        self._targets.remove()

    def _scan(self, data: bytes) -> None:
        with self.host.lock:
            self._targets.scan(data)
