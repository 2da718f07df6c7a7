# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from ...host import binding, nvme_functions, pci, sriov, sriov_manage, vf_settings, virtual_functions
from ...host.virtual_functions import Virtual
from ...names import called
from ...plan import Step
from .declared import functions_of


class Seen(Protocol):
    """The functions that there are, with what the driver of a network card was told of them by that interface.

    ``manages`` says whether they are those of the NVMe controller ``node``.
    """

    @property
    def functions(self) -> Sequence[Virtual]: ...

    @property
    def settings(self) -> Mapping[int, Mapping[str, Any]]: ...

    @property
    def interface(self) -> str | None: ...

    @property
    def manages(self) -> bool: ...

    @property
    def node(self) -> str | None: ...


def create(function: pci.Function, count: int, probed: bool | None, later: bool, seconds: float) -> Step:
    """Have so many functions made where there are none; ``later`` says that the kernel is to bind them in the end."""
    how = "" if probed is None else f", {'bound' if probed else 'not bound'} by the kernel"
    making = (
        partial(sriov.enable_unbound, function, count, seconds)
        if later
        else partial(sriov.enable, function, count, probed, seconds)
    )
    described = f"create {count} virtual functions of {called(function.address)}{how}"
    return Step(described, making, partial(sriov.disable, function, seconds))


def destroy(seen: Seen, function: pci.Function, seconds: float) -> Step:
    """Have all functions removed; they come back with what their driver was told, and on the drivers they had."""

    def undo() -> None:
        count = len(seen.functions)
        if seen.manages:
            nvme_functions.prepare(function, str(seen.node), count, seconds)
        # Not bound before they have what their drivers look for.
        sriov.enable(function, count, False, seconds)
        if seen.manages:
            nvme_functions.bring_online(str(seen.node), count)
        if seen.interface is not None:
            for index, values in seen.settings.items():
                vf_settings.put_back(seen.interface, index, values)
        virtual_functions.put_back(function, seen.functions, seconds)

    return Step(f"destroy {_named(function, seen.functions)}", partial(sriov.disable, function, seconds), undo)


def manage(function: pci.Function, tool: str, former: Sequence[Virtual], count: int, seconds: float) -> Step:
    """Have all functions enabled, or disabled where ``count`` is 0, by the tool of the card's vendor."""
    what = f"enable {functions_of(function.address)}" if count else f"disable {_named(function, former)}"
    return Step(
        f"{what} by {tool}",
        partial(sriov_manage.set_all, function, tool, count, seconds),
        partial(sriov_manage.set_all, function, tool, len(former), seconds),
    )


def _named(function: pci.Function, functions: Sequence[Virtual]) -> str:
    return f"{functions_of(function.address)}, {', '.join(str(each.address) for each in functions)}"


def prepare(function: pci.Function, node: str, count: int, seconds: float) -> Step:
    """Have the controllers of NVMe functions ready for being brought online; what they have hurts nobody."""
    return Step(
        f"give queues and interrupts of {node} to the controllers of {count} virtual functions",
        partial(nvme_functions.prepare, function, node, count, seconds),
    )


def online(node: str, count: int) -> Step:
    """Bring the controllers of NVMe functions online."""
    return Step(
        f"bring the controllers of {count} virtual functions of {node} online",
        partial(nvme_functions.bring_online, node, count),
        partial(nvme_functions.take_offline, node, count),
    )


def configure(address: str, interface: str, index: int, values: Mapping[str, Any], former: Mapping[str, Any]) -> Step:
    """Tell the driver of a network card of one function; ``former`` is what to tell it for taking that back."""
    told = ", ".join(f"{key} {vf_settings.word(value)}" for key, value in values.items())
    return Step(
        f"set {told} of virtual function {index} of {called(address)}",
        partial(vf_settings.change, interface, index, values),
        partial(vf_settings.change, interface, index, former) if former else None,
    )


def bind(
    function: pci.Function, index: int, driver: str, probed: bool | None, seconds: float, former: Virtual | None = None
) -> Step:
    """Bind a function to a driver, to none, or to the kernel's choice where the name is empty.

    ``probed`` is whether the kernel is to choose one, None for what it does anyway. ``former`` is the function as it
    was, None for a new one, with which all of that goes.
    """
    what = f"virtual function {index} of {called(function.address)}"
    told = {binding.NONE: f"leave {what} without a driver", "": f"give {what} back to the kernel's choice of a driver"}
    return Step(
        told.get(driver, f"bind {what} to {driver}"),
        partial(virtual_functions.bind, function, index, driver, probed, seconds),
        partial(virtual_functions.put_back, function, [former], seconds) if former else None,
    )


def probe(function: pci.Function, seconds: float) -> Step:
    """Have the kernel choose drivers, now that what they need is set."""
    return Step(
        f"have the kernel choose drivers for {functions_of(function.address)}",
        partial(virtual_functions.probe, function, seconds),
    )
