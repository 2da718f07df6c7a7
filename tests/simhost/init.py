# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a host: a guardian outside, process 1 inside, and the server below it.

The end of process 1 ends every process of the host and with the last of them all its mounts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from simhost import linux, namespace, scenario, server
from simhost.commands import Commands
from simhost.places import LOG, PID, STAGE


def guardian(folder: Path, name: str, lifeline: int, ready: int) -> int:
    """Make the namespaces, start process 1 in them and wait for its end; its exit status.

    `lifeline` is a descriptor whose other end the starter keeps open: at its end the host ends (-1: the host stays
    until it is told to end). `ready` is one that gets a line: "ok", or why the host did not start.
    """
    try:
        plan = scenario.load(scenario.find(name))
        namespace.enter(os.geteuid() != 0)
    except (OSError, ValueError, namespace.NamespaceError) as error:
        _tell(ready, str(error))
        return 1
    gate_read, gate_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gate_write)
        linux.die_with_parent(signal.SIGKILL)
        if not os.read(gate_read, 1):
            os._exit(1)
        os._exit(_first_process(folder, plan, lifeline, ready))
    # The process id is written before the host is ready, so that whoever is told so can enter it.
    (folder / PID).write_text(f"{child}\n", encoding="ascii")
    os.write(gate_write, b"1")
    os.close(gate_write)
    os.close(gate_read)
    os.close(ready)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = os.waitpid(child, 0)[1]
    # All processes of the host are gone; this one alone still sees its mounts.
    with contextlib.suppress(OSError):
        linux.umount(str(folder / STAGE))
    shutil.rmtree(folder, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def _tell(ready: int, text: str) -> None:
    os.write(ready, f"{text}\n".encode())
    os.close(ready)


def _first_process(folder: Path, plan: scenario.Scenario, lifeline: int, ready: int) -> int:
    try:
        mountpoint = namespace.build(str(folder / STAGE), plan)
    except namespace.NamespaceError as error:
        _tell(ready, str(error))
        return 1
    up_read, up_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(up_read)
        os.close(ready)
        try:
            server.main(folder, plan, mountpoint, up_write)
        except (OSError, RuntimeError, ValueError) as error:
            with contextlib.suppress(OSError):
                os.write(up_write, f"{error}".encode())
        os._exit(1)
    os.close(up_write)
    answer = os.read(up_read, 4096)
    os.close(up_read)
    if answer != b"1":
        _tell(ready, f"the server of the host ended: {answer.decode() or f'see {folder / LOG}'}")
        return 1
    namespace.show_sysfs(mountpoint, plan.readonly)
    waiting = Commands(folder)
    _tell(ready, "ok")
    ended = waiting.serve(child, lifeline)
    # The kernel ends them with us, but then nobody collects them and their processor time is lost (tests/reaper.py).
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return ended
