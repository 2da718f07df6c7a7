# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside the private host: measures on one static tree after the other, and writes the figures as JSON.

Every figure is the time of a process from its start to its end, with all of its output written, but for the floor's,
which is that of its loop alone. What is compared is run in turns, so that a slow moment of the machine hits all.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simhost import libvirt, linux

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODULE = ROOT / "plugins" / "modules" / "nodedev_facts.py"
PYTHON = "/usr/bin/python3"
STAGE = Path("/run/bench")
SIZES = (4096, 32768)
ROUNDS = {4096: 5, 32768: 3}
LIBVIRTD_ROUNDS = {4096: 5, 32768: 1}
LIBVIRTD_LIMIT = 240.0
SAMPLE = 64


@dataclass
class Figures:
    """What was measured of one thing: seconds of each run, and the largest of its peaks in bytes."""

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    note: str = ""

    def add(self, seconds: float, peak: int) -> None:
        self.seconds.append(seconds)
        self.peak = max(self.peak, peak)

    def told(self) -> dict[str, Any]:
        median = statistics.median(self.seconds) if self.seconds else None
        return {"median": median, "runs": len(self.seconds), "peak": self.peak, "note": self.note}


def timed(arguments: list[str], given: str, output: Path, env: Mapping[str, str] | None = None) -> tuple[float, int]:
    """The seconds and the peak memory in bytes of a process that gets a text and writes to a file.

    This process stays small, as the kernel counts its memory at the start of a child as the child's.
    """
    source = STAGE / "input"
    source.write_text(given, encoding="utf-8")
    with source.open("rb") as stdin, output.open("wb") as stdout:
        start = time.perf_counter()
        process = subprocess.Popen(arguments, stdin=stdin, stdout=stdout, env=env)
        status, usage = os.wait4(process.pid, 0)[1:]
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: {' '.join(arguments)} failed: {output.read_text(errors='replace')[:2000]}")
    return seconds, usage.ru_maxrss * 1024


def module(options: dict[str, Any], output: Path, script: Path = MODULE) -> tuple[float, int]:
    """One run of a module, as Ansible starts it on a managed host."""
    return timed([PYTHON, str(script)], json.dumps({"ANSIBLE_MODULE_ARGS": options}), output)


def files_read(answer: Path) -> tuple[int, int]:
    """How many files of the host the module opens, which it lists in a file, and how many of them it opens again."""
    output = STAGE / "output"
    command = [PYTHON, str(HERE / "files.py"), str(answer), PYTHON, str(MODULE)]
    timed(command, json.dumps({"ANSIBLE_MODULE_ARGS": {}}), output)
    files, again = output.read_text().split()
    return int(files), int(again)


def floor(files: Path) -> tuple[float, int]:
    output = STAGE / "floor"
    peak = timed([PYTHON, "-I", "-S", str(HERE / "floor.py"), str(files)], "", output)[1]
    return float(output.read_text()), peak


class Libvirtd:
    """libvirtd with the node device driver alone, from its start to its end."""

    def __enter__(self) -> Libvirtd:
        self.start = time.perf_counter()
        self.log = (STAGE / "libvirtd.log").open("wb")
        self.process = subprocess.Popen(
            ["sh", "-c", libvirt.SCRIPT], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def dump(self, output: Path) -> tuple[float, int]:
        """The seconds since the start until a client has all XML, and the daemon's peak memory; TimeoutExpired."""
        with output.open("wb") as stdout:
            command = [PYTHON, str(HERE / "oracle.py")]
            subprocess.run(command, stdout=stdout, check=True, timeout=LIBVIRTD_LIMIT)
        seconds = time.perf_counter() - self.start
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return seconds, int(status.split("VmHWM:")[1].split()[0]) * 1024


def virsh(names: list[str]) -> float:
    """The seconds of a virsh process for each of a sample of the devices, scaled to all of them."""
    sample = names[:: max(1, len(names) // SAMPLE)]
    start = time.perf_counter()
    for name in sample:
        command = ["virsh", "-c", libvirt.URI, "nodedev-dumpxml", name]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * len(names) / len(sample)


def names_in(output: Path, *path: str) -> list[str]:
    """The names in a JSON file, read by a process of its own to keep this one small."""
    program = (
        "import functools, json, sys; found = json.load(open(sys.argv[1]));"
        "print(*functools.reduce(lambda part, key: part[key], sys.argv[2:], found), sep='\\n')"
    )
    found = subprocess.run([PYTHON, "-c", program, str(output), *path], check=True, capture_output=True, text=True)
    return sorted(found.stdout.split())


def measure(functions: int) -> dict[str, Any]:
    """All figures on a tree of so many PCI functions, which is /sys for the time being."""
    output, theirs, files = STAGE / "output", STAGE / "theirs", STAGE / "files"
    told: dict[str, Figures] = {}
    read, again = files_read(files)
    print(f"bench: {functions} functions, {read} files read, {again} of them more than once", flush=True)

    variants: dict[str, dict[str, Any]] = {"ours": {}, "ours with XML": {"xml": True}}
    variants["ours, mdev_types alone"] = {"capabilities": ["mdev_types"]}
    for number in range(ROUNDS[functions]):
        for name, options in variants.items():
            told.setdefault(name, Figures()).add(*module(options, output))
        told.setdefault("floor", Figures()).add(*floor(files))
        told.setdefault("a module that does nothing", Figures()).add(*module({}, output, HERE / "nothing.py"))
        libvirtd = told.setdefault("libvirtd", Figures())
        if number < LIBVIRTD_ROUNDS[functions]:
            with Libvirtd() as daemon:
                try:
                    libvirtd.add(*daemon.dump(theirs))
                except subprocess.TimeoutExpired:
                    libvirtd.note = f"not ready after {LIBVIRTD_LIMIT:g} s, ended"
                    continue
                if number == 0:
                    names = names_in(theirs, "names")
                    each = told.setdefault("virsh nodedev-dumpxml", Figures())
                    each.add(virsh(names), 0)
                    each.note = f"one process a device, {SAMPLE} of them, scaled"
        print(f"bench: round {number + 1} of {ROUNDS[functions]}", flush=True)

    module({}, output)
    if libvirtd.seconds and names_in(output, "ansible_facts", "nodedev", "devices") != names_in(theirs, "names"):
        raise SystemExit("bench: we and libvirtd do not list the same devices, so the figures cannot be compared")
    return {"files": read, "figures": {name: figures.told() for name, figures in told.items()}}


def main(answer: str) -> None:
    results = {}
    for functions in SIZES:
        tree = STAGE / str(functions)
        tree.mkdir(parents=True)
        linux.mount("bench", str(tree), "tmpfs", linux.MS_NOSUID)
        subprocess.run([sys.executable, str(HERE / "tree.py"), str(tree), str(functions)], check=True)
        linux.bind(str(tree), "/sys")
        results[functions] = measure(functions)
        linux.umount("/sys")
        linux.umount(str(tree))
    Path(answer).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
