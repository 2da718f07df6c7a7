# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for NVIDIA's tool, for cards of nvidiasim: what it says of virtual GPUs, in its form and exit codes."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Beside it in the guest, of the simulated host's here.
import nvidia_mig

DEVICES = "/sys/bus/pci/devices"
PRODUCT = "NVIDIA L40S"
DEVICE_ID = "0x26b910de"
VERSION = "580.159.04"
NAMESPACE = uuid.UUID("6a1c5f0e-2f1b-4b7c-9d55-0a4c3a6e9b01")
# NVML's numbers, which are exit codes.
INVALID, NOT_FOUND, IN_USE = 2, 6, 19
# MIG's of a card with 8 slices of 1 GiB; the mode changes at once and is lost, as of this generation.
DIVISION = {
    "architecture": "Hopper",
    "profiles": {
        19: {"name": "1g.1gb", "memory": 1, "compute": 1, "gib": 1, "total": 7},
        9: {"name": "3g.4gb", "memory": 4, "compute": 3, "gib": 4, "total": 2},
    },
}
NO_INSTANCE = 0xFFFFFFFF


class Refusal(Exception):
    """What is said, and the exit code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class VgpuType:
    """A type as the module has it: its framebuffer in MiB, the most that a card takes, and whether one fits now.

    One for MIG has the profile of its GPU instances and how many one of these takes; others have 0.
    """

    number: int
    framebuffer: int
    maximum: int
    creatable: bool
    profile: int
    per_instance: int
    name: str


@dataclass(frozen=True)
class Vgpu:
    """A function that has a type: the ids of this and of its GPU instance."""

    address: str
    type: int
    instance: int


@dataclass(eq=False)
class Card:
    """A physical function that has the driver."""

    address: str

    @functools.cached_property
    def division(self) -> Any:
        """How MIG divides the card, as the module has it until keep()."""
        card: Any = self
        mode, *lines = self.read("mig").splitlines()
        division = nvidia_mig.Mig(card, DIVISION, nvidia_mig.WORDS[mode == "1"])
        profiles = {each.number: each for each in division.profiles}
        for each in lines:
            number, profile, start, _memory, _compute, computes = map(int, each.split())
            instance = nvidia_mig.Instance(number, profiles[profile], start, [*range(computes)])
            division.instances.append(instance)
        return division

    def keep(self) -> None:
        """Have the module know how MIG divides the card now; OSError EBUSY where a vGPU would lose its place."""
        lines = [str(int(self.division.current))]
        for each in self.division.instances:
            profile = each.profile
            lines.append(
                f"{each.number} {profile.number} {each.start} {profile.memory} {profile.compute} {len(each.compute)}"
            )
        text = "".join(f"{each}\n" for each in lines)
        if text != self.read("mig"):
            with open(self.path("mig"), "w", encoding="ascii") as file:
                file.write(text)

    def made(self) -> list[Vgpu]:
        """The functions that have a type."""
        found = []
        for folder in glob.glob(f"{DEVICES}/{self.address}/virtfn*/nvidia"):
            # It comes and goes with its files.
            with contextlib.suppress(OSError):
                number, instance = (number_in(f"{folder}/{each}") for each in ("current_vgpu_type", "gpu_instance_id"))
                if number:
                    found.append(Vgpu(os.path.basename(os.path.realpath(os.path.dirname(folder))), number, instance))
        return found

    @property
    def bus_id(self) -> str:
        return f"0000{self.address}".upper()

    @property
    def uuid(self) -> str:
        return f"GPU-{uuid.uuid5(NAMESPACE, self.address)}"

    @property
    def is_heterogeneous(self) -> bool:
        return self.read("heterogeneous").strip() == "1"

    @property
    def types(self) -> list[VgpuType]:
        found = []
        for line in self.read("types").splitlines():
            *numbers, name = line.split(" ", 6)
            number, framebuffer, maximum, creatable, profile, per_instance = map(int, numbers)
            found.append(VgpuType(number, framebuffer, maximum, creatable == 1, profile, per_instance, name))
        return found

    @property
    def active(self) -> list[tuple[str, int]]:
        """The functions that guests have, and the ids of their types."""
        pairs = (line.split() for line in self.read("active").splitlines())
        return [(address, int(number)) for address, number in pairs]

    def read(self, name: str) -> str:
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def path(self, name: str) -> str:
        return f"{DEVICES}/{self.address}/nvidiasim/{name}"


def number_in(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())


def all_cards() -> list[Card]:
    return [Card(name) for name in sorted(os.listdir(DEVICES)) if os.path.isdir(f"{DEVICES}/{name}/nvidiasim")]


def chosen(cards: list[Card], wanted: str | None) -> list[Card]:
    """All, or the one of this index, UUID or address, whose domain may be short or left out."""
    if wanted is None:
        found = cards
    elif wanted.isdecimal():
        found = cards[int(wanted) : int(wanted) + 1]
    else:
        found = [card for card in cards if wanted == card.uuid or _address(wanted) == card.address]
    if not found:
        raise Refusal("No devices were found", NOT_FOUND)
    return found


def _address(text: str) -> str | None:
    parts = re.fullmatch(r"(?:([0-9a-f]+):)?([0-9a-f]+):([0-9a-f]+)(?:\.([0-7]))?", text.lower())
    if parts is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in parts.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def line(depth: int, name: str, value: object, width: int) -> str:
    """A line of the tool's, whose colons are in one column."""
    return f"{'    ' * depth}{name}".ljust(width) + f" : {value}"


def log(cards: list[Card], count: int) -> Iterator[str]:
    """What -q says, but for what has nothing to do with virtual GPUs."""
    wide = 54
    yield "\n==============NVSMI LOG==============\n"
    yield line(0, "Timestamp", time.strftime("%a %b %e %H:%M:%S %Y"), wide)
    yield line(0, "Driver Version", VERSION, wide)
    yield line(0, "CUDA Version", "Not Found", wide)
    yield "vGPU Driver Capability"
    yield line(2, "Heterogenous Multi-vGPU", "Supported", wide)
    yield ""
    yield line(0, "Attached GPUs", count, wide)
    for card in cards:
        yield f"GPU {card.bus_id}"
        yield line(1, "Product Name", PRODUCT, wide)
        yield line(1, "Product Brand", "NVIDIA", wide)
        yield line(1, "Product Architecture", card.division.architecture, wide)
        yield line(1, "Persistence Mode", "Enabled", wide)
        yield "    MIG Mode"
        yield line(2, "Current", nvidia_mig.WORDS[card.division.current], wide)
        yield line(2, "Pending", nvidia_mig.WORDS[card.division.pending], wide)
        yield line(1, "GPU UUID", card.uuid, wide)
        yield "    GPU Virtualization Mode"
        yield line(2, "Virtualization Mode", "Host VGPU", wide)
        yield line(2, "Host VGPU Mode", "SR-IOV", wide)
        yield line(2, "vGPU Heterogeneous Mode", "Enabled" if card.is_heterogeneous else "Disabled", wide)
        yield "    PCI"
        yield line(2, "Bus Id", card.bus_id, wide)
        yield line(1, "Processes", "None", wide)
        yield ""


def type_list(cards: list[Card], creatable: bool, verbose: bool) -> Iterator[str]:
    """What vgpu -s and -c say."""
    for card in cards:
        yield f"GPU {card.bus_id}"
        for each in card.types:
            if creatable and not each.creatable:
                continue
            if verbose:
                yield from described(each)
            else:
                yield f"    {each.name}"


def described(each: VgpuType) -> Iterator[str]:
    wide = 41
    yield line(1, "vGPU Type ID", hex(each.number), wide)
    for name, value in (
        ("Name", each.name),
        ("Class", "Quadro"),
        ("GPU Instance Profile ID", each.profile or "N/A"),
        ("Max Instances", each.maximum),
        ("Max Instances Per VM", 1),
        ("Max Instances Per GI", each.per_instance or "N/A"),
        ("Multi vGPU Exclusive", "False"),
        ("vGPU Exclusive Type", "False"),
        ("vGPU Exclusive Size", "False"),
        ("Device ID", DEVICE_ID),
        ("Sub System ID", DEVICE_ID),
        ("FB Memory", f"{each.framebuffer} MiB"),
        ("Display Heads", 4),
        ("Maximum X Resolution", 7680),
        ("Maximum Y Resolution", 4320),
        ("Frame Rate Limit", "60 FPS"),
        ("GRID License", "Quadro-Virtual-DWS,5.0"),
    ):
        yield line(2, name, value, wide)


def active_list(cards: list[Card]) -> Iterator[str]:
    """What vgpu -q says."""
    wide = 41
    for card in cards:
        types = {each.number: each for each in card.types}
        places = {each.address: each.instance for each in card.made()}
        yield f"GPU {card.bus_id}"
        yield line(1, "Active vGPUs", len(card.active), wide)
        for address, number in card.active:
            yield line(1, "vGPU ID", uuid.uuid5(NAMESPACE, address).int % 2**32, wide)
            yield line(2, "vGPU Name", types[number].name, wide)
            yield line(2, "vGPU Type", number, wide)
            instance = places.get(address, NO_INSTANCE)
            yield line(2, "GPU Instance ID", "N/A" if instance == NO_INSTANCE else instance, wide)
            yield "        FB Memory Usage"
            yield line(3, "Total", f"{types[number].framebuffer} MiB", wide)


def set_heterogeneous(cards: list[Card], value: str) -> Iterator[str]:
    for card in cards:
        try:
            with open(card.path("heterogeneous"), "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            message = f"Unable to set vGPU heterogeneous mode for GPU {card.bus_id}: In use by another client"
            raise Refusal(message, IN_USE) from error
        yield f"{'Enabled' if value == '1' else 'Disabled'} vGPU heterogeneous mode for GPU {card.bus_id}"


def divided(attached: list[Card], cards: list[Card], words: list[str]) -> Iterator[str] | None:
    """What concerns MIG, and its doing; None for what else there may be; Refusal."""
    if words == ["--query-gpu=mig.mode.current,mig.mode.pending", "--format=csv,noheader"]:
        modes = ((card.division.current, card.division.pending) for card in cards)
        return (", ".join(nvidia_mig.WORDS[mode] for mode in pair) for pair in modes)
    given: Any = cards
    addresses: Any = {card: card.bus_id for card in cards}
    with contextlib.ExitStack() as stack:
        for card in cards:
            # Two calls at a time would forget what the other has done.
            fcntl.flock(stack.enter_context(open(card.path("mig"), encoding="ascii")), fcntl.LOCK_EX)
        said: tuple[int, str] | None
        if words in (["-mig", "0"], ["-mig", "1"]):
            said = nvidia_mig.set_mode(given, addresses, words[1] == "1")
        elif words == ["--gpu-reset"]:
            said = nvidia_mig.reset(given, addresses)
        else:
            there: Any = attached
            said = nvidia_mig.answer(there, given, words[1:]) if words[:1] == ["mig"] else None
        if said is None:
            return None
        for card in cards:
            try:
                card.keep()
            except OSError as error:
                raise Refusal(f"Unable to change MIG of GPU {card.bus_id}: In use by another client", IN_USE) from error
    status, text = said
    if status:
        raise Refusal(text.rstrip("\n"), status)
    return iter(text.splitlines())


def answer(words: list[str]) -> Iterator[str]:
    """What the tool says to a command line; Refusal."""
    words = list(words)
    wanted = None
    for option in ("-i", "--id"):
        if option in words[:-1]:
            place = words.index(option)
            wanted = words[place + 1]
            del words[place : place + 2]
    attached = all_cards()
    cards = chosen(attached, wanted)
    if words == ["-q"]:
        return log(cards, len(attached))
    if words == ["-L"]:
        return (f"GPU {attached.index(card)}: {PRODUCT} (UUID: {card.uuid})" for card in cards)
    if words[:1] == ["vgpu"]:
        options = words[1:]
        if sorted(options) in (["-s"], ["-s", "-v"], ["-c"], ["-c", "-v"]):
            return type_list(cards, "-c" in options, "-v" in options)
        if options == ["-q"]:
            return active_list(cards)
        if options in (["-shm", "0"], ["-shm", "1"]):
            return set_heterogeneous(cards, options[1])
    said = divided(attached, cards, words)
    if said is not None:
        return said
    raise Refusal("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", INVALID)


def main() -> int:
    try:
        for each in answer(sys.argv[1:]):
            print(each)
    except Refusal as refusal:
        print(refusal)
        return refusal.status
    return 0
