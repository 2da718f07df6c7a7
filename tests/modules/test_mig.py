# SPDX-License-Identifier: GPL-3.0-or-later
"""The mig module on the simulated host: its states, what is refused, what is undone, a kill, and what restores it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import ROOT, Host, warnings
from simhost.scenario import FOLDER
from test_documentation import returned, samples_unlike, shape
from test_restore import install, restore

CARD = "0000:41:00.0"
CALLED = f"pci_0000_41_00_0 ({CARD})"
VFS = [f"0000:41:00.{number}" for number in range(4, 8)]
SMI = "/usr/bin/nvidia-smi"
DEFINITION = f"/etc/nodedev.d/mig/{CARD}.json"
WANTED = {"1g.18gb": 2, "3g.71gb": 1}
ON, OFF = f"enable MIG on {CALLED}", f"disable MIG on {CALLED}"
LARGE, SMALL = (f"create {n} GPU instances {name} on {CALLED}" for n, name in ((1, "3g.71gb"), (2, "1g.18gb")))
DEFINE = f"define the MIG mode of {CALLED}, on, with 2 of 1g.18gb, 1 of 3g.71gb GPU instances"
UNDEFINE = f"undefine the MIG mode of {CALLED}"
PROFILES = "1g.18gb", "3g.71gb", "7g.141gb"


def scenario(**card: Any) -> dict[str, Any]:
    """The host with another card."""
    plan: dict[str, Any] = yaml.safe_load((FOLDER / "nvidia-mig.yml").read_text(encoding="utf-8"))
    plan["devices"][0]["behaviour"]["nvidia_card"].update(card)
    return plan


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    host = start("nvidia-mig")
    install(host)
    return host


def mig(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that succeeds."""
    return host.done("mig", **{"device": CARD, **wish})


def smi(host: Host, *arguments: str) -> str:
    return host.run(["nvidia-smi", *arguments], check=False).stdout


def looks(host: Host) -> tuple[str, str, str]:
    """The mode, the GPU instances and their compute instances, as the tool tells them."""
    mode = smi(host, "--query-gpu=mig.mode.current,mig.mode.pending", "--format=csv,noheader").strip()
    return mode, smi(host, "mig", "-lgi"), smi(host, "mig", "-lci")


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    before = looks(host)
    message = host.failed("mig", **{"device": CARD, **wish})
    assert looks(host) == before
    return message


def counts(result: dict[str, Any]) -> dict[str, int]:
    """How many GPU instances there are of each profile, all of them complete."""
    found = result["mig"]["gpu_instances"]
    assert all(each["compute_instances"] == [0] for each in found)
    return {name: n for name in PROFILES if (n := sum(each["profile"] == name for each in found))}


def test_its_life(host: Host) -> None:
    """Each change is foretold by check mode, and is none when it is asked for again."""
    removed = [f"remove GPU instance {n} ({name}) from {CALLED}" for n, name in ((1, "3g.71gb"), (3, "1g.18gb"))]
    whole, one = ({"enabled": True, "instances": each} for each in (WANTED, {"1g.18gb": 1}))
    change = f"change the definition of the MIG mode of {CALLED}, on, with 1 of 1g.18gb GPU instances"
    life: list[tuple[dict[str, Any], list[str], dict[str, int], dict[str, Any] | None]] = [
        ({"instances": WANTED}, [ON, LARGE, SMALL, DEFINE], WANTED, whole),
        (
            {"instances": {"19": 1}, "persistent": False},
            removed,
            {"1g.18gb": 1},
            {"enabled": True, "instances": WANTED},
        ),
        ({"instances": {"1g.18gb": "1"}}, [change], {"1g.18gb": 1}, one),
        ({"state": "inactive"}, [f"remove GPU instance 2 (1g.18gb) from {CALLED}", OFF], {}, one),
        ({}, [ON, SMALL.replace("2", "1", 1)], {"1g.18gb": 1}, one),
        ({"state": "absent"}, [f"remove GPU instance 1 (1g.18gb) from {CALLED}", OFF, UNDEFINE], {}, None),
    ]
    for wish, plan, there, kept in life:
        expected = mig(host, **wish, check_mode=True)
        assert expected["plan"] == plan
        done = mig(host, **wish)
        assert (done["plan"], done["diff"], done["changed"], warnings(done)) == (plan, expected["diff"], True, [])
        assert (counts(done), counts(expected)) == (there, there)
        found = host.run(["cat", DEFINITION], check=False)
        assert (json.loads(found.stdout) if found.stdout else None) == (kept and {"version": 1, **kept})
        again = mig(host, **wish)
        assert (again["plan"], again["mig"]) == ([], done["mig"])


def test_the_instances_that_vgpus_need(host: Host) -> None:
    host.run(["mkdir", "-p", "/run/nvidia/driver"])
    wish = {"types": {"H200X-1-18C": 2, "NVIDIA H200X-3-71C": "1"}}
    assert "it may list more once MIG is on: set enabled alone first" in refused(host, **wish)
    mig(host, enabled=True)
    foretold = mig(host, **wish, check_mode=True)
    done = mig(host, **wish)
    assert (foretold["plan"], counts(done)) == (done["plan"], {"1g.18gb": 2, "3g.71gb": 1})
    again = mig(host, **wish)
    assert again["plan"] == []
    # Who else has a card is named where it is changed.
    assert ["is of the gpu-operator" in " ".join(warnings(each)) for each in (done, again)] == [True, False]
    assert counts(mig(host, types={"1382": 2})) == {"3g.71gb": 2}
    known = "the card's types for GPU instances are NVIDIA H200X-1-18C (1380), NVIDIA H200X-3-71C (1382)"
    assert known in refused(host, types={"H200X-35C": 1})


def test_the_result_is_as_documented(host: Host) -> None:
    host.done("mig", device="pci_0000_41_00_0", instances={"1g.18gb": 1})
    result = mig(host)
    documented = returned("mig")
    assert set(result["mig"]) == shape(documented["mig"]["contains"])
    assert samples_unlike(documented, result) == []


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, f"enabled is required: the MIG mode of {CALLED} is not defined, and no instances are named"),
        (
            {"enabled": False, "instances": {"1g.18gb": 1}},
            "enabled: False cannot be used: a card that MIG does not divide has no GPU instances",
        ),
        (
            {"instances": {"1g18gb": 1}},
            "instances: '1g18gb' cannot be used: a profile is named like 1g.18gb or 1g.18gb+me, or by its id",
        ),
        (
            {"instances": {"1g.18gb": -1}},
            "instances: {'1g.18gb': -1} cannot be used: a number from 0 to 64",
        ),
        (
            {"instances": {"2g.24gb": 1}},
            f"instances: '2g.24gb' cannot be used: the profiles of {CALLED} are: 7g.141gb (0), 1 at most, 4g.71gb (5),"
            " 1 at most, 3g.71gb (9), 2 at most, 2g.35gb (14), 3 at most, 1g.35gb (15), 4 at most, 1g.18gb (19), 7 at"
            " most, 1g.18gb+me (20), 1 at most",
        ),
        ({"instances": {"1g.18gb": 8}}, "instances: {'1g.18gb': 8} cannot be used: the profiles of "),
        (
            {"instances": {"1g.18gb": 1, "19": 1}},
            "instances: '1g.18gb' cannot be used: it is profile 1g.18gb, which is named already",
        ),
        (
            {"types": {"H200X-1-18C": 2}, "state": "inactive"},
            "types: {'H200X-1-18C': 2} cannot be used: MIG is off with state 'inactive', and a card may list no such"
            " types then: name instances",
        ),
        ({"device": "0000:99:00.0", "enabled": True}, "there is no such device"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(shared: Host, wish: dict[str, Any], message: str) -> None:
    assert message in refused(shared, **wish)


@pytest.fixture(scope="module")
def shared(library: str) -> Any:
    """One host for what changes nothing."""
    host = Host("nvidia-mig")
    host.library = library
    host.start()
    yield host
    host.stop()


def test_what_does_not_fit_is_told_before_or_undone(host: Host) -> None:
    """One profile by what is free; several by the tool, which has made the large one then."""
    mig(host, instances={"3g.71gb": 1, "1g.18gb": 1}, persistent=False)
    message = refused(host, instances={"3g.71gb": 1, "1g.18gb": 6})
    assert message == (
        f"{CALLED} has room for 3 more GPU instances 1g.18gb, and 5 are missing; there are: 1 of 1g.18gb, 1 of 3g.71gb"
    )
    mig(host, state="absent")
    message = refused(host, instances={"3g.71gb": 2, "1g.18gb": 2})
    assert "0 of 2 GPU instances of profile 19 are there with a compute instance" in message
    assert "Insufficient Resources" in message
    assert "undone: create 2 GPU instances 3g.71gb" in message


def test_what_is_in_use_stays(start: Callable[..., Host]) -> None:
    """A vGPU keeps its GPU instance and the mode, and so does a process; what nobody uses may go."""
    python = {"pid": 4242, "name": "python3", "gpu_instance": 1}
    host = start(scenario(processes=[python]))
    holder = {"node": "the card", "how": "used by", "by": "python3", "pid": 4242, "domain": None, "function": CARD}
    result = host.module("mig", device=CARD, enabled=True)
    assert result["msg"] == (
        f"the MIG mode would change on {CALLED}, which is in use: process 4242 (python3): end that first"
    )
    assert result["holders"] == [holder]
    host = start("nvidia-mig")
    host.done("sriov", device=CARD, numvfs="max")
    mig(host, instances={"1g.18gb": 3}, persistent=False)
    host.write(f"/sys/bus/pci/devices/{VFS[0]}/nvidia/gpu_instance_id", "3\n")
    host.write(f"/sys/bus/pci/devices/{VFS[0]}/nvidia/current_vgpu_type", "1380\n")
    vgpu = f"pci_0000_41_00_4 ({VFS[0]}) is a vGPU of type 1380"
    assert refused(host, instances={}) == (
        f"GPU instances would be removed on {CALLED}, which is in use: {vgpu}: end that first"
    )
    assert refused(host, enabled=False, force=True).startswith(
        f"GPU instances would be removed on {CALLED}, which is in use: {vgpu}"
    )
    # Of instances that are alike, the one that is in use is left.
    assert [each["id"] for each in mig(host, instances={"1g.18gb": 1})["mig"]["gpu_instances"]] == [3]


def test_a_mode_that_needs_a_reset(start: Callable[..., Host]) -> None:
    """Nothing is reset without being told to, nor under virtual functions; the mode is kept over a reboot."""
    host = start(scenario(architecture="Ampere"))
    install(host)
    needs = (
        f"MIG of {CALLED} is off now and off after a reset, and changes with a reset of the card on this generation"
        " (Ampere): set allow_reset: true to have this card reset, and no other"
    )
    assert refused(host, instances=WANTED) == needs
    host.done("sriov", device=CARD, numvfs="max", persistent=False)
    assert refused(host, instances=WANTED, allow_reset=True) == (
        f"a reset would take the 4 virtual functions of {CALLED} away: remove them first, as by hostdev.nodedev.sriov"
        " with state: inactive"
    )
    host.done("sriov", device=CARD, state="absent", force=True)
    done = mig(host, instances=WANTED, allow_reset=True)
    assert done["plan"] == [f"{ON}, by a reset of this card where it needs one", LARGE, SMALL, DEFINE]
    host.reboot()
    assert looks(host)[:2] == ("Enabled, Enabled", "No GPU instances found: Not Found\n")
    assert restore(host).stdout.splitlines()[-1] == "1 restored, 0 there already, 0 failed"
    assert counts(mig(host)) == WANTED
    assert refused(host, state="absent").startswith(f"MIG of {CALLED} is on now and on after a reset")
    mig(host, state="absent", allow_reset=True)


def test_a_mode_that_is_pending(start: Callable[..., Host]) -> None:
    """It is said in words; a card that somebody works on takes the mode back."""
    host = start(scenario(architecture="Ampere", processes=[{"pid": 77, "name": "Xorg"}]))
    smi(host, "-mig", "1")
    assert looks(host)[0] == "Disabled, Enabled"
    assert "process 77 (Xorg)" in refused(host, enabled=True, allow_reset=True)
    host = start(scenario(architecture="Ampere", resets=False))
    smi(host, "-mig", "1")
    assert refused(host, enabled=True).startswith(f"MIG of {CALLED} is off now and on after a reset, and changes with")
    assert mig(host, enabled=True, allow_reset=True)["mig"]["enabled"]
    assert looks(host)[0] == "Enabled, Enabled"


def test_a_mode_that_stays_pending_is_taken_back(start: Callable[..., Host]) -> None:
    """The tool says that a client has the card that nobody sees, and so it does when it is to be reset."""
    host = start(scenario(architecture="Ampere"))
    pending = "Warning: MIG mode is in pending enable state for GPU 00000000:41:00.0:In use by another client\n"
    # After the modes, all about the card, and its profiles.
    host.fault(SMI, op="read", content=pending, nth=4)
    message = host.failed("mig", device=CARD, enabled=True, allow_reset=True)
    assert f"MIG of {CALLED} is off, and would be off after a reset; nvidia-smi said: {pending.strip()}" in message


def test_mig_cannot_divide_every_card(start: Callable[..., Host]) -> None:
    host = start(scenario(mig="N/A"))
    assert refused(host, enabled=True) == f"device: '{CALLED}' cannot be used: MIG cannot divide this card"
    assert mig(host, state="absent")["mig"]["enabled"] is None
    host.run(["sh", "-c", f"echo {CARD} > /sys/bus/pci/drivers/nvidia/unbind"])
    assert refused(host, enabled=True) == f"the driver of {CALLED} is none, and MIG is nvidia's: bind nvidia to it"
    # What is only defined needs no driver.
    assert mig(host, enabled=True, state="inactive")["mig"]["persistent"]


def test_nvidias_own_service_is_left_in_charge(host: Host) -> None:
    service = "nvidia-mig-manager.service"
    link = f"/etc/systemd/system/multi-user.target.wants/{service}"
    host.run(["ln", "-s", "/dev/null", link])
    assert refused(host, instances=WANTED) == (
        f"{service} divides the cards of this host, by {link}, and is left in charge: have it divide {CALLED} so, or"
        f" disable it first (systemctl disable --now {service})"
    )
    host.run(["rm", link])
    mig(host, instances=WANTED)
    host.run(["ln", "-s", "/dev/null", link])
    assert mig(host)["plan"] == []
    assert service in refused(host, instances={})


@pytest.mark.parametrize("wish", [{"instances": {"3g.71gb": 1}}, {"instances": {"7g.141gb": 1}}, {"state": "absent"}])
def test_a_fault_at_each_call_of_the_tool_leaves_what_was_there(host: Host, wish: dict[str, Any]) -> None:
    """The tool fails, does nothing with status 0, or says what nobody understands, once, at each of its calls."""
    before = None if "3g.71gb" in wish.get("instances", {}) else {"1g.18gb": 1}
    if before:
        mig(host, instances=before)
    state = kinds_of(host)
    plan = mig(host, **wish, check_mode=True)["plan"]
    failures = 0
    for nth in range(1, 60):
        fault: dict[str, Any] = [{"errno": "EIO"}, {"content": "\n"}, {"content": "| 0 MIG odd |\n"}][nth % 3]
        host.fault(SMI, op="read", nth=nth, **fault)
        result = host.module("mig", device=CARD, **wish)
        hits = sum(each["hits"] for each in host.faults())
        host.clear_faults()
        if not hits:
            break
        if result.get("failed"):
            failures += 1
            assert "NOT undone" not in result["msg"], (nth, result["msg"])
            assert kinds_of(host) == state, (nth, fault, result["msg"])
        else:
            break
    assert failures > len(plan)
    mig(host, **wish)
    assert mig(host, **wish)["plan"] == []


@pytest.mark.parametrize(
    ("before", "wish", "nth", "call"),
    [
        ({"state": "absent"}, {"enabled": True}, 4, "-mig 1"),
        ({"enabled": True}, {"instances": {"1g.18gb": 1}}, 6, "mig -cgi"),
        ({"instances": {"1g.18gb": 1}}, {"instances": {}}, 6, "mig -dci"),
    ],
)
def test_what_the_tool_does_after_the_time_is_up_is_taken_back(
    host: Host, before: dict[str, Any], wish: dict[str, Any], nth: int, call: str
) -> None:
    """However slow it is then."""
    mig(host, **before)
    state = kinds_of(host)
    for slow in (nth, nth + 1):
        host.fault(SMI, op="read", delay=2.5, nth=slow)
    message = host.failed("mig", device=CARD, **wish, wait_timeout=1)
    assert (f"{SMI} {call}" in message, "has not ended after 2 s" in message) == (True, True), message
    host.clear_faults()
    assert kinds_of(host) == state


def test_each_instance_costs_few_calls_of_the_tool(host: Host) -> None:
    """One of them takes seconds where it wakes the card, and a task has 30."""
    for wish, most in (({"instances": {"1g.18gb": 7}}, 12), ({"state": "absent"}, 7 * 3 + 8)):
        host.fault(SMI, op="read", delay=0)
        mig(host, **wish)
        (calls,) = [each["hits"] for each in host.faults()]
        host.clear_faults()
        assert 7 < calls <= most, wish


def kinds_of(host: Host) -> tuple[str, list[str], str]:
    """The mode, the profiles of the instances that are complete, and the definition: ids are the driver's choice."""
    mode, instances, compute = looks(host)
    profiles = [line.split("MIG ")[1].split()[0] for line in instances.splitlines() if "MIG " in line]
    complete = [line.split("MIG ")[1].split()[0] for line in compute.splitlines() if "MIG " in line]
    assert sorted(profiles) == sorted(complete)
    return mode, sorted(profiles), host.run(["cat", DEFINITION], check=False).stdout


def test_a_killed_run_is_mended_by_the_next(host: Host) -> None:
    """At any of the calls, which are slow enough to be hit."""
    for nth in (5, 9):
        host.fault(SMI, op="read", delay=30, nth=nth)
        text = json.dumps({"ANSIBLE_MODULE_ARGS": {"device": CARD, "instances": WANTED}})
        script = str(ROOT / "plugins" / "modules" / "mig.py")
        command = ["timeout", "-s", "KILL", "2", host.python, script]
        done = host.run(command, input=text, check=False, env=host.environment)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (nth, done.stdout)
        host.clear_faults()
        assert counts(mig(host, instances=WANTED)) == WANTED
        mig(host, state="absent")
    # What it may have left between its two steps of one instance.
    mig(host, instances=WANTED)
    smi(host, "mig", "-dci", "-gi", "1")
    done = mig(host)
    assert done["plan"] == [f"create the compute instance of GPU instance 1 (3g.71gb) on {CALLED}"]
    assert counts(done) == WANTED


def test_at_boot_the_mode_comes_before_functions_and_instances_after_them(host: Host) -> None:
    """sriov-manage takes the card from its driver, with which the instances go; a type of a vGPU needs one."""
    mig(host, enabled=True, instances={})
    host.done("sriov", device=CARD, numvfs="max")
    mig(host, instances={"1g.18gb": 2})
    host.done("vgpu", device=VFS[0], type="NVIDIA H200X-1-18C")
    host.reboot()
    assert looks(host)[0] == "Disabled, Disabled"
    done = restore(host)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines == [
        f"restored: the virtual functions of {CALLED}",
        f"restored: the MIG mode of {CALLED}",
        f"restored: the vGPU of pci_0000_41_00_4 ({VFS[0]}), of type NVIDIA H200X-1-18C (1380)",
        "3 restored, 0 there already, 0 failed",
    ]
    assert host.read(f"/sys/bus/pci/devices/{VFS[0]}/nvidia/current_vgpu_type") == "1380\n"
    assert restore(host).stdout.splitlines()[-1] == "0 restored, 3 there already, 0 failed"
    (found,) = host.done("definition_facts", kinds=["mig"])["ansible_facts"]["nodedev_definitions"]["mig"]
    assert (found["active"], found["drift"], found["instances"]) == (True, [], {"1g.18gb": 2})
    smi(host, "mig", "-dci", "-gi", "2", "-i", "0")
    smi(host, "mig", "-dgi", "-gi", "2", "-i", "0")
    assert (
        f"the MIG mode of {CALLED}: active, auto, GPU instances 1g.18gb is 1, not 2" in restore(host, "--list").stdout
    )
    assert restore(host, "--parent", CARD).stdout.splitlines()[-1] == "1 restored, 1 there already, 0 failed"
