# SPDX-License-Identifier: GPL-3.0-or-later
"""The AP bus of the simulated host: masks, overrides, what vfio_ap gets, and what the kernel refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from simhost import SimHost
from simhost.scenario import FOLDER
from simhost.testing import MDEVS, UUIDS, create, eventually, names, refused

BUS = "/sys/bus/ap"
MATRIX = "/sys/class/mdev_bus/matrix"
FULL = f"0x{'f' * 64}\n"


def scenario(**options: Any) -> dict[str, Any]:
    """The scenario ap with other parameters of its bus."""
    plan: dict[str, Any] = yaml.safe_load((FOLDER / "ap.yml").read_text(encoding="utf-8"))
    plan["devices"][0]["behaviour"]["ap_bus"].update(options)
    return plan


@pytest.fixture
def ap() -> Iterator[SimHost]:
    with SimHost("ap") as host:
        host.run(["modprobe", "vfio_ap"])
        yield host


def bound(host: SimHost, driver: str) -> list[str]:
    return [name for name in names(host, f"{BUS}/drivers/{driver}") if "." in name]


def test_masks_say_whose_queues_are(ap: SimHost) -> None:
    assert ap.read(f"{BUS}/apmask") == FULL
    assert (len(bound(ap, "cex4queue")), bound(ap, "vfio_ap")) == (9, [])
    ap.write(f"{BUS}/apmask", "-5")
    assert ap.read(f"{BUS}/apmask") == f"0xfb{'f' * 62}\n"
    assert bound(ap, "vfio_ap") == ["05.0004", "05.0005", "05.0047"]
    ap.write(f"{BUS}/aqmask", "-0x47\n")
    # The card that is too old gets no driver.
    assert bound(ap, "vfio_ap") == ["05.0004", "05.0005", "05.0047", "06.0047"]
    assert "09.0047" not in bound(ap, "cex4queue")
    ap.write(f"{BUS}/apmask", "0xff")
    assert ap.read(f"{BUS}/apmask") == f"0xff{'0' * 62}\n"
    for text in (f"0x{'f' * 65}", "5", "+256", "-x"):
        assert refused(ap.write, f"{BUS}/apmask", text) == errno.EINVAL


def test_a_queue_of_a_device_stays(ap: SimHost) -> None:
    create(ap, MATRIX, "vfio_ap-passthrough", UUIDS[1])
    mdev = f"{MDEVS}/{UUIDS[1]}"
    ap.write(f"{mdev}/assign_adapter", "5")
    assert refused(ap.write, f"{mdev}/assign_domain", "4") == errno.EADDRNOTAVAIL
    ap.write(f"{BUS}/apmask", "-5")
    ap.write(f"{mdev}/assign_domain", "4")
    assert ap.read(f"{mdev}/guest_matrix") == "05.0004\n"
    assert refused(ap.write, f"{BUS}/apmask", "+5") == errno.EBUSY
    # One whose queue is not there is withheld.
    ap.write(f"{mdev}/assign_domain", "6")
    assert (ap.read(f"{mdev}/matrix"), ap.read(f"{mdev}/guest_matrix")) == ("05.0004\n05.0006\n", "")


def test_overrides_and_masks_exclude_each_other() -> None:
    with SimHost(scenario(overrides=True)) as host:
        host.run(["modprobe", "vfio_ap"])
        queue = f"{BUS}/devices/05.0004"
        assert host.read(f"{queue}/driver_override") == "\n"
        host.write(f"{queue}/driver_override", "vfio_ap")
        assert bound(host, "vfio_ap") == []
        host.write(f"{queue}/driver/unbind", "05.0004")
        host.write(f"{BUS}/drivers_probe", "05.0004")
        assert bound(host, "vfio_ap") == ["05.0004"]
        assert refused(host.write, f"{BUS}/apmask", "-5") == errno.EINVAL
        host.write(f"{queue}/driver_override", "\n")
        host.write(f"{BUS}/apmask", "-6")
        assert refused(host.write, f"{queue}/driver_override", "vfio_ap") == errno.EINVAL


def test_bindings_come_late() -> None:
    with SimHost(scenario(late=0.5, counted=True)) as host:
        assert (host.read(f"{BUS}/bindings_complete_count"), bound(host, "cex4queue")) == ("0\n", [])
        eventually(lambda: host.read(f"{BUS}/bindings_complete_count") == "1\n")
        assert host.read(f"{BUS}/bindings") == "9/9 (complete)\n"
