# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPU instances a mix of MIG-backed vGPUs needs.

NVIDIA's vGPU user guide has the rules: a type belongs to one profile of GPU instances, and an instance takes vGPUs of
one framebuffer, of whatever letters, up to a number that the type tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...errors import BadInput
from ...host import vgpu_types
from ...host.vgpu_types import Type
from ...text import shown

# vGPUs that any card can have are fewer; types that a message names.
MOST, TOLD = 1024, 12


def checked(types: object) -> dict[str, int]:
    """How many vGPUs there are to be, by their types as a person names them; else BadInput."""
    if not isinstance(types, Mapping) or not types:
        raise BadInput("types", types, "types of vGPUs, each with a number, as H200X-1-18C: 3")
    for key, value in types.items():
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,4}", str(value)) or not 0 <= int(value) <= MOST:
            raise BadInput("types", {shown(str(key)): value}, f"a number from 0 to {MOST}")
    return {str(key): int(value) for key, value in types.items()}


def needed(wanted: Mapping[str, int], types: Mapping[int, Type], divided: bool) -> dict[str, int]:
    """How many GPU instances of each profile they need, by its id as text, in the order in which they are made.

    ``types`` are those that the card knows, ``divided`` whether MIG is on, with which it may know others. Where letters
    of one framebuffer have different numbers to an instance, the least counts. BadInput for a type of no profile.
    """
    names = vgpu_types.names(types.values())
    counts: dict[tuple[int, int], int] = {}
    most: dict[tuple[int, int], int] = {}
    for name, count in wanted.items():
        meant = vgpu_types.matching(name, names)
        if not meant:
            hint = "" if divided else "; it may list more once MIG is on: set enabled alone first"
            known = vgpu_types.told({id: names[id] for id in types if types[id].profile is not None}, TOLD)
            raise BadInput(
                "types",
                name,
                f"{vgpu_types.suggested(name, names)}the card's types for GPU instances are {known}{hint}",
            )
        type = types[meant[0]]
        if type.profile is None:
            raise BadInput("types", name, "it is a type for a whole card, without GPU instances")
        if count:
            key = type.profile, type.framebuffer or 0
            counts[key] = counts.get(key, 0) + count
            most[key] = min(type.per_instance or 1, most.get(key, MOST))
    found: dict[str, int] = {}
    for key, count in sorted(counts.items()):
        profile = str(key[0])
        found[profile] = found.get(profile, 0) - (-count // most[key])
    return found
