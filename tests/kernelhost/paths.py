# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are kept."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parents[1]


def default_state(release: str) -> Path:
    """The folder of a release's running machine, below KERNELHOST_STATE, else .build/kernelhost of the repository.

    `release` is the name of one, here and below.
    """
    chosen = os.environ.get("KERNELHOST_STATE")
    return (Path(chosen).absolute() if chosen else REPOSITORY / ".build" / "kernelhost") / release


def images(release: str) -> Path:
    """The folder of a release's built images, shared by all checkouts."""
    return caches() / f"kernelhost-{release}"


def kernels(release: str) -> Path:
    """The folder of kernels that are built for a release, shared by all checkouts."""
    return caches() / f"kernelhost-{release}-kernel"


def emulators(architecture: str) -> Path:
    """The folder of an architecture's unpacked emulators, shared by all checkouts."""
    return caches() / f"kernelhost-qemu-{architecture}"


def libvirts() -> Path:
    """The folder of unpacked libvirts that the conformance tests ask, shared by all checkouts."""
    return caches() / "conformance-libvirt"


def caches() -> Path:
    """The folder of all that is kept, and of what was found out about this machine."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hostdev-nodedev"
