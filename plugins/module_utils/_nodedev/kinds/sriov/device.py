# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual functions of a physical one: what is there of them, the plan that makes them as wished, their definition.

Identity is the address of the physical function. How many functions there are is one number, which the kernel takes
from none to some and back only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import BadInput, InUse, Missing, NodedevError
from ...grammar import checked_function
from ...host import (
    binding,
    function_owners,
    mdevs,
    modules,
    nvme_functions,
    pci,
    sriov,
    sriov_manage,
    vf_settings,
    virtual_functions,
)
from ...host.nvme_functions import Secondary
from ...host.sriov import Capability
from ...host.virtual_functions import Virtual
from ...names import called, device_name
from ...plan import Step
from ...resource import Plan
from ...store import driverctl
from ...store.files import DamagedDefinition, removal
from ...text import shown
from . import steps as do
from .declared import DOCUMENTS, KIND, MAX, Declared, declare, define, functions_of, undefine

# Of udev's events.
SUBSYSTEM = "pci"
PEER = None


@dataclass(frozen=True)
class Wish:
    """What a person wants of the functions of one physical one."""

    declared: Declared
    state: str = "present"
    persistent: bool = True
    force: bool = False
    wait_timeout: float = 30

    @classmethod
    def checked(
        cls,
        device: str,
        numvfs: object = None,
        autoprobe: bool | None = None,
        driver: str | None = None,
        vfs: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> Wish:
        """A wish whose every part fits its grammar; raises BadInput naming the option that does not."""
        wishes.check(options)
        return cls(declare(checked_function("device", device), numvfs, autoprobe, driver, vfs), **options)


@dataclass(frozen=True)
class Observation:
    """The parts of the host that a wish touches.

    ``declared`` is the wish over the definition. ``function`` is the physical function, None where it is not there, and
    ``capability`` what it says, None where it has none. ``settings`` are by index what the driver of a network card has
    of each function; ``interface`` is that card's, ``untold`` why the settings are not known. ``tools`` are those that
    this card's driver wants. ``own`` are drivers that are defined for single functions, by address. ``node`` is an NVMe
    card's, ``controllers`` its functions'. ``loadable`` says whether there is such a driver as is wished, and
    ``suggestion`` which one may be meant where there is none.
    """

    declared: Declared
    function: pci.Function | None = None
    capability: Capability | None = None
    functions: tuple[Virtual, ...] = ()
    definition: Declared | None = None
    damaged: DamagedDefinition | None = None
    settings: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    interface: str | None = None
    untold: str | None = None
    tools: tuple[str, ...] = ()
    node: str | None = None
    has_nvme: bool = False
    controllers: tuple[Secondary, ...] = ()
    loadable: bool = True
    suggestion: str = ""
    own: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return self.declared.address

    @property
    def count(self) -> int:
        return self.capability.count if self.capability else 0

    def driver_of(self, address: str | None) -> str | None:
        """The driver that a function is to have: one that is defined for it alone, else what is declared for all."""
        driver = self.declared.driver
        return driver if driver is None or address is None else self.own.get(address, driver)

    @property
    def manages(self) -> bool:
        """Whether the controllers of the functions have to be brought online, and can be."""
        return self.node is not None and self.has_nvme


def locks(wish: Wish, seen: Observation | None = None) -> set[str]:
    """That of the card, and where its driver wants a tool of its own, that of all its runs."""
    function = seen.function if seen else pci.find(wish.declared.address)
    tool = {sriov_manage.LOCK} if function and sriov_manage.is_for(function) and sriov_manage.tools() else set()
    return {pci.card_of(wish.declared.address), *tool}


def observe(wish: Wish) -> Observation:
    """Read what the wish touches: the physical function, its functions and who uses them, the definition, owners."""
    seen = look(wish)
    if seen.function is None:
        return seen
    warnings = [*_owners(seen.function), *(_doubts(seen.declared, seen.interface) if seen.interface else ())]
    functions = virtual_functions.with_uses(seen.functions, takes_away(wish, seen))
    return replace(seen, functions=functions, warnings=tuple(warnings), **_loading(seen.declared.driver))


def takes_away(wish: Wish, seen: Observation) -> bool:
    """Whether functions that there are would be removed, or taken from their drivers."""
    count = seen.declared.count(seen.capability.total if seen.capability else None)
    return wish.state != "present" or count not in (None, seen.count) or bool(_unlike(seen))


def look(wish: Wish) -> Observation:
    """The same without who uses the functions, and without what is for whoever changes something."""
    definition, damaged = None, None
    try:
        definition = DOCUMENTS.find(wish.declared.address)
    except DamagedDefinition as error:
        damaged = error
    seen = Observation(wish.declared.over(definition), definition=definition, damaged=damaged)
    function = pci.find(seen.address)
    if function is None:
        return seen
    functions = virtual_functions.of(function)
    seen = replace(seen, function=function, capability=sriov.capability(function), functions=functions)
    if seen.declared.driver is not None:
        seen = replace(seen, own={each.address: each.driver for each in driverctl.all_defined()[0]})
    return _told(seen, function)


def _doubts(declared: Declared, interface: str) -> tuple[str, ...]:
    """That functions may not get the addresses that they are given, where so it is."""
    if not any("mac" in dict(values) for _index, values in declared.vfs or ()) or not vf_settings.is_down(interface):
        return ()
    return (
        f"interface {shown(interface)} is down: some drivers, as igb, give functions their MAC addresses only while it"
        " is up, when the function's own driver binds",
    )


def _loading(driver: str | None) -> dict[str, Any]:
    """Whether a driver is there or could be loaded, and which one may be meant where it could not."""
    if driver in (None, "", binding.NONE) or binding.is_loaded("pci", driver):
        return {"loadable": True}
    if modules.spelled("pci", driver) is None and binding.can_be_loaded(driver):
        return {"loadable": True}
    return {"loadable": False, "suggestion": modules.suggested(driver, "pci")}


def _owners(function: pci.Function) -> tuple[str, ...]:
    is_nvidia = sriov_manage.is_for(function)
    card = function_owners.card(function.address, pci.interfaces(function.path), function.driver, is_nvidia)
    return tuple(function_owners.warnings(card))


def _told(seen: Observation, function: pci.Function) -> Observation:
    """With what tools have to say of the functions, each where its card has it."""
    if function.is_network:
        seen = replace(seen, interface=vf_settings.interface_of(function))
        if seen.interface and seen.functions:
            try:
                seen = replace(seen, settings=vf_settings.read(seen.interface))
            except NodedevError as error:
                seen = replace(seen, untold=str(error))
    elif sriov_manage.is_for(function):
        seen = replace(seen, tools=sriov_manage.tools())
    elif nvme_functions.is_for(function):
        seen = replace(seen, node=nvme_functions.node_of(function), has_nvme=nvme_functions.is_installed())
        if seen.functions and seen.manages:
            seen = replace(seen, controllers=_controllers(str(seen.node)))
    return seen


def _controllers(node: str) -> tuple[Secondary, ...]:
    try:
        return nvme_functions.secondaries(node)
    except NodedevError:
        # Its functions are told as unusable then.
        return ()


def plan(wish: Wish, seen: Observation, ceilings: Mapping[str, int] | None = None) -> Plan[Observation]:
    if wish.state == "absent":
        forget = [removal(seen.damaged, functions_of(seen.address))] if seen.damaged else []
        forget += [undefine(seen.definition)] if seen.definition else []
        return _planned(wish, seen, [*forget, *_removal(wish, seen)], 0, None)
    if seen.damaged:
        raise seen.damaged
    _refuse_unable(seen)
    count = _number(seen)
    target = replace(seen.declared, number=seen.declared.number or str(count), driver=seen.declared.driver or None)
    kept = target if wish.persistent else seen.definition
    defining = [define(kept, seen.definition)] if kept and kept != seen.definition else []
    if wish.state == "inactive":
        return _planned(wish, seen, [*defining, *_removal(wish, seen)], 0, kept)
    if seen.function is None:
        raise BadInput("device", called(seen.address), "there is no such device")
    _refuse_settings(seen, count)
    making = _steps(wish, seen, count)
    return _planned(wish, seen, [*making, *defining], count, kept)


def _refuse_unable(seen: Observation) -> None:
    """Raise BadInput where the device cannot have virtual functions, be it now or ever."""
    function = seen.function
    if function is not None and function.physical is not None:
        raise BadInput("device", called(seen.address), f"it is a virtual function of {called(function.physical)}")
    if function is not None and seen.capability is None:
        raise BadInput("device", called(seen.address), "it has no virtual functions, since it has no SR-IOV")


def _number(seen: Observation) -> int:
    """How many functions are wished; those that are there where nothing is said."""
    wanted, capability = seen.declared.number, seen.capability
    if wanted is None and not seen.count:
        raise Missing("numvfs", "no virtual functions are there or defined whose number could stay")
    if capability is None:
        return 0
    count = seen.declared.count(capability.total)
    if count is None:
        return seen.count
    if count > capability.total:
        raise BadInput("numvfs", wanted, f"{called(seen.address)} has at most {capability.total} virtual functions")
    if seen.tools and count not in (0, seen.count, capability.total):
        allowed = f"{seen.tools[0]} enables all {capability.total} virtual functions or none"
        raise BadInput("numvfs", wanted, f"{allowed}: 0, {capability.total} or {MAX}")
    return count


def _refuse_settings(seen: Observation, count: int) -> None:
    """Raise BadInput for settings of functions that cannot be given, as far as that can be known beforehand."""
    if not seen.loadable:
        raise BadInput(
            "driver", seen.declared.driver, f"there is no such driver, and no module of that name{seen.suggestion}"
        )
    wanted = seen.declared.vfs or ()
    if wanted and count and seen.interface is None:
        indexes = [index for index, _values in wanted]
        raise BadInput("vfs", indexes, f"{called(seen.address)} has no network interface by which to set them")
    for index, values in wanted:
        if index >= count:
            raise BadInput("vfs", {"index": index}, f"there are to be {count} functions, counted from 0")
        if seen.untold is not None and seen.count == count:
            raise NodedevError(seen.untold)
        lacking = [key for key, _value in values if index in seen.settings and key not in seen.settings[index]]
        if lacking:
            driver = seen.function.driver if seen.function else None
            raise BadInput("vfs", {"index": index}, f"driver {driver} does not offer {', '.join(lacking)}")


def _steps(wish: Wish, seen: Observation, count: int) -> list[Step]:
    """What has to be done for so many functions, each as it is declared."""
    fresh = count != seen.count
    steps = _removal(wish, seen) if fresh else []
    if fresh and count and seen.function:
        steps += _creation(wish, seen, seen.function, count)
    for index, values in seen.declared.vfs or ():
        known = {} if fresh else seen.settings.get(index, {})
        unlike = {key: value for key, value in values if known.get(key) != value}
        if unlike:
            former = {key: known[key] for key in unlike if key in known}
            steps.append(do.configure(seen.address, str(seen.interface), index, unlike, former))
    if not fresh:
        return steps + _bindings(wish, seen)
    if seen.declared.driver and seen.function:
        drivers = [str(seen.driver_of(each.address)) for each in _foretold(seen, count)]
        steps += [do.bind(seen.function, index, name, wish.wait_timeout) for index, name in enumerate(drivers)]
    elif count and seen.function and _is_deferred(seen) and _is_probed(seen):
        steps.append(do.probe(seen.function, wish.wait_timeout))
    return steps


def _bindings(wish: Wish, seen: Observation) -> list[Step]:
    """What gives functions that are there the driver that is declared, or the kernel's choice where that is said."""
    function = seen.function
    if function is None:
        return []
    unlike = _unlike(seen)
    virtual_functions.refuse_if_used(unlike, "bound to another driver", wish.force)
    drivers = [str(seen.driver_of(each.address)) for each in unlike]
    return [do.bind(function, each.index, name, wish.wait_timeout, each) for each, name in zip(unlike, drivers)]


def _unlike(seen: Observation) -> list[Virtual]:
    """The functions that have another driver than they are to have."""
    if seen.declared.driver is None:
        return []
    return [each for each in seen.functions if _is_unlike(each, str(seen.driver_of(each.address)))]


def _is_unlike(each: Virtual, driver: str) -> bool:
    """Whether a function has another driver than declared, or one that is not the kernel's choice."""
    return each.driver != _driver(driver) if driver else each.override is not None


def _bound(each: Virtual, driver: str) -> Virtual:
    """The function when it has been given this driver, as far as that can be known."""
    if not _is_unlike(each, driver):
        return each
    bound = _driver(driver) if driver else None
    return replace(each, function=None, driver=bound, override=None, netdev=None, hardware=None)


def _driver(name: str) -> str | None:
    """The driver that a function of this declaration has."""
    return None if name == binding.NONE else name


def _is_probed(seen: Observation) -> bool:
    """Whether the kernel is to choose drivers for new functions."""
    if seen.declared.autoprobe is not None:
        return seen.declared.autoprobe
    return seen.capability is None or seen.capability.autoprobe is not False


def _is_deferred(seen: Observation) -> bool:
    """Whether new functions get something before a driver gets them."""
    with_mac = any("mac" in dict(values) for _index, values in seen.declared.vfs or ())
    return with_mac or bool(seen.declared.driver) or seen.manages


def _creation(wish: Wish, seen: Observation, function: pci.Function, count: int) -> list[Step]:
    _refuse_driverless(function)
    if seen.tools:
        _refuse_tools(seen)
        return [do.manage(function, seen.tools[0], seen.functions, count, wish.wait_timeout)]
    probed = False if _is_deferred(seen) else seen.declared.autoprobe
    making = [do.create(function, count, probed, wish.wait_timeout)]
    if seen.manages:
        node = str(seen.node)
        return [do.prepare(function, node, count, wish.wait_timeout), *making, do.online(node, count)]
    return making


def _refuse_driverless(function: pci.Function) -> None:
    """Raise NodedevError where nobody makes or removes functions; some drivers leave them there when they go."""
    if function.driver is None:
        raise NodedevError(
            f"{called(function.address)} has no driver, which makes and removes the virtual functions: load it, or bind"
            " the function"
        )


def _removal(wish: Wish, seen: Observation) -> list[Step]:
    if not seen.count or seen.function is None:
        return []
    virtual_functions.refuse_if_used(seen.functions, "removed", wish.force, bound=True)
    _refuse_driverless(seen.function)
    if seen.tools:
        _refuse_tools(seen)
        return [do.manage(seen.function, seen.tools[0], seen.functions, 0, wish.wait_timeout)]
    return [do.destroy(seen, seen.function, wish.wait_timeout)]


def _refuse_tools(seen: Observation) -> None:
    """Raise NodedevError where the tool of the card's vendor may not be used."""
    if len(seen.tools) > 1:
        raise NodedevError(
            f"{' and '.join(seen.tools)} are both there, so that {called(seen.address)} has two drivers' owners: remove"
            " one of them"
        )
    carrying = [f"{each.address} ({each.vgpu})" for each in seen.functions if each.vgpu]
    if carrying:
        raise InUse(
            f"{seen.tools[0]} would take the card from under its vGPUs, {', '.join(carrying)}: remove them first"
        )


def _planned(
    wish: Wish, seen: Observation, steps: Sequence[Step], count: int, kept: Declared | None
) -> Plan[Observation]:
    then = replace(seen, declared=wish.declared.over(kept), definition=kept, damaged=None)
    created: tuple[str, ...] = ()
    if seen.capability is not None:
        fresh = count != seen.count
        functions = _foretold(seen, count) if fresh else seen.functions
        if seen.declared.driver is not None and count:
            functions = tuple(_bound(each, str(seen.driver_of(each.address))) for each in functions)
        told: dict[int, Mapping[str, Any]] = {} if fresh else dict(seen.settings)
        for index, values in (seen.declared.vfs or ()) if count else ():
            told[index] = {**told.get(index, {}), **dict(values)}
        capability = replace(seen.capability, count=count)
        then = replace(then, capability=capability, functions=functions, settings=told)
        then = replace(then, controllers=() if fresh else seen.controllers)
        created = tuple(f"{seen.address}/{index}" for index in range(count)) if fresh else ()
    return Plan(tuple(steps), then, created)


def _foretold(seen: Observation, count: int) -> tuple[Virtual, ...]:
    where = seen.capability
    addresses = pci.places(seen.address, where.offset, where.stride, count) if where else ()
    return tuple(Virtual(index, addresses[index] if addresses else None) for index in range(count))


def look_again(wish: Wish, before: Observation, planned: Plan[Observation]) -> Observation:
    return observe(wish)


def clear_up(wish: Wish, seen: Observation) -> bool:
    """Set back what a killed run has left of its own for the making of functions."""
    return seen.function is not None and sriov.restore_autoprobe(seen.function)


def events(planned: Plan[Observation], after: Observation) -> list[str]:
    """The kernel's names of the functions, all of which are new where some are made."""
    return [each.address for each in after.functions if each.address]


def settled(wish: Wish, before: Observation, after: Observation) -> Observation:
    """With what comes later than a new function does: its group, its driver, its network interface."""
    known = {(each.address, each.driver) for each in before.functions}
    fresh = {(each.address, each.driver) for each in after.functions} - known
    # Others of the same addresses have come where their number is another.
    if after.function is None or (not fresh and after.count == before.count):
        return after
    driver = after.declared.driver
    virtual_functions.await_complete(after.function, not driver and _is_probed(after), wish.wait_timeout)
    return observe(wish)


def starts(seen: Observation) -> bool:
    return seen.definition is not None and seen.definition.number != "0"


def state(seen: Observation) -> dict[str, Any]:
    """What runs and what is kept, apart, as a diff shows them; of what runs, what is declared."""
    running: dict[str, Any] = {"numvfs": seen.count}
    if seen.declared.driver:
        running["driver"] = ", ".join(sorted({each.driver or binding.NONE for each in seen.functions}))
    if seen.declared.vfs:
        running["vfs"] = [_running(seen, index, values) for index, values in seen.declared.vfs]
    return {
        "runtime": {seen.address: running} if seen.count else {},
        "boot": {seen.address: seen.definition.document()} if seen.definition else {},
    }


def _running(seen: Observation, index: int, values: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """What a function has of what it is to have."""
    actual = seen.settings.get(index, {})
    return {"index": index, **{key: actual.get(key) for key, _value in values}}


def described(wish: Wish, before: Observation, planned: Plan[Observation], after: Observation) -> dict[str, Any]:
    """The functions afterwards; what hinders the use of one is a warning too."""
    found = [_described(after, each) for each in after.functions]
    unusable = [f"{each['name']} cannot be used: {each['unusable']}" for each in found if each["unusable"]]
    capability, function = after.capability, after.function
    return {
        KIND: {
            "name": device_name("pci", after.address),
            "address": after.address,
            "total": capability.total if capability else None,
            "numvfs": after.count,
            "autoprobe": capability.autoprobe if capability else None,
            "active": after.count > 0,
            "persistent": after.definition is not None,
            "driver": function.driver if function else None,
            "functions": found,
        },
        "warnings": [*planned.warnings, *after.warnings, *unusable],
    }


def _described(seen: Observation, each: Virtual) -> dict[str, Any]:
    told = seen.settings.get(each.index, {})
    mac = told.get("mac")
    return {
        "index": each.index,
        "name": device_name("pci", each.address) if each.address else None,
        "address": each.address,
        "driver": each.driver,
        "iommu_group": None if each.group is None else mdevs.group_number(each.group),
        "netdev": each.netdev,
        "mac": mac if mac not in (None, vf_settings.NO_MAC) else each.hardware,
        "vlan": told.get("vlan"),
        "holders": [use.holder.document() for use in each.uses if use.holder],
        "vgpu_type": each.vgpu,
        "unusable": _unusable(seen, each),
    }


def _unusable(seen: Observation, each: Virtual) -> str | None:
    """Why a function is there and cannot be used; None where it can, or is only foretold."""
    if each.function is None:
        return None
    if seen.function is not None and nvme_functions.is_for(seen.function):
        if not seen.has_nvme:
            return nvme_functions.MISSING
        return nvme_functions.why_unusable(seen.controllers, each.index)
    is_network = seen.function is not None and seen.function.is_network
    return virtual_functions.why_unusable(each, is_network, not seen.declared.driver and _is_probed(seen))
