# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of this checkout, and the collection built of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def clone(folder: Path) -> None:
    """Copy what is committed or about to be into a new folder."""
    folder.mkdir()
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    archive = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, input=names, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive, check=True)


def build(folder: Path) -> Path:
    """The collection as it is built to be installed, in this folder."""
    clone(folder / "clone")
    command = [sys.executable, "-m", "ansible", "galaxy", "collection", "build", "--output-path", str(folder)]
    subprocess.run(command, cwd=folder / "clone", stdin=subprocess.DEVNULL, capture_output=True, check=True)
    (built,) = folder.glob("*.tar.gz")
    return built
