# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of tests/integration, on the simulated host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Host, definitions, running
from plays import play
from vhbas import kept, vports

PLAYBOOKS = ROOT / "tests" / "integration"
# What is registered, and what stands in variables, are none of Python's own texts and numbers.
DOCUMENTS = """
- hosts: all
  gather_facts: false
  vars:
    resource: nvidia.com/desktops
    label: prod
    pools: {nodedev_vgpu_pools: [{name: a, parents: {names: ["{{ card }}"]}, types: {NVIDIA A16-4Q: 2}}]}
    mig: {nodedev_mig: [{device: "{{ card }}", enabled: true, instances: {1g.18gb: 3}}]}
    devices: "{{ ansible_facts.nodedev.devices }}"
  tasks:
    - hostdev.nodedev.vgpu_pool: {name: desktops, type: NVIDIA A16-4Q, count: 2}
      register: made
    - hostdev.nodedev.nodedev_facts: {capabilities: [pci]}
    - ansible.builtin.assert:
        that:
          - (made | hostdev.nodedev.consumer_config('kubevirt') | from_yaml).permittedHostDevices.mediatedDevices[0]
            == dict(mdevNameSelector='NVIDIA A16-4Q', resourceName='nvidia.com/NVIDIA_A16-4Q')
          - resource in made.instances | hostdev.nodedev.consumer_config('kubevirt', name=resource)
          - (pools | hostdev.nodedev.card_config_export(label, devices) | from_yaml)['vgpu-configs'].prod[0]
            ['vgpu-devices']['A16-4Q'] == 2
          - (mig | hostdev.nodedev.card_config_export(label, devices) | from_yaml)['mig-configs'].prod[0]
            ['mig-devices']['1g.18gb'] == 3
"""


def test_the_life_of_a_mediated_device(host: Host, tmp_path: Path) -> None:
    assert "failed=0" in play(host, PLAYBOOKS / "mdev.yml", tmp_path)
    assert (running(host), definitions(host)) == ([], [])


def test_the_boot_engine(host: Host, tmp_path: Path) -> None:
    assert "failed=0" in play(host, PLAYBOOKS / "boot_engine.yml", tmp_path)


def test_the_life_of_a_vhba(fc: Host, tmp_path: Path) -> None:
    output = play(fc, PLAYBOOKS / "vhba.yml", tmp_path)
    assert "failed=0" in output
    assert "Nothing is" in output
    assert (vports(fc), kept(fc)) == ([], [])


def test_the_life_of_functions_and_their_drivers(start: Callable[..., Host], tmp_path: Path) -> None:
    card = {"card": "0000:3b:00.0", "card_driver": "iavf"}
    assert "failed=0" in play(start("functions"), PLAYBOOKS / "functions.yml", tmp_path, **card)


def test_the_life_of_vgpus_that_are_functions(start: Callable[..., Host], tmp_path: Path) -> None:
    host = start("nvidia-vfio")
    types = {"small": "NVIDIA L40S-8Q", "same": "NVIDIA L40S-8A", "large": "NVIDIA L40S-24Q"}
    assert "failed=0" in play(host, PLAYBOOKS / "vgpu.yml", tmp_path, **types)
    current = host.run(["sh", "-c", "cat /sys/bus/pci/devices/*/nvidia/current_vgpu_type | sort -u"]).stdout
    kept = host.run(["find", "/etc", "/run", "-path", "*/nodedev.d/vgpu*", "-type", "f"], check=False).stdout
    assert (current, kept, host.forbidden_writes()) == ("0\n", "", [])


@pytest.mark.parametrize("scenario", ["nvidia-sriov", "nvidia-vfio-small"])
def test_the_life_of_a_pool_of_vgpus(start: Callable[..., Host], tmp_path: Path, scenario: str) -> None:
    """One playbook for both frameworks."""
    host = start(scenario)
    before = host.state()
    card = {"card": "pci_0000_06_00_0", "type": "NVIDIA A16-4Q", "total": 4}
    assert "failed=0" in play(host, PLAYBOOKS / "vgpu_pool.yml", tmp_path, **card)
    assert host.state() == before


def test_what_other_programs_are_told_of_cards(start: Callable[..., Host], tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(DOCUMENTS)
    assert "failed=0" in play(start("nvidia-sriov"), playbook, tmp_path, card="pci_0000_06_00_0")
