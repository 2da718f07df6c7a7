# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: operations that fail, take time or answer wrongly, and what shows late."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator

import pytest

from simhost import SimHost
from simhost.control import ControlError
from simhost.testing import CARD, MDEVS, OTHER, UUIDS, available, create, eventually, refused, types


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost("nvidia-mdev") as running:
        yield running


def test_errno_on_the_nth_write(host: SimHost) -> None:
    host.fault(types(CARD, "nvidia-231", "create"), op="write", errno="EIO", nth=2)
    create(host, CARD, "nvidia-231", UUIDS[1])
    assert refused(create, host, CARD, "nvidia-231", UUIDS[2]) == errno.EIO
    create(host, CARD, "nvidia-231", UUIDS[3])
    assert sorted(os.listdir(host.path(MDEVS))) == [UUIDS[1], UUIDS[3]]
    assert [(rule["seen"], rule["hits"]) for rule in host.faults()] == [(3, 1)]


def test_errno_on_every_read_until_cleared(host: SimHost) -> None:
    host.fault("available_instances", op="read", errno="ENODEV")
    for parent in (CARD, OTHER):
        assert refused(available, host, parent, "nvidia-231") == errno.ENODEV
    host.clear_faults()
    assert available(host, CARD, "nvidia-231") == 8


def test_errno_for_a_number_of_times(host: SimHost) -> None:
    host.fault("*/numa_node", op="open", errno="EAGAIN", times=2)
    path = "/sys/bus/pci/devices/0000:3d:00.0/numa_node"
    assert [refused(host.read, path) for _time in range(2)] == [errno.EAGAIN] * 2
    assert host.read(path) == "0\n"


def test_a_lie(host: SimHost) -> None:
    host.fault(types(CARD, "nvidia-231", "available_instances"), content="99\n")
    assert available(host, CARD, "nvidia-231") == 99


def test_a_lie_that_is_not_utf_8(host: SimHost) -> None:
    host.fault(types(CARD, "nvidia-231", "name"), content="GRID\udcff\n")
    assert host.path(types(CARD, "nvidia-231", "name")).read_bytes() == b"GRID\xff\n"


def test_a_link_that_lies(host: SimHost) -> None:
    host.fault("0000:3d:00.0/iommu_group", content="../../kernel/iommu_groups/7x")
    assert os.readlink(host.path(f"{CARD}/iommu_group")) == "../../kernel/iommu_groups/7x"


def test_a_directory_that_cannot_be_listed(host: SimHost) -> None:
    host.fault("class/mdev_bus", op="list", errno="ELOOP")
    assert refused(os.listdir, host.path("/sys/class/mdev_bus")) == errno.ELOOP
    assert available(host, CARD, "nvidia-231") == 8


def test_a_delayed_create_is_done_before_it_returns(host: SimHost) -> None:
    host.fault(types(CARD, "nvidia-231", "create"), op="write", delay=0.4)
    writer = threading.Thread(target=create, args=(host, CARD, "nvidia-231", UUIDS[1]))
    start = time.monotonic()
    writer.start()
    eventually(lambda: os.listdir(host.path(MDEVS)))
    assert time.monotonic() - start < 0.4
    assert available(host, OTHER, "nvidia-231") == 8
    writer.join()
    assert time.monotonic() - start >= 0.4


def test_a_process_in_a_delay_can_be_killed(host: SimHost) -> None:
    host.fault("*/numa_node", op="read", delay=60)
    reader = host.popen(["cat", "/sys/bus/pci/devices/0000:3d:00.0/numa_node"])
    eventually(lambda: host.faults()[0]["hits"])
    reader.kill()
    reader.wait(5)
    eventually(lambda: "cat" not in host.run(["ps", "-e", "-o", "comm"]).stdout.split())


def test_links_and_values_that_lag(host: SimHost) -> None:
    host.fault(f"{MDEVS}/*/mdev_type", lag=0.5)
    host.fault(f"{MDEVS}/*/iommu_group", lag=0.5)
    host.fault(types(CARD, "*", "*"), lag=0.5)
    start = time.monotonic()
    create(host, CARD, "nvidia-231", UUIDS[1])
    device = f"{MDEVS}/{UUIDS[1]}"
    names = os.listdir(host.path(device))
    early = (available(host, CARD, "nvidia-231"), available(host, CARD, "nvidia-234"))
    assert time.monotonic() - start < 0.5, "the machine is too slow for this test"
    assert "driver" in names
    assert not {"mdev_type", "iommu_group"} & set(names)
    assert early == (8, 1)
    eventually(lambda: host.path(f"{device}/mdev_type").is_symlink())
    assert time.monotonic() - start >= 0.5
    eventually(lambda: available(host, CARD, "nvidia-231") == 7)
    assert available(host, CARD, "nvidia-234") == 0


def test_types_that_appear_late_after_a_boot(host: SimHost) -> None:
    # Looked at before, so that the kernel knows the names.
    assert available(host, CARD, "nvidia-231") == 8
    host.fault(f"{CARD}/mdev_supported_types", lag=0.5)
    host.reboot()
    assert not host.path(f"{CARD}/mdev_supported_types").exists()
    assert not host.path(types(CARD, "nvidia-231", "create")).exists()
    assert refused(available, host, CARD, "nvidia-231") == errno.ENOENT
    assert host.path(f"{OTHER}/mdev_supported_types").exists()
    eventually(lambda: host.path(types(CARD, "nvidia-231", "create")).exists())


def test_faults_of_a_scenario_and_unknown_ones() -> None:
    rule = {"path": "/sys/devices/virtual/a/one/value", "errno": "EIO"}
    device = {"path": "devices/virtual/a/one", "class": "a", "attributes": {"value": 1}}
    with SimHost({"devices": [device], "faults": [rule]}) as host:
        assert refused(host.read, "/sys/class/a/one/value") == errno.EIO
        with pytest.raises(ControlError, match="EFOO"):
            host.fault("*", errno="EFOO")
        with pytest.raises(ControlError, match="unknown key"):
            host.fault("*", errors="EIO")
