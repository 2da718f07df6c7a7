# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that comes from outside, of a driver, a process, a file, a tool: fit for a message, fit to leave the host."""

from __future__ import annotations

import json
import re
from typing import Any

# Characters of one such text in a message; what is longer says nothing more to a person.
LONGEST = 200
# Halves of UTF-16 pairs: how Python holds bytes that are not UTF-8. No encoding of text has them.
LONE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def shown(value: object, longest: int | None = LONGEST) -> str:
    """The text of a value on one line: what cannot be printed is escaped, what is too long is cut, None for no limit.

    Escapes of a terminal, new lines and characters that turn the direction of writing would otherwise reach whoever
    reads the message or the journal, and could forge lines there.
    """
    text = str(value)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}..."
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def is_number(value: object) -> bool:
    """Whether a value is a whole number; true and false are numbers to Python, and to nobody else."""
    return isinstance(value, int) and not isinstance(value, bool)


def as_json(value: Any) -> str:
    """JSON that every reader takes: bytes that are not UTF-8 become replacement characters."""
    text = json.dumps(value)
    return json.dumps(cleaned(value)) if "\\ud" in text else text


def cleaned(value: Any) -> Any:
    """The same value of dicts, lists and texts, with replacement characters for bytes that are not UTF-8."""
    if isinstance(value, str):
        return LONE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(each) for each in value]
    return value
