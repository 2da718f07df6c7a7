# SPDX-License-Identifier: GPL-3.0-or-later
"""What crypto adapters, their queues and the matrix of an s390x host say of themselves."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import ap as bus
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import nodes, processes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import ap
from devices import Host

TYPE = "mdev_supported_types/vfio_ap-passthrough"


@pytest.mark.parametrize(
    ("name", "adapter"), [("card00", "0x00"), ("card0a", "0x0a"), ("cardff", "0xff"), ("card100", "0x100")]
)
def test_a_card(host: Host, name: str, adapter: str) -> None:
    assert ap.card(host.make_device("ap", name)) == {"type": "ap_card", "ap-adapter": adapter}


@pytest.mark.parametrize("name", ["card", "cardx", "card0a.", "matrix"])
def test_no_card(host: Host, name: str) -> None:
    with pytest.raises(Dropped, match="is not 'card' and a hexadecimal number"):
        ap.card(host.make_device("ap", name))


@pytest.mark.parametrize(
    ("name", "adapter", "domain"),
    [("0a.0003", "0x0a", "0x0003"), ("ff.00ff", "0xff", "0x00ff"), ("5.4", "0x05", "0x0004")],
)
def test_a_queue(host: Host, name: str, adapter: str, domain: str) -> None:
    said = ap.queue(host.make_device("ap", name))
    assert list(said.items()) == [("type", "ap_queue"), ("ap-adapter", adapter), ("ap-domain", domain)]


@pytest.mark.parametrize("name", ["0a", "0a.", ".0003", "0a.0003.1", "0a.g", "card0a"])
def test_no_queue(host: Host, name: str) -> None:
    with pytest.raises(Dropped, match="is not two hexadecimal numbers"):
        ap.queue(host.make_device("ap", name))


def test_the_matrix_without_types(host: Host) -> None:
    assert ap.matrix(host.make_device("matrix", "matrix")) == {"type": "ap_matrix"}


def test_the_matrix_offers_types_as_a_list(host: Host) -> None:
    said = {f"{TYPE}/device_api": "vfio-ap", f"{TYPE}/available_instances": "65536"}
    offered = {"id": "vfio_ap-passthrough", "deviceAPI": "vfio-ap", "availableInstances": 65536}
    assert ap.matrix(host.make_device("matrix", "matrix", said)) == {
        "type": "ap_matrix",
        "capability": [{"type": "mdev_types", "types": [offered]}],
    }


def test_of_whom_it_is_not_known_whether_he_has_queues_open(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", str(host.root / "proc"))
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    for pid, command in (("1", "init"), ("7", "sleep")):
        host.write(host.root / "proc" / pid / "comm", command)
    (host.root / "proc/1/fd").mkdir()
    (host.root / "proc/7/fd").write_text("")
    assert bus.users() == ()
    (host.dev / "z90crypt").symlink_to("/dev/null")
    words = "process 7 (sleep), whose open files cannot be read (ENOTDIR, Not a directory)"
    assert [str(each) for each in bus.users()] == [f"/dev/z90crypt is open by possibly {words}"]
    (host.root / "proc/7/fd").unlink()
    (host.root / "proc/7/fd").mkdir()
    assert bus.users() == ()
