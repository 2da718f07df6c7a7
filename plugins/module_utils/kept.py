# SPDX-License-Identifier: GPL-3.0-or-later
"""A definition as the boot engine and definition_facts see it, whatever kind of device it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hindrance:
    """Why a device cannot be made now; ``passing`` says whether that may end by itself in a moment."""

    reason: str
    passing: bool


@dataclass(frozen=True)
class Kept:
    """One definition; ``id`` is what names its device in its kind, ``name`` what a person calls it.

    ``facts`` are what definition_facts says of it: always ``active``, ``autostart``, ``parent_missing`` and ``drift``.
    ``concerns`` says whether a device of the kernel, by its name there, is the parent that it waits for; ``ensure``
    makes it as a module does, or in check mode says what would be done.
    """

    id: str
    name: str
    facts: dict[str, Any]
    concerns: Callable[[str], bool]
    hindrance: Callable[[], Hindrance | None]
    ensure: Callable[[bool], dict[str, Any]]
