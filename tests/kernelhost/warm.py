# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts an interpreter into the guest that costs Ansible a fifth of the time of Python's own (warm/warm_python.py).

The image has none of it, so that the guest stays like any managed host.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import ansible

from . import paths
from .machine import Machine
from .steps import KernelhostError

SOURCE = paths.PACKAGE / "warm"
FOLDER = "usr/local/lib/warm-python"
LIBRARY = f"{FOLDER}/library"
INTERPRETER = "/usr/local/bin/warm-python"
OURS = paths.REPOSITORY / "plugins" / "module_utils"
PLACES = {
    "warm-python": INTERPRETER.lstrip("/"),
    "warm-python.service": "etc/systemd/system/warm-python.service",
    "warm-python.socket": "etc/systemd/system/warm-python.socket",
    "warm_python.py": f"{FOLDER}/warm_python.py",
    # How a script ends there and on the simulated host.
    "../../modules/forked_script.py": f"{FOLDER}/forked_script.py",
}
UNITS = "warm-python.socket warm-python.service"
# What systemctl enable would make, after which it has systemd read all units once more.
ENABLED = "etc/systemd/system/sockets.target.wants/warm-python.socket"
RESTART = f"systemctl stop {UNITS} && systemctl start warm-python.socket"
START_LIMIT = 120.0


def install(machine: Machine) -> str:
    """Install the interpreter with this Ansible's library, and start it; returns its path. KernelhostError."""
    sent = subprocess.run([*machine.ssh_command(), "tar -x -C /"], input=_archive(), capture_output=True, check=False)
    if sent.returncode != 0:
        raise KernelhostError(f"cannot install the warm interpreter: {sent.stderr.decode(errors='replace').strip()}")
    # The first request starts the interpreter, and is the proof that it works: a caller would wait for ever.
    machine.run(f"systemctl daemon-reload && {RESTART} && echo pass | {INTERPRETER}", limit=START_LIMIT)
    return INTERPRETER


def _archive() -> bytes:
    """All files, with the libraries for modules, Ansible's and ours, under packages that have nothing else in them."""
    package = Path(ansible.__file__).parent
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, place in PLACES.items():
            archive.add(SOURCE / name, place, filter=_root)
        enabled = tarfile.TarInfo(ENABLED)
        enabled.type, enabled.linkname = tarfile.SYMTYPE, "/etc/systemd/system/warm-python.socket"
        archive.addfile(enabled)
        archive.add(package / "module_utils", f"{LIBRARY}/ansible/module_utils", filter=_root)
        archive.addfile(tarfile.TarInfo(f"{LIBRARY}/ansible/__init__.py"))
        for path in (OURS, *OURS.rglob("*")):
            place = f"{LIBRARY}/ansible_collections/hostdev/nodedev/{path.relative_to(paths.REPOSITORY)}"
            if path.suffix == ".py":
                archive.add(path, place, filter=_root)
            elif path.is_dir() and not (path / "__init__.py").exists():
                # As Ansible has it in a payload.
                archive.addfile(tarfile.TarInfo(f"{place}/__init__.py"))
    return buffer.getvalue()


def _root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A member as root's; None for what is another Python's compiled code."""
    if "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
