# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that are made once, whole or not at all, and kept while they are used."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .steps import locked, say, step

KEEP = 2
HASH_LENGTH = 16


def name_for(source: str) -> str:
    """A name for a Python file as it is now, which says what is in a folder."""
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:HASH_LENGTH]


def find_or_make(folder: Path, what: str, make: Callable[[Path], Path]) -> Path:
    """The folder as it is, else what `make` returns of the empty folder it is given, which goes afterwards.

    The folder's name stands for all inputs. Of its neighbours, the KEEP used last stay.
    """
    with locked(folder.parent / "lock"):
        if not folder.exists():
            with step(what):
                _make_beside(folder, make)
            _prune(keep=folder)
            say(f"{folder.name}: {_size(folder) / 1e6:.0f} MB in {folder}")
        # The age decides which are pruned, so that of one in use must not grow.
        os.utime(folder)
    return folder


def _make_beside(folder: Path, make: Callable[[Path], Path]) -> None:
    """Make it in a temporary folder beside and rename the result, so that no half one is ever found."""
    for leftover in folder.parent.glob("build-*"):
        shutil.rmtree(leftover)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=folder.parent))
    try:
        make(work).rename(folder)
    finally:
        shutil.rmtree(work)


def _prune(keep: Path) -> None:
    """Remove what was unused for longest. A running machine has its files open and can go on."""
    others = [path for path in keep.parent.iterdir() if path.is_dir() and path != keep]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEEP - 1 :]:
        say(f"removing old {path.name}")
        shutil.rmtree(path)


def _size(folder: Path) -> int:
    """Bytes on the disk, which holes in a file do not use."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
