# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver module on subchannels whose CCW devices somebody uses: by disks and what is built on them, terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Host
from test_driver import bound

# By what is on them: swap, a volume group, a path of a multipath map and a tape behind an FCP adapter, a terminal that
# somebody may have open, the console, and a network interface of virtio.
SWAP, VOLUME, ADAPTER, TERMINAL, CONSOLE, CARD = (f"0.0.003{number}" for number in range(6))
DRIVERS = {SWAP: "dasd-eckd", VOLUME: "dasd-eckd", ADAPTER: "zfcp", TERMINAL: "3270", CONSOLE: "3215"}
MOUNTS = """\
21 1 0:5 / / rw,relatime shared:1 - tmpfs tmpfs rw
22 21 253:0 / /srv/lun rw,relatime shared:2 - ext4 /dev/mapper/mpatha rw
"""
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n/dev/dasda1 partition\t1048572\t0\t-2\n"
UNIT = "host0/rport-0:0-0/target0:0:0/0:0:0:0"


def device_of(subchannel: str) -> str:
    return subchannel.replace("0.0.00", "0.0.15")


def below(subchannel: str, path: str, **device: Any) -> dict[str, Any]:
    place = f"devices/css0/{subchannel}/{device_of(subchannel)}/{path}"
    return {"path": place, "of_driver": "io_subchannel", **device}


def disk(subchannel: str, path: str, name: str, minor: int, **more: Any) -> dict[str, Any]:
    node = {"name": name, "major": 94, "minor": minor}
    uevent = {"DEVTYPE": "partition" if "partition" in str(more) else "disk", "DEVNAME": name}
    return below(subchannel, path, **{"class": "block"}, uevent=uevent, node=node, **more)


def node(name: str, major: int, minor: int) -> dict[str, Any]:
    return {"name": name, "major": major, "minor": minor}


def channel(subchannel: str) -> Iterator[dict[str, Any]]:
    device = device_of(subchannel)
    yield {
        "path": f"devices/css0/{subchannel}",
        "bus": "css",
        "attributes": {"type": 0, "modalias": "css:t0", "dev_busid": device},
    }
    own = {"driver": DRIVERS[subchannel]} if subchannel in DRIVERS else {}
    online = {"online": {"text": 1, "store": ["0", "1"]}}
    yield {**below(subchannel, "", bus="ccw", attributes=online, **own), "path": f"devices/css0/{subchannel}/{device}"}


def stacked(name: str, minor: int, upon: str, uuid: str) -> dict[str, Any]:
    return {
        "path": f"devices/virtual/block/dm-{minor}",
        "class": "block",
        "slaves": [upon],
        "node": {"name": f"dm-{minor}", "major": 253, "minor": minor},
        "attributes": {"dm/name": name, "dm/uuid": uuid, "dm/suspended": 0},
        "uevent": {"DEVTYPE": "disk"},
    }


SCENARIO: dict[str, Any] = {
    "hostname": "lpar",
    "drivers": {"css": {"io_subchannel": {"ids": ["css:t0"]}, "vfio_ccw": {"ids": ["css:t0"]}}},
    "proc": {"1/mountinfo": MOUNTS, "swaps": SWAPS, "consoles": "ttyS0                -W- (EC p  )    4:64\n"},
    "network": {"addresses": {"enc1": ["192.0.2.7/24"]}},
    "devices": [
        {"path": "devices/css0"},
        *(each for name in (SWAP, VOLUME, ADAPTER, TERMINAL, CONSOLE, CARD) for each in channel(name)),
        disk(SWAP, "block/dasda", "dasda", 0),
        disk(SWAP, "block/dasda/dasda1", "dasda1", 1, attributes={"partition": 1}),
        disk(VOLUME, "block/dasdb", "dasdb", 4),
        disk(ADAPTER, f"{UNIT}/block/sda", "sda", 8),
        below(
            ADAPTER, f"{UNIT}/scsi_tape/nst0", **{"class": "scsi_tape"}, node={"name": "nst0", "major": 9, "minor": 128}
        ),
        below(
            TERMINAL, "3270/tty0.0.1533", **{"class": "3270"}, node={"name": "tty0.0.1533", "major": 227, "minor": 1}
        ),
        below(CARD, "virtio0", bus="virtio"),
        below(CARD, "virtio0/net/enc1", **{"class": "net"}),
        stacked("mpatha", 0, "sda", "mpath-3600507630affc0000000000000000a0"),
        stacked("data-images", 1, "dasdb", "LVM-Zq1WcK0sYlG4nC8bT2vRmE6uHxJ3pD5aQ7oL9iNkFtBwUyXgVhSjMdIfOePrAzCq"),
    ],
}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    return start(SCENARIO)


def refused(host: Host, subchannel: str, force: bool = False) -> str:
    device = f"css_{subchannel.replace('.', '_')}"
    return host.failed("driver", device=device, driver="vfio_ccw", force=force, persistent=False)


def taken(host: Host, subchannel: str, force: bool = False) -> bool:
    device = f"css_{subchannel.replace('.', '_')}"
    host.done("driver", device=device, driver="vfio_ccw", force=force, persistent=False)
    return bound(host, subchannel, "css")[0] == "vfio_ccw"


FINAL = [
    (SWAP, "/dev/dasda1 is used for swap"),
    (VOLUME, "/dev/dasdb is held by the logical volume data-images (dm-1)"),
    (ADAPTER, "/dev/sda is held by the multipath map mpatha (dm-0)"),
    (CONSOLE, "its device ccw_0_0_1534 (0.0.1534) is a terminal of the console"),
]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("subchannel", "told"), FINAL)
def test_what_the_host_stands_on_is_never_taken(host: Host, subchannel: str, told: str, force: bool) -> None:
    message = refused(host, subchannel, force)
    assert f"is in use, {told}: stop that first" in message
    assert "force: true" not in message
    assert host.read(f"/sys/devices/css0/{subchannel}/{device_of(subchannel)}/online") == "1\n"


def test_what_is_the_users_to_give_up_is_taken_by_force(host: Host) -> None:
    told = (
        "its interface enc1 has the address 192.0.2.7: stop that first, or set force: true to take it away all the same"
    )
    assert told in refused(host, CARD)
    assert taken(host, CARD, force=True)


@pytest.mark.parametrize(("subchannel", "name"), [(ADAPTER, "nst0"), (TERMINAL, "tty0.0.1533")])
def test_a_tape_or_a_terminal_that_is_open(host: Host, subchannel: str, name: str) -> None:
    host.unmap("mpatha")
    host.run(["sh", "-c", f": > /dev/{name}"])
    with host.hold(f"/dev/{name}", name="agetty") as pid:
        assert f"/dev/{name} is open by process {pid} (agetty)" in refused(host, subchannel)
    assert taken(host, subchannel)


@pytest.mark.parametrize(
    ("consoles", "free"), [("tty3270 -W- (EC p ) 4:64\n", False), ("ttyS0 -W-\n", True), ("", True)]
)
def test_a_terminal_that_may_be_the_console(start: Callable[..., Host], consoles: str, free: bool) -> None:
    host = start({**SCENARIO, "proc": {**SCENARIO["proc"], "consoles": consoles}})
    if free:
        assert taken(host, TERMINAL)
    else:
        assert "(0.0.1533) is a terminal of the console" in refused(host, TERMINAL, force=True)
