# SPDX-License-Identifier: GPL-3.0-or-later
"""Which driver a device is bound to, now and after every boot: nodedev-detach and nodedev-reattach, that stay.

A binding is an override of the device's own, as driverctl and libvirt set it, kept in driverctl's files. Without one
the kernel chooses, and that is what a device is given back to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import wishes
from ..errors import BadInput, InUse, Missing, NodedevError
from ..grammar import checked_device, checked_driver
from ..host import binding, chzdev, chzdev_rules, iommu, modules, pci, subchannels, sysfs
from ..host.binding import NONE, Target
from ..libvirt import domain
from ..names import called, device_name
from ..plan import Step
from ..resource import Hindrance, Plan
from ..store import driverctl, files
from ..store.driverctl import Definition
from ..store.files import DamagedDefinition, removal

if TYPE_CHECKING:
    from ..host.pci_users import Use

SUBSYSTEM = "pci"
PEER = "driverctl"
# The driver that libvirt would take; of subchannels there is one alone.
VFIO, SUBCHANNELS = "vfio", "vfio_ccw"
# That of the host, under which a subchannel has its CCW device.
HOSTS = subchannels.HOSTS
# Drivers by which others of a group may stay: they give the device to nobody else.
HARMLESS = ("pci-stub", "pcieport")
# Seconds for making one at boot, where others wait.
WAIT = 30.0


@dataclass(frozen=True)
class Wish:
    """What a person wants of one device of a bus, or with ``group`` of all in its IOMMU group.

    ``driver`` is as it is defined, or as it is, where it is None; ``none`` is for no driver. ``take_over`` has chzdev
    give up what it keeps of a CCW device.
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

    @property
    def called(self) -> str:
        return called(self.target.address)

    def has(self, driver: str) -> bool:
        """Whether it is bound as an override of this name has it."""
        return self.override == driver and self.driver == (None if driver == NONE else driver)


@dataclass(frozen=True)
class Observation:
    """The device, first of ``members``, and with it those of its group that are to be bound as it is.

    ``others`` are those of its group that stay as they are. ``driver`` is what ``wish.driver`` means here, ``loadable``
    whether its module is or could be loaded, ``suggestion`` which one may be meant instead. ``advice`` is how to get an
    IOMMU. ``rules`` are chzdev's for the CCW device of a subchannel, ``taken`` what was taken over from it, ``keeps``
    whether it keeps something of the device now, ``oddities`` are warnings of rules. Where the device is not there,
    there are no members, and ``definition`` and ``damaged`` are what is kept of it.
    """

    bus: str
    address: str
    members: tuple[Member, ...] = ()
    others: tuple[Member, ...] = ()
    group: str | None = None
    driver: str | None = None
    loaded: bool = True
    loadable: bool = True
    suggestion: str = ""
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


def _place(bus: str, address: str) -> str:
    return f"{sysfs.SYS}/bus/{bus}/devices/{address}"


def _group(bus: str, address: str) -> str | None:
    """The name of its IOMMU group."""
    return sysfs.link_name(f"{_place(bus, address)}/iommu_group")


def _beside(address: str, group: str | None) -> tuple[str, ...]:
    """The addresses of the others in its IOMMU group."""
    return tuple(each for each in iommu.members(group) if each != address) if group is not None else ()


def observe(wish: Wish) -> Observation:
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
    members = (first, *(rest if wish.group else ()))
    uses = _uses([each for each in members if _leaves(wish, driver, each)])
    rules = _rules(first, driver, wish)
    device = _ccw(first)
    loaded = driver in (None, NONE) or binding.is_loaded(bus, str(driver))
    return Observation(
        bus,
        address,
        tuple(replace(each, uses=tuple(uses.get(each.target.address, ()))) for each in members),
        others=() if wish.group else tuple(rest),
        group=group,
        driver=driver,
        loaded=loaded,
        loadable=loaded or (modules.spelled(bus, str(driver)) is None and binding.can_be_loaded(str(driver))),
        suggestion="" if loaded else modules.suggested(str(driver), bus),
        advice=iommu.advice() if bus == "pci" and group is None else "",
        definition=first.definition,
        damaged=first.damaged,
        cards=frozenset(_card(bus, each.target.address) for each in members),
        rules=tuple(rules.online.get(str(device), ())),
        has_chzdev=chzdev.is_installed() if bus == "css" else False,
        taken=None if device is None else chzdev.TAKEN.find(device),
        keeps=device in rules.kept,
        oddities=rules.oddities,
    )


def _ccw(member: Member) -> str | None:
    """The CCW device on a subchannel, whoever has that."""
    if member.target.bus != "css":
        return None
    return member.device.name if member.device is not None else subchannels.expected(member.target.path)


def _rules(member: Member, driver: str | None, wish: Wish) -> chzdev_rules.Rules:
    """chzdev's rules that would fight with the binding at boot, if it is one that is to be there then, or goes."""
    device = _ccw(member)
    if device is None or (wish.state != "absent" and (driver in (None, HOSTS) or not wish.persistent)):
        return chzdev_rules.Rules()
    return chzdev_rules.of([device])


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


def _member(bus: str, address: str) -> Member | None:
    """A device of the bus; who uses it is not looked for."""
    path = sysfs.target(_place(bus, address))
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
    """Who uses devices, by their addresses."""
    if not leaving:
        return {}
    # Here, so that no run but one that takes a device from its driver waits for their import.
    from ..host import ccw_users, pci_users

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


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    """The steps from what is to what is wished; raises NodedevError before any of them, and writes nothing."""
    if wish.state == "absent":
        return _absent(wish, seen)
    for damaged in (seen.damaged, *(each.damaged for each in seen.members)):
        if damaged is not None:
            raise damaged
    driver = _driver(wish, seen)
    if wish.state == "inactive":
        return _inactive(wish, seen, driver, _taking_over(wish, seen))
    if not seen.members:
        raise BadInput("device", _asked(wish), "there is no such device")
    for member in seen.members:
        _refuse(wish, seen, member, driver)
    _refuse_for_vfio(wish, seen, driver)
    steps = _taking_over(wish, seen)
    if not seen.loaded and any(not each.has(driver) for each in seen.members):
        if not seen.loadable:
            told = f"no driver for {seen.bus} has this name, and no module could be loaded"
            raise BadInput("driver", driver, f"{told}{seen.suggestion}")
        steps.append(Step(f"load module {driver}", partial(binding.load, seen.bus, driver)))
    for each in seen.members:
        if not each.has(driver):
            steps += [*_offline(each, driver, wish.wait_timeout), _bind(each, driver, wish.wait_timeout)]
    bound = None if driver == NONE else driver
    return _planned(wish, seen, steps, driver, lambda each: replace(each, driver=bound, override=driver, device=None))


def _asked(wish: Wish) -> str:
    """The device by both its names, as a message has it."""
    return f"{device_name(wish.bus, wish.address)} ({wish.address})"


def _driver(wish: Wish, seen: Observation) -> str:
    """The driver that is wished, or that is defined; BadInput where there is neither."""
    driver = seen.driver if seen.members else wish.driver or (seen.definition.driver if seen.definition else None)
    if driver is None:
        raise Missing("driver", "the device is not bound by an override, and no driver is defined for it")
    if not seen.members and driver == VFIO:
        raise BadInput("driver", driver, "the device is not there, so the driver has to be named, as vfio-pci")
    return driver


def _refuse(wish: Wish, seen: Observation, member: Member, driver: str | None) -> None:
    """Raise NodedevError where a device may not be taken from its driver."""
    if member.bridge:
        raise BadInput("device", member.called, "it is a bridge or a root port, and stays with the kernel")
    if driver is not None and member.vgpus and domain.is_vfio(driver):
        raise BadInput(
            "driver",
            driver,
            f"{member.called} is a virtual function of NVIDIA's vGPU driver, which gives it to guests itself: it stays"
            f" bound to {member.driver}",
        )
    final = [use for use in member.uses if not use.forcible]
    refused = final or ([] if wish.force else [*member.uses])
    if refused:
        from ..host import pci_users

        way = "" if final else f", or set force: true to take it away all the same{pci_users.costs(refused)}"
        users = [use.document() for use in refused]
        raise InUse(f"{member.called} is in use, {', '.join(use.text for use in refused)}: stop that first{way}", users)


def _refuse_for_vfio(wish: Wish, seen: Observation, driver: str) -> None:
    """Raise NodedevError where a guest could not have the device for want of an IOMMU, or for others of its group."""
    if seen.bus != "pci" or not domain.is_vfio(driver) or seen.members[0].has(driver):
        return
    if seen.group is None:
        raise NodedevError(f"{seen.members[0].called} has no IOMMU group, so that no guest can have it: {seen.advice}")
    host = [each for each in seen.others if each.driver is not None and not _is_harmless(each.driver)]
    if host and not wish.force:
        from ..host.pci_users import Use

        named = ", ".join(f"{each.called} with {each.driver}" for each in host)
        raise InUse(
            f"the host uses others of IOMMU group {seen.group}, so that no guest can have {seen.members[0].called}:"
            f" {named}. Set group: true to bind them all, or force: true for this one alone",
            [Use(f"it is bound to {each.driver}", True).document(function=each.target.address) for each in host],
        )


def _is_harmless(driver: str) -> bool:
    return driver in HARMLESS or domain.is_vfio(driver)


def _offline(member: Member, driver: str, seconds: float) -> list[Step]:
    """Have the CCW device of a subchannel offline before the subchannel is taken from its driver."""
    device = member.device
    if device is None or not device.online or member.driver == driver:
        return []
    place = (member.target.path, device.name)
    return [
        Step(
            f"set {device.called} offline",
            partial(subchannels.set_online, *place, False, seconds),
            partial(subchannels.set_online, *place, True, seconds),
        )
    ]


def _given(target: Target, seconds: float) -> None:
    """Have the kernel choose for a device, and on a subchannel wait for its CCW device, which comes a moment later."""
    binding.give_back(target, seconds)
    expected = subchannels.expected(target.path) if target.bus == "css" else None
    if expected is not None and target.driver == HOSTS:
        subchannels.await_device(target.path, expected, seconds)


def _bind(member: Member, driver: str, seconds: float) -> Step:
    """Have one device bound as is wished."""
    before = "" if member.driver in (None, driver) else f", now bound to {member.driver}"
    described = f"unbind {member.called} for good" if driver == NONE else f"bind {member.called} to {driver}"
    return Step(
        f"{described}{before}",
        partial(binding.bind, member.target, driver, seconds),
        partial(binding.put_back, member.target, member.override, member.driver, seconds),
    )


def _planned(
    wish: Wish, seen: Observation, steps: list[Step], driver: str, then: Callable[[Member], Member]
) -> Plan[Observation]:
    """The plan with what is kept of it; ``then`` gives each member as it is afterwards."""
    members = []
    for each in seen.members:
        target = Definition(seen.bus, each.target.address, driver)
        kept = target if wish.persistent else each.definition
        if kept is not None and kept != each.definition:
            steps.append(_define(kept, each.definition))
        members.append(replace(then(each), definition=kept, uses=()))
    definition = members[0].definition if members else seen.definition
    after = replace(seen, members=tuple(members), definition=definition, loaded=True, rules=())
    return Plan(tuple(steps), after)


def _define(target: Definition, former: Definition | None) -> Step:
    verb = "change the definition of" if former else "define"
    return driverctl.change(f"{verb} driver {target.driver} for {called(target.address)}", target, former)


def _taking_over(wish: Wish, seen: Observation) -> list[Step]:
    """What has chzdev give up a device that it would set online at each boot; NodedevError where that is not wished."""
    for rule in seen.rules:
        _refuse_rule(wish, seen, rule)
    types = {rule.type for rule in seen.rules} | ({seen.taken.type} if seen.taken and seen.rules else set())
    if len(types) > 1:
        raise NodedevError(
            f"chzdev keeps {_called(seen.rules[0].device)} as several types, {', '.join(sorted(types))}, of which one"
            " alone can be given back: disable the others by chzdev --disable --persistent"
        )
    return [
        Step(
            f"have chzdev give up what it keeps of {_called(rule.device)}, a {rule.type}",
            partial(chzdev.take, rule),
            partial(chzdev.undo, rule),
        )
        for rule in seen.rules
    ]


def _called(device: str) -> str:
    """A CCW device by both its names."""
    return f"{device_name('ccw', device)} ({device})"


def _refuse_rule(wish: Wish, seen: Observation, rule: chzdev_rules.Rule) -> None:
    """Raise NodedevError where a rule of chzdev's has to stay as it is, or nobody has said that it need not."""
    if rule.machines:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, sets {_called(rule.device)} online at each boot, as the machine's own"
            " configuration has it: take the device out of that, or boot with rd.zdev=no-auto among the kernel's"
            " arguments"
        )
    if rule.members:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, makes a group of {', '.join(rule.members)} and sets it online at each"
            f" boot, against the binding: give the group up by chzdev --disable --persistent {rule.type} {rule.device}"
        )
    sites = [site for site in rule.sites if site is not None]
    some = sites and len(sites) == len(rule.sites)
    where = " " + f"at the sites {', '.join(sites)}" if some else ""
    if not wish.take_over:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, sets {_called(rule.device)} online at each boot{where}, against the"
            " binding: set take_over: true to have chzdev give the device up until it is given back, or disable it by"
            f" chzdev --disable --persistent {rule.type} {rule.device}"
        )
    if not seen.has_chzdev:
        raise NodedevError(f"{rule.path} is a rule of chzdev's, which is not installed: it comes with the s390-tools")


def _giving_back(seen: Observation) -> list[Step]:
    """What has chzdev keep again what was taken over from it, unless it was told of the device anew meanwhile."""
    taken = seen.taken
    if taken is None:
        return []
    if seen.keeps:
        what = f"forget what chzdev kept of {_called(taken.device)}, since it keeps that anew"
        return [Step(what, partial(chzdev.forget, taken), partial(chzdev.keep, taken))]
    what = f"have chzdev keep {_called(taken.device)} again, a {taken.type}"
    return [Step(what, partial(chzdev.give_back, taken), partial(chzdev.take_again, taken))]


def _inactive(wish: Wish, seen: Observation, driver: str, taking: list[Step]) -> Plan[Observation]:
    """The definition is all that is kept."""
    if not seen.members:
        target = Definition(seen.bus, seen.address, driver)
        steps = [_define(target, seen.definition)] if target != seen.definition else []
        return Plan(tuple(steps), replace(seen, definition=target))
    return _planned(wish, seen, [*taking, *_given_back(wish, seen)], driver, _chosen)


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
    """Neither bound nor defined."""
    steps: list[Step] = []
    for known, damaged, address in [(each.definition, each.damaged, each.target.address) for each in seen.members] or [
        (seen.definition, seen.damaged, seen.address)
    ]:
        if damaged is not None:
            steps.append(removal(damaged, f"the driver for {called(address)}"))
        if known is not None:
            steps.append(driverctl.change(f"undefine driver {known.driver} for {called(address)}", None, known))
    steps += [*_given_back(wish, seen), *_giving_back(seen)]
    members = tuple(replace(_chosen(each), definition=None, damaged=None, uses=()) for each in seen.members)
    return Plan(tuple(steps), replace(seen, members=members, definition=None, damaged=None, taken=None))


def _given_back(wish: Wish, seen: Observation) -> list[Step]:
    """Have the kernel choose for all members that an override binds."""
    bound = [each for each in seen.members if each.override is not None]
    for member in bound:
        _refuse(wish, seen, member, None)
    return [
        Step(
            f"give {each.called} back to the kernel's choice of a driver, instead of {each.override}",
            partial(_given, each.target, wish.wait_timeout),
            partial(binding.put_back, each.target, each.override, each.driver, wish.wait_timeout),
        )
        for each in bound
    ]


def _chosen(member: Member) -> Member:
    """A device that the kernel chooses for; which driver that will be is not known before."""
    return member if member.override is None else replace(member, override=None, driver=None)


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Remove what killed runs have left of writing definitions."""
    for address in {seen.address, *(each.target.address for each in seen.members)}:
        files.clear_up(driverctl.path_of(seen.bus, address))
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    """How the devices are bound now."""
    return observe(wish)


def starts(seen: Observation) -> bool:
    """Whether it is defined."""
    return seen.definition is not None


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them."""
    kept = {each.target.address: each.definition for each in seen.members} or {seen.address: seen.definition}
    return {
        "runtime": {
            each.target.address: {"driver": each.driver or NONE, "override": each.override or []}
            for each in seen.members
        },
        "boot": {address: {"driver": each.driver} for address, each in kept.items() if each is not None},
    }


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The device, and with it those of its group."""
    found = [_document(each, after.group) for each in after.members]
    lost = [
        f"{each.called} is the host's, and its device {each.missing} is not there: lscss and the kernel log say more"
        for each in after.members
        if each.missing
    ]
    if not found:
        found = [_missing(after)]
    return {"device": found[0], "group": found[1:], "warnings": [*before.oddities, *planned.warnings, *lost]}


def _document(member: Member, group: str | None) -> dict[str, Any]:
    return {
        "name": device_name(member.target.bus, member.target.address),
        "address": member.target.address,
        "driver": member.driver,
        "override": member.override,
        "iommu_group": int(group) if group is not None and group.isdecimal() else None,
        "active": member.override is not None and member.has(member.override),
        "persistent": member.definition is not None,
    }


def _missing(seen: Observation) -> dict[str, Any]:
    target = Target(seen.bus, seen.address, "")
    return _document(Member(target, None, None, seen.definition), None)


# Definitions.


def defined(arrived: str | None) -> tuple[list[Definition], list[DamagedDefinition]]:
    """All bindings, driverctl's own among them."""
    found, damaged = driverctl.all_defined()
    return [each for each in found if arrived in (None, each.address)], damaged


def summary(definition: Definition) -> tuple[str, str, bool]:
    """Its bus and name, the binding as a person knows it; one that is defined is there after every boot."""
    id = f"{definition.bus}-{definition.address}"
    return id, f"driver {definition.driver} for {called(definition.address)}", True


def place(definition: Definition) -> Sequence[str]:
    """Its card, and which function of that it is."""
    return pci.lineage(definition.address) if definition.bus == "pci" else (definition.address,)


def concerns(definition: Definition, arrived: str) -> bool:
    """Whether this is its device."""
    return arrived == definition.address


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a file that cannot be understood may be of this device: by its name, or the folder, of each."""
    device = driverctl.device_of(damage)
    return device is None or device[1] == arrived


def wish(definition: Definition) -> Wish:
    """The wish that a definition is, whoever wrote it."""
    return Wish(definition.bus, definition.address, definition.driver, persistent=False, wait_timeout=WAIT)


def hindrance(definition: Definition) -> Hindrance | None:
    """What is in its way now."""
    if sysfs.exists(_place(definition.bus, definition.address)):
        return None
    return Hindrance("the device is not there; it is bound when it arrives", passing=False)


def facts(definition: Definition) -> dict[str, Any]:
    """What definition_facts says of it: what is bound, and what is unlike."""
    path = sysfs.target(_place(definition.bus, definition.address))
    bound = None if path is None else sysfs.link_name(f"{path}/driver") or NONE
    drift = [] if bound in (None, definition.driver) else [_unlike(definition, str(bound))]
    return {
        "name": device_name(definition.bus, definition.address),
        "address": definition.address,
        "driver": definition.driver,
        "autostart": True,
        "active": bound == definition.driver,
        "parent_missing": path is None,
        "drift": drift,
    }


def _unlike(definition: Definition, bound: str) -> dict[str, str]:
    return {"what": "driver", "defined": definition.driver, "running": bound}
