# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host this is, for what follows from it and is to be the same in every run and other on every host."""

from __future__ import annotations

from . import definitions
from .errors import NodedevError

MACHINE_ID = "/etc/machine-id"


def known_id() -> str | None:
    """The host's machine-id (machine-id(5)), 32 hexadecimal digits; None where it has none."""
    text = (definitions.read(MACHINE_ID) or "").strip()
    return text if len(text) == 32 else None


def needed_id(machine: str | None) -> str:
    """The machine-id that was read; NodedevError saying how to get one where there is none."""
    if machine is None:
        raise NodedevError(f"{MACHINE_ID} holds no machine-id, from which names follow: run systemd-machine-id-setup")
    return machine
