# SPDX-License-Identifier: GPL-3.0-or-later
"""The ap_mask module on a simulated mainframe: by masks, by overrides, refused, kept as chzdev does, back at boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Host, warnings
from simhost.drivers.ap_bus import BUS
from simhost.test_ap import FULL, bound, scenario
from simhost.testing import eventually
from test_documentation import returned, shape
from test_restore import install, restore

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
RULE, KEPT = "/etc/udev/rules.d/41-ap.rules", "/etc/nodedev.d/ap_mask/overrides.json"
LOCK = "/run/lock/s390apconfig.lock"
LATE = 3600
LOAD, GIVE = "load module vfio_ap", "give adapters 5 (0x05) to guests, by apmask"
WRITE = f"write a rule of chzdev's form, {RULE}, adapters 5 (0x05)"
MINE = ["05.0004", "05.0005", "05.0047"]


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A mainframe whose queues are given away by masks, with the boot engine."""
    host = start("ap")
    install(host)
    return host


@pytest.fixture
def newer(start: Callable[..., Host]) -> Host:
    """One whose queues have overrides."""
    host = start(scenario(overrides=True, counted=True))
    install(host)
    return host


def changed(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that changes something, as check mode has foretold it; the next one changes nothing."""
    before = host.state()
    foretold = host.done("ap_mask", **wish, check_mode=True, diff=True)
    assert host.state() == before
    done = host.done("ap_mask", **wish, diff=True)
    assert {**foretold, "invocation": None, "warnings": None} == {**done, "invocation": None, "warnings": None}
    again = host.done("ap_mask", **wish, diff=True)
    assert (done["changed"], again["changed"], again["plan"]) == (True, False, [])
    assert warnings(done) == []
    return done


def assign(host: Host, *queues: str) -> None:
    """A device with these queues, which all are of one adapter."""
    host.write("/sys/class/mdev_bus/matrix/mdev_supported_types/vfio_ap-passthrough/create", UUID)
    for queue in queues:
        adapter, _dot, domain = queue.partition(".")
        host.write(f"/sys/bus/mdev/devices/{UUID}/assign_adapter", f"0x{adapter}")
        host.write(f"/sys/bus/mdev/devices/{UUID}/assign_domain", f"0x{domain}")


def test_its_life(host: Host) -> None:
    made = changed(host, adapters=["5"])
    assert made["plan"] == [LOAD, GIVE, WRITE]
    assert made["diff"]["before"] == ""
    assert made["diff"]["after"] == "ap: runs; adapters [5]\nmasks: is defined; adapters [5]\n"
    assert made["ap_mask"] == {
        "by": "masks",
        "adapters": [5],
        "domains": [],
        "queues": MINE,
        "apmask": f"0xfb{'f' * 62}",
        "aqmask": FULL.strip(),
        "active": True,
        "persistent": True,
        "defined": [{"by": "masks", "adapters": [5], "domains": [], "queues": []}],
    }
    assert bound(host, "vfio_ap") == MINE
    changed(host, adapters=["0x6"])
    assert host.read(f"{BUS}/apmask") == f"0xf9{'f' * 62}\n"
    assert f'ATTR{{../../bus/ap/apmask}}="0xf9{"f" * 62}"\n' in host.read(RULE)
    assert "aqmask" not in host.read(RULE)
    assert changed(host, adapters=[5], state="absent")["ap_mask"]["adapters"] == [6]
    assert changed(host, state="inactive")["ap_mask"]["active"] is False
    assert changed(host, state="absent")["diff"]["after"] == ""
    assert (host.read(f"{BUS}/apmask"), host.path(RULE).exists()) == (FULL, False)
    assert host.path("/etc/udev/rules.d").is_dir()
    assert bound(host, "vfio_ap") == []
    assert not host.path(LOCK).exists()


def test_overrides_where_queues_have_them(newer: Host) -> None:
    made = changed(newer, queues=["05.0047"], adapters=["6"])
    assert made["plan"] == [
        LOAD,
        *(f"give queue {name} to guests, by its override" for name in ("05.0047", "06.0004", "06.0005", "06.0047")),
        "define what is for guests, adapters 6 (0x06), queues 05.0047",
    ]
    assert bound(newer, "vfio_ap") == ["05.0047", "06.0004", "06.0005", "06.0047"]
    assert (newer.read(f"{BUS}/apmask"), newer.path(RULE).exists()) == (FULL, False)
    assert made["ap_mask"]["by"] == "overrides"
    changed(newer, adapters=["6"], state="absent")
    assert bound(newer, "vfio_ap") == ["05.0047"]
    changed(newer, state="absent")
    assert (bound(newer, "vfio_ap"), newer.path(KEPT).exists()) == ([], False)
    assert newer.read(f"{BUS}/devices/05.0047/driver_override") == "\n"


def test_masks_that_others_have_set_are_changed_further(newer: Host) -> None:
    newer.write(f"{BUS}/aqmask", "-0x47")
    made = changed(newer, adapters=["5"])
    assert (made["plan"], made["ap_mask"]["by"]) == ([LOAD, GIVE, WRITE], "masks")
    message = newer.failed("ap_mask", queues=["06.0004"])
    assert message.endswith(
        "apmask or aqmask is in use, and masks give whole adapters and domains to guests: name those"
    )


@pytest.mark.parametrize("masked", [True, False], ids=["masks", "overrides"])
def test_a_queue_stays_with_its_adapter(newer: Host, masked: bool) -> None:
    if masked:
        newer.write(f"{BUS}/aqmask", "-0x47")
    given = newer.done("ap_mask", adapters=["5"])["ap_mask"]
    assert given["by"] == ("masks" if masked else "overrides")
    assert newer.failed("ap_mask", queues=["05.0004"], state="absent") == (
        "queues: '05.0004' cannot be used: their whole adapters or domains are for guests: name those"
    )
    assert newer.done("ap_mask")["ap_mask"] == given
    # The host's already, and so it may stay in a list of what is to be.
    assert not newer.done("ap_mask", queues=["06.0004"], state="absent")["changed"]


def test_a_rule_of_chzdevs_is_understood(host: Host) -> None:
    masks = (f'ATTR{{../../bus/ap/apmask}}="0x7{"f" * 63}"', f'ATTR{{../../bus/ap/aqmask}}="0x{"f" * 64}"')
    text = "\n".join(["# Generated by chzdev", 'GOTO="end_ap"', *masks, 'LABEL="end_ap"', ""])
    host.run(["install", "-D", "-m", "644", "/dev/stdin", RULE], input=text)
    made = changed(host, adapters=["5"])
    assert made["plan"][-1] == f"change the rule {RULE}, adapters 0 (0x00), 5 (0x05)"
    assert f'apmask}}="0x7b{"f" * 62}"' in host.read(RULE)
    assert f'aqmask}}="0x{"f" * 64}"' in host.read(RULE)
    host.write(RULE, f"{text}ATTR{{../../bus/ap/apmask}}=0\n")
    message = host.failed("ap_mask", adapters=["6"])
    assert f"{RULE} is damaged (chzdev does not write such a line: ATTR{{../../bus/ap/apmask}}=0)" in message


@pytest.mark.parametrize("value", [f"fb{'f' * 62}", "+0-4,+6-255", '"0xfb" ap.apmask="+0-255,-5"'])
def test_what_the_kernels_command_line_gives_to_guests_stays_theirs(start: Callable[..., Host], value: str) -> None:
    host = start({**scenario(), "proc": {"cmdline": f"root=/dev/dasda1 ap.apmask={value}\n"}})
    host.write(f"{BUS}/apmask", "-5")
    changed(host, adapters=["6"])
    assert f'apmask}}="0xf9{"f" * 62}"' in host.read(RULE)
    assert changed(host, state="absent")["ap_mask"]["adapters"] == [5]


def test_what_the_kernel_does_not_understand_on_its_command_line_leaves_the_host_nothing(
    start: Callable[..., Host],
) -> None:
    host = start({**scenario(), "proc": {"cmdline": "ap.aqmask=all\n"}})
    host.write(f"{BUS}/aqmask", "0x0")
    done = host.done("ap_mask", state="absent")
    assert (done["plan"], warnings(done)) == (
        [],
        ["ap.aqmask= on the kernel's command line is 'all', which it takes for an empty mask"],
    )


def test_what_is_refused_changes_nothing(start: Callable[..., Host]) -> None:
    host = start(scenario(busy=["06.0004"]))
    for wish, message in (
        ({"adapters": ["9"]}, "adapter 9 (0x09) is of type 9"),
        ({"domains": ["4"]}, "nobody would have its queues"),
        ({"domains": ["85"]}, "the highest number that this machine has is 84 (0x54)"),
        ({"adapters": ["6"]}, "the host works with the queues 06.0004 at this moment"),
        ({"queues": ["05.0004"]}, "the queues of this kernel have no override of their own"),
        ({"adapters": ["5-"]}, "adapters: '5-' cannot be used"),
        ({}, "adapters is required"),
    ):
        assert message in host.failed("ap_mask", **wish)
    assert host.done("ap_mask", adapters=["6"], force=True)["changed"]


def test_what_a_device_has_stays_with_vfio_ap(host: Host) -> None:
    host.done("ap_mask", adapters=["5"])
    assign(host, "05.0004")
    message = host.failed("ap_mask", state="absent", force=True)
    assert message == f"mdev {UUID} has the queues 05.0004: remove it, or unassign them, first"
    host.write(f"/sys/bus/mdev/devices/{UUID}/remove", "1")
    attrs = '[{"assign_adapter": "5"}, {"assign_domain": "4"}]'
    definition = f'{{"mdev_type": "vfio_ap-passthrough", "start": "auto", "attrs": {attrs}}}'
    host.run(["install", "-D", "-m", "644", "/dev/stdin", f"/etc/mdevctl.d/matrix/{UUID}"], input=definition)
    assert "is defined with the queues 05.0004, and could not start" in host.failed("ap_mask", state="absent")
    assert host.done("ap_mask", state="absent", force=True)["changed"]


def test_the_kernel_says_what_it_refuses(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    host.fault(f"{BUS}/apmask", op="write", errno="EBUSY")
    assert "EBUSY (Device or resource busy): a mediated device on the matrix has" in host.failed(
        "ap_mask", adapters=["5"]
    )


@pytest.mark.parametrize("place", [f"{BUS}/apmask", f"{BUS}/aqmask"])
def test_what_fails_is_undone(host: Host, place: str) -> None:
    host.run(["modprobe", "vfio_ap"])
    host.fault(place, op="write", errno="EIO")
    message = host.failed("ap_mask", adapters=["5"], domains=["71"], force=True)
    assert "could not give" in message
    assert ("undone: give adapters 5" in message) == (place.endswith("aqmask"))


def test_a_rule_that_cannot_be_written_is_undone(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    host.run(["sh", "-c", "mkdir -p /etc/udev; rm -rf /etc/udev/rules.d; touch /etc/udev/rules.d"])
    assert f"undone: {GIVE}" in host.failed("ap_mask", adapters=["5"])


def test_a_queue_that_vfio_ap_does_not_take_is_undone(newer: Host) -> None:
    newer.run(["modprobe", "vfio_ap"])
    newer.fault(f"{BUS}/drivers/vfio_ap/05.0047", op="write", errno="EIO")
    message = newer.failed("ap_mask", adapters=["5"])
    assert "could not give queue 05.0047 to guests" in message
    assert "undone: give queue 05.0005 to guests, by its override; give queue 05.0004" in message
    assert "it is bound to cex4queue again" in message


def test_masks_whose_queues_have_no_driver_are_told(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    host.fault(f"{BUS}/drivers/vfio_ap/05.0047", op="write", errno="EIO")
    told = warnings(host.done("ap_mask", adapters=["5"], wait_timeout=1))
    assert told == ["the queues 05.0047 are for guests, and vfio_ap has not got them: look at the kernel log"]


def test_the_lock_of_the_s390_tools(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    sleeper = host.popen(["sh", "-c", "echo $$; exec sleep 3600"], stdout=subprocess.PIPE, text=True)
    assert sleeper.stdout is not None
    owner = sleeper.stdout.readline().strip()
    host.write(LOCK, f"{owner}\n")
    message = host.failed("ap_mask", adapters=["5"], wait_timeout=0.3)
    assert f"process {owner} still changes crypto queues after 0.3 s, by {LOCK}" in message
    sleeper.kill()
    sleeper.wait()
    # Nobody has it any more.
    assert host.done("ap_mask", adapters=["5"])["changed"]
    assert not host.path(LOCK).exists()


@pytest.mark.parametrize("made", [["touch"], ["mkfifo"], ["ln", "-s", "/nowhere"]], ids=lambda made: made[0])
def test_a_lock_without_an_owner_is_waited_for(host: Host, made: list[str]) -> None:
    """A pipe, or a link, anybody may have put there."""
    host.run(["modprobe", "vfio_ap"])
    host.run([*made, LOCK])
    result = host.module("ap_mask", adapters=["5"], wait_timeout=0.3)
    assert "process unknown still changes crypto queues" in result["msg"]
    host.run(["touch", "-h", "-d", "-130 seconds", LOCK])
    assert host.done("ap_mask", adapters=["5"])["changed"]


def test_two_at_once(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    with ThreadPoolExecutor(2) as both:
        results = [*both.map(lambda adapter: host.done("ap_mask", adapters=[adapter]), ("5", "6"))]
    assert [each["changed"] for each in results] == [True, True]
    assert host.read(f"{BUS}/apmask") == f"0xf9{'f' * 62}\n"
    assert f'apmask}}="0xf9{"f" * 62}"' in host.read(RULE)


def test_a_run_beside_another_and_after_one_that_was_killed(host: Host) -> None:
    host.run(["modprobe", "vfio_ap"])
    host.fault(f"{BUS}/apmask", op="write", delay=LATE)
    script = str(ROOT / "plugins" / "modules" / "ap_mask.py")
    first = host.popen(
        [host.python, script], stdin=subprocess.PIPE, text=True, env=host.environment, start_new_session=True
    )
    assert first.stdin is not None
    first.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {"adapters": ["5"], "wait_timeout": LATE}}))
    first.stdin.close()
    eventually(lambda: host.path(LOCK).exists(), 20)
    result = host.module("ap_mask", adapters=["6"], wait_timeout=0.5)
    assert "another run still works on ap_matrix (matrix) after 0.5 s" in result["msg"]
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    host.run(["pkill", "-9", "-f", "ap_mask.py"], check=False)
    host.clear_faults()
    assert host.path(LOCK).exists()
    assert host.done("ap_mask", adapters=["5"])["ap_mask"]["queues"] == MINE
    assert not host.path(LOCK).exists()


def test_they_are_back_after_a_reboot(host: Host) -> None:
    host.done("ap_mask", adapters=["5"])
    host.reboot()
    # No udev of the simulated host's applies the rule.
    assert host.read(f"{BUS}/apmask") == FULL
    told = "crypto queues for guests by masks, adapters 5 (0x05)"
    drift = ", ".join(f"queue {name} is cex4queue, not vfio_ap" for name in MINE)
    assert restore(host, "--list").stdout.splitlines() == [f"{told}: inactive, auto, {drift}"]
    done = restore(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"restored: {told}", "1 restored, 0 there already, 0 failed"]
    assert bound(host, "vfio_ap") == MINE
    assert restore(host).stdout.splitlines()[0] == f"there already: {told}"


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "by their drivers"])
def test_a_bus_that_is_late_is_waited_for(start: Callable[..., Host], counted: bool) -> None:
    host = start(scenario(overrides=counted, counted=counted, late=6))
    install(host)
    eventually(lambda: len(bound(host, "cex4queue")) == 9, 30)
    host.done("ap_mask", adapters=["5"])
    host.reboot()
    assert bound(host, "cex4queue") == []
    hurried = restore(host, "--wait", "0")
    assert hurried.returncode == 1
    assert f"the AP bus has not found a driver for all queues yet ({BUS}/bindings: 0/9)" in hurried.stderr
    done = restore(host, "--parent", "ap")
    assert (done.returncode, done.stderr) == (0, "")
    assert bound(host, "vfio_ap") == MINE


def test_a_queue_that_arrives_later(newer: Host) -> None:
    newer.done("ap_mask", adapters=["5"])
    newer.reboot()
    assert restore(newer, "--parent", "06.0004").stdout == "0 restored, 0 there already, 0 failed\n"
    assert "1 restored" in restore(newer, "--parent", "05.0004").stdout
    assert bound(newer, "vfio_ap") == MINE


def test_facts(host: Host) -> None:
    host.done("ap_mask", adapters=["5"], state="inactive")
    facts = host.done("definition_facts", kinds=["ap_mask"])["ansible_facts"]["nodedev_definitions"]["ap_mask"]
    assert facts == [
        {
            "by": "masks",
            "adapters": [5],
            "domains": [],
            "queues": [],
            "autostart": True,
            "active": False,
            "parent_missing": False,
            "drift": [{"what": f"queue {name}", "defined": "vfio_ap", "running": "cex4queue"} for name in MINE],
            "pool": None,
        }
    ]
    sample = returned("definition_facts")["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]["ap_mask"]
    assert set(sample["sample"][0]) == set(facts[0])
    # Of an adapter that is not there no queue can be unlike: the mask alone says it.
    host.done("ap_mask", state="absent")
    for state, active in (("inactive", False), ("present", True)):
        host.done("ap_mask", adapters=["7"], state=state)
        (found,) = host.done("definition_facts", kinds=["ap_mask"])["ansible_facts"]["nodedev_definitions"]["ap_mask"]
        assert (found["active"], found["drift"]) == (active, [])


def test_a_host_without_such_a_bus(start: Callable[..., Host]) -> None:
    host = start("no-mdev")
    assert "this host has no AP bus" in host.failed("ap_mask", adapters=["5"])
    assert host.done("ap_mask", state="absent")["changed"] is False


def test_it_returns_what_it_documents(host: Host) -> None:
    known = returned("ap_mask")
    made = host.done("ap_mask", adapters=["5"])
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["ap_mask"]) == shape(known["ap_mask"]["contains"])
