# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia-smi says on a simulated host, of the cards that NVIDIA's driver has.

The forms are those of driver 580: `-q`, `-L` and what is said where there is nothing as seen on a card; `vgpu` as in
NVIDIA's guide and in what others have published of theirs. Only what somebody may ask of vGPUs is known; all else is
refused, with the words of the real program for an option that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from simhost import nvidia_mig
from simhost.drivers.nvidia_card import NO_PLACEMENT, NvidiaCard, VgpuType, cards
from simhost.drivers.nvidia_vgpu import NO_INSTANCE, NvidiaVgpu

if TYPE_CHECKING:
    from simhost.host import Host

Answer = tuple[int, str]
VERSION = "580.105.06"
_NOT_VGPU = "No supported devices in vGPU mode\n"
_NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running.\n\n"
)
_UNKNOWN = (1, "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n")
_IN_USE = 19
_ADDRESS = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
_WIDTH, _VGPU_WIDTH = 54, 41
# Letter of a type's name to its class and licence.
_CLASSES = {
    "B": ("NVS", "GRID-Virtual-PC,2.0"),
    "A": ("NVS", "GRID-Virtual-Apps,3.0"),
    "C": ("Compute", "NVIDIA-vComputeServer,9.0"),
}
_QUADRO = ("Quadro", "Quadro-Virtual-DWS,5.0")


def _lines(fields: Iterable[tuple[int, str, object]], width: int) -> str:
    """Lines of a key and its value, each indented by so many steps; a value of None makes a heading."""
    text = ""
    for depth, key, value in fields:
        start = "    " * depth + key
        text += f"{start}\n" if value is None else f"{start:<{width}} : {value}\n"
    return text


def long_address(card: NvidiaCard) -> str:
    """The card's address as nvidia-smi writes it: eight digits of the domain, in upper case."""
    return f"0000{card.device.name}".upper()


def _numbers(address: str) -> tuple[int, ...] | None:
    match = _ADDRESS.fullmatch(address)
    return None if match is None else tuple(int(part or "0", 16) for part in match.groups())


def chosen(found: list[NvidiaCard], name: str) -> list[NvidiaCard]:
    """The card with this index, UUID or address."""
    return [
        card
        for index, card in enumerate(found)
        if name in (str(index), card.uuid) or (_numbers(name) or ()) == _numbers(card.device.name)
    ]


def answer(host: Host, arguments: list[str]) -> Answer:
    """The exit status of a call and what it prints."""
    if not host.tree.exists("/sys/bus/pci/drivers/nvidia"):
        return 9, _NO_DRIVER
    with host.lock:
        there = cards(host)
        options, wanted = _without_choice(arguments)
        found = there if wanted is None else chosen(there, wanted)
        if not found:
            return 6, "No devices were found\n"
        if options == ["-L"]:
            return 0, "".join(f"GPU {i}: {c.product} (UUID: {c.uuid})\n" for i, c in enumerate(there) if c in found)
        if options == ["-q"]:
            return 0, _heading(len(there)) + "".join(_card(there.index(card), card) + "\n" for card in found)
        if options[:1] == ["vgpu"]:
            return _vgpu(found, options[1:])
        return _mig(there, found, options) or _UNKNOWN
    return _UNKNOWN


def _mig(there: list[NvidiaCard], found: list[NvidiaCard], options: list[str]) -> Answer | None:
    """What concerns MIG; None for what else there may be."""
    addresses = {card: long_address(card) for card in found}
    if options == ["--query-gpu=mig.mode.current,mig.mode.pending", "--format=csv,noheader"]:
        modes = [(nvidia_mig.WORDS[mode] for mode in (c.division.current, c.division.pending)) for c in found]
        return 0, "".join(f"{', '.join(modes_of)}\n" for modes_of in modes).replace("N/A", "[N/A]")
    if len(options) == 2 and options[0] == "-mig" and options[1] in ("0", "1"):
        return nvidia_mig.set_mode(found, addresses, options[1] == "1")
    if options == ["--gpu-reset"]:
        return nvidia_mig.reset(found, addresses)
    return nvidia_mig.answer(there, found, options[1:]) if options[:1] == ["mig"] and options[1:] else None


def _without_choice(arguments: list[str]) -> tuple[list[str], str | None]:
    """The arguments without -i, and what that names."""
    for index, argument in enumerate(arguments[:-1]):
        if argument in ("-i", "--id"):
            return arguments[:index] + arguments[index + 2 :], arguments[index + 1]
    for argument in arguments:
        if argument.startswith("--id="):
            return [other for other in arguments if other != argument], argument.removeprefix("--id=")
    return arguments, None


def _heading(count: int) -> str:
    fields: list[tuple[int, str, object]] = [
        (0, "Timestamp", "Fri Nov 27 05:14:53 2026"),
        (0, "Driver Version", VERSION),
        (0, "CUDA Version", "Not Found"),
        (0, "vGPU Driver Capability", None),
        (2, "Heterogenous Multi-vGPU", "Supported"),
    ]
    attached = _lines([(0, "Attached GPUs", count)], _WIDTH)
    return f"\n==============NVSMI LOG==============\n\n{_lines(fields, _WIDTH)}\n{attached}"


def _card(index: int, card: NvidiaCard) -> str:
    capable = "Supported" if card.switchable else "Not Supported"
    mode = "N/A" if not card.switchable else "Enabled" if card.heterogeneous else "Disabled"
    used = sum(each.type.framebuffer for each in card.made() if each.type is not None)
    address = long_address(card)
    fields: list[tuple[int, str, object]] = [
        (0, f"GPU {address}", None),
        (1, "Product Name", card.product),
        (1, "Product Brand", "NVIDIA"),
        (1, "Persistence Mode", "Enabled"),
        (1, "vGPU Device Capability", None),
        (2, "Fractional Multi-vGPU", "Supported"),
        (2, "Heterogeneous Time-Slice Profiles", "Supported"),
        (2, "Heterogeneous Time-Slice Sizes", capable),
        (1, "MIG Mode", None),
        (2, "Current", card.mig),
        (2, "Pending", nvidia_mig.WORDS[card.division.pending]),
        (1, "GPU UUID", card.uuid),
        (1, "Minor Number", index),
        (1, "GPU Virtualization Mode", None),
        (2, "Virtualization Mode", "None" if card.mode == "N/A" else "Host VGPU"),
        (2, "Host VGPU Mode", card.mode),
        (2, "vGPU Heterogeneous Mode", mode),
        (1, "PCI", None),
        (2, "Bus", f"0x{address[9:11]}"),
        (2, "Bus Id", address),
        (1, "FB Memory Usage", None),
        (2, "Total", f"{card.framebuffer} MiB"),
        (2, "Used", f"{used} MiB"),
        (2, "Free", f"{card.framebuffer - used} MiB"),
    ]
    architecture = card.division.architecture
    if architecture is not None:
        fields.insert(3, (1, "Product Architecture", architecture))
        fields += _processes(card)
    return _lines(fields, _WIDTH)


def _processes(card: NvidiaCard) -> list[tuple[int, str, object]]:
    found = card.division.processes
    fields: list[tuple[int, str, object]] = [(1, "Processes", None if found else "None")]
    for each in found:
        fields += [
            (2, "GPU instance ID", each.get("gpu_instance", "N/A")),
            (2, "Compute instance ID", 0 if "gpu_instance" in each else "N/A"),
            (2, "Process ID", each["pid"]),
            (3, "Type", "C"),
            (3, "Name", each["name"]),
            (3, "Used GPU Memory", "97 MiB"),
        ]
    return fields


def _vgpu(found: list[NvidiaCard], options: list[str]) -> Answer:
    able = [card for card in found if card.mode != "N/A"]
    if not able:
        return 0, _NOT_VGPU
    flags = set(options)
    if flags in ({"-s"}, {"-c"}, {"-s", "-v"}, {"-c", "-v"}):
        return 0, "".join(_types(card, "-s" in flags, "-v" in flags) + "\n" for card in able)
    if flags == {"-q"}:
        return 0, "".join(_running(card) + "\n" for card in able)
    if len(options) == 2 and options[0] == "-shm" and options[1] in ("0", "1"):
        return _set_mode(able, options[1] == "1")
    return _UNKNOWN


def _types(card: NvidiaCard, supported: bool, verbose: bool) -> str:
    types = card.supported() if supported else card.creatable()
    lines = [_type_fields(card, each) if verbose else f"    {each.name}\n" for each in types]
    return f"GPU {long_address(card)}\n{''.join(lines)}"


def _type_fields(card: NvidiaCard, each: VgpuType) -> str:
    class_, licence = _CLASSES.get(each.name[-1], _QUADRO)
    device, vendor = (str(card.device.attributes[name]).removeprefix("0x") for name in ("device", "vendor"))
    fields: list[tuple[int, str, object]] = [
        (1, "vGPU Type ID", f"0x{each.number:x}"),
        (2, "Name", each.name),
        (2, "Class", class_),
        (2, "GPU Instance Profile ID", "N/A" if each.profile is None else each.profile),
        (2, "Max Instances", each.most),
        (2, "Max Instances Per VM", 16 if class_ in ("Quadro", "Compute") else 1),
        (2, "Max Instances Per GI", "N/A" if each.profile is None else each.per_instance),
        (2, "Multi vGPU Exclusive", "False"),
        (2, "vGPU Exclusive Type", "False"),
        (2, "vGPU Exclusive Size", "False"),
        (2, "Device ID", f"0x{device}{vendor}"),
        (2, "Sub System ID", f"0x{each.number:04x}{vendor}"),
        (2, "FB Memory", f"{each.framebuffer} MiB"),
        (2, "Display Heads", 4 if class_ in ("Quadro", "NVS") else 1),
        (2, "Maximum X Resolution", 7680),
        (2, "Maximum Y Resolution", 4320),
        (2, "Frame Rate Limit", "60 FPS"),
        (2, "GRID License", licence),
    ]
    return _lines(fields, _VGPU_WIDTH)


def _running(card: NvidiaCard) -> str:
    running = [each for each in card.made() if each.is_in_use()]
    head: list[tuple[int, str, object]] = [(0, f"GPU {long_address(card)}", None), (1, "Active vGPUs", len(running))]
    return _lines(head, _VGPU_WIDTH) + "".join(_instance(each) for each in running)


def _instance(vgpu: NvidiaVgpu) -> str:
    assert vgpu.type is not None
    placement = "N/A" if vgpu.placement == NO_PLACEMENT else vgpu.placement
    numbers = _numbers(vgpu.device.name) or ()
    fields: list[tuple[int, str, object]] = [
        (1, "vGPU ID", 3251634176 + numbers[1] * 256 + numbers[2] * 8 + numbers[3]),
        (2, "VM UUID", "00000000-0000-4000-8000-000000000000"),
        (2, "VM Name", "simhost-guest"),
        (2, "vGPU Name", vgpu.type.name),
        (2, "vGPU Type", vgpu.type.number),
        (2, "Guest Driver Version", "N/A"),
        (2, "License Status", "N/A (Expiry: N/A)"),
        (2, "GPU Instance ID", "N/A" if vgpu.instance == NO_INSTANCE else vgpu.instance),
        (2, "Placement ID", placement),
        (2, "FB Memory Usage", None),
        (3, "Total", f"{vgpu.type.framebuffer} MiB"),
        (3, "Used", "0 MiB"),
        (3, "Free", f"{vgpu.type.framebuffer} MiB"),
    ]
    return _lines(fields, _VGPU_WIDTH)


def _set_mode(able: list[NvidiaCard], heterogeneous: bool) -> Answer:
    said = ""
    for card in able:
        name = long_address(card)
        if not card.switchable:
            return 3, f"{said}Unable to set vGPU heterogeneous mode for GPU {name}: Not Supported\n"
        if card.made():
            return _IN_USE, f"{said}Unable to set vGPU heterogeneous mode for GPU {name}: In use by another client\n"
        card.heterogeneous = heterogeneous
        said += f"{'Enabled' if heterogeneous else 'Disabled'} vGPU heterogeneous mode for GPU {name}\n"
    return 0, said
