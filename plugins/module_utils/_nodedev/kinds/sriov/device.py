# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual functions of a physical one: the plan that makes them as wished, their definition, what is told of them.

Identity is the address of the physical function. How many functions there are is one number, which the kernel takes
from none to some and back only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import BadInput, InUse, Missing, NodedevError
from ...host import (
    binding,
    holders,
    mdevs,
    nvme_functions,
    pci,
    sriov,
    sriov_manage,
    vf_settings,
    virtual_functions,
)
from ...host.processes import Holder
from ...host.virtual_functions import Virtual
from ...names import called, device_name
from ...plan import Step
from ...resource import Plan
from ...store.files import removal
from . import steps as do
from .declared import KIND, MAX, Declared, define, functions_of, undefine
from .seen import (
    Observation,
    Wish,
    are_made,
    driver_named,
    is_unlike,
    locks,
    observe,
    unlike_declared,
)

__all__ = [
    "PEER",
    "SUBSYSTEM",
    "Wish",
    "clear_up",
    "described",
    "events",
    "locks",
    "look_again",
    "observe",
    "plan",
    "settled",
    "starts",
    "state",
]

# Of udev's events.
SUBSYSTEM = "pci"
PEER = None


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
    fresh = are_made(seen, count)
    steps = _removal(wish, seen) if fresh else []
    if fresh and count and seen.function:
        steps += _creation(wish, seen, seen.function, count)
    for index, unlike in _unlike(seen, fresh).items():
        if not _holders(wish, seen, index, fresh):
            known = {} if fresh else seen.settings.get(index, {})
            former = {key: known[key] for key in unlike if key in known}
            steps.append(do.configure(seen.address, str(seen.interface), index, unlike, former))
    if not fresh:
        again = seen.unbound and not seen.declared.driver
        return steps + (_probing(wish, seen) if again else _bindings(wish, seen))
    if seen.declared.driver and seen.function:
        drivers = [str(seen.driver_of(each.address)) for each in _foretold(seen, count)]
        steps += [do.bind(seen.function, index, name, None, wish.wait_timeout) for index, name in enumerate(drivers)]
    elif count and _are_probed_later(seen):
        steps += _probing(wish, seen)
    return steps


def _probing(wish: Wish, seen: Observation) -> list[Step]:
    return [do.probe(seen.function, wish.wait_timeout)] if seen.function else []


def _unlike(seen: Observation, fresh: bool) -> dict[int, dict[str, Any]]:
    """By index what functions are to have, as far as they do not have it; ``fresh`` ones have nothing."""
    found = {}
    for index, values in seen.declared.vfs or ():
        known = {} if fresh else seen.settings.get(index, {})
        found[index] = {key: value for key, value in values if known.get(key) != value}
    return {index: unlike for index, unlike in found.items() if unlike}


def _holders(wish: Wish, seen: Observation, index: int, fresh: bool) -> list[Holder]:
    """Who has a function of which nothing is to change therefore; libvirt sets such for its guests itself."""
    if wish.force or fresh:
        return []
    return [use.holder for each in seen.functions if each.index == index for use in each.uses if use.holder]


def _bindings(wish: Wish, seen: Observation) -> list[Step]:
    """What gives functions that are there the driver that is declared, or the kernel's choice where that is said."""
    function = seen.function
    if function is None:
        return []
    unlike = unlike_declared(seen)
    virtual_functions.refuse_if_used(unlike, "bound to another driver", wish.force)
    drivers = [str(seen.driver_of(each.address)) for each in unlike]
    probed = seen.declared.autoprobe
    return [do.bind(function, each.index, name, probed, wish.wait_timeout, each) for each, name in zip(unlike, drivers)]


def _bound(each: Virtual, driver: str) -> Virtual:
    """The function when it has been given this driver, as far as that can be known."""
    if not is_unlike(each, driver):
        return each
    bound = driver_named(driver) if driver else None
    return replace(each, function=None, driver=bound, override=None, netdev=None, hardware=None)


def _is_probed(seen: Observation) -> bool:
    """Whether the kernel is to choose drivers for new functions."""
    if seen.declared.autoprobe is not None:
        return seen.declared.autoprobe
    return seen.capability is None or seen.capability.autoprobe is not False


def _is_deferred(seen: Observation) -> bool:
    """Whether new functions get something before a driver gets them."""
    with_mac = any("mac" in dict(values) for _index, values in seen.declared.vfs or ())
    return with_mac or bool(seen.declared.driver) or seen.manages


def _are_probed_later(seen: Observation) -> bool:
    """Whether the kernel chooses drivers of new functions when these have what the drivers look for."""
    return not seen.declared.driver and _is_deferred(seen) and _is_probed(seen)


def _creation(wish: Wish, seen: Observation, function: pci.Function, count: int) -> list[Step]:
    _refuse_driverless(function)
    if seen.tools:
        _refuse_tools(seen)
        return [do.manage(function, seen.tools[0], seen.functions, count, wish.wait_timeout)]
    probed = False if _is_deferred(seen) else seen.declared.autoprobe
    making = [do.create(function, count, probed, _are_probed_later(seen), wish.wait_timeout)]
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
    late: list[str] = []
    if seen.capability is not None:
        fresh = are_made(seen, count)
        functions = _foretold(seen, count) if fresh else seen.functions
        if seen.declared.driver is not None and count:
            functions = tuple(_bound(each, str(seen.driver_of(each.address))) for each in functions)
        told: dict[int, Mapping[str, Any]] = {} if fresh else dict(seen.settings)
        for index, unlike in _unlike(seen, fresh).items() if count else ():
            held = _holders(wish, seen, index, fresh)
            if held:
                late.append(
                    f"virtual function {index} of {called(seen.address)} is in use by {holders.named(held)}: its"
                    f" {', '.join(unlike)} stays as it is until that ends, unless force: true is set"
                )
            else:
                told[index] = {**told.get(index, {}), **unlike}
        capability = replace(seen.capability, count=count)
        then = replace(then, capability=capability, functions=functions, settings=told)
        then = replace(then, controllers=() if fresh else seen.controllers, unbound=False)
        created = tuple(f"{seen.address}/{index}" for index in range(count)) if fresh else ()
    return Plan(tuple(steps), then, created, warnings=tuple(late))


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
    # Others of the same addresses have come where they were made anew.
    if after.function is None or not (fresh or are_made(before, after.count)):
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
        "warnings": [*planned.warnings, *after.warnings, *_other_owners(planned.steps, function), *unusable],
    }


def _other_owners(steps: Sequence[Step], function: pci.Function | None) -> list[str]:
    """The warnings that name who else has the card's functions made, for a plan that changes something."""
    if not steps or function is None:
        return []
    from ...host import function_owners

    is_nvidia = sriov_manage.is_for(function)
    card = function_owners.card(function.address, pci.interfaces(function.path), function.driver, is_nvidia)
    return function_owners.warnings(card)


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
