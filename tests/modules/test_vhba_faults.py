# SPDX-License-Identifier: GPL-3.0-or-later
"""The vhba module where steps fail, runs are killed, and several run at once."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Host
from simhost.testing import eventually
from vhbas import CREATE, DEFINE, DELETE, HBAS, UNDEFINE, WWNN, WWPN, disks, kept, made_by_hand, vports

MEANINGS = {
    "EINVAL": "the driver does not take these names: one of its ports has the WWPN already",
    "EEXIST": "the HBA has a vport of these names already",
    "ENODEV": "the HBA's link is down, or it is being removed",
    "EIO": "the HBA refuses: look at the kernel log",
    "EPERM": "the HBA is in a topology without NPIV, or root is needed",
}


@pytest.mark.parametrize(("errno", "meaning"), MEANINGS.items(), ids=MEANINGS)
def test_a_create_that_the_kernel_refuses(fc: Host, errno: str, meaning: str) -> None:
    fc.fault("host3/vport_create", op="write", errno=errno)
    message = fc.vhba_refused(parent="scsi_host3")
    assert message.startswith(f"could not {CREATE}: writing '{WWPN}:{WWNN}' to /sys/class/fc_host/host3/vport_create ")
    assert f"failed with {errno} (" in message
    assert message.endswith(f"): {meaning}")
    fc.clear_faults()
    assert fc.vhba(parent="scsi_host3")["plan"] == [CREATE, DEFINE]


def test_an_hba_that_promises_too_much(fc: Host) -> None:
    fc.fault("host3/npiv_vports_inuse", op="read", content="0\n")
    for end in ("b1", "b2", "b3", "b4"):
        made_by_hand(fc, end)
    message = fc.vhba_refused(parent="scsi_host3")
    assert "no room is left on scsi_host3: " in message
    assert "ENOSPC (No space left on device): the HBA has no vport left" in message


def read_only(host: Host, again: bool = False) -> None:
    if not again:
        host.run(["mkdir", "-p", "/etc/nodedev.d/vhba"])
        host.run(["mount", "--bind", "/etc/nodedev.d", "/etc/nodedev.d"])
    host.run(["mount", "-o", f"remount,bind,{'rw' if again else 'ro'}", "/etc/nodedev.d"])


def test_a_definition_that_cannot_be_written_undoes_the_vhba(fc: Host) -> None:
    read_only(fc)
    message = fc.vhba_refused()
    assert message.startswith(f"could not {DEFINE}: ")
    assert "EROFS" in message
    assert message.endswith(f"undone: {CREATE}")
    read_only(fc, again=True)
    assert fc.vhba()["plan"] == [CREATE, DEFINE]


@pytest.mark.parametrize("state", ["inactive", "absent"])
def test_a_definition_that_cannot_be_written_keeps_the_vhba(fc: Host, state: str) -> None:
    fc.vhba("a3", persistent=state == "absent")
    read_only(fc)
    assert "EROFS" in fc.vhba_refused("a3", state=state)
    read_only(fc, again=True)
    assert [step.split(" ")[0] for step in fc.vhba("a3", state=state)["plan"]] == [
        "define" if state == "inactive" else "undefine",
        "delete",
    ]


UNITS = ["remove LUN 8:0:0:0 (/dev/sdb)", "remove LUN 8:0:0:1 (/dev/sdd)", "remove LUN 8:0:1:0 (/dev/sdc)"]
STEPS = [UNDEFINE, *UNITS, DELETE]
# Each write of a removal by force fails once.
REMOVALS = [
    ("8:0:0:0/delete", 1, "EBUSY", "(Device or resource busy): the unit is in use"),
    ("8:0:1:0/delete", 3, "EIO", "(Input/output error)"),
    ("host3/vport_delete", 4, "EBUSY", "(Device or resource busy): the vport is being made or deleted already"),
    ("host3/vport_delete", 4, "EIO", "(Input/output error)"),
]


@pytest.mark.parametrize(("path", "index", "errno", "reason"), REMOVALS)
def test_a_removal_that_fails_is_undone(fc: Host, path: str, index: int, errno: str, reason: str) -> None:
    fc.vhba()
    before = (vports(fc), kept(fc), disks(fc))
    fc.fault(path, op="write", errno=errno, times=1)
    message = str(fc.module("vhba", wwnn=WWNN, wwpn=WWPN, state="absent", force=True)["msg"])
    assert message.startswith(f"could not {STEPS[index]}: ")
    assert message.endswith(f" failed with {errno} {reason}. undone: {'; '.join(STEPS[:index][::-1])}")
    assert (vports(fc), kept(fc), disks(fc)) == before
    assert fc.vhba(state="absent", force=True)["plan"] == STEPS
    assert (vports(fc), kept(fc), disks(fc)) == ([], [], [])


def test_what_cannot_be_taken_back_is_told_with_the_reason(fc: Host) -> None:
    fc.fault("host3/vport_delete", op="write", errno="EIO")
    message = str(fc.module("vhba", wwnn="5001a4a1000000ff", wwpn="5001a4a0000000ff", parent="host3")["msg"])
    assert "was turned away: its vport_state is 'Fabric Rejected WWN'" in message
    assert "; it could not be deleted again: writing " in message
    assert "host3/vport_delete failed with EIO" in message
    assert vports(fc) == ["host3 ff Fabric Rejected WWN"]
    fc.clear_faults()
    assert fc.vhba("ff", state="absent")["changed"]


def test_a_state_that_cannot_be_read_takes_the_vhba_back(fc: Host) -> None:
    fc.fault("vport-*/fc_vports/*/vport_state", op="read", errno="EIO")
    result = fc.module("vhba", wwnn=WWNN, wwpn=WWPN)
    assert "vport_state failed with EIO" in result["msg"]
    fc.clear_faults()
    assert (vports(fc), kept(fc)) == ([], [])


def test_a_port_that_cannot_be_read_does_not_stop_others(fc: Host) -> None:
    fc.fault("fc_host/host4/port_state", op="read", errno="EIO")
    made = fc.vhba()
    assert (made["vhba"]["parent"], made["hindrances"]["scsi_host4"]) == (
        "scsi_host3",
        "its port does not tell its state",
    )


def test_two_runs_at_once_make_one_vhba(fc: Host) -> None:
    fc.fault("host3/vport_create", op="write", delay=0.3)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _run: fc.vhba(), range(3)))
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert {result["vhba"]["name"] for result in results} == {"scsi_host8"}
    assert vports(fc) == ["host3 a1 Active"]


def test_runs_at_once_share_the_hbas(fc: Host) -> None:
    ends = [f"b{number}" for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(fc.vhba, ends))
    assert sorted(result["vhba"]["parent"] for result in made) == ["scsi_host3"] * 3 + ["scsi_host4"] * 3
    assert kept(fc) == ends


def test_a_run_waits_for_another_no_longer_than_told(fc: Host) -> None:
    lock = f"/run/nodedev/locks/fc:{HBAS[3]}"
    fc.run(["mkdir", "-p", "/run/nodedev/locks"])
    with fc.popen(["flock", lock, "-c", "echo held; sleep 60"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert f"another run still works on fc:{HBAS[3]} after 0.3 s" in fc.vhba_refused(wait_timeout=0.3)
        other.kill()


def killed(host: Host, path: str, **arguments: Any) -> None:
    """Run the module and kill it when it has written to this file, which returns late."""
    host.fault(path, op="write", delay=30, times=1)
    values = {"ANSIBLE_MODULE_ARGS": {"wwnn": WWNN, "wwpn": WWPN, **arguments}}
    run = host.popen(
        [host.python, str(ROOT / "plugins" / "modules" / "vhba.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=host.environment,
    )
    assert run.stdin is not None
    run.stdin.write(json.dumps(values).encode())
    run.stdin.close()
    eventually(lambda: any(fault["hits"] for fault in host.faults()), 30)
    run.kill()
    run.wait(10)
    host.clear_faults()


def test_a_run_that_was_killed_is_completed_by_the_next(fc: Host) -> None:
    killed(fc, "host3/vport_create")
    assert (vports(fc), kept(fc)) == (["host3 a1 Active"], [])
    assert fc.vhba()["plan"] == [DEFINE]
    killed(fc, "8:0:0:1/delete", state="absent", force=True)
    assert (vports(fc), kept(fc), disks(fc)) == (["host3 a1 Active"], [], ["dm-0", "sdc"])
    assert fc.vhba(state="absent", force=True)["plan"] == ["remove LUN 8:0:1:0 (/dev/sdc)", DELETE]
    assert not fc.vhba(state="absent")["changed"]
    fc.vhba()
    killed(fc, "host3/vport_delete", state="inactive", force=True)
    eventually(lambda: vports(fc) == [])
    assert not fc.vhba(state="inactive")["changed"]
    assert re.sub("host[0-9]+", "host", str(fc.vhba()["vhba"]["name"])) == "scsi_host"
