# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that say what should exist: read tolerantly, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator

from .errors import NodedevError


class DamagedDefinition(NodedevError):
    """A file that cannot be understood. It is left as it is: somebody's wish is in it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the definition {path} is damaged ({reason}); it was left alone: repair it or delete it")
        self.path = path


def entries(folder: str) -> list[str]:
    """The names in a folder, sorted; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: str) -> str | None:
    """The text of a definition; None where there is none. Raises DamagedDefinition for what cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DamagedDefinition(path, "it is not UTF-8 text") from error
    except OSError as error:
        raise DamagedDefinition(path, error.strerror or str(error)) from error


def make_folder(path: str) -> None:
    """Make a folder and those above it, where they are not there."""
    with _explained(path):
        os.makedirs(path, mode=0o755, exist_ok=True)


def write(path: str, text: str, mode: int) -> None:
    """Replace or make a file in one step: at any moment, also in a crash, it has the old text or the new one."""
    folder = os.path.dirname(path)
    make_folder(folder)
    with _explained(path):
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".nodedev-")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync(folder)


def remove(path: str) -> None:
    """Remove a file, and its folder when that is empty then; no file is no error."""
    folder = os.path.dirname(path)
    with _explained(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _sync(folder)
        else:
            _sync(os.path.dirname(folder))


def _sync(folder: str) -> None:
    """Make a rename or removal in this folder last through a power failure."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "an error")
        raise NodedevError(f"{path} could not be changed: {name} ({error.strerror})") from error
