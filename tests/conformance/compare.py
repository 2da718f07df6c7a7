# SPDX-License-Identifier: GPL-3.0-or-later
"""Two lists of node devices, ours and libvirt's, compared under the waivers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from . import waivers
from .canonical import difference, parse, sort
from .waivers import Rules, Waiver


@dataclass(frozen=True)
class Listing:
    """What one side says: the XML and the parent of each device by name, and the tree as text."""

    xml: Mapping[str, str]
    parents: Mapping[str, str | None]
    tree: str


@dataclass
class Comparison:
    """What was compared: the number of devices, what differs (readable), and which waivers were needed."""

    devices: int = 0
    differences: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def check(self) -> None:
        """AssertionError with all differences if there are any."""
        assert not self.differences, "\n\n".join(self.differences)


def compare(ours: Listing, libvirt: Listing, rules: Rules, version: tuple[int, int]) -> Comparison:
    """Compare names, parents, canonical XML and trees, with the waivers that hold for this version of libvirt."""
    result = Comparison()
    held = [waiver for waiver in rules.waivers if waiver.holds_for(version)]
    sides = {
        "ours": _parsed("ours", ours.xml, result),
        "libvirt": _parsed(
            "libvirt", {name: _escaped(text, held, result) for name, text in libvirt.xml.items()}, result
        ),
    }
    listings = {"ours": ours, "libvirt": libvirt}
    for side, listing in listings.items():
        _check_own(side, sides[side], listing, result)
    _names(sides, held, result)
    for name in sorted(sides["ours"].keys() & sides["libvirt"].keys()):
        result.devices += 1
        pair = sides["ours"][name], sides["libvirt"][name]
        result.used |= {waiver.id for waiver in held if waivers.edit(waiver, *pair)}
        for device in pair:
            sort(device, rules.unordered)
        if diff := difference(name, sides["libvirt"][name], sides["ours"][name]):
            result.differences.append(diff)
    return result


def _parsed(side: str, texts: Mapping[str, str], result: Comparison) -> dict[str, etree._Element]:
    """The devices whose XML is XML; of the others it is a difference that it is not."""
    devices = {}
    for name, text in texts.items():
        try:
            devices[name] = parse(text)
        except etree.XMLSyntaxError as error:
            result.differences.append(f"{side}: {name} is no XML: {error}\n{text}")
    return devices


def _escaped(text: str, held: list[Waiver], result: Comparison) -> str:
    for waiver in held:
        changed = waivers.escape_text(waiver, text)
        if changed != text:
            result.used.add(waiver.id)
        text = changed
    return text


def _check_own(side: str, devices: Mapping[str, etree._Element], listing: Listing, result: Comparison) -> None:
    """A side must agree with itself: its names and parents with its XML, and with those its tree."""
    for name, device in devices.items():
        if device.findtext("name") != name:
            result.differences.append(f"{side}: {name} has the name {device.findtext('name')} in its XML")
        if device.findtext("parent") != listing.parents[name]:
            parents = f"{device.findtext('parent')} in its XML and {listing.parents[name]} beside it"
            result.differences.append(f"{side}: {name} has the parent {parents}")
    wanted = tree_text(listing.parents)
    if listing.tree.rstrip("\n") != wanted.rstrip("\n"):
        result.differences.append(f"{side}: the tree is\n{listing.tree}\nwhere the parents make it\n{wanted}")


def _names(sides: dict[str, dict[str, etree._Element]], held: list[Waiver], result: Comparison) -> None:
    """Report devices that one side alone has; the waived ones go, and their children move up."""
    for side, other in (("ours", "libvirt"), ("libvirt", "ours")):
        for name in sorted(sides[side].keys() - sides[other].keys()):
            device = sides[side][name]
            allowed = [waiver.id for waiver in held if waivers.matches(waiver, side, device)]
            if not allowed:
                xml = etree.tostring(device, pretty_print=True, encoding="unicode")
                result.differences.append(f"{name} is listed by {side} alone:\n{xml}")
            result.used |= set(allowed)
            del sides[side][name]
            for child in sides[side].values():
                parent = child.find("parent")
                if parent is not None and parent.text == name:
                    parent.text = device.findtext("parent")


def tree_text(parents: Mapping[str, str | None]) -> str:
    """What `virsh nodedev-list --tree` prints for devices with these parents (vshTreePrint, vsh.c)."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for name in sorted(parents, key=lambda name: (name.lower(), name)):
        children[parents[name]].append(name)
    lines: list[str] = []

    def draw(name: str, indent: str, root: bool, last: bool) -> None:
        lines.append(f"{indent}{'' if root else '+- '}{name}")
        below = indent if root else f"{indent}{' ' if last else '|'} "
        if children[name]:
            lines.append(f"{below}  |")
        for child in children[name]:
            draw(child, f"{below}  ", False, child == children[name][-1])
        if not children[name] and last:
            lines.append(below)

    for root in children[None]:
        draw(root, "", True, True)
    return "\n".join(lines)
