# SPDX-License-Identifier: GPL-3.0-or-later
"""Device XML in one form only: parsed, without indentation, the lists that have no order sorted, canonical."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lxml import etree


def parse(text: str) -> etree._Element:
    """The root element, without indentation. lxml.etree.XMLSyntaxError if it is no XML."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(text.encode("utf-8", "surrogateescape"), parser)
    for element in root.iter():
        # A leaf's text may be a blank that the device itself gives; a line break is libvirt's indentation.
        if element.text is not None and not element.text.strip() and (len(element) or "\n" in element.text):
            element.text = None
        element.tail = None
    return root


def serialise(element: etree._Element) -> str:
    """Canonical XML (C14N): attributes in order, no empty elements, one way to escape."""
    return etree.tostring(element, method="c14n").decode()


def sort(root: etree._Element, lists: Iterable[str]) -> None:
    """Sort what the XPath expressions find among its own kind, each at the places where such elements stand."""
    for xpath in lists:
        for parent in {found.getparent() for found in elements(root, xpath)}:
            if parent is None:
                continue
            found = [element for element in elements(root, xpath) if element.getparent() is parent]
            places = [parent.index(element) for element in found]
            for element in found:
                parent.remove(element)
            for place, element in zip(places, sorted(found, key=serialise), strict=True):
                parent.insert(place, element)


def elements(root: etree._Element, xpath: str) -> list[etree._Element]:
    """The elements that an XPath expression finds."""
    found = root.xpath(xpath)
    assert isinstance(found, list), f"{xpath} gives no elements"
    return [item for item in found if isinstance(item, etree._Element)]


def lines(element: etree._Element) -> list[str]:
    """The canonical XML with a line for each element, to be read and compared by people."""
    copy = etree.fromstring(serialise(element))
    etree.indent(copy)
    return serialise(copy).splitlines()


def difference(name: str, theirs: etree._Element, ours: etree._Element) -> str:
    """A unified diff of two devices' canonical XML; empty if they are the same."""
    if serialise(theirs) == serialise(ours):
        return ""
    diff = difflib.unified_diff(lines(theirs), lines(ours), f"{name} of libvirt", f"{name} of ours", lineterm="", n=30)
    return "\n".join(diff)
