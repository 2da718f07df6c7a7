# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver module on subchannels of a mainframe: their CCW devices go offline first, and come back later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Host, warnings
from test_driver import bound
from test_restore import install, restore

# A disk that nobody uses, the root disk, a disk that is mounted, and a device that belongs to a group.
SPARE, ROOT_DISK, DATA, GROUPED = "0.0.0013", "0.0.0014", "0.0.0015", "0.0.0016"
DEVICES = {SPARE: "0.0.1520", ROOT_DISK: "0.0.1521", DATA: "0.0.1522", GROUPED: "0.0.f5f0"}
DISKS = {SPARE: "dasda", ROOT_DISK: "dasdb", DATA: "dasdc"}
CALLED, CCW = f"css_0_0_0013 ({SPARE})", f"ccw_0_0_1520 ({DEVICES[SPARE]})"
OFFLINE, BIND = f"set {CCW} offline", f"bind {CALLED} to vfio_ccw, now bound to io_subchannel"
DEFINE = f"define driver vfio_ccw for {CALLED}"
ONLINE = f"/sys/devices/css0/{SPARE}/{DEVICES[SPARE]}/online"
MOUNTS = """\
21 1 94:5 / / rw,relatime shared:1 - ext4 /dev/dasdb rw
22 21 94:9 / /srv rw,relatime shared:2 - ext4 /dev/dasdc rw
"""


def channel(subchannel: str, number: int) -> list[dict[str, Any]]:
    """A subchannel with its CCW device, and the disk on that."""
    place = f"devices/css0/{subchannel}"
    device = f"{place}/{DEVICES[subchannel]}"
    group = {"links": {"group_device": "/sys/devices/qeth/0.0.f5f0"}} if subchannel == GROUPED else {}
    found: list[dict[str, Any]] = [
        {"path": place, "bus": "css", "attributes": {"modalias": "css:t0", "dev_busid": DEVICES[subchannel]}},
        {
            "path": device,
            "bus": "ccw",
            "of_driver": "io_subchannel",
            "attributes": {"online": {"text": 1, "store": ["0", "1"]}},
            **group,
        },
    ]
    if subchannel in DISKS:
        node = {"name": DISKS[subchannel], "major": 94, "minor": number}
        disk = {"path": f"{device}/block/{DISKS[subchannel]}", "class": "block", "of_driver": "io_subchannel"}
        found.append({**disk, "uevent": {"DEVTYPE": "disk", "DEVNAME": DISKS[subchannel]}, "node": node})
    return found


SCENARIO: dict[str, Any] = {
    "hostname": "lpar",
    "drivers": {"css": {"io_subchannel": {"ids": ["css:t0"]}, "vfio_ccw": {"ids": ["css:t0"], "loaded": False}}},
    "proc": {"1/mountinfo": MOUNTS},
    "devices": [
        {"path": "devices/css0"},
        {"path": "devices/qeth/0.0.f5f0", "bus": "ccwgroup", "attributes": {"online": 1}},
        *(each for number, subchannel in enumerate(DEVICES) for each in channel(subchannel, 1 + 4 * number)),
    ],
}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    host = start(SCENARIO)
    install(host)
    host.run(["modprobe", "vfio_ccw"])
    return host


def driver(host: Host, **wish: Any) -> dict[str, Any]:
    return host.done("driver", **{"device": f"ccw_{DEVICES[SPARE].replace('.', '_')}", **wish})


def test_a_disk_goes_offline_and_comes_back(host: Host) -> None:
    foretold = driver(host, driver="vfio", check_mode=True)
    made = driver(host, driver="vfio")
    assert foretold["plan"] == made["plan"] == [OFFLINE, BIND, DEFINE]
    assert bound(host, SPARE, "css") == ("vfio_ccw", "vfio_ccw\n")
    assert driver(host, driver="vfio")["plan"] == []
    assert host.run(["ls", f"/sys/devices/css0/{SPARE}/{DEVICES[SPARE]}"], check=False).returncode != 0
    host.reboot()
    restored = restore(host)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert bound(host, SPARE, "css")[0] == "vfio_ccw"
    driver(host, state="absent")
    assert bound(host, SPARE, "css") == ("io_subchannel", "(null)\n")
    assert host.run(["ls", ONLINE]).stdout.strip() == ONLINE


REFUSED = [
    (ROOT_DISK, f"/dev/{DISKS[ROOT_DISK]} is mounted on /: stop that first", True),
    (ROOT_DISK, f"/dev/{DISKS[ROOT_DISK]} is mounted on /: stop that first", False),
    (DATA, f"/dev/{DISKS[DATA]} is mounted on /srv: stop that first, or set force: true", False),
    (GROUPED, "its device ccw_0_0_f5f0 (0.0.f5f0) belongs to the group 0.0.f5f0: stop that first", True),
]


@pytest.mark.parametrize(("subchannel", "told", "force"), REFUSED)
def test_what_the_host_uses_stays_online(host: Host, subchannel: str, told: str, force: bool) -> None:
    name = f"css_{subchannel.replace('.', '_')}"
    assert told in host.failed("driver", device=name, driver="vfio_ccw", force=force)
    assert host.read(f"/sys/devices/css0/{subchannel}/{DEVICES[subchannel]}/online").strip() == "1"


@pytest.mark.parametrize(
    ("path", "errno", "told"),
    [
        ("*/online", "EBUSY", "the device is in use, or is being set online or offline at this moment"),
        ("*/driver_override", "EIO", "failed with EIO"),
        ("/sys/bus/css/drivers_probe", "ENODEV", "no driver takes this device"),
    ],
)
def test_a_fault_at_every_step_leaves_it_online(host: Host, path: str, errno: str, told: str) -> None:
    before = host.state()
    host.fault(path, op="write", errno=errno, nth=1)
    message = host.failed("driver", device="css_0_0_0013", driver="vfio_ccw")
    assert told in message
    assert "NOT undone" not in message
    host.clear_faults()
    assert (host.state(), host.read(ONLINE).strip()) == (before, "1")
    assert driver(host, driver="vfio_ccw")["changed"]


def test_a_device_that_comes_back_late(host: Host) -> None:
    driver(host, driver="vfio_ccw")
    host.fault(ONLINE, lag=1)
    driver(host, state="absent")
    assert host.read(ONLINE).strip() == "1"
    driver(host, driver="vfio_ccw")
    host.clear_faults()
    host.fault(ONLINE, lag=3600)
    done = host.done("driver", device="css_0_0_0013", state="absent", wait_timeout=1)
    assert f"its device {DEVICES[SPARE]} is not there: lscss" in warnings(done)[0]
