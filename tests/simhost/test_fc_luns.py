# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind a Fibre Channel port, and what uses it; the whole as libvirt sees it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from simhost import SimHost, SimHostError
from simhost.control import ControlError
from simhost.testing import (
    PAIRS,
    PORTS,
    VPORTS,
    create_vport,
    delete_vport,
    eventually,
    monitored,
    names,
    refused,
    values,
)

HBA = "/sys/devices/pci0000:04/0000:04:00.0/host3"
VHBA = f"{HBA}/vport-3:0-0/host8"
TWO_TARGETS, HELD, NO_LUN, UNZONED = PAIRS[:4]
LUNS = "/sys/bus/scsi/devices"


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost("fc") as running:
        yield running


def squeezed(xml: str) -> str:
    return "".join(line.strip() for line in xml.splitlines())


def libvirt_xml(parent: str, wwpn: str, wwnn: str) -> str:
    return (
        f"<device><parent>{parent}</parent><capability type='scsi_host'><capability type='fc_host'>"
        f"<wwnn>{wwnn}</wwnn><wwpn>{wwpn}</wwpn></capability></capability></device>"
    )


def test_targets_and_luns_of_a_vport(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS)
    rports = "/sys/class/fc_remote_ports"
    assert names(host, rports) == ["rport-3:0-0", "rport-8:0-0", "rport-8:0-1"]
    files = ("port_name", "node_name", "port_state", "roles", "scsi_target_id")
    expected = ["0x500601613ea01234", "0x50060160bea01234", "Online", "FCP Target", "1"]
    assert values(host, f"{rports}/rport-8:0-1", *files) == expected
    assert host.realpath(f"{rports}/rport-8:0-1") == f"{VHBA}/rport-8:0-1/fc_remote_ports/rport-8:0-1"
    assert host.realpath(f"{LUNS}/8:0:1:0") == f"{VHBA}/rport-8:0-1/target8:0:1/8:0:1:0"
    assert host.realpath("/sys/block/sdc") == f"{VHBA}/rport-8:0-1/target8:0:1/8:0:1:0/block/sdc"
    assert values(host, "/sys/block/sdc", "size", "dev", "removable") == ["20971520", "8:32", "0"]
    assert values(host, f"{LUNS}/8:0:1:0", "type", "wwid") == ["0", "naa.600601601234000000000000000000a0"]
    assert host.read(f"{LUNS}/8:0:1:0/uevent") == "DEVTYPE=scsi_device\nMODALIAS=scsi:t-0x00\nDRIVER=sd\n"
    assert names(host, f"{LUNS}/8:0:1:0/scsi_generic") == ["sg3"]
    assert values(host, "/sys/class/block/sdd1", "partition", "start", "size", "dev") == [
        "1",
        "2048",
        "1048576",
        "8:49",
    ]
    assert names(host, "/sys/block") == ["dm-0", "sda", "sdb", "sdc", "sdd", "sdh"]


def test_udevs_links(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS)
    links = host.run(["udevadm", "info", "-q", "symlink", "/sys/class/block/sdd1"]).stdout.split()
    path = "disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun-1-part1"
    assert sorted(links) == [
        "disk/by-id/scsi-3600601603ea012340000000000000001-part1",
        "disk/by-id/wwn-0x600601603ea012340000000000000001-part1",
        path,
    ]
    assert host.realpath(f"/dev/{path}") == "/dev/sdd1"
    # Both paths of a LUN want the link by its name; when the one that has it goes, the other gets it.
    wwn = "/dev/disk/by-id/wwn-0x600601601234000000000000000000a0"
    assert host.realpath(wwn) == "/dev/sdc"
    host.write(f"{LUNS}/8:0:1:0/delete", "1")
    assert host.realpath(wwn) == "/dev/sdb"
    delete_vport(host, TWO_TARGETS)
    assert names(host, "/dev/disk/by-path") == ["pci-0000:04:00.0-fc-0x500601623ea01234-lun-0"]


def test_late_events_are_late_links(host: SimHost) -> None:
    by_path = "/dev/disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun"
    host.fault("block/sdg/uevent", lag=0.5)
    create_vport(host, HELD)
    host.run(["udevadm", "settle"])
    assert os.path.lexists(host.path(f"{by_path}-2"))
    host.fault("block/sdd*/uevent", lag=3600)
    create_vport(host, TWO_TARGETS)
    assert (host.path("/dev/sdd").exists(), os.path.lexists(host.path(f"{by_path}-1"))) == (True, False)


def test_luns_that_show_late(host: SimHost) -> None:
    host.fault("rport-8:*", lag=0.5)
    create_vport(host, TWO_TARGETS)
    # The second remote port is made after the first, and shows after it.
    late = ("/dev/sdc", "/dev/sdd", "/dev/dm-0", "/sys/class/block/sdd1/dev", "/sys/block/dm-0/slaves/sdc")
    eventually(lambda: all(os.path.lexists(host.path(path)) for path in late))
    host.fault("rport-9:*", lag=3600)
    create_vport(host, HELD)
    assert names(host, PORTS)[-1] == "host9"
    assert names(host, "/sys/class/fc_remote_ports") == ["rport-3:0-0", "rport-8:0-0", "rport-8:0-1"]
    assert names(host, "/sys/block") == ["dm-0", "sda", "sdb", "sdc", "sdd", "sdh"]
    assert [name for name in names(host, "/dev") if name in ("sde", "sdg", "dm-1", "md127")] == []


def test_delete_and_scan(host: SimHost) -> None:
    create_vport(host, HELD)
    scan = "/sys/class/scsi_host/host8/scan"
    assert names(host, "/sys/block") == ["dm-1", "md127", "sda", "sde", "sdg", "sdh"]
    host.write(f"{LUNS}/8:0:0:0/rescan", "1")
    host.write(f"{LUNS}/8:0:0:0/delete", "1")
    assert not host.path(f"{LUNS}/8:0:0:0").exists()
    assert not host.path("/dev/sde").exists()
    assert names(host, "/sys/block") == ["md127", "sda", "sdg", "sdh"]
    for text in ("- -", "- - x", "- - - -", "-1 - -"):
        assert refused(host.write, scan, text) == errno.EINVAL
    host.write(scan, "- 1 -")
    host.write(scan, "1 - -")
    assert names(host, "/sys/block") == ["md127", "sda", "sdg", "sdh"]
    host.write(scan, "0 0 1\n")
    assert names(host, "/sys/block") == ["md127", "sda", "sdf", "sdg", "sdh"]
    # libvirt writes the NUL too.
    host.write(scan, "- - -\0")
    assert names(host, "/sys/block") == ["dm-1", "md127", "sda", "sde", "sdf", "sdg", "sdh"]


def test_events_of_a_lun(host: SimHost) -> None:
    create_vport(host, HELD)

    def action() -> None:
        host.write(f"{LUNS}/8:0:0:0/delete", "1")
        host.write("/sys/class/scsi_host/host8/scan", "0 0 0")

    assert monitored(host, "block", action, 4) == ["remove sde", "remove dm-1", "add sde", "add dm-1"]


def test_a_link_loss_takes_the_targets(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS)
    rport = "/sys/class/fc_remote_ports/rport-8:0-0"
    host.link("host3", "Linkdown")
    assert names(host, "/sys/block") == ["sda"]
    assert [name for name in names(host, LUNS) if name.startswith(("8:", "target8"))] == []
    state = ("port_state", "roles", "port_name", "node_name")
    assert values(host, rport, *state) == ["Not Present", "unknown", "0x500601603ea01234", "0xffffffffffffffff"]
    host.link("host3", "Online")
    assert values(host, rport, *state) == ["Online", "FCP Target", "0x500601603ea01234", "0x50060160bea01234"]
    assert names(host, "/sys/block") == ["dm-0", "sda", "sdb", "sdc", "sdd", "sdh"]
    host.write(f"{VPORTS}/vport-3:0-0/vport_disable", "1")
    assert names(host, "/sys/block") == ["sda", "sdh"]


def test_a_link_that_comes_late_brings_the_luns(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS, "host5")
    assert names(host, "/sys/block") == ["sda", "sdh"]
    host.link("host5", "Online")
    assert host.read(f"{VPORTS}/vport-5:0-0/vport_state") == "Active\n"
    assert names(host, "/sys/block") == ["dm-0", "sda", "sdb", "sdc", "sdd", "sdh"]


def test_a_multipath_map_is_there_while_a_path_is(host: SimHost) -> None:
    assert not host.path("/sys/block/dm-0").exists()
    create_vport(host, TWO_TARGETS)
    assert values(host, "/sys/block/dm-0/dm", "name", "uuid") == ["mpatha", "mpath-3600601601234000000000000000000a0"]
    assert names(host, "/sys/block/dm-0/slaves") == ["sdb", "sdc"]
    assert host.realpath("/sys/block/sdb/holders/dm-0") == "/sys/devices/virtual/block/dm-0"
    assert host.realpath("/sys/block/dm-0/slaves/sdc") == host.realpath("/sys/block/sdc")
    assert host.realpath("/dev/mapper/mpatha") == "/dev/dm-0"
    host.write(f"{LUNS}/8:0:0:0/delete", "1")
    assert names(host, "/sys/block/dm-0/slaves") == ["sdc"]
    host.write(f"{LUNS}/8:0:1:0/delete", "1")
    assert not host.path("/sys/block/dm-0").exists()
    assert not os.path.lexists(host.path("/dev/mapper/mpatha"))


def test_a_map_is_removed_by_name(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS)
    host.unmap("mpatha")
    assert names(host, "/sys/block") == ["sda", "sdb", "sdc", "sdd", "sdh"]
    assert names(host, "/sys/block/sdb/holders") == []
    with pytest.raises(ControlError, match="is called 'mpatha' now"):
        host.unmap("mpatha")


def test_devices_upon_devices_upon_declared_disks() -> None:
    block = {"class": "block", "uevent": {"DEVTYPE": "disk"}}
    upper = {
        name: {**block, "path": f"devices/virtual/block/{name}", "slaves": [slave], "attributes": {"dm/name": name[3:]}}
        for name, slave in (("dm-1", "dm-0"), ("dm-0", "vda"))
    }
    with SimHost({"devices": [*upper.values(), {**block, "path": "devices/platform/x/block/vda"}]}) as host:
        assert names(host, "/sys/block") == ["dm-0", "dm-1", "vda"]
        assert [names(host, f"/sys/block/{name}/holders") for name in ("vda", "dm-0")] == [["dm-0"], ["dm-1"]]
        with pytest.raises(ControlError, match="dm-0 is in use by dm-1"):
            host.unmap("0")
        host.unmap("1")
        host.unmap("dm-0")
        assert names(host, "/sys/block") == ["vda"]


def test_vport_delete_asks_nobody(host: SimHost) -> None:
    create_vport(host, TWO_TARGETS)
    host.write("/proc/1/mountinfo", host.read("/proc/1/mountinfo") + "40 21 8:48 / /srv rw - xfs /dev/sdd rw\n")
    with host.hold("sdb") as disk, host.hold("sg2") as generic:
        assert os.readlink(host.path(f"/proc/{disk}/fd/3")) == "/dev/sdb"
        assert os.readlink(host.path(f"/proc/{generic}/fd/3")) == "/dev/sg2"
        delete_vport(host, TWO_TARGETS)
        assert names(host, "/sys/block") == ["sda", "sdh"]
        assert names(host, VPORTS) == []
        assert not host.path("/dev/sdb").exists()
        assert names(host, "/sys/class/fc_remote_ports") == ["rport-3:0-0"]
    assert sorted(name for name in names(host, "/dev") if name.startswith(("sd", "sg", "dm-"))) == ["sdh", "sg0"]
    assert sorted(name for name in names(host, "/run/udev/data") if name.startswith("b")) == [
        "b8:0",
        "b8:1",
        "b8:112",
        "b8:2",
    ]


def test_proc_says_what_the_test_wants(host: SimHost) -> None:
    swaps = host.read("/proc/swaps")
    assert swaps.splitlines()[1].split() == ["/dev/sda2", "partition", "1048572", "0", "-2"]
    assert host.run(["sh", "-c", "grep -c . /proc/1/mountinfo"]).stdout == "4\n"
    host.write("/proc/swaps", swaps + "/dev/sdd partition 1 0 -3\n")
    assert host.run(["tail", "-n1", "/proc/swaps"]).stdout == "/dev/sdd partition 1 0 -3\n"
    create_vport(host, TWO_TARGETS)
    host.reboot()
    assert host.read("/proc/swaps") == swaps
    assert names(host, "/sys/block") == ["sda", "sdh"]
    assert not host.path("/dev/sdb").exists()
    assert names(host, "/dev/disk/by-path") == ["pci-0000:04:00.0-fc-0x500601623ea01234-lun-0"]


@pytest.mark.parametrize(
    ("proc", "hba", "text"),
    [
        ({"nosuch": ""}, {}, "no file /proc/nosuch"),
        ({"../etc/passwd": ""}, {}, "no file"),
        ({}, {"wwpn": "123"}, "'123' is not a WWN"),
        ({}, {"port_state": "Up"}, "port_state 'Up' is unknown"),
        ({}, {"zones": {"2" * 16: [{"wwpn": "3" * 16, "wwnn": "4" * 16, "lun": {}}]}}, "unknown key lun"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(proc: dict[str, str], hba: dict[str, object], text: str) -> None:
    behaviour = {"fc_host": {"wwpn": "1" * 16, "wwnn": "2" * 16, **hba}}
    device = {"path": "devices/fcoe/host2", "bus": "scsi", "behaviour": behaviour}
    with pytest.raises(SimHostError, match=text), SimHost({"devices": [device], "proc": proc}):
        raise AssertionError("started")


def test_libvirt_makes_and_removes_a_vhba(host: SimHost) -> None:
    wwpn, wwnn = UNZONED.split(":")
    with host.libvirtd() as daemon:
        assert daemon.virsh("nodedev-list", "--cap", "vports").split() == [f"scsi_host{n}" for n in (3, 4, 5, 6)]
        host.path("/run/vhba.xml").write_text(libvirt_xml("scsi_host3", wwpn, wwnn), encoding="utf-8")
        assert "scsi_host8" in daemon.virsh("nodedev-create", "/run/vhba.xml")
        assert host.read(f"{PORTS}/host8/port_name") == f"0x{wwpn}\n"
        ports = [f"scsi_host{n}" for n in (3, 4, 5, 6, 7, 8)]
        assert daemon.virsh("nodedev-list", "--cap", "fc_host").split() == ports
        assert daemon.virsh("nodedev-list", "--cap", "vports").split() == ports[:4]
        assert squeezed(daemon.virsh("nodedev-dumpxml", "scsi_host8")) == (
            f"<device><name>scsi_host8</name><path>{HBA}/vport-3:0-0/host8</path><parent>scsi_host3</parent>"
            "<capability type='scsi_host'><host>8</host><unique_id>0</unique_id><capability type='fc_host'>"
            f"<wwnn>{wwnn}</wwnn><wwpn>{wwpn}</wwpn><fabric_wwn>100000051e000001</fabric_wwn>"
            "</capability></capability></device>"
        )
        assert "<capability type='vport_ops'><max_vports>4</max_vports><vports>1</vports></capability>" in squeezed(
            daemon.virsh("nodedev-dumpxml", "scsi_host3")
        )
        daemon.virsh("nodedev-destroy", "scsi_host8")
        assert names(host, VPORTS) == []
        eventually(lambda: "scsi_host8" not in daemon.virsh("nodedev-list", "--cap", "fc_host").split())


def test_libvirt_sees_what_others_make(host: SimHost) -> None:
    with host.libvirtd() as daemon:
        create_vport(host, PAIRS[0])
        eventually(lambda: "scsi_generic_sg3" in daemon.virsh("nodedev-list"))
        listed = daemon.virsh("nodedev-list").split()
        assert {"scsi_target8_0_0", "scsi_target8_0_1", "scsi_8_0_0_0", "scsi_8_0_0_1", "scsi_8_0_1_0"} <= set(listed)
        assert "block_sdd_3600601603ea012340000000000000001" in listed
        target = squeezed(daemon.virsh("nodedev-dumpxml", "scsi_target8_0_1"))
        assert "<parent>scsi_host8</parent>" in target
        assert "<rport>rport-8:0-1</rport><wwpn>0x500601613ea01234</wwpn>" in target
        delete_vport(host, PAIRS[0])
        eventually(lambda: not any("8_0" in name for name in daemon.virsh("nodedev-list").split()))
