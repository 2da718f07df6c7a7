# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of a file that cannot be understood, by whoever means just this file: it can be put back as it was."""

from __future__ import annotations

import contextlib
import os

from ..plan import Step
from ..text import shown
from . import files
from .files import DamagedDefinition, LaterVersion


def removal(error: DamagedDefinition, what: str) -> Step:
    """The step that removes the file that ``error`` tells of; ``what`` names its device or pool.

    It is set aside first, whatever it is, and is gone when nothing has to be taken back any more; a folder stays, for
    which the step raises ``error``. Raises ``error`` at once where a later release wrote the file.
    """
    if isinstance(error, LaterVersion):
        raise error
    path = error.path
    aside = files.temporary(path)

    def set_aside() -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            raise error
        with files.explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)

    def put_back() -> None:
        with files.explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(aside, path)

    return Step(
        f"remove the damaged definition of {what}, {shown(path)}",
        set_aside,
        put_back,
        finish=lambda: files.clear_up(path),
    )
