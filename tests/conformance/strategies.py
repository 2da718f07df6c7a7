# SPDX-License-Identifier: GPL-3.0-or-later
"""Random hosts in the grammar of the simulated host's scenarios: devices of every kind, whole, odd and broken."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Declaration = dict[str, Any]
Maker = Callable[[int], list[Declaration]]
UUID = "00000000-1111-4222-8333-{:012d}"

TEXT = st.text("aZ09 .:-_<>&'\"é\x01", max_size=12)
WORD = st.text("abcXYZ0189-_", min_size=1, max_size=8)
# Mostly right numbers; what follows is what libvirt's conversions trip over, or must not.
NUMBER = st.one_of(
    st.integers(-1, 300).map(str), st.sampled_from(["0x10", "010", "", " 7", "7 ", "+7", "1.5", "x", "4294967296"])
)
HEX = st.one_of(st.integers(0, 0xFFFF).map("0x{:04x}".format), st.sampled_from(["0x", "ffff", "zz", "0x1af4"]))
# What a device's IOMMU group may be called; each but the first is there. libvirt takes some of the odd ones.
GROUPS = ("gone", "7", "07", "+7", "7x", "7_0", "-1", "4294967296")
SYSFS = {f"kernel/iommu_groups/{name}/devices/0000:00:00.0": "" for name in GROUPS[1:]}


def groups(*numbers: int) -> st.SearchStrategy[Declaration]:
    """A device's IOMMU group: none, one of these, or a link that leads nowhere or to an odd name."""
    plain = st.one_of(st.none(), st.sampled_from(numbers)).map(lambda number: {"iommu_group": number})
    linked = st.sampled_from(GROUPS).map(lambda name: {"links": {"iommu_group": f"kernel/iommu_groups/{name}"}})
    return st.one_of(plain, plain, linked)


def attributes(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these attributes, some of which cannot be read."""
    broken = st.just({"errno": "EIO"})
    optional = {key: st.one_of(value, value, value, broken) for key, value in values.items()}
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def config(draw: st.DrawFn) -> Declaration:
    """A configuration space whose capability list ends: libvirt would follow a circle for ever."""
    size = draw(st.sampled_from([64, 256, 256, 4096]))
    data = bytearray(draw(st.binary(min_size=256, max_size=256)))
    data[0x0E] = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 0x80, 0x81, 0xFF]))
    data[0x06] = draw(st.sampled_from([0x10, 0x10, 0x00]))
    data[0x34] = position = draw(st.sampled_from([0x40, 0x40, 0x00, 0xFF]))
    ids = draw(st.lists(st.sampled_from([0x01, 0x05, 0x10, 0x11]), max_size=3))
    for number in ids if position == 0x40 else []:
        data[position : position + 2] = bytes([number, position + 0x20])
        position += 0x20
    if position >= 0x40 and position != 0xFF:
        data[position : position + 2] = bytes([0x09, draw(st.sampled_from([0x00, 0xFF, 0x3C]))])
    return {"hex": bytes(data[:size]).hex(), "size": size}


@st.composite
def vpd(draw: st.DrawFn) -> Declaration:
    """Vital product data, sometimes cut off or with a wrong byte."""
    value = st.one_of(st.text("aZ09 <&", max_size=6).map(str.encode), st.binary(max_size=3))
    keywords = st.sampled_from(["PN", "EC", "SN", "MN", "V0", "VZ", "YA", "Y5", "CP", "FG"])

    def section(tag: int, body: bytes) -> bytes:
        return struct.pack("<BH", tag, len(body)) + body

    def fields() -> bytes:
        items = draw(st.lists(st.tuples(keywords, value), max_size=4))
        return b"".join(keyword.encode() + bytes([len(data)]) + data for keyword, data in items)

    name = section(0x82, draw(value))
    body = fields() + b"RV\x01"
    head = name + struct.pack("<BH", 0x90, len(body) + 1) + body
    data = bytearray(head + bytes([-sum(head) & 0xFF]) + section(0x91, fields()) + b"\x78")
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return {"hex": data[: draw(st.one_of(st.none(), st.integers(0, len(data))))].hex()}


@st.composite
def pci(draw: st.DrawFn) -> Maker:
    given = draw(
        attributes(vendor=HEX, device=HEX, numa_node=NUMBER, sriov_totalvfs=NUMBER, config=config(), vpd=vpd())
    )
    types = draw(st.dictionaries(WORD, attributes(name=TEXT, device_api=TEXT, available_instances=NUMBER), max_size=2))
    given.update(
        {f"mdev_supported_types/{t}/{key}": value for t, values in types.items() for key, value in values.items()}
    )
    plain = {key: draw(st.integers(0, 0xFFFF)) for key in ("vendor", "device")}
    driver = draw(st.none() | WORD)
    group = draw(groups(0, 1, 2))
    uevent = draw(st.fixed_dictionaries({}, optional={"PCI_CLASS": st.sampled_from(["20000", "0", "x", "30200"])}))

    def make(n: int) -> list[Declaration]:
        device = {"pci": {"address": f"0000:{n:02x}:00.0", **plain}, "attributes": given, "uevent": uevent}
        return [{**device, **group, "driver": driver}]

    return make


@st.composite
def usb(draw: st.DrawFn) -> Maker:
    optional = {"ID_VENDOR_FROM_DATABASE": TEXT, "ID_MODEL_FROM_DATABASE": TEXT}
    numbers = st.sampled_from(["0x12", "abcd", "0001", "g"])
    udev = draw(st.fixed_dictionaries({}, optional={"ID_VENDOR_ID": numbers, "ID_MODEL_ID": numbers, **optional}))
    texts = draw(attributes(product=TEXT, manufacturer=TEXT))
    names = ("bInterfaceNumber", "bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    interface = draw(attributes(**dict.fromkeys(names, NUMBER)))

    def make(n: int) -> list[Declaration]:
        device = {"path": f"devices/platform/hcd/usb{n}", "bus": "usb", "attributes": texts, "udev": udev}
        device["uevent"] = {"DEVTYPE": "usb_device", "BUSNUM": f"{n:03d}", "DEVNUM": "001"}
        child = {"path": f"{device['path']}/{n}-0:1.0", "bus": "usb", "attributes": interface}
        return [device, {**child, "uevent": {"DEVTYPE": "usb_interface"}}]

    return make


@st.composite
def net(draw: st.DrawFn) -> Maker:
    state = st.sampled_from(["up", "up", "down", "unknown", "dormant", "odd"])
    given = draw(attributes(address=TEXT, operstate=state, speed=NUMBER, addr_len=NUMBER))
    types = st.sampled_from(["wlan", "bridge"])
    uevent = draw(st.fixed_dictionaries({}, optional={"DEVTYPE": types}))
    suffix = draw(st.sampled_from(["", ".1", "-1", "<&>"]))

    def make(n: int) -> list[Declaration]:
        name = f"eth{n}{suffix}"
        device = {"path": f"devices/virtual/net/{name}", "class": "net", "attributes": given}
        return [{**device, "uevent": {**uevent, "INTERFACE": name, "IFINDEX": str(n + 10)}}]

    return make


@st.composite
def scsi(draw: st.DrawFn) -> Maker:
    host = draw(attributes(unique_id=NUMBER, vport_create=st.just("")))
    numbers = {"max_npiv_vports": NUMBER, "npiv_vports_inuse": NUMBER}
    wwn = st.sampled_from(["0x2001001b32a9da5e", "2101001b32a9da5e", "0x", "a\nb"])
    fc = draw(attributes(node_name=wwn, port_name=wwn, fabric_name=wwn, vport_create=st.just(""), **numbers))
    lun = draw(attributes(type=NUMBER, model=TEXT, vendor=TEXT))
    disk = draw(attributes(size=NUMBER, removable=NUMBER, **{"queue/logical_block_size": st.sampled_from([512, 4096])}))
    kinds = st.sampled_from(["disk", "cd", "floppy", "generic", "optical"])
    flags = {"ID_CDROM": st.just("1"), "ID_CDROM_MEDIA": NUMBER, "ID_DRIVE_FLOPPY": st.just("1"), "ID_FS_LABEL": TEXT}
    udev = draw(st.fixed_dictionaries({}, optional={"ID_TYPE": kinds, "ID_BUS": WORD, "ID_SERIAL": TEXT, **flags}))
    node = draw(st.sampled_from(["sd", "sd", "vd", "nvme", "sr", "fd"]))

    def make(n: int) -> list[Declaration]:
        base = f"devices/platform/hba/host{n}"
        target = f"{base}/rport-{n}:0-0/target{n}:0:0"
        address = f"{n}:0:0:0"
        name = f"{node}{n}"
        port = f"{base}/rport-{n}:0-0"
        return [
            {"path": base, "bus": "scsi", "uevent": {"DEVTYPE": "scsi_host"}},
            {"path": f"{base}/scsi_host/host{n}", "class": "scsi_host", "attributes": host},
            {"path": f"{base}/fc_host/host{n}", "class": "fc_host", "attributes": fc},
            {
                "path": f"{port}/fc_remote_ports/rport-{n}:0-0",
                "class": "fc_remote_ports",
                "attributes": {"port_name": n},
            },
            {"path": target, "bus": "scsi", "uevent": {"DEVTYPE": "scsi_target"}},
            {"path": f"{target}/{address}", "bus": "scsi", "attributes": lun, "uevent": {"DEVTYPE": "scsi_device"}},
            {
                "path": f"{target}/{address}/block/{name}",
                "class": "block",
                "attributes": disk,
                "udev": udev,
                "uevent": {"DEVTYPE": "disk"},
                "node": {"name": name, "major": 8, "minor": n},
            },
        ]

    return make


@st.composite
def s390x(draw: st.DrawFn) -> Maker:
    driver = draw(st.sampled_from(["io_subchannel", "vfio_ccw", "chsc_subchannel", None]))
    subchannel = draw(attributes(dev_busid=st.sampled_from(["0.0.0815", "none", "x", "fe.3.00ff"])))
    online = draw(attributes(online=NUMBER))
    group = draw(st.sampled_from(["qeth", "qeth", "gone"]))

    def make(n: int) -> list[Declaration]:
        base = f"devices/css0/0.0.{n:04x}"
        name = f"0.0.{n + 256:04x}"
        links = {"group_device": f"devices/{group}/{name}"}
        return [
            {"path": base, "bus": "css", "driver": driver, "attributes": subchannel},
            {"path": f"{base}/{name}", "bus": "ccw", "attributes": online, "links": links},
            {"path": f"devices/ap/card{n:02x}", "bus": "ap", "uevent": {"DEVTYPE": "ap_card"}},
            {"path": f"devices/ap/card{n:02x}/{n:02x}.0004", "bus": "ap", "uevent": {"DEVTYPE": "ap_queue"}},
        ]

    return make


@st.composite
def ccwgroup(draw: st.DrawFn) -> Maker:
    """A group with up to three members, some of which are gone or no links."""
    kind = draw(st.sampled_from(["qeth_generic", "qeth_layer2", "qeth_layer2", "qeth_layer3", "qeth_layer4", None]))
    given = draw(attributes(online=NUMBER, card_type=TEXT, chpid=TEXT, cdev3=WORD))
    members = draw(st.lists(st.sampled_from(["css0", "css0", "gone"]), max_size=3))

    def make(n: int) -> list[Declaration]:
        base = f"devices/css0/0.1.{n:04x}"
        names = [f"0.1.{n * 3 + number:04x}" for number in range(len(members))]
        own = {"path": f"devices/qeth/0.1.{n * 3:04x}", "bus": "ccwgroup", "attributes": given}
        targets = [base.replace("css0", place) for place in members]
        links = {f"cdev{number}": f"{target}/{names[number]}" for number, target in enumerate(targets)}
        group = {"group_device": own["path"]}
        return [
            {"path": base, "bus": "css", "driver": "io_subchannel"},
            *({"path": f"{base}/{name}", "bus": "ccw", "attributes": {"online": 1}, "links": group} for name in names),
            {**own, "links": links, "uevent": {"DEVTYPE": kind} if kind else {}},
        ]

    return make


@st.composite
def drm(draw: st.DrawFn) -> Maker:
    minor = draw(st.integers(0, 3)) * 64

    def make(n: int) -> list[Declaration]:
        node = {"name": f"dri/card{n}", "major": 226, "minor": minor + n}
        return [{"path": f"devices/gpu/drm/card{n}", "class": "drm", "node": node, "uevent": {"DEVTYPE": "drm_minor"}}]

    return make


@st.composite
def mdev(draw: st.DrawFn) -> Maker:
    """A parent with an instance that runs."""
    group = draw(groups(10, 11, 12))
    kind = draw(st.sampled_from(["t-1", "t-1", "t-1", "gone"]))
    driver = draw(st.none() | WORD)

    def make(n: int) -> list[Declaration]:
        address = f"0001:{n:02x}:00.0"
        path = f"devices/pci0001:{n:02x}/{address}"
        instance = {"path": f"{path}/{UUID.format(n)}", "bus": "mdev", **group, "driver": driver}
        types = {"mdev_parent": {"units": 2, "types": {"t-1": {"name": "One"}}}}
        links = {"mdev_type": f"{path}/mdev_supported_types/{kind}", **group.get("links", {})}
        return [{"pci": {"address": address}, "behaviour": types}, {**instance, "links": links}]

    return make


KINDS = (pci(), usb(), net(), scsi(), s390x(), ccwgroup(), drm(), mdev())


ATTRS = st.lists(st.dictionaries(WORD, st.text("aZ0 <&", max_size=5), min_size=1, max_size=1), max_size=2)


@st.composite
def script(draw: st.DrawFn) -> dict[str, str]:
    """A callout script of mdevctl's that tells the attributes of devices that run, or knows none."""
    known = draw(st.sampled_from(["t-1", "t-2"]))
    tells = f"""[ "$2 $4 $6" != "{known} get attributes" ] || {{ echo '{json.dumps(draw(ATTRS))}'; exit 0; }}"""
    return {"/etc/mdevctl.d/scripts.d/callouts/script": f"#!/bin/sh\n{tells}\nexit 2\n"}


@st.composite
def definition(draw: st.DrawFn) -> dict[str, str]:
    """A file of mdevctl's; its parent may be there and its device may run."""
    n = draw(st.integers(0, 5))
    parent = draw(st.sampled_from([f"0001:{n:02x}:00.0", "0009:00:00.0", "0.0.0003", "matrix"]))
    data = {"mdev_type": draw(st.sampled_from(["t-1", "t-2"])), "start": "manual", "attrs": draw(ATTRS)}
    return {f"/etc/mdevctl.d/{parent}/{UUID.format(n)}": json.dumps(data)}


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """A host with up to eight groups of devices and three definitions, with a script."""
    makers = draw(st.lists(st.one_of(KINDS), min_size=1, max_size=8))
    files = draw(st.just({}) | script())
    for entry in draw(st.lists(definition(), max_size=3)):
        files.update(entry)
    devices = [device for n, make in enumerate(makers) for device in make(n)]
    links = {device["path"]: device.get("links", {}) for device in devices if device.get("bus") == "mdev"}
    # While the type of a device with a definition is gone, mdevctl 1.2 tells libvirt of no definition at all.
    odd = {path.rpartition("/")[2] for path, each in links.items() if each["mdev_type"].endswith("/gone")}
    files = {path: text for path, text in files.items() if path.rpartition("/")[2] not in odd}
    return {"devices": devices, "files": files, "sysfs": SYSFS}
