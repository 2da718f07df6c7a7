# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices and the types they offer, as the kernel has them.

Follows the kernel's Documentation/driver-api/vfio-mediated-device.rst: a registered parent has a link in
/sys/class/mdev_bus, by the name that mdevctl calls it too, and a folder for each type in mdev_supported_types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..grammar import channels
from ..names import called, device_name, named
from . import subchannels, sysfs
from .numbers import integer
from .oddities import Oddities

BUS = "/sys/class/mdev_bus"
PCI = "/sys/bus/pci/devices"
MOST = re.compile(r"\bmax_instance=([0-9]+)\b")
FRAMEBUFFER = re.compile(r"\bframebuffer=([0-9]+)M\b")
# The parent of devices that have crypto queues, their type, and the bus that queues are on.
MATRIX, CRYPTO, AP = "matrix", "vfio_ap-passthrough", "ap"
# What the kernel says of a device that is near to no memory in particular.
NO_NODE = -1
# Digits of a device number of a mainframe.
NUMBER = 4

Types = dict[str, dict[str, Any]]


def addresses() -> list[str]:
    """The kernel's names of all registered parents, sorted."""
    return sysfs.names(BUS)


def paths() -> dict[str, str]:
    """The device folders of all registered parents, by the kernel's names."""
    found = {each: path_of(each) for each in addresses()}
    return {address: path for address, path in found.items() if path is not None}


def path_of(address: str) -> str | None:
    """The device folder of a registered parent; None where it is not registered."""
    return sysfs.target(f"{BUS}/{address}")


def late() -> list[str]:
    """The functions that NVIDIA's driver has and of which nothing tells yet how vGPUs are made: that comes later."""
    # Here, so that who finds a parent does not wait for its import.
    from . import vgpu_cards

    return [
        each
        for each in sysfs.names(PCI)
        if sysfs.exists(f"{PCI}/{each}/physfn")
        and sysfs.link_name(f"{PCI}/{each}/driver") == vgpu_cards.DRIVER
        and not sysfs.exists(f"{BUS}/{each}")
        and not sysfs.exists(f"{PCI}/{each}/{vgpu_cards.VENDORS_OWN}")
    ]


def device_exists(address: str) -> bool:
    """Whether the kernel has a device of this name on some bus or in some class, be it registered or not."""
    places = [f"bus/{bus}/devices" for bus in sysfs.entries(f"{sysfs.SYS}/bus")]
    places += [f"class/{name}" for name in sysfs.entries(f"{sysfs.SYS}/class")]
    # The AP bus is a device of its own, on no bus.
    return any(sysfs.exists(f"{sysfs.SYS}/{place}/{address}") for place in (*places, "devices"))


def name_of(path: str) -> str:
    """libvirt's name of the parent in this folder."""
    return device_name(sysfs.link_name(f"{path}/subsystem") or "", os.path.basename(path))


def card_of(address: str) -> str:
    """What shares its capacity: a virtual function's physical function, else the parent itself."""
    return sysfs.link_name(f"{BUS}/{address}/physfn") or address


def kinds(path: str) -> list[str]:
    """The kernel ids of the types that the parent in this folder offers, sorted."""
    return sysfs.names(f"{path}/mdev_supported_types")


def title(path: str, kind: str, oddities: Oddities) -> str | None:
    """The vendor's name of a type; None where it has none, or does not tell."""
    return oddities.text(f"{path}/mdev_supported_types/{kind}/name")


def titles(path: str, oddities: Oddities) -> dict[str, str | None]:
    """The vendor's names of the types that the parent in this folder offers, by id."""
    return {kind: title(path, kind, oddities) for kind in kinds(path)}


def free(path: str, kind: str, oddities: Oddities) -> int | None:
    """How many more instances of a type the parent says it can take; None where it says nothing that is a number."""
    return oddities.number(f"{path}/mdev_supported_types/{kind}/available_instances")


def most_on_card(path: str, kind: str, oddities: Oddities) -> int | None:
    """How many instances of a type the whole card takes, over all its virtual functions; None where it says nothing.

    NVIDIA's description has it as max_instance. Each virtual function says 1 free until the card's memory is gone, so
    without it their sum promises too much.
    """
    return most_of(oddities.text(f"{path}/mdev_supported_types/{kind}/description"))


def most_of(description: str | None) -> int | None:
    """The same by the type's description, None where it has none."""
    match = MOST.search(description or "")
    return integer(match[1], 10) if match else None


def framebuffer_of(description: str | None) -> int | None:
    """The memory that an instance takes, in MiB, by the description of its type; None where that does not tell."""
    match = FRAMEBUFFER.search(description or "")
    return integer(match[1], 10) if match else None


def types_of(path: str, oddities: Oddities) -> Types:
    """The types by kernel id: name, device_api, available_instances, description, instances.

    A key is absent where the kernel has no such file, as mtty has no description, and where what it has makes no sense;
    ``instances`` is always there. ``available_instances`` is advisory: on cards whose instances share memory, another
    type's create lowers it.
    """
    return {kind: _type(f"{path}/mdev_supported_types/{kind}", oddities) for kind in kinds(path)}


def _type(folder: str, oddities: Oddities) -> dict[str, Any]:
    facts = {
        "name": oddities.text(f"{folder}/name"),
        "device_api": oddities.text(f"{folder}/device_api"),
        "available_instances": oddities.number(f"{folder}/available_instances"),
        "description": oddities.text(f"{folder}/description"),
        "instances": oddities.attempt(partial(sysfs.names, f"{folder}/devices")) or [],
    }
    return {key: value for key, value in facts.items() if value is not None}


def describe(address: str, path: str, oddities: Oddities) -> dict[str, Any]:
    """All but its types: name, address, path; and where it has them driver, vendor, product, numa_node, iommu_group."""
    # Here, so that none but the modules that tell of parents wait for its import.
    from . import pci_ids

    facts: dict[str, Any] = {"name": name_of(path), "address": address, "path": path}
    facts["driver"] = oddities.link_name(f"{path}/driver")
    if oddities.link_name(f"{path}/subsystem") == "pci":
        facts.update(pci_ids.identity(path, oddities))
    node = oddities.number(f"{path}/numa_node", lowest=NO_NODE)
    facts["numa_node"] = None if node == NO_NODE else node
    group = oddities.link_name(f"{path}/iommu_group")
    facts["iommu_group"] = oddities.numbered(f"{path}/iommu_group", group)
    return {key: value for key, value in facts.items() if value is not None}


def listed(registered: Sequence[str], instead: Sequence[str]) -> str:
    """What a message says of the parents that there are, where the one that is meant is not one of them.

    ``instead`` is what why_none() or why_not() has found.
    """
    if registered:
        return "; ".join([*instead, f"the registered parents are: {', '.join(map(called, registered))}"])
    return "; ".join(["no device on this host offers mediated devices", *instead])


def offered(offers: Mapping[str, Mapping[str, str | None]], wanted: str | None = None) -> str:
    """The types that parents offer, for a message that none of them is the one that is wanted.

    ``offers`` gives by parent the vendors' names of its types by their ids. Parents with the same types are told of
    together, and a type that is ``wanted`` but for its spelling is suggested.
    """
    parents: dict[tuple[tuple[str, str | None], ...], list[str]] = {}
    for address, types in offers.items():
        parents.setdefault(tuple(types.items()), []).append(address)
    names = dict.fromkeys(name for pairs in parents for pair in pairs for name in pair if name is not None)
    meant = [name for name in names if wanted is not None and _plain(name) == _plain(wanted)]
    told = [f"did you mean {meant[0]!r}?"] if meant else []
    for pairs, addresses in parents.items():
        listed = ", ".join(f"{id} ({title})" if title else id for id, title in pairs)
        told.append(f"{named(addresses)} {'has' if len(addresses) == 1 else 'have'} the types: {listed or 'none'}")
    return "; ".join(told)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def why_not(asked: str) -> str:
    """What a device is that is asked for by its name or address, and is not registered as a parent."""
    channel = subchannels.why_no_parent(asked)
    if channel is not None:
        return channel
    address = _address(asked)
    functions = [each for each in addresses() if card_of(each) == address]
    if functions:
        return f"its virtual functions are the parents: {named(functions)}"
    found = subchannels.meant(asked)
    if not found and not device_exists(address):
        return f"there is no such device{_hint(asked)}"
    folder = f"{subchannels.DEVICES}/{next(iter(found.values()))}" if found else f"{PCI}/{address}"
    driver = sysfs.link_name(f"{folder}/driver")
    return f"it is there{f' with driver {driver}' if driver else ''}, and offers no mediated devices"


def _hint(asked: str) -> str:
    """What may have become of a name that is that of no device."""
    if asked.isdecimal() and len(asked) < NUMBER:
        return "; YAML takes digits after a 0 for an octal number: quote them"
    device = channels(asked).get("ccw")
    if device is None or not sysfs.exists(subchannels.DEVICES):
        return ""
    return f"; where the kernel was told to ignore it, cio_ignore -r {device} has it come"


def may_have_functions(asked: str) -> bool:
    """Whether a device, by its name or address, is a card that can have virtual functions, now or later."""
    return sysfs.exists(f"{PCI}/{_address(asked)}/sriov_totalvfs")


def _address(asked: str) -> str:
    """The address of a PCI function or a subchannel that is named by either; whatever is neither, as it is."""
    buses = (("pci", PCI), ("css", subchannels.DEVICES))
    every = ((each, device_name(bus, each)) for bus, place in buses for each in sysfs.names(place))
    return next((address for address, name in every if asked in (address, name)), asked)


def why_none() -> list[str]:
    """What is there of what could offer mediated devices, each with why it does not; for a host where nothing does.

    What of it cannot be read is told too.
    """
    # Here, so that no run waits for their import but one that finds no parent.
    from . import vgpu_cards, vgpu_readiness

    oddities = Oddities()
    cards = vgpu_cards.cards(oddities)
    found = vgpu_readiness.gpus(
        {card.address: _by_functions(card.function.driver, vgpu_cards.VENDORS_OWN) for card in cards if card.framework}
    )
    found += vgpu_readiness.missing(cards, vgpu_readiness.driver_of_host())
    return [*found, *_of_mainframes(), *oddities.warnings] or ["no GPU, subchannel or crypto adapter is there"]


def _by_functions(driver: str | None, file: str) -> str:
    """How a GPU makes vGPUs, which are not mediated devices, as none of these are there."""
    return f"whose driver {driver} makes vGPUs by {file} of virtual functions, not by mediated devices"


def _of_mainframes() -> Iterator[str]:
    every = sysfs.entries(f"{sysfs.SYS}/bus/css/devices")
    if every:
        yield f"{len(every)} subchannels are there, and none is bound to vfio_ccw"
    if sysfs.exists(f"{sysfs.SYS}/bus/ap"):
        yield "crypto adapters are there, and vfio_ap is not loaded"
