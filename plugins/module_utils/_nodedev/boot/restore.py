# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine: definitions in, the same plans out that the modules have.

Runs as nodedev-restore, at boot for everything and then for each parent that arrives. One failure does not stop the
rest; the exit status is 0 when all that should be there is there, 1 when something is not, 2 for a bad command line,
such as one with a parent that is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn, TextIO

from ..errors import NodedevError
from ..grammar import kernel_address
from ..host import mdev_parents, sysfs
from ..kinds import registry
from ..kinds.registry import Damaged, Defined
from ..text import shown
from . import arrivals, children, outcomes, restoring
from .restoring import FAILED, RESTORED, THERE, in_words

# Seconds for which a parent is waited for that is there but not ready: vendors' services take tens of them.
WAIT = 60.0
# Seconds for one device: those that a module waits for it, and as many for taking back what it began.
LIMIT = 100.0
# The most seconds that can be asked for: a day.
MOST = 86400.0
NOT_ALL, NO_PARENT = 1, 2
# The journal's level of an error (sd-daemon(3)).
ERROR = "<3>"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; ``arguments`` are those of the process unless given. Returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever the locale is, a name that it does not have stops nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = _Parser()
    options = parser.parse_args(arguments)
    if options.metrics is not None and options.parent is not None:
        parser.error("argument --parent: not allowed with argument --metrics")
    try:
        return _carried_out(options)
    except NodedevError as error:
        _fail(str(error))
        return NOT_ALL


class _Parser(argparse.ArgumentParser):
    """The command line; what is wrong with it is said on one line too."""

    def __init__(self) -> None:
        super().__init__(
            prog="nodedev-restore",
            description="Makes the virtual devices that are defined on this host and start by themselves.",
        )
        what = self.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="say what is defined, and change nothing")
        what.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        what.add_argument(
            "--metrics", metavar="FILE", help="write what is defined, there and free into a file for Prometheus"
        )
        self.add_argument(
            "--parent", type=_device, metavar="NAME", help="only what belongs to this device, by its name in sysfs"
        )
        for name, seconds, what_for in (
            ("--wait", WAIT, "a parent that is not ready"),
            ("--limit", LIMIT, "one device"),
        ):
            self.add_argument(
                name, type=_seconds, default=seconds, metavar="SECONDS", help=f"for {what_for} (default: %(default)g)"
            )

    def error(self, message: str) -> NoReturn:
        super().error(shown(message, None))


def _seconds(text: str) -> float:
    """A number of seconds; ArgumentTypeError for what is none, as inf, nan or a negative one."""
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if math.isfinite(seconds) and 0 <= seconds <= MOST:
            return seconds
    raise argparse.ArgumentTypeError(f"{shown(repr(text))} cannot be used: a number of seconds, 0 to {MOST:g}")


def _device(text: str) -> str:
    """The kernel's name of a device, which it never gives a slash; ArgumentTypeError for what is none."""
    if text in ("", ".", "..") or "/" in text:
        raise argparse.ArgumentTypeError(f"{shown(repr(text))} cannot be used: a device's name in sysfs has no /")
    return kernel_address(text)


def _carried_out(options: argparse.Namespace) -> int:
    if options.metrics is not None:
        return _write_metrics(options.metrics, options.limit)
    parent = options.parent
    definitions, damaged = registry.defined(parent)
    if parent is not None:
        definitions, damaged = _concerned(parent, definitions, damaged, options.limit)
        if not definitions and not damaged and not mdev_parents.device_exists(parent):
            _fail(f"--parent: there is no device {parent}, and nothing is defined on it")
            return NO_PARENT
    for damage in damaged:
        _fail(str(damage.error))
    if options.list:
        failed = _list(definitions)
    else:
        wanted = [each for each in definitions if each.autostart]
        hindrance = None if options.dry_run else sysfs.why_not_writable()
        if wanted and hindrance:
            raise NodedevError(hindrance)
        if options.dry_run:
            failed = _foretell(wanted)
        elif parent is not None:
            failed = _restore(wanted, options.wait, options.limit, parent)
        else:
            failed = _restore_all(wanted, options.wait, options.limit, bool(damaged))
    if failed and parent is not None and not mdev_parents.device_exists(parent):
        # It may have been there a moment ago.
        return NO_PARENT
    return NOT_ALL if failed or damaged else 0


def _concerned(
    arrived: str, definitions: Sequence[Defined], damaged: Sequence[Damaged], limit: float
) -> tuple[list[Defined], list[Damaged]]:
    """Those whose parent has arrived, or may be it; raises NodedevError where its driver does not say."""
    both: list[Defined | Damaged] = [*definitions, *damaged]
    try:
        answers = children.answer(lambda: [_concerns(each, arrived) for each in both], limit)
    except NodedevError as error:
        raise NodedevError(f"{shown(arrived)} could not be looked at: {error}") from error
    mine = [each for each, concerned in zip(both, answers) if concerned]
    return [each for each in mine if isinstance(each, Defined)], [each for each in mine if isinstance(each, Damaged)]


def _concerns(each: Defined | Damaged, arrived: str) -> bool:
    """Whether it waits for this parent; one that cannot tell is tried, and says what it cannot read."""
    try:
        return each.concerns(arrived)
    except Exception:
        return True


def _list(definitions: Sequence[Defined]) -> int:
    """Say what is defined, in the order in which it is made; returns how many could not be looked at."""
    failed = 0
    for _place, each in restoring.placed(definitions):
        try:
            facts = each.facts()
        except Exception as error:
            _fail(f"{each.name}: {in_words(error)}")
            failed += 1
            continue
        start = "managed" if each.managed else "auto" if facts["autostart"] else "manual"
        notes = ["active" if facts["active"] else "inactive", start]
        notes += ["parent missing"] if facts["parent_missing"] else []
        notes += [f"{drift['what']} is {drift['running']}, not {drift['defined']}" for drift in facts["drift"]]
        _say(f"{each.name}: {', '.join(notes)}")
    return failed


def _foretell(wanted: Sequence[Defined]) -> int:
    """Say what would be done, in the order in which it would be; returns how many would fail."""
    failed = 0
    # By card, then as restoring.placed() has them in order.
    changed: list[tuple[str, int, int]] = []
    hindered: list[tuple[tuple[str, int, int], Defined, str]] = []
    for place, each in restoring.placed(wanted):
        turn = (place[0], len(place), each.rank)
        try:
            hindrance = each.hindrance()
            if hindrance:
                hindered.append((turn, each, hindrance.reason))
                continue
            steps = each.ensure(True)["plan"]
        except Exception as error:
            _fail(f"{each.name} would fail: {in_words(error)}")
            failed += 1
            continue
        for step in steps:
            _say(f"would {step}")
        changed += [turn] if steps else []
    for turn, each, reason in hindered:
        # What it lacks may come of another kind, as a virtual function or a driver does; its own only takes the room.
        if any(other[2] < each.rank or (other[0] == turn[0] and other != turn) for other in changed):
            _say(f"{each.name} waits for what is made before it: {reason}")
        else:
            _fail(f"{each.name} would fail: {reason}")
            failed += 1
    return failed


def _write_metrics(path: str, limit: float) -> int:
    """Write the file for Prometheus; the exit status says whether all of it could be gathered."""
    # Here, since what it imports would only make restoring later.
    from . import metrics

    reasons = metrics.write(os.path.abspath(path), limit)
    for reason in reasons:
        _fail(reason)
    return NOT_ALL if reasons else 0


def _restore(wanted: Sequence[Defined], wait: float, limit: float, parent: str | None) -> int:
    """Make what is missing; returns how many failed."""
    count: Counter[str] = Counter()
    failed: set[outcomes.Key] = set()
    for result in restoring.restore(wanted, wait, limit):
        count[result.how] += 1
        failed |= {_key(result.defined)} if result.how == FAILED else set()
        if result.how == FAILED:
            _fail(f"failed: {result.defined.name}: {result.reason}")
        else:
            _say(f"{result.how}: {result.defined.name}")
    _say(f"{count[RESTORED]} restored, {count[THERE]} there already, {count[FAILED]} failed")
    # Nobody but the metrics asks for it, so that it takes no part in how this run ends.
    with contextlib.suppress(NodedevError):
        outcomes.keep(parent, outcomes.Outcome(time.time(), frozenset(map(_key, wanted)), frozenset(failed)))
    return count[FAILED]


def _restore_all(wanted: Sequence[Defined], wait: float, limit: float, damaged: bool) -> int:
    """The same at boot; the units of what has arrived have nothing to do then, unless something is not as it should be.

    ``damaged`` says that something cannot be understood.
    """
    end = time.monotonic() + restoring.longest(wait, limit)
    arrived = arrivals.take()
    failed = _restore(wanted, wait, limit, None)
    are_there = not failed and not damaged
    # What was made here has arrived since, as virtual functions have: another look, where that has its time.
    if are_there and time.monotonic() + restoring.longest(0, limit) <= end and (late := arrivals.take()):
        arrived += late
        results = [*restoring.restore(wanted, 0, limit)]
        for each in results:
            if each.how == RESTORED:
                _say(f"{each.how}: {each.defined.name}")
        are_there = all(each.how != FAILED for each in results)
    if are_there:
        arrivals.deal_with(arrived)
    else:
        arrivals.give_back(arrived)
    return failed


def _key(each: Defined) -> outcomes.Key:
    return list(registry.KINDS)[each.rank], each.id


def _say(text: str) -> None:
    _print(sys.stdout, text)


def _fail(text: str) -> None:
    _print(sys.stderr, text, ERROR if "JOURNAL_STREAM" in os.environ else "")


def _print(stream: TextIO | None, text: str, level: str = "") -> None:
    """One line, whatever is in the text: names come from drivers and files. Nobody needs to listen."""
    if stream is None:
        return
    with contextlib.suppress(OSError):
        stream.write(f"{level}{shown(text, None)}\n")
        stream.flush()
