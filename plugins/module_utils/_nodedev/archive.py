# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from the archive in which Ansible sends a module: each file is compiled once, one of a kind when it is asked.

Python's own importer of archives compiles a file to tell what it is called, which every import asks for, and again to
run it. Nothing that was compiled is kept on a managed host, so that this is most of what a module takes there.
"""

from __future__ import annotations

import sys
import zipimport
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader
from types import ModuleType


class Archive(zipimport.zipimporter):
    """A folder of an archive, which knows what its files are called without a look at them."""

    def get_filename(self, fullname: str) -> str:
        """The path of a module's file; ZipImportError for one that is not there (importlib.abc.ExecutionLoader)."""
        file = "/__init__.py" if self.is_package(fullname) else ".py"
        return f"{self.archive}/{self.prefix}{fullname.rpartition('.')[2]}{file}"

    # Python 3.9 has no such importer of archives.
    if sys.version_info >= (3, 10):

        def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
            """How a module is imported; one that deals with all kinds runs only the files of those that it asks."""
            spec = super().find_spec(fullname, target)
            if spec is not None and spec.loader is not None and self.prefix.split("/")[-3:-2] == ["kinds"]:
                spec.loader = LazyLoader(spec.loader)
            return spec


def import_each_once() -> None:
    """Have what is still to be imported from archives come by Archive."""
    sys.path_hooks.insert(0, Archive)
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimport.zipimporter):
            del sys.path_importer_cache[path]
