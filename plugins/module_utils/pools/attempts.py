# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out the plan of a pool: alone on all that it touches, and again where there was less room than was said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from .. import locks
from ..errors import NoRoom
from ..plan import StepFailed
from . import record

Seen = TypeVar("Seen")
Done = TypeVar("Done")


def alone(
    pool: str,
    seconds: float,
    observe: Callable[[], Seen],
    locks_of: Callable[[Seen], Collection[str]],
    work: Callable[[Seen, set[str]], Done | None],
) -> Done:
    """What ``work`` gives under the locks of the pool and of all that it touches.

    What was seen so far may be half of another run's work; only under the locks does it count. ``work`` gets that, with
    the names that are locked, and gives None, with nothing changed, where it finds more to be locked.
    """
    while True:
        before = observe()
        names = {*locks_of(before)}
        with locks.held([f"pool:{pool}", *names], seconds):
            record.clear_up(pool)
            done = work(before, names)
        if done is not None:
            return done


class Ceilings:
    """How many new instances each card takes, where failures have shown that it is less than its parents say."""

    def __init__(self) -> None:
        self.found: Mapping[str, int] = {}

    def learn(self, error: StepFailed, creates: Sequence[tuple[str, str]]) -> None:
        """Take from a failure what can be learnt; raises it again where that is nothing, or all was not undone.

        ``creates`` are the instances that were to be made, in that order, each with its card.
        """
        full = error.__cause__
        if not isinstance(full, NoRoom) or error.left:
            raise error
        cards = dict(creates)
        card, before = cards[full.device], [*cards][: [*cards].index(full.device)]
        made = sum(cards[each] == card for each in before)
        if made >= self.found.get(card, made + 1):
            raise error
        self.found = {**self.found, card: made}
