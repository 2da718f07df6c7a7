# SPDX-License-Identifier: GPL-3.0-or-later
"""Which driver a device is bound to, now and after every boot: nodedev-detach and nodedev-reattach, that stay.

A binding is an override of the device's own, as driverctl and libvirt set it, kept in driverctl's files. Without one
the kernel chooses, and that is what a device is given back to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import BadInput, InUse, Missing, NodedevError
from ...host import binding, subchannels
from ...host.binding import NONE, Target
from ...libvirt import domain
from ...names import called, device_name
from ...plan import Step
from ...resource import Plan
from ...store import driverctl, files
from ...store.driverctl import Definition
from ...store.files import removal
from .seen import HOSTS, VFIO, Member, Observation, Wish, locks, look

if TYPE_CHECKING:
    from ...host.pci_users import Use

__all__ = [
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "described",
    "locks",
    "look_again",
    "observe",
    "plan",
    "starts",
    "state",
]

SUBSYSTEM = "pci"
PEER = "driverctl"
# Drivers by which others of a group may stay: they give the device to nobody else.
HARMLESS = ("pci-stub", "pcieport")


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the device, its definition, its group, its users, and what chzdev keeps of it."""
    seen = look(wish)
    if seen.bus != "css" or not seen.members:
        return seen
    # Here, as in the following: only who has a subchannel waits for its import.
    from . import takeover

    return takeover.look(wish, seen)


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
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
    wanted = [(each, each.own_driver or driver) for each in seen.members]
    for each, own in wanted:
        _refuse(wish, seen, each, own)
    _refuse_for_vfio(wish, seen, driver)
    lacking = [(each, own) for each, own in wanted if not each.has(own)]
    steps = [*_taking_over(wish, seen), *_loading(seen, [own for _each, own in lacking])]
    for each, own in lacking:
        steps += [*_offline(each, own, wish.wait_timeout), _bind(each, own, wish.wait_timeout)]
    return _planned(wish, seen, steps, driver, _bound)


def _loading(seen: Observation, drivers: Iterable[str]) -> Iterator[Step]:
    """Have the modules of drivers loaded; BadInput where one is none, or could not be."""
    for driver in dict.fromkeys(drivers):
        if driver not in seen.unloaded:
            continue
        suggestion = seen.unloaded[driver]
        if suggestion is not None:
            told = f"no driver for {seen.bus} has this name, and no module could be loaded"
            raise BadInput("driver", driver, f"{told}{suggestion}")
        yield Step(f"load module {driver}", partial(binding.load, seen.bus, driver))


def _bound(member: Member, driver: str) -> Member:
    return replace(member, driver=None if driver == NONE else driver, override=driver, device=None)


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
    refused = final or [use for use in member.uses if not _is_given_up(wish, use)]
    if refused:
        from ...host import pci_users

        way = "" if final else f", or set force: true to take it away all the same{pci_users.costs(refused)}"
        users = [use.document() for use in refused]
        raise InUse(f"{member.called} is in use, {', '.join(use.text for use in refused)}: stop that first{way}", users)


def _is_given_up(wish: Wish, use: Use) -> bool:
    """Whether force gives a use up, or has when it was defined: at each boot the console is on its GPU again."""
    from ...host import pci_users

    return wish.force or (wish.restoring and use.cost == pci_users.DARK)


def _refuse_for_vfio(wish: Wish, seen: Observation, driver: str) -> None:
    """Raise NodedevError where a guest could not have the device for want of an IOMMU, or for others of its group."""
    if seen.bus != "pci" or not domain.is_vfio(driver) or seen.members[0].has(driver):
        return
    if seen.group is None:
        raise NodedevError(f"{seen.members[0].called} has no IOMMU group, so that no guest can have it: {seen.advice}")
    host = [each for each in seen.others if each.driver is not None and not _is_harmless(each.driver)]
    if host and not (wish.force or wish.restoring):
        from ...host.pci_users import Use

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
    wish: Wish, seen: Observation, steps: list[Step], driver: str, then: Callable[[Member, str], Member]
) -> Plan[Observation]:
    """The plan with what is kept of it; ``then`` gives each member as it is afterwards, by the driver it is to have."""
    members = []
    for each in seen.members:
        own = each.own_driver or driver
        target = Definition(seen.bus, each.target.address, own)
        kept = target if wish.persistent else each.definition
        if kept is not None and kept != each.definition:
            steps.append(_define(kept, each.definition))
        members.append(replace(then(each, own), definition=kept, uses=()))
    definition = members[0].definition if members else seen.definition
    after = replace(seen, members=tuple(members), definition=definition, unloaded={}, rules=())
    return Plan(tuple(steps), after)


def _define(target: Definition, former: Definition | None) -> Step:
    verb = "change the definition of" if former else "define"
    return driverctl.change(f"{verb} driver {target.driver} for {called(target.address)}", target, former)


def _taking_over(wish: Wish, seen: Observation) -> list[Step]:
    """What has chzdev give up a device that it would set online at each boot; NodedevError where that is not wished."""
    if not seen.rules:
        return []
    from . import takeover

    return takeover.taking_over(wish, seen)


def _giving_back(seen: Observation) -> list[Step]:
    """What has chzdev keep again what was taken over from it."""
    if seen.taken is None:
        return []
    from . import takeover

    return takeover.giving_back(seen.taken, seen.keeps)


def _inactive(wish: Wish, seen: Observation, driver: str, taking: list[Step]) -> Plan[Observation]:
    if not seen.members:
        target = Definition(seen.bus, seen.address, driver)
        steps = [_define(target, seen.definition)] if target != seen.definition else []
        return Plan(tuple(steps), replace(seen, definition=target))
    return _planned(wish, seen, [*taking, *_given_back(wish, seen)], driver, lambda each, _own: _chosen(each))


def _absent(wish: Wish, seen: Observation) -> Plan[Observation]:
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
    for address in {seen.address, *(each.target.address for each in seen.members)}:
        files.clear_up(driverctl.path_of(seen.bus, address))
    return False


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    return observe(wish)


def starts(seen: Observation) -> bool:
    return seen.definition is not None


def state(seen: Observation) -> dict[str, Any]:
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
    former = {each.target.address: each.override for each in before.members}
    chosen = [
        f"{each.called} still has {each.driver}, now by the kernel's choice: its id was written to that driver's"
        " new_id, as driverctl 0.115 does; remove_id there takes that back, or driver names the one that is to have it"
        for each in after.members
        if each.override is None and each.driver == former.get(each.target.address) and "vfio" in (each.driver or "")
    ]
    if not found:
        found = [_missing(after)]
    warnings = [*before.oddities, *planned.warnings, *lost, *chosen]
    return {"device": found[0], "group": found[1:], "warnings": warnings}


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
