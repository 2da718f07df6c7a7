# SPDX-License-Identifier: GPL-3.0-or-later
"""vgpu_pool with several types on a heterogeneous card: at chosen places, or the driver's where nobody tells them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Host, warnings
from test_restore import install, restore
from test_vgpu import CARD, FN, NAME, changed, current, file, vgpu
from test_vgpu_mix import BIG, HALF, SMALL
from test_vgpu_pool import pool

LIBRARY = "/usr/lib/libnvidia-ml.so.1"
SUPPORTED, CREATABLE = (f"{LIBRARY}:nvmlDeviceGetVgpuType{each}Placements" for each in ("Supported", "Creatable"))
MIX = {BIG: 1, HALF: 1}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host with a card that takes several sizes, of 16 GiB and four functions; a small one stands at 4."""
    host = start(changed(lambda card, vf: card.update(heterogeneous=True)))
    vgpu(host, device=FN[3], type=SMALL, placement_id=4)
    return host


def places(host: Host) -> list[str]:
    return [host.read(file(each, "placement_id")).strip() for each in FN]


def asked(host: Host) -> int:
    return int(host.faults()[0]["seen"])


def creatable(host: Host) -> dict[str, Any]:
    types = host.done("vgpu_facts")["ansible_facts"]["vgpu"]["cards"][NAME]["types"]
    return {each["name"].rpartition("-")[2]: each["placement_ids"] for each in types}


def test_its_life(host: Host) -> None:
    """The same places after a reboot; nothing is asked where there is nothing to do."""
    install(host)
    host.fault(f"{LIBRARY}:nvmlInit_v2", delay=0)
    assert creatable(host) == {"2Q": [0, 2, 6, 8, 10, 12, 14], "4Q": [0, 8, 12], "8Q": [8], "16Q": []}
    foretold = pool(host, types=MIX, _ansible_check_mode=True)
    done = pool(host, types=MIX)
    assert (foretold["plan"], foretold["diff"]) == (done["plan"], done["diff"])
    assert (places(host), warnings(done), asked(host)) == (["8", "0", "65535", "4"], [], 3)
    kept = [json.loads(host.read(f"/etc/nodedev.d/vgpu/{each}.json"))["placement_id"] for each in FN[:2]]
    assert kept == [8, 0]
    assert (pool(host, types=MIX)["plan"], pool(host)["plan"], asked(host)) == ([], [], 3)
    done = pool(host, types={**MIX, SMALL: 1})
    assert (places(host), creatable(host)) == (["8", "0", "6", "4"], {"2Q": [], "4Q": [], "8Q": [], "16Q": []})
    host.reboot()
    assert "4 restored" in restore(host).stdout
    assert places(host) == ["8", "0", "6", "4"]
    assert pool(host)["plan"] == []
    # Three come where the large one and the small one were.
    pool(host, types={HALF: 3})
    assert (sorted(map(int, places(host)[:3])), places(host)[3]) == ([0, 8, 12], "4")
    assert host.forbidden_writes() == []


def test_where_the_library_tells_no_places_the_driver_chooses_them(host: Host) -> None:
    """Whatever it says instead: a warning that names the reason, and no place in the plan."""
    where = f"the places of vGPUs on {NAME} ({CARD})"
    cases: list[tuple[str, str, str]] = [
        (f"{LIBRARY}:nvmlInit_v2", "9", ": nvmlInit_v2 returned 9: Driver Not Loaded"),
        (f"{LIBRARY}:nvmlInit_v2", "134", ": asking libnvidia-ml.so.1 ended with status -6: "),
        (f"{LIBRARY}:nvmlDeviceGetHandle*", "15", ": nvmlDeviceGetHandleByPciBusId_v2 returned 15: GPU is lost"),
        (f"{LIBRARY}:nvmlVgpuTypeGetMax*", "3", ": nvmlVgpuTypeGetMaxInstances returned 3: Not Supported"),
        (SUPPORTED, "13", "nvmlDeviceGetVgpuTypeSupportedPlacements returned 13: Unknown Error"),
        (
            SUPPORTED,
            "25",
            "nvmlDeviceGetVgpuTypeSupportedPlacements knows no lists of places of version 2: it is older",
        ),
        (SUPPORTED, "0 4 4000000000 0 1", "nvmlDeviceGetVgpuTypeSupportedPlacements returned 7: Unknown Error"),
        (SUPPORTED, "0 4 1 70000", ": 1 places are told, the first of which are [70000]"),
        (CREATABLE, "0 4 1 3", " slots at (0, "),
        (CREATABLE, "0 4294967295 2 0", " and now of 4294967295 at (0,)"),
    ]
    for path, content, told in cases:
        host.fault(path, content=content)
        done = pool(host, types=MIX, _ansible_check_mode=True)
        assert all(each.startswith(where) for each in warnings(done)), (path, content)
        assert told in warnings(done)[0], (path, content, warnings(done))
        assert not [step for step in done["plan"] if "plac" in step], (path, content)
        host.clear_faults()
    # It is no answer that more is told than the first answer had room for.
    host.fault(f"{LIBRARY}:nvmlVgpuTypeGetMax*", content="0 1")
    assert (
        len([step for step in pool(host, types=MIX, _ansible_check_mode=True)["plan"] if " at placement " in step]) == 2
    )
    host.clear_faults()
    host.fault(LIBRARY + ":nvmlDeviceGetHandle*", delay=60)
    done = pool(host, types=MIX, wait_timeout=4, _ansible_check_mode=True)
    assert " -I -S - has not ended after 1." in warnings(done)[0]
    host.clear_faults()
    host.run(["cp", "/etc/hostname", LIBRARY])
    assert ": there is no library to ask: " in warnings(pool(host, types=MIX, _ansible_check_mode=True))[0]
    host.run(["sh", "-c", f"rm {LIBRARY}; cp $(find /usr/lib -name libm.so.6 | head -n 1) {LIBRARY}"])
    told = warnings(pool(host, types=MIX, _ansible_check_mode=True))[0]
    assert told.endswith(": libnvidia-ml.so.1 has no nvmlInit_v2: it is older than driver 570")
    host.run(["rm", LIBRARY])
    assert set(creatable(host).values()) == {None}
    done = pool(host, types=MIX)
    assert ": there is no library to ask: libnvidia-ml.so.1: cannot open shared object file" in warnings(done)[0]
    assert current(host, *FN) == ["712", "711", "0", "709"]
    assert pool(host)["plan"] == []


def test_what_is_lost_is_made_where_it_was(start: Callable[..., Host]) -> None:
    """A definition, as of a run that was killed; and the card's mode, which a boot ends."""
    host = start(changed(lambda card, vf: None))
    mode = ["nvidia-smi", "vgpu", "-shm", "1", "-i", CARD]
    host.run(mode)
    install(host)
    pool(host, types=MIX)
    kept = f"/etc/nodedev.d/vgpu/{FN[0]}.json"
    before = host.read(kept)
    host.run(["rm", kept])
    assert [step.partition(" ")[0] for step in pool(host)["plan"]] == ["define"]
    assert host.read(kept) == before
    host.reboot()
    told = restore(host, "--wait", "0").stderr
    assert "failed with EINVAL (Invalid argument): there is no such place on the card, or it has none" in told
    assert current(host, *FN) == ["0"] * 4
    with ThreadPoolExecutor(1) as beside:
        run = beside.submit(restore, host, "--wait", "20")
        time.sleep(1.5)
        host.run(mode)
        assert "2 restored" in run.result().stdout
    assert places(host)[:2] == ["0", "8"]


def test_a_driver_that_refuses_the_place_has_nothing_done(host: Host) -> None:
    before = host.state()
    for path in ("placement_id", "current_vgpu_type"):
        host.fault(f"*{FN[1]}/nvidia/{path}", op="write", errno="EINVAL")
        failure = host.module("vgpu_pool", name="desktops", types=MIX)
        assert (failure["failed"], "NOT undone" in failure["msg"]) == (True, False)
        assert "failed with EINVAL" in failure["msg"]
        host.clear_faults()
        assert host.state() == before
    assert host.forbidden_writes() == []
