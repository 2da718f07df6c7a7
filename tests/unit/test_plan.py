# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a plan, and taking back what a failed one began."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import binding, sysfs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import kernel
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import (
    UNDO,
    Step,
    StepFailed,
    apply,
    describe,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.waiting import left, within


class Host:
    """Remembers what steps did to it; ``broken`` names what fails, ``error`` how, a NodedevError unless it is given."""

    def __init__(self, *broken: str, error: BaseException | None = None) -> None:
        self.done: list[str] = []
        self.broken = broken
        self.error = error

    def do(self, what: str) -> None:
        if what in self.broken:
            raise self.error or NodedevError(f"{what} broke")
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


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("nvidia-999"), "could not make b: KeyError: 'nvidia-999'"),
        (RecursionError("too deep"), "could not make b: RecursionError: too deep"),
        (OSError(5, "Input/output error"), r"could not make b: \[Errno 5\] Input/output error"),
    ],
)
def test_whatever_a_step_raises_undoes_what_was_done(error: Exception, words: str) -> None:
    host = Host("b", error=error)
    with pytest.raises(StepFailed, match=words) as failure:
        apply([host.step("a"), host.step("b")])
    assert failure.value.__cause__ is error
    assert host.done == ["a", "undo a"]


def test_whatever_an_undo_raises_the_others_follow() -> None:
    host = Host("c", "undo b", error=ValueError("odd"))
    with pytest.raises(StepFailed, match=r"NOT undone: make b \(ValueError: odd\)"):
        apply([host.step(name) for name in "abc"])
    assert host.done == ["a", "b", "undo a"]


def test_what_was_kept_for_an_undo_goes_when_none_can_come() -> None:
    host = Host("c")

    def kept(name: str) -> Step:
        return Step(
            f"make {name}", lambda: host.do(name), lambda: host.do(f"undo {name}"), lambda: host.do(f"end {name}")
        )

    apply([kept("a"), kept("b")])
    assert host.done == ["a", "b", "end a", "end b"]
    host.done.clear()
    with pytest.raises(StepFailed):
        apply([kept("a"), kept("c")])
    assert host.done == ["a", "undo a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_the_process_undoes_and_goes_on_its_way(error: BaseException) -> None:
    host = Host("b", error=error)
    with pytest.raises(type(error)):
        apply([host.step("a"), host.step("b")])
    assert host.done == ["a", "undo a"]


TARGET = binding.Target("pci", "0000:99:00.0", "/nowhere")
MDEV = Definition("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", TARGET.address, "nvidia-1", True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), OSError("lost")])
@pytest.mark.parametrize(
    "act",
    [
        lambda: kernel.make(MDEV, 1),
        lambda: binding.bind(TARGET, "vfio-pci", 1),
        lambda: binding.give_back(TARGET, 1),
    ],
)
def test_what_ends_the_process_is_no_refusal_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], error: BaseException
) -> None:
    errors = [error]

    def met(*_arguments: object) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(sysfs, "write", lambda *_arguments: None)
    monkeypatch.setattr(kernel, "wait_for", met)
    monkeypatch.setattr(binding, "set_override", met)
    with pytest.raises(NodedevError if isinstance(error, Exception) else type(error)):
        act()


def test_an_undo_has_its_own_time_however_late_the_run_is() -> None:
    found: list[float] = []
    first = Step("make a", lambda: None, lambda: found.append(left(1000)))

    def late() -> None:
        found.append(left(1000))
        raise NodedevError("late")

    with within(0), pytest.raises(StepFailed, match="could not make b: late"):
        apply([first, Step("make b", late)])
    assert found[0] == 0
    assert UNDO - 10 < found[1] <= UNDO


def test_a_run_whose_time_is_up_begins_nothing_more() -> None:
    host = Host()
    with within(-10), pytest.raises(StepFailed, match=r"could not make a: the time that the task has is up"):
        apply([host.step("a")])
    assert host.done == []
