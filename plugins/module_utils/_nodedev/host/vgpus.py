# SPDX-License-Identifier: GPL-3.0-or-later
"""vGPUs that are virtual functions: NVIDIA's driver for hosts makes them so where it makes no mediated devices.

It follows NVIDIA's vGPU user guide, on its vendor-specific VFIO framework: the id of a type is written to a file of the
function, in a folder that the driver adds some time after it has bound the function. What a function lists can be made
on it now: what the card carries already makes the list shorter, down to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import NodedevError
from ..names import called, device_name, named
from ..text import shown
from ..waiting import wait_for
from . import pci, sysfs, vfio, vgpu_cards, vgpu_types
from .numbers import integer
from .oddities import Oddities

FOLDER = "nvidia"
CURRENT = vgpu_cards.VENDORS_OWN
CREATABLE, PARAMS, PLACEMENT = (f"{FOLDER}/{name}" for name in ("creatable_vgpu_types", "vgpu_params", "placement_id"))
# What a function has that is no vGPU, and what stands for no place on its card.
NONE, NOWHERE = 0, 65535
# How many types a message names.
NAMED = 8
AS_MEDIATED = "makes vGPUs as mediated devices: hostdev.nodedev.vgpu_pool and hostdev.nodedev.mdev make them there"


@dataclass(frozen=True)
class Vgpu:
    """A virtual function as far as it can be a vGPU; ``index`` counts those of its card from 0.

    ``type`` is the id of the type that it has, NONE for none, and None where that is not known: ``hindrance`` says why.
    ``offers`` are the names of the types that can be made on it now, by their ids.
    """

    function: pci.Function
    index: int | None
    type: int | None
    hindrance: str | None = None
    offers: Mapping[int, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.function.address


def addresses() -> list[str]:
    """The functions that have the files of vGPUs now, sorted."""
    return [each for each in sysfs.names(pci.DEVICES) if sysfs.exists(f"{pci.DEVICES}/{each}/{CURRENT}")]


def why_not(asked: str) -> str:
    """What a device is, by its name or address, that is asked for and has no function with the files of vGPUs."""
    address = next((each for each in sysfs.names(pci.DEVICES) if asked in (each, device_name("pci", each))), None)
    if address is None:
        return "there is no such device"
    driver = sysfs.link_name(f"{pci.DEVICES}/{address}/driver")
    functions = pci.virtual_functions(f"{pci.DEVICES}/{address}")
    named = f" and {len(functions)} virtual functions" if functions else ""
    return f"it is there{f' with driver {driver}' if driver else ''}{named}, and none is a function that can be a vGPU"


def functions(card: str, oddities: Oddities, known: Vgpu | None = None) -> tuple[Vgpu, ...]:
    """All virtual functions of a card, by their index; one that vanishes meanwhile is left out.

    ``known`` is one that was looked at already.
    """
    found = []
    for index, address in enumerate(pci.virtual_functions(f"{pci.DEVICES}/{card}")):
        function = None if known is not None and known.address == address else pci.find(address)
        found += [known] if known is not None and known.address == address else []
        found += [look(function, index, oddities)] if function is not None else []
    return tuple(found)


def look(function: pci.Function, index: int | None, oddities: Oddities) -> Vgpu:
    """A function with its type, and where it has none with what it offers; ``index`` is None where it is not known."""
    try:
        type = current(function)
    except NodedevError as error:
        return Vgpu(function, index, None, str(error))
    return Vgpu(function, index, type, None, offers(function.path, oddities) if type == NONE else {})


def current(function: pci.Function) -> int:
    """The type that a function has, NONE for none; raises NodedevError, with what to do, where that is not told."""
    path = f"{function.path}/{CURRENT}"
    text = sysfs.read(path)
    if text is None:
        raise NodedevError(lack(function))
    value = integer(text.strip(), 10)
    if value is None:
        raise NodedevError(f"{path} is '{shown(text)}', which is not the id of a type")
    return value


def await_folder(function: pci.Function, seconds: float) -> bool:
    """Wait for the files by which a virtual function is made a vGPU, where it has none; whether they have come."""
    path = f"{function.path}/{CURRENT}"
    if function.physical is None or not _may_make(function.driver) or _is_parent(function) or sysfs.exists(path):
        return False
    return wait_for(lambda: sysfs.exists(path), seconds)


def _is_parent(function: pci.Function) -> bool:
    """Whether mediated devices are made on it."""
    return sysfs.exists(f"{function.path}/{vgpu_cards.MEDIATED}")


def instead(card: str) -> list[str]:
    """What a device that is named as a card has in the place of the function that is meant, in words about it."""
    function = pci.find(card)
    if function is None:
        return ["there is no such device"]
    if function.physical is not None:
        return [f"it is a virtual function of {called(function.physical)} itself"]
    if vgpu_cards.look(function, Oddities()).framework == vgpu_cards.MDEV:
        return [f"it {AS_MEDIATED}"]
    count = len(function.functions)
    return [f"name one of its {count} virtual functions, counted from 0"] if count else []


def _may_make(driver: str | None) -> bool:
    """Whether it may be a vendor's driver."""
    return driver is not None and not driver.startswith("vfio")


def lack(function: pci.Function, wanted: str = f"{FOLDER}/") -> str:
    """Why a function has not got what functions of its card have for vGPUs: their files, or their types of mdevs."""
    if function.driver is None:
        return f"{called(function.address)} has no driver, which makes vGPUs of its functions: bind nvidia to it"
    if not _may_make(function.driver):
        return (
            f"{called(function.address)} is bound to {function.driver}; a vGPU stays with its vendor's driver: bind"
            " nvidia to it"
        )
    if _is_parent(function):
        return f"{called(function.address)} {AS_MEDIATED}"
    return (
        f"{called(function.address)} has no {wanted} with driver {function.driver}: it comes some time after the"
        " function, and only with the driver for vGPU hosts, whose services have to run; see vgpu_facts"
    )


def offers(path: str, oddities: Oddities) -> dict[int, str]:
    """The names of the types that can be made now on the function in this folder, by id."""
    file = f"{path}/{CREATABLE}"
    types, odd = vgpu_types.listed(oddities.text(file) or "")
    if odd:
        oddities.add(f"{file} has lines that are not understood, as '{shown(odd[0])}'")
    return types


def params(path: str) -> str | None:
    """The parameters of the vGPU in this folder, as the driver keeps them; None where it has no such file."""
    text = sysfs.read(f"{path}/{PARAMS}")
    return None if text is None else text.strip()


def params_or(path: str, otherwise: str | None, oddities: Oddities) -> str | None:
    """The same; what they are taken to be where they cannot be read, with a warning."""
    try:
        return params(path)
    except NodedevError as error:
        oddities.add(error)
        return otherwise


def placement(path: str) -> int | None:
    """The place on its card of the vGPU in this folder; None where it has none, or does not tell."""
    value = integer((sysfs.read(f"{path}/{PLACEMENT}") or "").strip(), 10)
    return None if value in (None, NOWHERE) else value


def nodes(function: pci.Function) -> tuple[str, ...]:
    """The nodes by which a guest has the function, which are there while it is a vGPU; no others are looked at."""
    names = () if function.group is None else (function.group, f"noiommu-{function.group}")
    groups = (vfio.group_node(name) for name in names if sysfs.exists(f"{vfio.GROUPS}/{name}"))
    return (*groups, *vfio.cdevs_of(function.path))


def refusal(
    address: str, wanted: str, offers: Mapping[int, str], card: tuple[Vgpu, ...], types: Mapping[int, str]
) -> str:
    """Why a type cannot be made of a function now: what it offers, and what each function of its card is."""
    offered = ", ".join(vgpu_types.called(id, types) for id in sorted(offers)) or "no type at all"
    return (
        f"{called(address)} offers {offered} now, and not {wanted}: its card is full, or takes one framebuffer at a"
        f" time; of its functions there are: {told(card, types)}"
    )


def told(card: tuple[Vgpu, ...], types: Mapping[int, str]) -> str:
    """In words what each function of a card is now, those that are alike together."""
    groups: dict[str, list[str]] = {}
    for each in card:
        what = "unknown" if each.type is None else vgpu_types.called(each.type, types) if each.type else "no vGPU"
        groups.setdefault(what, []).append(each.address)
    parts = []
    for what, addresses in groups.items():
        parts.append(f"{what} on {named(addresses)}")
    return "; ".join(parts) or "none"
