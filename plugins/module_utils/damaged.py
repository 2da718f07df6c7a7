# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of a file that cannot be understood, by whoever means just this file: it can be put back as it was."""

from __future__ import annotations

import contextlib
import os

from . import definitions
from .definitions import DamagedDefinition, LaterVersion
from .plan import Step
from .text import shown


def removal(error: DamagedDefinition, what: str) -> Step:
    """The step that removes the file that ``error`` tells of; ``what`` names its device or pool.

    It is set aside first, whatever it is, and is gone when nothing has to be taken back any more; a folder stays, for
    which the step raises ``error``. Raises ``error`` at once where a later release wrote the file.
    """
    if isinstance(error, LaterVersion):
        raise error
    path = error.path
    aside = definitions.temporary(path)

    def set_aside() -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            raise error
        with definitions.explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)

    def put_back() -> None:
        with definitions.explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(aside, path)

    return Step(
        f"remove the damaged definition of {what}, {shown(path)}",
        set_aside,
        put_back,
        finish=lambda: definitions.clear_up(path),
    )
