# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual function as it is used: its driver, network interface, users, vGPU."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..errors import InUse, NodedevError
from ..names import called, named
from ..waiting import wait_for
from . import binding, mdevs, pci, pci_users, sriov, sysfs, udev_events, vgpu_cards
from .driverctl_turn import await_turn
from .pci_users import Use

# Drivers that give a function to guests or to programs and make no network interface: vfio-pci and its variants, uio.
HANDING_ON = ("vfio", "uio", "igb_uio", "pci-stub", "pci-pf-stub")
NO_VGPU = ("", "0")


@dataclass(frozen=True)
class Virtual:
    """A virtual function; ``index`` counts those of the physical one from 0. ``function`` is it as it was found.

    ``netdev`` is its network interface as far as it is in this network namespace, ``hardware`` the address of that.
    ``vgpu`` is the type of the vGPU that it carries. Of one that is only foretold all but ``driver`` is unknown.
    """

    index: int
    address: str | None
    function: pci.Function | None = None
    driver: str | None = None
    override: str | None = None
    group: str | None = None
    netdev: str | None = None
    hardware: str | None = None
    vgpu: str | None = None
    uses: tuple[Use, ...] = ()


def _hands_on(driver: str) -> bool:
    """Whether a driver makes no network interface."""
    return driver.startswith(HANDING_ON) or driver.endswith("_vfio_pci")


def _lacks_interface(path: str, driver: str) -> bool:
    """Whether the function in this folder has no network interface anywhere, which its driver is there to make."""
    if _hands_on(driver) or sysfs.exists(f"{path}/mdev_supported_types"):
        return False
    # This folder is there as long as it has any, in whatever network namespace.
    return not sysfs.exists(f"{path}/net") and not pci.interfaces(path)


def _is_named(path: str, driver: str) -> bool:
    """Whether its interface, if it is to have one, is there and has got its name of udev, which is a moment later."""
    return not _lacks_interface(path, driver) and all(map(udev_events.has_named, pci.interfaces(path)))


def of(function: pci.Function) -> tuple[Virtual, ...]:
    """All virtual functions of a physical one, by their index; one that vanishes meanwhile is left out.

    Who uses them is not looked for.
    """
    found = [pci.find(address) for address in function.functions]
    running = mdevs.running() if any(found) else []
    return tuple(_looked(index, each, running) for index, each in enumerate(found) if each is not None)


def _looked(index: int, function: pci.Function, running: list[mdevs.Mdev]) -> Virtual:
    interface = next(iter(pci.interfaces(function.path)), None)
    mine = [each for each in running if each.parent == function.address]
    vgpu = sysfs.read(f"{function.path}/{vgpu_cards.VENDORS_OWN}") or ""
    return Virtual(
        index,
        function.address,
        function,
        function.driver,
        function.override,
        function.group,
        interface,
        None if interface is None else sysfs.read(f"/sys/class/net/{interface}/address"),
        vgpu if vgpu not in NO_VGPU else next((each.type for each in mine), None),
    )


def with_uses(functions: Collection[Virtual], taken: bool) -> tuple[Virtual, ...]:
    """The functions with all their uses where they would be ``taken`` away, else with who is seen to have them."""
    found = [each.function for each in functions if each.function is not None]
    uses = pci_users.of(found) if taken else pci_users.held(found)
    return tuple(replace(each, uses=tuple(uses.get(str(each.address), ()))) for each in functions)


def refuse_if_used(functions: Collection[Virtual], what: str, force: bool, bound: bool = False) -> None:
    """Raise InUse, naming the uses, where functions are used and may not be taken away from under their users.

    ``what`` is what would be done to them, ``bound`` says whether a driver is a use too. What a guest has is refused
    whatever ``force`` says.
    """
    uses = [(str(each.address), use) for each in functions for use in _uses(each, bound)]
    never, unless = ([(each, use) for each, use in uses if use.forcible is forcible] for forcible in (False, True))
    held = [use.document(function=each) for each, use in never or unless]
    if never:
        raise InUse(
            f"virtual functions that somebody has would be {what}, which force does not do: {_told(never)}", held
        )
    if unless and not force:
        raise InUse(
            f"virtual functions that are in use would be {what}: {_told(unless)}: set force: true to do so all the"
            f" same{pci_users.costs(use for _each, use in uses)}",
            held,
        )


def _told(uses: Collection[tuple[str, Use]]) -> str:
    """Functions with their uses, those that are used alike together."""
    alike: dict[str, list[str]] = {}
    for address, use in uses:
        alike.setdefault(use.text, []).append(address)
    return "; ".join(f"{named(addresses)}: {text}" for text, addresses in alike.items())


def _uses(each: Virtual, bound: bool) -> list[Use]:
    """The uses of a function, with what it carries, and where that counts with its driver."""
    found = [*each.uses]
    if each.vgpu and not each.uses:
        found.append(Use(f"it carries a vGPU of type {each.vgpu}", True, cost=pci_users.CARRIED))
    return found + ([Use(f"it is bound to {each.driver}", True)] if bound and each.driver else [])


def await_complete(function: pci.Function, probed: bool, seconds: float) -> bool:
    """Wait until all virtual functions have what comes later than they do; whether that is so after so many seconds.

    ``probed`` says whether the kernel is to find drivers, whose modules udev loads. An interface has its name when udev
    has given it.
    """
    grouped = function.group is not None

    def complete() -> bool:
        for address in pci.virtual_functions(function.path):
            each = pci.find(address)
            if each is None or (grouped and each.group is None):
                return False
            if each.driver is None and probed and not udev_events.settle(0):
                return False
            if function.is_network and each.driver is not None and not _is_named(each.path, each.driver):
                return False
        return True

    return wait_for(complete, seconds)


def why_unusable(each: Virtual, is_network: bool, probed: bool) -> str | None:
    """Why a function is there and cannot be used; None where it can. ``probed`` is as of await_complete()."""
    if each.group is None and each.driver is not None and each.driver.startswith("vfio") and each.driver != "vfio":
        return "it has no IOMMU group, so that no guest can have it"
    if each.driver is None:
        return "no driver of this host has taken it" if probed else None
    if is_network and each.function is not None and _lacks_interface(each.function.path, each.driver):
        return f"its driver {each.driver} has made no network interface"
    return None


def bind(function: pci.Function, index: int, driver: str, probed: bool | None, seconds: float) -> None:
    """Have a driver have the function of this index, binding.NONE none, and an empty name the kernel's choice.

    ``probed`` is whether the kernel is to choose one at all, None for what it does anyway. The driver's module is
    loaded where it is not there; what is defined for driverctl too is left to that first.
    """
    target = _target(function, index)
    await_turn(target.bus, target.address)
    if not driver:
        with sriov.autoprobing(function, probed, seconds):
            binding.give_back(target, seconds)
        return
    if driver != binding.NONE and not binding.is_loaded("pci", driver):
        binding.load("pci", driver)
    binding.bind(target, driver, seconds)


def probe(function: pci.Function, seconds: float) -> None:
    """Have the kernel look for drivers of all virtual functions that have none; none that takes one is no error."""
    with sriov.autoprobing(function, True, seconds):
        # Else the kernel says that it is done, and does nothing.
        for index, address in enumerate(pci.virtual_functions(function.path)):
            target = _target(function, index)
            if target.driver is None:
                _probe(target, address, seconds)
    sriov.forget_unbound(function)


def _probe(target: binding.Target, address: str, seconds: float) -> None:
    try:
        binding.probe(target, seconds)
    except sysfs.SysfsError as error:
        # Its driver was asked, and did not take it, which is told of the function.
        if not sysfs.exists(f"{pci.DEVICES}/{address}"):
            raise NodedevError(f"{called(address)} has vanished") from error


def put_back(function: pci.Function, before: Collection[Virtual], seconds: float) -> None:
    """Have functions on the drivers that they had, with the overrides that they had."""
    with sriov.autoprobing(function, True, seconds):
        # Else no driver has them but by an override.
        for each in before:
            target = _target(function, each.index)
            if each.override is not None and target.driver != each.driver and each.driver is not None:
                binding.bind(target, each.override, seconds)
            else:
                binding.put_back(target, each.override, each.driver, seconds)


def _target(function: pci.Function, index: int) -> binding.Target:
    found = pci.virtual_functions(function.path)
    path = sysfs.target(f"{pci.DEVICES}/{found[index]}") if index < len(found) else None
    if path is None:
        raise NodedevError(f"virtual function {index} of {called(function.address)} is gone")
    return binding.Target("pci", found[index], path)
