# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's tool nvidia-smi tells of cards: the mode in which they make vGPUs, and the types that they know.

Its exit status is 0 also where it says no, so that it is judged by its text alone (nvidia-smi(1), and NVIDIA's vGPU
user guide on nvidia-smi vgpu).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .. import programs
from ..errors import NodedevError
from ..grammar import kernel_address
from ..names import called
from ..text import shown
from .numbers import integer
from .vgpu_cards import OTHER_MODE, SRIOV, Mode
from .vgpu_types import Type

NAME = "nvidia-smi"
# Seconds for one answer: without a client of the driver it wakes each card first.
PATIENCE = 60.0
CARD = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s*")
FIELD = re.compile(r"(\s+)(\S.*?)\s*:\s?(.*)")
# What it calls what it tells, MIG's by the heading and what stands below it.
FIELDS = (
    "Host VGPU Mode",
    "vGPU Heterogeneous Mode",
    "MIG Mode/Current",
    "vGPU Type ID",
    "GPU Instance Profile ID",
    "Max Instances Per GI",
)
HOST_MODE, HETEROGENEOUS, MIG, TYPE_ID, PROFILE_ID, PER_INSTANCE = FIELDS


def refuse_other_mode(card: str, modes: Mapping[str, Mode], untold: NodedevError | None) -> None:
    """Raise NodedevError where a card is not known to make vGPUs of its functions: a write could disturb others.

    ``untold`` says why the modes are not known; it is the cause of what is raised for it.
    """
    if untold is not None:
        raise NodedevError(
            f"whether {called(card)} makes vGPUs of its functions is not known, so nothing is written: {untold}"
        ) from untold
    mode = modes.get(card, Mode())
    if not mode.is_sriov:
        raise NodedevError(
            f"{called(card)} does not make vGPUs of its functions, so nothing is written: its Host VGPU Mode is"
            f" {mode.host or 'not told'}, not {SRIOV}; {OTHER_MODE}"
        )


def is_installed() -> bool:
    return programs.find(NAME) is not None


def modes(address: str | None = None) -> dict[str, Mode]:
    """The modes of all cards by the kernel's addresses, or of this one; raises NodedevError where they are not told."""
    text = answer(["-q"] if address is None else ["-q", "-i", address])
    found = modes_of(text)
    if not found:
        raise NodedevError(f"{NAME} tells of no card; it said: {shown(text.strip() or 'nothing')}")
    return found


def supported(address: str | None = None) -> dict[str, dict[int, Type]]:
    """All types that each card knows, whatever it carries, by id, or those of this card; NodedevError as above.

    A card that makes no vGPUs has none.
    """
    text = answer(["vgpu", "-s", "-v", *(() if address is None else ("-i", address))])
    return types_of(text)


def modes_of(text: str) -> dict[str, Mode]:
    """The modes of all cards of which the tool's answer to -q tells, by the kernel's addresses."""
    return {card: _mode(lines) for card, lines in _cards(text)}


def types_of(text: str) -> dict[str, dict[int, Type]]:
    """The types of which the tool's answer to vgpu -s -v or -c -v tells, by card and id."""
    return {card: {id: _type(id, fields) for id, fields in _types(lines)} for card, lines in _cards(text)}


def answer(arguments: list[str]) -> str:
    """What the tool says; its errors where it says nothing else. Raises NodedevError where it is not there or hangs."""
    program = programs.find(NAME)
    if program is None:
        raise NodedevError(f"{NAME} is not installed; it comes with NVIDIA's driver for vGPU hosts")
    answer = programs.run([program, *arguments], PATIENCE)
    return answer.output if answer.output.strip() else answer.errors


def _cards(text: str) -> Iterator[tuple[str, list[str]]]:
    """The lines about each card, by the kernel's address of it."""
    card: str | None = None
    lines: list[str] = []
    for line in [*text.splitlines(), "GPU"]:
        found = CARD.fullmatch(line)
        if found or line == "GPU":
            if card is not None:
                yield card, lines
            card, lines = kernel_address(found[1]) if found else None, []
        else:
            lines.append(line)


def _mode(lines: list[str]) -> Mode:
    """The mode that the lines about a card tell; MIG Mode is a heading, below which Current stands."""
    values: dict[str, str] = {}
    heading = ""
    for line in lines:
        field = FIELD.fullmatch(line)
        if field:
            values.setdefault(f"{heading}/{field[2]}", field[3].strip())
            values.setdefault(field[2], field[3].strip())
        else:
            heading = line.strip()
    host = values.get(HOST_MODE, "N/A")
    return Mode(None if host in ("N/A", "") else host, _enabled(values.get(HETEROGENEOUS)), _enabled(values.get(MIG)))


def _enabled(word: str | None) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(word or "")


def _types(lines: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The fields of each type among the lines about a card, by its id."""
    id: int | None = None
    fields: dict[str, str] = {}
    for line in lines:
        field = FIELD.fullmatch(line)
        if field is None:
            continue
        if field[2] == TYPE_ID:
            if id is not None:
                yield id, fields
            id, fields = integer(field[3].strip(), 0), {}
        else:
            fields[field[2]] = field[3].strip()
    if id is not None:
        yield id, fields


def _type(id: int, fields: dict[str, str]) -> Type:
    memory, _blank, unit = fields.get("FB Memory", "").partition(" ")
    return Type(
        id,
        fields.get("Name", ""),
        integer(memory, 10) if unit == "MiB" else None,
        integer(fields.get("Max Instances", ""), 10),
        integer(fields.get(PROFILE_ID, ""), 10),
        integer(fields.get(PER_INSTANCE, ""), 10),
    )
