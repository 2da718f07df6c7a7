# SPDX-License-Identifier: GPL-3.0-or-later
"""Mediated devices on subchannels of a mainframe, by whatever name or number a person gives of the parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import OTHER, UUID, Host, ids
from test_restore import install, restore

TYPE = "vfio_ccw-io"
# Subchannels by their devices. Two are for guests, and one of them has the number of another one's device; one is the
# host's, one is not for input and output.
DISK, HIGH, LOW, HOSTS, CHSC = "0.0.0013", "0.0.0009", "0.0.0002", "0.0.0014", "0.0.0020"
DEVICES = {DISK: "0.0.f816", HIGH: "0.0.019d", LOW: "0.0.0009", HOSTS: "0.0.0817"}
GUESTS = (DISK, HIGH)
DOUBT = (
    "it is a subchannel, and also the number of the device on css_0_0_0002 (0.0.0002): name css_0_0_0009 or"
    " ccw_0_0_0009"
)
BIND = (
    "its subchannel css_0_0_0014 (0.0.0014) is bound to io_subchannel: have it bound to vfio_ccw first, by the module"
    " hostdev.nodedev.driver with device: css_0_0_0014 and driver: vfio_ccw"
)


def channel(subchannel: str) -> list[dict[str, Any]]:
    device, driver = DEVICES[subchannel], "vfio_ccw" if subchannel in GUESTS else "io_subchannel"
    parent = {
        "of_driver": "vfio_ccw",
        "units": 1,
        "driver": "vfio_ccw_mdev",
        "full_errno": "EUSERS",
        "types": {TYPE: {"name": "I/O subchannel (Non-QDIO)", "device_api": "vfio-ccw"}},
    }
    return [
        {
            "path": f"devices/css0/{subchannel}",
            "bus": "css",
            "driver": driver,
            "attributes": {"type": 0, "modalias": "css:t0", "dev_busid": device},
            "behaviour": {"mdev_parent": parent},
        },
        {
            "path": f"devices/css0/{subchannel}/{device}",
            "bus": "ccw",
            "of_driver": "io_subchannel",
            "attributes": {"online": {"text": 0, "store": ["0", "1"]}},
        },
    ]


SCENARIO: dict[str, Any] = {
    "hostname": "lpar",
    "drivers": {"css": {"io_subchannel": {"ids": ["css:t0"]}, "vfio_ccw": {"ids": ["css:t0"]}}},
    "devices": [
        {"path": "devices/css0"},
        *(each for subchannel in DEVICES for each in channel(subchannel)),
        {
            "path": f"devices/css0/{CHSC}",
            "bus": "css",
            "attributes": {"type": 1, "dev_busid": "none"},
        },
    ],
}


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    return start(SCENARIO)


def mdev(host: Host, **wish: Any) -> dict[str, Any]:
    made: dict[str, Any] = host.done("mdev", **{"uuid": UUID, "type": TYPE, "parent": DISK, **wish})
    return made


def pool(host: Host, **wish: Any) -> dict[str, Any]:
    made: dict[str, Any] = host.done("mdev_pool", **{"name": "x", "type": TYPE, "count": 1, **wish})
    return made


NAMES = (DISK, "css_0_0_0013", "0.0.f816", "0.0.F816", "ccw_0_0_f816", "f816", "F816")


@pytest.mark.parametrize("parent", NAMES)
def test_each_name_and_number_is_of_the_same_parent(host: Host, parent: str) -> None:
    made = mdev(host, parent=parent)
    assert (made["mdev"]["parent"], made["mdev"]["parent_addr"]) == ("css_0_0_0013", DISK)
    for other in NAMES:
        assert not mdev(host, parent=other)["changed"]
    assert mdev(host, parent=parent, state="absent")["changed"]
    assert not mdev(host, state="absent")["changed"]


@pytest.mark.parametrize("key", ["names", "addresses"])
@pytest.mark.parametrize("parent", NAMES)
def test_each_name_and_number_chooses_the_same_parent(host: Host, key: str, parent: str) -> None:
    made = pool(host, parents={key: [parent]})
    assert [each["parent"] for each in made["instances"]] == ["css_0_0_0013"]
    assert not pool(host, parents={key: [parent]})["changed"]
    assert [*made["capacity"]] == ["css_0_0_0013"]


def test_a_pool_has_one_on_each(host: Host) -> None:
    parents = {"names": ["ccw_0_0_f816", "css_0_0_0009"]}
    told = host.failed("mdev_pool", name="x", type=TYPE, count=3, parents=parents)
    assert f"free are css_0_0_0009 ({HIGH}): 1, css_0_0_0013 ({DISK}): 1" in told
    made = pool(host, count="max", parents=parents)
    assert sorted(each["parent_addr"] for each in made["instances"]) == [HIGH, DISK]
    assert {each[TYPE]["free"] for each in made["capacity"].values()} == {0}
    assert pool(host, count=1, parents=parents)["changed"]


def test_a_number_that_may_be_two_parents(host: Host) -> None:
    """The device 0009 is not that on subchannel 0009: a guest would get a disk of somebody else's."""
    assert host.failed("mdev", uuid=UUID, type=TYPE, parent=HIGH) == f"parent: '{HIGH}' cannot be used: {DOUBT}"
    for key in ("names", "addresses"):
        told = host.failed("mdev_pool", name="x", type=TYPE, count=1, parents={key: [HIGH]})
        assert told.startswith(f"parents: '{HIGH}' cannot be used: {DOUBT}")
    assert mdev(host, parent="css_0_0_0009")["mdev"]["parent_addr"] == HIGH
    # What is there says which of them was meant.
    assert not mdev(host, parent=HIGH)["changed"]
    assert mdev(host, parent=HIGH, state="inactive")["changed"]
    assert mdev(host, parent=HIGH, state="absent")["changed"]


def test_a_number_of_two_parents_is_restored(host: Host) -> None:
    install(host)
    mdev(host, parent="ccw_0_0_019d")
    host.reboot()
    done = restore(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert not mdev(host, parent=HIGH)["changed"]


@pytest.mark.parametrize(
    ("parent", "told"),
    [
        ("css_0_0_0014", BIND),
        (HOSTS, BIND),
        ("ccw_0_0_0817", BIND),
        ("0817", BIND),
        (CHSC, f"its subchannel css_0_0_0020 ({CHSC}) is of type 1, and vfio_ccw takes those of type 0 alone"),
        ("0bad", "there is no such device; where the kernel was told to ignore it, cio_ignore -r 0.0.0bad has it come"),
        ("css_0_0_0bad", "there is no such device; the registered"),
        ("11", "there is no such device; YAML takes digits after a 0 for an octal number: quote them"),
    ],
)
def test_a_parent_that_is_not_for_guests(host: Host, parent: str, told: str) -> None:
    assert told in host.failed("mdev", uuid=UUID, type=TYPE, parent=parent)
    for key in ("names", "addresses"):
        assert told in host.failed("mdev_pool", name="x", type=TYPE, count=1, parents={key: [parent]})


def test_a_subchannel_without_a_driver(host: Host) -> None:
    host.write(f"/sys/bus/css/devices/{HOSTS}/driver/unbind", HOSTS)
    assert "css_0_0_0014 (0.0.0014) is without a driver: have" in host.failed("mdev", uuid=UUID, parent=HOSTS)


def test_a_subchannel_has_one(host: Host) -> None:
    mdev(host)
    told = host.failed("mdev", uuid=OTHER, type=TYPE, parent="f816")
    assert told == (
        f"parent: 'css_0_0_0013 ({DISK})' cannot be used: a subchannel carries one mediated device, and this one has"
        f" {UUID} already: name that as 'uuid', remove it first, or choose another subchannel"
    )
    # A wish for the same one that is defined elsewhere is another matter.
    assert "set replace: true" in host.failed("mdev", uuid=UUID, type=TYPE, parent="css_0_0_0009")
    assert mdev(host, parent="css_0_0_0009", replace=True)["mdev"]["parent_addr"] == HIGH


ONE = "a subchannel carries one mediated device, and this one has it already: use that, or remove it first"


@pytest.mark.parametrize(
    ("errno", "told"),
    [
        ("EUSERS", f"no room is left on css_0_0_0013 ({DISK}): "),
        ("EUSERS", ONE),
        ("EPERM", ONE),
        ("ENODEV", "the subchannel does not work, or is being taken from vfio_ccw: lscss and the kernel log say more"),
        ("EINVAL", "vfio_ccw does not take the subchannel as it is now: the kernel log says more"),
    ],
)
def test_what_the_kernel_says_against_it(host: Host, errno: str, told: str) -> None:
    """Others were faster: what was seen is not true any more."""
    before = host.state()
    host.fault("*/create", op="write", errno=errno)
    message = host.failed("mdev", uuid=UUID, type=TYPE, parent=DISK)
    assert told in message
    assert f"failed with {errno}" in message
    assert host.state() == before
    pool_told = host.failed("mdev_pool", name="x", type=TYPE, count=1, parents={"names": ["css_0_0_0013"]})
    assert told in pool_told or (errno == "EUSERS" and f"free are css_0_0_0013 ({DISK}): 0" in pool_told)


def test_two_pools_do_not_share_a_subchannel(host: Host) -> None:
    first = pool(host, parents={"names": ["f816"]})
    told = host.failed("mdev_pool", name="y", type=TYPE, count=1, parents={"addresses": ["0.0.f816"]})
    assert f"free are css_0_0_0013 ({DISK}): 0" in told
    assert ids(pool(host, parents={"names": ["f816"]})) == ids(first)


def test_a_subchannel_that_is_gone_is_still_the_pools(host: Host) -> None:
    """Nobody can tell any more which device was on it."""
    pool(host, count=2, parents={"names": ["f816", "css_0_0_0009"]})
    host.unplug(DISK)
    kept = pool(host, count=2, parents={"names": ["f816", "css_0_0_0009"]}, state="inactive")
    assert [each["parent_addr"] for each in kept["instances"]].count(DISK) == 1


def test_a_device_whose_subchannel_is_lost(start: Callable[..., Host]) -> None:
    lost = {"path": "devices/css0/defunct/0.0.0900", "bus": "ccw", "attributes": {"online": 0}}
    host = start({**SCENARIO, "devices": [*SCENARIO["devices"], {"path": "devices/css0/defunct"}, lost]})
    assert "there is no such device" in host.failed("driver", device="ccw_0_0_0900", driver="vfio_ccw")
    assert "there is no such device" in host.failed("mdev", uuid=UUID, type=TYPE, parent="0900")


@pytest.mark.parametrize("wish", [{"state": "absent"}, {"driver": "io_subchannel"}, {"driver": "none"}])
def test_what_a_guest_has_is_not_given_back(host: Host, wish: dict[str, Any]) -> None:
    host.write(f"/sys/bus/css/devices/{DISK}/driver_override", "vfio_ccw")
    mdev(host, persistent=False)
    carried = f"css_0_0_0013 ({DISK}) is in use, it carries the mediated device {UUID}: stop that first, or set force"
    assert carried in host.failed("driver", device="css_0_0_0013", **wish)
    with host.hold(UUID) as pid:
        told = host.failed("driver", device="css_0_0_0013", force=True, **wish)
        assert f"its mediated device {UUID}: " in told
        assert f"process {pid} (simhost-guest): stop that first" in told
    assert host.done("driver", device="css_0_0_0013", force=True, **wish)["changed"]
    assert host.run(["ls", "/sys/bus/mdev/devices"]).stdout == ""


def test_a_binding_by_the_number_alone(host: Host) -> None:
    made = host.done("driver", device="0817", driver="vfio")
    assert made["device"]["address"] == HOSTS
    assert mdev(host, parent="0817")["mdev"]["parent_addr"] == HOSTS
