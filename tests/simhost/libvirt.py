# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirtd inside a host, with the node device driver alone."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

URI = "nodedev:///system"
_START_SECONDS = 20.0
# Without the other drivers the daemon starts in a moment and needs no users, networks or directories of theirs.
SCRIPT = """\
set -e
mkdir -p /etc/libvirt /run/simhost-drivers
printf 'auth_unix_ro = "none"\\nauth_unix_rw = "none"\\n' > /etc/libvirt/libvirtd.conf
for module in /usr/lib*/libvirt/connection-driver/*_nodedev.so /usr/lib/*/libvirt/connection-driver/*_nodedev.so
do
    [ ! -e "$module" ] || ln -sf "$module" /run/simhost-drivers/
done
export LIBVIRT_DRIVER_DIR=/run/simhost-drivers
exec libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Popen = Callable[..., "subprocess.Popen[Any]"]


@dataclass(frozen=True)
class Libvirtd:
    """A running daemon: `uri` works for clients inside the host; `log` is what it has printed so far."""

    uri: str
    log: Path
    run: Run

    def virsh(self, *arguments: str, check: bool = True) -> str:
        """Standard output of a virsh command on this daemon; CalledProcessError if it fails and `check` is set."""
        return self.run(["virsh", "-c", self.uri, *arguments], check=check).stdout


@contextlib.contextmanager
def running(run: Run, popen: Popen) -> Iterator[Libvirtd]:
    """Start libvirtd by the host's `run` and `popen` and end it with the block. TimeoutError carries its log."""
    with tempfile.NamedTemporaryFile(prefix="simhost-libvirtd-", suffix=".log") as log:
        process = popen(["sh", "-c", SCRIPT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            daemon = Libvirtd(URI, Path(log.name), run)
            _wait_for(daemon, process)
            yield daemon
        finally:
            # The host's first process kills the daemon as soon as this client of it has ended;
            # the end of the pipe says that it is gone.
            process.kill()
            process.wait()
            process.stdout.read()
            process.stdout.close()


def _wait_for(daemon: Libvirtd, process: subprocess.Popen[Any]) -> None:
    end = time.monotonic() + _START_SECONDS
    # The answer comes when all devices have been listed. What appears before that has no parent but the computer.
    while daemon.run(["virsh", "-c", daemon.uri, "nodedev-list", "--cap", "system"], check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > end:
            text = daemon.log.read_text(encoding="utf-8", errors="replace")
            raise TimeoutError(f"libvirtd does not answer; is the package libvirt-daemon installed?\n{text}")
        time.sleep(0.02)
