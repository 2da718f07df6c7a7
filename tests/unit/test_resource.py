# SPDX-License-Identifier: GPL-3.0-or-later
"""ensure(), the one way in which everything is made, with a kind made up: numbers in a list. Runs as root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import locks, resource
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError, NoRoom
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import Step
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ATTEMPTS, Plan, ensure


@dataclass(frozen=True)
class Wish:
    """So many numbers are to be there."""

    count: int
    wait_timeout: float = 1


@dataclass
class Numbers:
    """The kind: its numbers, how many fit whatever is said, what is to be locked at each look, and what was done."""

    SUBSYSTEM = "numbers"
    PEER = None
    there: list[int] = field(default_factory=list)
    fit: int = 100
    names: Sequence[set[str]] = ({"a"},)
    log: list[str] = field(default_factory=list)

    def locks(self, wish: Wish, seen: Sequence[int] | None = None) -> set[str]:
        self.log.append("short look" if seen is None else "look")
        looks = self.log.count("look") + self.log.count("short look")
        return self.names[min(looks, len(self.names)) - 1]

    def observe(self, wish: Wish) -> Sequence[int]:
        return tuple(self.there)

    def plan(self, wish: Wish, seen: Sequence[int], ceilings: Mapping[str, int]) -> Plan[Sequence[int]]:
        self.log.append("plan")
        count = min(wish.count, ceilings.get("card", wish.count))
        new = [number for number in range(count) if number not in seen]
        steps = tuple(Step(f"add {number}", lambda number=number: self.add(number), self.there.pop) for number in new)
        return Plan(steps, (*seen, *new), (), {})

    def add(self, number: int) -> None:
        if len(self.there) >= self.fit:
            raise NoRoom(str(number), "the list", "it is full")
        self.there.append(number)

    def look_again(self, wish: Wish, before: Sequence[int], planned: Plan[Sequence[int]]) -> Sequence[int]:
        return self.observe(wish)

    def events(self, planned: Plan[Sequence[int]], after: Sequence[int]) -> Sequence[str]:
        return ()

    def starts(self, seen: Sequence[int]) -> bool:
        return False

    def state(self, seen: Sequence[int]) -> dict[str, Any]:
        return {"runtime": {f"number {each}": {"double": 2 * each} for each in seen}, "boot": {}}

    def described(
        self, wish: Wish, before: Sequence[int], planned: Plan[Sequence[int]], after: Sequence[int]
    ) -> dict[str, Any]:
        return {"numbers": list(after), "warnings": []}


@pytest.fixture(autouse=True)
def host(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks and a /sys of the test's own."""
    monkeypatch.setattr(locks, "FOLDER", str(tmp_path / "nodedev" / "locks"))
    monkeypatch.setattr(sysfs, "SYS", str(tmp_path))


def test_check_mode_foretells_and_changes_nothing() -> None:
    kind = Numbers([0])
    foretold = ensure(kind, Wish(2), check_mode=True)
    assert kind.there == [0]
    assert foretold == ensure(kind, Wish(2))
    assert (foretold["changed"], foretold["plan"], foretold["numbers"]) == (True, ["add 1"], [0, 1])
    before = "number 0: runs; double 0\n"
    assert foretold["diff"] == {"before": before, "after": f"{before}number 1: runs; double 2\n"}


def test_a_second_run_plans_once_and_does_nothing() -> None:
    kind = Numbers([0, 1])
    assert not ensure(kind, Wish(2))["changed"]
    assert kind.log == ["short look", "look", "plan"]


def test_what_needs_other_locks_by_now_is_locked_anew() -> None:
    kind = Numbers(names=[{"a"}, {"a", "b"}, {"a", "b"}, {"b"}])
    assert ensure(kind, Wish(1))["changed"]
    assert kind.log == ["short look", "look", "short look", "look", "plan"]


def test_locks_that_never_suffice_are_given_up_with_nothing_changed() -> None:
    kind = Numbers(names=[{str(number)} for number in range(100)])
    with pytest.raises(NodedevError, match="what has to be locked was another each time"):
        ensure(kind, Wish(1))
    assert (kind.there, kind.log) == ([], ["short look", "look"] * ATTEMPTS)


def test_a_failed_step_takes_back_those_before_it() -> None:
    kind = Numbers(fit=1)
    with pytest.raises(NodedevError, match="it is full"):
        ensure(kind, Wish(3))
    assert kind.there == []


@pytest.mark.parametrize(
    ("runtime", "boot", "lines"),
    [
        ({}, {}, ""),
        ({"a": {"type": "t"}}, {}, "a: runs; type t\n"),
        ({}, {"a": {"type": "t", "autostart": False}}, "a: is defined; type t, autostart false\n"),
        ({"a": {"type": "t"}}, {"a": {"type": "t", "id": "a"}}, "a: runs and is defined; type t\n"),
        ({"a": {"type": "t"}}, {"a": {"type": "u"}}, "a: runs and is defined; type t (defined: u)\n"),
        ({"b": {"type": "t"}}, {"a": {"type": "t"}}, "b: runs; type t\na: is defined; type t\n"),
        ({}, {"a": {"attrs": []}, "b": {"attrs": [{"x": "1"}]}}, 'a: is defined\nb: is defined; attrs [{"x": "1"}]\n'),
        ({"a": {"type": "t\nb: runs"}}, {}, "a: runs; type t\\nb: runs\n"),
    ],
)
def test_a_diff_has_one_line_for_each_device(runtime: dict[str, Any], boot: dict[str, Any], lines: str) -> None:
    assert resource._lines({"runtime": runtime, "boot": boot}) == lines
