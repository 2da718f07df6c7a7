# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a record, by their types: a record may have been written by anybody.

One that is not there is None. BadInput names the one at fault, with what it is ``within`` before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import BadInput, Missing

Fields = Mapping[str, Any]
T = TypeVar("T")


def text(fields: Fields, key: str, within: str = "") -> str | None:
    return _typed(fields, key, within, str, "text")


def refuse_if_empty(key: str, values: Sequence[object]) -> None:
    """Raise BadInput for a list of names without any: it would choose all parents, and means none."""
    if not values:
        raise BadInput("parents", {key: []}, f"a list without any would choose every parent: leave {key} out for that")


def needed_text(fields: Fields, key: str, within: str = "") -> str:
    found = text(fields, key, within)
    if found is None:
        raise Missing(f"{within}{key}", "it is not there")
    return found


def flag(fields: Fields, key: str, within: str = "") -> bool | None:
    return _typed(fields, key, within, bool, "true or false")


def choice(fields: Fields, key: str, allowed: Collection[str], within: str = "") -> str | None:
    """One of the texts that are allowed."""
    found = text(fields, key, within)
    if found is not None and found not in allowed:
        raise BadInput(f"{within}{key}", found, f"{key} is one of {', '.join(allowed)}")
    return found


def mapping(fields: Fields, key: str, within: str = "") -> dict[str, Any] | None:
    return _typed(fields, key, within, dict, "a mapping")


def number(fields: Fields, key: str, within: str = "") -> int | None:
    return _typed(fields, key, within, int, "a whole number")


def texts(fields: Fields, key: str, within: str = "") -> list[str] | None:
    found = _typed(fields, key, within, list, "a list of texts")
    if found is not None and not all(isinstance(each, str) for each in found):
        raise BadInput(f"{within}{key}", found, f"{key} is a list of texts")
    return found


def mappings(fields: Fields, key: str, within: str = "") -> list[dict[str, Any]] | None:
    found = _typed(fields, key, within, list, "a list of mappings")
    if found is not None and not all(isinstance(each, dict) for each in found):
        raise BadInput(f"{within}{key}", found, f"{key} is a list of mappings")
    return found


def _typed(fields: Fields, key: str, within: str, kind: type[T], words: str) -> T | None:
    found = fields.get(key)
    # True is a number to Python, and to nobody else.
    if found is None or (isinstance(found, kind) and isinstance(found, bool) == (kind is bool)):
        return found
    raise BadInput(f"{within}{key}", found, f"{key} is {words}")
