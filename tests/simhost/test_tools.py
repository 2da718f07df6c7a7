# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs in a simulated host: libudev by pyudev, mdevctl, udevadm and libvirtd."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from simhost import SimHost
from simhost.testing import CARD, MDEVS, MONITOR, UUIDS, create, eventually

DEVICES = """
import json, pyudev
context = pyudev.Context()
print(json.dumps({d.sys_path: [d.subsystem, dict(d.properties)] for d in context.list_devices()}))
"""


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost("nvidia-mdev") as running:
        yield running


def python(host: SimHost, script: str, *arguments: str) -> str:
    return host.run([host.python, "-c", script, *arguments]).stdout


def test_pyudev_lists_all_devices(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    devices = json.loads(python(host, DEVICES))
    assert {path: values[0] for path, values in devices.items()} == {
        "/sys/devices/pci0000:3b/0000:3b:00.0": "pci",
        "/sys/devices/pci0000:3d/0000:3d:00.0": "pci",
        f"/sys/devices/pci0000:3d/0000:3d:00.0/{UUIDS[1]}": "mdev",
        "/sys/devices/pci0000:af/0000:af:00.0": "pci",
        "/sys/devices/virtual/dmi/id": "dmi",
        "/sys/devices/virtual/vfio/0": "vfio",
    }
    properties = devices["/sys/devices/pci0000:3d/0000:3d:00.0"][1]
    assert properties["PCI_CLASS"] == "30200"
    assert properties["DRIVER"] == "nvidia"
    assert properties["ID_VENDOR_FROM_DATABASE"] == "NVIDIA Corporation"
    assert devices["/sys/devices/virtual/vfio/0"][1]["DEVNAME"] == "/dev/vfio/0"


def test_pyudev_parents_and_attributes(host: SimHost) -> None:
    create(host, CARD, "nvidia-231", UUIDS[1])
    script = (
        "import sys, pyudev\n"
        "device = pyudev.Devices.from_name(pyudev.Context(), 'mdev', sys.argv[1])\n"
        "print(device.parent.sys_name, device.parent.attributes.asstring('vendor'), device.driver)\n"
    )
    assert python(host, script, UUIDS[1]) == "0000:3d:00.0 0x10de nvidia-vgpu-vfio\n"


def test_every_s390x_subsystem_is_listed() -> None:
    with SimHost("s390x") as host:
        devices = json.loads(python(host, DEVICES))
    subsystems = sorted(values[0] for values in devices.values())
    assert subsystems == ["ap"] * 6 + ["ccw"] + ["css"] * 3 + ["matrix"]
    assert devices["/sys/devices/ap/card05/05.0004"][1]["DEVTYPE"] == "ap_queue"


def test_udev_tells_listeners_of_devices(host: SimHost) -> None:
    monitor = host.popen([host.python, "-u", "-c", MONITOR, "mdev"], stdout=subprocess.PIPE, text=True)
    assert monitor.stdout is not None
    assert monitor.stdout.readline() == "listening\n"
    create(host, CARD, "nvidia-231", UUIDS[1])
    assert monitor.stdout.readline() == f"add {UUIDS[1]} nvidia-vgpu-vfio\n"
    host.write(f"{MDEVS}/{UUIDS[1]}/uevent", "change")
    assert monitor.stdout.readline() == f"change {UUIDS[1]} nvidia-vgpu-vfio\n"
    host.write(f"{MDEVS}/{UUIDS[1]}/remove", "1")
    assert monitor.stdout.readline().split()[:2] == ["remove", UUIDS[1]]
    monitor.kill()
    monitor.communicate()


def test_udevadm_settle_waits_for_a_late_event(host: SimHost) -> None:
    host.fault(f"{MDEVS}/*/uevent", lag=0.5)
    start = time.monotonic()
    create(host, CARD, "nvidia-231", UUIDS[1])
    host.run(["udevadm", "settle"])
    assert time.monotonic() - start >= 0.5
    assert host.path(f"/run/udev/data/+mdev:{UUIDS[1]}").exists()
    assert host.path(f"{MDEVS}/{UUIDS[1]}/uevent").exists()


def test_udevadm_settle_again_and_again(host: SimHost) -> None:
    host.run(["sh", "-ec", "for n in 1 2 3 4 5 6 7 8 9 10; do udevadm settle; done"])


def test_mdevctl(host: SimHost) -> None:
    types = json.loads(host.run(["mdevctl", "types", "--dumpjson"]).stdout)
    names = {name: values["name"] for entry in types[0]["0000:3d:00.0"] for name, values in entry.items()}
    assert names["nvidia-231"] == "GRID T4-2Q"
    host.run(["mdevctl", "define", "-u", UUIDS[1], "-p", "0000:3d:00.0", "-t", "nvidia-231", "--auto"])
    assert host.path(f"/etc/mdevctl.d/0000:3d:00.0/{UUIDS[1]}").exists()
    host.run(["mdevctl", "modify", "-u", UUIDS[1], "--addattr", "nvidia/vgpu_params", "--value", "enable_uvm=1"])
    host.run(["mdevctl", "start", "-u", UUIDS[1]])
    # mdevctl writes no end of a line, for which the driver takes the last character.
    assert host.read(f"{MDEVS}/{UUIDS[1]}/nvidia/vgpu_params") == "enable_uvm=\n"
    assert host.run(["mdevctl", "list"]).stdout.split() == [UUIDS[1], "0000:3d:00.0", "nvidia-231", "auto", "(defined)"]
    host.run(["mdevctl", "stop", "-u", UUIDS[1]])
    assert host.run(["mdevctl", "list"]).stdout.strip() == ""
    host.run(["mdevctl", "modify", "-u", UUIDS[1], "--addattr", "nvidia/vgpu_params", "--value", "nonsense"])
    assert host.run(["mdevctl", "start", "-u", UUIDS[1]], check=False).returncode != 0
    assert not host.path(f"{MDEVS}/{UUIDS[1]}").exists()


def test_a_reboot_keeps_definitions_only(host: SimHost) -> None:
    host.run(["mdevctl", "define", "-u", UUIDS[1], "-p", "0000:3d:00.0", "-t", "nvidia-231", "--auto"])
    host.run(["mdevctl", "start", "-u", UUIDS[1]])
    host.path("/etc/nodedev.d").mkdir()
    host.write("/etc/nodedev.d/kept", "x")
    host.write("/run/lost", "x")
    sleeper = host.popen(["sh", "-c", "echo begun; exec sleep 60"], stdout=subprocess.PIPE, text=True)
    assert sleeper.stdout is not None and sleeper.stdout.readline() == "begun\n"
    with host.hold(UUIDS[1]):
        host.reboot()
    assert sleeper.wait(5) != 0
    assert not host.path(f"{MDEVS}/{UUIDS[1]}").exists()
    assert not host.path("/run/lost").exists()
    assert host.read("/etc/nodedev.d/kept") == "x"
    assert host.path("/run/udev/data/+pci:0000:3d:00.0").exists()
    assert not host.path(f"/run/udev/data/+mdev:{UUIDS[1]}").exists()
    host.run(["mdevctl", "start-parent-mdevs", "0000:3d:00.0"])
    assert host.path(f"{MDEVS}/{UUIDS[1]}").exists()


def test_libvirtd(host: SimHost) -> None:
    device = "mdev_" + UUIDS[1].replace("-", "_") + "_0000_3d_00_0"
    with host.libvirtd() as daemon:
        assert daemon.virsh("nodedev-list", "--cap", "mdev_types").split() == ["pci_0000_3d_00_0", "pci_0000_af_00_0"]
        create(host, CARD, "nvidia-231", UUIDS[1])
        eventually(lambda: device in daemon.virsh("nodedev-list", "--cap", "mdev"))
        assert "<type id='nvidia-231'/>" in daemon.virsh("nodedev-dumpxml", device)
        with host.hold(UUIDS[1]):
            assert daemon.run(["virsh", "-c", daemon.uri, "nodedev-destroy", device], check=False).returncode != 0
        daemon.virsh("nodedev-destroy", device)
        assert not host.path(f"{MDEVS}/{UUIDS[1]}").exists()
        xml = (
            "<device><parent>pci_0000_3d_00_0</parent><capability type='mdev'><type id='nvidia-231'/>"
            f"<uuid>{UUIDS[1]}</uuid></capability></device>"
        )
        host.write("/run/device.xml", xml)
        daemon.virsh("nodedev-create", "/run/device.xml")
        assert host.path(f"{MDEVS}/{UUIDS[1]}").exists()
    assert "libvirtd" not in host.run(["ps", "-e", "-o", "comm"]).stdout


def test_libvirtd_on_s390x() -> None:
    with SimHost("s390x") as host, host.libvirtd() as daemon:
        assert daemon.virsh("nodedev-list", "--cap", "css,ccw,ap_card,ap_queue,ap_matrix").split() == [
            "ap_05_0004",
            "ap_05_0005",
            "ap_06_0004",
            "ap_06_0005",
            "ap_card05",
            "ap_card06",
            "ap_matrix",
            "ccw_0_0_0815",
            "css_0_0_0012",
            "css_0_0_0050",
            "css_0_0_0051",
        ]
        assert "vfio_ccw-io" in daemon.virsh("nodedev-dumpxml", "css_0_0_0050")
        assert "ccw_0_0_0815" in daemon.virsh("nodedev-list", "--tree")


def test_units_are_enabled_without_systemd(host: SimHost) -> None:
    unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    host.write("/etc/systemd/system/x.service", unit)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "enable", "x.service"])
    host.reboot()
    assert host.run(["cat", "/etc/systemd/system/multi-user.target.wants/x.service"]).stdout == unit
    assert host.run(["systemctl", "is-enabled", "x.service"]).stdout == "enabled\n"
    host.run(["systemctl", "disable", "x.service"])
    assert host.run(["systemctl", "is-enabled", "x.service"], check=False).stdout == "disabled\n"
