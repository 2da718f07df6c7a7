# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a plan, and taking back what a failed one began."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils.plan import Step, StepFailed, apply, describe


class Host:
    """Remembers what steps did to it; ``broken`` names what fails."""

    def __init__(self, *broken: str) -> None:
        self.done: list[str] = []
        self.broken = broken

    def do(self, what: str) -> None:
        if what in self.broken:
            raise NodedevError(f"{what} broke")
        self.done.append(what)

    def step(self, name: str, undoable: bool = True) -> Step:
        undo = (lambda: self.do(f"undo {name}")) if undoable else None
        return Step(f"make {name}", lambda: self.do(name), undo)


def test_steps_run_in_order() -> None:
    host = Host()
    steps = [host.step("a"), host.step("b", undoable=False), host.step("c")]
    apply(steps)
    assert host.done == ["a", "b", "c"]
    assert describe(steps) == ["make a", "make b", "make c"]


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_a_failure_undoes_what_was_done_newest_first(broken: str) -> None:
    host = Host(broken)
    names = ["a", "b", "c"]
    with pytest.raises(StepFailed, match=f"could not make {broken}: {broken} broke"):
        apply([host.step(name) for name in names])
    before = names[: names.index(broken)]
    assert host.done == before + [f"undo {name}" for name in reversed(before)]


def test_what_cannot_be_undone_is_named_and_the_rest_is_undone() -> None:
    host = Host("d", "undo b")
    steps = [host.step("a"), host.step("b"), host.step("c", undoable=False), host.step("d")]
    with pytest.raises(StepFailed, match=r"undone: make a\. NOT undone: make b \(undo b broke\)") as failure:
        apply(steps)
    assert failure.value.left == ["make b (undo b broke)"]
    assert host.done == ["a", "b", "c", "undo a"]
