# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions, vGPUs and vHBAs of one host are back after one boot, with a reloaded driver, when a card comes anew.

Mediated devices, and what is damaged or late, are in test_boot.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import qemu, test_functions, test_vgpus, test_vhba
from .machine import Machine
from .playbooks import Playbooks
from .test_functions import DEVICES, FUNCTIONS, LIMIT, MAC, UUID, driver, sriov
from .test_vgpus import NAMES, chosen, pool
from .test_vhba import PAIRS, vhba

FIRST, SECOND, THIRD, FOURTH = FUNCTIONS
DRIVERS = {FIRST: "igbvf", SECOND: "vfio-pci", THIRD: "vgpusim", FOURTH: "igbvf"}
MEDIATED = {"uuid": UUID, "parent": THIRD, "type": "vgpusim-11"}
FIBRE = "fibre"
# As nodedev-restore --list has them: what makes the functions comes before what is on them.
ORDER = "listed.stdout_lines | map('regex_replace', '[: ].*', '') | list == ['the', 'driver', 'driver', 'mdev']"
DEFINED: list[dict[str, Any]] = [
    # Their driver is named: driverctl of Debian 13 has vfio-pci take all of the kind that are free.
    sriov(numvfs=4, driver="igbvf", vfs=[{"index": 0, "mac": MAC, "vlan": 100}]),
    driver(SECOND, driver="vfio-pci"),
    driver(THIRD, driver="vgpusim"),
    {"hostdev.nodedev.mdev": MEDIATED},
    {"command": "nodedev-restore --list", "register": "listed"},
    {"assert": {"that": ORDER}},
    test_vgpus.FUNCTIONS,
    chosen("vfio", count=3, params="frame_rate_limiter=0"),
    {"assert": {"that": "made.instances | map(attribute='address') | first == '0000:04:10.0'"}},
    chosen("mdev", count=2),
    *(vhba(wwnn=wwnn, wwpn=wwpn) for wwnn, wwpn in PAIRS),
    # The pool's come after the single ones, and are restored between and before them.
    {"hostdev.nodedev.vhba_pool": {"name": FIBRE, "count": 2}, "register": "vhbas"},
    {"assert": {"that": "vhbas.instances | map(attribute='vport_state') | unique == ['Active']"}},
]
# What is back is as it is wished.
UNCHANGED: list[dict[str, Any]] = [
    *({**pool(each), "failed_when": "made is failed or made is changed"} for each in NAMES),
    {"hostdev.nodedev.vhba_pool": {"name": FIBRE}, "register": "vhbas"},
    {"assert": {"that": "vhbas is not changed"}},
]
GONE: list[dict[str, Any]] = [
    {"hostdev.nodedev.mdev": {"uuid": UUID, "state": "absent"}},
    driver(SECOND, state="absent"),
    driver(THIRD, state="absent"),
    sriov(state="absent", force=True),
    *(pool(each, state="absent") for each in NAMES),
    test_vgpus.NO_FUNCTIONS,
    *(vhba(wwnn=wwnn, wwpn=wwpn, state="absent") for wwnn, wwpn in PAIRS),
    {"hostdev.nodedev.vhba_pool": {"name": FIBRE, "state": "absent"}},
]
# The kernel destroys the HBA after the write has returned, and the module can be unloaded only then.
RELOAD_FCOE = (
    "systemctl stop fctarget fabric && echo fcoe0 > /sys/bus/fcoe/ctlr_destroy"
    f" && for n in $(seq {LIMIT}); do rmmod fcoe 2> /dev/null && break; sleep 0.5; done && modprobe fcoe"
    " && echo fcoe0 > /sys/bus/fcoe/ctlr_create && echo 1 | tee /sys/bus/fcoe/devices/ctlr_*/enabled"
)


@pytest.fixture(scope="module")
def before(machine: Machine, playbooks: Playbooks, engine: None) -> Iterator[dict[str, Any]]:
    """The vHBAs by WWPN as they were before one reboot for all that this file asks; nothing is left afterwards."""
    machine.run(test_functions.UP)
    test_vhba.start_fabric(machine)
    playbooks.tasks(DEFINED)
    vhbas: dict[str, Any] = test_vhba.observe(machine, [wwpn for _wwnn, wwpn in PAIRS], "Active")["vhbas"]
    machine.reboot()
    yield vhbas
    machine.run(f"{test_functions.UP}; systemctl stop fctarget fabric", check=False)
    playbooks.tasks(GONE)


def unplug(machine: Machine, card: dict[str, str], address: str) -> None:
    """Have a card gone, and plug it in again."""
    machine.monitor("device_del", id=card["id"])
    machine.run(f"timeout {LIMIT} sh -c 'while test -e {DEVICES}/{address}; do sleep 0.2; done'")
    machine.plug_in(card)


def test_functions_with_their_drivers_and_what_is_on_one(machine: Machine, before: dict[str, Any]) -> None:
    """Functions, their drivers, then a mediated device on one of them, beside the two of the pool below."""
    boots = [
        test_functions.observe(machine, 4, DRIVERS),
        test_functions.observe(machine, 4, DRIVERS, "modprobe -r igb && modprobe igb"),
    ]
    for seen in boots:
        assert seen["functions"] == DRIVERS
        assert (UUID in seen["mdevs"], len(seen["mdevs"])) == (True, 3), seen["journal"]
        assert seen["failed"] == "", seen["journal"]
        function = seen["links"][0]["vfinfo_list"][0]
        assert (function["address"], function["vlan_list"][0]["vlan"]) == (MAC, 100)
    unplug(machine, qemu.NETWORK_CARD, test_functions.CARD)
    seen = test_functions.observe(machine, 4, DRIVERS)
    assert (seen["functions"], UUID in seen["mdevs"], len(seen["mdevs"])) == (DRIVERS, True, 3), seen["journal"]


def test_pools_of_both_frameworks(machine: Machine, before: dict[str, Any]) -> None:
    """Functions first, by the vendor's tool, then their types, some time later; the same when the card comes anew."""
    found = [
        test_vgpus.observe(machine, 3, 2),
        test_vgpus.observe(machine, 3, 2, "rmmod nvidiasim && modprobe nvidiasim"),
    ]
    unplug(machine, qemu.GRAPHICS_CARD, test_vgpus.CARD)
    found.append(test_vgpus.observe(machine, 3, 2))
    for seen in found:
        assert seen["vgpus"] == ["11"] * 3 + ["0"] * 5, seen["journal"]
        assert (seen["params"], seen["mdevs"], seen["failed"]) == ("frame_rate_limiter=0", 2, ""), seen["journal"]


def test_vhbas_with_a_fabric_that_comes_later(machine: Machine, before: dict[str, Any]) -> None:
    wanted, seeing = [*before], PAIRS[0][1]
    assert len(wanted) == len(PAIRS) + 2
    # There is no fabric yet, as where a switch takes longer to start than the host.
    booted = test_vhba.observe(machine, wanted, "Linkdown")
    assert set(booted["vhbas"]) == set(wanted)
    assert booted["failed"] == "", booted["journal"]
    assert [booted["vhbas"][name]["hosts"] for name in wanted] != [before[name]["hosts"] for name in wanted]
    start = f"systemctl start fabric fctarget && fctarget allow {seeing}"
    assert test_vhba.observe(machine, [seeing], "Active", 2, start)["vhbas"][seeing]["luns"] == 2
    again = test_vhba.observe(machine, wanted, "Linkdown", 0, f"({RELOAD_FCOE}) > /dev/null")
    assert set(again["vhbas"]) == set(wanted)
    assert again["failed"] == "", again["journal"]


def test_they_are_as_wished(playbooks: Playbooks, before: dict[str, Any]) -> None:
    playbooks.tasks(UNCHANGED)
