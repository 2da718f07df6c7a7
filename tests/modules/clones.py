# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import ROOT


def clone(folder: Path) -> None:
    """Copy what is committed or about to be into a new folder."""
    folder.mkdir()
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    archive = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, input=names, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive, check=True)
