# SPDX-License-Identifier: GPL-3.0-or-later
"""The ap_mask module where things go wrong: at every write of masks and overrides, of what is kept, and at modprobe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Host
from simhost.drivers.ap_bus import BUS
from simhost.test_ap import scenario
from test_ap_mask import GIVE, KEPT, LOAD, RULE
from test_mdev_pool_faults import full

MODULE = "/sys/module/vfio_ap"
QUEUES = ["05.0004", "05.0005", "05.0047"]
# What is there before a change, and the change: by overrides, with vfio_ap loaded.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "new": ({}, {"adapters": ["5"]}),
    "more": ({"queues": ["06.0004"]}, {"adapters": ["5"]}),
    "inactive": ({"adapters": ["5"]}, {"state": "inactive"}),
    "absent": ({"adapters": ["5"]}, {"state": "absent"}),
}


def prepared(host: Host, before: dict[str, Any]) -> dict[str, Any]:
    """The state of a host on which this is for guests."""
    host.run(["modprobe", "vfio_ap"])
    if before:
        host.done("ap_mask", **before)
    return host.state()


@pytest.mark.parametrize("change", CHANGES)
def test_overrides_are_as_they_were_after_a_fault_at_each_step(start: Callable[..., Host], change: str) -> None:
    before, wish = CHANGES[change]
    host = start(scenario(overrides=True, counted=True))
    state = prepared(host, before)
    plan = host.done("ap_mask", **wish, check_mode=True)["plan"]
    assert len([step for step in plan if "by its override" in step]) == len(QUEUES)
    # Of the last queue each of what is written, so that all other queues are to be put back.
    places = ["devices/{}/driver_override", "drivers/{}/unbind", "drivers_probe"]
    holding = "cex4queue" if wish.get("state", "present") == "present" else "vfio_ap"
    for queue, place in [("05.0005", places[0]), *(("05.0047", each) for each in places)]:
        path = f"{BUS}/{place.format(queue if 'override' in place else holding)}"
        nth = 1 + QUEUES.index(queue) if "override" not in place else 1
        host.fault(path, op="write", errno="EIO", nth=nth)
        message = host.failed("ap_mask", **wish)
        assert f"could not give queue {queue} to " in message
        assert "undone: give queue 05.0004" in message or "; give queue 05.0004" in message
        assert ("EIO" in message, "NOT undone" in message) == (True, False)
        host.clear_faults()
        assert host.state() == state
    assert host.done("ap_mask", **wish)["plan"] == plan


@pytest.mark.parametrize("inodes", [0, 1])
def test_a_full_file_system_leaves_no_half_of_the_definition(start: Callable[..., Host], inodes: int) -> None:
    """Without room for the kind's folder, and then for the file in it."""
    host = start(scenario(overrides=True, counted=True))
    host.run(["mkdir", "-p", "/etc/nodedev.d"])
    state = prepared(host, {})
    with full(host, "/etc/nodedev.d", inodes):
        message = host.failed("ap_mask", adapters=["5"])
        assert "could not define what is for guests" in message
        assert ("ENOSPC" in message, "NOT undone" in message) == (True, False)
        assert host.run(["find", "/etc/nodedev.d", "-type", "f"]).stdout == ""
    assert host.state() == state
    assert host.done("ap_mask", adapters=["5"])["ap_mask"]["persistent"]


def test_a_definition_that_cannot_be_changed_or_removed_stays_as_it_was(start: Callable[..., Host]) -> None:
    host = start(scenario(overrides=True, counted=True))
    state = prepared(host, {"adapters": ["5"]})
    text = host.read(KEPT)
    # What is mounted can neither be replaced nor removed.
    host.run(["mount", "--bind", KEPT, KEPT])
    for wish, told in (
        ({"queues": ["06.0004"]}, "could not change the definition of what is for guests"),
        ({"state": "absent"}, "could not undefine what is for guests"),
    ):
        message = host.failed("ap_mask", **wish)
        assert told in message
        assert ("EBUSY" in message, "NOT undone" in message) == (True, False)
    host.run(["umount", KEPT])
    assert (host.read(KEPT), host.state()) == (text, state)
    assert host.run(["ls", "-A", "/etc/nodedev.d/ap_mask"]).stdout == "overrides.json\n"


def test_a_rule_that_cannot_be_changed_or_removed_stays_as_it_was(start: Callable[..., Host]) -> None:
    host = start("ap")
    state = prepared(host, {"adapters": ["5"]})
    text = host.read(RULE)
    host.run(["mount", "--bind", RULE, RULE])
    for wish, told in (
        ({"adapters": ["6"]}, f"could not change the rule {RULE}"),
        ({"state": "absent"}, f"could not remove the rule {RULE}"),
    ):
        message = host.failed("ap_mask", **wish)
        assert told in message
        assert ("EBUSY" in message, "NOT undone" in message) == (True, False)
    host.run(["umount", RULE])
    # The masks give way, and so does the rule that has gone before them.
    host.fault(f"{BUS}/apmask", op="write", errno="EIO", nth=1)
    message = host.failed("ap_mask", state="absent")
    assert f"undone: remove the rule {RULE}" in message
    host.clear_faults()
    assert (host.read(RULE), host.state()) == (text, state)


def test_a_module_that_cannot_be_loaded(start: Callable[..., Host]) -> None:
    host = start("ap")
    state = host.state()
    for fault, told in (
        ({"errno": "ENODEV"}, "modprobe: ERROR: could not insert 'vfio_ap': No such device"),
        ({"delay": 5}, "modprobe -- vfio_ap has not ended after "),
    ):
        host.fault(MODULE, op="write", **fault)
        message = host.failed("ap_mask", adapters=["5"], wait_timeout=1)
        assert message.startswith(f"could not {LOAD}: ")
        assert told in message
        host.clear_faults()
        assert (host.state(), host.path(RULE).exists()) == (state, False)
    made = host.done("ap_mask", adapters=["5"])
    assert made["plan"][:2] == [LOAD, GIVE]
