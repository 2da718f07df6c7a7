# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The <interface> by which a domain gets a virtual function of a network card, after libvirt's formatdomain.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import checked_mac
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import elements, functions
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    Element,
    number,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.releases import checked_release
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

Device = Mapping[str, Any]
NO_FUNCTION = (
    "this is not one of the functions of hostdev.nodedev.sriov's result, nor a PCI function of"
    " hostdev.nodedev.nodedev_facts"
)
# The class of network controllers.
NETWORK = "0x02"
# What sriov tells of the functions of network cards alone.
TOLD = ("netdev", "mac", "vlan")
LARGEST_VLAN = 4094


def interface_xml(
    value: object,
    mac: str | None = None,
    vlan: int | str | None = None,
    managed: bool | None = None,
    model: str | None = None,
    iommufd: bool | None = None,
    libvirt_version: str | int | None = None,
) -> str:
    """The element's text for a virtual function of the sriov module's result, or of nodedev_facts.

    Without ``mac`` and ``vlan`` it has what the function has. Raises AnsibleFilterError naming the function when a
    domain cannot get it so.
    """
    try:
        function, told = _function(value)
        name = shown(function.get("name"))
    except NodedevError as error:
        raise AnsibleFilterError(f"interface_xml: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"interface_xml: {NO_FUNCTION}: {quoted(value)} ({quoted(error)})") from None
    try:
        given = functions.is_managed(function) if managed is None else elements.flag("managed", managed)
        driver = functions.driver(model, iommufd, checked_release(libvirt_version))
        chosen = {"mac": told.get("mac") if mac is None else mac, "vlan": told.get("vlan") if vlan is None else vlan}
        return elements.text(_element(functions.address(function), given, driver, chosen))
    except NodedevError as error:
        raise AnsibleFilterError(f"interface_xml: {name}: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(
            f"interface_xml: {name} lacks what a PCI function has, or has it wrong: {shown(error)}"
        ) from None


def _element(
    address: Mapping[str, str], managed: bool, driver: Element | None, chosen: Mapping[str, object]
) -> Element:
    interface = ElementTree.Element("interface", type="hostdev", managed=functions.yes_or_no(managed))
    if chosen["mac"] is not None:
        ElementTree.SubElement(interface, "mac", address=checked_mac("mac", chosen["mac"]))
    if driver is not None:
        interface.append(driver)
    source = ElementTree.SubElement(interface, "source")
    ElementTree.SubElement(source, "address", {"type": "pci", **address})
    tag = _tag(chosen["vlan"])
    if tag:
        ElementTree.SubElement(ElementTree.SubElement(interface, "vlan"), "tag", id=str(tag))
    return interface


def _tag(vlan: object) -> int:
    """The number of a VLAN, 0 for none; BadInput for what is none."""
    try:
        return 0 if vlan is None else number(vlan, LARGEST_VLAN)
    except ValueError:
        raise BadInput("vlan", vlan, f"a number from 0, for none, to {LARGEST_VLAN}") from None


def _function(value: object) -> tuple[Device, Mapping[str, Any]]:
    """The function as nodedev_facts has it, and what is told of it; NodedevError where a domain cannot get it so."""
    several = elements.several(value)
    if several is not None:
        raise NodedevError(several)
    if not isinstance(value, Mapping):
        raise NodedevError(f"{NO_FUNCTION}: {quoted(value)}")
    if isinstance(value.get("sriov"), Mapping) or isinstance(value.get("functions"), (list, tuple)):
        raise NodedevError("these are virtual functions of a card: give one of them, such as sriov.functions[0]")
    function = value if "capability" in value else functions.of_result(value)
    if function is None or not isinstance(function["capability"], Mapping):
        raise NodedevError(f"{NO_FUNCTION}: {quoted(value)}")
    name = shown(function.get("name"))
    if function["capability"].get("type") != "pci":
        kind = quoted(function["capability"].get("type"))
        raise NodedevError(f"{name} is a device of kind {kind}; libvirt takes a PCI function for an interface")
    if functions.PHYSICAL not in functions.nested(function):
        raise NodedevError(
            f"{name} is not a virtual function, as far as is told here; libvirt sets the MAC address and the VLAN of"
            " those alone. hostdev_xml gives a domain any PCI function"
        )
    if not _is_network(function, value):
        raise NodedevError(f"{name} is not a function of a network card, as far as is told here")
    return function, value


def _is_network(function: Device, told: Mapping[str, Any]) -> bool:
    if function is told:
        return str(function["capability"].get("class")).startswith(NETWORK)
    return any(told.get(key) is not None for key in TOLD)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"interface_xml": interface_xml}
