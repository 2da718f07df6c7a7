# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that say what should exist: read tolerantly, written whole or not at all.

Whoever writes holds the lock of what the file is about (locks.py), so that no file is written twice at once.
What mdevctl or driverctl keep is in their own formats; all else is a JSON document with a version, one file each, in
a folder of its kind below STORE, or below RUNTIME where it is not meant to outlast the boot.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from ..errors import NodedevError
from ..plan import Step
from ..text import cleaned, is_number, shown

STORE = "/etc/nodedev.d"
RUNTIME = "/run/nodedev.d"
VERSION = 1
# They are of no interest but to root.
MODE = 0o600
FOLDER_MODE = 0o755
SUFFIX = ".json"
# What the name of a file begins with that is not yet complete.
TEMPORARY = ".nodedev-"
# Bytes that a file of ours or of mdevctl's never has: one that is longer was not written by either.
LARGEST = 1 << 20
# Digits of a number in a document: with very many of them a number takes seconds to understand.
DIGITS = 1000
# How often a folder is made again that another run removes at this moment.
ATTEMPTS = 10

Document = dict[str, Any]


class DamagedDefinition(NodedevError):
    """A file that cannot be understood. It is left as it is: somebody's wish is in it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the definition {shown(path)} is damaged ({shown(reason)}); it was left alone: repair it or delete it"
        )
        self.path = path
        self.reason = reason


class LaterVersion(DamagedDefinition):
    """A document of a later release, whole as it may be: nothing that this one knows may replace or remove it."""


def entries(folder: str) -> list[str]:
    """The names in a folder, sorted; none without the folder. DamagedDefinition where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def may_hold(path: str) -> bool:
    """Whether something is in a folder, or is this file; True of what cannot be read, which has to be told."""
    try:
        return bool(os.listdir(path))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def folders(kind: str) -> tuple[str, str]:
    """Where the documents of a kind are: those that last, and those of this boot."""
    return os.path.join(STORE, kind), os.path.join(RUNTIME, kind)


def read(path: str) -> str | None:
    """The text of a definition; None where there is none. Raises DamagedDefinition for what cannot be read."""
    data = content(path)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedDefinition(path, "it is not UTF-8 text") from error


def content(path: str) -> bytes | None:
    """The bytes of a file; None where there is none. Raises DamagedDefinition for what cannot be read.

    Nothing that is put in its place blocks or fills the memory: only a regular file is opened, and LARGEST bytes read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DamagedDefinition(path, "it is not a regular file")
        # It may be another file by now.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            data = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > LARGEST:
        raise DamagedDefinition(path, f"it has more than {LARGEST} bytes")
    return data


def _unreadable(path: str, error: OSError) -> NodedevError:
    if error.errno == errno.EACCES and os.geteuid() != 0:
        return NodedevError(f"{shown(path)} cannot be read without root: run the task with 'become: true'")
    return DamagedDefinition(path, error.strerror or str(error))


def from_json(path: str, text: str) -> Document:
    """The JSON object that is the text of a file; raises DamagedDefinition where it is none."""
    try:
        found = json_value(text)
    except ValueError as error:
        raise DamagedDefinition(path, f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DamagedDefinition(path, "not a JSON object")
    return found


def json_value(text: str) -> Any:
    """What JSON of others means, be it nested too deep or with a number of very many digits; else ValueError."""
    try:
        found = json.loads(text, parse_int=_integer, parse_constant=_no_constant)
        whole = cleaned(found) == found
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not whole:
        raise ValueError("half of a UTF-16 pair")
    return found


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def make_folder(path: str) -> None:
    """Make a folder and those above it, where they are not there, with a mode that does not depend on the umask."""
    with explained(path):
        _make_folder(path)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        _make_folder(os.path.dirname(path))
        _make_folder(path)
    else:
        os.chmod(path, FOLDER_MODE)


def document_path(kind: str, name: str, root: str) -> str:
    """Where the document of this name is kept; ``root`` is STORE or RUNTIME."""
    return os.path.join(root, kind, name + SUFFIX)


def document(path: str) -> Document | None:
    """A document without its version; None where there is no such file. Raises DamagedDefinition for one that is none.

    One of a later version counts as damaged: what it wants cannot be known here, and it must not be written over.
    """
    text = read(path)
    if text is None:
        return None
    found = from_json(path, text)
    version = found.pop("version", None)
    if version != VERSION or not is_number(version):
        kind = LaterVersion if is_number(version) and version > VERSION else DamagedDefinition
        raise kind(path, f"its version is {version!r}, and this release knows {VERSION} only")
    return found


def document_names(kind: str, root: str) -> list[str]:
    """The names of the documents of a kind, sorted, be they damaged or not."""
    names = entries(os.path.join(root, kind))
    return [name[: -len(SUFFIX)] for name in names if name.endswith(SUFFIX) and not name.startswith(TEMPORARY)]


def write_document(path: str, values: Document) -> None:
    """Keep a document, in one step."""
    write(path, json.dumps({"version": VERSION, **values}, indent=2, ensure_ascii=False) + "\n", MODE)


def write(path: str, text: str | bytes, mode: int) -> None:
    """Replace or make a file in one step: at any moment, also in a crash, it has the old text or the new one."""
    folder = os.path.dirname(path)
    unfinished = temporary(path)
    try:
        data = text if isinstance(text, bytes) else text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NodedevError(f"{shown(path)} cannot be written: {shown(error)}") from error
    with explained(path):
        file = _opened(unfinished)
        try:
            with file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise
        sync(folder)


def _opened(path: str) -> BinaryIO:
    """A new file, open for writing, in a folder that is made where it is not there.

    Another run may remove the folder in between, with the last file in it that is of its own concern.
    """
    for _attempt in range(ATTEMPTS):
        make_folder(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            return _new(path)
        # What a killed run left, or what somebody put there: it is never written through.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return _new(path)


def _new(path: str) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, MODE), "wb")


def temporary(path: str) -> str:
    """A file's name while it is written: always the same, so that a later run clears up after one that was killed."""
    folder, name = os.path.split(path)
    return os.path.join(folder, TEMPORARY + name)


def remove(path: str) -> None:
    """Remove a file, and its folder when that is empty then and can go; no file is no error."""
    folder = os.path.dirname(path)
    with explained(path):
        for name in (path, temporary(path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            # It has others, or is a mount, or a link in the place of a folder, which is somebody's. The file is gone.
            sync(folder)
        else:
            sync(os.path.dirname(folder))


def clear_up(path: str) -> None:
    """Remove what a killed run left of writing this file, where that can be; a file that is complete stays."""
    unfinished = temporary(path)
    if os.path.lexists(unfinished):
        with contextlib.suppress(NodedevError):
            remove(unfinished)


def removal(error: DamagedDefinition, what: str) -> Step:
    """The step that removes a file that cannot be understood, as whoever means just this one wants; for ``what``.

    It is set aside first, whatever it is, and is gone when nothing has to be taken back any more; a folder stays, for
    which the step raises ``error``. Raises ``error`` at once where a later release wrote the file.
    """
    if isinstance(error, LaterVersion):
        raise error
    path = error.path
    aside = temporary(path)

    def set_aside() -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            raise error
        with explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)

    def put_back() -> None:
        with explained(path), contextlib.suppress(FileNotFoundError):
            os.rename(aside, path)

    return Step(
        f"remove the damaged definition of {what}, {shown(path)}", set_aside, put_back, finish=lambda: clear_up(path)
    )


def sync(folder: str) -> None:
    """Make a rename or removal in this folder last through a power failure."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "an error")
        raise NodedevError(f"{shown(path)} could not be changed: {name} ({error.strerror})") from error
