# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind that is made up: definitions whose every answer is a test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import Kind
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import Step
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Hindrance, Plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

FACTS = {"active": True, "parent_missing": False, "drift": []}


@dataclass(frozen=True)
class MadeUp:
    """A definition, as the boot engine sees it."""

    name: str
    ensure: Callable[[bool], dict[str, Any]] = lambda _check_mode: {"changed": False}
    place: Callable[[], Sequence[str]] = lambda: ("card",)
    concerns: Callable[[str], bool] = lambda _arrived: True
    hindrance: Callable[[], Hindrance | None] = lambda: None
    prepare: Callable[[], object] = lambda: None
    autostart: bool = True
    rank: int = 0

    @property
    def id(self) -> str:
        return self.name


class Making:
    """Its resource: what is wished is made in one step."""

    SUBSYSTEM = "made_up"
    PEER = None

    def observe(self, wish: MadeUp) -> MadeUp:
        return wish

    def plan(self, wish: MadeUp, seen: MadeUp, ceilings: object) -> Plan[MadeUp]:
        return Plan((Step(f"make {wish.name}", lambda: None),), seen)

    def starts(self, seen: MadeUp) -> bool:
        return False

    def state(self, seen: MadeUp) -> dict[str, Any]:
        return {"runtime": {}, "boot": {}}

    def described(self, *_what: object) -> dict[str, Any]:
        return {"warnings": []}


@dataclass(frozen=True)
class Listed:
    """What is defined of it, and what cannot be understood."""

    definitions: Sequence[MadeUp]
    damaged: Sequence[DamagedDefinition] = ()
    damage_concerns: bool = True

    def defined(self, arrived: str | None) -> tuple[list[MadeUp], list[DamagedDefinition]]:
        return [*self.definitions], [*self.damaged]

    def summary(self, definition: MadeUp) -> tuple[str, str, bool]:
        return definition.name, definition.name, definition.autostart

    def place(self, definition: MadeUp) -> Sequence[str]:
        return definition.place()

    def concerns(self, definition: MadeUp, arrived: str) -> bool:
        return definition.concerns(arrived)

    def may_concern(self, damage: DamagedDefinition, arrived: str) -> bool:
        return self.damage_concerns

    def hindrance(self, definition: MadeUp) -> Hindrance | None:
        return definition.hindrance()

    def wish(self, definition: MadeUp) -> MadeUp:
        return definition

    def facts(self, definition: MadeUp) -> dict[str, Any]:
        return {"autostart": definition.autostart, **FACTS}


def a_kind(
    definitions: Sequence[MadeUp], damaged: Sequence[DamagedDefinition] = (), damage_concerns: bool = True
) -> Kind:
    """The kind with these definitions, which are told whatever there is on the host."""
    resource: Any = Making()
    restorable: Any = Listed(definitions, damaged, damage_concerns)
    return Kind(["/"], resource, restorable)
