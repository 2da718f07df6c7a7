# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that the driver was bound to a moment ago, of which it makes parents of mediated devices a second later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import UUID, Host
from simhost.testing import merged
from test_vgpu import FN, NAME, changed

TYPE = "nvidia-711"


def host(start: Callable[..., Host], seconds: float, *others: str) -> Host:
    """A card of four functions, all of which become parents after so many seconds; beside those of other scenarios."""
    plan, mediated = merged("nvidia-vfio-small", *others), merged("nvidia-sriov")
    parent = mediated["devices"][1]["devices"][0]["behaviour"]["mdev_parent"]
    functions = plan["devices"][0]["behaviour"]["sriov"]["vf"]
    functions["behaviour"] = {"mdev_parent": {"of_driver": "nvidia", **parent}}
    started = start({**plan, "cards": {**plan.get("cards", {}), **mediated["cards"]}})
    started.fault("class/mdev_bus/*", lag=seconds)
    for what in ("unbind", "bind"):
        for function in FN:
            started.write(f"/sys/bus/pci/drivers/nvidia/{what}", function)
    return started


POOL: dict[str, Any] = {"name": "x", "type": TYPE, "count": 2, "parents": {"physical_function": [NAME]}}


@pytest.mark.parametrize(
    ("module", "wish"),
    [("mdev", {"uuid": UUID, "parent": FN[0], "type": TYPE}), ("mdev_pool", POOL), ("vgpu_pool", POOL)],
)
def test_they_are_waited_for(start: Callable[..., Host], module: str, wish: dict[str, Any]) -> None:
    made = host(start, 5).done(module, **wish)
    told = [made["mdev"]] if module == "mdev" else made["instances"]
    assert [(each["parent_addr"], each["active"]) for each in told] == [*zip(FN, [True] * len(told), strict=False)]


def test_nobody_waits_for_functions_of_others(start: Callable[..., Host]) -> None:
    """These never come, and there is no limit to speak of."""
    late = host(start, 3600)
    parents = {"addresses": ["0000:99:00.0"]}
    assert "there is no such device" in late.pool_refused(**{**POOL, "parents": parents}, wait_timeout=3600)
    assert "there is no such device" in late.refused(parent="0000:99:00.0", type=TYPE, wait_timeout=3600)


OTHERS = {"name": "x", "type": "GRID T4-4Q"}


@pytest.mark.parametrize(("module", "wish"), [("mdev_pool", {}), ("vgpu_pool", {"backend": "mdev"})])
def test_a_pool_that_has_enough_waits_for_none(start: Callable[..., Host], module: str, wish: dict[str, Any]) -> None:
    """What is there of other cards will do, whatever never comes."""
    made = host(start, 3600, "nvidia-mdev").done(module, **OTHERS, count=2, wait_timeout=3600, **wish)
    assert [each["parent_addr"] for each in made["instances"]] == ["0000:3d:00.0", "0000:af:00.0"]


LIMIT = 6


@pytest.mark.parametrize(("module", "count"), [("mdev_pool", "max"), ("vgpu_pool", 8)])
def test_what_never_comes_leaves_time_for_the_rest(start: Callable[..., Host], module: str, count: int | str) -> None:
    """As many as fit might be some of these too, or these might be vGPUs themselves."""
    late = host(start, 3600, "nvidia-mdev")
    late.done(module, name="x", state="absent")
    begun = time.monotonic()
    assert len(late.done(module, **OTHERS, count=count, wait_timeout=LIMIT)["instances"]) == 8
    assert time.monotonic() - begun < LIMIT


def test_a_function_that_never_gets_its_folder(start: Callable[..., Host]) -> None:
    late = start(changed(lambda card, vf: vf.update(without=[3])))
    wish: dict[str, Any] = {"name": "x", "type": "A16-4Q"}
    late.done("vgpu_pool", **wish, count=2, wait_timeout=3600)
    late.done("vgpu_pool", **wish, state="absent")
    begun = time.monotonic()
    assert len(late.done("vgpu_pool", **wish, count="max", wait_timeout=LIMIT)["instances"]) == 3
    assert time.monotonic() - begun < LIMIT


def test_what_never_comes_is_told(start: Callable[..., Host]) -> None:
    told = host(start, 3600).refused(parent=FN[0], type=TYPE, wait_timeout=0.5)
    assert "it is there with driver nvidia, and offers no mediated devices" in told
