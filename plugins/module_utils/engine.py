# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine's library on the host: this library itself, as it was when the module ran, without Ansible."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from . import definitions, restore
from .errors import NodedevError
from .plan import Step, apply, describe

FOLDER = "/usr/lib/nodedev"
# The package that nodedev-restore imports.
PACKAGE = "nodedev"
MODE = 0o644


def sources() -> dict[str, str]:
    """The text of every file that the boot engine consists of, by its path below FOLDER."""
    # What importing it has loaded is what it needs; Ansible's side and this file are not of it.
    base = restore.__name__.rpartition(".")[0]
    found = {}
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if not name.startswith(f"{base}.") or name in (__name__, f"{base}.ansible_module") or spec is None:
            continue
        # A package has no text; where Ansible gives it a file, that is empty.
        if spec.submodule_search_locations is None and spec.origin is not None:
            relative = name[len(base) + 1 :].replace(".", "/")
            found[f"{PACKAGE}/{relative}.py"] = spec.loader.get_data(spec.origin).decode()
    return found


def installed() -> dict[str, str]:
    """The same of what is there, none where the engine is not installed."""
    return {
        os.path.relpath(path, FOLDER): definitions.read(path) or ""
        for folder, _folders, names in os.walk(FOLDER)
        for path in (os.path.join(folder, name) for name in names)
        if path.endswith(".py")
    }


def plan(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[Step]:
    """The steps by which what is there becomes what is wanted: no file of an earlier release stays."""
    steps = [_remove(path, text) for path, text in there.items() if path not in wanted]
    return steps + [_write(path, text, there.get(path)) for path, text in wanted.items() if there.get(path) != text]


def _write(path: str, text: str, former: str | None) -> Step:
    whole = os.path.join(FOLDER, path)

    def undo() -> None:
        if former is None:
            definitions.remove(whole)
        else:
            definitions.write(whole, former, MODE)

    return Step(f"write {whole}", lambda: definitions.write(whole, text, MODE), undo)


def _remove(path: str, former: str) -> Step:
    whole = os.path.join(FOLDER, path)
    return Step(f"remove {whole}", lambda: definitions.remove(whole), lambda: definitions.write(whole, former, MODE))


def ensure(check_mode: bool) -> dict[str, Any]:
    """Have the library there as it is here; the result in Ansible's shape."""
    wanted, there = sources(), installed()
    steps = plan(wanted, there)
    if steps and not check_mode:
        if os.geteuid() != 0:
            raise NodedevError(f"writing to {FOLDER} needs root: run the task with 'become: true'")
        apply(steps)
    diff = {"before": {"files": sorted(there)}, "after": {"files": sorted(wanted)}}
    return {"changed": bool(steps), "plan": describe(steps), "diff": diff}
