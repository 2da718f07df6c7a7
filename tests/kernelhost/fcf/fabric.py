# SPDX-License-Identifier: GPL-3.0-or-later
"""The fabric: who is logged in, and what its well-known addresses answer."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import fc, nameserver
from .nameserver import NPort

SWITCH_WWN = bytes.fromhex("100002000000fcff")
FABRIC_WWN = bytes.fromhex("200102000000fcff")
DOMAIN = 0x01
# Each link has an area of FC_IDs; the first of it is for the FLOGI, as a switch has it.
PORTS_OF_AREA = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """What the fabric refuses, and which ports see each other."""

    npiv: bool = True
    rejected: frozenset[bytes] = frozenset()
    # NPIV logins on one link; no limit if None.
    max_npiv: int | None = None
    zones: frozenset[frozenset[bytes]] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> Policy:
        """All files of a folder: lines `no-npiv`, `reject WWPN`, `max-npiv NUMBER`, `zone WWPN WWPN...`."""
        npiv, rejected, max_npiv, zones = True, set(), None, set()
        for line in _lines(folder):
            word, *values = line.split() or [""]
            if word == "no-npiv" and not values:
                npiv = False
            elif word == "reject" and len(values) == 1:
                rejected.add(_wwn(values[0]))
            elif word == "max-npiv" and len(values) == 1:
                max_npiv = int(values[0])
            elif word == "zone":
                zones.add(frozenset(_wwn(value) for value in values))
            elif word:
                raise ValueError(f"{folder}: not a policy: {line}")
        return cls(npiv, frozenset(rejected), max_npiv, frozenset(zones))

    def lets_see(self, one: NPort, other: NPort) -> bool:
        """Whether two ports are in a zone together. As on switches, those that are in no zone see nobody."""
        pair = {one.wwpn, other.wwpn}
        return len(pair) == 1 or any(pair <= zone for zone in self.zones)


def _lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*")):
        # It may be removed right now.
        with contextlib.suppress(FileNotFoundError):
            yield from path.read_text(encoding="ascii").splitlines()


def _wwn(text: str) -> bytes:
    return int(text, 16).to_bytes(8, "big")


class Refused(Exception):
    """A login that the fabric rejects."""

    def __init__(self, reason: int, explanation: int) -> None:
        super().__init__(f"reason {reason:#x}, explanation {explanation:#x}")
        self.reason = reason
        self.explanation = explanation


class Fabric:
    """Knows nothing of Ethernet; frames that it wants sent are in `outbox`."""

    def __init__(self, policies: Path) -> None:
        self._policies = policies
        self._policy = Policy.read(policies)
        self.ports: nameserver.Ports = {}
        self.outbox: list[fc.Frame] = []
        self._areas: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def refresh(self) -> None:
        """Read the policy anew; a change of zones is told to all ports, any of which may see others now."""
        before, self._policy = self._policy, Policy.read(self._policies)
        if before.zones != self._policy.zones:
            for port in self.ports.values():
                for other in self.ports.values():
                    self._send_state_change(other, port)

    def login(self, request: fc.Frame, link: str, enode: bytes) -> tuple[fc.Frame, NPort | None]:
        """Answer a FLOGI or FDISC; the port is None when it is rejected."""
        wwpn, wwnn = fc.names_of_login(request.payload)
        npiv = request.payload[0] == fc.FDISC
        self.refresh()
        try:
            self._check(wwpn, link, npiv)
        except Refused as error:
            log.info("login of %s on %s refused: %s", wwpn.hex(), link, error)
            (reply,) = request.reply(fc.ELS_REPLY, fc.reject(error.reason, error.explanation))
            return reply, None
        if not npiv:
            # A host that logs in anew has forgotten its former logins.
            self.forget_link(link)
        port = NPort(self._new_id(link, wwpn, npiv), wwpn, wwnn, link, enode)
        self.ports[port.fc_id] = port
        log.info("login of %s on %s: %06x", wwpn.hex(), link, port.fc_id)
        payload = fc.accept_fabric_login(SWITCH_WWN, FABRIC_WWN, self._policy.npiv)
        (reply,) = request.reply(fc.ELS_REPLY, payload, port.fc_id)
        return reply, port

    def _check(self, wwpn: bytes, link: str, npiv: bool) -> None:
        if wwpn in self._policy.rejected:
            raise Refused(fc.LOGICAL_ERROR, fc.INVALID_PORT_NAME)
        known = [port for port in self.ports.values() if port.wwpn == wwpn]
        if any(port.link != link for port in known):
            raise Refused(fc.LOGICAL_ERROR, fc.INVALID_PORT_NAME)
        if not npiv:
            return
        if not self._policy.npiv:
            raise Refused(fc.UNSUPPORTED, fc.NO_EXPLANATION)
        others = sum(port.link == link and port.wwpn != wwpn for port in self.ports.values()) - 1
        if self._policy.max_npiv is not None and others >= self._policy.max_npiv:
            raise Refused(fc.UNABLE, fc.NO_RESOURCES)

    def _new_id(self, link: str, wwpn: bytes, npiv: bool) -> int:
        """An FC_ID: the one that the WWPN has, else the one that was free for longest."""
        area = self._areas.setdefault(link, len(self._areas) + 1)
        base = DOMAIN << 16 | area << 8
        if not npiv:
            return base
        for port in self.ports.values():
            if port.wwpn == wwpn:
                return port.fc_id
        for _attempt in range(PORTS_OF_AREA):
            self._last[link] = self._last.get(link, 0) % (PORTS_OF_AREA - 1) + 1
            if base + self._last[link] not in self.ports:
                return base + self._last[link]
        raise Refused(fc.UNABLE, fc.NO_RESOURCES)

    def forget_link(self, link: str) -> None:
        """Log out all ports of a link."""
        for port in [port for port in self.ports.values() if port.link == link]:
            self.logout(port.fc_id)

    def logout(self, fc_id: int) -> None:
        port = self.ports.pop(fc_id, None)
        if port is not None:
            log.info("logout of %s on %s: %06x", port.wwpn.hex(), port.link, fc_id)
            self._tell(port)

    def _tell(self, changed: NPort) -> None:
        """Tell of a port's coming or going all others that asked for it."""
        for port in self.ports.values():
            if self._policy.lets_see(port, changed):
                self._send_state_change(port, changed)

    def _send_state_change(self, to: NPort, changed: NPort) -> None:
        if to.wants_state_changes and to is not changed:
            self.outbox.append(fc.request(to.fc_id, fc.CONTROLLER, fc.state_change(changed.fc_id)))

    def answer(self, request: fc.Frame) -> Iterator[fc.Frame]:
        """The frames that answer a request to a well-known address; none answer to an answer."""
        sender = self.ports.get(request.s_id)
        if sender is None:
            return
        if request.kind == fc.TYPE_CT and request.d_id == fc.DIRECTORY:
            known = sender.types
            visible = {fc_id: port for fc_id, port in self.ports.items() if self._policy.lets_see(sender, port)}
            yield from request.reply(fc.CT_REPLY, nameserver.answer(visible, request.payload))
            if sender.types != known:
                self._tell(sender)
        elif request.kind == fc.TYPE_ELS and request.r_ctl == fc.ELS_REQUEST:
            yield from request.reply(fc.ELS_REPLY, self._link_service(sender, request))

    def _link_service(self, sender: NPort, request: fc.Frame) -> bytes:
        (command,) = struct.unpack_from("B", request.payload)
        if command == fc.PLOGI and request.d_id in (fc.DIRECTORY, fc.CONTROLLER):
            return fc.accept_port_login(SWITCH_WWN, FABRIC_WWN)
        if command == fc.SCR and request.d_id == fc.CONTROLLER:
            sender.wants_state_changes = True
            return fc.accept()
        if command == fc.LOGO:
            if request.d_id == fc.FABRIC:
                self.logout(sender.fc_id)
            return fc.accept()
        log.info("link service %#x of %06x to %06x rejected", command, sender.fc_id, request.d_id)
        return fc.reject(fc.UNSUPPORTED)
