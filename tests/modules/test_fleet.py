# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks and roles for fleets, on several simulated hosts at once, which Ansible reaches by ssh."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, HERE, OTHER, OTHER_CARD, ROOT, UUID, Host, definitions, running
from fleet import Fleet, reached
from plays import play
from simhost.drivers.ap_bus import BUS
from test_playbooks import CRYPTO, LAB, vgpus
from test_restore import COMMAND, install
from vhbas import vports

WHOLE, CARVED = "pci_0000_41_00_0", "pci_0000_45_00_0"
GPU = {
    "nodedev_mdevs": [{"uuid": UUID, "type": "nvidia-232", "parent": CARD}],
    "nodedev_mdev_pools": [{"name": "desktops", "type": "nvidia-231", "count": 3}],
}
FUNCTIONS = {
    "nodedev_drivers": [{"device": "pci_0000_81_00_0", "driver": "vfio-pci"}],
    "nodedev_sriov": [{"device": "pci_0000_3b_00_0", "numvfs": "2"}],
    "nodedev_function_drivers": [{"device": "pci_0000_3b_01_0", "driver": "vfio-pci"}],
}
FIBRE = {
    "nodedev_vhbas": [{"name": "database", "parent": "scsi_host3"}],
    "nodedev_vhba_pools": [{"name": "guests", "count": 2}],
}
ROLE = ROOT / "roles" / "nodedev"
VARIABLES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
ROLES = """
- hosts: gpu
  gather_facts: false
  roles: [hostdev.nodedev.gpu_host]
- hosts: fc
  gather_facts: false
  roles: [hostdev.nodedev.fc_host]
- hosts: mainframe
  gather_facts: false
  roles: [hostdev.nodedev.s390_host]
"""
Reach = Callable[..., tuple[Fleet, dict[str, Host]]]


@pytest.fixture
def reach(start: Callable[..., Host], tmp_path: Path) -> Iterator[Reach]:
    """Starts hosts by their names and scenarios, and a controller that reaches them, with variables of their groups."""
    with ExitStack() as stack:

        def reach(scenarios: Mapping[str, Any], **variables: Any) -> tuple[Fleet, dict[str, Host]]:
            hosts = {name: start(scenario) for name, scenario in scenarios.items()}
            folder = tmp_path / "controller"
            folder.mkdir(exist_ok=True)
            return stack.enter_context(reached(hosts, folder, variables)), hosts

        yield reach


def provision(host: Host, **lists: Any) -> None:
    """What the role does with these variables, the boot engine included, as a person would by single tasks."""
    install(host)
    for name, module in VARIABLES["nodedev_lists"].items():
        for each in lists.get(name, []):
            host.done(module, **each)


def test_the_role_names_each_option_of_the_modules() -> None:
    files = {file.stem: file for file in (ROLE / "tasks" / "ensure").glob("*.yml")}
    assert {*files} == {*VARIABLES["nodedev_steps"]}
    given = {}
    for step, variable in VARIABLES["nodedev_steps"].items():
        (task,) = yaml.safe_load(files[step].read_text())
        (name,) = (name for name in task if name.startswith("hostdev."))
        assert task["register"] == f"nodedev_done_{step}"
        if variable in VARIABLES["nodedev_lists"]:
            given[task["loop"]] = name, {*task[name]}
    for variable, module in VARIABLES["nodedev_lists"].items():
        names = {*importlib.import_module(f"ansible_collections.hostdev.nodedev.plugins.modules.{module}").OPTIONS}
        assert given.pop(f"{{{{ {variable} }}}}") == (f"hostdev.nodedev.{module}", names)
        assert {*VARIABLES["nodedev_options"][module], *VARIABLES["nodedev_options"]["all"]} == names
    assert given == {}


def test_drift_is_a_verdict(reach: Reach) -> None:
    lab = {**FUNCTIONS, **CRYPTO, "nodedev_ap_masks": [{"adapters": [5]}, {"adapters": ["6"]}]}
    fleet, hosts = reach({"gpu01": "nvidia-mdev", "fc01": "fc", "lab01": LAB}, gpu=GPU, fc=FIBRE, lab=lab)
    before = {name: host.state() for name, host in hosts.items()}
    told = verdict(fleet, status=2)
    assert {name: host.state() for name, host in hosts.items()} == before
    assert whats(told["gpu01"]) == [f"mdev {UUID}", "mdev_pool desktops", "boot engine"]
    assert told["gpu01"][0]["plan"][0].startswith(f"create mdev {UUID} ")
    assert whats(told["fc01"]) == ["vhba database", "vhba_pool guests", "boot engine"]
    assert whats(told["lab01"]) == [
        "driver pci_0000_81_00_0",
        "ap_mask adapters 5",
        "ap_mask adapters 6",
        "sriov pci_0000_3b_00_0",
        "driver pci_0000_3b_01_0",
        f"mdev {UUID}",
        "boot engine",
    ]

    provision(hosts["gpu01"], **GPU)
    provision(hosts["fc01"], **FIBRE)
    provision(hosts["lab01"], **lab)
    # Removed by hand, and damaged. What nobody has listed is no drift.
    hosts["gpu01"].write(f"/sys/bus/mdev/devices/{UUID}/remove", "1")
    hosts["gpu01"].mdev(uuid=OTHER, parent=OTHER_CARD)
    hosts["lab01"].write(f"{BUS}/apmask", "+6")
    hosts["fc01"].write("/etc/nodedev.d/vhba/5001a4a0000000ff.json", "{")
    told = verdict(fleet, status=2, warns="5001a4a0000000ff.json is damaged")
    assert [(each["what"], each["message"]) for each in told["lab01"]] == [
        ("ap_mask adapters 6", "it is not as the variables say"),
        *(
            ("ap_mask masks", f"queue 06.{domain} is cex4queue, defined as vfio_ap")
            for domain in ("0004", "0005", "0047")
        ),
    ]
    assert [(each["what"], each["message"]) for each in told["gpu01"]] == [
        (f"mdev {UUID}", "it is not as the variables say"),
        (f"mdev {UUID}", "it is defined to be there, and is not"),
    ]
    assert whats(told["fc01"]) == ["file /etc/nodedev.d/vhba/5001a4a0000000ff.json"]


def test_what_the_modules_would_refuse_is_a_verdict_too(reach: Reach) -> None:
    """An option that none has, and a device that somebody has whose name YAML has no escapes for."""
    wishes = [{"uuid": UUID, "state": "absent"}, {"uuid": OTHER, "state": "absent", "autostrat": False}]
    fleet, hosts = reach({"gpu01": "nvidia-mdev"}, gpu={"nodedev_mdevs": wishes, "nodedev_persistence": False})
    provision(hosts["gpu01"])
    hosts["gpu01"].mdev(attrs=[{"nvidia/vgpu_params": "a=\U0001f600"}])
    with hosts["gpu01"].hold(UUID, "desk\U0001f600"):
        options, device = verdict(fleet, status=2)["gpu01"]
        fleet.done("hostdev.nodedev.adopt", adopt_file="adopted.yml")
    assert (options["what"], device["holders"][0]["by"]) == ("nodedev_mdevs", "desk\U0001f600")
    assert options["message"] == "nodedev_mdevs: autostrat: no option of hostdev.nodedev.mdev"
    (found,) = yaml.safe_load((fleet.folder / "adopted.yml").read_text())["mdevs"]
    assert found["attrs"] == [{"nvidia/vgpu_params": "a=\U0001f600"}]


def test_false_as_text_is_false(reach: Reach) -> None:
    """As -e nodedev_persistence=false gives it."""
    fleet, hosts = reach({"gpu01": "nvidia-mdev"})
    fleet.done("hostdev.nodedev.provision", "-e", "nodedev_persistence=false")
    assert hosts["gpu01"].run(["test", "-e", COMMAND], check=False).returncode == 1
    fleet.done("hostdev.nodedev.assert", "-e", "nodedev_persistence=false")


def test_a_host_that_cannot_be_reached_has_no_verdict(reach: Reach) -> None:
    fleet, hosts = reach({"gpu01": "nvidia-mdev", "gpu02": "nvidia-mdev"})
    hosts["gpu02"].stop()
    played = fleet.play("hostdev.nodedev.assert", assert_file="verdict.json", nodedev_persistence=False)
    assert played.status == 4, played.output
    assert json.loads((fleet.folder / "verdict.json").read_text()) == {"gpu01": [], "gpu02": "unknown"}
    played = fleet.play("hostdev.nodedev.assert", "--limit", "gpu02", assert_file="verdict.json")
    assert played.status == 4, played.output
    assert json.loads((fleet.folder / "verdict.json").read_text()) == {"gpu02": "unknown"}


def whats(listed: list[dict[str, Any]]) -> list[str]:
    return [each["what"] for each in listed]


def verdict(fleet: Fleet, status: int, warns: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """What assert.yml writes for each host; those with a list fail, and no other, and nothing changes."""
    played = fleet.play("hostdev.nodedev.assert", warns=warns, assert_file="verdict.json")
    assert played.status == status, played.output
    found: dict[str, list[dict[str, Any]]] = json.loads((fleet.folder / "verdict.json").read_text())
    assert {name for name, counts in played.recap.items() if counts["failed"]} == {
        name for name, listed in found.items() if listed
    }
    return found


def test_what_is_exported_makes_the_same_of_a_fresh_host(reach: Reach) -> None:
    scenarios = {"gpu01": "nvidia-vfio", "gpu02": "nvidia-mdev", "fc01": "fc", "lab01": LAB}
    fleet, hosts = reach(scenarios)
    pool = {"name": "desks", "type": "L40S-8Q", "count": 3, "params": "frame_rate_limiter=0"}
    vgpus = [{"parent": CARVED, "index": 0, "type": "L40S-24Q"}]
    provision(hosts["gpu01"], nodedev_sriov=[{"device": WHOLE, "numvfs": "max"}], nodedev_vgpus=vgpus)
    hosts["gpu01"].done("vgpu_pool", parents={"physical_function": [WHOLE]}, **pool)
    hosts["gpu01"].done("vgpu", parent=CARVED, index=1, type="L40S-24Q", persistent=False)
    provision(hosts["gpu02"], **GPU)
    hosts["gpu02"].mdev(uuid=OTHER, parent=OTHER_CARD, type="nvidia-232", managed=True)
    provision(hosts["fc01"], **FIBRE)
    provision(hosts["lab01"], **FUNCTIONS, **CRYPTO)
    hosts["lab01"].done("ap_mask", adapters=["6"], persistent=False)
    hosts["lab01"].done("driver", device="ccw_0_0_0815", driver="vfio_ccw")
    hosts["lab01"].done("mdev_pool", name="channels", type="vfio_ccw-io", count="1")
    # By a script, as at each boot.
    hosts["lab01"].write("/sys/bus/pci/devices/0000:5e:00.0/sriov_numvfs", "2")
    hosts["lab01"].done("driver", device="pci_0000_5e_1f_6", driver="mlx5_vfio_pci", persistent=False)
    before = {name: host.state() for name, host in hosts.items()}
    fleet.done("hostdev.nodedev.export", export_file="host_vars/{{ inventory_hostname }}.yml")
    assert {name: host.state() for name, host in hosts.items()} == before

    fleet, fresh = reach(scenarios)
    for host in fresh.values():
        install(host)
    fleet.done("hostdev.nodedev.provision", "--skip-tags", "persistence")
    assert {name: host.state() for name, host in fresh.items()} == before


def test_pools_of_each_sort_are_exported_as_they_are(reach: Reach) -> None:
    scenarios = {"gpu01": "nvidia-mdev", "gpu02": "nvidia-vfio", "fc01": "fc"}
    fleet, hosts = reach(scenarios)
    provision(hosts["gpu01"])
    hosts["gpu01"].done("vgpu_pool", name="mix", types={"GRID T4-8Q": 1, "GRID T4-16Q": 1}, params="a=1")
    hosts["gpu01"].pool(name="temporary", type="nvidia-233", count=1, persistent=False)
    provision(hosts["gpu02"], nodedev_sriov=[{"device": WHOLE, "numvfs": "max"}])
    hosts["gpu02"].done("vgpu_pool", name="mix", types={"L40S-24Q": 1}, parents={"physical_function": [WHOLE]})
    provision(hosts["fc01"])
    hosts["fc01"].done("vhba_pool", name="off", count=2, state="inactive")
    hosts["fc01"].done("vhba_pool", name="temporary", count=1, persistent=False)
    before = {name: host.state() for name, host in hosts.items()}
    fleet.done("hostdev.nodedev.export", export_file="host_vars/{{ inventory_hostname }}.yml")
    fleet, fresh = reach(scenarios)
    for host in fresh.values():
        install(host)
    fleet.done("hostdev.nodedev.provision", "--skip-tags", "persistence")
    assert {name: host.state() for name, host in fresh.items()} == before


def test_no_text_of_a_host_becomes_a_template(reach: Reach) -> None:
    """Files of variables are run by Ansible; of a pool only the export tells."""
    fleet, hosts = reach({"gpu01": "nvidia-mdev", "gpu02": "nvidia-mdev", "gpu03": "nvidia-mdev"})
    hosts["gpu01"].mdev(state="inactive")
    path = f"/etc/mdevctl.d/{CARD}/{UUID}"
    hosts["gpu01"].write(path, hosts["gpu01"].read(path).replace('"attrs": []', '"attrs": [{"a/b": "{{ 6 * 7 }}"}]'))
    hosts["gpu02"].pool(type="nvidia-232", count=1, state="inactive", attrs=[{"a/b": "{% set x = 1 %}"}])
    for playbook, refused in (("adopt", {"gpu01"}), ("export", {"gpu01", "gpu02"})):
        played = fleet.play(
            f"hostdev.nodedev.{playbook}", **{f"{playbook}_file": f"{playbook}/{{{{ inventory_hostname }}}}"}
        )
        assert played.status == 2, played.output
        assert "nothing is written, since Ansible would run what this host says as a template: " in played.output
        assert "{{ 6 * 7 }}" in played.output
        assert {file.name for file in (fleet.folder / playbook).iterdir()} == {*hosts} - refused
    # Shown it is text.
    assert '"a/b": "{{ 6 * 7 }}"' in fleet.play("hostdev.nodedev.adopt").output


def test_a_drained_host_has_only_what_is_held(reach: Reach) -> None:
    fleet, hosts = reach({"gpu01": "nvidia-mdev", "gpu02": "nvidia-vfio", "fc01": "fc"})
    provision(hosts["gpu01"], **GPU)
    hosts["gpu01"].mdev(uuid=OTHER, parent=OTHER_CARD, type="nvidia-232", managed=True)
    provision(hosts["gpu02"], nodedev_sriov=[{"device": WHOLE, "numvfs": "max"}])
    for parent in (WHOLE, CARVED):
        hosts["gpu02"].done("vgpu", parent=parent, index=0, type="L40S-24Q")
    provision(hosts["fc01"], **FIBRE)
    before = definitions(hosts["gpu01"]), functions(hosts["gpu02"])
    with hosts["gpu01"].hold(UUID) as pid:
        # Of one card on each host; one of three hosts may be left with devices in use.
        cards = ["pci_0000_3d_00_0", WHOLE, "scsi_host3"]
        played = fleet.play("hostdev.nodedev.drain", drain_serial=3, drain_max_fail=40, drain_parents=cards)
        assert played.status == 2, played.output
        assert [name for name, counts in played.recap.items() if counts["failed"]] == ["gpu01"]
        assert f"{UUID} on {HERE} is in use by process {pid} (simhost-guest)" in played.output
        assert [each.split()[0] for each in vports(hosts["fc01"])] == ["host4"]
        assert (vgpus(hosts["gpu02"]), managed(hosts["gpu01"])) == (1, [OTHER])
        assert UUID in running(hosts["gpu01"])
        waiting = fleet.start("hostdev.nodedev.drain", "--limit", "gpu01", drain_wait=300, drain_every=1)
        assert waiting.stdout is not None
        assert any("RETRYING" in line for line in waiting.stdout)
    assert waiting.communicate()[0].rpartition("RECAP")[2].count("failed=0") == 1
    assert running(hosts["gpu01"]) == []
    assert managed(hosts["gpu01"]) == []
    assert (definitions(hosts["gpu01"]), functions(hosts["gpu02"])) == before


def test_a_drain_of_chosen_kinds_and_parents(reach: Reach) -> None:
    fleet, hosts = reach({"gpu01": "nvidia-mdev", "fc01": "fc"})
    gpu, fc = hosts["gpu01"], hosts["fc01"]
    mdevs = [*GPU["nodedev_mdevs"], {"uuid": OTHER, "type": "nvidia-232", "parent": OTHER_CARD}]
    provision(gpu, nodedev_mdevs=mdevs)
    provision(fc, nodedev_vhbas=[{"name": name, "parent": "scsi_host3"} for name in ("database", "gone")])
    # The HBA of one is gone.
    gone = fc.done("vhba", name="gone", state="inactive")["vhba"]["wwpn"]
    fc.run(["sed", "-i", "s/10000090fa1234a0/10000090fa1234ff/", f"/etc/nodedev.d/vhba/{gone}.json"])

    def left(warns: str | None = None, **chosen: Any) -> tuple[list[str], list[str]]:
        played = fleet.play("hostdev.nodedev.drain", warns=warns, **chosen)
        assert played.status == 0, played.output
        return running(gpu), [each.split()[0] for each in vports(fc)]

    for wrong in ("scsi_host35", ["0000:3d:00.9"]):
        played = fleet.play("hostdev.nodedev.drain", "--limit", "fc01", warns="is called", drain_parents=wrong)
        assert played.status == 2, played.output
        assert " is a device of this host, by libvirt's names" in played.output
    # Nothing is defined on either of the other host, which has the one.
    cards = "pci_0000_3d_00_0, scsi_host4"
    assert left(drain_parents=cards, drain_kinds=["mdev"], warns="called pci_0000_3d_00_0") == ([OTHER], ["host3"])
    assert left(drain_kinds=["mdev"]) == ([], ["host3"])
    assert left(drain_parents="scsi_host3,pci_0000_3d_00_0") == ([], [])


def managed(host: Host) -> list[str]:
    """The UUIDs of mediated devices that come with their guests."""
    found = host.done("definition_facts", kinds=["mdev"])["ansible_facts"]["nodedev_definitions"]["mdev"]
    return [each["uuid"] for each in found if each["managed"]]


def functions(host: Host) -> list[str]:
    """The virtual functions of a host, of all cards."""
    return sorted(host.run(["sh", "-c", "ls -d /sys/bus/pci/devices/*/virtfn*"]).stdout.split())


def test_hosts_of_each_sort_are_provisioned(reach: Reach) -> None:
    """With the boot engine, by the playbook for all of a fleet and the roles for hosts of one sort."""
    # That is not to be zoned.
    gone = {"wwnn": "5001a4a1000000ff", "wwpn": "5001a4a0000000ff", "state": "absent"}
    fleet, hosts = reach(
        {"gpu01": "nvidia-mdev", "fc01": "fc", "mainframe01": LAB},
        gpu=GPU,
        fc={**FIBRE, "nodedev_vhbas": [*FIBRE["nodedev_vhbas"], gone]},
        mainframe={"nodedev_channels": ["ccw_0_0_0815"], **CRYPTO},
    )
    (fleet.folder / "roles.yml").write_text(ROLES)
    before = {name: host.state() for name, host in hosts.items()}
    foretold = fleet.done("roles.yml", "--check")
    assert {name: host.state() for name, host in hosts.items()} == before
    assert "scsi_host5 (10000090fa1234b0): " in foretold.output
    done = fleet.done("roles.yml")
    assert '"io_subchannel: css_0_0_0050"' in done.output
    assert 'model=\\"vfio-ccw\\"' in done.output
    assert 'model=\\"vfio-ap\\"' in done.output
    assert (len(running(hosts["gpu01"])), len(running(hosts["mainframe01"]))) == (4, 2)
    zoned = re.search(
        r'TASK \[hostdev.nodedev.fc_host : Tell what is to be zoned\].*?"msg": (\[.*?\])', done.output, re.DOTALL
    )
    assert zoned is not None
    assert (len({*json.loads(zoned[1])}), len(vports(hosts["fc01"]))) == (3, 3)
    again = fleet.done("hostdev.nodedev.provision")
    assert {name: counts["changed"] for name, counts in again.recap.items()} == dict.fromkeys(hosts, 0)
    assert verdict(fleet, status=0) == {name: [] for name in hosts}


@pytest.mark.parametrize(
    ("vendor", "arguments", "tools", "advice"),
    [
        (
            "GenuineIntel",
            "quiet",
            ["/usr/sbin/update-grub"],
            " (VT-d), and have intel_iommu=on among the kernel's arguments: GRUB_CMDLINE_LINUX in /etc/default/grub,"
            " then update-grub",
        ),
        (
            "GenuineIntel",
            "quiet intel_iommu=off",
            ["/usr/sbin/grubby"],
            " (VT-d), and have intel_iommu=on and no intel_iommu=off among the kernel's arguments:"
            ' grubby --update-kernel=ALL --remove-args=\\"intel_iommu=off\\" --args=\\"intel_iommu=on\\"',
        ),
        (
            "AuthenticAMD",
            "amd_iommu=off iommu=pt",
            ["/usr/bin/rpm-ostree", "/usr/sbin/grubby"],
            " (AMD-Vi), and have no amd_iommu=off among the kernel's arguments:"
            " rpm-ostree kargs --delete-if-present=amd_iommu=off",
        ),
        ("AuthenticAMD", "quiet", [], " (AMD-Vi); the kernel's arguments do not stand in its way"),
        ("GenuineIntel", "intel_iommu=on", [], " (VT-d); the kernel's arguments do not stand in its way"),
    ],
)
def test_a_host_without_an_iommu_is_told_the_arguments(
    start: Callable[..., Host], tmp_path: Path, vendor: str, arguments: str, tools: list[str], advice: str
) -> None:
    scenario = {
        "hostname": "bare",
        "proc": {"cmdline": f"root=/dev/sda1 {arguments}\n", "cpuinfo": f"processor : 0\nvendor_id : {vendor}\n"},
        "devices": [{"pci": {"address": "0000:3d:00.0", "vendor": 0x10DE, "device": 0x1EB8, "class": 0x030200}}],
    }
    host = start(scenario)
    for tool in ("/usr/sbin/update-grub", "/usr/sbin/grubby", "/usr/bin/grubby", "/usr/bin/rpm-ostree"):
        host.run(["install", "/dev/null", tool] if tool in tools else ["rm", "-f", tool])
    playbook = tmp_path / "play.yml"
    playbook.write_text("[{hosts: all, gather_facts: false, roles: [hostdev.nodedev.gpu_host]}]")
    before = host.state()
    with pytest.raises(AssertionError) as failure:
        play(host, playbook, tmp_path, nodedev_drivers=[{"device": "pci_0000_3d_00_0", "driver": "vfio-pci"}])
    told = (
        f"The IOMMU is off, so that no guest can be given a device. Switch it on in the firmware{advice}. Then reboot"
    )
    assert told in str(failure.value)
    assert host.state() == before


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("fc_host", "No HBA of this host can carry vHBAs: this host has no Fibre Channel HBA"),
        ("s390_host", "This host has no subchannels, so that it has no channel devices for guests"),
    ],
)
def test_a_host_of_another_sort_is_refused(host: Host, tmp_path: Path, role: str, told: str) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [f"hostdev.nodedev.{role}"]}]))
    before = host.state()
    with pytest.raises(AssertionError) as failure:
        play(host, playbook, tmp_path)
    assert told in str(failure.value)
    assert host.state() == before


def test_the_role_more_than_once(host: Host, tmp_path: Path) -> None:
    """Each time of what it is given then, also where a tag chooses that; what was done before is not told again."""
    role = {"name": "hostdev.nodedev.nodedev"}
    tasks = [
        {"import_role": role, "vars": {"nodedev_mdevs": GPU["nodedev_mdevs"]}, "tags": "first"},
        {"import_role": role, "vars": {"nodedev_mdev_pools": GPU["nodedev_mdev_pools"]}, "tags": "second"},
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    tags = "--tags", "first,second", "--skip-tags", "persistence"
    both = play(host, playbook, tmp_path, *tags)
    assert len(running(host)) == 4
    first, second = (each.partition("]")[0] for each in both.split('"msg": [')[1:])
    assert (f"create mdev {UUID}" in first, f"create mdev {UUID}" in second) == (True, False)
    assert ("record pool desktops" in first, "record pool desktops" in second) == (False, True)
    host.done("mdev_pool", name="desktops", state="absent")
    assert "changed=1 " in play(host, playbook, tmp_path, "--tags", "second", "--skip-tags", "persistence")
    assert len(running(host)) == 4


def test_an_option_that_no_module_has_is_refused(host: Host, tmp_path: Path) -> None:
    before = host.state()
    mdev = {"uuid": UUID, "type": "nvidia-232", "parent": CARD, "persistant": False}
    with pytest.raises(AssertionError) as failure:
        play(host, ROOT / "playbooks" / "provision.yml", tmp_path, "--skip-tags", "persistence", nodedev_mdevs=[mdev])
    assert "nodedev_mdevs: persistant: no option of hostdev.nodedev.mdev" in str(failure.value)
    assert host.state() == before
