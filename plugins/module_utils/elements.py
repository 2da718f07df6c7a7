# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of libvirt's documents, as the filters make them."""

from __future__ import annotations

from xml.etree import ElementTree

Element = ElementTree.Element


def hostdev(kind: str, **attributes: str) -> tuple[Element, Element]:
    """A <hostdev> of this kind, and the <source> in it that is still to be filled."""
    device = Element("hostdev", {"mode": "subsystem", "type": kind, **attributes})
    return device, ElementTree.SubElement(device, "source")


def text(element: Element) -> str:
    """The element as a person writes it into a document."""
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode")
