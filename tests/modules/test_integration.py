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
