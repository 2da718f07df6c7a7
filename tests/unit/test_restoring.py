# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions made card by card and side by side: whatever one of them does, the others are made."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import locks, waiting
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import children, restoring
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.restoring import (
    FAILED,
    RESTORED,
    THERE,
    UNTRIED,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.sysfs import SysfsError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.programs import NoAnswer
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Hindrance
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.waiting import wait_for
from made_up import MadeUp

FOREVER = 600.0
LIMIT = 60.0
Action = Callable[[], object]


class Devices:
    """Definitions whose devices are files of a folder; each does what it is told before its file is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def define(
        self,
        name: str,
        card: str | Action = "card",
        before: Action = lambda: None,
        hindrance: Callable[[], Hindrance | None] = lambda: None,
        rank: int = 0,
        function: tuple[str, ...] = (),
    ) -> MadeUp:
        path = self.folder / name

        def ensure(check_mode: bool) -> dict[str, Any]:
            changed = not path.exists()
            if changed and not check_mode:
                before()
                path.touch()
            return {"changed": changed}

        return MadeUp(
            name,
            ensure=ensure,
            place=lambda: (card if isinstance(card, str) else str(card()), *function),
            hindrance=hindrance,
            rank=rank,
        )

    def wait_for(self, *names: str) -> None:
        """Raises where these devices do not come to be there."""
        if not wait_for(lambda: set(names) <= set(os.listdir(self.folder)), LIMIT):
            raise NodedevError(f"not there: {names}")


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    return Devices(tmp_path)


def told(wanted: list[MadeUp], wait: float = LIMIT, limit: float = LIMIT) -> dict[str, tuple[str, str]]:
    """What became of each."""
    results = [(each.defined.name, (each.how, each.reason)) for each in restoring.restore(wanted, wait, limit)]
    assert sorted(name for name, _result in results) == sorted(each.name for each in wanted)
    return dict(results)


def fail(error: BaseException) -> Action:
    def action() -> None:
        raise error

    return action


def block() -> None:
    time.sleep(FOREVER)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGUSR2)


def test_nothing_is_defined() -> None:
    assert told([]) == {}


def test_what_is_missing_is_made_once(devices: Devices) -> None:
    (devices.folder / "there").touch()
    wanted = [devices.define(name) for name in ("missing", "there")]
    assert told(wanted) == {"missing": (RESTORED, ""), "there": (THERE, "")}
    assert told(wanted) == dict.fromkeys(("missing", "there"), (THERE, ""))


def test_cards_are_worked_on_side_by_side(devices: Devices) -> None:
    """Each of ten devices is complete only once all of them have been begun."""
    begun = [f"begun-{number}" for number in range(10)]

    def meet(number: int) -> None:
        (devices.folder / begun[number]).touch()
        devices.wait_for(*begun)

    wanted = [
        devices.define(f"{number}", card=f"card{number}", before=lambda number=number: meet(number))
        for number in range(10)
    ]
    assert set(told(wanted).values()) == {(RESTORED, "")}


def test_one_card_is_worked_on_in_order(devices: Devices) -> None:
    names = [f"{number}" for number in range(20)]

    def alone(number: int) -> None:
        if sorted(os.listdir(devices.folder)) != sorted(names[:number]):
            raise NodedevError(f"{number} is not next")

    wanted = [devices.define(name, before=lambda number=number: alone(number)) for number, name in enumerate(names)]
    assert set(told(wanted).values()) == {(RESTORED, "")}


def test_no_more_children_than_are_allowed_at_once(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "AT_ONCE", 3)

    def count(number: int) -> None:
        (devices.folder / f"running-{number}").touch()
        time.sleep(0.01)
        running = sum(name.startswith("running") for name in os.listdir(devices.folder))
        (devices.folder / f"running-{number}").unlink()
        if running > 3:
            raise NodedevError(f"{running} at once")

    wanted = [
        devices.define(f"{number}", card=f"{number}", before=lambda number=number: count(number))
        for number in range(30)
    ]
    assert set(told(wanted).values()) == {(RESTORED, "")}


UNEXPECTED = "an error that was not expected, please report it: "


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (fail(NodedevError("the reason")), "the reason"),
        (fail(KeyError("nvidia-999")), f"{UNEXPECTED}KeyError: 'nvidia-999' (test_restoring.py:"),
        (fail(ValueError("\x1b[31m\n")), f"{UNEXPECTED}ValueError: \\x1b[31m\\n (test_restoring.py:"),
        (fail(RecursionError()), f"{UNEXPECTED}RecursionError:  (test_restoring.py:"),
        (fail(OSError(errno.ENOSPC, "full")), f"{UNEXPECTED}OSError: [Errno 28] full (test_restoring.py:"),
        (fail(SystemExit(0)), "its process ended with status 1"),
        (fail(KeyboardInterrupt()), "its process ended with status 1"),
        (lambda: os._exit(0), "its process ended with status 0"),
        (killed, "its process ended by SIGUSR2"),
    ],
)
def test_a_failure_concerns_one_definition(devices: Devices, before: Action, reason: str) -> None:
    wanted = [
        devices.define("first"),
        devices.define("bad", before=before),
        devices.define("last"),
        devices.define("other", card="other"),
    ]
    results = told(wanted)
    how, said = results.pop("bad")
    assert how == FAILED
    assert said.startswith(reason)
    assert results == dict.fromkeys(("first", "last", "other"), (RESTORED, ""))
    # Not one of the children has run on in our place.
    assert sorted(os.listdir(devices.folder)) == ["first", "last", "other"]


def test_a_card_that_cannot_be_told_concerns_one_definition(devices: Devices) -> None:
    broken = fail(SysfsError("reading", "/sys/x", errno.EIO))
    wanted = [devices.define("bad", card=broken), devices.define("good")]
    assert told(wanted) == dict.fromkeys(("bad", "good"), (RESTORED, ""))


def test_one_that_blocks_is_left_with_its_card_and_the_others_are_made(devices: Devices) -> None:
    wanted = [
        devices.define("first"),
        devices.define("blocked", before=block),
        devices.define("behind"),
        devices.define("late", hindrance=lambda: Hindrance("not ready", passing=True)),
        *(devices.define(f"{number}", card=f"card{number}") for number in range(5)),
    ]
    results = told(wanted, limit=0.5)
    assert results.pop("blocked") == (FAILED, "it has not ended after 0.5 s; its process ended by SIGKILL")
    assert results.pop("behind") == results.pop("late") == (FAILED, UNTRIED)
    assert set(results.values()) == {(RESTORED, "")}


def test_more_cards_that_block_than_are_worked_on_at_once(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "AT_ONCE", 2)
    blocked = [f"blocked{number}" for number in range(2)]
    wanted = [devices.define(name, card=name, before=block) for name in blocked]
    results = told([*wanted, devices.define("behind", card="free")], limit=0.5)
    assert results.pop("behind") == (RESTORED, "")
    assert {how for how, _reason in results.values()} == {FAILED}


def test_all_of_it_has_an_end(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each card blocks, and their limits one after the other would take for ever."""
    monkeypatch.setattr(restoring, "AT_ONCE", 1)
    wanted = [devices.define(f"{number}", card=f"{number}", before=block) for number in range(1000)]
    results = told(wanted, wait=0, limit=0.2)
    assert set(results.values()) <= {
        (FAILED, "it has not ended after 0.2 s; its process ended by SIGKILL"),
        (FAILED, f"{restoring.OVER}; its process ended by SIGKILL"),
        (FAILED, restoring.OVER),
    }
    assert results["999"] == (FAILED, restoring.OVER)


def test_a_failure_that_took_long_says_that_the_card_does_not_answer(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "PATIENCE", 0.0)
    wanted = [
        devices.define("slow", before=fail(NodedevError("no answer"))),
        devices.define("behind"),
        devices.define("other", card="other"),
    ]
    assert told(wanted) == {"slow": (FAILED, "no answer"), "behind": (FAILED, UNTRIED), "other": (RESTORED, "")}


def test_a_program_that_does_not_answer_yet_is_asked_again(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nvidia-smi while the vendor's services start; what is behind on its card waits, and is not tried meanwhile."""
    monkeypatch.setattr(restoring, "PATIENCE", 0.0)
    asked = devices.folder / "asked"

    def unanswered() -> None:
        if not asked.exists():
            asked.touch()
            raise NodedevError("its mode is not known") from NoAnswer("no answer")

    def behind() -> None:
        assert (devices.folder / "slow").exists()

    wanted = [devices.define("slow", before=unanswered), devices.define("behind", before=behind)]
    assert told(wanted) == dict.fromkeys(("slow", "behind"), (RESTORED, ""))
    assert told([devices.define("never", before=fail(NoAnswer("no answer")))], wait=0.5) == {
        "never": (FAILED, "no answer")
    }


def test_a_parent_that_is_not_ready_is_waited_for(devices: Devices) -> None:
    """It becomes ready by what another card makes, and what is ready on its own card is made at once."""

    def hindrance() -> Hindrance | None:
        return None if (devices.folder / "other").exists() else Hindrance("not ready", passing=True)

    wanted = [
        devices.define("waits", hindrance=hindrance),
        devices.define("ready"),
        devices.define("other", card="other", before=lambda: devices.wait_for("ready")),
    ]
    assert told(wanted) == dict.fromkeys(("waits", "ready", "other"), (RESTORED, ""))


def test_what_is_on_a_function_comes_after_what_makes_it(devices: Devices) -> None:
    """Also where its kind comes first: a driver of the function, before the functions of the card."""

    def function() -> Hindrance | None:
        return None if (devices.folder / "functions").exists() else Hindrance("not there", passing=False)

    wanted = [
        devices.define("its driver", rank=0, function=("1",), hindrance=function),
        devices.define("the card's driver", rank=0),
        devices.define("functions", rank=1, before=lambda: devices.wait_for("the card's driver")),
        devices.define("on it", rank=2, function=("1",), before=lambda: devices.wait_for("its driver")),
    ]
    assert told(wanted) == dict.fromkeys([each.name for each in wanted], (RESTORED, ""))


@pytest.mark.parametrize(("passing", "wait"), [(True, 0.0), (True, 0.7), (False, LIMIT)])
def test_a_parent_that_does_not_become_ready(devices: Devices, passing: bool, wait: float) -> None:
    wanted = [devices.define("bad", hindrance=lambda: Hindrance("gone", passing=passing)), devices.define("good")]
    assert told(wanted, wait=wait) == {"bad": (FAILED, "gone"), "good": (RESTORED, "")}


@pytest.mark.parametrize(("wait", "later"), [(0.5, 0.0), (1.6, 1.2)])
def test_a_parent_that_is_made_late_has_its_time_from_then_on(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, wait: float, later: float
) -> None:
    """What is made before may take longer than a parent is waited for."""
    monkeypatch.setattr(restoring, "LONGEST_PAUSE", 0.1)
    made = devices.folder / "functions"

    def becoming_ready() -> Hindrance | None:
        ready = made.exists() and time.time() - made.stat().st_mtime > later
        return None if ready else Hindrance("not ready", passing=made.exists())

    functions = devices.define("functions", "a", before=lambda: time.sleep(1))
    vgpu = devices.define("vgpu", "b", rank=1, hindrance=becoming_ready)
    assert told([functions, vgpu], wait=wait) == dict.fromkeys(("functions", "vgpu"), (RESTORED, ""))


@pytest.mark.parametrize("refused", [False, True])
def test_while_another_run_works_on_the_card_nothing_is_too_late(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: bool
) -> None:
    """A run for a function while that for its card still divides it, or while those for other functions have the card.

    What is lacking then has its time from when the other run is through.
    """
    monkeypatch.setattr(locks, "FOLDER", str(tmp_path / "run" / "locks"))
    monkeypatch.setattr(restoring, "LONGEST_PAUSE", 0.1)
    wait = 2.0
    with locks.held(["card"], 0):
        other = os.open(f"{locks.FOLDER}/card", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    through, ready = time.monotonic() + wait + 0.5, time.monotonic() + wait + 1

    def hindrance() -> Hindrance | None:
        if time.monotonic() > through:
            # The same open file in each child, so that this is the other run's end.
            fcntl.flock(other, fcntl.LOCK_UN)
        return None if refused or time.monotonic() > ready else Hindrance("no type is offered", passing=True)

    def before() -> None:
        with locks.held(["card"], 0.1):
            pass

    wanted = [devices.define("function", before=before if refused else lambda: None, hindrance=hindrance)]
    assert told(wanted, wait=wait) == {"function": (RESTORED, "")}
    os.close(other)


@pytest.mark.parametrize(("limit", "seconds"), [(20.0, 30.0), (100.0, 30.0), (200.0, 130.0)])
def test_the_time_for_making_a_device_grows_with_its_limit(devices: Devices, limit: float, seconds: float) -> None:
    file = devices.folder / "left"
    asked = devices.define("device", before=lambda: file.write_text(str(waiting.left(FOREVER))))
    assert told([asked], limit=limit) == {"device": (RESTORED, "")}
    assert seconds - 10 < float(file.read_text()) <= seconds


@pytest.mark.parametrize("number", restoring.PASSING)
def test_what_the_kernel_refuses_for_now_is_tried_again(devices: Devices, number: int) -> None:
    def refuse() -> None:
        tries = devices.folder / "tries"
        with tries.open("a") as file:
            file.write("x")
        if tries.stat().st_size < 3:
            try:
                raise SysfsError("writing to", "/sys/x", number)
            except SysfsError as error:
                raise NodedevError("the plan failed") from error

    assert told([devices.define("late", before=refuse)]) == {"late": (RESTORED, "")}


def test_what_somebody_else_made_meanwhile_is_there(devices: Devices) -> None:
    def lose() -> None:
        (devices.folder / "raced").touch()
        raise KeyError("raced")

    assert told([devices.define("raced", before=lose)]) == {"raced": (THERE, "")}


def test_no_process_can_be_started(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(children.os, "fork", no_fork)
    reason = "no process could be started for it: Resource temporarily unavailable"
    wanted = [devices.define(name) for name in ("one", "two")]
    assert told(wanted) == dict.fromkeys(("one", "two"), (FAILED, reason))


def test_whoever_stops_listening_leaves_no_child(devices: Devices) -> None:
    def begin() -> None:
        (devices.folder / str(os.getpid())).touch()
        block()

    wanted = [devices.define("quick", card="other"), devices.define("slow", before=begin)]
    results = restoring.restore(wanted, LIMIT, LIMIT)
    assert next(results).defined.name == "quick"
    assert wait_for(lambda: len(os.listdir(devices.folder)) == 2, LIMIT)
    results.close()
    (child,) = (int(name) for name in os.listdir(devices.folder) if name.isdecimal())
    assert not os.path.exists(f"/proc/{child}")


MISSING = Hindrance("its parent is not there", passing=False)


def test_a_parent_may_be_made_by_an_earlier_kind(devices: Devices) -> None:
    """Virtual functions come before the devices on them, which have no parent until then."""

    def hindrance() -> Hindrance | None:
        return None if "function" in os.listdir(devices.folder) else MISSING

    first = devices.define("function", "a", before=lambda: time.sleep(1))
    assert told([devices.define("device", "b", hindrance=hindrance, rank=1), first]) == {
        "function": (RESTORED, ""),
        "device": (RESTORED, ""),
    }


def test_what_is_on_a_card_waits_for_what_the_card_has_later(devices: Devices) -> None:
    """A function's driver is an earlier kind than the functions of a card, which itself may not be ready."""
    ready = time.monotonic() + 1

    def later() -> Hindrance | None:
        return None if time.monotonic() > ready else Hindrance("its interface is not there yet", passing=True)

    def missing() -> Hindrance | None:
        return None if "function" in os.listdir(devices.folder) else MISSING

    driver = devices.define("driver", "a", hindrance=missing, function=("a.1",))
    assert told([driver, devices.define("function", "a", hindrance=later, rank=1)]) == {
        "function": (RESTORED, ""),
        "driver": (RESTORED, ""),
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_a_parent_that_no_earlier_kind_makes_is_missing(devices: Devices, rank: int) -> None:
    """It is not waited for as long as for one that is there and not ready."""
    missing = devices.define("device", "b", hindrance=lambda: MISSING, rank=rank)
    results = told([missing, devices.define("function", "a")], wait=FOREVER)
    assert results == {"function": (RESTORED, ""), "device": (FAILED, MISSING.reason)}


def test_a_part_is_made_before_what_the_rest_waits_for(devices: Devices) -> None:
    """What is restored in between needs it; the rest is made once that is there."""
    part, between = devices.folder / "part", devices.folder / "between"
    later = Hindrance("between is not there yet", passing=True)
    both = replace(devices.define("both", hindrance=lambda: None if between.exists() else later), prepare=part.touch)
    lacking = Hindrance("the part is not there", passing=False)
    second = devices.define("between", hindrance=lambda: None if part.exists() else lacking, rank=1)
    assert told([both, second], wait=FOREVER) == {"both": (RESTORED, ""), "between": (RESTORED, "")}
    failing = replace(devices.define("failing"), prepare=lambda: int("no"))
    assert told([failing])["failing"][0] == FAILED
