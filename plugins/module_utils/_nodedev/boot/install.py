# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine's library on the host: this library itself, as it was when the module ran, without Ansible.

Each release is a folder of its own, and a link says which of them runs: at any moment, also in a crash, all of it is of
one release. Root runs it at boot, so owner, mode, type and content of all that is there are checked each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import locks
from ..errors import NodedevError
from ..plan import Step, apply, describe
from ..store import files
from ..store.files import explained
from ..text import shown
from .prefix import PACKAGE, RELEASE, command_folder, library

if TYPE_CHECKING:
    # What the role's commands import. Ansible sends it along, with all that it imports in its turn, and nothing of it
    # is run here.
    from . import compiled, forward, guests, restore  # noqa: F401

# An entry that is on its way in or out.
TEMPORARY = ".nodedev"
FILE_MODE, FOLDER_MODE = 0o644, 0o755
ROOT = (0, 0)
LOCK = "boot engine"
# What installs it is not of it, nor Ansible's side.
INSTALLERS = ("boot/install.py", "boot/engine.py", "boot/prefix.py", "ansible_module.py", "archive.py")
# Seconds for another run that installs it.
WAIT = 60.0
# Faults that are told of one by one.
TOLD = 5

Sources = Mapping[str, str]


@dataclass(frozen=True)
class Installed:
    """What is there, beside what is wanted.

    ``release`` is the one that the link leads to, None where it leads to none; ``files`` are those of it, or of an
    earlier layout. ``wanted`` says that it is the release that is wanted; ``faults`` say in words what of it is not as
    it was written, ``loose`` what of its folder itself. ``entries`` are all names in that, ``earlier`` says that a
    folder is in the place of the link, and ``commands`` that the folder of the commands is there.
    """

    prefix: str
    release: str | None
    files: tuple[str, ...]
    wanted: bool
    faults: tuple[str, ...]
    loose: tuple[str, ...]
    entries: tuple[str, ...]
    earlier: bool
    commands: bool


@dataclass(frozen=True)
class Plan:
    """The steps up to the switch to the release that is wanted, and those that clear up after it."""

    release: str
    change: tuple[Step, ...]
    clear: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.change, *self.clear)


def sources() -> dict[str, str]:
    """The text of every file that the boot engine consists of, by its path in a release.

    They are what Ansible has sent with the module that installs them, in an archive or unpacked.
    """
    base = sys.modules[__name__.partition(".boot.")[0]]
    folder, archive = base.__path__[0], getattr(base.__loader__, "archive", None)
    sent = dict(_unpacked(folder) if archive is None else _packed(archive, os.path.relpath(folder, archive)))
    found = {f"{PACKAGE}/{path}": text for path, text in sent.items() if path not in INSTALLERS}
    # A package that is marked so is this folder alone, whatever else of its name Python finds.
    return {**{f"{folder}/__init__.py": "" for folder in _folders(found)}, **found}


def _packed(archive: str, folder: str) -> Iterator[tuple[str, str]]:
    """The files of a library that is in a folder of an archive, but for those that mark its packages."""
    with zipfile.ZipFile(archive) as members:
        for path in members.namelist():
            if path.startswith(f"{folder}/") and _is_library(path):
                yield os.path.relpath(path, folder), members.read(path).decode()


def _unpacked(folder: str) -> Iterator[tuple[str, str]]:
    for path, _status in _below(folder):
        if _is_library(path):
            with open(os.path.join(folder, path), encoding="utf-8") as file:
                yield path, file.read()


def _is_library(path: str) -> bool:
    return path.endswith(".py") and os.path.basename(path) != "__init__.py"


def _folders(paths: Collection[str]) -> list[str]:
    """The folders that these paths are in, those above before those below."""
    found = set()
    for path in paths:
        while path := os.path.dirname(path):
            found.add(path)
    return sorted(found)


def name_of(wanted: Sources) -> str:
    """What the release of these files is called: the same for the same files."""
    content = "".join(f"{len(part)} {part}" for path in sorted(wanted) for part in (path, wanted[path]))
    return f"release-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def installed(wanted: Sources, prefix: str) -> Installed:
    """Look at all that is below this prefix; what a link leads to in the place of the library's folder is not."""
    folder = library(prefix)
    status = _status(folder)
    is_there = status is not None and stat.S_ISDIR(status.st_mode)
    release = _linked(folder) if is_there else None
    root = os.path.join(folder, release or "")
    is_wanted = release is not None and release.startswith(name_of(wanted))
    return Installed(
        prefix=prefix,
        release=release,
        files=tuple(sorted(path for path, each in _below(root) if not stat.S_ISDIR(each.st_mode))) if is_there else (),
        wanted=is_wanted,
        faults=tuple(_faults(root, wanted)) if is_wanted else (),
        loose=tuple(f"{folder} {fault}" for fault in _wrong(status, FOLDER_MODE)) if status else (),
        entries=tuple(files.entries(folder)) if is_there else (),
        earlier=is_there and _is_folder(os.path.join(folder, PACKAGE)),
        commands=os.path.isdir(command_folder(prefix)),
    )


def _linked(folder: str) -> str | None:
    """The release that the link leads to, None where there is no such link of root's to a release."""
    link = os.path.join(folder, PACKAGE)
    status = _status(link)
    if status is None or not stat.S_ISLNK(status.st_mode) or (status.st_uid, status.st_gid) != ROOT:
        return None
    release, _separator, package = os.readlink(link).partition("/")
    return release if package == PACKAGE and RELEASE.fullmatch(release) else None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_folder(path: str) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _faults(root: str, wanted: Sources) -> Iterator[str]:
    """What of a release is not as it was written."""
    missing = {".": FOLDER_MODE, **dict.fromkeys(_folders(wanted), FOLDER_MODE), **dict.fromkeys(wanted, FILE_MODE)}
    for path, status in [(".", _status(root)), *_below(root)]:
        whole = shown(os.path.normpath(os.path.join(root, path)))
        if path not in missing:
            yield f"{whole} does not belong there"
        elif status is not None:
            faults = [*_wrong(status, missing.pop(path))]
            if not faults and path in wanted and _content(os.path.join(root, path)) != wanted[path].encode():
                faults = ["has been changed"]
            yield from (f"{whole} {fault}" for fault in faults)
    yield from (f"{os.path.normpath(os.path.join(root, path))} is missing" for path in sorted(missing))


def _below(root: str) -> list[tuple[str, os.stat_result]]:
    """All that is in a folder and its folders, by its path from there, with what it is; links are not followed."""
    found = []
    for folder, folders, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in sorted([*folders, *names])):
            status = _status(path)
            if status is not None:
                found.append((os.path.relpath(path, root), status))
    return found


def _wrong(status: os.stat_result, mode: int) -> Iterator[str]:
    """What is wrong with an entry that should be a folder or a file of root's, as the mode that it should have says."""
    is_right, what = (stat.S_ISDIR, "folder") if mode == FOLDER_MODE else (stat.S_ISREG, "file")
    if not is_right(status.st_mode):
        yield f"is not a {what}"
        return
    if (status.st_uid, status.st_gid) != ROOT:
        yield f"belongs to user {status.st_uid} and group {status.st_gid}, not to root"
    if stat.S_IMODE(status.st_mode) != mode:
        yield f"has mode {stat.S_IMODE(status.st_mode):04o} instead of {mode:04o}"


def _content(path: str) -> bytes | None:
    """The bytes of a regular file; None where it cannot be read."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read(files.LARGEST + 1)
    return None


def plan(wanted: Sources, seen: Installed) -> Plan:
    """The steps by which what is wanted is all that is there; none where it is.

    A release is never changed: one with a fault is replaced by another that is written beside it.
    """
    folder = library(seen.prefix)
    change = [] if seen.commands else [_make_folder(command_folder(seen.prefix))]
    change += [_own_folder(folder)] if seen.loose else []
    earlier = _free(f"{TEMPORARY}-earlier", seen.entries) if seen.earlier else None
    if seen.wanted and not seen.faults:
        release = str(seen.release)
    else:
        release = _free(name_of(wanted), seen.entries)
        temporary = _free(f"{TEMPORARY}-link", seen.entries)
        change += [_write(folder, release, wanted), _switch(folder, release, temporary, earlier)]
    gone = [name for name in seen.entries if name not in (release, PACKAGE)]
    gone += [earlier] if earlier is not None else []
    return Plan(release, tuple(change), tuple(removal(os.path.join(folder, name)) for name in gone))


def _free(name: str, taken: Collection[str]) -> str:
    """This name, with a number where it is taken."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free


def _make_folder(folder: str) -> Step:
    return Step(f"make {folder}", lambda: files.make_folder(folder), lambda: os.rmdir(folder))


def _own_folder(folder: str) -> Step:
    def own() -> None:
        with explained(folder):
            if not _is_folder(folder):
                os.unlink(folder)
            files.make_folder(folder)
            _own(folder)

    return Step(f"make {folder} a folder of root's alone", own)


def _write(folder: str, release: str, wanted: Sources) -> Step:
    root = os.path.join(folder, release)

    def write() -> None:
        with explained(root):
            files.make_folder(folder)
            folders = [os.path.join(root, each) for each in ("", *_folders(wanted))]
            for each in folders:
                os.mkdir(each, 0o700)
            for path, text in wanted.items():
                _write_file(os.path.join(root, path), text)
            for each in reversed(folders):
                _own(each)
            files.sync(folder)

    return Step(f"write {root}", write, lambda: _remove_all(root))


def _write_file(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fchown(handle, *ROOT)
        os.fchmod(handle, FILE_MODE)
        os.fsync(handle)


def _own(folder: str) -> None:
    """Make a folder root's alone, for good; no umask has a say in it."""
    os.chown(folder, *ROOT, follow_symlinks=False)
    os.chmod(folder, FOLDER_MODE)
    files.sync(folder)


def _switch(folder: str, release: str, temporary: str, earlier: str | None) -> Step:
    """Have the link lead to this release, by one rename.

    Where a folder is in its place, no one rename does; it is called ``earlier`` then, and a run that is killed in
    between has left no engine, which the next run mends.
    """
    link, new = os.path.join(folder, PACKAGE), os.path.join(folder, temporary)

    def switch() -> None:
        with explained(link), contextlib.ExitStack() as undo:
            os.symlink(os.path.join(release, PACKAGE), new)
            undo.callback(os.unlink, new)
            os.chown(new, *ROOT, follow_symlinks=False)
            if earlier is not None:
                os.rename(link, os.path.join(folder, earlier))
                undo.callback(os.rename, os.path.join(folder, earlier), link)
            os.replace(new, link)
            undo.pop_all()
            files.sync(folder)

    return Step(f"have {link} lead to {release}", switch)


def removal(path: str) -> Step:
    """The step that removes a file, or a folder with all that is in it."""

    def remove() -> None:
        with explained(path):
            _remove_all(path)
            files.sync(os.path.dirname(path))

    return Step(f"remove {shown(path)}", remove)


def _remove_all(path: str) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def install(wanted: Sources, prefix: str, check_mode: bool) -> dict[str, Any]:
    """Have these files below this prefix as the only release; the result in Ansible's shape.

    Raises NodedevError without root, and where another release is still there in the end.
    """
    before = installed(wanted, prefix)
    planned = plan(wanted, before)
    if planned.steps and not check_mode:
        if os.geteuid() != 0:
            raise NodedevError(f"writing to {library(prefix)} needs root: run the task with 'become: true'")
        with locks.held([LOCK], WAIT):
            before = installed(wanted, prefix)
            planned = plan(wanted, before)
            apply(planned.change)
            # From here on the new release runs, and nothing leads back to the one before.
            apply(planned.clear)
            after = installed(wanted, prefix)
        if plan(wanted, after).steps:
            faults = "; ".join(_told((*after.loose, *after.faults))) or "more is in it than the release"
            raise NodedevError(f"{library(prefix)} is not as it was installed a moment ago: {faults}")
    return _result(wanted, before, planned)


def _result(wanted: Sources, before: Installed, planned: Plan) -> dict[str, Any]:
    faults = (*before.loose, *before.faults)
    listed = "; ".join(_told(faults))
    warning = f"the boot engine was not as it had been installed, and is installed anew: {listed}"
    return {
        "changed": bool(planned.steps),
        "plan": describe(planned.steps),
        "diff": {
            "before": {"release": before.release, "files": list(before.files), "faults": list(faults)},
            "after": {"release": planned.release, "files": sorted(wanted), "faults": []},
        },
        "warnings": [warning] if faults else [],
    }


def _told(faults: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(faults) - TOLD
    return [*faults[:TOLD], *([f"and {more} more"] if more > 0 else [])]
