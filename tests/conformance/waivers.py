# SPDX-License-Identifier: GPL-3.0-or-later
"""The known differences from libvirt: loaded from waivers.yml, applied to the two sides of a comparison.

A waiver describes what it changes, so that nothing else passes under its name. It has an `id`, a `reason`, the
`libvirt` versions (first and last) that it holds for, and any of these:

`escape`   a regular expression over libvirt's text, before it is parsed: what its groups match gets escaped
`only`     `{side, match}`: a device that only one side (`ours`, `libvirt`) lists; its children move up to its parent
`edit`     a list of changes to one side, in order: `side`, `if_ours` and `if_libvirt` (XPath conditions), and one of
           `remove` (XPath of elements or attributes), `unwrap` (XPath of elements that give way to their children),
           `set` with `to` (an XPath expression of a number or text, from each element's own place), `take` (XPath of
           an element or attribute that gets the other side's value)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from xml.sax.saxutils import escape

import yaml
from lxml import etree

from .canonical import elements

FILE = Path(__file__).with_name("waivers.yml")
SIDES = ("ours", "libvirt")


@dataclass(frozen=True)
class Waiver:
    """One known difference, for libvirt's versions `first` to `last`."""

    id: str
    reason: str
    first: tuple[int, int]
    last: tuple[int, int]
    escape: str | None = None
    only: Mapping[str, str] | None = None
    edit: list[Mapping[str, str]] = field(default_factory=list)

    def holds_for(self, version: tuple[int, int]) -> bool:
        """Whether that version of libvirt differs so."""
        return self.first <= version <= self.last

    @property
    def versions(self) -> str:
        """The versions, for people."""
        first, last = (".".join(map(str, version)) for version in (self.first, self.last))
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class Rules:
    """The whole file: the waivers towards libvirtd and towards libvirt's schema, and the lists without an order."""

    waivers: list[Waiver]
    schema: list[Waiver]
    unordered: list[str]


def load(file: Path = FILE) -> Rules:
    """The file's content; TypeError or KeyError for a key that is unknown or missing."""
    data = yaml.safe_load(file.read_text())
    waivers, schema = ([_waiver(item) for item in data[key]] for key in ("waivers", "schema"))
    return Rules(waivers, schema, [item["xpath"] for item in data["unordered"]])


def _waiver(item: Mapping[str, Any]) -> Waiver:
    first, last = (version_of(str(version)) for version in item["libvirt"])
    return Waiver(first=first, last=last, **{key: value for key, value in item.items() if key != "libvirt"})


def table(listed: list[Waiver]) -> str:
    """The waivers as a table in Markdown, for docs/conformance.md."""
    rows = [f"| {waiver.id} | {waiver.versions} | {waiver.reason} |" for waiver in listed]
    return "\n".join(["| id | libvirt | what differs, and why |", "|---|---|---|", *rows])


def version_of(text: str) -> tuple[int, int]:
    """`9.0` as numbers that compare."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def counted(number: int) -> tuple[int, int]:
    """The same of 9000000, as libvirt counts."""
    return number // 1000000, number // 1000 % 1000


def escape_text(waiver: Waiver, text: str) -> str:
    """libvirt's text with what the waiver's expression marks escaped."""
    if waiver.escape is None:
        return text

    def escaped(match: re.Match[str]) -> str:
        whole, result, at = match.group(0), "", match.start()
        for number in range(1, match.re.groups + 1):
            start, end = match.span(number)
            if start >= 0:
                result += whole[at - match.start() : start - match.start()]
                result += escape(match.group(number), {"'": "&apos;"})
                at = end
        return result + whole[at - match.start() :]

    return re.sub(waiver.escape, escaped, text, flags=re.DOTALL)


def matches(waiver: Waiver, side: str, device: etree._Element) -> bool:
    """Whether the waiver allows that only this side lists the device."""
    only = waiver.only
    return only is not None and only["side"] == side and bool(device.xpath(only["match"]))


def edit(waiver: Waiver, ours: etree._Element, libvirt: etree._Element) -> bool:
    """Apply the waiver's changes to a pair of devices; whether anything changed."""
    changed = False
    sides = {"ours": ours, "libvirt": libvirt}
    for change in waiver.edit:
        known = {"side", "if_ours", "if_libvirt", "remove", "unwrap", "set", "to", "take"}
        if unknown := set(change) - known:
            raise KeyError(f"{waiver.id}: unknown key {', '.join(sorted(unknown))}")
        if all(sides[side].xpath(change[f"if_{side}"]) for side in SIDES if f"if_{side}" in change):
            device = sides[change["side"]]
            other = sides["ours" if change["side"] == "libvirt" else "libvirt"]
            changed |= _change(change, device, other)
    return changed


def _change(change: Mapping[str, str], device: etree._Element, other: etree._Element) -> bool:
    if "remove" in change:
        return _remove(device, change["remove"])
    if "unwrap" in change:
        return _unwrap(device, change["unwrap"])
    if "set" in change:
        found = elements(device, change["set"])
        before = [element.text for element in found]
        for element in found:
            element.text = _text(element, change["to"])
        return before != [element.text for element in found]
    return _take(device, other, change["take"])


def _text(element: etree._Element, xpath: str) -> str:
    value = element.xpath(xpath)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _remove(device: etree._Element, xpath: str) -> bool:
    found = cast(list[Any], device.xpath(xpath))
    for item in found:
        parent = item.getparent()
        if isinstance(item, etree._Element):
            parent.remove(item)
        else:
            del parent.attrib[item.attrname]
    return bool(found)


def _unwrap(device: etree._Element, xpath: str) -> bool:
    found = elements(device, xpath)
    for element in found:
        parent = element.getparent()
        assert parent is not None
        place = parent.index(element)
        parent[place : place + 1] = list(element)
    return bool(found)


def _take(device: etree._Element, other: etree._Element, xpath: str) -> bool:
    """Copy the values of the same elements or attributes of the other side, if both have as many."""
    mine, theirs = (cast(list[Any], side.xpath(xpath)) for side in (device, other))
    if len(mine) != len(theirs):
        return False
    changed = False
    for item, wanted in zip(mine, theirs, strict=True):
        if isinstance(item, etree._Element):
            changed |= item.text != wanted.text
            item.text = wanted.text
        else:
            changed |= item != wanted
            item.getparent().attrib[item.attrname] = str(wanted)
    return changed
