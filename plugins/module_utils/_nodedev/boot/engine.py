# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine's library there or gone, below the prefix that this host has for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from .. import locks
from ..errors import NodedevError
from ..host.udev_events import needed_pyudev
from ..plan import apply, describe
from ..store import restorers
from ..text import shown
from . import prefix as prefixes
from .install import LOCK, WAIT, Sources, install, installed, plan, removal, sources
from .prefix import Place


def ensure(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Have the library there as it is here, or gone wherever it is; the result in Ansible's shape.

    Raises NodedevError without root, for a prefix that cannot be used, and where there is none; MissingLibrary without
    pyudev.
    """
    asked = prefixes.given(params["prefix"])
    known = prefixes.places(asked)
    wanted = sources()
    done = _removed if params["state"] == "absent" else partial(_installed, asked)
    return {**done(known, wanted, check_mode), "idle": restorers.idle_engine()}


def _installed(asked: str | None, known: Mapping[str, Place], wanted: Sources, check_mode: bool) -> dict[str, Any]:
    # The engine itself will need it, at a boot where nobody looks.
    needed_pyudev()
    prefix = prefixes.chosen(asked, known, lambda each: not plan(wanted, installed(wanted, each)).steps)
    # Where the units still run it, until they are changed; nothing takes it away from an image.
    others = [place for each, place in known.items() if each != prefix and place.hindrance is None]
    superseded = [path for place in others for path in place.found]
    return {**install(wanted, prefix, check_mode), "prefix": prefix, "superseded": superseded}


def _removed(known: Mapping[str, Place], wanted: Sources, check_mode: bool) -> dict[str, Any]:
    found = {prefix: place for prefix, place in known.items() if place.found}
    steps = [removal(path) for place in found.values() if place.hindrance is None for path in place.found]
    gone: dict[str, Any] = {"release": None, "files": [], "faults": []}
    before = gone
    if steps:
        seen = installed(wanted, next(prefix for prefix, place in found.items() if place.hindrance is None))
        before = {"release": seen.release, "files": list(seen.files), "faults": [*seen.loose, *seen.faults]}
    if steps and not check_mode:
        if os.geteuid() != 0:
            raise NodedevError("removing the boot engine needs root: run the task with 'become: true'")
        with locks.held([LOCK], WAIT):
            apply(steps)
    return {
        "changed": bool(steps),
        "plan": describe(steps),
        "diff": {"before": before, "after": gone},
        "prefix": None,
        "superseded": [],
        "warnings": [
            f"{shown(path)} stays: {place.hindrance}"
            for place in found.values()
            if place.hindrance is not None
            for path in place.found
        ],
    }
