# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of NVIDIA's vGPUs: by what they are called, and how much of a card's memory each takes.

NVIDIA's vGPU user guide has the names: the model of the card, then the framebuffer in GB and a letter for the product,
as in 'NVIDIA L40S-8Q', where 0 stands for 512 MB. Types of one framebuffer may share a card, whatever their letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .numbers import integer

LINE = re.compile(r"\s*([0-9]{1,10})\s*:\s*(\S.*)")
HEADER = re.compile(r"\s*ID\s*:")
SIZE = re.compile(r"-([0-9]{1,4})[ABCQ][A-Z]*$")
# How mdev's ids begin, which go on as those of vendor VFIO; the driver's libraries write the number in hexadecimal.
MDEV = "nvidia-"
SMALLEST, GIGABYTE = 512, 1024


@dataclass(frozen=True)
class Type:
    """A type as the driver's tool knows it; ``framebuffer`` is in MiB, ``most`` how many of it a card takes.

    ``profile`` is the id of the profile of the GPU instances that it is on, None of a type for a whole card, and
    ``per_instance`` how many of it one of these takes.
    """

    id: int
    name: str
    framebuffer: int | None = None
    most: int | None = None
    profile: int | None = None
    per_instance: int | None = None


def listed(text: str) -> tuple[dict[int, str], list[str]]:
    """The names by id in the driver's list of types, and the lines that cannot be understood.

    Each line is an id, a colon and a name; a header may stand before them. Where nothing more can be made it is empty.
    """
    found: dict[int, str] = {}
    odd: list[str] = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        if match:
            found[int(match[1])] = match[2].rstrip()
        elif line.strip() and not HEADER.match(line):
            odd.append(line)
    return found, odd


def number(wanted: str) -> int | None:
    """The id that a text is: 1155, 0x483 or nvidia-1155; None for a name."""
    text = wanted.strip().lower()
    plain = text.removeprefix(MDEV) if text.startswith(MDEV) else text
    value = integer(plain, 16 if plain.startswith("0x") else 10)
    return value if value is not None and plain[:1].isdigit() else None


def short(name: str) -> str:
    """The last word of a type's name, as L40S-8Q."""
    return name.rpartition(" ")[2]


def matching(wanted: str, types: Mapping[int, str]) -> list[int]:
    """The ids of the types that are meant by an id, a name or a short name."""
    id = number(wanted)
    if id is not None:
        return [id] if id in types else []
    whole = [each for each, name in types.items() if name == wanted]
    return whole or [each for each, name in types.items() if short(name) == wanted]


def suggested(wanted: str | None, types: Mapping[int, str]) -> str:
    """The question whether a type is meant that is called like what is wanted but for its spelling; else nothing."""
    every = (name for whole in types.values() for name in (whole, short(whole)))
    meant = next((name for name in every if wanted is not None and _plain(name) == _plain(wanted)), None)
    return "" if meant is None else f"did you mean {meant!r}? "


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def framebuffer(name: str) -> int | None:
    """The memory that a type takes, in MiB, by its name; None where the name does not tell."""
    found = SIZE.search(name)
    if found is None:
        return None
    return int(found[1]) * GIGABYTE or SMALLEST


def called(id: int, types: Mapping[int, str]) -> str:
    """A type as a message has it: NVIDIA L40S-8Q (1152)."""
    name = types.get(id)
    return f"{name} ({id})" if name else str(id)


def names(types: Iterable[Type]) -> dict[int, str]:
    """The names of types by their ids."""
    return {each.id: each.name for each in types}


def told(types: Mapping[int, str], most: int) -> str:
    """Types in words, ``most`` of them at most."""
    every = [called(id, types) for id in sorted(types)]
    return ", ".join(every if len(every) <= most else [*every[:most], f"and {len(every) - most} more"]) or "not known"
