# SPDX-License-Identifier: GPL-3.0-or-later
"""vGPUs that are functions and come and go with their guests, by libvirt's hook; alone and in pools."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Host, warnings
from guests import Libvirt, domain, libvirtd, recorded
from test_restore import install, restore
from test_vgpu import CALLED, CREATE, FIRST, FN, SECOND, current, file, vgpu

__all__ = ["libvirtd"]


@pytest.fixture
def hooked(start: Callable[..., Host]) -> Host:
    """A host with the hook and a managed vGPU."""
    host = start("nvidia-vfio-small")
    install(host)
    vgpu(host, type="A16-4Q", params="disable_vnc=1", managed=True)
    return host


@pytest.fixture
def libvirt(hooked: Host, libvirtd: Callable[[Host], Libvirt]) -> Libvirt:
    """libvirtd on it."""
    return libvirtd(hooked)


def document(*functions: str, managed: str = "no") -> str:
    """A domain that has these functions, as libvirt writes one."""
    more = "".join(
        f"<hostdev mode='subsystem' type='pci' managed='{managed}'><driver name='vfio'/><source>"
        f"<address domain='0x0000' bus='0x06' slot='0x00' function='0x{each[-1]}'/></source></hostdev>"
        for each in functions
    )
    return domain("desk", more=more)


def test_it_is_defined_and_comes_with_its_guest(hooked: Host, libvirt: Libvirt) -> None:
    assert current(hooked, FIRST) == ["0"]
    before = hooked.state()
    for _time in range(2):
        assert libvirt.call("desk", "prepare", document(FIRST, SECOND)).status == 0
        assert current(hooked, FIRST, SECOND) == ["711", "0"]
        assert hooked.read(file(FIRST, "vgpu_params")).strip() == "disable_vnc=1"
        assert recorded(hooked) == {"desk": [{"kind": "vgpu", "id": FIRST, "how": "made"}]}
        there = vgpu(hooked)
        assert (there["plan"], [each["how"] for each in there["vgpu"]["holders"]]) == ([], ["about to be opened by"])
        assert "is in use by" in hooked.failed("vgpu", device=FIRST, state="inactive")
        assert libvirt.call("desk", "release", document(FIRST, SECOND)).status == 0
        assert hooked.state() == before
        assert recorded(hooked) == {}


def test_a_start_that_fails_is_taken_back(hooked: Host, libvirt: Libvirt) -> None:
    vgpu(hooked, device=SECOND, type="A16-4Q", managed=True)
    before = hooked.state()
    hooked.fault(file(SECOND), op="write", errno="EIO", nth=1)
    answer = libvirt.call("desk", "prepare", document(FIRST, SECOND))
    assert answer.status == 1
    assert "could not make the vGPU of pci_0000_06_00_5" in answer.err
    assert hooked.state() == before


def test_a_guest_that_does_not_let_go(hooked: Host, libvirt: Libvirt) -> None:
    libvirt.call("desk", "prepare", document(FIRST))
    with hooked.hold(FIRST) as pid:
        answer = libvirt.call("desk", "release", document(FIRST))
        assert f"the vGPU of {CALLED} is in use by process {pid}" in answer.err
        assert current(hooked, FIRST) == ["711"]
    libvirt.call("desk", "release", document(FIRST))
    assert current(hooked, FIRST) == ["0"]


def test_what_was_made_by_others_is_not_cleared(hooked: Host, libvirt: Libvirt) -> None:
    """Neither what is there already, nor what has become another's meanwhile."""
    hooked.write(file(FIRST), "711")
    libvirt.call("desk", "prepare", document(FIRST))
    libvirt.call("desk", "release", document(FIRST))
    assert current(hooked, FIRST) == ["711"]
    hooked.write(file(FIRST), "0")
    libvirt.call("desk", "prepare", document(FIRST))
    hooked.write(file(FIRST), "0")
    hooked.write(file(FIRST), "712")
    assert libvirt.call("desk", "release", document(FIRST)).status == 0
    assert current(hooked, FIRST) == ["712"]


def test_functions_that_are_none_of_its_business(hooked: Host, libvirt: Libvirt) -> None:
    vgpu(hooked, device=SECOND, type="A16-4Q", state="inactive")
    before = hooked.state()
    odd = "<hostdev type='pci'><source><address domain='x' bus='-1' slot='99' function='0x4'/></source></hostdev>"
    for each in (document(SECOND), domain("desk", more=odd), document(FN[3])):
        assert libvirt.call("desk", "prepare", each).status == 0
        assert (hooked.state(), recorded(hooked)) == (before, {})


def test_a_vgpu_becomes_managed_and_is_not_any_more(hooked: Host) -> None:
    vgpu(hooked, device=SECOND, type="A16-4Q")
    with hooked.hold(SECOND):
        stays = vgpu(hooked, device=SECOND, managed=True)
        assert "is in use by" in warnings(stays)[0]
    assert vgpu(hooked, device=SECOND)["plan"] == []
    vgpu(hooked, device=SECOND, managed=False)
    cleared = vgpu(hooked, device=SECOND, managed=True)
    assert cleared["plan"][1].startswith("clear the vGPU of type NVIDIA A16-4Q")
    assert vgpu(hooked, managed=False)["plan"][1] == CREATE
    hooked.reboot()
    assert "1 restored" in restore(hooked).stdout
    assert current(hooked, FIRST, SECOND) == ["711", "0"]


def test_a_pool_of_them(start: Callable[..., Host], libvirtd: Callable[[Host], Libvirt]) -> None:
    host = start("nvidia-vfio-small")
    install(host)
    wish = {"name": "desktops", "type": "A16-4Q", "count": 3, "managed": True}
    foretold = host.done("vgpu_pool", **wish, _ansible_check_mode=True)
    done = host.done("vgpu_pool", **wish)
    assert foretold["plan"] == done["plan"]
    assert [each["active"] for each in done["instances"]] == [False] * 3
    assert current(host, *FN) == ["0"] * 4
    told = host.failed("vgpu_pool", name="more", type="A16-4Q", count=2, managed=True)
    assert "needs 2 more vGPUs of type NVIDIA A16-4Q (711) and there is room for 1" in told
    libvirt = libvirtd(host)
    libvirt.call("desk", "prepare", document(FN[0], FN[2]))
    assert current(host, *FN) == ["711", "0", "711", "0"]
    there = host.done("vgpu_pool", name="desktops")
    assert (there["plan"], [each["active"] for each in there["instances"]]) == ([], [True, False, True])
    libvirt.call("desk", "release", document(FN[0], FN[2]))
    assert current(host, *FN) == ["0"] * 4
    run = host.done("vgpu_pool", name="desktops", managed=False)
    assert sum(step.startswith("create") for step in run["plan"]) == 3
    assert host.done("vgpu_pool", name="desktops", state="absent")["changed"]
    assert warnings(run) == []
