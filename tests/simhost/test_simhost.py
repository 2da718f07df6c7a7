# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's rules for mediated devices, as files show them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator

import pytest

from simhost import SimHost
from simhost.testing import CARD, MDEVS, OTHER, UUIDS, available, create, eventually, refused, types


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost("nvidia-mdev") as running:
        yield running


@pytest.fixture
def sriov() -> Iterator[SimHost]:
    with SimHost("nvidia-sriov") as running:
        yield running


@pytest.fixture
def s390x() -> Iterator[SimHost]:
    with SimHost("s390x") as running:
        yield running


def test_types_of_a_parent(host: SimHost) -> None:
    assert sorted(os.listdir(host.path("/sys/class/mdev_bus"))) == ["0000:3d:00.0", "0000:af:00.0"]
    assert os.readlink(host.path(CARD)) == "../../devices/pci0000:3d/0000:3d:00.0"
    assert sorted(os.listdir(host.path(types(CARD, "nvidia-231", "")))) == [
        "available_instances",
        "create",
        "description",
        "device_api",
        "devices",
        "name",
    ]
    assert host.read(types(CARD, "nvidia-231", "name")) == "GRID T4-2Q\n"
    assert host.read(types(CARD, "nvidia-231", "device_api")) == "vfio-pci\n"
    assert host.read(types(CARD, "nvidia-231", "available_instances")) == "8\n"
    assert refused(host.read, types(CARD, "nvidia-999", "name")) == errno.ENOENT


@pytest.mark.parametrize("text", [UUIDS[1], UUIDS[1] + "\n", UUIDS[1].upper(), UUIDS[1].upper() + "\n"])
def test_create_accepts_newline_and_upper_case(host: SimHost, text: str) -> None:
    create(host, CARD, "nvidia-231", text)
    assert os.listdir(host.path(MDEVS)) == [UUIDS[1]]


@pytest.mark.parametrize(
    "text", ["", "x", UUIDS[1][:-1], UUIDS[1] + "12", UUIDS[1].replace("-", ""), "g" + UUIDS[1][1:]]
)
def test_create_refuses_what_is_not_a_uuid(host: SimHost, text: str) -> None:
    if text:
        assert refused(create, host, CARD, "nvidia-231", text) == errno.EINVAL
    else:
        create(host, CARD, "nvidia-231", text)  # an empty write never reaches a driver
    assert os.listdir(host.path(MDEVS)) == []


def test_duplicate_uuid_on_any_parent(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    assert refused(create, host, CARD, "nvidia-231", UUIDS[1]) == errno.EEXIST
    assert refused(create, host, OTHER, "nvidia-232", UUIDS[1].upper()) == errno.EEXIST


def test_links_and_files_of_a_device(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    device = f"{MDEVS}/{UUIDS[1]}"
    real = f"/sys/devices/pci0000:3d/0000:3d:00.0/{UUIDS[1]}"
    links = {
        "mdev_type": "../mdev_supported_types/nvidia-231",
        "subsystem": "../../../../bus/mdev",
        "driver": "../../../../bus/mdev/drivers/nvidia-vgpu-vfio",
        "iommu_group": "../../../../kernel/iommu_groups/0",
    }
    assert {name: os.readlink(host.path(f"{device}/{name}")) for name in links} == links
    assert host.realpath(device) == real
    assert host.realpath(types(CARD, "nvidia-231", f"devices/{UUIDS[1]}")) == real
    assert os.listdir(host.path("/sys/kernel/iommu_groups/0/devices")) == [UUIDS[1]]
    assert host.read(f"{device}/uevent") == "DRIVER=nvidia-vgpu-vfio\n"
    modes = {"remove": 0o200, "uevent": 0o644, "nvidia/vgpu_params": 0o644, "power/control": 0o644}
    for name, mode in modes.items():
        status = host.path(f"{device}/{name}").stat()
        assert (stat.S_ISREG(status.st_mode), stat.S_IMODE(status.st_mode), status.st_size) == (True, mode, 4096)
    assert stat.S_IMODE(host.path(types(CARD, "nvidia-231", "create")).stat().st_mode) == 0o200
    assert stat.S_IMODE(host.path(types(CARD, "nvidia-231", "name")).stat().st_mode) == 0o444


def test_group_numbers_are_the_lowest_free_ones(host: SimHost) -> None:
    for uuid in UUIDS[1:4]:
        create(host, CARD, "nvidia-231", uuid)
    host.write(f"{MDEVS}/{UUIDS[2]}/remove", "1")
    create(host, CARD, "nvidia-231", UUIDS[5])
    assert os.readlink(host.path(f"{MDEVS}/{UUIDS[5]}/iommu_group")).endswith("/1")
    assert sorted(os.listdir(host.path("/dev/vfio"))) == ["0", "1", "2", "vfio"]


def test_a_card_is_shared_by_its_types_and_homogeneous(host: SimHost) -> None:
    create(host, CARD, "nvidia-232", UUIDS[1])
    assert [available(host, CARD, f"nvidia-23{digit}") for digit in range(5)] == [0, 0, 3, 0, 0]
    assert available(host, OTHER, "nvidia-230") == 16
    for uuid in UUIDS[2:5]:
        create(host, CARD, "nvidia-232", uuid)
    assert refused(create, host, CARD, "nvidia-232", UUIDS[5]) == errno.ENOSPC
    assert refused(create, host, CARD, "nvidia-230", UUIDS[5]) == errno.ENOSPC
    for uuid in UUIDS[1:5]:
        host.write(f"{MDEVS}/{uuid}/remove", "1\n")
    assert [available(host, CARD, f"nvidia-23{digit}") for digit in range(5)] == [16, 8, 4, 2, 1]


def test_vfs_share_their_card_and_take_one_each(sriov: SimHost) -> None:
    parents = [f"/sys/class/mdev_bus/0000:06:00.{function}" for function in (4, 5, 6, 7)]
    create(sriov, parents[0], "nvidia-712", UUIDS[1])
    assert [available(sriov, parent, "nvidia-712") for parent in parents] == [0, 1, 1, 1]
    assert [available(sriov, parent, "nvidia-711") for parent in parents] == [0, 0, 0, 0]
    create(sriov, parents[1], "nvidia-712", UUIDS[2])
    assert [available(sriov, parent, "nvidia-712") for parent in parents] == [0, 0, 0, 0]
    assert refused(create, sriov, parents[2], "nvidia-712", UUIDS[3]) == errno.ENOSPC
    card = "/sys/bus/pci/devices/0000:06:00.0"
    assert os.readlink(sriov.path(f"{card}/virtfn2")) == "../0000:06:00.6"
    assert os.readlink(sriov.path("/sys/bus/pci/devices/0000:06:00.6/physfn")) == "../0000:06:00.0"
    assert (sriov.read(f"{card}/sriov_totalvfs"), sriov.read(f"{card}/sriov_numvfs")) == ("16\n", "4\n")


def test_remove(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    device = f"{CARD}/{UUIDS[1]}"
    host.write(f"{device}/remove", "0")
    assert refused(host.write, f"{device}/remove", "x") == errno.EINVAL
    assert host.path(device).exists()
    host.write(f"{device}/remove", "1")
    for path in (device, f"{MDEVS}/{UUIDS[1]}", types(CARD, "nvidia-231", f"devices/{UUIDS[1]}"), "/dev/vfio/0"):
        assert not os.path.lexists(host.path(path))
    assert refused(host.read, f"{device}/uevent") == errno.ENOENT
    create(host, CARD, "nvidia-232", UUIDS[1])
    assert os.readlink(host.path(f"{device}/mdev_type")).endswith("nvidia-232")


def test_remove_blocks_while_a_guest_runs(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    with host.hold(UUIDS[1]) as pid:
        assert host.run(["cat", f"/proc/{pid}/comm"]).stdout == "simhost-guest\n"
        assert os.readlink(host.path(f"/proc/{pid}/fd/3")) == "/dev/vfio/0"
        assert host.holders() == {"/dev/vfio/0": [pid]}
        assert refused(host.read, "/dev/vfio/0") == errno.EBUSY
        remover = threading.Thread(target=host.write, args=(f"{MDEVS}/{UUIDS[1]}/remove", "1"))
        remover.start()
        # What the kernel takes away before it waits is gone, and everything else goes on.
        eventually(lambda: not os.listdir(host.path(MDEVS)))
        create(host, CARD, "nvidia-231", UUIDS[2])
        assert available(host, CARD, "nvidia-231") == 6
        assert refused(create, host, OTHER, "nvidia-231", UUIDS[1]) == errno.EEXIST
        assert remover.is_alive()
        assert host.path(f"{CARD}/{UUIDS[1]}/driver").is_symlink()
    remover.join(5)
    assert not remover.is_alive()
    assert not host.path(f"{CARD}/{UUIDS[1]}").exists()
    assert available(host, CARD, "nvidia-231") == 7


def test_an_interrupted_remove_is_let_go_and_ends_later(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    with host.hold(UUIDS[1]):
        script = f"open('{MDEVS}/{UUIDS[1]}/remove', 'w').write('1')"
        remover = host.popen(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE)
        eventually(lambda: not os.listdir(host.path(MDEVS)))
        remover.kill()
        remover.communicate(timeout=5)
        eventually(lambda: len(host.run(["ps", "-e", "-o", "args"]).stdout.splitlines()) == 5)
        assert host.path(f"{CARD}/{UUIDS[1]}").exists()
    eventually(lambda: not host.path(f"{CARD}/{UUIDS[1]}").exists())


def test_a_group_opens_once_and_again_after_its_close(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    for _time in range(50):
        os.close(os.open(host.path("/dev/vfio/0"), os.O_RDONLY))
    with pytest.raises(OSError), host.hold(UUIDS[1]), open(host.path("/dev/vfio/0"), "rb"):
        raise AssertionError("opened twice")
    # libvirt keeps the group open for reading while it removes the device.
    with open(host.path("/dev/vfio/0"), "rb"):
        host.write(f"{MDEVS}/{UUIDS[1]}/remove", "1")


def test_vendor_attributes(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    parameters = f"{MDEVS}/{UUIDS[1]}/nvidia/vgpu_params"
    host.write(parameters, "frame_rate_limiter=0,enable_uvm=1\n")
    assert host.read(parameters) == "frame_rate_limiter=0,enable_uvm=1\n"
    assert refused(host.write, parameters, "nonsense") == errno.EINVAL
    assert host.read(parameters) == "frame_rate_limiter=0,enable_uvm=1\n"


def test_modes_hold_for_root_too(host: SimHost) -> None:
    assert refused(host.write, types(CARD, "nvidia-231", "name"), "x") == errno.EACCES
    assert refused(host.read, types(CARD, "nvidia-231", "create")) == errno.EACCES
    assert refused(os.mkdir, host.path("/sys/class/new")) == errno.EPERM
    assert refused(os.unlink, host.path(types(CARD, "nvidia-231", "name"))) == errno.EPERM


def test_read_at_an_offset(host: SimHost) -> None:
    with open(host.path(types(CARD, "nvidia-231", "name")), "rb", buffering=0) as stream:
        assert stream.read(4) == b"GRID"
        assert stream.read() == b" T4-2Q\n"
        stream.seek(0)
        assert stream.read(2) == b"GR"


def test_a_first_read_at_an_offset(host: SimHost) -> None:
    with host.path("/sys/bus/pci/devices/0000:3d:00.0/config").open("rb", buffering=0) as stream:
        stream.seek(0x09)
        assert stream.read(3) == bytes.fromhex("000203")


def test_configuration_space(host: SimHost) -> None:
    config = host.path("/sys/bus/pci/devices/0000:3d:00.0/config").read_bytes()
    assert len(config) == 4096
    assert config[:4] == bytes.fromhex("de10b81e")
    assert config[0x09:0x0C] == bytes.fromhex("000203")


def test_mtty() -> None:
    with SimHost("mtty") as host:
        parent = "/sys/class/mdev_bus/mtty"
        assert not host.path(types(parent, "mtty-1", "description")).exists()
        assert [available(host, parent, name) for name in ("mtty-1", "mtty-2")] == [24, 12]
        create(host, parent, "mtty-1", UUIDS[1])
        assert [available(host, parent, name) for name in ("mtty-1", "mtty-2")] == [23, 11]
        assert os.readlink(host.path("/sys/class/mtty/mtty")) == "../../devices/virtual/mtty/mtty"


def test_subchannels(s390x: SimHost) -> None:
    parent = "/sys/class/mdev_bus/0.0.0050"
    assert s390x.read(types(parent, "vfio_ccw-io", "device_api")) == "vfio-ccw\n"
    create(s390x, parent, "vfio_ccw-io", UUIDS[1])
    assert available(s390x, parent, "vfio_ccw-io") == 0
    assert available(s390x, "/sys/class/mdev_bus/0.0.0051", "vfio_ccw-io") == 1
    assert refused(create, s390x, parent, "vfio_ccw-io", UUIDS[2]) == errno.EUSERS
    assert s390x.read("/sys/bus/css/devices/0.0.0050/driver_override") == "vfio_ccw\n"


def test_matrix(s390x: SimHost) -> None:
    parent = "/sys/class/mdev_bus/matrix"
    for uuid in UUIDS[1:3]:
        create(s390x, parent, "vfio_ap-passthrough", uuid)
    first, second = (f"{MDEVS}/{uuid}" for uuid in UUIDS[1:3])
    s390x.write(f"{first}/assign_adapter", "5")
    assert s390x.read(f"{first}/matrix") == "05.\n"
    s390x.write(f"{first}/assign_domain", "0x4\n")
    s390x.write(f"{first}/assign_domain", "5")
    s390x.write(f"{first}/assign_control_domain", "6")
    assert s390x.read(f"{first}/matrix") == "05.0004\n05.0005\n"
    assert s390x.read(f"{first}/control_domains") == "0006\n"
    assert refused(s390x.write, f"{first}/assign_adapter", "five") == errno.EINVAL
    assert refused(s390x.write, f"{first}/assign_adapter", "16") == errno.ENODEV
    assert refused(s390x.write, f"{first}/assign_adapter", "7") == errno.EADDRNOTAVAIL
    s390x.write(f"{second}/assign_adapter", "5")
    assert refused(s390x.write, f"{second}/assign_domain", "5") == errno.EADDRINUSE
    s390x.write(f"{first}/unassign_domain", "5")
    s390x.write(f"{second}/assign_domain", "5")
    config = s390x.read(f"{first}/ap_config")
    assert config.startswith(f"0x04{'0' * 62},0x08{'0' * 62},0x02{'0' * 62}")
    s390x.write(f"{first}/ap_config", f"0x02{'0' * 62},0x08{'0' * 62},0x{'0' * 64}\n")
    assert s390x.read(f"{first}/matrix") == "06.0004\n"
    assert refused(s390x.read, f"{first}/assign_adapter") == errno.EACCES
    s390x.write(f"{second}/remove", "1")
    s390x.write(f"{first}/assign_adapter", "5")
    s390x.write(f"{first}/assign_domain", "5")


def test_readonly() -> None:
    with SimHost("readonly") as host:
        parent = "/sys/class/mdev_bus/0000:06:00.0"
        assert refused(create, host, parent, "nvidia-230", UUIDS[1]) == errno.EROFS
        flags = host.run(["/usr/bin/python3", "-c", "import os; print(os.statvfs('/sys').f_flag & os.ST_RDONLY)"])
        assert flags.stdout == "1\n"


def test_no_mdev_and_ambiguous() -> None:
    with SimHost("no-mdev") as host:
        assert not host.path("/sys/class/mdev_bus").exists()
        assert sorted(os.listdir(host.path("/sys/bus/pci/devices"))) == ["0000:00:02.0", "0000:00:03.0"]
    with SimHost("ambiguous") as host:
        names = [host.read(types("/sys/class/mdev_bus/0000:06:00.0", f"nvidia-{n}30", "name")) for n in (2, 3)]
        assert names == ["GRID T4-4Q\n"] * 2


def test_cdev_nodes_hold_a_device_as_well() -> None:
    scenario = {
        "vfio_cdev": True,
        "devices": [
            {
                "path": "devices/virtual/mtty/mtty",
                "class": "mtty",
                "behaviour": {"mdev_parent": {"in_use": "EBUSY", "types": {"mtty-1": {}}}},
            }
        ],
    }
    with SimHost(scenario) as host:
        create(host, "/sys/class/mdev_bus/mtty", "mtty-1", UUIDS[1])
        assert os.listdir(host.path(f"{MDEVS}/{UUIDS[1]}/vfio-dev")) == ["vfio0"]
        assert host.realpath("/sys/class/vfio-dev/vfio0/device").endswith(UUIDS[1])
        with host.hold("devices/vfio0"):
            assert refused(host.write, f"{MDEVS}/{UUIDS[1]}/remove", "1") == errno.EBUSY
        host.write(f"{MDEVS}/{UUIDS[1]}/remove", "1")
