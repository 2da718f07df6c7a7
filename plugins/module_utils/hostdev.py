# SPDX-License-Identifier: GPL-3.0-or-later
"""The <hostdev> element by which a domain gets a device, after libvirt's formatdomain.html, "Host devices"."""

from __future__ import annotations

from xml.etree import ElementTree

from .names import checked_uuid

Element = ElementTree.Element

MODELS = ("vfio-pci", "vfio-ccw", "vfio-ap")


def element(kind: str, **attributes: str) -> tuple[Element, Element]:
    """An element of this kind, and the <source> in it that is still to be filled."""
    hostdev = Element("hostdev", {"mode": "subsystem", "type": kind, **attributes})
    return hostdev, ElementTree.SubElement(hostdev, "source")


def mdev(uuid: str, device_api: str | None) -> Element:
    """The element of a mediated device; ValueError where libvirt has no model for its API."""
    if device_api not in MODELS:
        raise ValueError(f"device_api {device_api!r}")
    hostdev, source = element("mdev", model=device_api)
    ElementTree.SubElement(source, "address", uuid=checked_uuid(uuid))
    return hostdev


def text(hostdev: Element) -> str:
    """The element as a person writes it into a domain's document."""
    ElementTree.indent(hostdev)
    return ElementTree.tostring(hostdev, encoding="unicode")
