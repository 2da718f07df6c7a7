# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in child processes: what comes back of it, and of one that blocks, crashes or ends too early."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import children
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.children import Child, Send, Work
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.waiting import wait_for

FOREVER = 600.0
LIMIT = 60.0


def outcome(work: Work) -> tuple[list[Any], bool, str]:
    """All that a child tells, whether it came to its end, and how it ended."""
    child = Child(work)
    told: list[Any] = []
    while not child.ended:
        children.wait_for_any([child], LIMIT)
        told += child.received()
    return told, child.complete, child.end()


def killed() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def crash() -> NoReturn:
    raise KeyError("nvidia-999")


def exits() -> NoReturn:
    sys.exit("the caller's code")


def ends() -> NoReturn:
    os._exit(7)


def test_what_it_tells_in_order() -> None:
    def work(send: Send) -> None:
        for value in ("one", ["two", 2], {"three": "\udcff\n"}, "x" * 1_000_000):
            send(value)

    told, complete, how = outcome(work)
    assert told == ["one", ["two", 2], {"three": "\udcff\n"}, "x" * 1_000_000]
    assert complete
    assert how in ("ended with status 0", "ended by SIGKILL")


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (killed, "ended by SIGKILL"),
        (crash, "ended with status 1"),
        (exits, "ended with status 1"),
        (ends, "ended with status 7"),
    ],
)
def test_one_that_ends_before_its_work_is_done(end: Callable[[], NoReturn], how: str) -> None:
    def work(send: Send) -> None:
        send("begun")
        end()

    assert outcome(work) == (["begun"], False, how)


def test_nothing_of_the_callers_runs_on_in_it() -> None:
    parent = os.getpid()
    try:
        assert not outcome(lambda _send: exits())[1]
    finally:
        assert os.getpid() == parent


def test_one_that_blocks_is_ended_with_what_it_has_started() -> None:
    def work(send: Send) -> None:
        send(os.getpid())
        process = os.fork()
        if process:
            send(process)
        time.sleep(FOREVER)

    child = Child(work)
    told: list[int] = []
    while len(told) < 2:
        children.wait_for_any([child], LIMIT)
        told += child.received()
    assert not child.ended
    assert child.end() == "ended by SIGKILL"
    assert all(wait_for(partial(is_over, process), LIMIT) for process in told)


def is_over(process: int) -> bool:
    """Whether a process is gone, or waits for whoever its parent is by now."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_it_has_started_does_not_keep_its_end_back() -> None:
    def work(send: Send) -> None:
        if os.fork() == 0:
            time.sleep(FOREVER)
        send("done")

    assert outcome(work)[:2] == (["done"], True)


def test_one_that_is_stopped_is_ended() -> None:
    child = Child(lambda _send: os.kill(os.getpid(), signal.SIGSTOP))
    assert child.end() == "ended by SIGKILL"


def test_an_answer() -> None:
    assert children.answer(lambda: [os.getpid()], LIMIT) != [os.getpid()]
    assert children.answer(lambda: None, LIMIT) is None


def test_an_answer_that_is_a_reason() -> None:
    def refuse() -> NoReturn:
        raise NodedevError("it is \udcff damaged")

    with pytest.raises(NodedevError, match=r"^it is . damaged$"):
        children.answer(refuse, LIMIT)


def test_an_answer_that_does_not_come() -> None:
    with pytest.raises(NodedevError, match=r"it has not answered after 0.1 s"):
        children.answer(lambda: time.sleep(FOREVER), 0.1)


@pytest.mark.parametrize(("question", "how"), [(killed, "by SIGKILL"), (crash, "with status 1")])
def test_an_answer_of_one_that_crashes(question: Callable[[], NoReturn], how: str) -> None:
    with pytest.raises(NodedevError, match=f"its process ended {how}"):
        children.answer(question, LIMIT)
