# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants of a device's driver, and what is there of it: the device, its group, and who uses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ... import wishes
from ...grammar import checked_device, checked_driver
from ...host import binding, iommu, modules, pci, subchannels, sysfs
from ...host.binding import NONE, Target
from ...names import called
from ...store import driverctl
from ...store.driverctl import Definition
from ...store.files import DamagedDefinition

if TYPE_CHECKING:
    from ...host import chzdev, chzdev_rules
    from ...host.pci_users import Use

# The driver that libvirt would take; of subchannels there is one alone.
VFIO, SUBCHANNELS = "vfio", "vfio_ccw"
# That of the host, under which a subchannel has its CCW device.
HOSTS = subchannels.HOSTS


@dataclass(frozen=True)
class Wish:
    """What a person wants of one device of a bus, or with ``group`` of all in its IOMMU group.

    ``driver`` is as it is defined, or as it is, where it is None; ``none`` is for no driver. ``take_over`` has chzdev
    give up what it keeps of a CCW device. ``restoring`` has a definition come true, of which nothing tells whether it
    was one of a whole group, or made by force.
    """

    bus: str
    address: str
    driver: str | None = None
    group: bool = False
    state: str = "present"
    persistent: bool = True
    force: bool = False
    take_over: bool = False
    wait_timeout: float = 30
    restoring: bool = False

    @classmethod
    def checked(cls, device: str, **options: Any) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        bus, address = checked_device("device", device)
        if options.get("driver") is not None:
            checked_driver("driver", options["driver"])
        wishes.check(options)
        return cls(bus, address, **options)


@dataclass(frozen=True)
class Member:
    """A device as it is bound and as it is defined; ``vgpus`` says that its driver makes a vendor's vGPUs of it.

    ``own_driver`` is the one that is wished of it as one of a group, None where that is the first one's.
    ``function`` is it as a PCI function, ``device`` the CCW device on it where it is a subchannel. ``uses`` are looked
    for where it would be taken from its driver. ``missing`` is the CCW device that should be there and is not.
    """

    target: Target
    driver: str | None
    override: str | None
    definition: Definition | None = None
    damaged: DamagedDefinition | None = None
    bridge: bool = False
    vgpus: bool = False
    function: pci.Function | None = None
    device: subchannels.Device | None = None
    missing: str | None = None
    uses: tuple[Use, ...] = ()
    own_driver: str | None = None

    @property
    def called(self) -> str:
        return called(self.target.address)

    def has(self, driver: str) -> bool:
        """Whether it is bound as an override of this name has it."""
        return self.override == driver and self.driver == (None if driver == NONE else driver)


@dataclass(frozen=True)
class Observation:
    """The device, first of ``members``, and with it those of its group that are to be bound too.

    ``others`` are those of its group that stay as they are. ``driver`` is what ``wish.driver`` means of the device,
    ``unloaded`` drivers that are not loaded, each with None where its module could be, else with the question which one
    is meant instead. ``advice`` is how to get an IOMMU. ``rules`` are chzdev's for the CCW device of a subchannel,
    ``taken`` what was taken over from it, ``keeps`` whether it was told of that anew since, ``oddities`` are warnings
    of rules. Where the device is not there, there are no members, and ``definition`` and ``damaged`` are what is kept
    of it.
    """

    bus: str
    address: str
    members: tuple[Member, ...] = ()
    others: tuple[Member, ...] = ()
    group: str | None = None
    driver: str | None = None
    unloaded: Mapping[str, str | None] = field(default_factory=dict)
    advice: str = ""
    definition: Definition | None = None
    damaged: DamagedDefinition | None = None
    cards: frozenset[str] = field(default_factory=frozenset)
    rules: tuple[chzdev_rules.Rule, ...] = ()
    has_chzdev: bool = False
    taken: chzdev.Taken | None = None
    keeps: bool = False
    oddities: tuple[str, ...] = ()


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """Those of the cards of all members."""
    if seen is not None:
        return {*seen.cards}
    bus, address = _found(wish)
    return {_card(bus, each) for each in (address, *_beside(address, _group(bus, address)))}


def _card(bus: str, address: str) -> str:
    return pci.card_of(address) if bus == "pci" else address


def _found(wish: Wish) -> tuple[str, str]:
    """Bus and name of the device; of a CCW device those of its subchannel."""
    if wish.bus == "ccw":
        return "css", subchannels.of_device(wish.address) or wish.address
    return wish.bus, wish.address


def place_of(bus: str, address: str) -> str:
    """Its folder in sysfs, which is a link."""
    return f"{sysfs.SYS}/bus/{bus}/devices/{address}"


def _group(bus: str, address: str) -> str | None:
    return sysfs.link_name(f"{place_of(bus, address)}/iommu_group")


def _beside(address: str, group: str | None) -> tuple[str, ...]:
    """The addresses of the others in its IOMMU group."""
    return tuple(each for each in iommu.members(group) if each != address) if group is not None else ()


def look(wish: Wish) -> Observation:
    """Read the device, its definition, its group, and who uses what would be taken from its driver."""
    bus, address = _found(wish)
    first = _member(bus, address)
    if first is None:
        definition, damaged = _definition(bus, address)
        cards = frozenset({_card(bus, address)})
        return Observation(bus, address, definition=definition, damaged=damaged, cards=cards)
    driver, group = _meant(wish, first), _group(bus, address)
    found = [_member(bus, each) for each in _beside(address, group)]
    rest = [each for each in found if each is not None and not each.bridge]
    members = (first, *(replace(each, own_driver=_own_driver(wish, each)) for each in rest if wish.group))
    uses = _uses([each for each in members if _leaves(wish, each.own_driver or driver, each)])
    drivers = dict.fromkeys(str(each.own_driver or driver or NONE) for each in members)
    return Observation(
        bus,
        address,
        tuple(replace(each, uses=tuple(uses.get(each.target.address, ()))) for each in members),
        others=() if wish.group else tuple(rest),
        group=group,
        driver=driver,
        unloaded={
            each: _suggestion(bus, each) for each in drivers if each != NONE and not binding.is_loaded(bus, each)
        },
        advice=iommu.advice() if bus == "pci" and group is None else "",
        definition=first.definition,
        damaged=first.damaged,
        cards=frozenset(_card(bus, each.target.address) for each in members),
    )


def _definition(bus: str, address: str) -> tuple[Definition | None, DamagedDefinition | None]:
    try:
        return driverctl.find(bus, address), None
    except DamagedDefinition as error:
        return None, error


def _meant(wish: Wish, member: Member) -> str | None:
    """The driver that is meant; where none is named, the one that is defined, or that an override has now."""
    if wish.driver == VFIO:
        return SUBCHANNELS if wish.bus != "pci" else modules.vfio_driver(sysfs.read(f"{member.target.path}/modalias"))
    if wish.driver is not None:
        return wish.driver
    return member.definition.driver if member.definition else member.override


def _own_driver(wish: Wish, member: Member) -> str | None:
    """The driver that is meant of another one of a group; None where that is the first one's."""
    return _meant(wish, member) if wish.driver is not None or member.definition else None


def _suggestion(bus: str, driver: str) -> str | None:
    """None where the module of a driver could be loaded, else the question whether another one is meant."""
    loadable = modules.spelled(bus, driver) is None and binding.can_be_loaded(driver)
    return None if loadable else modules.suggested(driver, bus)


def _member(bus: str, address: str) -> Member | None:
    """A device of the bus; who uses it is not looked for."""
    path = sysfs.target(place_of(bus, address))
    if path is None:
        return None
    function = pci.find(address) if bus == "pci" else None
    target = Target(bus, address, path)
    definition, damaged = _definition(bus, address)
    if function is None:
        driver, device = target.driver, subchannels.device_on(path) if bus == "css" else None
        missing = subchannels.expected(path) if bus == "css" and device is None and driver == HOSTS else None
        found = Member(target, driver, pci.override(path), definition, damaged)
        return replace(found, device=device, missing=missing)
    vgpus = function.vendor == pci.NVIDIA and function.physical is not None and _makes_vgpus(function)
    bridge = pci.is_bridge(path)
    return Member(target, function.driver, function.override, definition, damaged, bridge, vgpus, function)


def _leaves(wish: Wish, driver: str | None, member: Member) -> bool:
    """Whether a device would be taken from its driver."""
    if member.driver is None:
        return False
    return member.driver != driver if wish.state == "present" else member.override is not None


def _uses(leaving: Collection[Member]) -> dict[str, list[Use]]:
    if not leaving:
        return {}
    # Here, so that no run but one that takes a device from its driver waits for their import.
    from ...host import ccw_users, pci_users

    found = pci_users.of([each.function for each in leaving if each.function is not None])
    devices = {each.target.address: each.device for each in leaving if each.device is not None}
    on_channels = ccw_users.of([*devices.values()]) if devices else {}
    found.update({address: on_channels[device.name] for address, device in devices.items()})
    given = {each.target.address: each.target.path for each in leaving if each.driver == SUBCHANNELS}
    by_guests = ccw_users.of_mediated([*given.values()]) if given else {}
    return {**found, **{address: by_guests[path] for address, path in given.items()}}


def _makes_vgpus(function: pci.Function) -> bool:
    folders = ("nvidia", "mdev_supported_types")
    return any(sysfs.exists(f"{function.path}/{folder}") for folder in folders)
