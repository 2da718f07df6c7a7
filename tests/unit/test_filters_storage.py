# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters for a vHBA's storage: what each makes, by libvirt's schema and parser, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter import disk_xml as disk_file
from ansible_collections.hostdev.nodedev.plugins.filter import storage_pool_xml as pool_file
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = "/usr/share/libvirt/schemas"
disk_xml = disk_file.FilterModule().filters()["disk_xml"]
storage_pool_xml = pool_file.FilterModule().filters()["storage_pool_xml"]

PATH = "/dev/disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun-0"
# What the vhba module returns.
LUN = {"address": "9:0:0:0", "block": "/dev/sdb", "generic": "/dev/sg2", "size": 1 << 30, "by_path": PATH}
VHBA = {
    "wwnn": "5001a4a1000000a1",
    "wwpn": "5001a4a0000000a1",
    "parent": "scsi_host3",
    "parent_wwnn": "20000090fa1234a0",
    "parent_wwpn": "10000090fa1234a0",
    "luns": [LUN],
}
ADAPTER = {
    "type": "fc_host",
    "wwnn": VHBA["wwnn"],
    "wwpn": VHBA["wwpn"],
    "parent_wwnn": VHBA["parent_wwnn"],
    "parent_wwpn": VHBA["parent_wwpn"],
    "managed": "no",
}


def virsh(script: str) -> str:
    return subprocess.run(["virsh", "-c", "test:///default", script], capture_output=True, text=True, check=True).stdout


def read_back(told: str, outermost: str) -> Any:
    """The document that virsh has printed after what it said of its definition."""
    return etree.fromstring(told[told.index(f"<{outermost}") :])


def check(text: str, schema: str) -> None:
    """A document fits libvirt's grammar of its kind."""
    etree.RelaxNG(etree.parse(f"{SCHEMAS}/{schema}.rng")).assertValid(etree.fromstring(text))


POOLS: list[tuple[dict[str, Any], dict[str, Any], str, dict[str, str], str]] = [
    (VHBA, {"name": "images"}, "images", ADAPTER, "/dev/disk/by-path"),
    ({"changed": True, "vhba": VHBA}, {"name": "images"}, "images", ADAPTER, "/dev/disk/by-path"),
    (VHBA, {"name": "a <&> b", "target": "/dev"}, "a <&> b", ADAPTER, "/dev"),
    (VHBA, {"name": "x", "managed": True}, "x", {**ADAPTER, "managed": "yes"}, "/dev/disk/by-path"),
    # libvirt compares text with what sysfs says.
    ({**VHBA, "wwpn": "0x50:01:A4:A0:00:00:00:A1"}, {"name": "x"}, "x", ADAPTER, "/dev/disk/by-path"),
]


@pytest.mark.parametrize(("vhba", "options", "name", "adapter", "target"), POOLS)
def test_pool(
    tmp_path: Path, vhba: dict[str, Any], options: dict[str, Any], name: str, adapter: dict[str, str], target: str
) -> None:
    made = storage_pool_xml(vhba, **options)
    check(made, "storagepool")
    file = tmp_path / "pool.xml"
    file.write_text(made)
    back = read_back(virsh(f"pool-define {file}; pool-dumpxml '{name}'"), "pool")
    for pool in (etree.fromstring(made), back):
        assert (pool.get("type"), pool.findtext("name"), pool.findtext("target/path")) == ("scsi", name, target)
        assert dict(pool.find("source/adapter").items()) == adapter


def test_a_pool_is_indented() -> None:
    assert storage_pool_xml(VHBA, "images").splitlines() == [
        '<pool type="scsi">',
        "  <name>images</name>",
        "  <source>",
        '    <adapter type="fc_host" managed="no" parent_wwnn="20000090fa1234a0" parent_wwpn="10000090fa1234a0"'
        ' wwnn="5001a4a1000000a1" wwpn="5001a4a0000000a1" />',
        "  </source>",
        "  <target>",
        "    <path>/dev/disk/by-path</path>",
        "  </target>",
        "</pool>",
    ]


@pytest.mark.parametrize(
    ("vhba", "options", "message"),
    [
        (None, {}, "this is not a vHBA"),
        ("scsi_host9", {}, "this is not a vHBA"),
        (LUN, {}, "this is not a vHBA"),
        ({"vhba": None}, {}, "this is not a vHBA"),
        ({"mdev": {}}, {}, "this is not a vHBA"),
        (VHBA, {"name": ""}, "name is '', not a name without a slash"),
        (VHBA, {"name": " "}, "name is ' ', not a name"),
        (VHBA, {"name": "a/b"}, "name is 'a/b', not a name"),
        (VHBA, {"name": "a\n"}, "name is 'a\\n', not a name"),
        (VHBA, {"name": "a\0"}, "name is 'a\\x00', not a name"),
        (VHBA, {"name": 7}, "name is 7, not a name"),
        (VHBA, {"target": "disk"}, "target is 'disk', not an absolute path"),
        (VHBA, {"target": None}, "target is None, not an absolute path"),
        ({**VHBA, "wwpn": "5001"}, {}, "wwpn: '5001' cannot be used"),
        ({**VHBA, "wwnn": "0" * 16}, {}, "stands for no port"),
        ({**VHBA, "wwpn": None}, {}, "has no wwpn"),
        (
            {**VHBA, "parent_wwnn": None, "parent_wwpn": None},
            {},
            "has no parent_wwnn and no parent_wwpn: its HBA has to",
        ),
        ({"wwnn": VHBA["wwnn"], "wwpn": VHBA["wwpn"]}, {}, "its HBA has to be there"),
    ],
)
def test_what_is_no_pool(vhba: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        storage_pool_xml(vhba, **{"name": "images", **options})
    assert message in str(error.value)
    assert str(error.value).startswith("storage_pool_xml: ")
    assert "\n" not in str(error.value)


DISKS: list[tuple[dict[str, Any], dict[str, str], dict[str, str], list[str]]] = [
    ({"target": "vda"}, {}, {"dev": "vda", "bus": "virtio"}, []),
    ({"target": "sdaa"}, {}, {"dev": "sdaa", "bus": "scsi"}, []),
    ({"target": "hdb"}, {}, {"dev": "hdb", "bus": "ide"}, []),
    ({"target": "sda", "bus": "sata"}, {}, {"dev": "sda", "bus": "sata"}, []),
    ({"target": "sda", "bus": "usb"}, {}, {"dev": "sda", "bus": "usb"}, []),
    ({"target": "sda", "device": "lun"}, {"device": "lun"}, {"dev": "sda", "bus": "scsi"}, []),
    ({"target": "vda", "readonly": True}, {}, {"dev": "vda", "bus": "virtio"}, ["readonly"]),
    ({"target": "vda", "shareable": True}, {}, {"dev": "vda", "bus": "virtio"}, ["shareable"]),
    (
        {"target": "vda", "readonly": True, "shareable": True},
        {},
        {"dev": "vda", "bus": "virtio"},
        ["readonly", "shareable"],
    ),
    ({"target": "vda", "cache": "directsync"}, {"cache": "directsync"}, {"dev": "vda", "bus": "virtio"}, []),
]


@pytest.mark.parametrize(("options", "more", "target", "flags"), DISKS)
def test_disk(
    tmp_path: Path, options: dict[str, Any], more: dict[str, str], target: dict[str, str], flags: list[str]
) -> None:
    made = disk_xml(LUN, **options)
    domain = f"<domain type='test'><name>d</name><memory>1</memory><os><type>hvm</type></os><devices>{made}</devices>"
    check(f"{domain}</domain>", "domain")
    file = tmp_path / "domain.xml"
    file.write_text(f"{domain}</domain>")
    back = read_back(virsh(f"define --validate {file}; dumpxml d"), "domain").find("devices/disk")
    for disk in (etree.fromstring(made), back):
        assert dict(disk.items()) == {"type": "block", "device": more.get("device", "disk")}
        assert dict(disk.find("driver").items()) == {"name": "qemu", "type": "raw", "cache": more.get("cache", "none")}
        assert dict(disk.find("source").items()) == {"dev": PATH}
        assert dict(disk.find("target").items()) == target
        assert [each.tag for each in disk if each.tag in ("readonly", "shareable")] == flags


@pytest.mark.parametrize(
    ("more", "source"),
    [
        ({"multipath": {"name": "mpatha", "path": "/dev/mapper/mpatha", "block": "/dev/dm-0"}}, "/dev/mapper/mpatha"),
        ({"multipath": {"path": "/dev/mapper/mpatha"}, "by_path": None}, "/dev/mapper/mpatha"),
        ({"multipath": None}, PATH),
        ({"multipath": {}}, PATH),
        ({"multipath": "mpatha"}, PATH),
        ({"multipath": None, "by_path": None, "by_id": "/dev/disk/by-id/wwn-0x6"}, "/dev/disk/by-id/wwn-0x6"),
    ],
)
def test_a_path_of_a_map_is_the_map_to_a_guest(more: dict[str, Any], source: str) -> None:
    assert etree.fromstring(disk_xml({**LUN, **more}, "vda")).find("source").get("dev") == source


def test_a_disk_is_indented() -> None:
    assert disk_xml(LUN, "vda").splitlines() == [
        '<disk type="block" device="disk">',
        '  <driver name="qemu" type="raw" cache="none" />',
        f'  <source dev="{PATH}" />',
        '  <target dev="vda" bus="virtio" />',
        "</disk>",
    ]


@pytest.mark.parametrize(
    ("lun", "options", "message"),
    [
        (None, {}, "this is not a LUN"),
        ("/dev/sdb", {}, "this is not a LUN"),
        ([LUN], {}, "this is a list: give one of its items, such as the first by [0]"),
        ({"address": "9:0:0:0"}, {}, "this is not a LUN"),
        ({"vhba": None}, {}, "this is not a LUN"),
        (VHBA, {}, "this is a vHBA: give one of its luns"),
        ({"vhba": VHBA}, {}, "this is a vHBA: give one of its luns"),
        ({**LUN, "block": None, "by_path": None}, {}, "LUN 9:0:0:0 is not a disk"),
        ({**LUN, "by_path": None}, {}, "LUN 9:0:0:0 has None for multipath, by_path or by_id"),
        ({**LUN, "by_path": "sdb"}, {}, "LUN 9:0:0:0 has 'sdb' for multipath, by_path or by_id"),
        ({**LUN, "multipath": {"path": "mpatha"}}, {}, "LUN 9:0:0:0 has 'mpatha' for multipath"),
        (LUN, {"target": ""}, "target is ''"),
        (LUN, {"target": "sda1"}, "target is 'sda1'"),
        (LUN, {"target": "/dev/sda"}, "target is '/dev/sda'"),
        (LUN, {"target": None}, "target is required: the disk's name in the guest, such as vdb"),
        (LUN, {"bus": "nvme"}, "bus is 'nvme', not one of virtio, scsi, sata, usb, ide"),
        (LUN, {"device": "cdrom"}, "device is 'cdrom', not one of disk, lun"),
        (LUN, {"cache": "all"}, "cache is 'all', not one of none, default,"),
        (LUN, {"device": "lun", "bus": "sata"}, "the bus must be 'scsi' and is 'sata'"),
        (LUN, {"device": "lun", "target": "vda"}, "the bus must be 'scsi' and is 'virtio'"),
    ],
)
def test_what_is_no_disk(lun: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        disk_xml(lun, **{"target": "sda", **options})
    assert message in str(error.value)
    assert str(error.value).startswith("disk_xml: ")
    assert "\n" not in str(error.value)


def test_the_examples(tmp_path: Path) -> None:
    """The filters' documented examples, by ansible itself; a module's task before them is left out."""
    documents = [
        yaml.safe_load((ROOT / "plugins/filter" / f"{name}.yml").read_text())
        for name in ("storage_pool_xml", "disk_xml")
    ]
    tasks = [task for document in documents for task in yaml.safe_load(document["EXAMPLES"])]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"images": {"vhba": VHBA}},
        "tasks": [task for task in tasks if "ansible.builtin.debug" in task],
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
    for text in ("<name>images</name>", 'bus=\\"virtio\\"', 'device=\\"lun\\"'):
        assert text in done.stdout
