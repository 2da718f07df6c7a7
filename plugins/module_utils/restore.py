# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine: definitions in, the same plans out that the modules have.

Runs as nodedev-restore, at boot for everything and then for each parent that arrives. One failure does not stop the
rest; the exit status is 0 when all that should be there is there, 1 when something is not, 2 for a bad command line.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Sequence

from . import defined, sysfs
from .errors import NodedevError
from .kept import Kept
from .sysfs import SysfsError

# Seconds for which a parent is waited for that is there but not ready: vendors' services take tens of them.
WAIT = 60.0
PAUSE = 0.5
# What a driver answers while its own services are still starting.
PASSING = (errno.EIO, errno.EAGAIN, errno.EBUSY)
FAILED = 1
# The journal's level of an error (sd-daemon(3)).
ERROR = "<3>"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; ``arguments`` are those of the process unless given. Returns the exit status."""
    options = _parser().parse_args(arguments)
    kept, damaged = defined.kept()
    if options.parent is not None:
        kept = [each for each in kept if each.concerns(options.parent)]
        damaged = [each for each in damaged if f"/{options.parent}/" in each.path]
    for damage in damaged:
        _fail(str(damage))
    if options.list:
        _list(kept)
        return FAILED if damaged else 0
    wanted = [each for each in kept if each.facts["autostart"]]
    hindrance = None if options.dry_run else sysfs.why_not_writable()
    if wanted and hindrance:
        _fail(hindrance)
        return FAILED
    failed = _foretell(wanted) if options.dry_run else _restore(wanted, options.wait)
    return FAILED if failed or damaged else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nodedev-restore",
        description="Makes the virtual devices that are defined on this host and start by themselves.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="say what is defined, and change nothing")
    what.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--parent", metavar="NAME", help="only what belongs to this device, by its name in sysfs")
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT,
        metavar="SECONDS",
        help="for a parent that is not ready (default: %(default)g)",
    )
    return parser


def _list(kept: Sequence[Kept]) -> None:
    for each in kept:
        said = each.facts
        notes = ["active" if said["active"] else "inactive", "auto" if said["autostart"] else "manual"]
        notes += ["parent missing"] if said["parent_missing"] else []
        notes += [f"{drift['what']} is {drift['running']}, not {drift['defined']}" for drift in said["drift"]]
        _say(f"{each.name}: {', '.join(notes)}")


def _foretell(wanted: Sequence[Kept]) -> int:
    failed = 0
    for each in wanted:
        try:
            hindrance = each.hindrance()
            if hindrance:
                raise NodedevError(hindrance.reason)
            for step in each.ensure(True)["plan"]:
                _say(f"would {step}")
        except NodedevError as error:
            _fail(f"{each.name} would fail: {error}")
            failed += 1
    return failed


def _restore(wanted: Sequence[Kept], seconds: float) -> int:
    """Make what is missing, and try for so many seconds what its parent is not ready for. Returns how many failed."""
    deadline = time.monotonic() + seconds
    made = there = failed = 0
    pending = list(wanted)
    while pending:
        late = time.monotonic() >= deadline
        waiting = []
        for each in pending:
            try:
                hindrance = each.hindrance()
                if hindrance and hindrance.passing and not late:
                    waiting.append(each)
                    continue
                if hindrance:
                    raise NodedevError(hindrance.reason)
                changed = _made(each)
            except NodedevError as error:
                if _may_pass(error) and not late:
                    waiting.append(each)
                    continue
                _fail(f"failed: {each.name}: {error}")
                failed += 1
            else:
                _say(f"restored: {each.name}" if changed else f"there already: {each.name}")
                made, there = made + changed, there + (not changed)
        if waiting and len(waiting) == len(pending):
            time.sleep(PAUSE)
        pending = waiting
    _say(f"{made} restored, {there} there already, {failed} failed")
    return failed


def _made(each: Kept) -> bool:
    """Whether the device had to be made; mdevctl's rule may have made it while this tried to."""
    try:
        return bool(each.ensure(False)["changed"])
    except NodedevError:
        if each.ensure(True)["changed"]:
            raise
        return False


def _may_pass(error: BaseException | None) -> bool:
    """Whether the kernel refused something, for now; a failed plan has what it answered as its cause."""
    while error is not None and not isinstance(error, SysfsError):
        error = error.__cause__
    return error is not None and error.errno in PASSING


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(text: str) -> None:
    sys.stderr.write(f"{ERROR if 'JOURNAL_STREAM' in os.environ else ''}{text}\n")
