# SPDX-License-Identifier: GPL-3.0-or-later
"""Subchannels that go in the middle of it, runs at once, and what a chzdev says that is not as it should be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Host
from test_channels import CHZDEV, KEPT, ONLINE, RULE, SCENARIO, SPARE, TEXT, bound, driver, rule

WISH = {"device": "css_0_0_0013", "driver": "vfio_ccw"}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    host = start(SCENARIO)
    host.run(["modprobe", "vfio_ccw"])
    return host


@pytest.mark.parametrize("path", ["*/online", "*/driver_override", "/sys/bus/css/drivers/*/unbind"])
def test_a_subchannel_that_goes_in_the_middle(host: Host, path: str) -> None:
    """The path to the device is lost between the look and what is written: it is told, and the next run says so."""
    host.fault(path, op="write", delay=3, nth=1)
    lost = threading.Timer(1.5, host.unplug, [SPARE])
    lost.start()
    told = host.module("driver", **WISH, wait_timeout=10)
    lost.join()
    assert told.get("failed"), told
    assert "Traceback" not in str(told)
    # On a busy machine it was lost before the look.
    assert SPARE in told["msg"] or "there is no such device" in told["msg"]
    host.clear_faults()
    assert "there is no such device" in host.failed("driver", **WISH)
    host.plug(SPARE)
    assert host.done("driver", **WISH)["changed"]


@pytest.mark.parametrize("content", ["2\n", "-1\n", "on\n", "\n", "\u20ac\n", "1" * 4000])
def test_an_odd_state_is_not_taken_for_offline(host: Host, content: str) -> None:
    host.fault(ONLINE, op="read", content=content)
    message = host.module("driver", **WISH, wait_timeout=2)["msg"]
    assert f"{ONLINE} is not 0 2 s after that was written there" in message
    host.clear_faults()
    assert bound(host, SPARE, "css")[0] == "io_subchannel"


def test_two_runs_at_once(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(host.module, "driver", **WISH) for _run in range(2)]
        done = [each.result() for each in runs]
    assert sorted(each["changed"] for each in done) == [False, True]
    assert bound(host, SPARE, "css")[0] == "vfio_ccw"


def test_there_and_back_at_once(host: Host) -> None:
    """Whichever comes first, the end is one of both, and not half of each."""
    wishes: list[dict[str, Any]] = [WISH, {"device": WISH["device"], "state": "absent"}] * 2
    with ThreadPoolExecutor() as pool:
        done = [each.result() for each in [pool.submit(host.module, "driver", **wish) for wish in wishes]]
    assert not [each for each in done if each.get("failed")]
    name, override = bound(host, SPARE, "css")
    assert (name, override) in [("vfio_ccw", "vfio_ccw\n"), ("io_subchannel", "(null)\n")]
    kept = host.run(["ls", f"/etc/driverctl.d/css-{SPARE}"], check=False).returncode == 0
    assert kept == (name == "vfio_ccw")


@pytest.fixture
def configured(host: Host) -> Host:
    host.run(["install", "-D", "-m", "644", "/dev/stdin", RULE], input=TEXT)
    host.run(["install", "-D", "-m", "755", "/dev/stdin", "/usr/sbin/chzdev"], input=CHZDEV)
    return host


def test_an_export_that_is_no_text_comes_back_as_it_was(configured: Host) -> None:
    odd = CHZDEV.replace("    title = ", "    os.write(1, b'# \\xff\\xfe\\n')\n    title = ")
    assert odd != CHZDEV
    configured.write("/usr/sbin/chzdev", odd)
    made = configured.module("driver", **WISH, take_over=True)
    assert "Traceback" not in str(made)
    assert not made.get("failed"), made
    configured.write("/usr/sbin/chzdev", CHZDEV)
    assert configured.run(["ls", KEPT]).returncode == 0


def test_a_module_that_cannot_be_loaded(configured: Host) -> None:
    """chzdev keeps the device again, which is online still; with the module it goes as foretold."""
    configured.run(["modprobe", "-r", "vfio_ccw"])
    plan = configured.done("driver", **WISH, take_over=True, check_mode=True)["plan"]
    state = configured.state()
    for fault, told in (
        ({"errno": "ENODEV"}, "modprobe: ERROR: could not insert 'vfio_ccw': No such device"),
        ({"delay": 5}, "modprobe -- vfio_ccw has not ended after "),
    ):
        configured.fault("/sys/module/vfio_ccw", op="write", **fault)
        message = configured.failed("driver", **WISH, take_over=True, wait_timeout=2)
        assert message.startswith("could not load module vfio_ccw: ")
        assert told in message
        assert "undone: have chzdev give up what it keeps of ccw_0_0_1520" in message
        configured.clear_faults()
        assert (configured.state(), rule(configured), configured.read(ONLINE)) == (state, TEXT, "1\n")
    assert configured.done("driver", **WISH, take_over=True)["plan"] == plan


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/bin/sh\nsleep 0; exit 3\n", "exit status 3"),
        ("#!/bin/sh\necho 'no, \033[31mnever' >&2; exit 1\n", "no, "),
        ("no program\n", "could not be started"),
        ("#!/bin/sh\nexit 0\n", f"{RULE} sets 0.0.1520 online at each boot still, although chzdev gave it up"),
    ],
)
def test_a_chzdev_that_does_nothing(configured: Host, text: str, told: str) -> None:
    configured.write("/usr/sbin/chzdev", text)
    message = configured.failed("driver", **WISH, take_over=True)
    assert told in message
    assert "\033" not in message
    assert (rule(configured), bound(configured, SPARE, "css")[0]) == (TEXT, "io_subchannel")
    assert configured.run(["ls", KEPT], check=False).returncode != 0


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "type": "dasd-eckd", "exports": {"10": ""}}',
        '{"version": 1, "type": "dasd-eckd", "exports": {}}',
        '{"version": 1, "type": "--yes", "exports": {"common": ""}}',
        '{"version": 1, "type": "dasd-eckd", "exports": {"common": 1}}',
        "[]",
    ],
)
def test_what_was_taken_over_is_damaged(configured: Host, text: str) -> None:
    driver(configured, driver="vfio_ccw", take_over=True)
    configured.write(KEPT, text)
    assert f"{KEPT} is damaged" in configured.failed("driver", device="css_0_0_0013", state="absent")
    assert configured.read(KEPT) == text
