# SPDX-License-Identifier: GPL-3.0-or-later
"""MIG, functions, vGPUs and vHBAs of one host are back after one boot, with a reloaded driver, when a card comes anew.

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
# Of the graphics card, which MIG divides at the boot, and not any more when it is plugged in anew.
GRAPHICS = f"{DEVICES}/{test_vgpus.CARD}"
INSTANCES, SHARE, PARAMS = {"1g.1gb": 3}, "SIM V100-1-1Q", "frame_rate_limiter=0"


def mig(**wish: Any) -> dict[str, Any]:
    return {"hostdev.nodedev.mig": {"device": test_vgpus.CARD, "wait_timeout": 240, **wish}, "register": "divided"}


DIVIDED: list[dict[str, Any]] = [
    mig(enabled=True),
    test_vgpus.FUNCTIONS,
    mig(instances=INSTANCES),
    pool("vfio", type=SHARE, parents={"names": [NAMES["vfio"]]}, count=3, params=PARAMS),
]
UNDIVIDED: list[dict[str, Any]] = [pool("vfio", state="absent"), mig(state="absent")]
SHARED: list[dict[str, Any]] = [
    chosen("vfio", count=3, params=PARAMS),
    {"assert": {"that": "made.instances | map(attribute='address') | first == '0000:04:10.0'"}},
]
# What the module for tests has written to the kernel's log, once all is there: what came after what.
CAME = [
    "virtual functions: 0",
    "MIG is on, GPU instances: 0",
    "virtual functions: 8",
    "MIG is on, GPU instances: 3",
    *["type 31"] * 3,
]
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
    *DIVIDED,
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
    *UNDIVIDED,
    pool("mdev", state="absent"),
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


def came(machine: Machine) -> list[str]:
    """What the module for tests has written to the kernel's log of this boot, oldest first."""
    lines = machine.run("dmesg --notime").stdout.splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("nvidia 0000:04:")]


def test_a_divided_card_and_pools_of_both_frameworks(
    machine: Machine, playbooks: Playbooks, before: dict[str, Any]
) -> None:
    """MIG's mode, functions by the vendor's tool, GPU instances, then types; of a card that comes anew without MIG."""
    found = [test_vgpus.observe(machine, 3, 2)]
    lines = came(machine)
    found.append(test_vgpus.observe(machine, 3, 2, "rmmod nvidiasim && modprobe nvidiasim"))
    assert lines == CAME, found[0]["journal"]
    assert came(machine)[len(lines) :] == CAME, found[1]["journal"]
    instances = "".join(f"{number} 19 {number - 1} 1 1 1\n" for number in (1, 2, 3))
    assert machine.run(f"cat {GRAPHICS}/nvidiasim/mig").stdout == f"1\n{instances}"
    places = machine.run(f"cat {GRAPHICS}/virtfn[012]/nvidia/gpu_instance_id").stdout.split()
    assert sorted(places) == ["1", "2", "3"]
    # Those that the driver's events ask for find all there already.
    journal = [line.partition(" of pci_0000_04_") for line in found[0]["journal"].splitlines()]
    assert [what for what, card, _rest in journal if card and what.startswith("restored: ")] == [
        "restored: the virtual functions",
        "restored: the MIG mode",
        *["restored: the vGPU"] * 3,
    ]
    again = [{**task, "register": "again", "failed_when": "again is failed or again is changed"} for task in DIVIDED]
    playbooks.tasks([*again, *UNDIVIDED, *SHARED])
    unplug(machine, qemu.GRAPHICS_CARD, test_vgpus.CARD)
    found.append(test_vgpus.observe(machine, 3, 2))
    for seen, type in zip(found, ("31", "31", "11")):
        assert seen["vgpus"] == [type] * 3 + ["0"] * 5, seen["journal"]
        assert (seen["params"], seen["mdevs"], seen["failed"]) == (PARAMS, 2, ""), seen["journal"]


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
