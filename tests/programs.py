# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that tests run to their end."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def printed(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> str:
    """All that a program prints in a folder, its errors too; it gets no input, and must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}"
    return done.stdout
