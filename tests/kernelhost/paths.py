# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are kept."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parents[1]


def default_state() -> Path:
    """The running machine's folder: KERNELHOST_STATE, else .build/kernelhost of the repository."""
    chosen = os.environ.get("KERNELHOST_STATE")
    return Path(chosen).absolute() if chosen else REPOSITORY / ".build" / "kernelhost"


def cache() -> Path:
    """The built images' folder, shared by all checkouts."""
    return _caches() / "kernelhost"


def emulators() -> Path:
    """The unpacked emulators' folder, shared by all checkouts."""
    return _caches() / "kernelhost-qemu"


def _caches() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hostdev-nodedev"
