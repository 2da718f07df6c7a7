# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a record, by their types: a record may have been written by anybody.

One that is not there is None. BadInput names the one at fault, with what it is ``within`` before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..errors import BadInput, Missing

Fields = Mapping[str, Any]


def text(fields: Fields, key: str, within: str = "") -> str | None:
    found: str | None = _typed(fields, key, within, str, "text")
    return found


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
    found: bool | None = _typed(fields, key, within, bool, "true or false")
    return found


def choice(fields: Fields, key: str, allowed: Collection[str], within: str = "") -> str | None:
    """One of the texts that are allowed, None where there is no such field."""
    found = text(fields, key, within)
    if found is not None and found not in allowed:
        raise BadInput(f"{within}{key}", found, f"{key} is one of {', '.join(allowed)}")
    return found


def mapping(fields: Fields, key: str, within: str = "") -> dict[str, Any] | None:
    found: dict[str, Any] | None = _typed(fields, key, within, dict, "a mapping")
    return found


def number(fields: Fields, key: str, within: str = "") -> int | None:
    found: int | None = _typed(fields, key, within, int, "a whole number")
    return found


def texts(fields: Fields, key: str, within: str = "") -> list[str] | None:
    found: list[str] | None = _typed(fields, key, within, list, "a list of texts")
    if found is not None and not all(isinstance(each, str) for each in found):
        raise BadInput(f"{within}{key}", found, f"{key} is a list of texts")
    return found


def mappings(fields: Fields, key: str, within: str = "") -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] | None = _typed(fields, key, within, list, "a list of mappings")
    if found is not None and not all(isinstance(each, dict) for each in found):
        raise BadInput(f"{within}{key}", found, f"{key} is a list of mappings")
    return found


def _typed(fields: Fields, key: str, within: str, kind: type, words: str) -> Any:
    found = fields.get(key)
    # True is a number to Python, and to nobody else.
    if found is not None and (not isinstance(found, kind) or isinstance(found, bool) != (kind is bool)):
        raise BadInput(f"{within}{key}", found, f"{key} is {words}")
    return found
