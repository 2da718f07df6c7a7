# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that come with the collection, and README's: they do what they say, and nothing in them warns."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, OTHER, OTHER_CARD, ROOT, UUID, Host, definitions, running
from plays import play, play_all
from simhost.scenario import FOLDER
from simhost.test_ap import scenario
from test_restore import COMMAND, HOOK, restore
from vhbas import vports

FIRST = re.compile(r"\n### A first playbook\n.*?\n```yaml\n(.*?)```\n", re.DOTALL)
VGPUS = [
    {"uuid": UUID, "type": "GRID T4-4Q", "parent": "pci_0000_3d_00_0"},
    {"uuid": OTHER, "type": "GRID T4-8Q", "parent": OTHER_CARD},
]
POOLS = [
    {"name": "desktops", "type": "GRID T4-4Q", "count": 4, "parents": {"driver": "nvidia"}},
    {"name": "graphics", "type": "GRID T4-4Q", "count": 2},
]
# A playbook, its variables, the same without any device, and how many devices it makes.
SHIPPED: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "provision_gpu_host.yml": ({"vgpus": VGPUS}, {"vgpus": []}, 2),
    "provision_vgpu_pools.yml": ({"pools": POOLS, "vgpus": [{**VGPUS[0], "parent": CARD}]}, {"pools": []}, 7),
}
# For a play on a host that has the boot engine already.
DEVICES_ALONE = ("--skip-tags", "persistence")
CRYPTO = {
    "nodedev_ap_masks": [{"adapters": [5], "domains": []}],
    "nodedev_mdevs": [
        {
            "uuid": UUID,
            "type": "vfio_ap-passthrough",
            "parent": "matrix",
            "attrs": [{"assign_adapter": 5}, {"assign_domain": 4}],
        }
    ],
}
# Functions, a subchannel and crypto queues on one host.
LAB: dict[str, Any] = yaml.safe_load((FOLDER / "functions.yml").read_text())
LAB["devices"] += scenario()["devices"]
LAB["modules"] |= scenario()["modules"]


def quiet(output: str) -> str:
    """An output in which nothing warns, be it of the host or of what Ansible will do away with."""
    assert "WARNING]" not in output, output
    return output


def test_all_playbooks_are_tried() -> None:
    # That for mainframes is below, adopt.yml in test_migration.py, report.yml in test_report.py; more in test_fleet.
    fleets = {"assert.yml", "drain.yml", "export.yml", "provision.yml", "provision_fc_hosts.yml"}
    others = {"adopt.yml", "provision_s390_hosts.yml", "report.yml", *fleets}
    assert {path.name for path in (ROOT / "playbooks").glob("*.yml")} == {*SHIPPED, *others}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_playbook_of_the_collection(host: Host, tmp_path: Path, name: str) -> None:
    wish, nothing, count = SHIPPED[name]
    playbook = ROOT / "playbooks" / name

    def played(*options: str, **variables: Any) -> str:
        return quiet(play(host, playbook, tmp_path, *options, target="all", **variables))

    assert "failed=0" in played("--check", "--diff", **nothing)
    assert host.run(["test", "-e", COMMAND], check=False).returncode == 1
    played(**nothing)
    foretold = played("--check", "--diff", *DEVICES_ALONE, **wish)
    assert (running(host), definitions(host)) == ([], [])
    done = played(*DEVICES_ALONE, **wish)
    assert len(running(host)) == count
    assert running(host) == definitions(host)
    # A pool is foretold as if the single devices, which are made before it, had left their cards to it.
    assert placeless(steps(done)) == placeless(steps(foretold)) != []
    again = played("--diff", **wish)
    assert "changed=0" in again
    assert "+++" not in again
    assert steps(again) == []
    before = running(host)
    host.reboot()
    assert restore(host).returncode == 0
    assert running(host) == before


@pytest.mark.parametrize(
    ("name", "variable", "what"),
    [
        ("provision_gpu_host.yml", "vgpus", "mappings of"),
        ("provision_vgpu_pools.yml", "pools", "mappings of"),
        ("provision_s390_hosts.yml", "channels", "channel devices"),
    ],
)
def test_a_playbook_without_its_variable(host: Host, tmp_path: Path, name: str, variable: str, what: str) -> None:
    """Or with another value than a list of what it takes."""
    for wrong in ({}, {variable: "x"}, {variable: {"name": "x"}}, {variable: [{"type": "GRID T4-4Q"}]}):
        with pytest.raises(AssertionError) as failure:
            play(host, ROOT / "playbooks" / name, tmp_path, target="all", **wrong)
        assert f"{variable} is required: a list of {what} " in str(failure.value)
    assert host.run(["test", "-e", COMMAND], check=False).returncode == 1


def test_a_list_of_channels_is_a_list(host: Host, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as failure:
        play(host, ROOT / "playbooks" / "provision_s390_hosts.yml", tmp_path, target="all", channels="ccw_0_0_0815")
    assert "channels is required: a list of channel devices " in str(failure.value)


def placeless(plans: list[str]) -> list[str]:
    """Plans without what comes on which parent."""
    return [re.sub(r" on pci_.*", "", each) for each in plans]


def steps(output: str) -> list[str]:
    """The plans that a playbook shows in the end."""
    (found,) = re.findall(r'\nTASK \[\S+ : Show what was done\] .*?"msg": (\[.*?\])\n', output, re.DOTALL)
    listed: list[str] = yaml.safe_load(found)
    return listed


def test_the_plays_of_readme(start: Callable[..., Host], tmp_path: Path) -> None:
    (text,) = FIRST.findall((ROOT / "README.md").read_text())
    playbook = tmp_path / "readme.yml"
    playbook.write_text(text)
    hosts = {"gpu_hosts": start("nvidia-vfio"), "fibre_channel_hosts": start(zoned("5001a4a2ecd0a2fb"))}
    quiet(play_all(hosts, playbook, tmp_path, "--check", "--diff"))
    quiet(play_all(hosts, playbook, tmp_path))
    again = quiet(play_all(hosts, playbook, tmp_path))
    assert again.count("changed=0") == len(hosts)
    gpu, fibre = hosts.values()
    assert (vgpus(gpu), vports(fibre)) == (13, ["host3 fb Active"])
    for host in hosts.values():
        host.reboot()
        assert restore(host).returncode == 0
    assert (vgpus(gpu), vports(fibre)) == (13, ["host3 fb Active"])
    assert gpu.forbidden_writes() == []


def vgpus(host: Host) -> int:
    """How many functions of a host are vGPUs."""
    found = host.run(["sh", "-c", "cat /sys/bus/pci/devices/*/nvidia/current_vgpu_type"]).stdout.split()
    return sum(each != "0" for each in found)


def test_a_mainframe_whose_channels_are_for_guests(start: Callable[..., Host], tmp_path: Path) -> None:
    """The device goes offline, its subchannel to the driver for guests, and one mediated device is made there."""
    host = start(LAB)
    crypto = {"ap_masks": CRYPTO["nodedev_ap_masks"], "mdevs": CRYPTO["nodedev_mdevs"]}

    def played(*options: str, channels: list[str], **more: Any) -> str:
        playbook = ROOT / "playbooks" / "provision_s390_hosts.yml"
        return quiet(play(host, playbook, tmp_path, *options, target="all", channels=channels, **more))

    assert steps(played(channels=[])) == []
    foretold = played("--check", *DEVICES_ALONE, channels=["ccw_0_0_0815"])
    assert steps(foretold)[1] == "set ccw_0_0_0815 (0.0.0815) offline"
    assert host.path("/sys/bus/css/devices/0.0.0050/driver").readlink().name == "io_subchannel"
    done = played(*DEVICES_ALONE, channels=["ccw_0_0_0815"], **crypto)
    assert 'model=\\"vfio-ccw\\"' in done
    assert 'model=\\"vfio-ap\\"' in done
    assert (len(running(host)), steps(played(channels=["ccw_0_0_0815"], **crypto))) == (2, [])
    host.reboot()
    assert restore(host).returncode == 0
    assert len(running(host)) == 2


def test_a_host_whose_functions_are_vgpus(start: Callable[..., Host], tmp_path: Path) -> None:
    host = start("nvidia-vfio")
    wish = {"vgpu_cards": ["pci_0000_47_00_0"], "vgpu_pools": [{"name": "desks", "type": "L40S-8Q", "count": 14}]}

    def played(*options: str) -> str:
        playbook = ROOT / "playbooks" / "provision_vgpu_pools.yml"
        return quiet(play(host, playbook, tmp_path, *options, target="all", **wish))

    played("--check")
    assert len(steps(played())) > 14
    assert (steps(played()), vgpus(host)) == ([], 14)
    host.reboot()
    assert restore(host).returncode == 0
    assert vgpus(host) == 14


GPU_INSTANCES = """
- hosts: all
  gather_facts: false
  roles: [hostdev.nodedev.gpu_host]
  vars:
    nodedev_mig: [{device: pci_0000_41_00_0, instances: {1g.18gb: 1, 3g.71gb: 1}}]
    nodedev_sriov: [{device: pci_0000_41_00_0, numvfs: max}]
    nodedev_vgpu_pools: [{name: mix, types: {H200X-1-18C: 1, H200X-3-71C: 1}}]
"""


def test_a_card_that_is_divided_with_a_mix_on_it(start: Callable[..., Host], tmp_path: Path) -> None:
    host = start("nvidia-mig")
    playbook = tmp_path / "play.yml"
    playbook.write_text(GPU_INSTANCES)
    quiet(play(host, playbook, tmp_path, "--check"))
    quiet(play(host, playbook, tmp_path))
    assert "changed=0" in quiet(play(host, playbook, tmp_path))
    assert vgpus(host) == 2
    host.reboot()
    assert restore(host).returncode == 0
    assert vgpus(host) == 2


def zoned(wwpn: str) -> dict[str, Any]:
    """The host with HBAs, with a machine-id by which the vHBA called database has a WWPN that storage is zoned for."""
    scenario = yaml.safe_load((FOLDER / "fc.yml").read_text().replace("5001a4a0000000a1", wwpn))
    return {**scenario, "files": {"/etc/machine-id": "0123456789abcdef0123456789abcdef\n"}}


ROLE = """
- hosts: all
  gather_facts: false
  roles:
    - hostdev.nodedev.persistence
"""


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("/nowhere/python3", "there is no program of this path"),
        ("python3", "it does not begin with /"),
        ("/run/old", "it is Python 3.8.1"),
        ("/run/bare", "No module named 'pyudev'"),
    ],
)
def test_an_interpreter_that_cannot_run_the_boot_engine(host: Host, tmp_path: Path, python: str, why: str) -> None:
    for name, said in (("old", "it is Python 3.8.1"), ("bare", "ModuleNotFoundError: No module named 'pyudev'")):
        host.write(f"/run/{name}", f'#!/bin/sh\necho trace >&2\necho "{said}" >&2\nexit 1\n')
        host.run(["chmod", "755", f"/run/{name}"])
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)
    for options in ((), ("--check",)):
        with pytest.raises(AssertionError) as failure:
            play(host, playbook, tmp_path, *options, persistence_python=python)
        assert (
            f"{python} cannot run the boot engine, which needs the path of a Python 3.9 or later with pyudev: "
            in str(failure.value)
        )
        assert why in str(failure.value)
    assert host.run(["test", "-e", COMMAND], check=False).returncode == 1


def test_the_interpreter_that_is_chosen_runs_at_boot(host: Host, tmp_path: Path) -> None:
    host.write("/run/my own", f'#!/bin/sh\necho by mine >&2\nexec {host.python} "$@"\n')
    host.run(["chmod", "755", "/run/my own"])
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)
    play(host, playbook, tmp_path, persistence_python="/run/my own")
    for path in (COMMAND, HOOK):
        assert "exec '/run/my own' -I -B -c" in host.read(path)
    assert "by mine" in host.run([COMMAND, "--list"]).stderr
