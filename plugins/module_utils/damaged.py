# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of a file that cannot be understood, by whoever means just this file: it can be put back as it was."""

from __future__ import annotations

import contextlib
import os
import stat

from . import definitions
from .definitions import DamagedDefinition, LaterVersion
from .plan import Step
from .text import shown


def removal(error: DamagedDefinition, what: str) -> Step:
    """The step that removes the file that ``error`` tells of; ``what`` names its device or pool.

    Raises ``error`` where a later release wrote the file. The step itself raises it for what cannot be put back: a
    folder, a device, or more than a definition can be. A link is removed, not what it leads to.
    """
    if isinstance(error, LaterVersion):
        raise error
    file = _File(error)
    return Step(f"remove the damaged definition of {what}, {shown(error.path)}", file.remove, file.put_back)


class _File:
    """A damaged file, and from its removal on what it was."""

    def __init__(self, error: DamagedDefinition) -> None:
        self.error = error
        self.path = error.path
        self.removed = False
        self.link: str | None = None
        self.content = b""
        self.mode = definitions.MODE

    def remove(self) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            self.link = os.readlink(self.path)
        elif stat.S_ISREG(found.st_mode):
            self.content, self.mode = self._read()
        else:
            raise self.error
        definitions.remove(self.path)
        self.removed = True

    def _read(self) -> tuple[bytes, int]:
        # It may be another file by now, and not one that reads without end or blocks.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self.path, flags), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(definitions.LARGEST + 1)
        if len(content) > definitions.LARGEST:
            raise self.error
        return content, stat.S_IMODE(mode)

    def put_back(self) -> None:
        if not self.removed:
            return
        folder, name = os.path.split(self.path)
        definitions.make_folder(folder)
        temporary = os.path.join(folder, definitions.TEMPORARY + name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if self.link is not None:
            os.symlink(self.link, temporary)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, definitions.MODE), "wb") as file:
                os.fchmod(file.fileno(), self.mode)
                file.write(self.content)
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, self.path)
