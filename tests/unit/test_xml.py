# SPDX-License-Identifier: GPL-3.0-or-later
"""XML both ways: libvirt's own examples, anything that a device may be, and documents that nobody should send."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import xml
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

ADDRESS = {"domain": "0x0000", "bus": "0x01", "slot": "0x00", "function": "0x2"}
PCI = """\
<device>
  <name>pci_0000_01_00_0</name>
  <path>/sys/devices/pci0000:00/0000:01:00.0</path>
  <parent>pci_0000_00_01_0</parent>
  <driver>
    <name>mlx5_core</name>
  </driver>
  <capability type="pci">
    <class>0x020000</class>
    <domain>0</domain>
    <bus>1</bus>
    <slot>0</slot>
    <function>0</function>
    <product id="0x1017">MT27800 &lt;ConnectX-5&gt;</product>
    <vendor id="0x15b3"/>
    <capability type="virt_functions" maxCount="8">
      <address domain="0x0000" bus="0x01" slot="0x00" function="0x2"/>
    </capability>
    <capability type="mdev_types">
      <type id="vend-1">
        <name>Small</name>
        <deviceAPI>vfio-pci</deviceAPI>
        <availableInstances>2</availableInstances>
      </type>
    </capability>
    <capability type="vpd">
      <fields access="readonly">
        <part_number></part_number>
        <vendor_field index="2">vv</vendor_field>
        <vendor_field index="3"></vendor_field>
      </fields>
    </capability>
    <iommuGroup number="7">
      <address domain="0x0000" bus="0x01" slot="0x00" function="0x2"/>
    </iommuGroup>
    <numa node="0"/>
    <pci-express>
      <link validity="cap" port="0" speed="2.5" width="8"/>
      <link validity="sta" width="0"/>
    </pci-express>
  </capability>
</device>
"""
PCI_DEVICE: dict[str, Any] = {
    "name": "pci_0000_01_00_0",
    "path": "/sys/devices/pci0000:00/0000:01:00.0",
    "parent": "pci_0000_00_01_0",
    "driver": {"name": "mlx5_core"},
    "capability": {
        "type": "pci",
        "class": "0x020000",
        "domain": 0,
        "bus": 1,
        "slot": 0,
        "function": 0,
        "product": {"id": "0x1017", "name": "MT27800 <ConnectX-5>"},
        "vendor": {"id": "0x15b3"},
        "capability": [
            {"type": "virt_functions", "maxCount": 8, "address": [ADDRESS]},
            {
                "type": "mdev_types",
                "types": [{"id": "vend-1", "name": "Small", "deviceAPI": "vfio-pci", "availableInstances": 2}],
            },
            {
                "type": "vpd",
                "fields": [
                    {
                        "access": "readonly",
                        "part_number": "",
                        "vendor_field": [{"index": "2", "value": "vv"}, {"index": "3", "value": ""}],
                    }
                ],
            },
        ],
        "iommuGroup": {"number": 7, "address": [ADDRESS]},
        "numa": {"node": 0},
        "pci-express": {
            "link": [{"validity": "cap", "port": 0, "speed": 2.5, "width": 8}, {"validity": "sta", "width": 0}]
        },
    },
}


def test_a_device_with_everything() -> None:
    assert xml.to_xml({**PCI_DEVICE, "extra": {"vf_index": 1}}) == PCI
    assert xml.from_xml(PCI) == PCI_DEVICE


@pytest.mark.parametrize(
    ("inner", "capability"),
    [
        ('<capability type="scsi"><host>1</host><type>disk</type></capability>', {"host": 1, "scsi_type": "disk"}),
        ('<capability type="drm"><type>render</type></capability>', {"drm_type": "render"}),
        (
            '<capability type="mdev"><type id="i915"/><uuid>u</uuid><iommuGroup number="0"/>'
            '<attr name="a" value="&lt;"/><attr name="b" value=""/></capability>',
            {
                "mdev_type": {"id": "i915"},
                "uuid": "u",
                "iommuGroup": {"number": 0},
                "attr": [{"name": "a", "value": "<"}, {"name": "b", "value": ""}],
            },
        ),
        ('<capability type="mdev_types"><type id="mtty-1"/></capability>', {"types": [{"id": "mtty-1"}]}),
        (
            '<capability type="net"><address>02:00</address><link speed="10000" state="up"/><feature name="rx"/>'
            '<capability type="80203"/></capability>',
            {
                "address": "02:00",
                "link": {"speed": 10000, "state": "up"},
                "feature": [{"name": "rx"}],
                "capability": [{"type": "80203"}],
            },
        ),
        ('<capability type="system"><hardware><uuid>u</uuid></hardware><firmware/></capability>', None),
        ('<capability type="storage"><vendor>0x1af4</vendor><size>1</size></capability>', None),
        ('<capability type="usb_device"><product id="0x0002"/><vendor id="0x1d6b">A</vendor></capability>', None),
        (
            '<capability type="ccwgroup"><members><ccw_device ref="cdev0">ccw_0_0_f500</ccw_device></members>'
            '<capability type="qeth_layer2"><chpid>1B</chpid></capability></capability>',
            None,
        ),
        (
            '<capability type="pci"><capability type="phys_function"><address domain="0x0000" bus="0x01" slot="0x00"'
            ' function="0x0"/></capability><pci-express/></capability>',
            None,
        ),
    ],
)
def test_other_kinds(inner: str, capability: dict[str, Any] | None) -> None:
    document = f"<device><name>x</name>{inner}</device>"
    device = xml.from_xml(document)
    if capability is not None:
        kind = etree.fromstring(inner).get("type")
        assert device["capability"] == {"type": kind, **capability}
    assert canonical(xml.to_xml(device)) == canonical(document)


def canonical(document: str) -> bytes:
    parser = etree.XMLParser(remove_blank_text=True)
    text: bytes = etree.tostring(etree.fromstring(document, parser), method="c14n")
    return text


def test_nodes() -> None:
    nodes = [{"type": "dev", "path": "/dev/sda"}, {"type": "link", "path": "/dev/disk/by-id/a&b"}]
    text = xml.to_xml({"name": "x", "devnode": nodes, "capability": {"type": "storage"}})
    assert '  <devnode type="link">/dev/disk/by-id/a&amp;b</devnode>\n' in text
    assert xml.from_xml(text)["devnode"] == nodes


def test_what_xml_cannot_carry_is_left_out() -> None:
    text = xml.to_xml({"name": "a\x01b\udcff\ufffec\td"})
    assert etree.fromstring(text).findtext("name") == "abc\td"


def test_a_parent_by_its_wwn() -> None:
    document = "<device><parent wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/></device>"
    assert xml.from_xml(document) == {"parent": {"wwnn": "20000000c9831b4b", "wwpn": "10000000c9831b4b"}}
    named = document.replace("/>", ">scsi_host5</parent>")
    both = {"wwnn": "20000000c9831b4b", "wwpn": "10000000c9831b4b", "name": "scsi_host5"}
    assert xml.from_xml(named) == {"parent": both}
    assert xml.from_xml(xml.to_xml({"parent": both})) == {"parent": both}


def test_comments_and_white_space_and_repeated_elements() -> None:
    document = "<?xml version='1.0'?><!-- a -->\n<device>\n <!-- b --> <name>a</name><name>b</name>\n<?c d?></device>\n"
    assert xml.from_xml(document) == {"name": "a"}


def test_the_type_of_a_capability_stays_its_own() -> None:
    capability = xml.from_xml("<device><capability type='net'><type id='x'/></capability></device>")["capability"]
    assert capability["type"] == "net"


def test_a_claimed_encoding_is_not_believed() -> None:
    assert xml.from_xml("<?xml version='1.0' encoding='ISO-8859-1'?><device><name>é</name></device>") == {"name": "é"}


WWPN = "5001a4a0000000a1"
# What may stand in an element around, between and in its text.
TEXTS_OF_ELEMENTS = [
    (WWPN, WWPN),
    (f"<!-- zoned -->{WWPN}", WWPN),
    (f"{WWPN}<!-- zoned -->", WWPN),
    (f"<?zone a?>{WWPN[:4]}<!-- 5 -->{WWPN[4:]}<?zone b?>", WWPN),
    (f"<![CDATA[{WWPN}]]>", WWPN),
    (f"{WWPN[:4]}<![CDATA[{WWPN[4:]}]]>", WWPN),
    (f"{WWPN[:4]}<b>{WWPN[4:8]}<!-- x --></b>{WWPN[8:]}", WWPN),
    ("&#53;001a4a0000000a1", WWPN),
    (f" {WWPN}\n", f" {WWPN}\n"),
]


@pytest.mark.parametrize(("inside", "text"), TEXTS_OF_ELEMENTS)
def test_all_text_of_an_element_counts(inside: str, text: str) -> None:
    document = (
        f"<device><name>{inside}</name><parent wwnn='x'>{inside}</parent><devnode type='dev'>{inside}</devnode>"
        f"<driver><!-- a --><name>{inside}</name></driver><capability type='scsi_host'><!-- b --><?c?>"
        f"<capability type='fc_host'>\n<!-- d --> <wwpn>{inside}</wwpn></capability></capability></device>"
    )
    assert xml.from_xml(document) == {
        "name": text,
        "parent": {"wwnn": "x", "name": text},
        "devnode": [{"type": "dev", "path": text}],
        "driver": {"name": text},
        "capability": {"type": "scsi_host", "capability": [{"type": "fc_host", "wwpn": text}]},
    }


@pytest.mark.parametrize(("inside", "text"), TEXTS_OF_ELEMENTS)
def test_libvirt_reads_the_same_text(tmp_path: Path, inside: str, text: str) -> None:
    port = f"<capability type='fc_host'><wwnn>{WWPN}</wwnn><wwpn>{inside}</wwpn></capability>"
    document = f"<device><parent>scsi_host1</parent><capability type='scsi_host'>{port}</capability></device>"
    (tmp_path / "device.xml").write_text(document)
    script = f"nodedev-create {tmp_path}/device.xml; nodedev-dumpxml scsi_host12"
    told = subprocess.run(
        ["virsh", "-c", "test:///default", script], capture_output=True, text=True, check=False
    ).stdout
    made = etree.fromstring(told[told.index("<device>") :])
    assert made.findtext("capability/capability[@type='fc_host']/wwpn") == text


def test_a_comment_is_no_number_and_no_number_is_endless() -> None:
    document = "<device><capability type='storage'><size><!-- bytes -->{}</size></capability></device>"
    cases = {
        "512": 512,
        "18446744073709551616": 1 << 64,
        "2.5": 2.5,
        "9" * 5000: "9" * 5000,
        f"1.{'9' * 5000}": f"1.{'9' * 5000}",
        f"{'9' * 400}.5": f"{'9' * 400}.5",
        "inf": "inf",
        "nan": "nan",
        "1e999": "1e999",
    }
    for text, value in cases.items():
        assert xml.from_xml(document.format(text))["capability"]["size"] == value
    links = "<link port='{0}'/><link speed='{0}.5'/>".format("9" * 5000)
    assert xml.from_xml(f"<device><capability type='pci'><pci-express>{links}</pci-express></capability></device>")


BOMB = "<!DOCTYPE device [<!ENTITY a 'x'><!ENTITY b '" + "&a;" * 50 + "'>]><device><name>&b;</name></device>"


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "no XML",
        "<device>",
        "<device></name>",
        "<device><name>\x01</name></device>",
        "<device/><device/>",
        "<domain/>",
        "<device>&undeclared;</device>",
        "<!DOCTYPE device><device/>",
        "<!DOCTYPE device SYSTEM 'file:///etc/passwd'><device/>",
        "<!DOCTYPE device [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><device><name>&x;</name></device>",
        BOMB,
        "<device><name>" + "x" * xml.LONGEST + "</name></device>",
        "<device>" * 5000,
        "<device xmlns='urn:other'/>",
        "<device><name>\ud800</name></device>",
        f"<{'a' * 5000}/>",
        f"<{'a' * 5000}></{'b' * 5000}>",
        "<device>\u202e</name>",
    ],
)
def test_documents_that_nobody_should_send(document: str) -> None:
    with pytest.raises(BadInput) as failure:
        xml.from_xml(document)
    message = str(failure.value)
    assert failure.value.option == "xml"
    assert message.isprintable()
    assert len(message) < 500
    assert "root:" not in message


@given(st.text(max_size=200))
def test_any_text_is_refused_in_one_way(text: str) -> None:
    try:
        xml.from_xml(text)
    except BadInput as error:
        assert error.option == "xml"


LEGAL = st.characters(min_codepoint=0x20, max_codepoint=0x2FFF)
TEXT = st.text(LEGAL, max_size=12)
NAMED = st.text(LEGAL, min_size=1, max_size=12)
NUMBER = st.integers(0, 1 << 64)
ADDRESSES = st.fixed_dictionaries(dict.fromkeys(ADDRESS, st.integers(0, 255).map("0x{:02x}".format)))
IDENTIFIED = st.fixed_dictionaries({"id": TEXT}, optional={"name": NAMED})
TYPES = st.lists(
    st.fixed_dictionaries({"id": TEXT}, optional={"name": TEXT, "deviceAPI": TEXT, "availableInstances": NUMBER}),
    min_size=1,
)
INDEXED = st.lists(st.fixed_dictionaries({"index": TEXT, "value": TEXT}), min_size=1)
CAPABILITIES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("pci")},
        optional={
            "class": st.integers(0, 1 << 24).map("0x{:06x}".format),
            "domain": NUMBER,
            "product": IDENTIFIED,
            "vendor": IDENTIFIED,
            "capability": st.lists(
                st.one_of(
                    st.fixed_dictionaries({"type": st.just("phys_function"), "address": ADDRESSES}),
                    st.fixed_dictionaries(
                        {"type": st.just("virt_functions")},
                        optional={"maxCount": NUMBER, "address": st.lists(ADDRESSES, min_size=1)},
                    ),
                    st.fixed_dictionaries({"type": st.just("mdev_types"), "types": TYPES}),
                    st.fixed_dictionaries(
                        {
                            "type": st.just("vpd"),
                            "fields": st.lists(
                                st.fixed_dictionaries(
                                    {"access": TEXT}, optional={"part_number": TEXT, "vendor_field": INDEXED}
                                ),
                                min_size=1,
                            ),
                        }
                    ),
                ),
                min_size=1,
            ),
            "iommuGroup": st.fixed_dictionaries(
                {"number": NUMBER}, optional={"address": st.lists(ADDRESSES, min_size=1)}
            ),
            "pci-express": st.fixed_dictionaries(
                {},
                optional={
                    "link": st.lists(
                        st.fixed_dictionaries(
                            {"validity": TEXT}, optional={"speed": st.sampled_from((2.5, 5, 8)), "width": NUMBER}
                        ),
                        min_size=1,
                    )
                },
            ),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("storage")}, optional={"block": TEXT, "model": TEXT, "vendor": TEXT, "size": NUMBER}
    ),
    st.fixed_dictionaries({"type": st.just("scsi"), "lun": NUMBER}, optional={"scsi_type": NAMED}),
    st.fixed_dictionaries(
        {"type": st.just("mdev"), "mdev_type": st.fixed_dictionaries({"id": TEXT})},
        optional={"attr": st.lists(st.fixed_dictionaries({"name": TEXT, "value": TEXT}), min_size=1)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("system"), "firmware": st.fixed_dictionaries({}, optional={"vendor": TEXT, "version": TEXT})}
    ),
)
DEVICES = st.fixed_dictionaries(
    {"name": NAMED, "capability": CAPABILITIES},
    optional={
        "path": NAMED,
        "devnode": st.lists(st.fixed_dictionaries({"type": TEXT, "path": TEXT}), min_size=1),
        "parent": TEXT,
        "driver": st.fixed_dictionaries({"name": TEXT}),
    },
)


@given(DEVICES)
def test_a_device_comes_back_as_it_was(device: dict[str, Any]) -> None:
    assert xml.from_xml(xml.to_xml(device)) == device
