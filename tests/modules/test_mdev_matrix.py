# SPDX-License-Identifier: GPL-3.0-or-later
"""Mediated devices on the AP matrix of a simulated mainframe: whose queues are, who else has them, changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import OTHER, UUID, Host, warnings
from simhost.drivers.ap_bus import BUS
from simhost.test_ap import scenario
from test_restore import install, restore

DEVICE = f"/sys/bus/mdev/devices/{UUID}"
LOCK = "/run/lock/s390apconfig.lock"
ONE = [{"assign_adapter": "5"}, {"assign_domain": "4"}]
TWO = [*ONE, {"assign_domain": "0x5"}]
DEFINED = '{{"mdev_type": "vfio_ap-passthrough", "start": "auto", "attrs": [{}]}}'


@pytest.fixture
def lpar(start: Callable[..., Host]) -> Host:
    """A mainframe of which adapter 5 is for guests."""
    return prepared(start("ap"))


@pytest.fixture
def older(start: Callable[..., Host]) -> Host:
    """One whose devices cannot be changed while they run."""
    plan = scenario()
    plan["devices"][0]["behaviour"]["ap_bus"]["matrix"]["configured"] = False
    return prepared(start(plan))


def prepared(host: Host) -> Host:
    install(host)
    host.done("ap_mask", adapters=["5"])
    return host


def mdev(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that changes something, as check mode has foretold it; the next one changes nothing."""
    wish = {"uuid": UUID, "parent": "matrix", "type": "vfio_ap-passthrough", **wish}
    before = host.state()
    foretold = host.done("mdev", **wish, check_mode=True)
    assert host.state() == before
    done = host.done("mdev", **wish)
    assert foretold["plan"] == done["plan"]
    again = host.done("mdev", **wish)
    assert (done["changed"], again["changed"], again["plan"]) == (True, False, [])
    assert not host.path(LOCK).exists()
    return done


def refused(host: Host, **wish: Any) -> str:
    return host.failed("mdev", **{"uuid": UUID, "parent": "matrix", "type": "vfio_ap-passthrough", **wish})


def test_its_life(lpar: Host) -> None:
    made = mdev(lpar, attrs=[*TWO, {"assign_control_domain": 4}])
    assert [step for step in made["plan"] if step.startswith("set")] == [
        f"set {each} on mdev {UUID}"
        for each in ("assign_adapter=5", "assign_domain=4", "assign_domain=0x5", "assign_control_domain=4")
    ]
    assert lpar.read(f"{DEVICE}/guest_matrix") == "05.0004\n05.0005\n"
    assert warnings(made) == []
    mdev(lpar, state="absent")


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ([{"assign_adapter": "6"}, {"assign_domain": "0x47"}], "the queues 06.0047 are the host's, so that no guest"),
        ([{"assign_adapter": "5"}, {"assign_domain": "85"}], "the highest number that this machine has is 84 (0x54)"),
        ([{"assign_adapter": "five"}], "an adapter or a domain is a number, as 31 or 0x1f"),
        ([{"ap_config": "0x04,0x08"}], "it takes three masks, of adapters, domains and control domains"),
    ],
)
def test_what_the_kernel_would_refuse_is_found_before(lpar: Host, attrs: list[dict[str, Any]], message: str) -> None:
    assert message in refused(lpar, attrs=attrs)


def test_the_task_that_gives_them_is_named(lpar: Host) -> None:
    message = refused(lpar, attrs=[{"assign_adapter": "6"}, {"assign_domain": "4"}])
    assert message.endswith("give them to guests first, as by hostdev.nodedev.ap_mask with adapters: [6]")
    lpar.done("ap_mask", adapters=[6])
    assert mdev(lpar, attrs=[{"assign_adapter": "6"}, {"assign_domain": "4"}])["mdev"]["active"]


def test_queues_of_others(lpar: Host) -> None:
    mdev(lpar, uuid=OTHER, attrs=ONE, persistent=False)
    assert f"mdev {OTHER}, which runs, has the queues 05.0004, which one device alone" in refused(lpar, attrs=TWO)
    mdev(lpar, uuid=OTHER, state="absent")
    # One that mdevctl has written.
    attrs = '{"assign_domain": "4"}, {"assign_adapter": "0x05"}'
    lpar.run(
        ["install", "-D", "-m", "644", "/dev/stdin", f"/etc/mdevctl.d/matrix/{OTHER}"], input=DEFINED.format(attrs)
    )
    told = f"mdev {OTHER}, which is defined to start, has the queues 05.0004"
    assert told in refused(lpar, attrs=TWO)
    assert told in refused(lpar, attrs=TWO, state="inactive")
    # Of two that do not start by themselves, whoever is first has them.
    mdev(lpar, attrs=TWO, state="inactive", autostart=False)


def test_a_queue_that_is_not_there_yet(lpar: Host) -> None:
    told = warnings(mdev(lpar, attrs=[*ONE, {"assign_domain": 6}]))
    assert told == [
        f"vfio_ap has not got the queues 05.0006, so that the guest of mdev {UUID} gets none of the adapters 5 (0x05)"
        " until it has"
    ]


def test_a_change_while_it_runs(lpar: Host) -> None:
    mdev(lpar, attrs=ONE)
    made = mdev(lpar, attrs=TWO)
    assert made["plan"][0] == f"change mdev {UUID} while it runs, to the queues 05.0004, 05.0005"
    assert lpar.read(f"{DEVICE}/matrix") == "05.0004\n05.0005\n"
    assert warnings(made) == []
    with lpar.hold(UUID):
        assert "who would lose the queues 05.0005" in refused(lpar, attrs=ONE)
        mdev(lpar, attrs=[*TWO, {"assign_domain": 71}])
        mdev(lpar, attrs=ONE, force=True)
    assert lpar.read(f"{DEVICE}/matrix") == "05.0004\n"


def test_a_change_that_the_kernel_does_not_make_is_undone(lpar: Host) -> None:
    mdev(lpar, attrs=ONE)
    lpar.fault(f"{DEVICE}/ap_config", op="write", errno="EBUSY", times=1)
    assert "or a crypto queue is another device's, or its bus is being changed" in refused(lpar, attrs=TWO)
    # A folder is in the way of the definition that follows.
    lpar.run(["mkdir", f"/etc/mdevctl.d/matrix/.nodedev-{UUID}"])
    assert f"undone: change mdev {UUID} while it runs" in refused(lpar, attrs=TWO)
    assert lpar.read(f"{DEVICE}/matrix") == "05.0004\n"


def test_where_it_cannot_be_changed_it_waits_for_the_next_start(older: Host) -> None:
    mdev(older, attrs=ONE)
    told = warnings(mdev(older, attrs=TWO))
    assert told == [f"mdev {UUID} runs: the new attrs take effect when it is started next, or with replace: true"]
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n"
    facts = older.done("definition_facts", kinds=["mdev"])["ansible_facts"]["nodedev_definitions"]["mdev"]
    assert facts[0]["drift"] == [{"what": "queues", "defined": "05.0004, 05.0005", "running": "05.0004"}]
    older.done("mdev", uuid=UUID, state="inactive")
    mdev(older)
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n05.0005\n"


@pytest.mark.parametrize("attrs", [{}, {"attrs": TWO}])
def test_where_it_cannot_be_changed_it_is_made_anew_on_demand(older: Host, attrs: dict[str, Any]) -> None:
    """In the run that changes the definition, or in any later one."""
    mdev(older, attrs=ONE)
    mdev(older, attrs=TWO)
    with older.hold(UUID):
        assert "is in use by" in refused(older, **attrs, replace=True)
    mdev(older, **attrs, replace=True)
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n05.0005\n"
    mdev(older, attrs=ONE, replace=True)
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n"


def test_one_that_runs_undefined_keeps_its_queues_until_it_is_started_next(older: Host) -> None:
    """What is assigned is added, so that it would have had queues that nobody wished."""
    mdev(older, attrs=ONE, persistent=False)
    told = warnings(mdev(older, attrs=[{"assign_adapter": 5}, {"assign_domain": 5}]))
    assert told == [f"mdev {UUID} runs: the new attrs take effect when it is started next, or with replace: true"]
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n"


def test_what_a_killed_run_had_begun_is_completed(older: Host) -> None:
    mdev(older, attrs=ONE, persistent=False)
    older.write(LOCK, "1")
    assert "process 1 still changes crypto queues after 0.2 s" in refused(older, attrs=TWO, wait_timeout=0.2)
    older.run(["rm", LOCK])
    assert warnings(mdev(older, attrs=TWO)) == []
    assert older.read(f"{DEVICE}/matrix") == "05.0004\n05.0005\n"


def test_they_are_no_pool(lpar: Host) -> None:
    before = lpar.state()
    told = "each device on the matrix needs crypto queues of its own"
    for wish in (
        {"type": "VFIO AP Passthrough Device", "count": "2"},
        {"type": "vfio_ap-passthrough", "uuids": [UUID]},
    ):
        assert told in lpar.failed("mdev_pool", name="x", attrs=ONE, **wish)
    assert lpar.state() == before
    assert lpar.done("mdev_pool", name="x", state="absent")["changed"] is False


@pytest.mark.parametrize("file", ["assign_adapter", "assign_domain"])
def test_what_fails_is_undone(lpar: Host, file: str) -> None:
    lpar.fault(f"{DEVICE}/{file}", op="write", errno="EADDRNOTAVAIL")
    assert f"could not set {file}" in refused(lpar, attrs=ONE)


def test_it_is_back_after_a_reboot_once_the_bus_is_complete(start: Callable[..., Host]) -> None:
    host = start(scenario(overrides=True, counted=True, late=5))
    host.run(["sh", "-c", f"until grep -q complete {BUS}/bindings; do sleep 0.1; done"])
    prepared(host)
    mdev(host, attrs=ONE)
    host.reboot()
    host.run(["modprobe", "vfio_ap"])
    done = restore(host, "--parent", "ap")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[:2]] == ["restored", "restored"]
    assert host.read(f"{DEVICE}/guest_matrix") == "05.0004\n"
