# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants of the virtual functions of a physical one, and what is there of them: functions, tools, uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import wishes
from ...errors import NodedevError
from ...grammar import checked_function
from ...host import (
    binding,
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
from ...store import driverctl
from ...store.files import DamagedDefinition
from ...text import shown
from .declared import DOCUMENTS, Declared, declare


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
    card's, ``controllers`` its functions'. ``unbound`` says that a killed run has left it to bind them. ``loadable``
    says whether there is such a driver as is wished, and ``suggestion`` which one may be meant where there is none.
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
    unbound: bool = False
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
    """Read what the wish touches: the physical function, its functions and who uses them, the definition."""
    seen = look(wish)
    if seen.function is None:
        return seen
    warnings = _doubts(seen.declared, seen.interface) if seen.interface else ()
    functions = virtual_functions.with_uses(seen.functions, takes_away(wish, seen))
    return replace(seen, functions=functions, warnings=warnings, **_loading(seen.declared.driver))


def takes_away(wish: Wish, seen: Observation) -> bool:
    """Whether functions that there are would be removed, or taken from their drivers."""
    count = seen.declared.count(seen.capability.total if seen.capability else None)
    return (
        wish.state != "present" or are_made(seen, seen.count if count is None else count) or bool(unlike_declared(seen))
    )


def are_made(seen: Observation, count: int) -> bool:
    """Whether so many functions have to be made: there are others, or those of an NVMe card that cannot be used.

    Controllers are brought online by whoever makes them, so that there was no nvme-cli then, or the run was killed.
    """
    offline = any(not each.online for each in seen.controllers if each.number <= count)
    return count != seen.count or (offline and seen.declared.number is not None)


def look(wish: Wish) -> Observation:
    """The same without who uses the functions, and without what is for whoever changes something."""
    definition, damaged = DOCUMENTS.look(wish.declared.address)
    seen = Observation(wish.declared.over(definition), definition=definition, damaged=damaged)
    function = pci.find(seen.address)
    if function is None:
        return seen
    functions = virtual_functions.of(function)
    unbound = bool(functions) and sriov.are_unbound(function)
    seen = replace(seen, function=function, capability=sriov.capability(function), functions=functions, unbound=unbound)
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


def unlike_declared(seen: Observation) -> list[Virtual]:
    """The functions that have another driver than they are to have."""
    if seen.declared.driver is None:
        return []
    return [each for each in seen.functions if is_unlike(each, str(seen.driver_of(each.address)))]


def is_unlike(each: Virtual, driver: str) -> bool:
    """Whether a function has another driver than declared, or one that is not the kernel's choice."""
    return each.driver != driver_named(driver) if driver else each.override is not None


def driver_named(name: str) -> str | None:
    """The driver that a function of this declaration has."""
    return None if name == binding.NONE else name
