# SPDX-License-Identifier: GPL-3.0-or-later
"""Fibre Channel HBAs and NPIV ports: the kernel's rules, links, reloads, and libvirt's view of them."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

import pytest
import yaml

from simhost import SimHost
from simhost.control import ControlError
from simhost.scenario import FOLDER
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
# host3's own names, and a pair that the fabric rejects.
OWN = "10000090fa1234a0:20000090fa1234a0"
REJECTED = "5001a4a0000000ff:5001a4a1000000ff"
NO_LUN, UNZONED = PAIRS[2:4]


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost("fc") as running:
        yield running


@pytest.mark.parametrize(
    ("hba", "expected"),
    [
        ("host3", ["Online", "NPort (fabric via point-to-point)", "0x100000051e000001", "16 Gbit", "4", "0"]),
        ("host4", ["Online", "NPort (fabric via point-to-point)", "0x100000051e000002", "16 Gbit", "4", "0"]),
        ("host5", ["Linkdown", "Unknown", "0x0", "Unknown", "4", "0"]),
        ("host6", ["Online", "Point-To-Point (direct nport connection)", "0x0", "16 Gbit", "4", "0"]),
        ("host7", ["Online", "NPort (fabric via point-to-point)", "0x100000051e000001", "16 Gbit", "0", "0"]),
    ],
)
def test_hbas(host: SimHost, hba: str, expected: list[str]) -> None:
    files = ("port_state", "port_type", "fabric_name", "speed", "max_npiv_vports", "npiv_vports_inuse")
    assert values(host, f"{PORTS}/{hba}", *files) == expected
    assert host.path(f"{PORTS}/{hba}/vport_create").exists() == (hba != "host7")


def test_names_and_links_of_an_hba(host: SimHost) -> None:
    assert values(host, f"{PORTS}/host3", "port_name", "node_name", "symbolic_name") == [
        "0x10000090fa1234a0",
        "0x20000090fa1234a0",
        "QLE2562 FW:v8.07.00 DVR:v10.02",
    ]
    assert host.realpath(f"{PORTS}/host3") == f"{HBA}/fc_host/host3"
    assert host.realpath(f"{PORTS}/host3/device") == HBA
    assert values(host, "/sys/class/scsi_host/host3", "unique_id", "proc_name") == ["4", "qla2xxx"]
    assert not host.path(f"{PORTS}/host0").exists()


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_vport(host: SimHost, end: str) -> None:
    create_vport(host, NO_LUN.upper() + end)
    assert host.realpath(f"{VPORTS}/vport-3:0-0") == f"{HBA}/vport-3:0-0/fc_vports/vport-3:0-0"
    assert host.realpath(f"{PORTS}/host8") == f"{HBA}/vport-3:0-0/host8/fc_host/host8"
    assert host.realpath("/sys/class/scsi_host/host8/device") == f"{HBA}/vport-3:0-0/host8"
    assert host.read("/sys/bus/scsi/devices/host8/uevent") == "DEVTYPE=scsi_host\n"
    wwpn, wwnn = (f"0x{name}" for name in NO_LUN.split(":"))
    files = ("vport_state", "vport_last_state", "vport_type", "roles", "port_name", "node_name", "symbolic_name")
    expected = ["Active", "Unknown", "NPIV", "FCP Initiator", wwpn, wwnn, ""]
    assert values(host, f"{VPORTS}/vport-3:0-0", *files) == expected
    files = ("port_state", "port_type", "fabric_name", "max_npiv_vports", "npiv_vports_inuse", "port_name", "node_name")
    expected = ["Online", "NPIV VPORT", "0x100000051e000001", "0", "0", wwpn, wwnn]
    assert values(host, f"{PORTS}/host8", *files) == expected
    assert not host.path(f"{PORTS}/host8/vport_create").exists()
    assert host.read(f"{PORTS}/host3/npiv_vports_inuse") == "1\n"
    delete_vport(host, NO_LUN + end)
    assert names(host, VPORTS) == []
    assert names(host, PORTS) == ["host3", "host4", "host5", "host6", "host7"]
    assert not host.path(f"{HBA}/vport-3:0-0").exists()
    assert host.read(f"{PORTS}/host3/npiv_vports_inuse") == "0\n"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        UNZONED.split(":")[0],
        UNZONED.replace(":", ","),
        UNZONED[1:],
        UNZONED + "0",
        UNZONED + "\n\n",
        f" {UNZONED}",
        "g" + UNZONED[1:],
        "0x" + UNZONED.replace(":", ":0x"),
        OWN,
        f"{OWN.partition(':')[0]}:5001a4a1000000b9",
        PAIRS[0],
        f"{PAIRS[0].split(':')[0]}:5001a4a1000000b9",
    ],
)
def test_what_vport_create_refuses(host: SimHost, text: str) -> None:
    create_vport(host, PAIRS[0])
    assert refused(create_vport, host, text) == errno.EINVAL
    assert (names(host, VPORTS), host.read(f"{PORTS}/host3/npiv_vports_inuse")) == (["vport-3:0-0"], "1\n")


def test_a_refused_name_spends_a_number_and_zeros_are_accepted(host: SimHost) -> None:
    assert refused(create_vport, host, OWN) == errno.EINVAL
    create_vport(host, "0000000000000000:0000000000000000")
    assert names(host, VPORTS) == ["vport-3:0-1"]


def test_another_hba_takes_the_same_name(host: SimHost) -> None:
    create_vport(host, NO_LUN)
    create_vport(host, NO_LUN, "host4")
    assert names(host, VPORTS) == ["vport-3:0-0", "vport-4:0-0"]


def test_a_full_hba(host: SimHost) -> None:
    for pair in PAIRS[3:7]:
        create_vport(host, pair)
    assert refused(create_vport, host, PAIRS[8]) == errno.ENOSPC
    assert refused(create_vport, host, "x") == errno.EINVAL
    delete_vport(host, PAIRS[4])
    create_vport(host, PAIRS[8])
    assert names(host, VPORTS) == [f"vport-3:0-{number}" for number in (0, 2, 3, 4)]


def test_what_vport_delete_refuses(host: SimHost) -> None:
    create_vport(host, UNZONED)
    wwpn, wwnn = UNZONED.split(":")
    for pair in (PAIRS[7], f"{wwnn}:{wwpn}", f"{wwpn}:{'0' * 16}"):
        assert refused(delete_vport, host, pair) == errno.ENODEV
    assert refused(delete_vport, host, f"0x{wwpn}:0x{wwnn}") == errno.EINVAL
    assert refused(delete_vport, host, UNZONED, "host4") == errno.ENODEV
    assert names(host, VPORTS) == ["vport-3:0-0"]


def test_the_vports_own_files(host: SimHost) -> None:
    create_vport(host, UNZONED)
    vport = f"{VPORTS}/vport-3:0-0"
    host.write(f"{vport}/symbolic_name", "guest")
    assert refused(host.write, f"{vport}/vport_disable", "0") == errno.EALREADY
    assert refused(host.write, f"{vport}/vport_disable", "x") == errno.EINVAL
    host.write(f"{vport}/vport_disable", "1")
    state = ("vport_state", "vport_last_state", "symbolic_name")
    assert values(host, vport, *state) == ["Disabled", "Active", "guest"]
    assert values(host, f"{PORTS}/host8", "port_state", "fabric_name") == ["Offline", "0xffffffffffffffff"]
    host.write(f"{vport}/vport_disable", "0")
    assert values(host, vport, *state) == ["Active", "Disabled", "guest"]
    host.write(f"{vport}/vport_delete", "1")
    assert names(host, VPORTS) == []


@pytest.mark.parametrize(
    ("hba", "pair", "expected"),
    [
        ("host5", UNZONED, ["Linkdown", "Linkdown"]),
        ("host6", UNZONED, ["No Fabric Support", "Offline"]),
        ("host3", REJECTED, ["Fabric Rejected WWN", "Offline"]),
    ],
)
def test_vports_that_do_not_log_in(host: SimHost, hba: str, pair: str, expected: list[str]) -> None:
    create_vport(host, pair, hba)
    (vport,) = names(host, VPORTS)
    found = values(host, f"{VPORTS}/{vport}", "vport_state") + values(host, f"{PORTS}/host8", "port_state")
    assert found == expected


def test_a_switch_without_npiv() -> None:
    hba = {"wwpn": "10:00:00:00:c9:00:00:01", "wwnn": "0x20000000C9000001", "fabric": "3" * 16, "fabric_npiv": False}
    device = {"path": "devices/fcoe/host2", "bus": "scsi", "uevent": {"DEVTYPE": "scsi_host"}}
    with SimHost({"devices": [{**device, "behaviour": {"fc_host": hba}}]}) as host:
        create_vport(host, UNZONED, "host2")
        assert host.read(f"{VPORTS}/vport-2:0-0/vport_state") == "No Fabric Support\n"
        assert host.read(f"{PORTS}/host2/max_npiv_vports") == "255\n"


def test_a_link_that_goes_and_comes(host: SimHost) -> None:
    create_vport(host, NO_LUN)
    vport = f"{VPORTS}/vport-3:0-0"
    host.link("host3", "Linkdown")
    assert values(host, f"{PORTS}/host3", "port_state", "fabric_name") == ["Linkdown", "0x0"]
    assert values(host, vport, "vport_state", "vport_last_state") == ["Linkdown", "Active"]
    host.link("0x10000090fa1234a0", "Online")
    assert values(host, vport, "vport_state", "vport_last_state") == ["Active", "Linkdown"]
    host.fault("host3/port_state", lag=3600)
    host.link("0000:04:00.0", "Offline")
    assert host.read(f"{PORTS}/host3/port_state") == "Online\n"
    host.clear_faults()
    assert host.read(f"{PORTS}/host3/port_state") == "Offline\n"
    with pytest.raises(ControlError, match="no Fibre Channel HBA is 'host0'"):
        host.link("host0", "Online")
    with pytest.raises(ControlError, match="port_state 'Up' is unknown"):
        host.link("host3", "Up")


def test_a_host_that_is_late_and_one_that_never_comes(host: SimHost) -> None:
    host.fault("fc_host/host8*", lag=0.5)
    create_vport(host, NO_LUN)
    eventually(lambda: "host8" in names(host, PORTS))
    assert host.read(f"{PORTS}/host8/port_state") == "Online\n"
    host.clear_faults()
    host.fault("vport-*/host*", lag=3600)
    create_vport(host, PAIRS[0])
    assert names(host, VPORTS) == ["vport-3:0-0", "vport-3:0-1"]
    host.run(["udevadm", "settle", "--timeout=30"])
    for folder in (PORTS, "/sys/class/scsi_host", "/sys/bus/scsi/devices", f"{HBA}/vport-3:0-1"):
        assert "host9" not in names(host, folder)
    assert not host.path("/dev/sdb").exists()
    delete_vport(host, PAIRS[0])
    assert names(host, VPORTS) == ["vport-3:0-0"]


def come_and_go(host: SimHost, pair: str) -> None:
    create_vport(host, pair)
    delete_vport(host, pair)


@pytest.mark.parametrize(
    ("subsystem", "device"),
    [("fc_host", "host8"), ("scsi_host", "host8"), ("scsi", "host8"), ("fc_vports", "vport-3:0-0")],
)
def test_events_of_a_vport(host: SimHost, subsystem: str, device: str) -> None:
    events = monitored(host, subsystem, lambda: come_and_go(host, UNZONED), 2)
    assert events == [f"add {device}", f"remove {device}"]


def test_events_that_are_late_keep_their_order(host: SimHost) -> None:
    host.fault("fc_host/host8/uevent", lag=0.5)

    def action() -> None:
        create_vport(host, UNZONED)
        host.clear_faults()
        delete_vport(host, UNZONED)

    assert monitored(host, "fc_host", action, 2) == ["add host8", "remove host8"]
    eventually(lambda: not host.path("/run/udev/queue").exists())


def test_a_device_that_never_shows_has_no_event(host: SimHost) -> None:
    host.fault("vport-*/host8", lag=3600)

    def action() -> None:
        come_and_go(host, UNZONED)
        come_and_go(host, NO_LUN)

    assert monitored(host, "fc_host", action, 2) == ["add host9", "remove host9"]


def test_a_reload_gives_a_new_number_and_takes_the_vports(host: SimHost) -> None:
    create_vport(host, PAIRS[0])
    events = monitored(host, "fc_host", lambda: host.reload("0000:04:00.0"), 3)
    assert events == ["remove host8", "remove host3", "add host9"]
    assert names(host, PORTS) == ["host4", "host5", "host6", "host7", "host9"]
    assert names(host, VPORTS) == []
    assert values(host, f"{PORTS}/host9", "port_name", "npiv_vports_inuse") == ["0x10000090fa1234a0", "0"]
    assert host.realpath("/sys/bus/scsi/devices/host9") == "/sys/devices/pci0000:04/0000:04:00.0/host9"
    assert names(host, "/sys/class/fc_remote_ports") == ["rport-9:0-0"]
    create_vport(host, PAIRS[0], "host9")
    assert host.read(f"{VPORTS}/vport-9:0-0/vport_state") == "Active\n"
    assert monitored(host, "pci", lambda: host.reload("host9"), 2) == ["unbind 0000:04:00.0", "bind 0000:04:00.0"]
    host.reboot()
    assert names(host, PORTS) == ["host3", "host4", "host5", "host6", "host7"]


def test_links_and_reloads_by_command_line(host: SimHost) -> None:
    def cli(*arguments: str) -> None:
        host.run([sys.executable, "-m", "simhost", *arguments], env={"PYTHONPATH": str(FOLDER.parent.parent)})

    create_vport(host, PAIRS[0])
    cli("--unmap", "mpatha")
    assert not host.path("/sys/block/dm-0").exists()
    cli("--link", "host3", "Linkdown")
    assert host.read(f"{PORTS}/host3/port_state") == "Linkdown\n"
    cli("--reload", "0000:04:00.0")
    assert names(host, PORTS) == ["host4", "host5", "host6", "host7", "host9"]


def test_numbers_that_shift_with_a_reboot_and_are_used_again() -> None:
    plan = yaml.safe_load((FOLDER / "fc.yml").read_text(encoding="utf-8"))
    with SimHost({**plan, "shifting_hosts": True, "reuse_host_numbers": True}) as host:
        for pair in (UNZONED, NO_LUN):
            create_vport(host, pair)
        # The lowest number that no host has, as in the kernel.
        assert names(host, PORTS) == ["host1", "host2", "host3", "host4", "host5", "host6", "host7"]
        delete_vport(host, UNZONED)
        create_vport(host, PAIRS[8], "host4")
        assert host.realpath(f"{PORTS}/host1").endswith("/host4/vport-4:0-0/host1/fc_host/host1")
        for shift in (1, 2):
            host.reboot()
            assert names(host, PORTS) == [f"host{number + shift}" for number in (3, 4, 5, 6, 7)]
            assert host.read(f"{PORTS}/host{3 + shift}/port_name") == "0x10000090fa1234a0\n"
            assert names(host, VPORTS) == []
            base = f"/sys/devices/pci0000:00/0000:00:1f.2/host{shift}/target{shift}:0:0/{shift}:0:0:0"
            assert host.realpath("/sys/block/sda") == f"{base}/block/sda"
            assert host.realpath(f"/sys/bus/scsi/devices/{shift}:0:0:0") == base
