# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python has compiled of the boot engine is kept until the next boot, for root alone."""

from __future__ import annotations

import marshal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import UUID, Host
from test_restore import HOOK, engine, restore

__all__ = ["engine"]

COMPILED = "/run/nodedev/compiled"
# The magic number, the kind of check, and what is checked (importlib, PEP 552).
HEADER = 16


@pytest.fixture
def kept(engine: Host) -> Host:
    """The engine, which has run once as its unit runs it."""
    engine.run(["install", "-d", "-m", "755", "/run/nodedev"])
    assert restore(engine).returncode == 0
    return engine


def files(host: Host) -> dict[str, tuple[int, int]]:
    """What was compiled, by module, each with its inode and when it was written."""
    found = host.path(COMPILED).rglob("*.pyc")
    return {path.name.partition(".")[0]: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def file(host: Host, module: str) -> Path:
    return next(host.path(COMPILED).rglob(f"{module}.*.pyc"))


def plant(host: Host) -> None:
    """Have what was compiled say whether it is used; another Python than the host's would compile it otherwise."""
    path = file(host, "restore")
    script = "import marshal, sys; sys.stdout.buffer.write(marshal.dumps(compile('raise SystemExit(7)', 'x', 'exec')))"
    code = host.popen(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE).communicate()[0]
    path.write_bytes(path.read_bytes()[:HEADER] + code)


def test_compiled_once(kept: Host) -> None:
    before = files(kept)
    assert {"restore", "registry", "sysfs"} <= before.keys()
    assert "argparse" not in before
    assert restore(kept, "--list").returncode == 0
    assert files(kept) == before
    plant(kept)
    assert restore(kept).returncode == 7
    kept.reboot()
    assert restore(kept).returncode == 0


def kinds(host: Host) -> set[str]:
    """The kinds of which a file was run."""
    found = host.path(COMPILED).rglob("kinds/*/*.pyc")
    return {path.parent.name for path in found if not path.name.startswith("__init__.")}


def test_a_kind_that_is_not_used_is_not_run(kept: Host) -> None:
    # mdevctl's folder has that of its scripts in it.
    assert kinds(kept) == {"mdev"}
    kept.run(["mkdir", "/etc/driverctl.d"])
    kept.write("/etc/driverctl.d/pci-0000:00:1f.7", "vfio-pci\n")
    assert "pci_0000_00_1f_7" in restore(kept, "--list").stdout
    assert kinds(kept) == {"mdev", "driver"}


def test_a_release_that_is_replaced_before_a_kind_is_run(kept: Host) -> None:
    """What the link led to has gone when it is asked for the kind: the command runs once more."""
    link = "/usr/lib/nodedev/nodedev"
    release, going = kept.realpath(link), "/usr/lib/nodedev/release-0/nodedev"
    kept.run(["sh", "-c", f"mkdir {going.rpartition('/')[0]} && cp -r {release} {going} && ln -sfn {going} {link}"])
    switch = f"import os; os.unlink('{link}'); os.symlink('{release}', '{link}'); os.unlink('{going}/{{}}')"
    kept.run(["sh", "-c", f"cat >> {going}/boot/restore.py"], input=switch.format("kinds/mdev/restored.py"))
    done = restore(kept)
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.realpath(link) == release


HALF: dict[str, Callable[[bytes], bytes]] = {
    "cut in its header": lambda data: data[: HEADER // 2],
    "cut in its code": lambda data: data[: len(data) // 2],
    "no code": lambda data: data[:HEADER],
    "something else": lambda data: data[:HEADER] + marshal.dumps("text"),
    "nonsense": lambda data: data[:HEADER] + b"\xff" * 64,
}


@pytest.mark.parametrize("damaged", HALF.values(), ids=HALF)
def test_half_a_file_is_no_hindrance(kept: Host, damaged: Callable[[bytes], bytes]) -> None:
    path = file(kept, "registry")
    path.write_bytes(damaged(path.read_bytes()))
    done = restore(kept)
    assert (done.returncode, done.stderr) == (0, "")


OTHERS = {
    "another user's": "chown 65534 {folder}",
    "others may write": "chmod 777 {folder}",
    "others may read": "chmod 755 {folder}",
    "a link": "mv {folder} /run/elsewhere; ln -s /run/elsewhere {folder}",
    "a file": "rm -r {folder}; touch {folder}",
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_is_not_roots_alone_is_not_used(kept: Host, change: str) -> None:
    plant(kept)
    kept.run(["sh", "-c", change.format(folder=COMPILED)])
    assert restore(kept).returncode == 0


def test_libvirts_hook(kept: Host) -> None:
    before = files(kept)
    kept.mdev(managed=True)
    domain = f"<domain><name>desk</name><uuid>{UUID}</uuid><devices><hostdev type='mdev'/></devices></domain>"
    kept.run([HOOK, "desk", "prepare", "begin", "-"], input=domain)
    assert "lending" in files(kept).keys() - before.keys()
