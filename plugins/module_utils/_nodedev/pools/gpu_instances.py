# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPU instances a mix of MIG-backed vGPUs needs: a pure function of the types and their counts.

NVIDIA's vGPU user guide has the rules: a type belongs to one profile of GPU instances, and an instance takes vGPUs of
one framebuffer, of whatever letters, up to a number that the type tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MigType:
    """A type; ``profile`` is the id of its profile of GPU instances, None of one that is time-sliced on a whole card.

    ``framebuffer`` is in MiB, ``most`` how many of it one GPU instance takes.
    """

    id: int
    profile: int | None
    framebuffer: int
    most: int


def derived(mix: Mapping[int, int], types: Mapping[int, MigType]) -> dict[int, int]:
    """How many GPU instances of each profile a mix needs, by the profiles' ids, ascending, as they are made.

    ``mix`` has by the ids of types how many of each there are to be; time-sliced types need none. Where letters of one
    framebuffer have different numbers to an instance, the least counts for all of them. Raises KeyError for a type that
    is not among the ``types``.
    """
    counts: dict[tuple[int, int], int] = {}
    most: dict[tuple[int, int], int] = {}
    for id, count in mix.items():
        type = types[id]
        if type.profile is not None and count > 0:
            key = type.profile, type.framebuffer
            counts[key] = counts.get(key, 0) + count
            most[key] = min(type.most, most.get(key, type.most))
    needed: dict[int, int] = {}
    for key, count in sorted(counts.items()):
        needed[key[0]] = needed.get(key[0], 0) - (-count // most[key])
    return needed
