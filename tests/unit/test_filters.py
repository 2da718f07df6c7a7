# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters: a table of devices with the element that each becomes, checked against libvirt's schema and parser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter import hostdev_xml as hostdev_file
from ansible_collections.hostdev.nodedev.plugins.filter import nodedev_name as name_file
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import domain
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]
hostdev_xml = hostdev_file.FilterModule().filters()["hostdev_xml"]
nodedev_name = name_file.FilterModule().filters()["nodedev_name"]

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
PCI = {"type": "pci", "class": "0x030200", "domain": 0, "bus": 6, "slot": 31, "function": 7}
VF = {"name": "pci_0000_06_1f_7", "capability": {**PCI, "capability": [{"type": "phys_function", "address": []}]}}
USB = {
    "type": "usb_device",
    "bus": 1,
    "device": 12,
    "product": {"id": "0xc52b", "name": "Unifying <&> Receiver"},
    "vendor": {"id": "0x046d", "name": "Logitech, Inc."},
}
# What the mdev module returns.
RESULT = {"name": "mdev_x", "uuid": UUID, "parent_addr": "0000:06:00.0", "device_api": "vfio-pci", "type": "nvidia-63"}
# One of the LUNs that the vhba module returns.
UNIT = {
    "address": "3:0:2:1",
    "block": "/dev/sdb",
    "generic": "/dev/sg2",
    "size": 1 << 30,
    "by_path": "/dev/disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun-1",
}
# What the driver module returns of a device, what the sriov module does of a virtual function, and the vgpu module.
BOUND = {
    "name": "pci_0000_06_1f_7",
    "address": "0000:06:1f.7",
    "driver": "vfio-pci",
    "override": "vfio-pci",
    "iommu_group": 41,
    "active": True,
    "persistent": True,
}
FUNCTION = {
    "index": 0,
    "name": "pci_0000_06_1f_7",
    "address": "0000:06:1f.7",
    "driver": "igbvf",
    "iommu_group": 41,
    "netdev": "enp6s31f7",
    "mac": "02:00:00:00:00:01",
    "vlan": 100,
    "holders": [],
    "vgpu_type": None,
    "unusable": None,
}
VGPU = {
    "name": "pci_0000_06_1f_7",
    "address": "0000:06:1f.7",
    "index": 0,
    "parent": "pci_0000_06_00_0",
    "parent_addr": "0000:06:00.0",
    "type": "NVIDIA A16-4Q",
    "type_id": 711,
    "params": "",
    "placement_id": None,
    "iommu_group": 41,
    "active": True,
    "persistent": True,
    "managed": False,
    "holders": [],
    "hostdev_xml": "<hostdev/>",
}
VHBA = {"wwnn": "5001a4a1000000a1", "wwpn": "5001a4a0000000a1", "luns": [UNIT]}


def facts(kind: str, **keys: Any) -> dict[str, Any]:
    return {"name": f"{kind}_x", "capability": {"type": kind, **keys}}


def mdev(parent: str) -> dict[str, Any]:
    return facts("mdev", uuid=UUID, parent_addr=parent)


def element(kind: str, source: str, more: str = "") -> str:
    return f'<hostdev mode="subsystem" type="{kind}"{more}><source>{source}</source></hostdev>'


MDEV = f'<address uuid="{UUID}"/>'
ADDRESS = '<address domain="0x0000" bus="0x06" slot="0x1f" function="0x7"/>'
PRODUCT = '<vendor id="0x046d"/><product id="0xc52b"/>'
PLUG = '<address bus="1" device="12"/>'
LUN = '<adapter name="scsi_host3"/><address bus="0" target="2" unit="1"/>'
HOST = '<hostdev mode="subsystem" type="scsi_host"><source protocol="vhost" wwpn="naa.5001405df3e54061"/></hostdev>'

VFIO = ' model="vfio-pci"'
MANAGED, UNMANAGED = (element("pci", ADDRESS, f' managed="{flag}"') for flag in ("yes", "no"))
MADE = [
    ("mdev of a result", RESULT, {}, element("mdev", MDEV, ' model="vfio-pci"')),
    (
        "an instance of a pool",
        {"index": 0, **RESULT, "holders": [], "hostdev_xml": "x"},
        {},
        element("mdev", MDEV, VFIO),
    ),
    ("a whole result", {"changed": True, "mdev": RESULT}, {}, element("mdev", MDEV, ' model="vfio-pci"')),
    ("vfio-ap of a result", {**RESULT, "device_api": "vfio-ap"}, {}, element("mdev", MDEV, ' model="vfio-ap"')),
    ("vfio-ccw of a result", {**RESULT, "device_api": "vfio-ccw"}, {}, element("mdev", MDEV, ' model="vfio-ccw"')),
    (
        "not yet made",
        {**RESULT, "device_api": None, "parent_addr": "0.0.0013"},
        {},
        element("mdev", MDEV, ' model="vfio-ccw"'),
    ),
    ("mdev of a PCI card", mdev("0000:06:00.0"), {}, element("mdev", MDEV, ' model="vfio-pci"')),
    ("mdev of a subchannel", mdev("0.0.0013"), {}, element("mdev", MDEV, ' model="vfio-ccw"')),
    ("mdev of the matrix", mdev("matrix"), {}, element("mdev", MDEV, ' model="vfio-ap"')),
    ("mdev of mtty", mdev("mtty"), {}, element("mdev", MDEV, ' model="vfio-pci"')),
    (
        "mdev whose API is told",
        {**mdev("odd"), "extra": {"device_api": "vfio-ap"}},
        {},
        element("mdev", MDEV, ' model="vfio-ap"'),
    ),
    (
        "mdev with a display",
        RESULT,
        {"display": True, "ramfb": "yes"},
        element("mdev", MDEV, ' model="vfio-pci" display="on" ramfb="on"'),
    ),
    ("mdev without one", RESULT, {"display": False}, element("mdev", MDEV, ' model="vfio-pci" display="off"')),
    ("mdev managed", RESULT, {"managed": True}, element("mdev", MDEV, ' model="vfio-pci" managed="yes"')),
    ("PCI", {"name": "pci_x", "capability": PCI}, {}, element("pci", ADDRESS, ' managed="yes"')),
    (
        "PCI, with its driver",
        {"name": "pci_x", "capability": PCI, "driver": {"name": "nvme"}},
        {},
        element("pci", ADDRESS, ' managed="yes"'),
    ),
    ("PCI on VFIO", {"name": "pci_x", "capability": PCI, "driver": {"name": "vfio-pci"}}, {}, UNMANAGED),
    (
        "PCI on VFIO, managed",
        {"name": "pci_x", "capability": PCI, "driver": {"name": "vfio-pci"}},
        {"managed": True},
        MANAGED,
    ),
    ("PCI on a variant of VFIO", {**VF, "driver": {"name": "mlx5_vfio_pci"}}, {}, UNMANAGED),
    ("PCI without a driver", {**VF, "driver": None}, {}, MANAGED),
    ("bound to VFIO", BOUND, {}, UNMANAGED),
    ("bound to VFIO, managed", BOUND, {"managed": True}, MANAGED),
    ("bound to a variant of VFIO", {**BOUND, "driver": "nvgrace_gpu_vfio_pci"}, {}, UNMANAGED),
    ("bound to another driver", {**BOUND, "driver": "nvme", "override": None}, {}, MANAGED),
    ("bound to none", {**BOUND, "driver": None, "override": "none"}, {}, MANAGED),
    ("a whole result of a binding", {"changed": True, "device": BOUND, "group": []}, {}, UNMANAGED),
    (
        "bound, in a wide domain",
        {**BOUND, "name": "pci_10000_e1_00_0", "address": "10000:e1:00.0"},
        {},
        element("pci", '<address domain="0x10000" bus="0xe1" slot="0x00" function="0x0"/>', ' managed="no"'),
    ),
    ("a function", FUNCTION, {}, MANAGED),
    ("a function on VFIO", {**FUNCTION, "driver": "vfio-pci", "netdev": None}, {}, UNMANAGED),
    ("a function with a vGPU", {**FUNCTION, "driver": "nvidia", "vgpu_type": "711"}, {}, UNMANAGED),
    ("a function without one", {**FUNCTION, "driver": "nvidia", "vgpu_type": None}, {}, MANAGED),
    ("a function for a release", FUNCTION, {"libvirt_version": "9.0.0", "iommufd": False}, MANAGED),
    ("a vGPU", VGPU, {}, UNMANAGED),
    ("an instance of a pool of functions", {**VGPU, "uuid": None, "device_api": "vfio-pci"}, {}, UNMANAGED),
    (
        "an instance of a pool of vGPUs that are mediated devices",
        {**VGPU, "address": None, "uuid": UUID, "name": "mdev_x", "device_api": "vfio-pci"},
        {},
        element("mdev", MDEV, ' model="vfio-pci"'),
    ),
    ("a whole result of a vGPU", {"changed": True, "vgpu": VGPU, "plan": []}, {}, UNMANAGED),
    ("a vGPU that comes with its guest", {**VGPU, "active": False, "managed": True}, {}, UNMANAGED),
    (
        "PCI not managed",
        {"name": "pci_x", "capability": PCI},
        {"managed": False},
        element("pci", ADDRESS, ' managed="no"'),
    ),
    (
        "PCI of a wide domain",
        facts("pci", domain=0x10000, bus=0xE1, slot=0, function=0),
        {},
        element("pci", '<address domain="0x10000" bus="0xe1" slot="0x00" function="0x0"/>', ' managed="yes"'),
    ),
    ("VF", VF, {}, element("pci", ADDRESS, ' managed="yes"')),
    ("VF without a vGPU", {**VF, "extra": {"current_vgpu_type": 0}}, {}, element("pci", ADDRESS, ' managed="yes"')),
    ("VF with a vGPU", {**VF, "extra": {"current_vgpu_type": 711}}, {}, element("pci", ADDRESS, ' managed="no"')),
    ("the same as text", {**VF, "extra": {"current_vgpu_type": "711"}}, {}, element("pci", ADDRESS, ' managed="no"')),
    (
        "VF with a vGPU, managed",
        {**VF, "extra": {"current_vgpu_type": 711}},
        {"managed": True},
        element("pci", ADDRESS, ' managed="yes"'),
    ),
    ("USB", {"name": "usb_x", "capability": USB}, {}, element("usb", PRODUCT)),
    ("USB by address", {"name": "usb_x", "capability": USB}, {"usb": "address"}, element("usb", PLUG)),
    ("USB by both", {"name": "usb_x", "capability": USB}, {"usb": "both"}, element("usb", PRODUCT + PLUG)),
    ("a LUN of a vHBA", UNIT, {}, element("scsi", LUN)),
    ("a LUN that is no disk", {**UNIT, "block": None, "by_path": None}, {}, element("scsi", LUN)),
    ("SCSI unit", facts("scsi", host=3, bus=0, target=2, lun=1), {}, element("scsi", LUN)),
    ("SCSI host", facts("scsi_host", host=3), {"wwpn": "naa.5001405DF3E54061"}, HOST),
    ("SCSI host, bare", facts("scsi_host", host=3), {"wwpn": "5001405df3e54061"}, HOST),
]
IDS = [row[0] for row in MADE]


def canonical(text: str) -> bytes:
    parsed = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(parsed, method="c14n")


@pytest.mark.parametrize(("_what", "device", "options", "wanted"), MADE, ids=IDS)
def test_hostdev(_what: str, device: dict[str, Any], options: dict[str, Any], wanted: str) -> None:
    assert canonical(hostdev_xml(device, **options)) == canonical(wanted)


def test_hostdev_is_indented() -> None:
    assert hostdev_xml(RESULT).splitlines() == [
        '<hostdev mode="subsystem" type="mdev" model="vfio-pci">',
        "  <source>",
        f'    <address uuid="{UUID}" />',
        "  </source>",
        "</hostdev>",
    ]


GRAMMAR = """
<grammar xmlns="http://relaxng.org/ns/structure/1.0" datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <include href="/usr/share/libvirt/schemas/domaincommon.rng"/>
  <start><ref name="{element}"/></start>
</grammar>
"""


def schema_of(name: str) -> etree.RelaxNG:
    """libvirt's grammar of an element of a domain."""
    return etree.RelaxNG(etree.fromstring(GRAMMAR.format(element=name)))


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    return schema_of("hostdev")


@pytest.mark.parametrize(("_what", "device", "options", "_wanted"), MADE, ids=IDS)
def test_hostdev_against_libvirts_schema(
    schema: etree.RelaxNG, _what: str, device: dict[str, Any], options: dict[str, Any], _wanted: str
) -> None:
    schema.assertValid(etree.fromstring(hostdev_xml(device, **options)))


def newer(attributes: str, managed: str = "no") -> str:
    return element("pci", ADDRESS, f' managed="{managed}"').replace("<source>", f"<driver {attributes}/><source>")


# What the grammar of libvirt 9.0 does not have, with the release that is the first to know it.
NEWER = [
    (BOUND, {"model": "mlx5_vfio_pci"}, newer('model="mlx5_vfio_pci"'), "10.0.0"),
    (FUNCTION, {"model": "vfio-pci", "managed": True}, newer('model="vfio-pci"', "yes"), "10.0.0"),
    (BOUND, {"iommufd": True}, newer('iommufd="yes"'), "12.1.0"),
    (VF, {"iommufd": "on"}, newer('iommufd="yes"', "yes"), "12.1.0"),
    (BOUND, {"iommufd": True, "model": "vfio-pci"}, newer('model="vfio-pci" iommufd="yes"'), "12.1.0"),
]
# And what is said to a release that does not know it, where it can do without.
WITHOUT = newer('iommufd="no"')


@pytest.mark.parametrize(("device", "options", "wanted", "first"), NEWER)
def test_what_newer_releases_know(
    schema: etree.RelaxNG, device: dict[str, Any], options: dict[str, Any], wanted: str, first: str
) -> None:
    made = hostdev_xml(device, **options)
    assert canonical(made) == canonical(wanted)
    assert not schema.validate(etree.fromstring(made))
    for known in (first, first.rpartition(".")[0], "12.5.0", 12005000):
        assert hostdev_xml(device, **options, libvirt_version=known) == made
    for unknown in ("9.0.0", 9000000, "9.0.0-4+deb12u2", "9.10", 9):
        with pytest.raises(AnsibleFilterError) as error:
            hostdev_xml(device, **options, libvirt_version=unknown)
        assert " cannot be used: libvirt knows it from 1" in str(error.value)


def test_what_a_release_is_called() -> None:
    with pytest.raises(AnsibleFilterError) as error:
        hostdev_xml(BOUND, iommufd=True, libvirt_version="11.3")
    assert str(error.value) == (
        "hostdev_xml: pci_0000_06_1f_7: iommufd: True cannot be used: libvirt knows it from 12.1.0 on, not 11.3.0"
    )


@pytest.mark.parametrize(
    ("release", "wanted"),
    [(None, WITHOUT), ("12.1.0", WITHOUT), ("12.0.0", UNMANAGED), (11003000, UNMANAGED), ("9", UNMANAGED)],
)
def test_without_iommufd(release: Any, wanted: str) -> None:
    """A release that does not know it does without."""
    assert canonical(hostdev_xml(BOUND, iommufd=False, libvirt_version=release)) == canonical(wanted)


@pytest.mark.parametrize(("option", "release"), [("display", "4.5.0"), ("ramfb", "5.9.0")])
def test_a_display_for_an_old_release(option: str, release: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"{option}: False cannot be used: libvirt knows it from"):
        hostdev_xml(RESULT, **{option: False}, libvirt_version=release)


@pytest.mark.parametrize(("_what", "device", "options", "_wanted"), MADE, ids=IDS)
def test_hostdev_read_by_libvirt(
    tmp_path: Any, _what: str, device: dict[str, Any], options: dict[str, Any], _wanted: str
) -> None:
    made = hostdev_xml(device, **options)
    domain = f"<domain type='test'><name>d</name><memory>1</memory><os><type>hvm</type></os><devices>{made}</devices>"
    (tmp_path / "domain.xml").write_text(f"{domain}</domain>")
    script = f"define --validate {tmp_path}/domain.xml; dumpxml d"
    told = subprocess.run(["virsh", "-c", "test:///default", script], capture_output=True, text=True, check=True).stdout
    back = etree.fromstring(told[told.index("<domain") :]).find("devices/hostdev")
    assert back is not None
    ours = etree.fromstring(made)
    assert {key: value for key, value in back.items() if key in ours.attrib} == dict(ours.attrib)


REFUSED = [
    (None, {}, "this is not a device"),
    ("pci_0000_06_00_0", {}, "this is not a device"),
    ({"name": "x"}, {}, "this is not a device"),
    ([RESULT], {}, "this is a list: give one of its items, such as the first by [0]"),
    ({"results": [RESULT]}, {}, "these are the results of a loop: give one of them, such as results[0]"),
    (facts("net", interface="eth0"), {}, "net_x is a device of kind 'net'; a domain gets devices of the kinds mdev,"),
    (facts("pci", domain=0), {}, "pci_x lacks what a pci device has"),
    (facts("pci", domain=0, bus="x", slot=0, function=0), {}, "has it wrong"),
    (
        {"name": "pci_b", "capability": {**PCI, "capability": [{"type": "pci-bridge"}]}},
        {},
        "pci_b is a bridge: a domain gets endpoints only",
    ),
    ({**RESULT, "uuid": "../x"}, {}, "mdev_x: uuid: '../x' cannot be used"),
    ({**RESULT, "device_api": "vfio-platform"}, {}, "device_api 'vfio-platform'"),
    (facts("mdev", uuid=UUID), {}, "'parent_addr'"),
    (facts("scsi_host", host=3), {}, "vhost-scsi only: set wwpn"),
    (facts("scsi_host", host=3), {"wwpn": "naa.5"}, "which is not naa. and 16 hexadecimal digits"),
    (facts("usb_device", **{**USB, "type": "usb_device", "vendor": {"id": "0x12345"}}), {}, "vendor id '0x12345'"),
    ({**UNIT, "address": "9:0:1"}, {}, "a LUN's address is '9:0:1'"),
    ({**UNIT, "address": None}, {}, "a LUN's address is None"),
    (VHBA, {}, "this is a vHBA: give one of its luns"),
    ({"vhba": VHBA}, {}, "this is a vHBA: give one of its luns"),
    ({"device": {"name": "pci_x"}, "group": []}, {}, "this is not a device"),
    ({"sriov": {"name": "pci_x"}}, {}, "these are virtual functions: give one of them, such as sriov.functions[0]"),
    (
        {**FUNCTION, "name": None, "address": None},
        {},
        "hostdev_xml: virtual function 0 is only foretold, and has no address yet",
    ),
    (
        {**FUNCTION, "vgpu_type": "nvidia-692"},
        {},
        "pci_0000_06_1f_7 carries a mediated device of type nvidia-692, and a domain gets that: give the mdev of",
    ),
    ({**FUNCTION, "name": "../x"}, {}, "name: '../x' cannot be used"),
    (
        {"vgpu": {**VGPU, "type": None, "type_id": None, "active": False}},
        {},
        "pci_0000_06_1f_7 is not a vGPU, and not defined to be one",
    ),
    ({**BOUND, "name": "css_0_0_0013", "address": "0.0.0013"}, {}, "css_0_0_0013 is a device of kind 'css'; a domain"),
    ({**BOUND, "name": "ccw_0_0_1520", "address": "0.0.1520"}, {}, "it gets a mediated device on the subchannel"),
    (facts("storage", block="/dev/sda"), {}, "it gets the SCSI unit that is its parent, or the path of the disk"),
    (facts("ap_matrix"), {}, "it gets queues by a mediated device on ap_matrix"),
    (RESULT, {"model": "vfio-pci"}, "model: 'vfio-pci' cannot be used: it is for devices of kind pci, not mdev"),
    (UNIT, {"iommufd": True}, "3:0:2:1: iommufd: True cannot be used: it is for devices of kind pci, not scsi"),
    (BOUND, {"display": True}, "display: True cannot be used: it is for devices of kind mdev, not pci"),
    (
        {**RESULT, "device_api": "vfio-ccw"},
        {"display": False},
        "display: False cannot be used: a device with the API vfio-pci may have a display, not vfio-ccw",
    ),
    (RESULT, {"ramfb": True}, "ramfb: True cannot be used: it goes with display=true"),
    (RESULT, {"ramfb": True, "display": False}, "ramfb: True cannot be used: it goes with display=true"),
    (BOUND, {"model": "a b"}, "model: 'a b' cannot be used: a driver's name has 1 to 64 letters, digits and _ + -"),
    (BOUND, {"model": ""}, "model: '' cannot be used"),
    (BOUND, {"iommufd": "perhaps"}, "iommufd: 'perhaps' cannot be used: it is true or false"),
    (
        BOUND,
        {"libvirt_version": "new"},
        "libvirt_version: 'new' cannot be used: a release of libvirt is 12.1.0,",
    ),
    (BOUND, {"libvirt_version": ""}, "libvirt_version: '' cannot be used"),
    (BOUND, {"libvirt_version": "1.2.3.4"}, "libvirt_version: '1.2.3.4' cannot be used"),
    (BOUND, {"libvirt_version": -1}, "libvirt_version: -1 cannot be used"),
    (BOUND, {"libvirt_version": True}, "libvirt_version: True cannot be used"),
    (BOUND, {"libvirt_version": 12.1}, "quote it, since YAML takes it for a number with a fraction"),
    ({"vhba": None}, {}, "this is not a device"),
    ({"changed": True, "instances": [RESULT]}, {}, "this is a pool: give one of its instances"),
    ({"name": "usb_x", "capability": USB}, {"usb": "port"}, "usb is 'port', not one of product, address, both"),
]


@pytest.mark.parametrize(("device", "options", "message"), REFUSED)
def test_what_is_no_hostdev(device: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        hostdev_xml(device, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


MDEV_NAME = "mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001"


@pytest.mark.parametrize(
    ("value", "options", "name"),
    [
        ("0000:06:00.0", {}, "pci_0000_06_00_0"),
        ("06:1f.7", {}, "pci_0000_06_1f_7"),
        ("0000:AF:00.0", {}, "pci_0000_af_00_0"),
        ("10000:e1:00.0", {}, "pci_10000_e1_00_0"),
        ("00000000:3D:00.0", {}, "pci_0000_3d_00_0"),
        ("3D:00.0", {"subsystem": "pci"}, "pci_0000_3d_00_0"),
        (UUID, {"parent": "00000000:3D:00.0"}, f"{MDEV_NAME}_0000_3d_00_0"),
        ("0.0.0815", {}, "ccw_0_0_0815"),
        ("0.0.0013", {"subsystem": "css"}, "css_0_0_0013"),
        ("fe.3.ABCD", {}, "ccw_fe_3_abcd"),
        ("card0a", {"subsystem": "ap"}, "ap_card0a"),
        ("matrix", {"subsystem": "matrix"}, "ap_matrix"),
        (UUID, {"parent": "0000:06:00.0"}, f"{MDEV_NAME}_0000_06_00_0"),
        (UUID.upper(), {"parent": "pci_0000_06_00_0"}, f"{MDEV_NAME}_0000_06_00_0"),
        (UUID, {"parent": "css_0_0_0013"}, f"{MDEV_NAME}_0_0_0013"),
        (UUID, {"parent": "ap_matrix"}, f"{MDEV_NAME}_matrix"),
        (UUID, {"parent": "matrix"}, f"{MDEV_NAME}_matrix"),
        (UUID, {"parent": "mtty_mtty"}, f"{MDEV_NAME}_mtty"),
    ],
)
def test_name(value: str, options: dict[str, str], name: str) -> None:
    assert nodedev_name(value, **options) == name


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        ("", {}, "is neither a PCI address"),
        (None, {}, "is neither a PCI address"),
        (6, {}, "is neither a PCI address"),
        ("0000:06:00.8", {}, "is neither a PCI address"),
        ("0000:06:20.0", {}, "is neither a PCI address"),
        ("0000:06:00.0\n", {}, "is neither a PCI address"),
        ("eth0", {}, "is neither a PCI address"),
        ("../x", {"subsystem": "ap"}, "address: '../x' cannot be used"),
        ("card0a", {"subsystem": "a/p"}, "subsystem: 'a/p' cannot be used"),
        (UUID, {}, "so give parent="),
        (UUID, {"parent": "a/b"}, "parent: 'a/b' cannot be used"),
        ("0000:06:00.0", {"parent": "ap_matrix"}, "parent goes with the UUID"),
    ],
)
def test_what_has_no_name(value: object, options: dict[str, str], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        nodedev_name(value, **options)
    assert message in str(error.value)


def test_the_examples(tmp_path: Path) -> None:
    """The filters' documented examples, by ansible itself; a module's task before them is left out."""
    documents = [
        yaml.safe_load((ROOT / "plugins/filter" / f"{name}.yml").read_text())
        for name in ("hostdev_xml", "interface_xml", "nodedev_name")
    ]
    tasks = [task for document in documents for task in yaml.safe_load(document["EXAMPLES"])]
    device = {"name": "pci_0000_06_00_0", "capability": PCI}
    known = {"nodedev": {"devices": {"pci_0000_06_00_0": device}}, "cacheable": True}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "vgpu": {"mdev": RESULT},
            "disk": {"device": BOUND, "group": [BOUND]},
            "nic": {"sriov": {"functions": [FUNCTION, FUNCTION]}},
        },
        "tasks": [{"ansible.builtin.set_fact": known}, *(task for task in tasks if "ansible.builtin.debug" in task)],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        'model=\\"vfio-pci\\"',
        'managed=\\"no\\"',
        'iommufd=\\"yes\\"',
        'mac address=\\"02:00:00:00:00:01\\"',
        'mac address=\\"02:00:00:00:00:02\\"',
        'tag id=\\"100\\"',
        'tag id=\\"200\\"',
        "ccw_0_0_0815",
        "css_0_0_0013",
        f"{MDEV_NAME[:5]}9a2c9c9e",
    ):
        assert text in done.stdout


@pytest.mark.parametrize("model", domain.MODELS)
def test_an_mdevs_element_is_that_of_the_modules(model: str) -> None:
    """mdev_pool writes it without an XML library."""
    uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    assert hostdev_xml({"uuid": uuid, "device_api": model}) == domain.mdev(uuid, model)
