# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: the ordered steps from what is to what should be. Check mode prints it, apply runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .errors import NodedevError
from .text import shown
from .waiting import anew, is_over

# Seconds for taking back all that a run began, however little of its own time it has left.
UNDO = 60.0


@dataclass(frozen=True)
class Step:
    """One change. ``undo`` takes back what ``apply`` did, and is None where nothing can or need be taken back.

    ``finish`` does away with what was kept for that, once the whole plan has been carried out.
    """

    description: str
    apply: Callable[[], None]
    undo: Callable[[], None] | None = None
    finish: Callable[[], None] | None = None


class StepFailed(NodedevError):
    """A step failed; the steps of this run before it were undone, but for those that ``left`` names."""

    def __init__(self, step: Step, error: Exception, undone: Sequence[str], left: Sequence[str]) -> None:
        parts = [f"could not {step.description}: {_told(error)}"]
        if undone:
            parts.append(f"undone: {'; '.join(undone)}")
        if left:
            parts.append(f"NOT undone: {'; '.join(left)}")
        super().__init__(". ".join(parts))
        self.step = step
        self.left = list(left)


def of_pool(steps: Sequence[Step], pool: str | None) -> list[Step]:
    """The same steps, which say that what they do away with is an instance of a pool, where it is one."""
    note = "" if pool is None else f", an instance of pool {shown(pool)}"
    return [replace(step, description=f"{step.description}{note}") for step in steps]


def describe(steps: Sequence[Step]) -> list[str]:
    """The plan as a person reads it, one line a step."""
    return [step.description for step in steps]


def apply(steps: Sequence[Step]) -> None:
    """Run the steps in order; whatever one raises, undo those before it, newest first.

    Raises StepFailed, or what ends the process, such as KeyboardInterrupt, once all is undone.
    """
    done: list[Step] = []
    for step in steps:
        try:
            if is_over():
                raise NodedevError("the time that the task has is up (wait_timeout)")
            step.apply()
        except BaseException as error:
            with anew(UNDO):
                undone, left = _undo(done)
            if not isinstance(error, Exception):
                raise
            raise StepFailed(step, error, undone, left) from error
        done.append(step)
    for step in done:
        if step.finish is not None:
            step.finish()


def _undo(done: Sequence[Step]) -> tuple[list[str], list[str]]:
    undone, left = [], []
    for step in reversed(done):
        if step.undo is None:
            continue
        try:
            step.undo()
        except Exception as error:
            left.append(f"{step.description} ({_told(error)})")
        else:
            undone.append(step.description)
    return undone, left


def _told(error: Exception) -> str:
    """An error in words; one that nobody expected says what it is."""
    return str(error) if isinstance(error, (NodedevError, OSError)) else f"{type(error).__name__}: {error}"
