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
INTERPRETER = "/usr/local/bin/warm-python"
OURS = paths.REPOSITORY / "plugins" / "module_utils"
PLACES = {
    "warm-python": INTERPRETER.lstrip("/"),
    "warm-python.service": "etc/systemd/system/warm-python.service",
    "warm-python.socket": "etc/systemd/system/warm-python.socket",
    "warm_python.py": f"{FOLDER}/warm_python.py",
}
UNITS = "warm-python.socket warm-python.service"
# The first request starts the interpreter, and is the proof that it works: a caller would wait for ever.
START = f"systemctl daemon-reload && systemctl stop {UNITS} && systemctl enable --quiet --now warm-python.socket"
START_LIMIT = 120.0


def install(machine: Machine) -> str:
    """Install the interpreter with this Ansible's library, and start it; returns its path. KernelhostError."""
    sent = subprocess.run([*machine.ssh_command(), "tar -x -C /"], input=_archive(), capture_output=True, check=False)
    if sent.returncode != 0:
        raise KernelhostError(f"cannot install the warm interpreter: {sent.stderr.decode(errors='replace').strip()}")
    machine.run(f"{START} && echo pass | {INTERPRETER}", limit=START_LIMIT)
    return INTERPRETER


def _archive() -> bytes:
    """All files, with the libraries for modules, Ansible's and ours, under packages that have nothing else in them."""
    package = Path(ansible.__file__).parent
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, place in PLACES.items():
            archive.add(SOURCE / name, place, filter=_root)
        archive.add(package / "module_utils", f"{FOLDER}/library/ansible/module_utils", filter=_root)
        archive.addfile(tarfile.TarInfo(f"{FOLDER}/library/ansible/__init__.py"))
        for path in (OURS, *OURS.rglob("*")):
            place = f"{FOLDER}/library/ansible_collections/hostdev/nodedev/{path.relative_to(paths.REPOSITORY)}"
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
