# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed vGPUs that are functions: which of them a domain names, and how one is made for it and cleared after it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ... import locks, resource
from ...errors import BadInput, InUse, NodedevError
from ...grammar import checked_function
from ...host import holders, pci, starting, vgpus
from ...host.oddities import Oddities
from ...libvirt.domain_document import Hostdev
from ...plan import apply
from . import device, restored, steps
from .definition import DOCUMENTS, Definition, vgpu_of
from .device import Wish

# How a document names a function.
PARTS = ("domain", "bus", "slot", "function")


def named(devices: Iterable[Hostdev]) -> list[str]:
    """The addresses of the PCI functions among those of a domain, each once."""
    found = [_address(each) for each in devices if each.type == "pci"]
    return [*dict.fromkeys(address for address in found if address is not None)]


def _address(device: Hostdev) -> str | None:
    """The address as the kernel writes it; libvirt writes each part as a number, and perhaps no domain."""
    try:
        domain, bus, slot, function = (int(device.address.get(part, "0"), 0) for part in PARTS)
        return checked_function("address", f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    except (ValueError, BadInput):
        return None


def managed(address: str) -> Definition | None:
    """The definition of a vGPU that is managed, None of any other function.

    Raises NodedevError where what is defined of the function cannot be understood, since it may be managed.
    """
    found = DOCUMENTS.find(address)
    return found if found is not None and found.managed else None


def is_there(address: str) -> bool:
    """Whether the function is a vGPU now, whoever made it."""
    function = pci.find(address)
    return function is not None and vgpus.look(function, None, Oddities()).type not in (None, vgpus.NONE)


def make(definition: Definition, seconds: float) -> bool:
    """Make the vGPU with its parameters; whether it was not there before.

    What is in its way for a moment is waited for, so many seconds.
    """
    hindrance = resource.lasting(partial(restored.hindrance, definition), seconds)
    if hindrance is not None:
        raise NodedevError(f"{vgpu_of(definition.address)} cannot be made: {hindrance.reason}")
    wish = Wish(device=definition.address, lends=True, wait_timeout=seconds)
    return bool(resource.ensure(device, wish)["changed"])


def unmake(address: str, seconds: float) -> None:
    """Clear the function, if it is what is defined of it; raises InUse where somebody has it and does not let go."""
    with locks.held([pci.lineage(address)[0]], seconds):
        definition, function = DOCUMENTS.find(address), pci.find(address)
        if definition is None or function is None:
            return
        if vgpus.look(function, None, Oddities()).type != definition.type:
            return
        held = starting.still_held(vgpus.nodes(function), seconds)
        if held:
            documents = [each.document(function=address) for each in held]
            raise InUse(f"{vgpu_of(address)} is in use by {holders.named(held)}", documents)
        apply([steps.clear(definition, seconds)])


def nodes(address: str) -> tuple[str, ...]:
    """The nodes by which the vGPU is opened; none where the function is not there."""
    function = pci.find(address)
    return () if function is None else vgpus.nodes(function)
