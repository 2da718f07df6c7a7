# SPDX-License-Identifier: GPL-3.0-or-later
"""A definition as the boot engine and definition_facts see it, whatever kind of device it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .files import DamagedDefinition


@dataclass(frozen=True)
class Hindrance:
    """Why a device cannot be made now; ``passing`` says whether that may end by itself in a moment."""

    reason: str
    passing: bool


@dataclass(frozen=True)
class Kept:
    """One definition; ``id`` is what names its device in its kind, ``name`` what a person calls it.

    ``autostart`` says whether it starts by itself. All else looks at the host, and only when it is called, so that a
    device that cannot be read, for which it raises NodedevError, hides no other one: ``card`` names what shares its
    capacity; ``facts`` are what definition_facts says of it, always ``active``, ``autostart``, ``parent_missing`` and
    ``drift``; ``concerns`` says whether a device of the kernel, by its name there, is the parent that it waits for;
    ``ensure`` makes it as a module does, or in check mode says what would be done.
    """

    id: str
    name: str
    autostart: bool
    card: Callable[[], str]
    facts: Callable[[], dict[str, Any]]
    concerns: Callable[[str], bool]
    hindrance: Callable[[], Hindrance | None]
    ensure: Callable[[bool], dict[str, Any]]


@dataclass(frozen=True)
class Damaged:
    """What cannot be understood among the definitions; ``concerns`` says of a parent whether it may be of that one."""

    error: DamagedDefinition
    concerns: Callable[[str], bool]
