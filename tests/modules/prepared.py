# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Python on simulated hosts: `python prepared.py IMPORTED...`, with a socket as its standard input.

What a module imports takes longer than its work; here it is imported once: packages whole, and single modules. A
request is a packet: the host's folder, the process id of its first process, the name of a socket in the folder, and
what every command finds in its environment there; the answer is a process id. That process is the host's own, ends
with it, and listens on the socket: it is asked as the host's first process is (simhost/client.py), to run Python with
a script, or with `-`. Each run is a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

from forked_script import end, status_of

LENGTH_BYTES = 4
STREAMS = 3
REQUEST_BYTES = 65536
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def received(connection: socket.socket) -> tuple[list[str], list[int]]:
    """The texts of a request, and its three streams; EOFError if it is not complete."""
    data, streams = socket.recv_fds(connection, 65536, STREAMS)[:2]
    while len(data) < LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little"):
        part = connection.recv(65536)
        if not part:
            raise EOFError("the request is not complete")
        data += part
    return [os.fsdecode(text) for text in data[LENGTH_BYTES:].split(b"\0")[:-1]], streams


def collect(*_: object) -> None:
    """Collect those whose host has ended, so that processor time is counted (tests/reaper.py)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def become(texts: list[str], streams: list[int]) -> None:
    """Take over what a request asks for, with the arguments of Python's."""
    directory, umask, count = texts[0], int(texts[1]), int(texts[2])
    os.setsid()
    os.chdir(directory)
    os.umask(umask)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(text.split("=", 1) for text in texts[3 + count :])
    sys.argv = texts[4 : 3 + count]


def wait_for_request(folder: str, name: str, own: dict[str, str], ready: int) -> None:
    """Wait to be asked: it returns once for each request, in a process of its own. `ready` is closed before."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    place = os.open(folder, os.O_PATH)
    address = f"/proc/self/fd/{place}/{name}"
    if os.path.lexists(address):
        os.unlink(address)
    listener.bind(address)
    listener.listen(64)
    os.close(ready)
    # By the descriptor of a process that runs: its id, and the connection on which its exit status is waited for.
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        waiting = {connection: child for child, connection in running.values()}
        for found in select.select([listener, *waiting, *running], [], [])[0]:
            if found is listener:
                connection = listener.accept()[0]
                texts, streams = received(connection)
                child = os.fork()
                if child == 0:
                    for each in (listener, connection, *waiting):
                        each.close()
                    for descriptor in (place, *running):
                        os.close(descriptor)
                    become(texts, streams)
                    os.environ.update(own)
                    return
                for stream in streams:
                    os.close(stream)
                running[os.pidfd_open(child)] = child, connection
            elif found in waiting:
                # Nobody does any more; it may not be a group of its own yet, and is found here again.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(waiting[found], signal.SIGKILL)
            else:
                child, connection = running.pop(found)
                os.close(found)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(f"{status}\n".encode())
                connection.close()


def enter(first: int) -> None:
    """Have the next child be a process of the host with this first process (setns(2))."""
    namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET
    if not os.path.samefile(f"/proc/{first}/ns/user", "/proc/self/ns/user"):
        namespaces |= CLONE_NEWUSER
    process = os.pidfd_open(first)
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(process, namespaces) != 0:
        raise OSError(ctypes.get_errno(), "the namespaces of the host cannot be entered")
    os.close(process)


def wait_for_host(requests: socket.socket) -> None:
    """Wait as `wait_for_request` does, for all hosts; SystemExit when nobody can ask any more."""
    signal.signal(signal.SIGCHLD, collect)
    while request := requests.recv(REQUEST_BYTES):
        folder, first, name, own = json.loads(request)
        if os.fork() != 0:
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        enter(first)
        ready, written = os.pipe()
        child = os.fork()
        if child != 0:
            os.close(written)
            os.read(ready, 1)
            requests.send(str(child).encode())
            requests.close()
            # A host has not ended before somebody has collected its processes, and its first one is not asked to.
            os.wait()
            os._exit(0)
        os.close(ready)
        requests.close()
        wait_for_request(folder, name, own, written)
        return
    sys.exit()


def prepare(names: list[str]) -> None:
    """Import what is named, and all that is in it."""
    for name in names:
        module = importlib.import_module(name)
        # Folders of a collection have no __init__.py, and pkgutil passes over such.
        for folder in getattr(module, "__path__", []):
            for file in Path(folder).rglob("*.py"):
                importlib.import_module(".".join((name, *file.relative_to(folder).with_suffix("").parts)))
    gc.collect()
    gc.freeze()


def run() -> None:
    """Run what Python would with these arguments."""
    (script,) = sys.argv
    if script == "-":
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[0] = os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    prepare(sys.argv[1:])
    wait_for_host(socket.socket(fileno=os.dup(0)))
    end(status_of(run))
