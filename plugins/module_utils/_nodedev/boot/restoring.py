# SPDX-License-Identifier: GPL-3.0-or-later
"""Making what is defined, cards side by side, so that no device keeps others from being made.

What shares a card is made one after the other, by a child. A device that has not been made within its limit is left
with its child, and its card is given up. Whatever else goes wrong concerns one definition.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import locks
from ..errors import NodedevError, NotYet
from ..host.sysfs import SysfsError
from ..kinds.registry import Defined
from ..programs import NoAnswer
from ..text import shown
from ..waiting import within
from .children import Child, Send, wait_for_any

# Cards that are worked on at once: what blocks takes no processor, and the others little.
AT_ONCE = 16
# Seconds between two tries of a parent that is not ready, at first and at most.
PAUSE, LONGEST_PAUSE = 0.5, 3.0
# Of a device's limit, the seconds for taking back what was begun (plan.UNDO) and for telling so; and the seconds for
# making it that it has at least, as it has by the usual limit.
TAKING_BACK, MAKING = 70.0, 30.0
# What takes so many seconds to no avail says that the card does not answer: the next device would take as long.
PATIENCE = 20.0
# What a driver answers while its own services are still starting.
PASSING = (errno.EIO, errno.EAGAIN, errno.EBUSY)

RESTORED, THERE, FAILED = "restored", "there already", "failed"
# What a child tells besides: that it begins with the next device, that it is to be tried again, and that this is so
# while another run works on the card.
BEGUN, LATER, BUSY = "begun", "later", "busy"
AGAIN = (LATER, BUSY)
UNTRIED = "it was not tried, since its card does not answer for another device"
OVER = "it was not done when the time for all devices was over"


@dataclass(frozen=True)
class Result:
    """What became of one definition: RESTORED, THERE, or FAILED for a reason."""

    defined: Defined
    how: str
    reason: str = ""


def longest(wait: float, limit: float) -> float:
    """Seconds that restore() takes at most, however many devices do not answer."""
    return wait + 2 * limit


def restore(wanted: Sequence[Defined], wait: float, limit: float) -> Iterator[Result]:
    """Make what is missing of these, and tell of each as soon as that is known.

    A parent that is there but not ready is waited for, ``wait`` seconds from when the last device was made, on which it
    may depend, or from when another run was seen at work on its card; each device has ``limit`` seconds, and all of
    them together longest().
    """
    since = time.monotonic()
    end = since + longest(wait, limit)
    cards = _by_card(wanted, limit)
    try:
        while cards:
            yield from _begin(cards, since, wait)
            wait_for_any([card.child for card in cards if card.child], _seconds(cards, end))
            for card in cards:
                for result in card.results():
                    since = time.monotonic() if result.how == RESTORED else since
                    yield result
            if time.monotonic() >= end:
                for card in cards:
                    yield from card.given_up(OVER, OVER)
            cards = [card for card in cards if card.pending]
    finally:
        for card in cards:
            card.leave()


class _Card:
    """What is still to be made on one card, and the child that works on the first of it now.

    ``due`` is the moment, by the monotonic clock, at which the child must be through with that one; without a child,
    the moment at which one is to begin; ``busy`` is when another run was last seen at work on it.
    """

    def __init__(self, name: str, limit: float) -> None:
        self.pending: list[Defined] = []
        self.child: Child | None = None
        self.due = 0.0
        self.busy = 0.0
        self._name = name
        self._limit = limit
        self._later: list[Defined] = []
        self._pause = PAUSE

    @property
    def all(self) -> list[Defined]:
        """What is still to be made, be it now or later."""
        return [*self.pending, *self._later]

    def begin(self, late: bool, first: int) -> None:
        """Start a child; raises NodedevError where that cannot be.

        ``late`` says that nothing is to be tried again; ``first`` is the rank of the first kind that is still being
        restored, whose devices may be the parents of others.
        """
        name, pending, seconds = self._name, tuple(self.pending), max(self._limit - TAKING_BACK, MAKING)
        self.child = Child(lambda send: _make(name, pending, late, first, seconds, send))
        self.due = time.monotonic() + self._limit

    def results(self) -> Iterator[Result]:
        """What the child has told since, and what follows where it is through, has crashed or has had its time."""
        if self.child is None:
            return
        for how, reason in self.child.received():
            if how == BEGUN:
                self.due = time.monotonic() + self._limit
            elif how in AGAIN:
                self._later.append(self.pending.pop(0))
                self.busy = time.monotonic() if how == BUSY else self.busy
            else:
                yield Result(self.pending.pop(0), how, reason)
        if self.child.ended or not self.pending:
            yield from self._after(self.child.complete, self.leave())
        elif time.monotonic() >= self.due:
            yield from self.given_up(f"it has not ended after {self._limit:g} s", UNTRIED)

    def _after(self, complete: bool, how: str) -> Iterator[Result]:
        """What follows from a child that has ended, or has told of all that it had to make."""
        if not self.pending:
            self._go_on(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif complete:
            yield from self.given_up(UNTRIED, UNTRIED)
        else:
            yield Result(self.pending.pop(0), FAILED, f"its process {how}")
            self._go_on(0.0)

    def _go_on(self, pause: float) -> None:
        self.pending, self._later = self.all, []
        self.due = time.monotonic() + pause

    def given_up(self, reason: str, others: str) -> Iterator[Result]:
        """Leave it all: ``reason`` is that of the device that is worked on, if one is, ``others`` that of the rest."""
        if self.child is not None:
            yield Result(self.pending.pop(0), FAILED, f"{reason}; its process {self.leave()}")
        for each in self.all:
            yield Result(each, FAILED, others)
        self.pending, self._later = [], []

    def leave(self) -> str:
        """End the child, if there is one, and say how it ended."""
        child, self.child = self.child, None
        return child.end() if child is not None else ""


def _by_card(wanted: Sequence[Defined], limit: float) -> list[_Card]:
    cards: dict[str, _Card] = {}
    for place, each in placed(wanted):
        cards.setdefault(place[0], _Card(place[0], limit)).pending.append(each)
    return list(cards.values())


def placed(wanted: Sequence[Defined]) -> list[tuple[Sequence[str], Defined]]:
    """They in the order in which they are made, each with its card, and with the virtual function that it is on.

    What is on a card itself comes first, which makes its virtual functions, then what is on those; of each the kinds
    in their order.
    """
    return sorted(((_place(each), each) for each in wanted), key=lambda pair: (len(pair[0]), pair[1].rank))


def _place(each: Defined) -> Sequence[str]:
    """Where it is; one of which that cannot be read is made by itself, and whoever makes it hears why."""
    try:
        return each.place()
    except Exception:
        return (each.name,)


def _begin(cards: Sequence[_Card], since: float, wait: float) -> Iterator[Result]:
    """Start children, AT_ONCE in all at most, for the cards whose turn it is.

    ``since`` is when the last device was made, from which parents are waited for.
    """
    first = min((each.rank for card in cards for each in card.all), default=0)
    free = AT_ONCE - sum(card.child is not None for card in cards)
    due = [card for card in cards if card.child is None and card.due <= time.monotonic()]
    for card in due[:free]:
        try:
            card.begin(time.monotonic() >= max(since, card.busy) + wait, first)
        except NodedevError as error:
            yield from card.given_up(str(error), str(error))


def _seconds(cards: Sequence[_Card], end: float) -> float:
    """How long nothing is to be done unless a child tells something."""
    running = sum(card.child is not None for card in cards)
    moments = [card.due for card in cards if card.child is not None or running < AT_ONCE]
    return max(min([end, *moments]) - time.monotonic(), 0.0)


def _make(card: str, pending: Sequence[Defined], late: bool, first: int, seconds: float, send: Send) -> None:
    """In a child: make them one after the other, up to the first that shows that the card does not answer.

    Each has so many seconds for being made. What is to be tried again while another run works on the card is told so.
    """
    waiting = False
    for number, each in enumerate(pending, 1):
        send([BEGUN, ""])
        begun = time.monotonic()
        # What is on this card may be on what is made later, an earlier kind's on any card.
        how, reason = _tried(each, late, waiting or each.rank > first, seconds)
        # This run has none of its locks here.
        if how == LATER and locks.is_held(card):
            how = BUSY
        waiting = waiting or how in AGAIN
        send([how, reason])
        if how in (FAILED, *AGAIN) and time.monotonic() - begun >= PATIENCE:
            for _rest in pending[number:] if how in AGAIN else ():
                send([how, ""])
            return


def _tried(each: Defined, late: bool, may_come: bool, seconds: float) -> tuple[str, str]:
    """What became of one definition, and why; LATER where it may become something else, unless it is ``late``.

    ``may_come`` says that what it lacks may still be made by what is restored before it, for which it is never late.
    """
    try:
        with within(seconds):
            each.prepare()
        hindrance = each.hindrance()
        if hindrance is not None:
            return (LATER if may_come or (hindrance.passing and not late) else FAILED), hindrance.reason
        return (RESTORED if _made(each, seconds) else THERE), ""
    except Exception as error:
        return (LATER if _may_pass(error) and not late else FAILED), in_words(error)


def _made(each: Defined, seconds: float) -> bool:
    """Whether the device had to be made; mdevctl's rule may have made it while this tried to."""
    try:
        with within(seconds):
            return bool(each.ensure(False)["changed"])
    except Exception:
        with contextlib.suppress(Exception):
            if not each.ensure(True)["changed"]:
                return False
        raise


def _may_pass(error: BaseException | None) -> bool:
    """Whether the kernel refused something, for now, or a program has not answered, as while a vendor's services start.

    A failed plan has what it was as its cause.
    """
    while error is not None:
        if isinstance(error, (NoAnswer, NotYet)) or (isinstance(error, SysfsError) and error.errno in PASSING):
            return True
        error = error.__cause__
    return False


def in_words(error: Exception) -> str:
    """An error as a person reads it; one that nobody expected says what it is and where, so that it can be reported."""
    if isinstance(error, NodedevError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace else ""
    return f"an error that was not expected, please report it: {type(error).__name__}: {shown(error)}{place}"
