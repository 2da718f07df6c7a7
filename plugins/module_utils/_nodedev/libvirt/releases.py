# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of libvirt, and what of a domain's document is known from which one on, after its formatdomain.html."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import BadInput
from ..text import is_number

Release = tuple[int, int, int]
# As people write one, and as a distribution numbers its package.
WRITTEN = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?(?:\.([0-9]{1,3}))?(?:[-+~].*)?")
# As libvirt itself tells it: a million for each major release, a thousand for each minor one.
COUNTED = re.compile(r"([0-9]{1,3})([0-9]{3})([0-9]{3})")
LARGEST = 999_999_999
# By the option that asks for it.
FIRST: Mapping[str, Release] = {"display": (4, 6, 0), "ramfb": (5, 10, 0), "model": (10, 0, 0), "iommufd": (12, 1, 0)}


def checked_release(value: object) -> Release | None:
    """The release that ``libvirt_version`` names, None where nothing is said; BadInput where it names none."""
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and is_number(value) and 0 <= value <= LARGEST else value
    found = (COUNTED.fullmatch(text) or WRITTEN.fullmatch(text)) if isinstance(text, str) else None
    if found is None:
        # 12.10 is 12.1 to YAML.
        hint = "; quote it, since YAML takes it for a number with a fraction" if isinstance(value, float) else ""
        raise BadInput("libvirt_version", value, f"a release of libvirt is 12.1.0, 12.1 or 12001000{hint}")
    major, minor, micro = (int(part or 0) for part in found.groups())
    return major, minor, micro


def is_known(release: Release | None, option: str) -> bool:
    """Whether this release knows what the option asks for; any does where none is named."""
    return release is None or option not in FIRST or release >= FIRST[option]


def refuse_unknown(release: Release | None, option: str, value: object) -> None:
    """BadInput where this release does not know what the option asks for."""
    if release is not None and not is_known(release, option):
        raise BadInput(option, value, f"libvirt knows it from {written(FIRST[option])} on, not {written(release)}")


def written(release: Release) -> str:
    """A release as people write it."""
    return ".".join(map(str, release))
