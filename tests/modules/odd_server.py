# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules in a simulated host, each in a fork of a process that has imported them all: some 50 a second.

Started in the host as ``python odd_server.py MODULE...``. A request is a line of JSON on standard input, its answer one
on standard output, in which bytes stand as the characters of Latin-1.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import select
import shutil
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MODULES = "ansible_collections.hostdev.nodedev.plugins.modules"
# All that the modules keep, and what they make.
KEPT = ("/etc/mdevctl.d", "/etc/nodedev.d", "/run/nodedev.d")
MDEVS, VPORTS, PORTS = "/sys/bus/mdev/devices", "/sys/class/fc_vports", "/sys/class/fc_host"
# The types that virtual functions have as vGPUs.
VGPUS = "/sys/bus/pci/devices/*/nvidia/current_vgpu_type"
FAILED = 1

State = dict[str, list[str]]


def main(names: Iterable[str]) -> None:
    """Answer requests until there are no more."""
    mains = {name: importlib.import_module(f"{MODULES}.{name}").main for name in names}
    for library in ("lxml.etree", "pyudev"):
        importlib.import_module(library)
    first = state()
    answers: dict[str, Callable[..., Any]] = {
        "run": lambda module, arguments, seconds: run(mains[module], arguments, seconds),
        "state": state,
        "plant": plant,
        "reset": lambda: reset(first),
    }
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answers[request.pop("do")](**request)), flush=True)


def run(entry: Callable[[], None], arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
    """How a module ends with these arguments: its status, None where it has not ended in time, and what it printed."""
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    os.write(streams[0], json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    os.lseek(streams[0], 0, os.SEEK_SET)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(entry, streams)
    watch = os.pidfd_open(child)
    ended = bool(select.select([watch], [], [], seconds)[0])
    os.close(watch)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output, errors = (_content(stream) for stream in streams[1:])
    for stream in streams:
        os.close(stream)
    took = time.monotonic() - start
    return {"status": status if ended else None, "stdout": output, "stderr": errors, "seconds": took}


def _become(entry: Callable[[], None], streams: list[int]) -> None:
    """In the child: the module, as Ansible starts it."""
    status = FAILED
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.argv = ["module"]
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        entry()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _content(stream: int) -> str:
    os.lseek(stream, 0, os.SEEK_SET)
    with open(os.dup(stream), "rb") as file:
        return file.read().decode("latin-1")


def state() -> State:
    """All that is kept and all that runs, by its path: what it is and what is in it."""
    found: State = {}
    for root in KEPT:
        for folder, folders, files in os.walk(root):
            found[folder] = ["folder", ""]
            for path in (os.path.join(folder, name) for name in (*folders, *files)):
                found[path] = _entry(path)
    for folder in (MDEVS, VPORTS):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            found[f"{folder}/{name}"] = ["device", os.readlink(f"{folder}/{name}")]
    for path in glob.glob(VGPUS):
        found[path] = ["device", Path(path).read_text()]
    return found


def _entry(path: str) -> list[str]:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return ["link", os.readlink(path)]
    if stat.S_ISREG(mode):
        return ["file", Path(path).read_bytes().decode("latin-1")]
    return ["folder" if stat.S_ISDIR(mode) else f"mode {stat.S_IFMT(mode):o}", ""]


def plant(entries: list[tuple[str, str, str]]) -> None:
    """Make entries, of which each is a path, what is to stand there, and what is in it."""
    for path, kind, content in entries:
        # One may stand in the place of another's folder.
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if kind == "file":
                with open(path, "xb") as file:
                    file.write(content.encode("latin-1"))
            elif kind == "link":
                os.symlink(content, path)
            elif kind == "folder":
                os.mkdir(path)
            else:
                os.mkfifo(path)


def reset(first: State) -> None:
    """Remove what was made and planted, and put back what was kept at first."""
    for name in os.listdir(MDEVS) if os.path.isdir(MDEVS) else ():
        Path(f"{MDEVS}/{name}/remove").write_text("1")
    for name in os.listdir(VPORTS) if os.path.isdir(VPORTS) else ():
        names = (Path(f"{VPORTS}/{name}/{key}_name").read_text().strip().removeprefix("0x") for key in ("port", "node"))
        Path(f"{PORTS}/host{name[6:].split(':')[0]}/vport_delete").write_text(":".join(names))
    for path in glob.glob(VGPUS):
        Path(path).write_text("0")
    for root in KEPT:
        shutil.rmtree(root, ignore_errors=True)
    for path, (kind, content) in first.items():
        if kind == "folder":
            os.makedirs(path, exist_ok=True)
        elif kind == "file":
            Path(path).write_bytes(content.encode("latin-1"))


if __name__ == "__main__":
    main(sys.argv[1:])
