# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python has compiled of the boot engine, kept until the next boot.

It runs for each parent that arrives and for each guest that starts, and to compile the library takes most of a run;
to run its files takes most of the rest, so that those of a kind wait until something of them is asked for. Beside the
library nothing is written: what is there is checked file by file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import CodeType

# Root runs what is in it, so that it is root's alone. The units make the folder that it is in.
FOLDER, MODE = "/run/nodedev/compiled", 0o700


class _Anew(SourceFileLoader):
    """Compiles each file, whatever is beside it."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Kept(_Anew):
    """Python's own loader, with its files in FOLDER; each is as new as the source that it names."""

    def get_code(self, fullname: str) -> CodeType | None:
        former = sys.pycache_prefix, sys.dont_write_bytecode
        sys.pycache_prefix, sys.dont_write_bytecode = FOLDER, False
        try:
            return SourceFileLoader.get_code(self, fullname)
        except (EOFError, ImportError, TypeError, ValueError):
            # Where /run was full, older Pythons have left half a file.
            return super().get_code(fullname)
        finally:
            sys.pycache_prefix, sys.dont_write_bytecode = former


def keep_compiled(package: str) -> None:
    """Have what is still to be imported of the package in this folder be kept, where a folder for that can be had."""
    loader = _Kept if _is_roots() else _Anew

    class Later(LazyLoader):
        """Runs a file when something of it is asked for."""

        def __init__(self, name: str, path: str) -> None:
            super().__init__(loader(name, path))

    def hook(path: str) -> FileFinder:
        if not f"{path}/".startswith(f"{package}/"):
            raise ImportError(path=path)
        # Most hosts use few of the kinds.
        is_of_a_kind = os.path.dirname(path) == f"{package}/kinds"
        return FileFinder(path, (Later if is_of_a_kind else loader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, hook)
    for path in [each for each in sys.path_importer_cache if f"{each}/".startswith(f"{package}/")]:
        del sys.path_importer_cache[path]


def _is_roots() -> bool:
    """Whether FOLDER is there, made now or before, and nobody but root can have put anything into it."""
    with contextlib.suppress(OSError):
        os.mkdir(FOLDER, MODE)
    try:
        status = os.lstat(FOLDER)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and stat.S_IMODE(status.st_mode) == MODE
