# SPDX-License-Identifier: GPL-3.0-or-later
"""interface_xml: a table of functions with the element that each becomes, by libvirt's schema and parser."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter import interface_xml as interface_file
from lxml import etree
from test_filters import BOUND, FUNCTION, PCI, RESULT, UNIT, canonical, facts, schema_of

interface_xml = interface_file.FilterModule().filters()["interface_xml"]

VIRTUAL = [{"type": "phys_function", "address": []}]
# As nodedev_facts has one.
VF = {"name": "pci_0000_06_1f_7", "capability": {**PCI, "class": "0x020000", "capability": VIRTUAL}}
# As it is on a driver for guests, where the driver of the card tells nothing of it.
QUIET = {**FUNCTION, "driver": "vfio-pci", "netdev": None, "mac": None, "vlan": 0}
MAC, OTHER = '<mac address="02:00:00:00:00:01"/>', '<mac address="52:54:00:ab:cd:ef"/>'
SOURCE = '<source><address type="pci" domain="0x0000" bus="0x06" slot="0x1f" function="0x7"/></source>'


def interface(*inner: str, managed: str = "yes") -> str:
    return f'<interface type="hostdev" managed="{managed}">{"".join(inner)}</interface>'


def vlan(tag: int) -> str:
    return f'<vlan><tag id="{tag}"/></vlan>'


UNMANAGED = interface(MAC, SOURCE, vlan(100), managed="no")


MADE = [
    ("its own MAC and VLAN", FUNCTION, {}, interface(MAC, SOURCE, vlan(100))),
    ("no VLAN", {**FUNCTION, "vlan": 0}, {}, interface(MAC, SOURCE)),
    ("a VLAN that is not told", {**FUNCTION, "vlan": None}, {}, interface(MAC, SOURCE)),
    ("a result without VLANs", {key: FUNCTION[key] for key in FUNCTION if key != "vlan"}, {}, interface(MAC, SOURCE)),
    ("another VLAN", FUNCTION, {"vlan": 4094}, interface(MAC, SOURCE, vlan(4094))),
    ("a VLAN as text", FUNCTION, {"vlan": "7"}, interface(MAC, SOURCE, vlan(7))),
    ("without its VLAN", FUNCTION, {"vlan": 0}, interface(MAC, SOURCE)),
    (
        "another MAC",
        FUNCTION,
        {"mac": "52-54-00-AB-cd-ef"},
        interface(OTHER, SOURCE, vlan(100)),
    ),
    ("on VFIO", {**FUNCTION, "driver": "vfio-pci"}, {}, UNMANAGED),
    (
        "on a variant of VFIO",
        {**FUNCTION, "driver": "mlx5_vfio_pci"},
        {},
        interface(MAC, SOURCE, vlan(100), managed="no"),
    ),
    ("on VFIO, managed", {**FUNCTION, "driver": "vfio-pci"}, {"managed": "yes"}, interface(MAC, SOURCE, vlan(100))),
    ("not managed", FUNCTION, {"managed": False}, UNMANAGED),
    ("nothing told", QUIET, {}, interface(SOURCE, managed="no")),
    ("of the facts", VF, {}, interface(SOURCE)),
    ("of the facts, on VFIO", {**VF, "driver": {"name": "vfio-pci"}}, {}, interface(SOURCE, managed="no")),
    ("of the facts, with all", VF, {"mac": "02:00:00:00:00:01", "vlan": 3}, interface(MAC, SOURCE, vlan(3))),
    ("for a release", FUNCTION, {"libvirt_version": "9.0", "iommufd": False}, interface(MAC, SOURCE, vlan(100))),
]
IDS = [row[0] for row in MADE]


@pytest.mark.parametrize(("_what", "function", "options", "wanted"), MADE, ids=IDS)
def test_interface(_what: str, function: dict[str, Any], options: dict[str, Any], wanted: str) -> None:
    assert canonical(interface_xml(function, **options)) == canonical(wanted)


def test_interface_is_indented() -> None:
    assert interface_xml(FUNCTION).splitlines() == [
        '<interface type="hostdev" managed="yes">',
        '  <mac address="02:00:00:00:00:01" />',
        "  <source>",
        '    <address type="pci" domain="0x0000" bus="0x06" slot="0x1f" function="0x7" />',
        "  </source>",
        "  <vlan>",
        '    <tag id="100" />',
        "  </vlan>",
        "</interface>",
    ]


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    return schema_of("interface")


@pytest.mark.parametrize(("_what", "function", "options", "_wanted"), MADE, ids=IDS)
def test_interface_against_libvirts_schema(
    schema: etree.RelaxNG, _what: str, function: dict[str, Any], options: dict[str, Any], _wanted: str
) -> None:
    schema.assertValid(etree.fromstring(interface_xml(function, **options)))


@pytest.mark.parametrize(("_what", "function", "options", "_wanted"), MADE, ids=IDS)
def test_interface_read_by_libvirt(
    tmp_path: Path, _what: str, function: dict[str, Any], options: dict[str, Any], _wanted: str
) -> None:
    made = interface_xml(function, **options)
    domain = f"<domain type='test'><name>d</name><memory>1</memory><os><type>hvm</type></os><devices>{made}</devices>"
    (tmp_path / "domain.xml").write_text(f"{domain}</domain>")
    script = f"define --validate {tmp_path}/domain.xml; dumpxml d"
    told = subprocess.run(["virsh", "-c", "test:///default", script], capture_output=True, text=True, check=True).stdout
    back = etree.fromstring(told[told.index("<domain") :]).find("devices/interface")
    assert back is not None
    ours = etree.fromstring(made)
    # libvirt leaves out what is its default.
    assert (back.get("type"), back.get("managed", "no")) == ("hostdev", ours.get("managed"))
    for path in ("source/address", "vlan/tag", *(["mac"] if ours.find("mac") is not None else [])):
        found, wanted = back.find(path), ours.find(path)
        assert (None if found is None else dict(found.attrib)) == (None if wanted is None else dict(wanted.attrib))


def newer(attributes: str) -> str:
    return interface(MAC, f"<driver {attributes}/>", SOURCE, vlan(100))


# What the grammar of libvirt 9.0 does not have, with the release that is the first to know it.
NEWER = [
    ({"model": "mlx5_vfio_pci"}, newer('model="mlx5_vfio_pci"'), "10.0.0"),
    ({"iommufd": True}, newer('iommufd="yes"'), "12.1.0"),
    ({"iommufd": True, "model": "vfio-pci"}, newer('model="vfio-pci" iommufd="yes"'), "12.1.0"),
]


@pytest.mark.parametrize(("options", "wanted", "first"), NEWER)
def test_what_newer_releases_know(schema: etree.RelaxNG, options: dict[str, Any], wanted: str, first: str) -> None:
    made = interface_xml(FUNCTION, **options)
    assert canonical(made) == canonical(wanted)
    assert not schema.validate(etree.fromstring(made))
    assert interface_xml(FUNCTION, **options, libvirt_version=first) == made
    with pytest.raises(AnsibleFilterError) as error:
        interface_xml(FUNCTION, **options, libvirt_version="9.0.0")
    assert str(error.value).startswith("interface_xml: pci_0000_06_1f_7: ")
    assert " cannot be used: libvirt knows it from 1" in str(error.value)


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (None, {}, "this is not one of the functions of hostdev.nodedev.sriov's result, nor a PCI function of"),
        ({"name": "x"}, {}, "this is not one of the functions"),
        (RESULT, {}, "this is not one of the functions"),
        (UNIT, {}, "this is not one of the functions"),
        ({"capability": None}, {}, "this is not one of the functions"),
        ({"sriov": {"functions": [FUNCTION]}}, {}, "these are virtual functions of a card: give one of them, such as"),
        ({"name": "pci_x", "functions": [FUNCTION]}, {}, "these are virtual functions of a card"),
        (facts("net", interface="eth0"), {}, "net_x is a device of kind 'net'; libvirt takes a PCI function"),
        (
            {"name": "pci_x", "capability": {**PCI, "class": "0x020000"}},
            {},
            "pci_x is not a virtual function, as far as",
        ),
        (BOUND, {}, "pci_0000_06_1f_7 is not a virtual function, as far as is told here"),
        (
            {**VF, "capability": {**PCI, "capability": VIRTUAL}},
            {},
            "pci_0000_06_1f_7 is not a function of a network card",
        ),
        ({**QUIET, "vlan": None}, {}, "is not a function of a network card, as far as is told here"),
        ({**FUNCTION, "name": None, "address": None}, {}, "virtual function 0 is only foretold"),
        (
            {**FUNCTION, "mac": "01:00:00:00:00:01"},
            {},
            "mac: '01:00:00:00:00:01' cannot be used: zeros",
        ),
        (FUNCTION, {"mac": "02:00"}, "mac: '02:00' cannot be used: a MAC address has 6 bytes"),
        (FUNCTION, {"mac": 195120212}, "YAML takes digits and colons alone for a number"),
        (FUNCTION, {"vlan": 4095}, "vlan: 4095 cannot be used: a number from 0, for none, to 4094"),
        (FUNCTION, {"vlan": [1, 2]}, "vlan: [1, 2] cannot be used"),
        (FUNCTION, {"vlan": True}, "vlan: True cannot be used"),
        (FUNCTION, {"managed": "maybe"}, "managed: 'maybe' cannot be used: it is true or false"),
        (FUNCTION, {"model": "a/b"}, "model: 'a/b' cannot be used"),
        (FUNCTION, {"libvirt_version": "x"}, "libvirt_version: 'x' cannot be used"),
        ({**VF, "capability": {**VF["capability"], "bus": 256}}, {}, "lacks what a PCI function has, or has it wrong"),
    ],
)
def test_what_is_no_interface(value: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        interface_xml(value, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("interface_xml: ")
