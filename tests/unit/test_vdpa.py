# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vDPA device says of itself."""

from __future__ import annotations

import os

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import sysfs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import vdpa
from devices import Host


@pytest.fixture(autouse=True)
def nodes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vdpa, "NODES", str(host.dev))


def test_with_its_node(host: Host) -> None:
    (host.dev / "vhost-vdpa-0").touch()
    device = host.make_device("vdpa", "vdpa0", {"vhost-vdpa-0/dev": "511:0"})
    assert vdpa.read(device) == {"type": "vdpa", "chardev": f"{host.dev}/vhost-vdpa-0"}


def test_of_several_the_first_in_the_kernels_order_counts(host: Host) -> None:
    device = host.make_device("vdpa", "vdpa0", {f"vhost-vdpa-{number}/dev": "511:0" for number in range(5)})
    first = next(entry for entry in sysfs.entries(device.path) if entry.startswith("vhost-vdpa"))
    (host.dev / first).touch()
    assert os.path.basename(vdpa.read(device)["chardev"]) == first


@pytest.mark.parametrize("attributes", [{}, {"virtio0/device": "1"}, {"my-vhost-vdpa": "1"}])
def test_without_a_node(host: Host, attributes: dict[str, str]) -> None:
    assert vdpa.read(host.make_device("vdpa", "vdpa0", attributes)) == {"type": "vdpa"}


def test_a_node_that_is_not_in_dev_drops(host: Host) -> None:
    with pytest.raises(Dropped, match="vhost-vdpa-0 does not exist"):
        vdpa.read(host.make_device("vdpa", "vdpa0", {"vhost-vdpa-0/dev": "511:0"}))
