# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: its ports are network interfaces, and it forwards FCoE frames between them and the fabric."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import ethernet, fc
from .ethernet import Fip, FormatError
from .fabric import FABRIC_WWN, SWITCH_WWN, Fabric

INTERFACES = Path("/sys/class/net")
TICK_SECONDS = 1.0
# Of keep-alive periods: a host that was silent for longer is gone (FC-BB-5).
SILENT_PERIODS = 2.5
# Python 3.11 has no names for them (socket(7)).
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
BUFFER_SIZE = 8 << 20
LONGEST_FRAME = 65536
FRAMES_AT_ONCE = 64

log = logging.getLogger(__name__)


@dataclass
class Link:
    """One port of the switch: an interface with two sockets, as each takes one type of frames."""

    name: str
    mac: bytes
    fip: socket.socket
    fcoe: socket.socket
    heard: float

    def close(self) -> None:
        self.fip.close()
        self.fcoe.close()


class Switch:
    def __init__(self, prefix: str, fabric: Fabric, keep_alive: float) -> None:
        self._prefix = prefix
        self._fabric = fabric
        self._keep_alive = keep_alive
        self._links: dict[str, Link] = {}
        self._selector = selectors.DefaultSelector()
        self._advertised = 0.0

    def run(self) -> None:
        """Forward frames until an exception, as a signal's, ends it."""
        tick = time.monotonic()
        while True:
            for key, _events in self._selector.select(max(0.0, tick - time.monotonic())):
                key.data()
            self._flush()
            if time.monotonic() >= tick:
                self.tick()
                tick = time.monotonic() + TICK_SECONDS

    def close(self) -> None:
        """Tell the hosts that their logins are void, and let go of the interfaces."""
        for link in list(self._links.values()):
            for enode in {port.enode for port in self._fabric.ports.values() if port.link == link.name}:
                self._send(link.fip, ethernet.clear_links(enode, link.mac, SWITCH_WWN))
            self._remove(link)
        self._selector.close()

    def tick(self) -> None:
        """Follow the policy, and interfaces that come and go, advertise, and log out hosts that are silent."""
        self._fabric.refresh()
        now = time.monotonic()
        due = now >= self._advertised + self._keep_alive
        present = {path.name for path in INTERFACES.glob(f"{self._prefix}*")}
        for name in set(self._links) - present:
            self._remove(self._links[name])
        for name in sorted(present - set(self._links)):
            with contextlib.suppress(OSError):
                self._add(name)
                due = True
        for link in self._links.values():
            if now > link.heard + SILENT_PERIODS * self._keep_alive:
                self._fabric.forget_link(link.name)
            if due:
                self._advertise(link, ethernet.ALL_ENODES, None)
        if due:
            self._advertised = now
        self._flush()

    def _add(self, name: str) -> None:
        mac = bytes.fromhex((INTERFACES / name / "address").read_text(encoding="ascii").replace(":", ""))
        fip, fcoe = (_open(name, kind) for kind in (ethernet.TYPE_FIP, ethernet.TYPE_FCOE))
        link = self._links[name] = Link(name, mac, fip, fcoe, heard=time.monotonic())
        for sock, handler in ((fip, self._take_fip), (fcoe, self._take_fcoe)):
            self._selector.register(sock, selectors.EVENT_READ, partial(self._receive, link, sock, handler))
        log.info("port %s", name)

    def _remove(self, link: Link) -> None:
        log.info("port %s is gone", link.name)
        self._selector.unregister(link.fip)
        self._selector.unregister(link.fcoe)
        link.close()
        del self._links[link.name]
        self._fabric.forget_link(link.name)

    def _receive(self, link: Link, sock: socket.socket, handler: Callable[[Link, bytes], None]) -> None:
        for _frame in range(FRAMES_AT_ONCE):
            try:
                packet = sock.recv(LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                # The interface went down; it is looked at again by and by.
                log.info("%s: %s", link.name, error)
                return
            try:
                handler(link, packet)
            except (FormatError, struct.error) as error:
                log.warning("%s: frame dropped: %s", link.name, error)

    def _take_fip(self, link: Link, packet: bytes) -> None:
        enode = packet[6:12]
        fip = Fip.parse(packet)
        link.heard = time.monotonic()
        if (fip.operation, fip.subcode) == (ethernet.DISCOVERY, ethernet.SOLICITATION):
            size = int.from_bytes(fip.descriptors.get(ethernet.DESC_SIZE, b""), "big")
            self._advertise(link, enode, size)
        elif (fip.operation, fip.subcode) == (ethernet.LINK_SERVICE, ethernet.LINK_REQUEST):
            for service in ethernet.LINK_SERVICES:
                if service in fip.descriptors:
                    request = fc.Frame.parse(fip.descriptors[service][2:])
                    self._serve_link(link, enode, service, request)

    def _serve_link(self, link: Link, enode: bytes, service: int, request: fc.Frame) -> None:
        """Answer a login or logout that came in FIP."""
        if service == ethernet.DESC_LOGO:
            for reply in self._fabric.answer(request):
                mac = ethernet.port_mac(request.s_id)
                self._send(link.fip, ethernet.link_reply(enode, link.mac, service, reply, mac))
            return
        reply, port = self._fabric.login(request, link.name, enode)
        granted = ethernet.port_mac(port.fc_id) if port else None
        self._send(link.fip, ethernet.link_reply(enode, link.mac, service, reply, granted))

    def _take_fcoe(self, link: Link, packet: bytes) -> None:
        d_id = ethernet.destination(packet)
        if d_id >= fc.FIRST_WELL_KNOWN:
            self._emit(self._fabric.answer(ethernet.unwrap(packet)))
            return
        target = self._link_of(d_id)
        if target is not None:
            self._send(target.fcoe, ethernet.readdress(packet, ethernet.port_mac(d_id), target.mac))

    def _flush(self) -> None:
        """Send what the fabric has to say of itself."""
        frames, self._fabric.outbox = self._fabric.outbox, []
        self._emit(frames)

    def _emit(self, frames: Iterable[fc.Frame]) -> None:
        for frame in frames:
            link = self._link_of(frame.d_id)
            if link is not None:
                self._send(link.fcoe, ethernet.wrap(frame, ethernet.port_mac(frame.d_id), link.mac))

    def _link_of(self, fc_id: int) -> Link | None:
        port = self._fabric.ports.get(fc_id)
        return self._links.get(port.link) if port else None

    def _advertise(self, link: Link, to: bytes, size: int | None) -> None:
        milliseconds = int(1000 * self._keep_alive)
        self._send(link.fip, ethernet.advertisement(to, link.mac, SWITCH_WWN, FABRIC_WWN, milliseconds, size))

    def _send(self, sock: socket.socket, packet: bytes) -> None:
        try:
            sock.send(packet)
        except OSError as error:
            # As on a wire: its sender tries again.
            log.warning("frame lost: %s", error)


def _open(interface: str, kind: int) -> socket.socket:
    """A socket for the frames of one type that reach an interface."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
    for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
    sock.bind((interface, kind))
    return sock
