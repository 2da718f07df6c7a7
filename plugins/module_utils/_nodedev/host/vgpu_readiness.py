# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host and its GPUs need for vGPUs, what of it there is, and what to do about the rest.

It is the one place that says so, for whoever finds no device that offers vGPUs. All but the mode of a card, which
nvidia-smi alone tells, is read from files: no program is started, and nothing is opened that a guest may want.
NVIDIA's vGPU user guide has the services, the modules and sriov-manage.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..names import device_name, named
from . import iommu, pci, sriov_manage, sysfs, vgpu_cards
from .oddities import Oddities
from .vgpu_cards import DRIVER, MDEV, OTHER_MODE, VENDORS_OWN, Card, Mode

# What of the driver only the one for vGPU hosts has: a module, and services, of which the second runs all the time.
MODULE = "module/nvidia_vgpu_vfio"
SERVICES = ("nvidia-vgpud", "nvidia-vgpu-mgr")
LASTING = "nvidia-vgpu-mgr"
UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# Where a service that runs has its control group, below /sys, by the kernel's versions of them. So is the module.
SLICES = tuple(f"fs/cgroup/{each}system.slice" for each in ("", "systemd/", "unified/"))
PACKAGE = "install its vendor's driver for vGPU hosts"
COMES_WITH = "it comes with NVIDIA's driver for vGPU hosts"


@dataclass(frozen=True)
class Finding:
    """One thing that vGPUs need: whether it is as it has to be, None where that cannot be told, and what was found.

    ``found`` follows the name of the card, and 'is a GPU'. ``advice`` is what to do, None where nothing is.
    """

    what: str
    ok: bool | None
    found: str
    advice: str | None = None

    @property
    def text(self) -> str:
        """It in words."""
        return self.found if self.advice is None else f"{self.found}: {self.advice}"

    def document(self, card: Card | None) -> dict[str, Any]:
        """It as data, with libvirt's name of the card, None where it is about the host."""
        device = None if card is None else device_name("pci", card.address)
        return {"device": device, "what": self.what, "ok": self.ok, "found": self.found, "advice": self.advice}


@dataclass(frozen=True)
class Driver:
    """What is on the host of NVIDIA's driver and of the IOMMU.

    ``loaded`` says whether its PCI driver is there, ``hosts`` whether the module of the one for vGPU hosts is.
    ``services`` are those that are installed, with whether they run, None where that is not told; ``tools`` where
    sriov-manage is.
    """

    loaded: bool = False
    hosts: bool = False
    services: Mapping[str, bool | None] | None = None
    tools: tuple[str, ...] = ()
    grouped: bool = True

    @property
    def evidence(self) -> list[str]:
        """What is there of the one for vGPU hosts alone."""
        services = [f"{name}.service" for name in self.services or ()]
        return [*(["module nvidia_vgpu_vfio"] if self.hosts else []), *services, *self.tools]


def driver_of_host() -> Driver:
    """Read what there is."""
    return Driver(
        sysfs.exists(f"{sysfs.SYS}/bus/pci/drivers/{DRIVER}"),
        sysfs.exists(f"{sysfs.SYS}/{MODULE}"),
        {name: _runs(name) for name in SERVICES if _is_installed(name)},
        sriov_manage.tools(),
        bool(sysfs.entries(f"{sysfs.SYS}/kernel/iommu_groups")),
    )


def _is_installed(name: str) -> bool:
    return any(os.path.exists(f"{folder}/{name}.service") for folder in UNITS)


def _runs(name: str) -> bool | None:
    """Whether a service runs: it has a control group then; None where the host's are not seen from here."""
    slices = [each for each in SLICES if sysfs.exists(f"{sysfs.SYS}/{each}")]
    return any(sysfs.exists(f"{sysfs.SYS}/{each}/{name}.service") for each in slices) if slices else None


def of_host(driver: Driver, cards: Collection[Card]) -> list[Finding]:
    """What is to be said of the host, whose cards of NVIDIA's these are; only of the IOMMU where there is none."""
    found = [*_driver_of_host(driver, cards)] if cards else []
    return [*found, iommu_of(driver)]


def _driver_of_host(driver: Driver, cards: Collection[Card]) -> Iterator[Finding]:
    makes = any(card.framework for card in cards)
    if makes:
        yield Finding("manager", True, "NVIDIA's driver makes vGPUs")
    elif driver.evidence:
        yield Finding("manager", True, f"NVIDIA's driver is the one for vGPU hosts, by {', '.join(driver.evidence)}")
    else:
        advice = f"{PACKAGE}, since the one for workstations, guests or containers makes no vGPUs"
        yield Finding("manager", False, "nothing is there that only NVIDIA's driver for vGPU hosts has", advice)
    for name in SERVICES:
        yield _service(name, driver, makes)
    yield _tools(driver)


def _service(name: str, driver: Driver, makes: bool) -> Finding:
    if name not in (driver.services or {}):
        # It may be in the container of a driver that makes vGPUs all the same.
        return Finding(
            name, None if makes else False, f"{name}.service is not installed", None if makes else COMES_WITH
        )
    running = (driver.services or {})[name]
    if running is None:
        return Finding(name, None, f"{name}.service is installed; whether it runs cannot be seen", None)
    if running:
        return Finding(name, True, f"{name}.service runs")
    if name != LASTING:
        advice = f"it may have done its work and ended: systemctl status {name} says how"
        return Finding(name, None, f"{name}.service does not run", advice)
    advice = f"systemctl enable --now {name}; journalctl -u {name} says why it has ended"
    return Finding(name, False, f"{name}.service does not run", advice)


def _tools(driver: Driver) -> Finding:
    if len(driver.tools) > 1:
        found = f"{' and '.join(driver.tools)} are both there, so that the cards have two drivers' owners"
        return Finding("sriov_manage", False, found, "remove one of them")
    if driver.tools:
        return Finding("sriov_manage", True, f"{driver.tools[0]} is there")
    advice = f"{COMES_WITH}, and enables the virtual functions of cards that have any"
    return Finding("sriov_manage", None, "sriov-manage is not there", advice)


def iommu_of(driver: Driver) -> Finding:
    """Whether the IOMMU is on, without which no guest can have a device."""
    if driver.grouped:
        return Finding("iommu", True, "the IOMMU is on")
    return Finding("iommu", False, "the IOMMU is off", iommu.advice())


def of_card(card: Card, driver: Driver) -> list[Finding]:
    """What is to be said of a card by what is in sysfs, in the order in which it is to be put right."""
    return [*_driver(card, driver), *_sriov(card), *_functions(card, driver)]


def _driver(card: Card, driver: Driver) -> Iterator[Finding]:
    bound = card.function.driver
    if bound is None:
        advice = "bind nvidia to it; a run of sriov-manage that was ended in the middle has left it so"
        yield Finding("driver", False, "without a driver", advice if card.is_nvidia and driver.loaded else PACKAGE)
    elif bound.startswith("vfio"):
        advice = f"bind {DRIVER if card.is_nvidia else 'its own driver'} to it for vGPUs"
        yield Finding("driver", False, f"bound to {bound}, for a guest to have it whole", advice)
    elif card.is_nvidia and bound != DRIVER:
        advice = f"{PACKAGE}, and have that bound to it instead"
        yield Finding("driver", False, f"with driver {bound}, which makes no vGPUs", advice)
    else:
        yield Finding("driver", True, f"with driver {bound}")


def _sriov(card: Card) -> Iterator[Finding]:
    if card.total is None and not card.framework:
        advice = "NVIDIA's cards from Ampere on make no vGPUs without it: is it on in the firmware?"
        yield Finding("sriov", None, "without SR-IOV", advice if card.is_nvidia else None)
    elif card.itself:
        yield Finding("sriov", None, "which makes vGPUs without virtual functions")
    elif card.framework:
        yield Finding("sriov", True, f"of whose {card.total} virtual functions vGPUs are made")
    else:
        yield Finding("sriov", None, f"that can have {card.total} virtual functions, which need not mean vGPUs")


def _functions(card: Card, driver: Driver) -> Iterator[Finding]:
    bound, count = card.function.driver, len(card.function.functions)
    if card.itself:
        yield Finding("types", True, "which makes vGPUs as mediated devices")
    elif card.framework:
        yield Finding("functions", True, f"with {count} of {card.total} virtual functions")
        how = "as mediated devices" if card.framework == MDEV else f"by {VENDORS_OWN}"
        yield Finding("types", True, f"which makes vGPUs of its virtual functions, {how}")
    elif bound is None or bound.startswith("vfio") or (card.is_nvidia and bound != DRIVER):
        return
    elif card.total is not None and not count:
        found = f"with driver {bound}, and none of its {card.total} virtual functions is enabled"
        yield Finding("functions", False, found, _enabling(card, driver))
    else:
        counted = f" and {count} virtual functions" if count else ""
        yield Finding("types", False, f"with driver {bound}{counted}, which offers no types", _typing(card, driver))


def _enabling(card: Card, driver: Driver) -> str | None:
    if not card.is_nvidia:
        return None
    by = f", by {driver.tools[0]}" if len(driver.tools) == 1 else ""
    return f"hostdev.nodedev.sriov with numvfs: max enables them{by}; which vGPUs the card makes is seen then"


def _typing(card: Card, driver: Driver) -> str:
    if not card.is_nvidia or not driver.evidence:
        return "is it its vendor's driver for vGPU hosts?"
    return (
        f"they come some time after the driver and the functions, if {LASTING} runs; journalctl -u {LASTING} says more"
    )


def mode(card: Card, told: Mode | None, untold: str | None) -> Finding:
    """What nvidia-smi tells of how a card makes vGPUs; ``untold`` says why nothing is told."""
    if told is None:
        return Finding("mode", None, f"whose Host VGPU Mode is not known: {untold or 'nvidia-smi does not tell of it'}")
    found = f"whose Host VGPU Mode is {told.host or 'N/A'}"
    if told.is_sriov or card.itself:
        return Finding("mode", True, found)
    return Finding("mode", None if card.framework == MDEV else False, found, OTHER_MODE)


def offers(told: Mode | None) -> Finding:
    """Of a card none of whose functions has a type, and none can be given one."""
    found = "none of whose virtual functions has a type, or offers one"
    if told is not None and told.mig:
        return Finding("types", False, found, "with MIG a vGPU needs a GPU instance: nvidia-smi mig -cgi makes one")
    return Finding("types", False, found, f"systemctl status {' '.join(SERVICES)}, and dmesg, say why")


def hindered(card: Card, count: int) -> Finding:
    """Of a card so many of whose functions cannot be vGPUs, or cannot be read."""
    found = f"{count} of whose {len(card.function.functions)} virtual functions cannot be vGPUs, or cannot be read"
    return Finding("functions", False, found, "the hindrance of each says why")


def missing(cards: Collection[Card], driver: Driver) -> list[str]:
    """In words what keeps these GPUs from making vGPUs, then what the host lacks for it; nothing where nothing does.

    For whoever finds nothing there that offers any.
    """
    lacks = {card.address: each for card in cards if (each := _lack(card, driver)) is not None}
    return [*gpus(lacks), *_lacks(cards, driver)]


def gpus(told: Mapping[str, str]) -> list[str]:
    """What is told of GPUs, by their addresses, in words that follow 'is a GPU'; those that are alike together."""
    alike: dict[str, list[str]] = {}
    for address, each in told.items():
        alike.setdefault(each, []).append(address)
    return [f"{named(own)}{': each' if own[1:] else ''} is a GPU {each}" for each, own in alike.items()]


def why_none() -> list[str]:
    """The same of all GPUs of this host, or that there is none; what cannot be read is told too."""
    oddities, driver = Oddities(), driver_of_host()
    cards = vgpu_cards.cards(oddities)
    found = [*missing(cards, driver), *oddities.warnings]
    return [*gpus(dict(_able(cards, driver))), *found] or ["no GPU is there"]


def _able(cards: Collection[Card], driver: Driver) -> Iterator[tuple[str, str]]:
    for card in cards:
        yield from ((card.address, each.text) for each in of_card(card, driver) if each.what == "types" and each.ok)


def why_not(address: str) -> list[str]:
    """The same of the GPU of this address; nothing of what is none, as a virtual function."""
    function = pci.find(address)
    if function is None or function.physical is not None:
        return []
    return missing([vgpu_cards.look(function, Oddities())], driver_of_host())


def _lack(card: Card, driver: Driver) -> str | None:
    """What a card lacks first, in words that follow 'is a GPU'; None where nothing is seen to."""
    return next((each.text for each in of_card(card, driver) if each.ok is False), None)


def _lacks(cards: Collection[Card], driver: Driver) -> list[str]:
    if not cards:
        return []
    nvidias = [card for card in cards if card.is_nvidia and card.function.driver == DRIVER]
    found = [*(_driver_of_host(driver, nvidias) if nvidias else ()), iommu_of(driver)]
    # Without that driver all that comes with it is not there either.
    without = any(each.what == "manager" and each.ok is False for each in found)
    return [each.text for each in found if each.ok is False and not (without and each.what in SERVICES)]
