# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of vgpu_facts: NVIDIA's cards, how they make vGPUs, which there are, and what this host lacks for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..errors import NodedevError
from ..grammar import kernel_address
from ..host import mdev_parents, nvml, pci_ids, vgpu_cards, vgpu_readiness
from ..host import nvidia_smi as tool
from ..host.nvml import Places
from ..host.oddities import Oddities
from ..host.vgpu_cards import Card, Mode
from ..host.vgpu_readiness import Driver, Finding
from ..host.vgpu_types import Type
from ..kinds.vgpu import definition as vgpu_definition
from ..names import called, device_name
from ..pools.capacity import Outlook
from . import vgpu_places
from .vgpu_places import Carried


@dataclass(frozen=True)
class Told:
    """What nvidia-smi tells of cards by their addresses; ``untold`` says why it does not, None where it does.

    ``failed`` says that it was asked. ``places`` are those of types on heterogeneous cards, of which NVML tells.
    """

    modes: Mapping[str, Mode] = field(default_factory=dict)
    types: Mapping[str, Mapping[int, Type]] = field(default_factory=dict)
    untold: str | None = None
    failed: bool = False
    places: Mapping[str, Mapping[int, Places]] = field(default_factory=dict)


def facts(parent: str | None = None, nvidia_smi: bool = True) -> dict[str, Any]:
    """The answer: NVIDIA's cards by libvirt's name, what the host has and lacks for vGPUs, and warnings.

    Narrowed to a card by name or address; one that is not there is warned of. Without ``nvidia_smi`` that program is
    not started, and what it alone tells is None.
    """
    oddities = Oddities()
    every = [card for card in oddities.attempt(partial(vgpu_cards.cards, oddities)) or [] if card.is_nvidia]
    cards = _chosen(every, parent, oddities)
    driver = vgpu_readiness.driver_of_host()
    told = _asked(cards, parent is not None, nvidia_smi, oddities)
    carried = _carried(cards, told, oddities)
    findings = {card.address: _findings(card, driver, told, carried[card.address]) for card in cards}
    readiness = [each.document(None) for each in [*vgpu_readiness.of_host(driver, every), *_tool(told, cards)]]
    readiness += [each.document(card) for card in cards for each in findings[card.address]]
    found = {_name(card): _card(card, told, carried[card.address], findings[card.address], oddities) for card in cards}
    return {"ansible_facts": {"vgpu": {"cards": found, "readiness": readiness}}, "warnings": oddities.warnings}


def _chosen(every: Collection[Card], parent: str | None, oddities: Oddities) -> list[Card]:
    if parent is None:
        return [*every]
    found = [card for card in every if parent == _name(card) or kernel_address(parent) == card.address]
    if not found:
        there = ", ".join(called(card.address) for card in every) or "none"
        oddities.add(f"parent: no GPU of NVIDIA's is called {parent}; those that are there: {there}")
    return found


def _name(card: Card) -> str:
    return device_name("pci", card.address)


def _asked(cards: Collection[Card], one: bool, allowed: bool, oddities: Oddities) -> Told:
    """Ask nvidia-smi about all cards, or about the first one alone, where its driver has any of them."""
    if not allowed:
        return Told(untold="nvidia-smi was not to be asked")
    if not tool.is_installed():
        return Told(untold="nvidia-smi is not installed")
    if not any(card.function.driver == vgpu_cards.DRIVER for card in cards):
        return Told(untold="its driver has no card")
    address = next(iter(cards)).address if one else None
    try:
        modes = tool.modes(address)
    except NodedevError as error:
        oddities.add(error)
        return Told(untold=str(error), failed=True)
    types = oddities.attempt(partial(tool.supported, address)) or {}
    own = [card.address for card in cards if card.framework == vgpu_cards.VFIO]
    shared = {card for card in own if (mode := modes.get(card)) and mode.heterogeneous}
    asked = {card: [id for id, each in own.items() if each.profile is None] for card, own in types.items()}
    places = nvml.places({card: asked[card] for card in sorted(shared & asked.keys())}, oddities)
    return Told(modes, types, places=places)


def _tool(told: Told, cards: Collection[Card]) -> list[Finding]:
    if not cards:
        return []
    if told.untold is None:
        return [Finding("nvidia_smi", True, "nvidia-smi tells of the cards")]
    if told.failed:
        advice = "dmesg has what the driver says of it, as NVRM or Xid"
        return [Finding("nvidia_smi", False, told.untold, advice)]
    if not tool.is_installed():
        advice = f"{vgpu_readiness.COMES_WITH}; no function is made a vGPU without it"
        needed = any(card.framework != vgpu_cards.MDEV for card in cards)
        return [Finding("nvidia_smi", False if needed else None, told.untold, advice)]
    return [Finding("nvidia_smi", None, told.untold)]


def _carried(cards: Collection[Card], told: Told, oddities: Oddities) -> dict[str, Carried]:
    """What each card carries, by their addresses, as far as that is known with the names of its types."""
    found = {card.address: vgpu_places.of_card(card, told.types.get(card.address, {}), oddities) for card in cards}
    for card in cards:
        if _is_refused(card, told):
            found[card.address] = replace(found[card.address], offered={})
    titles = _titles(found.values(), oddities)
    named = {address: vgpu_places.named(one, titles) for address, one in found.items()}
    return vgpu_places.with_holders(named)


def _is_refused(card: Card, told: Told) -> bool:
    """Whether no vGPUs are made of the functions of a card, whatever files they have: it is in another mode."""
    mode = told.modes.get(card.address)
    return card.framework == vgpu_cards.VFIO and mode is not None and not mode.is_sriov


def _titles(carried: Collection[Carried], oddities: Oddities) -> dict[int, str]:
    """The names of types that no driver offers now and no tool has told of, by our own records of vGPUs."""
    if not any(one.unnamed for one in carried):
        return {}
    definitions, damaged = oddities.attempt(vgpu_definition.DOCUMENTS.all) or ([], [])
    for each in damaged:
        oddities.add(each)
    return {id: title for each in definitions for id, title in each.titles.items()}


def _findings(card: Card, driver: Driver, told: Told, carried: Carried) -> list[Finding]:
    found = vgpu_readiness.of_card(card, driver)
    if card.function.driver != vgpu_cards.DRIVER:
        return found
    mode = told.modes.get(card.address)
    found.append(vgpu_readiness.mode(card, mode, told.untold))
    hindered = sum(each.hindrance is not None for each in carried.places)
    if hindered and card.framework is not None:
        found = [vgpu_readiness.hindered(card, hindered) if each.what == "functions" else each for each in found]
    if card.framework == vgpu_cards.VFIO and carried.is_stuck and not _is_refused(card, told):
        found = [*(each for each in found if each.what != "types"), vgpu_readiness.offers(mode)]
    return found


def _card(card: Card, told: Told, carried: Carried, findings: list[Finding], oddities: Oddities) -> dict[str, Any]:
    path, mode = card.function.path, told.modes.get(card.address, Mode())
    node = oddities.number(f"{path}/numa_node", lowest=mdev_parents.NO_NODE)
    identity = pci_ids.identity(path, oddities)
    refused = _is_refused(card, told)
    why = next((each.text for each in findings if each.ok is False and (each.what == "mode") == refused), None)
    framework = None if refused else card.framework
    # What a GPU instance of MIG takes is not counted by the card.
    outlooks = {} if refused or mode.mig else carried.outlooks(bool(mode.heterogeneous))
    return {
        "name": _name(card),
        "address": card.address,
        "driver": card.function.driver,
        "vendor": identity.get("vendor"),
        "product": identity.get("product"),
        "numa_node": None if node == mdev_parents.NO_NODE else node,
        "framework": framework,
        "why": why if framework is None else None,
        "mode": mode.host,
        "heterogeneous": mode.heterogeneous,
        "mig": mode.mig,
        "total": card.total,
        "functions": [each.document(carried.types) for each in carried.places],
        "types": [
            _type(each, carried, outlooks, told.places.get(card.address, {}).get(id))
            for id, each in sorted(carried.types.items())
        ],
    }


def _type(type: Type, carried: Carried, outlooks: Mapping[int, Outlook], places: Places | None) -> dict[str, Any]:
    outlook = outlooks.get(type.id)
    free = carried.free(type, outlook.now if outlook else None)
    then = outlook.then if outlook and free else {}
    return {
        "id": type.id,
        "name": type.name or None,
        "framebuffer": type.framebuffer,
        "most": type.most,
        "now": carried.now(type.id),
        "free": free,
        "free_released": outlook.released if outlook else None,
        "free_emptied": outlook.emptied if outlook else None,
        "free_then": {carried.types[id].name or str(id): count for id, count in then.items()},
        "placement_ids": None if places is None else [*places.creatable],
    }
