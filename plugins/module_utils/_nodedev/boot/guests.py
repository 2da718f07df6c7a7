# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt hook: managed devices are made when a domain that names them starts, and removed when it has ended.

libvirt runs it with the domain's name, an operation and its part, and the domain's document on the standard input
(libvirt's hooks.html), and waits for it, with the domain locked: so it has a limit, and asks libvirt for nothing. It
is called before the domain's devices are looked at (prepare), after its end, also where the start failed (release), and
for each domain that runs when libvirt itself is started again (reconnect).

What was made for a domain is recorded before it is made. libvirt tells of the end of each domain that it has begun to
start, unless it is killed meanwhile: then what nobody uses is removed when the next domain starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..errors import NodedevError
from ..host import starting, writer
from ..libvirt.domain_document import LONGEST
from ..store.guests import GUESTS, Daemon
from ..text import shown
from ..waiting import within
from . import children

# Seconds for what is to be done, and for the whole run with what has to be taken back; then libvirt goes on without it.
WAIT = 30.0
LIMIT = 60.0
# What stands in the document of a domain that may have a managed device.
WORDS = (b"mdev", b"<hostdev")
PREPARE, RELEASE, RECONNECT = OPERATIONS = ("prepare", "release", "reconnect")
FAILED = 1


def main(arguments: Sequence[str], document: bytes) -> int:
    """Do what libvirt asks of the hook by its arguments; returns the exit status, with the reason told on one line."""
    operation = arguments[1] if len(arguments) > 1 else ""
    if operation not in OPERATIONS:
        return 0
    # Who has started this will tell of the domain's end, as long as it is there.
    daemon = starting.daemon()
    try:
        if any(word in document for word in WORDS) or len(document) > LONGEST or _concerns(operation):
            _carry_out(operation, document, daemon)
    except NodedevError as error:
        sys.stderr.write(f"nodedev: {shown(error, None)}\n")
        return FAILED
    return 0


def _concerns(operation: str) -> bool:
    """Whether there is something to do for a domain that names no device of the host now.

    At its start there is where nobody will tell of the end of another guest, at its end where it had some before.
    """
    return any(operation != PREPARE or not starting.is_awaited(each) for each in GUESTS.all()[0])


def _carry_out(operation: str, document: bytes, daemon: Daemon) -> None:
    """Do it, in a process that can be ended; raises NodedevError where it failed."""
    # Here, so that a domain without managed devices does not wait for the import of all kinds.
    from . import lending, restoring

    work = {PREPARE: lending.prepare, RELEASE: lending.release, RECONNECT: lending.reconnect}[operation]

    own = os.getpid()

    def failure() -> str:
        if not writer.end_with(own):
            os._exit(FAILED)
        _let_go()
        try:
            with within(WAIT):
                work(document, daemon)
        except Exception as error:
            return restoring.in_words(error)
        return ""

    reason = children.answer(failure, LIMIT)
    if reason:
        raise NodedevError(reason)


def _let_go() -> None:
    """Close what libvirt reads and writes: it waits for the end of that, also from a process that a driver blocks."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
