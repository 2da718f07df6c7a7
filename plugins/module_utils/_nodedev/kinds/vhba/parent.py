# SPDX-License-Identifier: GPL-3.0-or-later
"""Which HBA carries a vHBA: the one that is asked for, or the best of those that can. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import BadInput, NodedevError
from ...grammar import checked_wwn
from ...host.fc_port import NO_HBA, NO_NAME, ONLINE, Port
from ...text import shown

# The kernel's numbers of hosts have 32 bits.
NAME = re.compile(r"(?:scsi_)?host([0-9]{1,10})")
WWN = re.compile(r"[0-9a-f]{16}")


def checked_host(option: str, value: str) -> str:
    """libvirt's name of a SCSI host, also from the kernel's name; else BadInput."""
    name = host_name(value)
    if name is None:
        raise BadInput(option, value, "an HBA is named as libvirt does, scsi_host and its number")
    return name


def host_name(value: str) -> str | None:
    """libvirt's name of a SCSI host that is named as libvirt or the kernel does; None for what is no such name."""
    named = NAME.fullmatch(value)
    return None if named is None else f"scsi_host{int(named[1])}"


@dataclass(frozen=True)
class Asked:
    """What a person says of the HBA, at most one of the three: libvirt's name, both WWNs, or the fabric's WWN."""

    parent: str | None = None
    wwnn: str | None = None
    wwpn: str | None = None
    fabric_wwn: str | None = None

    @classmethod
    def checked(cls, parent: str | None, wwnn: str | None, wwpn: str | None, fabric_wwn: str | None) -> Asked:
        """What is asked, in the kernel's notation; BadInput naming the option that cannot be."""
        name = None if parent is None else checked_host("parent", parent)
        if (wwnn is None) != (wwpn is None):
            raise BadInput("parent_wwnn", wwnn, "parent_wwnn and parent_wwpn go together")
        given = [value for value in (parent, wwpn, fabric_wwn) if value is not None]
        if len(given) > 1:
            raise BadInput(
                "parent", given, "an HBA is chosen by parent, by its WWNs or by parent_fabric_wwn, by one of them"
            )
        return cls(
            name,
            None if wwnn is None else checked_wwn("parent_wwnn", wwnn),
            None if wwpn is None else checked_wwn("parent_wwpn", wwpn),
            None if fabric_wwn is None else checked_wwn("parent_fabric_wwn", fabric_wwn),
        )

    @property
    def nothing(self) -> bool:
        return self == Asked()

    def takes(self, port: Port) -> bool:
        """Whether this port is asked for, or nothing is."""
        if self.parent is not None:
            return port.name == self.parent
        if self.wwpn is not None:
            return (port.wwnn, port.wwpn) == (self.wwnn, self.wwpn)
        return self.fabric_wwn is None or port.fabric_wwn == self.fabric_wwn

    def contradicts(self, port: Port) -> bool:
        """Whether this port is not the one that is asked for; one that says of no fabric now may be in any."""
        return not self.takes(port) and (self.fabric_wwn is None or port.fabric_wwn is not None)

    def __str__(self) -> str:
        options = ("parent", "parent_wwnn", "parent_wwpn", "parent_fabric_wwn")
        pairs = zip(options, (self.parent, self.wwnn, self.wwpn, self.fabric_wwn))
        return " ".join(f"{option} {value}" for option, value in pairs if value is not None)


def is_named(port: Port) -> bool:
    """Whether a port has a WWPN of its own, by which it can be found after a boot."""
    return WWN.fullmatch(port.wwpn) is not None and port.wwpn not in NO_NAME


def unfit(port: Port, require_online: bool) -> str | None:
    """Why this port carries no vHBAs now; None where it does, as long as it has room."""
    if port.vport is not None:
        return "it is a vHBA itself"
    if not is_named(port):
        return f"its WWPN is {shown(port.wwpn)!r}, by which no HBA can be found again: its driver has not named it"
    if port.vport_folder is None:
        return "it has no NPIV: its driver offers no vport_create"
    if require_online and port.port_state is None:
        return "its port does not tell its state"
    if require_online and port.port_state != ONLINE:
        return f"its port is {port.port_state}, not {ONLINE}"
    return None


def why_not(port: Port, require_online: bool, making: bool = True) -> str | None:
    """Why no vHBA can be made on this port now, or where it is not for ``making``, defined; None where one can."""
    reason = unfit(port, require_online)
    if reason is not None or not making:
        return reason
    if port.used >= port.most:
        return f"all of its {port.most} vports are in use"
    return None


def choose(
    asked: Asked, ports: Sequence[Port], require_online: bool, making: bool = True
) -> tuple[Port | None, dict[str, str]]:
    """The HBA with the most free vports of those asked for, the lowest number among equals; None where none can.

    Where a vHBA is only defined, ``making`` is False, and an HBA without a free vport is as good as one with a few.
    One that says it is in a fabric comes before one that does not, whose driver may only not tell. And of each other
    HBA, by its name, why it is not that one.
    """
    reasons: dict[str, str] = {}
    fit: list[Port] = []
    for port in ports:
        reason = why_not(port, require_online, making) if asked.takes(port) else "another one was asked for"
        if reason is None:
            fit.append(port)
        elif port.vport is None:
            reasons[port.name] = reason
    if not fit:
        return None, reasons
    best = min(fit, key=lambda port: (port.fabric_wwn is None, -port.free, port.host))
    reasons.update({port.name: _why_second(port, best) for port in fit if port is not best})
    return best, reasons


def _why_second(port: Port, best: Port) -> str:
    if port.fabric_wwn is None and best.fabric_wwn is not None:
        return f"it says of no fabric, {best.name} does"
    if port.free < best.free:
        return f"it has {port.free} free vports, {best.name} has {best.free}"
    return f"{best.name} has as many free vports and the lower number"


def called(port: Port) -> str:
    """An HBA as a person knows it: by its name now, and the one that stays."""
    return f"{port.name} (WWPN {port.wwpn})"


def with_npiv(ports: Sequence[Port]) -> str:
    return ", ".join(called(port) for port in ports if port.vport_folder) or "none"


def refusal(
    asked: Asked,
    ports: Sequence[Port],
    scsi_hosts: Mapping[str, bool],
    require_online: bool,
    making: bool = True,
    adapters: Sequence[str] = (),
) -> NodedevError:
    """Why no HBA can carry the vHBA, in words for the option that asked for one.

    ``scsi_hosts`` says of the name that was asked for whether the kernel has such a SCSI host at all, ``adapters`` what
    is there on a host without any port.
    """
    matching = [port for port in ports if asked.takes(port)]
    hbas = with_npiv(ports)
    if asked.parent is not None and not matching:
        what = "is not a Fibre Channel HBA" if scsi_hosts.get(asked.parent) else "is not there"
        return BadInput("parent", asked.parent, f"{asked.parent} {what}; the HBAs with NPIV are: {hbas}")
    if not ports:
        return NodedevError("; ".join((NO_HBA, *adapters)))
    if not matching:
        option, value = ("parent_wwpn", asked.wwpn) if asked.wwpn else ("parent_fabric_wwn", asked.fabric_wwn)
        pair = f" with WWNN {asked.wwnn}" if asked.wwnn else ""
        return BadInput(option, value, f"no HBA has it{pair}; the HBAs with NPIV are: {hbas}")
    # A vHBA is no candidate, and is told of only where nothing else is meant.
    named = [port for port in matching if port.vport is None] or matching
    reasons = "; ".join(f"{port.name}: {why_not(port, require_online, making)}" for port in named)
    hint = ""
    if require_online and any(why_not(port, False, making) is None for port in matching):
        hint = "; require_online: false makes it on a port whose link is down"
    option = "parent" if asked.parent else "parent_wwpn" if asked.wwpn else "parent_fabric_wwn"
    value = asked.parent or asked.wwpn or asked.fabric_wwn
    if value is None:
        return NodedevError(f"no vHBA can be made on this host: {reasons}{hint}")
    return BadInput(option, value, f"no vHBA can be made there: {reasons}{hint}")
