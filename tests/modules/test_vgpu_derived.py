# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of vgpu_pool whose GPU instances are made with them: their life, what is refused, what is undone, kills."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ROOT, Host, warnings
from test_documentation import returned, samples_unlike, shape
from test_mig import CALLED, CARD, DEFINITION, SMI, scenario, smi
from test_restore import install, restore

SMALL, LARGE = "H200X-1-18C", "H200X-3-71C"
WANTED = {SMALL: 2, LARGE: 1}
NEEDED = {"1g.18gb": 2, "3g.71gb": 1}
TYPES = "/sys/bus/pci/devices/0000:41:00.*/nvidia/current_vgpu_type"


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A card that MIG divides, with its functions, and the boot engine."""
    host = start("nvidia-mig")
    install(host)
    host.done("mig", device=CARD, enabled=True)
    host.done("sriov", device=CARD, numvfs="max")
    return host


def pool(host: Host, **wish: Any) -> dict[str, Any]:
    return host.done("vgpu_pool", **{"name": "p", "mig": "derive", **wish})


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    before = there(host)
    message = host.failed("vgpu_pool", **{"name": "p", "mig": "derive", **wish})
    assert there(host) == before
    return message


def there(host: Host) -> tuple[list[str], dict[str, int], dict[str, int] | None]:
    """The types of the functions, the GPU instances by profile, and those that are defined."""
    types = sorted(host.run(["sh", "-c", f"cat {TYPES}"], check=False).stdout.split())
    names = [line.split()[3] for line in smi(host, "mig", "-lgi").splitlines() if " MIG " in line]
    found = host.run(["cat", DEFINITION], check=False).stdout
    return types, dict(Counter(names)), json.loads(found).get("instances") if found else None


def test_its_life(host: Host) -> None:
    foretold = pool(host, types=WANTED, check_mode=True)
    assert there(host) == (["0"] * 4, {}, None)
    made = pool(host, types=WANTED)
    assert (made["plan"], made["diff"]) == (foretold["plan"], foretold["diff"])
    assert made["plan"][:3] == [
        f"create 1 GPU instances 3g.71gb on {CALLED}",
        f"create 2 GPU instances 1g.18gb on {CALLED}",
        f"change the definition of the MIG mode of {CALLED}, on, with 2 of 1g.18gb, 1 of 3g.71gb GPU instances",
    ]
    assert made["derived"] == {"pci_0000_41_00_0": NEEDED}
    assert samples_unlike({"derived": returned("vgpu_pool")["derived"]}, made) == []
    assert there(host) == (["0", "1380", "1380", "1382"], NEEDED, NEEDED)
    # An idle run asks the tool nothing.
    host.fault(SMI, op="read", errno="EIO")
    again = pool(host, types=WANTED)
    assert (again["plan"], again["derived"], host.faults()[0]["seen"]) == ([], {}, 0)
    host.clear_faults()
    assert set(again) >= shape(returned("vgpu_pool"))
    # No instance goes with a vGPU: it serves the next one.
    pool(host, types={SMALL: 1, LARGE: 1})
    assert pool(host, types=WANTED)["derived"] == {}
    pool(host, state="absent")
    assert there(host) == (["0"] * 4, NEEDED, NEEDED)
    # Two pools on one card need what both need.
    one = pool(host, name="one", type=SMALL, count=2)
    two = pool(host, name="two", type=SMALL, count=2, persistent=True)
    assert (one["derived"], two["derived"]) == ({}, {"pci_0000_41_00_0": {"1g.18gb": 2}})
    assert there(host)[2] == {"1g.18gb": 4, "3g.71gb": 1}


def test_a_boot(host: Host, start: Callable[..., Host]) -> None:
    """The instances come before the vGPUs, and those only that are defined."""
    pool(host, types=WANTED)
    before = there(host)
    host.reboot()
    assert there(host)[:2] == ([], {})
    assert restore(host).returncode == 0
    assert there(host) == before
    assert pool(host, types=WANTED)["plan"] == []


def test_what_does_not_last_is_not_defined(host: Host) -> None:
    pool(host, type=SMALL, count=1, persistent=False)
    assert there(host) == (["0", "0", "0", "1380"], {"1g.18gb": 1}, None)


def test_it_is_as_the_pool_was_told_last(host: Host) -> None:
    pool(host, type=SMALL, count=1)
    again = host.done("vgpu_pool", name="p")
    assert (again["changed"], again["derived"]) == (False, {})
    assert host.done("vgpu_pool", name="p", count=2)["derived"] == {"pci_0000_41_00_0": {"1g.18gb": 1}}
    told = host.failed("vgpu_pool", name="p", count="max")
    assert "GPU instances are derived from a number: say one, or set mig: keep" in told
    assert "there is room for 0" in host.failed("vgpu_pool", name="p", count=3, mig="keep")
    assert host.done("vgpu_pool", name="p", mig="keep")["changed"]
    assert "there is room for 0" in host.failed("vgpu_pool", name="p", count=3)
    assert pool(host)["changed"]
    assert "stay on" in " ".join(warnings(host.done("vgpu_pool", name="p", state="absent")))


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"type": SMALL, "count": "max"}, "count: 'max' cannot be used: GPU instances are derived from a number"),
    ({"type": LARGE, "count": 3}, "0 of 2 GPU instances 3g.71gb free"),
    ({"type": "H200X-35C", "count": 1}, "type: 'H200X-35C' cannot be used"),
    ({"types": {"H200X": 1}}, "types: 'H200X' cannot be used"),
]


def test_what_cannot_be(host: Host) -> None:
    smi(host, "mig", "-cgi", "9", "-C", "-i", CARD)
    smi(host, "mig", "-cgi", "9", "-C", "-i", CARD)
    for wish, message in REFUSALS:
        assert message in refused(host, **wish)


def test_a_card_that_is_not_divided(start: Callable[..., Host]) -> None:
    host = start("nvidia-mig")
    host.done("sriov", device=CARD, numvfs="max")
    assert f"MIG is on for none of the cards of pool p, which are: {CALLED}" in refused(host, type=SMALL, count=1)


def test_mediated_devices(start: Callable[..., Host]) -> None:
    message = start("nvidia-mdev").failed("vgpu_pool", name="p", mig="derive", type="nvidia-231", count=1)
    assert "pool p is one of mediated devices: make their GPU instances first" in message


def test_a_fault_at_each_call_of_the_tool(host: Host) -> None:
    before, failed = there(host), 0
    for nth in range(1, 16):
        host.fault(SMI, op="read", nth=nth, errno="EIO")
        result = host.module("vgpu_pool", name="p", mig="derive", types=WANTED)
        host.clear_faults()
        if result.get("failed"):
            failed += 1
            assert there(host) == before, (nth, result["msg"])
            continue
        assert there(host) == (["0", "1380", "1380", "1382"], NEEDED, NEEDED)
        pool(host, state="absent")
        host.done("mig", device=CARD, enabled=True, instances={})
        before = there(host)
    assert failed > 8


def test_a_vgpu_that_the_driver_refuses(host: Host) -> None:
    host.fault(TYPES, op="write", errno="EIO", nth=2)
    assert "undone: " in host.failed("vgpu_pool", name="p", mig="derive", types=WANTED)
    assert there(host) == (["0"] * 4, {}, None)


def test_a_killed_run_is_mended_by_the_next(host: Host) -> None:
    """At any of the tool's calls by which instances are made, or before the first vGPU."""
    script = str(ROOT / "plugins" / "modules" / "vgpu_pool.py")
    text = json.dumps({"ANSIBLE_MODULE_ARGS": {"name": "p", "mig": "derive", "types": WANTED}})
    for path, op, nth in ((SMI, "read", 9), (SMI, "read", 12), (TYPES, "write", 1), (TYPES, "write", 2)):
        host.fault(path, op=op, delay=30, nth=nth)
        command = ["timeout", "-s", "KILL", "3", host.python, script]
        done = host.run(command, input=text, check=False, env=host.environment)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (path, nth, done.stdout)
        host.clear_faults()
        pool(host, types=WANTED)
        assert there(host) == (["0", "1380", "1380", "1382"], NEEDED, NEEDED)
        pool(host, state="absent")
        host.done("mig", device=CARD, enabled=True, instances={})


def test_other_numbers_to_an_instance(start: Callable[..., Host]) -> None:
    """Two vGPUs of one framebuffer go on one instance where the type says so, be they of two pools."""
    plan = scenario()
    plan["devices"][0]["behaviour"]["nvidia_card"]["types"][1380]["max_per_instance"] = 2
    host = start(plan)
    host.done("mig", device=CARD, enabled=True)
    host.done("sriov", device=CARD, numvfs="max")
    counts = [pool(host, name=name, type=SMALL, count=count)["derived"] for name, count in (("a", 3), ("b", 1))]
    assert counts == [{"pci_0000_41_00_0": {"1g.18gb": 2}}, {}]
    assert there(host)[1:] == ({"1g.18gb": 2}, {"1g.18gb": 2})


def test_over_two_cards(start: Callable[..., Host]) -> None:
    """One after the other in turn, or the first until it is full; of a mix the first too."""
    plan = scenario()
    [card] = plan["devices"]
    other = json.loads(json.dumps(card).replace("0000:41", "0000:42").replace('"6{address[11]}"', '"7{address[11]}"'))
    host = start({**plan, "devices": [card, {**other, "iommu_group": 61}]})
    cards = ["pci_0000_41_00_0", "pci_0000_42_00_0"]
    for each in cards:
        host.done("mig", device=each, enabled=True)
        host.done("sriov", device=each, numvfs="max")
    ways: list[tuple[dict[str, Any], list[dict[str, int]]]] = [
        ({"type": SMALL, "count": 3}, [{"1g.18gb": 2}, {"1g.18gb": 1}]),
        ({"type": SMALL, "count": 5, "placement": "pack"}, [{"1g.18gb": 4}, {"1g.18gb": 1}]),
        ({"types": {SMALL: 3, LARGE: 2}}, [{"1g.18gb": 3, "3g.71gb": 1}, {"3g.71gb": 1}]),
    ]
    for wish, expected in ways:
        made = pool(host, **wish)
        assert made["derived"] == dict(zip(cards, expected))
        assert all(each["active"] for each in made["instances"])
        pool(host, state="absent")
        for each in cards:
            host.done("mig", device=each, enabled=True, instances={})
