# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of libvirt's documents, as the filters make them, and what the filters take for a number or a flag."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from ..errors import BadInput
from ..text import shown

Element = ElementTree.Element
# Characters of an error in a message.
LONGEST = 400
# What a value of another shape than it should have leads to, however it is nested.
MISSHAPEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# What may stand for a flag beside true and false, since a variable of an inventory may be text.
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def hostdev(kind: str, **attributes: str) -> tuple[Element, Element]:
    """A <hostdev> of this kind, and the <source> in it that is still to be filled."""
    device = Element("hostdev", {"mode": "subsystem", "type": kind, **attributes})
    return device, ElementTree.SubElement(device, "source")


def text(element: Element) -> str:
    """The element as a person writes it into a document."""
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode")


def quoted(value: object) -> str:
    """A value in a message, on one line and short; its type where Python has no words for it."""
    try:
        return shown(repr(value))
    except MISSHAPEN:
        return f"a {type(value).__name__}"


def several(value: object) -> str | None:
    """What a value is that has several devices, and how one of them is given; None for any other value."""
    if isinstance(value, (list, tuple)):
        return "this is a list: give one of its items, such as the first by [0]"
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("instances"), (list, tuple)):
        return "this is a pool: give one of its instances, such as instances[0]"
    if isinstance(value.get("results"), (list, tuple)):
        return "these are the results of a loop: give one of them, such as results[0]"
    return None


def number(value: object, most: int) -> int:
    """A whole number from 0 to ``most``, be it text; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{quoted(value)} is not a whole number")
    found = value if isinstance(value, int) else int(value) if value.isascii() and value.isdecimal() else -1
    if not 0 <= found <= most:
        raise ValueError(f"{quoted(value)} is not a whole number from 0 to {most}")
    return found


def flag(option: str, value: object) -> bool:
    """Whether an option of a filter is set; BadInput naming the option where it is neither true nor false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in FLAGS:
        return FLAGS[value.lower()]
    raise BadInput(option, value, "it is true or false")
