# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodedev_facts module on simulated hosts; its agreement with libvirt is tested in tests/conformance."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, OTHER, OTHER_CARD, ROOT, UUID, Host, open_by, warnings

CARD_NAME, OTHER_NAME, NIC = "pci_0000_3d_00_0", "pci_0000_af_00_0", "pci_0000_3b_00_0"
MDEV = f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"
DEFINED = f"mdev_{OTHER.replace('-', '_')}_0000_3d_00_0"

BY_DRIVER = ["driver: no device that is asked for has the driver nvidia"]

Facts = dict[str, Any]


def facts(host: Host, **options: Any) -> Facts:
    result = host.module("nodedev_facts", **options)
    assert not result.get("failed"), result
    assert result["changed"] is False
    found: Facts = result["ansible_facts"]["nodedev"]
    return found


def vpd(name: str) -> dict[str, str]:
    data = bytes((0x82, len(name), 0)) + name.encode() + bytes((0x90, 4, 0)) + b"RV\x01"
    return {"hex": (data + bytes((-sum(data) % 256,)) + b"\x78").hex()}


@pytest.fixture
def used(host: Host) -> Host:
    """The host with two cards; one has an instance that runs, is defined and is held, and one that is defined only."""
    host.mdev()
    host.mdev(uuid=OTHER, state="inactive")
    return host


def test_all_there_is(used: Host) -> None:
    with used.hold(UUID) as pid:
        found = facts(used, tree=True)
    assert sorted(found) == ["devices", "tree"]
    assert sorted(found["devices"]) == sorted(["computer", CARD_NAME, NIC, OTHER_NAME, MDEV])
    assert found["tree"] == [
        *("computer", "  |", f"  +- {NIC}", f"  +- {CARD_NAME}", "  |   |", f"  |   +- {MDEV}", "  |     "),
        *(f"  +- {OTHER_NAME}", "    "),
    ]
    assert found["devices"]["computer"]["capability"]["product"] == "GPU server"
    nic = found["devices"][NIC]
    assert nic["capability"]["vendor"] == {"id": "0x15b3", "name": "Mellanox Technologies"}
    assert (nic["driver"], nic["parent"], nic["capability"]["numa"]) == ({"name": "mlx5_core"}, "computer", {"node": 0})
    mdev = found["devices"][MDEV]
    assert (mdev["parent"], mdev["capability"]["mdev_type"]) == (CARD_NAME, {"id": "nvidia-231"})
    extra = mdev["extra"]
    assert (extra["active"], extra["device_api"]) == (True, "vfio-pci")
    assert extra["definition"] == {"type": "nvidia-231", "autostart": True, "attrs": []}
    node = f"/dev/vfio/{mdev['capability']['iommuGroup']['number']}"
    assert extra["holders"] == [open_by(pid, node)]


def test_looking_does_not_keep_a_guest_out(used: Host) -> None:
    assert facts(used, capabilities=["mdev"])["devices"][MDEV]["extra"]["holders"] == []
    with used.hold(UUID):
        assert len(facts(used, capabilities=["mdev"])["devices"][MDEV]["extra"]["holders"]) == 1


def test_who_may_not_look_at_processes_is_told_so(used: Host) -> None:
    used.user = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    (holder,) = facts(used, capabilities=["mdev"])["devices"][MDEV]["extra"]["holders"]
    assert holder["pid"] is None
    assert holder["by"].startswith("possibly process 1 (")


def test_the_holder_of_a_function(start: Callable[..., Host]) -> None:
    """One that vfio-pci has, as for a guest; its group has a node, that of another driver's none."""
    function = {"pci": {"address": "0000:05:00.0", "vendor": 0x10DE, "device": 0x20B0}, "iommu_group": "auto"}
    other = {"pci": {"address": "0000:06:00.0", "vendor": 0x10DE, "device": 0x20B0}, "iommu_group": "auto"}
    host = start({"devices": [{**function, "driver": "vfio-pci"}, {**other, "driver": "nvidia"}]})
    with host.hold("0000:05:00.0") as pid:
        found = facts(host)["devices"]
    node = f"/dev/vfio/{found['pci_0000_05_00_0']['capability']['iommuGroup']['number']}"
    assert found["pci_0000_05_00_0"]["extra"]["holders"] == [open_by(pid, node)]
    assert "holders" not in found["pci_0000_06_00_0"]["extra"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"capabilities": ["pci"]}, [NIC, CARD_NAME, OTHER_NAME]),
        ({"capabilities": ["mdev_types"]}, [CARD_NAME, OTHER_NAME]),
        ({"capabilities": ["system", "mdev"]}, ["computer", MDEV]),
        ({"names": [NIC, "pci_0000_ff_00_0"]}, [NIC]),
        ({"parent": CARD_NAME}, [CARD_NAME, MDEV]),
        ({"parent": CARD_NAME, "include": "all"}, [CARD_NAME, MDEV, DEFINED]),
        ({"driver": "nvidia"}, [CARD_NAME, OTHER_NAME]),
        ({"include": "inactive"}, [DEFINED]),
        ({"persistence": "persistent"}, ["computer", MDEV]),
        ({"persistence": "persistent", "include": "all"}, ["computer", MDEV, DEFINED]),
        ({"persistence": "transient", "capabilities": ["mdev", "pci"]}, [NIC, CARD_NAME, OTHER_NAME]),
    ],
)
def test_narrowed(used: Host, options: dict[str, Any], names: list[str]) -> None:
    assert sorted(facts(used, **options)["devices"]) == sorted(names)


def test_an_unknown_capability_is_an_error_that_lists_them(host: Host) -> None:
    result = host.module("nodedev_facts", capabilities=["nvme"])
    assert result["failed"]
    for name in ("nvme", "pci", "mdev_types", "ccwgroup_member"):
        assert name in result["msg"]


def test_xml(used: Host) -> None:
    found = facts(used, xml=True, names=[MDEV])["devices"][MDEV]
    assert found["xml"].splitlines()[:4] == [
        *("<device>", f"  <name>{MDEV}</name>", f"  <path>{found['path']}</path>", f"  <parent>{CARD_NAME}</parent>"),
    ]
    assert "extra" not in found["xml"]
    assert "xml" not in facts(used, names=[MDEV])["devices"][MDEV]


def test_check_mode_tells_the_same(used: Host) -> None:
    assert facts(used, check_mode=True) == facts(used)


def test_virtual_functions(start: Callable[..., Host]) -> None:
    devices = facts(start("nvidia-sriov"), capabilities=["pci"])["devices"]
    assert [devices[f"pci_0000_06_00_{number}"]["extra"] for number in range(4, 8)] == [
        {"role": "function", "vf_index": index, "subsystem_id": "10de:0000"} for index in range(4)
    ]
    assert devices["pci_0000_06_00_0"]["extra"] == {"role": "carved", "subsystem_id": "10de:14a9"}


def test_what_is_carved_and_what_is_whole(used: Host) -> None:
    """One of two cards has a mediated device that runs; of what is defined on the other nothing is there yet."""
    found = facts(used, capabilities=["pci"], xml=True)["devices"]
    assert {name: device["extra"] for name, device in found.items()} == {
        CARD_NAME: {"role": "carved", "subsystem_id": "10de:12a2"},
        OTHER_NAME: {"role": "whole", "subsystem_id": "10de:12a2"},
        NIC: {"role": "whole", "subsystem_id": "15b3:0000"},
    }
    assert not any("carved" in device["xml"] for device in found.values())
    used.mdev(state="inactive")
    assert facts(used, names=[CARD_NAME])["devices"][CARD_NAME]["extra"]["role"] == "whole"


def test_what_cannot_be_read_is_left_out_and_named(host: Host) -> None:
    path = f"/sys/bus/pci/devices/{CARD}"
    kind = f"{path}/mdev_supported_types/nvidia-231"
    host.fault(f"{kind}/available_instances", op="read", errno="EIO")
    result = host.module("nodedev_facts", unlisted=True)
    found = result["ansible_facts"]["nodedev"]
    assert CARD_NAME not in found["devices"]
    assert OTHER_NAME in found["devices"]
    reason = "mdev_supported_types/nvidia-231/available_instances has nothing that can be read"
    assert [(one["path"].rpartition("/")[2], one["reason"]) for one in found["unlisted"]] == [(CARD, reason)]
    assert [reason in warning for warning in result["warnings"]] == [True]
    host.clear_faults()
    # A type may have no name, but where it is there and cannot be read, libvirtd 9.0 does not list the parent either.
    host.fault(f"{kind}/name", op="read", errno="EIO")
    result = host.module("nodedev_facts", unlisted=True)
    assert CARD_NAME not in result["ansible_facts"]["nodedev"]["devices"]
    reason = "mdev_supported_types/nvidia-231/name has nothing that can be read"
    assert [reason in warning for warning in result["warnings"]] == [True]


@pytest.mark.parametrize("what", ["vendor", "config", "uevent"])
def test_a_device_that_vanishes_while_it_is_read(host: Host, what: str) -> None:
    host.fault(f"/sys/bus/pci/devices/{OTHER_CARD}/{what}", op="any", errno="ENODEV")
    assert sorted(facts(host)["devices"]) == sorted(["computer", NIC, CARD_NAME])


def test_vital_product_data(start: Callable[..., Host]) -> None:
    host = start(
        {
            "devices": [
                {"pci": {"address": "0000:01:00.0"}, "attributes": {"vpd": vpd("Good")}},
                {"pci": {"address": "0000:01:00.1"}, "attributes": {"vpd": {"hex": f"{vpd('Bad')['hex'][:-2]}00"}}},
                {"pci": {"address": "0000:01:00.2"}, "attributes": {"vpd": {"errno": "EIO"}}},
            ]
        }
    )
    devices = facts(host)["devices"]
    assert devices["pci_0000_01_00_0"]["capability"]["capability"] == [{"type": "vpd", "name": "Good"}]
    assert "capability" not in devices["pci_0000_01_00_1"]["capability"]
    assert "capability" not in devices["pci_0000_01_00_2"]["capability"]
    assert list(facts(host, capabilities=["vpd"])["devices"]) == ["pci_0000_01_00_0"]


def test_a_damaged_definition_is_a_warning(used: Host) -> None:
    used.run(["sh", "-c", f"echo '{{' > /etc/mdevctl.d/{CARD}/{OTHER}"])
    result = used.module("nodedev_facts", include="all")
    assert DEFINED not in result["ansible_facts"]["nodedev"]["devices"]
    assert [OTHER in warning for warning in result["warnings"]] == [True]


def odd(host: Host, **options: Any) -> tuple[Facts, list[str]]:
    """The facts with the warnings; it must succeed."""
    result = host.done("nodedev_facts", **options)
    found: Facts = result["ansible_facts"]["nodedev"]
    return found, warnings(result)


OF_CARD = f"/sys/bus/pci/devices/{CARD}"


@pytest.mark.parametrize(
    ("file", "value", "told"),
    [
        ("mdev_supported_types/nvidia-231/available_instances", "N/A", "available_instances is 'N/A'"),
        ("mdev_supported_types/nvidia-231/available_instances", "", "available_instances is ''"),
        ("mdev_supported_types/nvidia-231/available_instances", "0x10", "available_instances is '0x10'"),
        ("numa_node", "", "numa_node is ''"),
        ("iommu_group", "../../kernel/iommu_groups/7x", "iommu_group is '7x'"),
        ("iommu_group", "../../kernel/iommu_groups/99", "its IOMMU group 99 is not there"),
        ("vendor", "N/A", "vendor is 'N/A'"),
        ("vendor", "9" * 4000, "vendor is '99999"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_warning(used: Host, file: str, value: str, told: str) -> None:
    """libvirt does not list such a device; all others are there as before."""
    before = facts(used)["devices"]
    # No newline ends the target of a link.
    used.fault(f"{OF_CARD}/{file}", op="read", content=value if file == "iommu_group" else f"{value}\n")
    found, (warning,) = odd(used)
    del before[CARD_NAME]
    before[MDEV]["parent"] = "computer"
    assert found["devices"] == before
    assert f"/{CARD} is not listed: " in warning
    assert told in warning
    assert len(warning) < 800


def test_values_of_a_mediated_device_that_make_no_sense(used: Host) -> None:
    group = f"/sys/bus/mdev/devices/{UUID}/iommu_group"
    for content, told in (("../../../kernel/iommu_groups/7x", "iommu_group is '7x'"), ("../../7", "leads nowhere")):
        used.fault(group, op="read", content=content)
        found, (warning,) = odd(used)
        assert MDEV not in found["devices"]
        assert CARD_NAME in found["devices"]
        assert told in warning
        used.clear_faults()


@pytest.mark.parametrize(("kind", "lost"), [("bus/pci/devices", "pci"), ("bus/mdev/devices", "mdev")])
@pytest.mark.parametrize("errno", ["ELOOP", "EACCES"])
def test_a_folder_that_cannot_be_listed_is_one_warning(used: Host, errno: str, kind: str, lost: str) -> None:
    before = facts(used, include="all")["devices"]
    used.fault(kind, op="list", errno=errno)
    found, told = odd(used, include="all")
    # What is below a device leads to it, also where its own folder does not.
    assert {name for name, each in before.items() if each["capability"]["type"] != lost} <= set(found["devices"])
    assert [f"/sys/{kind} failed with {errno}" in warning for warning in told] == [True]


def test_definitions_that_cannot_be_listed_are_warnings(used: Host) -> None:
    before = facts(used)["devices"]
    used.run(["sh", "-c", "rm -r /etc/mdevctl.d && ln -s mdevctl.d /etc/mdevctl.d"])
    found, told = odd(used, include="all")
    assert sorted(found["devices"]) == sorted(before)
    assert told
    assert ["/etc/mdevctl.d" in warning for warning in told] == [True] * len(told)


def test_what_is_merely_not_libvirts_is_no_warning(start: Callable[..., Host]) -> None:
    for scenario in ("nvidia-sriov", "s390x", "fc"):
        found, told = odd(start(scenario), unlisted=True)
        assert (scenario, told, "unlisted" in found) == (scenario, [], True)


def test_texts_that_are_not_utf_8(start: Callable[..., Host]) -> None:
    odd_text = {"hex": b"A\xff\xfe\n".hex()}
    cleaned = "A\ufffd\ufffd"
    # Its sum is right, its text is not: libvirt takes none of such data.
    data = {"hex": bytes.fromhex(vpd("Good")["hex"]).replace(b"Good", b"G\xffo\xd4").hex()}
    types = {"name": odd_text, "device_api": odd_text, "description": odd_text, "available_instances": 1}
    of_port = ("node_name", "port_name", "fabric_name", "port_state", "port_type", "symbolic_name")
    devices = [
        {"path": "devices/virtual/dmi/id", "class": "dmi", "attributes": {"product_name": odd_text}},
        {
            "pci": {"address": "0000:01:00.0"},
            "attributes": {"vpd": data, **{f"mdev_supported_types/t/{name}": text for name, text in types.items()}},
        },
        {"path": "devices/x/host3", "bus": "scsi", "uevent": {"DEVTYPE": "scsi_host"}},
        {"path": "devices/x/host3/fc_host/host3", "class": "fc_host", "attributes": dict.fromkeys(of_port, odd_text)},
    ]
    found = facts(start({"devices": devices}), xml=True)["devices"]
    assert found["computer"]["capability"]["product"] == cleaned
    (nested,) = found["pci_0000_01_00_0"]["capability"]["capability"]
    assert nested["types"] == [{"id": "t", "name": cleaned, "deviceAPI": cleaned, "availableInstances": 1}]
    (port,) = found["scsi_host3"]["capability"]["capability"]
    assert {port["wwnn"], port["wwpn"], port["fabric_wwn"]} == {cleaned}
    assert found["scsi_host3"]["extra"]["port_state"] == cleaned


def test_the_examples(used: Host) -> None:
    module = importlib.import_module("ansible_collections.hostdev.nodedev.plugins.modules.nodedev_facts")
    options = [task.get("hostdev.nodedev.nodedev_facts") for task in yaml.safe_load(module.EXAMPLES)]
    for each in filter(None, options):
        facts(used, **each)
    # The others show what to make of the facts, and run with them in a play (test_documentation.py).
    assert len(options) > options.count(None) > 0


def test_through_ansible_itself(host: Host, tmp_path: Path) -> None:
    """The result is printed without Ansible's help, which must not keep Ansible from understanding it."""
    host.fault(f"/sys/bus/pci/devices/{OTHER_CARD}/vendor", op="read", errno="EIO")
    done = host.run(
        [
            str(Path(sys.executable).parent / "ansible"),
            "localhost",
            "-m",
            "hostdev.nodedev.nodedev_facts",
            "-a",
            "tree=true",
        ],
        check=False,
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_HOME": str(tmp_path),
        },
    )
    status, _arrow, text = done.stdout.partition(" => ")
    assert status == "localhost | SUCCESS", done.stdout + done.stderr
    assert json.loads(text)["ansible_facts"]["nodedev"]["tree"][:3] == ["computer", "  |", f"  +- {NIC}"]
    assert f"{OTHER_CARD} is not listed" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"names": [NIC, "pci_0000_3c_00_0"]}, ["names: no device that is asked for is called pci_0000_3c_00_0"]),
        ({"names": [NIC], "driver": "nvidia"}, [f"names: no device that is asked for is called {NIC}", *BY_DRIVER]),
        ({"parent": "pci_0000_3c_00_0"}, ["parent: no device that is asked for is pci_0000_3c_00_0 or below it"]),
        ({"driver": "nvida"}, ["driver: no device that is asked for has the driver nvida; did you mean 'nvidia'?"]),
        ({"names": [CARD, OTHER_NAME]}, []),
        ({"parent": "3D:00.0", "capabilities": ["mdev"]}, []),
    ],
)
def test_what_is_not_there_is_a_warning(used: Host, options: dict[str, Any], told: list[str]) -> None:
    assert warnings(used.module("nodedev_facts", **options)) == told


def test_the_tree_alone(used: Host) -> None:
    found = used.module("nodedev_facts", tree=True, devices=False)
    assert found["ansible_facts"]["nodedev"].keys() == {"tree"}
    assert found["msg"].splitlines() == found["ansible_facts"]["nodedev"]["tree"] != []
    assert "msg" not in used.module("nodedev_facts")
