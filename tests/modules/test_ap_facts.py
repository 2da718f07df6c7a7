# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodedev_facts says of crypto adapters, queues and the matrix beside libvirt's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import UUID, Host, warnings
from simhost.drivers.ap_bus import BUS
from simhost.test_ap import scenario

KINDS = ["ap_card", "ap_queue", "ap_matrix"]


def extras(host: Host) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is told under extra, by device, and of all queues."""
    result = host.done("nodedev_facts", capabilities=KINDS)
    assert warnings(result) == []
    facts = result["ansible_facts"]["nodedev"]
    return {name: each.get("extra") for name, each in facts["devices"].items()}, facts["crypto"]


def test_whose_they_are(start: Callable[..., Host]) -> None:
    host = start("ap")
    host.run(["modprobe", "vfio_ap"])
    host.fault(f"{BUS}/drivers/vfio_ap/05.0047", op="write", errno="EIO")
    host.done("ap_mask", adapters=["5"], wait_timeout=0.2)
    attrs = [{"assign_adapter": "5"}, {"assign_domain": "4"}]
    host.done("mdev", uuid=UUID, parent="matrix", type="vfio_ap-passthrough", attrs=attrs)
    found, summary = extras(host)
    assert found["ap_card05"] == {
        "type": "CEX7C",
        "hwtype": 13,
        "online": True,
        "takes_vfio": True,
        "queues": {"host": 0, "guests": 2, "nobody": 1},
        "free": ["05.0005"],
    }
    assert found["ap_card09"]["takes_vfio"] is False
    assert found["ap_05_0004"] == {
        "owner": "guests",
        "driver": "vfio_ap",
        "online": True,
        "mdev": UUID,
        "free": False,
    }
    assert found["ap_05_0005"] == {**found["ap_05_0004"], "mdev": None, "free": True}
    assert (found["ap_05_0047"]["owner"], found["ap_05_0047"]["free"]) == ("nobody", False)
    assert (found["ap_06_0004"]["owner"], found["ap_06_0004"]["driver"]) == ("host", "cex4queue")
    assert found["ap_matrix"] == {"free": ["05.0005"], "assigned": {UUID: ["05.0004"]}}
    assert summary == {"adapters": [5], "domains": [], "queues": [], "free": ["05.0005"], "host": 6}


def test_what_overrides_leave_to_guests(start: Callable[..., Host]) -> None:
    host = start(scenario(overrides=True, counted=True))
    host.done("ap_mask", queues=["06.0004"])
    facts = host.done("nodedev_facts", capabilities=["ap_queue"], devices=False)["ansible_facts"]["nodedev"]
    assert facts == {"crypto": {"adapters": [], "domains": [], "queues": ["06.0004"], "free": ["06.0004"], "host": 8}}
    assert host.done("nodedev_facts", capabilities=["system"], devices=False)["ansible_facts"]["nodedev"] == {}


def test_a_mask_that_makes_no_sense_is_a_warning(start: Callable[..., Host]) -> None:
    host = start("ap")
    host.fault(f"{BUS}/apmask", op="read", content="nonsense\n")
    result = host.done("nodedev_facts", capabilities=["ap_card"])
    assert warnings(result) == [f"{BUS}/apmask is 'nonsense', which is not a mask"]
    assert len(result["ansible_facts"]["nodedev"]["devices"]) > 1
    assert "crypto" not in result["ansible_facts"]["nodedev"]
