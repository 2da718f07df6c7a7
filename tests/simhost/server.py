# SPDX-License-Identifier: GPL-3.0-or-later
"""The server process of a host: FUSE, the control socket and reboots."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simhost import control, nvidia_tools, scenario
from simhost.drivers import fc_host
from simhost.faults import Fault
from simhost.fusefs import SysfsOperations, interrupted, serve
from simhost.host import Host, boot_faults
from simhost.namespace import write_proc, write_sriov_manage
from simhost.programs import PROGRAMS
from simhost.uevents import Udev
from simhost.vfio import VfioNode

_KILL_SECONDS = 5.0
_UNPLUG_SECONDS = 1.0


class Server:
    """One host from its start to its end, over any number of reboots."""

    def __init__(self, folder: Path, plan: scenario.Scenario) -> None:
        self.folder = folder
        self.plan = plan
        self.operations = SysfsOperations()
        self.udev = Udev()
        self.faults = boot_faults(plan)
        self.boots = 0
        self.forbidden: list[tuple[str, str]] = []
        self.boot()

    def boot(self) -> None:
        """Build the host from its scenario."""
        self.host = Host(
            self.plan, self.udev, self.faults, interrupted, self.operations.invalidate, self.boots, self.forbidden
        )
        self.operations.host = self.host
        self.boots += 1

    def run(self, mountpoint: str, ready: int) -> None:
        """Serve until killed; a byte is written to the descriptor `ready` when requests are answered."""

        def on_ready() -> None:
            # Threads are started here: libfuse has finished what it does before its loop.
            listener = control.server(self.folder, self.answer)
            threading.Thread(target=listener.serve_forever, daemon=True).start()
            os.write(ready, b"1")
            os.close(ready)

        self.operations.on_ready = on_ready
        serve(self.operations, mountpoint)

    def answer(self, message: Mapping[str, Any], peer: int) -> Any:
        """Do what a request asks; its result is sent back as JSON."""
        operation = message["operation"]
        if operation == "fault":
            self.faults.add(Fault.from_mapping(message["rule"]))
            return None
        if operation == "clear":
            self.faults.clear()
            return None
        if operation == "faults":
            return list(self.faults.describe())
        if operation == "holders":
            return self._holders()
        if operation == "node":
            return self._node(str(message["what"]))
        if operation == "reboot":
            return self._reboot(peer)
        if operation == "link":
            return fc_host.link(self.host, str(message["what"]), str(message["state"]))
        if operation == "reload":
            return fc_host.reload(self.host, str(message["what"]))
        if operation == "program":
            program = {**PROGRAMS, **nvidia_tools.PROGRAMS}[str(message["name"])]
            return asdict(program(self.host, [str(item) for item in message["arguments"]]))
        if operation == "unplug":
            return self.host.begin(self.host.binding.unplug(str(message["what"])), _UNPLUG_SECONDS)
        if operation == "plug":
            with self.host.lock:
                return self.host.binding.plug(str(message["what"]))
        if operation == "new_ids":
            return self.host.binding.files.new_ids
        if operation == "forbidden":
            return self.forbidden
        if operation == "unmap":
            with self.host.lock:
                return self.host.stacked.unmap(str(message["what"]))
        raise ValueError(f"operation {operation!r} is unknown")

    def _holders(self) -> dict[str, list[int]]:
        nodes = self.host.tree.nodes.values()
        return {n.path: list(n.users.values()) for n in nodes if isinstance(n, VfioNode) and n.users}

    def _node(self, what: str) -> str:
        """The VFIO node of a group number, of an mdev's UUID or of a PCI address; a disk's or sg node by its name."""
        tree = self.host.tree
        if what in self.host.nodes:
            return f"/dev/{what}"
        if f"/dev/vfio/{what}" in tree.nodes:
            return f"/dev/vfio/{what}"
        for bus in ("mdev", "pci"):
            with contextlib.suppress(OSError):
                group = tree.resolve(f"/sys/bus/{bus}/devices/{what}/iommu_group").rpartition("/")[2]
                return f"/dev/vfio/{group}"
        raise ValueError(
            f"nothing with a node is called {what!r}: give a group, an mdev's UUID, a PCI address or a disk"
        )

    def _reboot(self, peer: int) -> None:
        """End all processes but the caller's line, empty /run, and build the devices anew."""
        self._kill_others(peer)
        clear_run()
        self.host.close()
        old = self.host.tree
        self.boot()
        write_proc(self.plan)
        write_sriov_manage(self.folder, self.plan)
        # What the kernel remembers of all names may be wrong now, even of those that are there but do not show yet.
        for path in old.nodes:
            self.operations.invalidate(path)

    def _kill_others(self, peer: int) -> None:
        spared = {1, os.getpid(), *_line_of(peer)}
        end = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < end:
            victims = [pid for pid in _processes() if pid not in spared]
            if not victims:
                return
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        raise ValueError("processes of the host did not end within 5 seconds of SIGKILL")


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _line_of(pid: int) -> list[int]:
    """A process and its ancestors within the host."""
    line = []
    while pid > 0:
        line.append(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        pid = int(text.rpartition(")")[2].split()[1])
    return line


def clear_run() -> None:
    """Empty /run but for udev's directory, which is written anew."""
    for folder, directories, files in os.walk("/run", topdown=False):
        if folder == "/run/udev" or folder.startswith("/run/udev/"):
            continue
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in directories:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                os.unlink(path)
            elif path not in ("/run/udev", "/run/lock"):
                os.rmdir(path)


def main(folder: Path, plan: scenario.Scenario, mountpoint: str, ready: int) -> None:
    """The body of the server process."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    Server(folder, plan).run(mountpoint, ready)
