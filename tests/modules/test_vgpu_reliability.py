# SPDX-License-Identifier: GPL-3.0-or-later
"""vgpu under adversity: kill -9 at random moments of a run, folders that come late, a host of many functions."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from conftest import ROOT, Host
from repeats import repeats
from simhost.scenario import FOLDER

KILLS = repeats(200, few=80)
# Each of them has a host of its own, and its own row of random delays.
SEEDS = (20260411, 20260412)
FUNCTION, NEXT = "0000:06:00.4", "0000:06:00.5"
# What the shell says of a process that was killed, and timeout of one that it killed.
KILLED = 137
WISHES: dict[str, dict[str, Any]] = {
    "4Q": {"type": "NVIDIA A16-4Q", "params": "frame_rate_limiter=0"},
    "8Q": {"type": "NVIDIA A16-8Q", "params": "disable_vnc=1"},
    "none": {"state": "absent"},
    "later": {"type": "NVIDIA A16-4Q", "params": "frame_rate_limiter=0", "state": "inactive"},
}
KEPT = {
    "4Q": {"version": 1, "type": 711, "title": "NVIDIA A16-4Q", "params": "frame_rate_limiter=0"},
    "8Q": {"version": 1, "type": 712, "title": "NVIDIA A16-8Q", "params": "disable_vnc=1"},
}
# What is there after each: the type, its parameters, the definition.
OUTCOMES = {
    "4Q": (711, "frame_rate_limiter=0", KEPT["4Q"]),
    "8Q": (712, "disable_vnc=1", KEPT["8Q"]),
    "none": (0, "", None),
    "later": (0, "", KEPT["4Q"]),
}


def found(host: Host, function: str = FUNCTION) -> tuple[int, str, dict[str, Any] | None]:
    """The type of the function, its parameters and its definition."""
    folder = f"/sys/bus/pci/devices/{function}/nvidia"
    kept = host.run(["cat", f"/etc/nodedev.d/vgpu/{function}.json"], check=False).stdout
    type, params = (host.read(f"{folder}/{name}").strip() for name in ("current_vgpu_type", "vgpu_params"))
    return int(type), params, json.loads(kept) if kept else None


def killed_run(host: Host, wish: str, seconds: float) -> bool:
    """Run the module and kill its process after so long; whether that came before its end."""
    done = host.run(
        [
            *("timeout", "--foreground", "--signal=KILL", f"{seconds:.4f}", host.python),
            str(ROOT / "plugins" / "modules" / "vgpu.py"),
        ],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"device": FUNCTION, **WISHES[wish]}}),
        check=False,
        env=host.environment,
    )
    return done.returncode in (KILLED, -9)


def check(host: Host, wish: str, context: str) -> None:
    """The next run completes, whatever it wishes; after it nothing is half made, unknown or left over."""
    result = host.module("vgpu", device=FUNCTION, **WISHES[wish])
    assert not result.get("failed"), f"{context}: {result}"
    assert found(host) == OUTCOMES[wish], context
    kept = host.run(["find", "/etc/nodedev.d", "/run/nodedev.d", "-type", "f"], check=False).stdout.split()
    definition = f"/etc/nodedev.d/vgpu/{FUNCTION}.json"
    assert kept == ([definition] if OUTCOMES[wish][2] else []), context


def timed(run: Callable[[], object]) -> float:
    """The seconds that a run takes."""
    start = time.monotonic()
    run()
    return time.monotonic() - start


def killed_again_and_again(host: Host, seed: int) -> tuple[int, int]:
    """How many runs were killed, and how many of them had done a part of their work."""
    chance = random.Random(seed)
    # Else the work of a run is over in a moment. Each write is done at once, and answered late.
    host.fault(f"*/{FUNCTION}/nvidia/*", op="write", delay=0.06)
    check(host, "4Q", "the first run")
    # What it takes to start anything there; then Python's start and the look at the host, and beyond that the work.
    start = min(timed(lambda: host.run(["timeout", "60", "true"])) for _time in range(3))
    idle = min(timed(lambda: killed_run(host, "4Q", 60)) for _time in range(3)) - start
    length = timed(lambda: killed_run(host, "8Q", 60)) - start
    now, killed, half = "8Q", 0, 0
    for number in range(KILLS // len(SEEDS)):
        other, then = chance.choice([wish for wish in WISHES if wish != now]), chance.choice([*WISHES])
        # One in four anywhere in the run, the others where it works, after nvidia-smi has answered.
        seconds = chance.uniform(0 if number % 4 == 0 else (idle + length) / 2, length)
        context = f"seed {seed}, kill {number}: from {now} to {other}, killed after {seconds:.4f} s, then {then}"
        killed += killed_run(host, other, seconds)
        type, params, kept = found(host)
        # Else nobody would know whose it is.
        assert type == 0 or (kept is not None and kept["type"] == type), context
        half += (type, params, kept) not in (OUTCOMES[now], OUTCOMES[other])
        check(host, then, context)
        now = then
    assert host.forbidden_writes() == []
    return killed, half


@pytest.mark.endurance
def test_a_run_that_is_killed_at_any_moment_is_completed_by_the_next(start: Callable[..., Host]) -> None:
    hosts = [start("nvidia-vfio-small") for _seed in SEEDS]
    with ThreadPoolExecutor() as pool:
        killed, half = (sum(each) for each in zip(*pool.map(killed_again_and_again, hosts, SEEDS), strict=True))
    print(f"{killed} of {KILLS} runs were killed before their end, {half} of them in the middle of their work")
    # Else the delays say nothing of a run.
    assert killed > KILLS // 4
    assert half > 0


# What a pool is told, how many functions are vGPUs then, and how many are defined.
POOLS: list[tuple[dict[str, Any], int, int]] = [
    ({"count": 1}, 1, 1),
    ({"count": 3, "params": "a=1"}, 3, 3),
    ({"count": 2, "state": "inactive"}, 0, 2),
    ({"state": "absent"}, 0, 0),
]
POOL_KILLS = repeats(40, few=16)


def killed_pool(host: Host, wish: dict[str, Any], seconds: float) -> None:
    script = str(ROOT / "plugins" / "modules" / "vgpu_pool.py")
    command = ["timeout", "--foreground", "--signal=KILL", f"{seconds:.4f}", host.python, script]
    arguments = {"ANSIBLE_MODULE_ARGS": {"name": "x", "type": "A16-4Q", "count": 1, **wish}}
    host.run(command, input=json.dumps(arguments), check=False, env=host.environment)


@pytest.mark.endurance
def test_a_run_of_a_pool_that_is_killed_is_completed_by_the_next(start: Callable[..., Host]) -> None:
    """In between no function is a vGPU that neither the pool's record nor a definition knows."""
    host, chance = start("nvidia-vfio-small"), random.Random(SEEDS[0])
    host.fault("*/nvidia/*", op="write", delay=0.03)
    length = timed(lambda: killed_pool(host, POOLS[1][0], 60))
    for number in range(POOL_KILLS):
        killed_pool(host, chance.choice(POOLS)[0], chance.uniform(length / 4, length))
        there = host.run(["sh", "-c", "grep -l -v '^0$' /sys/bus/pci/devices/*/nvidia/current_vgpu_type"], check=False)
        kept = host.run(["sh", "-c", "cat /etc/nodedev.d/pool/*; ls /etc/nodedev.d/vgpu"], check=False).stdout
        assert [path for path in there.stdout.split() if path.split("/")[5] not in kept] == [], number
        wish, active, defined = chance.choice(POOLS)
        done = host.done("vgpu_pool", name="x", **{"type": "A16-4Q", "count": 1, **wish})
        assert sum(each["active"] for each in done["instances"]) == active, number
        listed = host.run(["sh", "-c", "ls /etc/nodedev.d/vgpu"], check=False).stdout.split()
        types = [found(host, f"0000:06:00.{index}")[0] for index in range(4, 8)]
        assert (len(listed), sum(map(bool, types))) == (defined, active), number
    assert host.forbidden_writes() == []


def late(**delays: float) -> dict[str, Any]:
    """The host of one card, whose functions get what makes vGPUs of them so many seconds after their driver."""
    scenario: dict[str, Any] = yaml.safe_load((FOLDER / "nvidia-vfio-small.yml").read_text())
    sriov = scenario["devices"][0]["behaviour"]["sriov"]
    sriov["numvfs"] = 0
    sriov["vf"]["behaviour"]["nvidia_vgpu"].update(delays)
    return scenario


@pytest.mark.parametrize("delays", [{"delay": 1.0}, {"type_delay": 1.0}], ids=["folder", "file"])
def test_what_comes_late_is_waited_for(start: Callable[..., Host], delays: dict[str, float]) -> None:
    """In a playbook the vGPU follows upon the functions, and need not know of that."""
    host = start(late(**delays))
    host.done("sriov", device="0000:06:00.0", numvfs="max")
    host.done("vgpu", device=FUNCTION, **WISHES["4Q"])
    assert found(host) == OUTCOMES["4Q"]


def test_what_does_not_come_is_not_waited_for_without_end(start: Callable[..., Host]) -> None:
    """What a guest will make, or what is to go, waits for nothing, and so would not end before the test does."""
    host = start(late(delay=3600.0))
    host.done("sriov", device="0000:06:00.0", numvfs="max")
    assert timed(lambda: host.failed("vgpu", device=FUNCTION, type="711", wait_timeout=1)) >= 1
    for wish in ({"type": "711", "managed": True}, {"state": "inactive"}, {"state": "absent"}):
        host.done("vgpu", device=NEXT, wait_timeout=3600, **wish)


def reads(host: Host, **wish: Any) -> tuple[int, int]:
    """How many files of sysfs a run reads, and how often it starts nvidia-smi."""
    host.clear_faults()
    host.fault("/sys/*", op="read", errno="EIO", nth=1000000)
    host.fault("/usr/bin/nvidia-smi", op="open", errno="EIO", nth=1000000)
    host.done("vgpu", **wish)
    counts = {fault["path"]: fault["seen"] for fault in host.faults()}
    host.clear_faults()
    return counts["/sys/*"], counts["/usr/bin/nvidia-smi"]


CARDS = ("41", "42", "43", "45", "46")
# Reads of sysfs by a run that has nothing to do: the function, its nodes, and mostly the card's links to its 16.
IDLE = 60


def test_a_run_with_nothing_to_do_looks_at_its_function_alone(start: Callable[..., Host]) -> None:
    """On a host of 8 cards with 16 functions each, and on a card that is full."""
    host = start("nvidia-vfio")
    first = {"device": "0000:41:00.4", "type": "NVIDIA L40S-8Q"}
    host.done("vgpu", **first)
    alone = reads(host, **first)
    for card in CARDS:
        for index in range(6):
            host.done("vgpu", parent=f"0000:{card}:00.0", index=index, type="NVIDIA L40S-8Q")
    assert reads(host, **first) == alone
    assert alone[0] <= IDLE
    assert reads(host, device="0000:41:00.4")[0] <= IDLE
    told = host.failed("vgpu", parent="0000:41:00.0", index=6, type="L40S-8Q")
    assert "offers no type at all now" in told
    assert host.forbidden_writes() == []


def test_definitions_of_a_whole_host_are_told_in_one_look(start: Callable[..., Host]) -> None:
    host = start("nvidia-vfio")
    functions = [(card, index) for card in CARDS for index in range(6)]
    for card, index in functions:
        host.done("vgpu", parent=f"0000:{card}:00.0", index=index, type="NVIDIA L40S-8Q")
    host.fault("/sys/*", op="read", errno="EIO", nth=1000000)
    facts = host.done("definition_facts", kinds=["vgpu"])["ansible_facts"]["nodedev_definitions"]["vgpu"]
    (fault,) = host.faults()
    assert [each["active"] for each in facts] == [True] * len(functions)
    assert fault["seen"] <= IDLE * len(functions)
