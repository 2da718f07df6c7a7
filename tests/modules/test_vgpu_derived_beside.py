# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived GPU instances beside what others have of a card, and what is told and kept of them."""

from __future__ import annotations

import json
from collections.abc import Callable

from conftest import Host, warnings
from test_mig import CALLED, CARD, DEFINITION, scenario, smi
from test_restore import restore
from test_vgpu_derived import LARGE, SMALL, host, pool, there

__all__ = ["host"]
RECORD = "/etc/nodedev.d/pool/p.json"


def test_what_is_to_last_later(host: Host) -> None:
    pool(host, type=SMALL, count=1, persistent=False)
    assert pool(host)["plan"] != []
    assert there(host)[2] == {"1g.18gb": 1}
    assert pool(host)["plan"] == []
    host.reboot()
    assert restore(host).returncode == 0
    assert pool(host)["plan"] == []


def test_instances_of_others_are_not_too_many_later(host: Host) -> None:
    smi(host, "mig", "-cgi", "9", "-C", "-i", CARD)
    pool(host, type=SMALL, count=1)
    assert restore(host, "--parent", CARD).returncode == 0
    assert there(host)[1] == {"3g.71gb": 1, "1g.18gb": 1}


def test_a_manager_of_the_cards_is_left_in_charge(host: Host) -> None:
    smi(host, "mig", "-cgi", "9", "-C", "-i", CARD)
    link = "/etc/systemd/system/multi-user.target.wants/nvidia-mig-manager.service"
    host.run(["ln", "-s", "/dev/null", link])
    pool(host, type=LARGE, count=1)
    assert "instances" not in json.loads(host.read(DEFINITION))


def test_what_stays_is_told(host: Host) -> None:
    told = f"GPU instances that no vGPU needs now stay on {CALLED}"
    assert not warnings(pool(host, type=SMALL, count=2))
    assert json.loads(host.read(RECORD))["mig"] == "derive"
    assert told in " ".join(warnings(pool(host, count=1)))
    assert not warnings(pool(host, count=1))
    gone = pool(host, state="absent")
    assert told in " ".join(warnings(gone))
    assert gone["derived"] == {}


def test_a_process_keeps_its_instance(start: Callable[..., Host]) -> None:
    host = start(scenario(mig="Enabled", processes=[{"pid": 4242, "name": "python3", "gpu_instance": 1}]))
    host.done("sriov", device=CARD, numvfs="max")
    smi(host, "mig", "-cgi", "9", "-C", "-i", CARD)
    assert pool(host, type=LARGE, count=1)["derived"] == {"pci_0000_41_00_0": {"3g.71gb": 1}}
