# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers that never answer, that are interrupted, and attributes that lead to other devices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER, UUID, Host, ids, running, warnings

DEVICE = f"/sys/bus/mdev/devices/{UUID}"
LATE = 3600
PARAMS = [{"nvidia/vgpu_params": "a=1"}]


def test_a_create_that_never_ends(host: Host) -> None:
    host.fault("*/nvidia-231/create", op="write", delay=LATE)
    message = host.refused(wait_timeout=1)
    assert message.startswith(f"could not create mdev {UUID} of type nvidia-231 on {HERE}: writing '{UUID}' to ")
    assert (
        "/create: the driver has not answered after 1 s; it may still do what was asked; it was removed again"
        in message
    )
    host.clear_faults()
    assert host.mdev()["changed"]


def test_an_attribute_that_never_ends(host: Host) -> None:
    host.fault("*/vgpu_params", op="write", delay=LATE)
    message = host.refused(wait_timeout=1, attrs=PARAMS)
    assert message.startswith(f"could not set nvidia/vgpu_params=a=1 on mdev {UUID}: writing 'a=1\\n' to {DEVICE}/")
    assert "the driver has not answered after 1 s" in message
    assert message.endswith(f"undone: create mdev {UUID} of type nvidia-231 on {HERE}")


def test_a_pool_of_which_one_create_never_ends(host: Host) -> None:
    host.fault("*/nvidia-232/create", op="write", delay=LATE, nth=3)
    message = host.pool_refused(type="nvidia-232", count=4, wait_timeout=2)
    assert "the driver has not answered after 2 s" in message
    assert "NOT undone" not in message
    host.clear_faults()
    assert len(ids(host.pool(type="nvidia-232", count=4))) == 4


def test_one_limit_bounds_all_that_a_pool_waits_for(host: Host) -> None:
    """Each of the eight is in time by itself; all of them together are not."""
    host.fault("*/nvidia-232/create", op="write", delay=1)
    message = host.pool_refused(type="nvidia-232", count=8, wait_timeout=1)
    assert "the time that the task has is up (wait_timeout). undone: create mdev" in message
    assert running(host) == []


def test_a_vport_create_that_never_ends(fc: Host) -> None:
    fc.fault("*/vport_create", op="write", delay=LATE)
    message = fc.vhba_refused(wait_timeout=1)
    assert (
        "vport_create: the driver has not answered after 1 s; it may still do what was asked; it was deleted" in message
    )
    fc.clear_faults()
    assert fc.vhba()["changed"]


def test_a_vport_create_that_is_interrupted(fc: Host) -> None:
    """Python by itself repeats such a write for ever."""
    fc.fault("*/vport_create", op="write", errno="EINTR")
    message = fc.vhba_refused(parent="scsi_host3")
    assert "vport_create failed with EINTR (Interrupted system call)" in message


def test_a_scan_that_never_ends(fc: Host) -> None:
    fc.fault("*/scan", op="write", delay=LATE)
    result = fc.module("vhba", wwnn="5001a4a1000000a1", wwpn="5001a4a0000000a1", rescan=True, wait_timeout=2)
    assert "/scan: the driver has not answered after 2 s" in result["msg"]


LPFC = {
    "EPERM": "lpfc failed to make it: look at the kernel log",
    "ENOENT": "NPIV is off in lpfc (lpfc_enable_npiv), or these names are not valid or not unique on the HBA",
    "ESRCH": "lpfc has no memory left",
    "EINTR": "the HBA has no resources left for another vport",
}
TRANSPORT = {
    "ENOENT": "the driver makes no vports",
    "ENOTUNIQ": "the driver does not take these names: they are not valid or not unique",
    "ENOSYS": "the driver or the adapter has no NPIV",
    "EOPNOTSUPP": "the fabric has no NPIV, or the port is in a loop",
}
CREATES = [*(("lpfc", *case) for case in LPFC.items()), *(("qla2xxx", *case) for case in TRANSPORT.items())]


@pytest.mark.parametrize(("driver", "errno", "meaning"), CREATES, ids=[" ".join(case[:2]) for case in CREATES])
def test_what_a_driver_means_by_an_errno_of_vport_create(fc: Host, driver: str, errno: str, meaning: str) -> None:
    fc.fault("scsi_host/host3/proc_name", op="read", content=f"{driver}\n")
    fc.fault("host3/vport_create", op="write", errno=errno)
    message = fc.vhba_refused(parent="scsi_host3")
    assert f"failed with {errno} (" in message
    assert message.endswith(f"): {meaning}")


def test_what_a_driver_means_by_an_errno_of_vport_delete(fc: Host) -> None:
    fc.vhba("a3", parent="scsi_host3")
    fc.fault("host3/vport_delete", op="write", errno="EPERM")
    message = fc.vhba_refused("a3", state="absent", force=True)
    assert "EPERM (Operation not permitted): the driver keeps it: a vport that the adapter's firmware made" in message


def test_an_attribute_ends_its_line(host: Host) -> None:
    """The driver drops the last character, whatever it is."""
    host.mdev(attrs=PARAMS)
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"


# Each leads from the device to another one, or to what the kernel does with the device.
AWAY = [
    f"mdev_type/devices/{OTHER}/remove",
    f"subsystem/devices/{OTHER}/remove",
    f"iommu_group/devices/{OTHER}/remove",
    "mdev_type/create",
    "driver/unbind",
    "remove",
    "uevent",
    "power/control",
]


@pytest.mark.parametrize("name", AWAY)
def test_an_attribute_leads_to_no_other_device(host: Host, name: str) -> None:
    host.mdev(uuid=OTHER)
    for module in ("mdev", "mdev_pool"):
        wish: dict[str, Any] = {"mdev": {"uuid": UUID, "parent": CARD}, "mdev_pool": {"name": "x", "count": 1}}[module]
        message = host.failed(module, type="nvidia-231", attrs=[{name: "1"}], **wish)
        assert message.startswith(f"attrs: '{name}' cannot be used: ")
        assert "belongs to the kernel: an attribute is a file of the device's driver" in message


def write_definition(host: Host, name: str) -> str:
    """Define a device as somebody else may have; returns the file."""
    file = f"/etc/mdevctl.d/{CARD}/{UUID}"
    document = {"mdev_type": "nvidia-231", "start": "auto", "attrs": [{name: "1"}]}
    host.run(["mkdir", "-p", f"/etc/mdevctl.d/{CARD}"])
    host.write(file, json.dumps(document))
    return file


@pytest.mark.parametrize("name", AWAY)
def test_nor_does_one_of_a_definition(host: Host, name: str) -> None:
    """Whoever wrote it: it is not made by it, and what such a file says is not read."""
    host.mdev(uuid=OTHER)
    write_definition(host, name)
    assert f"attrs: '{name}' cannot be used" in host.failed("mdev", uuid=UUID)
    assert running(host) == [OTHER]
    host.write(f"/sys/class/mdev_bus/{CARD}/mdev_supported_types/nvidia-231/create", UUID)
    (known,) = [
        each
        for each in host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]["mdev"]
        if each["uuid"] == UUID
    ]
    assert known["drift"] == []
    assert host.done("mdev", uuid=UUID, state="absent")["changed"]
    assert running(host) == [OTHER]


def test_text_of_others_forges_no_line(host: Host) -> None:
    """A folder that is named so as to end the line and to colour the next one."""
    evil = "\x1b[31m\n<3>root: all is well"
    host.run(["mkdir", "-p", f"/etc/mdevctl.d/{evil}"])
    host.write(f"/etc/mdevctl.d/{evil}/{UUID}", "{")
    (warning,) = warnings(host.done("definition_facts"))
    assert r"/etc/mdevctl.d/\x1b[31m\n<3>root: all is well/" in warning
    assert warning.isprintable()
