# SPDX-License-Identifier: GPL-3.0-or-later
"""The vgpu_pool module on simulated hosts of both frameworks: one result, and what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Host, warnings
from test_restore import install
from test_vgpu import NAME

RECORD = "/etc/nodedev.d/pool/desktops.json"
TYPE = "NVIDIA A16-4Q"


def pool(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that succeeds."""
    return host.done("vgpu_pool", **{"name": "desktops", **wish})


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    return host.failed("vgpu_pool", **{"name": "desktops", **wish})


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host whose vGPUs are functions."""
    return start("nvidia-vfio-small")


def addresses(result: dict[str, Any]) -> list[str]:
    return [each["address"] for each in result["instances"]]


LIFE: list[dict[str, Any]] = [
    {"type": TYPE, "count": 2},
    {"count": 3},
    {"count": 1},
    {"state": "inactive"},
    {"state": "present"},
    {"count": "max"},
    {"state": "absent"},
]


@pytest.mark.parametrize("scenario", ["nvidia-sriov", "nvidia-vfio-small"])
def test_its_life(start: Callable[..., Host], scenario: str) -> None:
    """Alike on both frameworks: foretold by check mode, none when asked for again."""
    host = start(scenario)
    install(host)
    sizes = []
    for wish in LIFE:
        foretold = pool(host, **wish, _ansible_check_mode=True)
        done = pool(host, **wish)
        assert done["changed"]
        assert foretold["plan"] == done["plan"]
        assert foretold["capacity"] == done["capacity"]
        again = pool(host, **wish)
        assert (again["plan"], again["instances"]) == ([], done["instances"])
        # Of a pool that is gone no type is known.
        assert again["capacity"] == ({} if wish == LIFE[-1] else done["capacity"])
        free, own, others = (done["capacity"][NAME][key] for key in ("free", "pool", "others"))
        sizes.append((len(done["instances"]), own, free, others))
    assert sizes == [(2, 2, 2, 0), (3, 3, 1, 0), (1, 1, 3, 0), (1, 0, 4, 0), (1, 1, 3, 0), (4, 4, 0, 0), (0, 0, 4, 0)]
    assert warnings(done) == []


def test_both_frameworks_give_one_result(start: Callable[..., Host]) -> None:
    found = []
    for scenario in ("nvidia-sriov", "nvidia-vfio-small"):
        host = start(scenario)
        done = pool(host, type="A16-4Q", count=2)
        found.append(done)
        assert [each["type"] for each in done["instances"]] == [TYPE] * 2
        assert [each["type_id"] for each in done["instances"]] == [711] * 2
    one, other = found
    assert one["capacity"] == other["capacity"]
    assert [set(each) for each in one["instances"]] == [set(each) for each in other["instances"]]
    assert set(one) == set(other)
    assert all(each["uuid"] is None for each in other["instances"])
    assert 'managed="no"' in other["instances"][0]["hostdev_xml"]
