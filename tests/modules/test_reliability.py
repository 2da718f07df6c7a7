# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 in the middle of a run of mdev_pool, at random moments: the next run finds and completes what was begun.

All of them take about a minute, by make endurance.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Host
from repeats import repeats

KILLS = repeats(200, few=60)
# Each of them has a host of its own, and its own row of random delays.
SEEDS = (20240611, 20240612)
SMALL, LARGE = 4, 20
WISH: dict[str, Any] = {"name": "x", "type": "GRID T4-1B", "attrs": [{"nvidia/vgpu_params": "a=1"}]}
# What the shell says of a process that was killed, and timeout of one that it killed.
KILLED = 137


def instances(host: Host) -> list[str]:
    """The UUIDs of all instances that run."""
    return sorted(os.listdir(host.path("/sys/bus/mdev/devices")))


def files(host: Host, folder: str) -> list[str]:
    """The names of all files below a folder, each as often as there are."""
    return sorted(name for _folder, _folders, names in os.walk(host.path(folder)) for name in names)


def killed_run(host: Host, count: int, seconds: float) -> bool:
    """Run the module and kill its process after so long; whether that came before its end."""
    script = str(ROOT / "plugins" / "modules" / "mdev_pool.py")
    done = host.run(
        ["timeout", "--foreground", "--signal=KILL", f"{seconds:.4f}", host.python, script],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**WISH, "count": count}}),
        check=False,
        env=host.environment,
    )
    return done.returncode in (KILLED, -9)


def check(host: Host, count: int, context: str) -> None:
    """The next run completes; after it nothing is lost, doubled, half made or left over."""
    result = host.module("mdev_pool", **WISH, count=count)
    assert not result.get("failed"), f"{context}: {result}"
    record = json.loads(host.read("/etc/nodedev.d/pool/x.json"))
    uuids = sorted(one["id"] for one in record["instances"])
    assert len(set(uuids)) == count, context
    assert instances(host) == uuids, context
    assert files(host, "/etc/mdevctl.d") == uuids, context
    assert files(host, "/etc/nodedev.d") == ["x.json"], context
    assert sorted(one["uuid"] for one in result["instances"]) == uuids, context
    values = {host.read(f"/sys/bus/mdev/devices/{uuid}/nvidia/vgpu_params") for uuid in uuids}
    assert values == {"a=1\n"}, context


def timed(run: Callable[[], object]) -> float:
    """The seconds that a run takes."""
    start = time.monotonic()
    run()
    return time.monotonic() - start


def killed_again_and_again(host: Host, seed: int) -> tuple[int, int]:
    """How many runs were killed, and how many of them had done a part of their work."""
    chance = random.Random(seed)
    check(host, SMALL, "the first run")
    # Python's start and the look at the host, and beyond that the work.
    idle = timed(lambda: killed_run(host, SMALL, 60))
    length = timed(lambda: killed_run(host, LARGE, 60))
    killed = half = 0
    now, other = LARGE, SMALL
    for number in range(KILLS // len(SEEDS)):
        # One in four anywhere in the run, the others where it works.
        seconds = chance.uniform(0 if number % 4 == 0 else idle * 0.8, length)
        then = chance.choice((now, other))
        context = (
            f"seed {seed}, kill {number}: from {now} to {other} instances, killed after {seconds:.4f} s, then {then}"
        )
        killed += killed_run(host, other, seconds)
        runs, defined = len(instances(host)), len(files(host, "/etc/mdevctl.d"))
        half += runs != defined or runs not in (now, other)
        check(host, then, context)
        now, other = then, SMALL + LARGE - then
    return killed, half


@pytest.mark.endurance
def test_a_run_that_is_killed_at_any_moment_is_completed_by_the_next(start: Callable[..., Host]) -> None:
    hosts = [start("nvidia-8cards") for _seed in SEEDS]
    with ThreadPoolExecutor() as pool:
        killed, half = (sum(each) for each in zip(*pool.map(killed_again_and_again, hosts, SEEDS), strict=True))
    print(f"{killed} of {KILLS} runs were killed before their end, {half} of them in the middle of their work")
    # Else the delays say nothing of a run.
    assert killed > KILLS // 4
    assert half > 0
