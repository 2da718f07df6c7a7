# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/start.md, from a bare host to a guest: each of its files and commands as printed, on simulated hosts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Host
from pages import Controller, blocks, follow, page
from plays import reach
from simhost import scenario

TEXT = page("start.md")
BLOCKS = [*blocks(TEXT)]
INSTALL = "ansible-galaxy collection install"
# The chapters that both ways share, and those that are one.
SHARED = ["The controller", "What the hosts need"]
WAYS = {"A GPU host": "gpu01", "A Fibre Channel host": "fc01"}
UNIT = "/etc/systemd/system/nodedev-restore.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/nodedev-restore.service"
INSTALLED = (
    UNIT,
    ENABLED,
    "/usr/sbin/nodedev-restore",
    "/usr/lib/nodedev",
    "/etc/udev/rules.d/61-nodedev-restore.rules",
)


def zoned() -> dict[str, Any]:
    """The Fibre Channel host, whose storage lets the vHBA of the page see two LUNs: somebody has read what it says."""
    found: dict[str, Any] = yaml.safe_load(scenario.find("fc").read_text())
    (wwpn,) = set(re.findall(r"zone ([0-9a-f]{16}) ", TEXT))
    for device in found["devices"]:
        zones = device.get("behaviour", {}).get("fc_host", {}).get("zones", {})
        if "5001a4a0000000a1" in zones:
            zones[wwpn] = zones["5001a4a0000000a1"]
    return found


@pytest.fixture
def hosts(start: Callable[..., Host]) -> dict[str, Host]:
    return {"gpu01": start("nvidia-mdev"), "fc01": start(zoned())}


def boot(host: Host) -> None:
    """Reboot a host and do what its systemd would, if the role has enabled the unit."""
    host.reboot()
    assert host.realpath(ENABLED) == UNIT
    (command,) = re.findall(r"^ExecStart=(.*)$", host.read(UNIT), re.MULTILINE)
    host.run(command.split())


@pytest.mark.parametrize("way", WAYS)
def test_each_file_and_command(way: str, hosts: dict[str, Host], tmp_path: Path, archive: Path) -> None:
    controller = Controller(tmp_path, archive)
    reach(controller, hosts)
    host = hosts[WAYS[way]]
    before = host.state()
    output, section = "", ""
    for block in BLOCKS:
        if block.chapter in (*SHARED, way) and INSTALL not in block.text:
            if block.section == "After a boot" != section:
                assert host.state() != before
                boot(host)
            section = block.section
            output = follow(block, controller, output)
    assert section == "All back"
    assert host.state() == before
    assert host.run(["ls", "-d", *INSTALLED], check=False).stdout == ""


def test_nothing_of_the_page_is_left_out() -> None:
    assert {block.chapter for block in BLOCKS} == {*SHARED, *WAYS}
    assert [block.chapter for block in BLOCKS if INSTALL in block.text] == ["The controller"]
    # Each way has all of its sections, so that none is without its half.
    ways = [[block.section for block in BLOCKS if block.chapter == way] for way in WAYS]
    assert [*dict.fromkeys(ways[0])] == [*dict.fromkeys(ways[1])]


def test_it_is_installed_as_the_readme_says() -> None:
    (block,) = (block for block in BLOCKS if INSTALL in block.text)
    readme = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    assert [line for line in block.text.splitlines() if line not in readme] == []


def test_the_ad_hoc_commands_of_readme(hosts: dict[str, Host], tmp_path: Path, archive: Path) -> None:
    controller = Controller(tmp_path, archive)
    reach(controller, hosts)
    for block in BLOCKS:
        if block.chapter in SHARED and block.language == "yaml":
            controller.write(block)
    commands = re.findall(r"^    (ansible .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = [controller.run(f"ANSIBLE_INVENTORY=inventory.yml {command}") for command in commands]
    assert ["+- pci_0000_3d_00_0" in each for each in told] == [True, False, False]
    assert ["GRID T4-4Q" in each for each in told] == [False, True, False]
    assert ["scsi_host3" in each for each in told] == [False, False, True]
    assert told[0].count("\n") < 40
