# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a driver binding: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.binding import Target
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.pci_users import Use
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.driver.device import described, plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.driver.seen import (
    Member,
    Observation,
    Wish,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.driverctl import STORE, Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

ADDRESS, BESIDE = "0000:5e:00.0", "0000:5e:00.1"
CALLED, CALLED_BESIDE = f"pci_0000_5e_00_0 ({ADDRESS})", f"pci_0000_5e_00_1 ({BESIDE})"
VFIO, OWN = "vfio-pci", "nvgrace_gpu_vfio_pci"
DAMAGED = DamagedDefinition(f"{STORE}/pci-{ADDRESS}", "it does not hold the name of a driver")
LOAD = f"load module {VFIO}"
BIND = f"bind {CALLED} to {VFIO}, now bound to nvme"
BIND_BESIDE = f"bind {CALLED_BESIDE} to {VFIO}, now bound to nvme"
DEFINE, DEFINE_BESIDE = (f"define driver {VFIO} for {name}" for name in (CALLED, CALLED_BESIDE))
UNDEFINE = f"undefine driver {VFIO} for {CALLED}"
RELEASE = f"give {CALLED} back to the kernel's choice of a driver, instead of {VFIO}"
REPAIR = f"remove the damaged definition of the driver for {CALLED}, {DAMAGED.path}"
GUEST = Holder("/dev/vfio/41", "qemu-system-x86", pid=7, domain="web")
HELD = Use(str(GUEST), forcible=False, holder=GUEST)
ROUTE = Use("its interface eth0 has the default route", forcible=True)


def wished(**options: Any) -> Wish:
    return Wish.checked(**{"device": ADDRESS, **options})


def member(address: str = ADDRESS, driver: str | None = "nvme", override: str | None = None, **more: Any) -> Member:
    return Member(Target("pci", address, f"/sys/devices/{address}"), driver, override, **more)


def kept(driver: str = VFIO, address: str = ADDRESS) -> Definition:
    return Definition("pci", address, driver)


def seen(*members: Member, **more: Any) -> Observation:
    """The device with what is kept of it; the wish names vfio-pci."""
    own = members[0].definition if members else None
    facts = {"group": "41", "driver": VFIO, "definition": own, "advice": "switch it on", **more}
    return Observation("pci", ADDRESS, members, **facts)


FREE, BOUND = member(), member(driver=VFIO, override=VFIO, definition=kept())
OTHER, OTHER_BOUND, IDLE = member(BESIDE), member(BESIDE, VFIO, VFIO), member(BESIDE, None)

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("the kernel has chosen", wished(driver=VFIO), seen(FREE), [BIND, DEFINE]),
    ("its module is not loaded", wished(driver=VFIO), seen(FREE, unloaded={VFIO: None}), [LOAD, BIND, DEFINE]),
    ("all is as it is to be", wished(driver=VFIO), seen(BOUND), []),
    ("nothing is said, and it is defined", wished(), seen(replace(FREE, definition=kept())), [BIND]),
    ("nothing is said, and it is bound", wished(), seen(member(driver=VFIO, override=VFIO)), [DEFINE]),
    ("for now", wished(driver=VFIO, persistent=False), seen(FREE), [BIND]),
    (
        "bound by its product, without an override",
        wished(driver=VFIO),
        seen(member(driver=VFIO)),
        [f"bind {CALLED} to {VFIO}", DEFINE],
    ),
    ("without a driver", wished(driver=VFIO), seen(member(driver=None)), [f"bind {CALLED} to {VFIO}", DEFINE]),
    (
        "no driver is wished",
        wished(driver="none"),
        seen(FREE, driver="none"),
        [f"unbind {CALLED} for good, now bound to nvme", f"define driver none for {CALLED}"],
    ),
    (
        "no driver is wished, and it has none, and none is kept from it",
        wished(driver="none"),
        seen(member(driver=None), driver="none"),
        [f"unbind {CALLED} for good", f"define driver none for {CALLED}"],
    ),
    (
        "another one is defined",
        wished(driver=VFIO),
        seen(member(definition=kept("uio_pci_generic"))),
        [BIND, f"change the definition of driver {VFIO} for {CALLED}"],
    ),
    (
        "its whole group",
        wished(driver=VFIO, group=True),
        seen(FREE, OTHER),
        [BIND, BIND_BESIDE, DEFINE, DEFINE_BESIDE],
    ),
    (
        "its whole group, in which one has a driver of guests of its own",
        wished(driver="vfio", group=True),
        seen(BOUND, replace(OTHER, own_driver=OWN), unloaded={OWN: None, "other": ""}),
        [f"load module {OWN}", BIND_BESIDE.replace(VFIO, OWN), DEFINE_BESIDE.replace(VFIO, OWN)],
    ),
    (
        "the same, only defined",
        wished(driver="vfio", group=True, state="inactive"),
        seen(FREE, replace(OTHER, own_driver=OWN)),
        [DEFINE, DEFINE_BESIDE.replace(VFIO, OWN)],
    ),
    ("one of the group is bound", wished(driver=VFIO, group=True), seen(BOUND, OTHER), [BIND_BESIDE, DEFINE_BESIDE]),
    (
        "others of its group have no driver",
        wished(driver=VFIO),
        seen(FREE, others=(member(BESIDE, None),)),
        [BIND, DEFINE],
    ),
    ("others of its group are bound", wished(driver=VFIO), seen(FREE, others=(OTHER_BOUND,)), [BIND, DEFINE]),
    ("the host has others of its group", wished(driver=VFIO, force=True), seen(FREE, others=(OTHER,)), [BIND, DEFINE]),
    ("it is in use, and forced", wished(driver=VFIO, force=True), seen(replace(FREE, uses=(ROUTE,))), [BIND, DEFINE]),
    ("only defined", wished(driver=VFIO, state="inactive"), seen(FREE), [DEFINE]),
    ("only defined, and not there", wished(driver=VFIO, state="inactive"), seen(), [DEFINE]),
    ("no longer bound", wished(state="inactive"), seen(BOUND), [RELEASE]),
    ("no more", wished(state="absent"), seen(BOUND), [UNDEFINE, RELEASE]),
    ("no more, and it is not", wished(state="absent"), seen(FREE), []),
    ("no more, and it is not there", wished(state="absent"), seen(definition=kept()), [UNDEFINE]),
    ("no more, damaged as it is", wished(state="absent"), seen(replace(FREE, damaged=DAMAGED)), [REPAIR]),
]


@pytest.mark.parametrize(("wish", "before", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: Wish, before: Observation, steps: list[str]) -> None:
    planned = plan(wish, before)
    assert describe(planned.steps) == steps
    assert plan(wish, planned.then).steps == ()


def test_one_that_joins_the_group_meanwhile() -> None:
    wish, before = wished(state="absent", group=True), seen(FREE)
    told = described(wish, before, plan(wish, before), seen(FREE, member(BESIDE, VFIO)))
    assert ([each["address"] for each in told["group"]], told["warnings"]) == ([BESIDE], [])


REFUSED: list[tuple[str, Wish, Observation, type[Exception], str]] = [
    ("nothing names a driver", wished(), seen(FREE, driver=None), BadInput, "driver is required: the device is not"),
    (
        "it is not there",
        wished(driver=VFIO),
        seen(),
        BadInput,
        "device: 'pci_0000_5e_00_0 (0000:5e:00.0)' cannot be used: there is no",
    ),
    (
        "it is not there, and no driver follows",
        wished(driver="vfio", state="inactive"),
        seen(),
        BadInput,
        "driver: 'vfio' cannot be used: the device is not there, so the driver has to be named",
    ),
    (
        "no such driver",
        wished(driver="vifo-pci"),
        seen(FREE, driver="vifo-pci", unloaded={"vifo-pci": ""}),
        BadInput,
        "driver: 'vifo-pci' cannot be used: no driver for pci has this name, and no module could be loaded",
    ),
    (
        "no such driver, for one of its group",
        wished(driver="vfio", group=True),
        seen(BOUND, replace(OTHER, own_driver=OWN), unloaded={OWN: "; did you mean it?"}),
        BadInput,
        f"driver: '{OWN}' cannot be used: no driver for pci has this name, and no module could be loaded; did you",
    ),
    (
        "a bridge",
        wished(driver=VFIO, force=True),
        seen(replace(FREE, bridge=True)),
        BadInput,
        "is a bridge or a root port",
    ),
    (
        "a function of NVIDIA's vGPU driver",
        wished(driver=VFIO, force=True),
        seen(member(driver="nvidia", vgpus=True)),
        BadInput,
        "it stays bound to nvidia",
    ),
    (
        "the same, and a variant",
        wished(driver="nvgrace_gpu_vfio_pci", force=True),
        seen(member(driver="nvidia", vgpus=True), driver="nvgrace_gpu_vfio_pci"),
        BadInput,
        "it stays bound to nvidia",
    ),
    ("no IOMMU", wished(driver=VFIO), seen(FREE, group=None), NodedevError, "no guest can have it: switch it on"),
    (
        "the host has others of its group",
        wished(driver=VFIO),
        seen(FREE, others=(OTHER,)),
        InUse,
        f"the host uses others of IOMMU group 41, so that no guest can have {CALLED}: {CALLED_BESIDE} with nvme. Set"
        " group: true to bind them all, or force: true for this one alone",
    ),
    (
        "in use",
        wished(driver=VFIO),
        seen(replace(FREE, uses=(ROUTE,))),
        InUse,
        f"{CALLED} is in use, its interface eth0 has the default route: stop that first, or set force: true to take it"
        " away all the same",
    ),
    (
        "held by a guest",
        wished(state="absent", force=True),
        seen(replace(BOUND, uses=(ROUTE, HELD))),
        InUse,
        f"{CALLED} is in use, /dev/vfio/41 is open by process 7 (qemu-system-x86) of domain web: stop that first",
    ),
    (
        "one of its group is held",
        wished(driver=VFIO, group=True, force=True),
        seen(FREE, replace(OTHER, uses=(HELD,))),
        InUse,
        f"{CALLED_BESIDE} is in use, /dev/vfio/41 is open by",
    ),
    ("damaged", wished(driver=VFIO), seen(replace(FREE, damaged=DAMAGED)), DamagedDefinition, str(DAMAGED)),
    ("damaged, and not there", wished(driver=VFIO), seen(damaged=DAMAGED), DamagedDefinition, str(DAMAGED)),
]


@pytest.mark.parametrize(
    ("wish", "before", "error", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refusal(wish: Wish, before: Observation, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as refused:
        plan(wish, before)
    assert text in str(refused.value)


def test_the_holder_of_a_refusal_is_told_as_data() -> None:
    with pytest.raises(InUse) as refused:
        plan(wished(state="absent"), seen(replace(BOUND, uses=(HELD,))))
    assert refused.value.holders == [GUEST.document()]


NAMES = [
    ("pci_0000_5e_00_0", "pci", ADDRESS),
    ("0000:5e:00.0", "pci", ADDRESS),
    ("00000000:5E:00.0", "pci", ADDRESS),
    ("5e:00.0", "pci", ADDRESS),
    ("css_0_0_0013", "css", "0.0.0013"),
    ("ccw_0_0_1520", "ccw", "0.0.1520"),
]


@pytest.mark.parametrize(("device", "bus", "address"), NAMES)
def test_names_of_devices(device: str, bus: str, address: str) -> None:
    wish = Wish.checked(device=device, driver=VFIO)
    assert (wish.bus, wish.address) == (bus, address)


BAD = [
    ({"device": ""}, "device: '' cannot be used: a device is named as pci_0000_3d_00_0"),
    ({"device": "../0000:5e:00.0"}, "a device is named as"),
    ({"device": "pci_0000_5e_20_0"}, "a device is named as"),
    ({"device": "0.0.0013"}, "a subchannel is named css_0_0_0013, and a CCW device ccw_0_0_0013"),
    ({"device": ADDRESS, "driver": ""}, "driver: '' cannot be used: a driver's name has 1 to 64 letters"),
    ({"device": ADDRESS, "driver": "../x"}, "a driver's name has"),
    ({"device": ADDRESS, "driver": "a\nb"}, "a driver's name has"),
    ({"device": ADDRESS, "driver": ".."}, "a driver's name has"),
    ({"device": ADDRESS, "wait_timeout": -1}, "wait_timeout: -1 cannot be used"),
    ({"device": ADDRESS, "state": "inactive", "persistent": False}, "persistent: False cannot be used"),
]


@pytest.mark.parametrize(("options", "text"), BAD)
def test_bad_input(options: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInput) as refused:
        Wish.checked(**options)
    assert text in str(refused.value)
