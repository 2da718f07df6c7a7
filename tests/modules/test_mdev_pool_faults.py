# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev_pool module where things go wrong: at every step, when cards promise too much, and with others at work."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER_CARD, THERE, Host
from simhost.testing import eventually

TYPE = "GRID T4-4Q"
KIND = "nvidia-232"
ATTRS = [{"nvidia/vgpu_params": "a=1"}, {"nvidia/vgpu_params": "b=2"}]
STORES = ("/etc/mdevctl.d", "/etc/nodedev.d")

# By the first word of a step, what is written in sysfs for it.
WRITES = {
    "create": "/sys/devices/*/create",
    "set": "/sys/devices/*/vgpu_params",
    "remove": "/sys/devices/*/remove",
}
# What a pool is before a change, and the change.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "new": ({}, {"type": TYPE, "count": 3, "attrs": ATTRS}),
    "grow": ({"type": TYPE, "count": 1}, {"count": 3, "attrs": ATTRS}),
    "shrink": ({"type": TYPE, "count": 4, "attrs": ATTRS}, {"count": 1}),
    "inactive": ({"type": TYPE, "count": 2, "attrs": ATTRS}, {"state": "inactive", "autostart": False}),
    "absent": ({"type": TYPE, "count": 3, "attrs": ATTRS}, {"state": "absent"}),
}


def prepared(host: Host, before: dict[str, Any]) -> None:
    """Have the pool as it is before a change, on a host with an instance of somebody else's."""
    host.mdev(type=KIND)
    if before:
        host.pool(**before)


@contextmanager
def full(host: Host, store: str, inodes: int) -> Iterator[None]:
    """A file system below a store that has room for so many more files and folders."""
    keep = f"mkdir -p {store} /etc/kept && cp -a {store}/. /etc/kept"
    mount = f"mount -t tmpfs -o mode=755 none {store} && cp -a /etc/kept/. {store} && rm -r /etc/kept"
    host.run(["sh", "-c", f"{keep} && {mount}"])
    used = len(host.run(["find", store]).stdout.splitlines())
    host.run(["mount", "-o", f"remount,nr_inodes={used + inodes}", store])
    yield
    host.run(["mount", "-o", "remount,nr_inodes=0", store])


@pytest.mark.parametrize("change", CHANGES)
def test_a_write_to_sysfs_that_fails_at_any_step_leaves_the_host_as_it_was(
    start: Callable[..., Host], change: str
) -> None:
    before, wish = CHANGES[change]
    host = start()
    prepared(host, before)
    plan = host.pool(check_mode=True, **wish)["plan"]
    seen = dict.fromkeys(WRITES, 0)
    for step in plan:
        verb = step.split(" ")[0]
        if verb not in WRITES or " mdev " not in step:
            continue
        seen[verb] += 1
        host.fault(WRITES[verb], op="write", errno="EIO", nth=seen[verb])
        message = host.pool_refused(**wish)
        assert message.startswith(f"could not {step}: ")
        assert "EIO" in message
        assert "NOT undone" not in message
        host.clear_faults()
    assert sum(seen.values()) > 1
    assert host.pool(**wish)["plan"] == plan
    assert not host.pool(**wish)["changed"]


# How many files and folders a change needs at most.
NEEDS = {
    ("/etc/mdevctl.d", "new"): 4,
    ("/etc/mdevctl.d", "grow"): 2,
    ("/etc/nodedev.d", "new"): 2,
    ("/etc/nodedev.d", "grow"): 1,
}


@pytest.mark.parametrize(("store", "change"), NEEDS)
def test_a_store_that_is_full_leaves_the_host_as_it_was(host: Host, store: str, change: str) -> None:
    before, wish = CHANGES[change]
    prepared(host, before)
    for inodes in range(NEEDS[store, change]):
        with full(host, store, inodes):
            message = host.pool_refused(**wish)
        assert "ENOSPC" in message
        assert "NOT undone" not in message
    with full(host, store, NEEDS[store, change]):
        host.pool(**wish)
    assert not host.pool(**wish)["changed"]


FILES = (
    (
        re.compile("(?:define|change the definition of|undefine) mdev (\\S+) .*?on \\S+ \\(([0-9a-f:.]+)\\)"),
        r"/etc/mdevctl.d/\2/\1",
    ),
    (re.compile("(?:change the )?record (?:of )?pool .* in (\\S+)"), r"\1"),
    (re.compile("remove the record of pool x, (\\S+)"), r"\1"),
)


def file_of(step: str) -> str | None:
    """The file that a step writes or removes, if it does."""
    return next((match.expand(path) for pattern, path in FILES if (match := pattern.match(step))), None)


@contextmanager
def blocked(host: Host, path: str) -> Iterator[str]:
    """Have a file that can neither be replaced, removed nor made; gives the errno that says so."""
    if host.run(["test", "-e", path], check=False).returncode == 0:
        host.run(["mount", "--bind", path, path])
        yield "EBUSY"
        host.run(["umount", path])
        return
    folder, name = os.path.split(path)
    in_the_way = f"{folder}/.nodedev-{name}"
    host.run(["mkdir", "-p", f"{in_the_way}/x"])
    yield "EISDIR"
    host.run(["rm", "-r", in_the_way])


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_fails_at_any_step_leaves_the_host_as_it_was(host: Host, change: str) -> None:
    before, wish = CHANGES[change]
    prepared(host, before)
    plan = host.pool(check_mode=True, **wish)["plan"]
    failed = set()
    for step in plan:
        path = file_of(step)
        if path is None or path in failed:
            continue
        failed.add(path)
        with blocked(host, path) as errno:
            message = host.pool_refused(**wish)
        assert message.startswith(f"could not {step}: ")
        assert errno in message
        assert "NOT undone" not in message
    assert len(failed) > 2
    assert host.pool(**wish)["plan"] == plan
    assert not host.pool(**wish)["changed"]


def test_a_record_that_fails_at_the_last_step_is_named_and_the_rest_is_undone(host: Host) -> None:
    before, wish = CHANGES["shrink"]
    prepared(host, before)
    then = host.pool()["instances"]
    host.fault(WRITES["remove"], op="write", delay=1.0, nth=3)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(host.module, "mdev_pool", name="x", **wish)
        eventually(lambda: host.faults()[0]["hits"])
        with blocked(host, "/etc/nodedev.d/pool/x.json"):
            message = run.result()["msg"]
    assert message.startswith("could not change the record of pool x with 1 instances")
    assert "NOT undone: change the record of pool x with 4 instances" in message
    host.clear_faults()
    again = host.pool(check_mode=True, count=4)
    assert again["instances"] == then
    assert len(again["plan"]) == 1
    assert len(host.pool(**wish)["instances"]) == 1


def test_a_store_that_is_read_only(host: Host) -> None:
    prepared(host, {"type": TYPE, "count": 2})
    for store in STORES:
        host.run(["mount", "--bind", store, store])
        host.run(["mount", "-o", "remount,bind,ro", store])
        for wish in ({"count": 4}, {"count": 1}, {"state": "absent"}):
            message = host.pool_refused(**wish)
            assert "EROFS" in message
            assert "NOT undone" not in message
        host.run(["umount", store])
    assert host.pool(count=4)["changed"]


@pytest.mark.parametrize("link", ["mdev_type", "iommu_group"])
def test_instances_that_are_slow_to_come_are_waited_for(host: Host, link: str) -> None:
    host.fault(f"/sys/devices/*-*-*/{link}", lag=0.3)
    made = host.pool(type=TYPE, count=3)["instances"]
    assert [each["active"] for each in made] == [True] * 3


def test_an_instance_that_never_comes_is_taken_away_again(host: Host) -> None:
    third = host.pool(check_mode=True, type=TYPE, count=3)["instances"][2]["uuid"]
    host.fault(f"/sys/devices/*/{third}/iommu_group", lag=60)
    message = host.pool_refused(type=TYPE, count=3, wait_timeout=0.5)
    assert "has not got its VFIO group (is the vfio driver loaded?) after 0.5 s; it was removed again" in message


SRIOV = "0000:06:00.0"
EIGHT_GB = "nvidia-712"


@pytest.fixture
def promising(start: Callable[..., Host]) -> Host:
    """Four virtual functions of one card; each says 1 until it is full, and nothing says how many it takes."""
    host = start("nvidia-sriov")
    host.fault(f"*/{EIGHT_GB}/description", op="read", content="framebuffer=8192M\n")
    return host


def test_virtual_functions_are_filled_up_to_what_their_card_says_it_takes(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    message = host.pool_refused(type=EIGHT_GB, count=3)
    assert f"needs 3 more instances of type {EIGHT_GB} and there is room for 2; free are all of pci_" in message
    made = host.pool(type=EIGHT_GB, count="max")
    assert len(made["instances"]) == 2
    assert not host.pool()["changed"]


def test_a_card_that_promises_too_much_is_found_out_for_a_count(promising: Host) -> None:
    assert promising.pool(check_mode=True, type=EIGHT_GB, count=3)["changed"]
    message = promising.pool_refused(type=EIGHT_GB, count=3)
    assert f"needs 3 more instances of type {EIGHT_GB} and there is room for 2; free are all of pci_" in message
    assert len(promising.pool(type=EIGHT_GB, count=2)["instances"]) == 2
    message = promising.pool_refused(count=3)
    assert "pool x needs 1 more instances" in message
    assert "there is room for 0" in message


def test_a_card_that_promises_too_much_is_found_out_for_max(promising: Host) -> None:
    made = promising.pool(type=EIGHT_GB, count="max")
    assert [instance["index"] for instance in made["instances"]] == [0, 1]
    assert len(made["plan"]) == 5
    again = promising.pool()
    assert (again["changed"], again["instances"]) == (False, made["instances"])


def test_what_a_full_card_does_not_take_goes_to_another(host: Host) -> None:
    """Another's device takes the room on one card between the look at it and the create."""
    host.fault(f"/sys/devices/*/{CARD}/mdev_supported_types/{KIND}/create", op="write", errno="ENOSPC")
    made = host.pool(type=TYPE, count=4)
    assert {instance["parent_addr"] for instance in made["instances"]} == {OTHER_CARD}
    assert f"there is room for 0; free are {HERE}: 0, {THERE}: 0" in host.pool_refused(count=5)


def test_two_runs_at_once_make_one_pool(host: Host) -> None:
    host.fault("/sys/devices/*/create", op="write", delay=0.1)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _run: host.pool(type=TYPE, count=3), range(3)))
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert len({json.dumps(result["instances"]) for result in results}) == 1


def test_two_pools_at_once(host: Host) -> None:
    def life(name: str) -> list[int]:
        counts: list[dict[str, Any]] = [{"type": TYPE, "count": 3}, {"count": 1}, {"count": 4}, {"state": "absent"}]
        return [len(host.pool(name=name, **wish)["instances"]) for wish in counts]

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(life, ["x", "y"])) == [[3, 1, 4, 0]] * 2
    assert host.run(["ls", "/sys/bus/mdev/devices"]).stdout == ""
    assert host.run(["find", "/etc/nodedev.d", "-mindepth", "1"]).stdout == ""


@contextmanager
def locked(host: Host, name: str) -> Iterator[None]:
    """Hold the lock of a card, as another run on it does."""
    host.run(["mkdir", "-p", "/run/nodedev/locks"])
    command = ["flock", f"/run/nodedev/locks/{name}", "sh", "-c", "echo held; read line"]
    holder = host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdout.readline()
    yield
    holder.stdin.close()
    holder.wait()
    holder.stdout.close()


def waits_for_a_lock(host: Host) -> bool:
    """Whether a process besides the lock's holder has the lock's file open."""
    look = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /run/nodedev/locks/0000:3d"
    return int(host.run(["sh", "-c", look], check=False).stdout) > 2


def test_a_lock_is_waited_for_no_longer_than_told(host: Host) -> None:
    with locked(host, CARD):
        message = host.pool_refused(type=TYPE, count=1, wait_timeout=0.2)
    assert f"another run still works on {HERE} after 0.2 s: raise wait_timeout or try again" in message


def test_a_parent_that_another_run_takes_into_use_meanwhile_is_no_hindrance(host: Host) -> None:
    chosen = {"addresses": [CARD]}
    with ThreadPoolExecutor() as pool:
        with locked(host, CARD):
            run = pool.submit(host.pool, type=TYPE, count=1, parents=chosen)
            eventually(lambda: waits_for_a_lock(host))
            host.mdev(parent=OTHER_CARD)
        assert run.result()["changed"]
