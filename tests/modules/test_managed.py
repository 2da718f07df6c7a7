# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed mediated devices as modules define them, and what becomes of them at boot and by mdevctl's own hands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER, THERE, UUID, Host, definitions, ids, running, warnings
from guests import Libvirt, libvirtd
from scripts import mdevctl
from test_restore import HOOK, install, restore

__all__ = ["libvirtd"]

KIND = "nvidia-231"
MARK = f"/etc/nodedev.d/mdev/{UUID}.json"
DEFINITION = f"/etc/mdevctl.d/{CARD}/{UUID}"
CREATE = f"create mdev {UUID} of type {KIND} on {HERE}"
REMOVE = f"remove mdev {UUID} of type {KIND} from {HERE}"
CHANGE = f"change the definition of mdev {UUID} with type {KIND} on {HERE}, start"
NO_HOOK = (
    f"what is managed on gpuhost will not be made for guests: {HOOK} is not there. Apply the role"
    " hostdev.nodedev.persistence to this host"
)


def is_there(host: Host, path: str) -> bool:
    return host.run(["test", "-e", path], check=False).returncode == 0


def test_it_is_defined_and_does_not_run(host: Host) -> None:
    foretold = host.mdev(managed=True, check_mode=True)
    assert not is_there(host, DEFINITION)
    done = host.mdev(managed=True)
    assert foretold["plan"] == done["plan"] == [f"define mdev {UUID} with type {KIND} on {HERE}, start with its guest"]
    assert (foretold["mdev"], foretold["diff"]) == (done["mdev"], done["diff"])
    told = {key: done["mdev"][key] for key in ("active", "persistent", "autostart", "managed")}
    assert told == {"active": False, "persistent": True, "autostart": False, "managed": True}
    line = f"{UUID}: is defined; type {KIND}, parent_addr {CARD}, autostart false, managed true\n"
    assert done["diff"] == {"before": "", "after": line}
    assert running(host) == []
    # mdevctl's file is as mdevctl writes it, and the mark a document of ours.
    assert json.loads(host.read(DEFINITION)) == {"mdev_type": KIND, "start": "manual", "attrs": []}
    assert json.loads(host.read(MARK)) == {"version": 1, "managed": True}
    assert warnings(done) == [NO_HOOK]
    for arguments in ({"managed": True}, {}, {"state": "inactive"}, {"managed": True, "autostart": False}):
        again = host.mdev(**arguments)
        assert (again["plan"], again["mdev"]) == ([], done["mdev"])
    install(host)
    assert warnings(host.mdev()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"managed": True, "autostart": True},
            "autostart: True cannot be used: a managed device starts with its guest",
        ),
        (
            {"managed": True, "persistent": False},
            "persistent: False cannot be used: a managed device is made from its definition",
        ),
        ({"managed": True, "type": "nvidia-9"}, "type: 'nvidia-9' cannot be used"),
        ({"managed": True, "parent": "0000:99:00.0"}, "parent: '0000:99:00.0' cannot be used"),
    ],
)
def test_what_is_refused(host: Host, options: dict[str, Any], reason: str) -> None:
    assert host.refused(**options).startswith(reason)


def test_autostart_of_one_that_is_managed(host: Host) -> None:
    host.mdev(managed=True)
    refused = host.refused(autostart=True)
    assert refused.endswith(f"mdev {UUID} is managed, and starts with its guest: set managed: false too")


def test_a_device_that_runs_becomes_managed_and_is_not_any_more(host: Host) -> None:
    host.mdev()
    foretold = host.mdev(managed=True, check_mode=True)
    done = host.mdev(managed=True)
    assert foretold["plan"] == done["plan"] == [f"{CHANGE} with its guest", REMOVE]
    assert foretold["diff"] == done["diff"]
    assert running(host) == []
    assert host.mdev(managed=True)["plan"] == []
    back = host.mdev(managed=False)
    assert back["plan"] == [CREATE, f"{CHANGE} auto"]
    assert (back["mdev"]["managed"], back["mdev"]["autostart"], running(host)) == (False, True, [UUID])
    assert not is_there(host, MARK)
    assert host.mdev(managed=False)["plan"] == host.mdev()["plan"] == []
    assert host.mdev(managed=True, autostart=False)["changed"]
    assert host.mdev(managed=False, autostart=False)["plan"] == [CREATE, f"{CHANGE} manual"]


def test_one_that_is_in_use_becomes_managed(host: Host) -> None:
    host.mdev()
    with host.hold(UUID) as pid:
        done = host.mdev(managed=True)
        assert done["plan"] == [f"{CHANGE} with its guest"]
        assert running(host) == [UUID]
        assert warnings(done)[0] == (
            f"mdev {UUID} is in use by process {pid} (simhost-guest) and stays until it is removed or the host boots:"
            " from then on it comes and goes with its guest"
        )
        assert "is in use by" in host.refused(state="inactive", managed=True)
    assert host.mdev(managed=True)["plan"] == []
    assert host.mdev(state="inactive")["plan"] == [REMOVE]
    assert host.mdev()["plan"] == []


def test_one_that_somebody_has_started_by_hand_is_left(host: Host) -> None:
    host.mdev(managed=True)
    assert mdevctl(host, "1.2", "start", "--uuid", UUID).returncode == 0
    assert host.mdev()["plan"] == host.mdev(managed=True)["plan"] == []
    assert running(host) == [UUID]
    assert host.mdev(state="absent")["plan"] == [f"undefine mdev {UUID} on {HERE}", REMOVE]
    assert not is_there(host, MARK)


def test_it_is_gone_with_its_mark(host: Host) -> None:
    host.mdev(managed=True)
    foretold = host.mdev(state="absent", check_mode=True)
    done = host.mdev(state="absent")
    assert foretold["plan"] == done["plan"] == [f"undefine mdev {UUID} on {HERE}"]
    assert done["mdev"]["managed"] is False
    assert (is_there(host, MARK), definitions(host)) == (False, [])
    assert host.mdev(state="absent")["plan"] == []


def test_a_step_that_fails_leaves_the_mark_as_it_was(host: Host) -> None:
    host.mdev(managed=True)
    host.fault("/sys/devices/*/create", op="write", errno="EIO")
    assert "could not create mdev" in host.refused(managed=False)
    host.clear_faults()
    host.mdev(managed=False)
    host.fault(f"/sys/devices/*/{UUID}/remove", op="write", errno="EIO")
    assert "could not remove mdev" in host.refused(managed=True)
    assert "could not remove mdev" in host.refused(state="absent")


@pytest.mark.parametrize("release", ["1.2", "1.4"])
def test_what_mdevctl_rewrites_stays_managed(host: Host, release: str) -> None:
    """mdevctl keeps nothing in its file that it does not know."""
    host.mdev(managed=True)
    modify = ("modify", "--uuid", UUID, "--parent", CARD)
    added = mdevctl(host, release, *modify, "--addattr", "nvidia/vgpu_params", "--value", "a=1")
    assert added.returncode == 0, added.stderr
    known = host.mdev()
    assert (known["plan"], known["mdev"]["managed"]) == ([], True)
    assert known["mdev"]["attrs"] == [{"nvidia/vgpu_params": "a=1"}]
    assert mdevctl(host, release, *modify, "--auto").returncode == 0
    # Whatever mdevctl's file says, it does not start by itself.
    install(host)
    assert "0 restored, 0 there already, 0 failed" in restore(host).stdout
    assert host.mdev()["plan"] == [f"{CHANGE} with its guest, nvidia/vgpu_params=a=1"]
    assert '"start": "manual"' in host.read(DEFINITION)


def test_a_mark_without_a_definition(host: Host) -> None:
    host.mdev(managed=True)
    assert mdevctl(host, "1.2", "undefine", "--uuid", UUID).returncode == 0
    gone = host.mdev(state="absent", check_mode=True)["plan"]
    assert gone == host.mdev(state="absent")["plan"] == [f"remove the mark of mdev {UUID} as managed"]
    assert not is_there(host, MARK)
    assert host.mdev(state="absent")["plan"] == []
    host.mdev(managed=True)
    assert mdevctl(host, "1.2", "undefine", "--uuid", UUID).returncode == 0
    assert host.mdev()["mdev"]["managed"] is False
    assert not is_there(host, MARK)


def test_a_damaged_definition_of_a_managed_device(host: Host) -> None:
    host.mdev(managed=True)
    host.write(DEFINITION, "{")
    done = host.mdev(state="absent")
    assert done["plan"][-1] == f"remove the mark of mdev {UUID} as managed"
    assert (is_there(host, MARK), is_there(host, DEFINITION)) == (False, False)


def test_it_is_defined_while_its_parent_is_away(host: Host) -> None:
    host.mdev(managed=True)
    host.run(["sh", "-c", f"mv /etc/mdevctl.d/{CARD} /etc/mdevctl.d/0000:99:00.0"])
    assert host.mdev(parent="0000:99:00.0", managed=True)["plan"] == []


def test_it_is_not_restored(host: Host) -> None:
    install(host)
    host.mdev(managed=True)
    host.mdev(uuid=OTHER)
    host.reboot()
    done = restore(host)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 restored, 0 there already, 0 failed")
    assert running(host) == [OTHER]
    assert f"mdev {UUID} of type {KIND} on {HERE}: inactive, managed\n" in restore(host, "--list").stdout


def test_a_pool(host: Host) -> None:
    foretold = host.pool(type=KIND, count=3, managed=True, check_mode=True)
    done = host.pool(type=KIND, count=3, managed=True)
    assert foretold["plan"] == done["plan"]
    assert running(host) == []
    assert [each["active"] for each in done["instances"]] == [False] * 3
    assert definitions(host) == sorted(ids(done))
    assert host.pool()["plan"] == host.pool(count=3, managed=True)["plan"] == []
    facts = host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]
    assert [(each["managed"], each["autostart"], each["domain"]) for each in facts["mdev"]] == [(True, False, None)] * 3
    assert [each["managed"] for each in facts["pool"]] == [True]
    smaller = host.pool(count=2)
    assert ids(smaller) == ids(done)[:2]
    host.pool(managed=False)
    assert running(host) == sorted(ids(smaller))
    back = host.pool(managed=True)
    assert (running(host), host.pool()["plan"]) == ([], [])
    assert [each["active"] for each in back["instances"]] == [False] * 2
    host.pool(state="absent")
    assert host.run(["find", "/etc/nodedev.d", "-type", "f"]).stdout == ""


def test_a_pool_has_room_for_all_of_its_instances(host: Host) -> None:
    """Each card takes eight."""
    assert "needs 17 more instances" in host.pool_refused(type=KIND, count=17, managed=True)
    host.pool(type=KIND, count=10, managed=True)
    # Also beside another pool, of which none runs now.
    refused = host.failed("mdev_pool", name="y", type=KIND, count=7, managed=True)
    assert f"there is room for 6; free are {HERE}: 3, {THERE}: 3" in refused
    host.done("mdev_pool", name="y", type=KIND, count=6, managed=True)
    assert "needs 1 more" in host.pool_refused(count=11)
    assert host.pool()["plan"] == []
    assert len(ids(host.done("mdev_pool", name="y", count="max"))) == 6


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"autostart": True}, "autostart: True cannot be used: pool x is managed, and its instances start with"),
        ({"persistent": False}, "persistent: False cannot be used: pool x is managed, and its instances made from"),
    ],
)
def test_what_is_refused_of_a_pool(host: Host, options: dict[str, Any], reason: str) -> None:
    host.pool(type=KIND, count=1, managed=True)
    assert host.pool_refused(**options).startswith(reason)
    assert "a managed device" in host.pool_refused(type=KIND, count=1, managed=True, **options)


def test_which_domain_has_what(host: Host, libvirtd: Any) -> None:
    install(host)
    first, second, third = ids(host.pool(type=KIND, count=3, managed=True))
    libvirt: Libvirt = libvirtd(host)
    libvirt.done("desk", "prepare", first, second)

    def told() -> dict[str, tuple[bool, str | None]]:
        facts = host.done("definition_facts", kinds=["mdev"])["ansible_facts"]["nodedev_definitions"]["mdev"]
        return {each["uuid"]: (each["active"], each["domain"]) for each in facts}

    assert told() == {first: (True, "desk"), second: (True, "desk"), third: (False, None)}
    # Until it has opened them, who starts it has them.
    refused = host.module("mdev_pool", name="x", state="absent")
    assert [each["domain"] for each in refused["holders"]] == ["desk", "desk"]
    assert "of domain desk: stop that first" in refused["msg"]
    assert "of domain desk: stop that first" in host.failed("mdev", uuid=first, state="absent")
    assert host.pool()["instances"][0]["holders"][0]["how"] == "about to be opened by"
    # A smaller pool lets those go that nobody has.
    assert set(ids(host.pool(count=2))) == {first, second}
    libvirt.done("desk", "release", first, second)
    assert told() == {first: (False, None), second: (False, None)}
