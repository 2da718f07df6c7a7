# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine on the simulated host: installed as its role does it, and run by its launcher after a reboot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import names
from conftest import CARD, HERE, OTHER, OTHER_CARD, ROOT, THERE, UUID, Host, ids, running

FILES = ROOT / "roles" / "persistence" / "files"
LAUNCHER = FILES / "nodedev-restore"
UNIT = "nodedev-restore.service"
COMMAND = "/usr/sbin/nodedev-restore"
HOOK = "/etc/libvirt/hooks/qemu.d/50-nodedev"
ENGINE = "/usr/lib/nodedev"
KIND = "nvidia-232"
TYPES = f"mdev_supported_types/{KIND}"


@pytest.fixture
def engine(host: Host) -> Host:
    """A host with two vGPU cards and the boot engine."""
    install(host)
    return host


def install(host: Host) -> None:
    host.done("boot_engine")
    for path, source in ((COMMAND, LAUNCHER), (HOOK, FILES / "50-nodedev")):
        host.run(["install", "-D", "-m", "755", "/dev/stdin", path], input=source.read_text())
    host.write(f"/etc/systemd/system/{UNIT}", (FILES / UNIT).read_text())
    host.run(["systemctl", "enable", UNIT])


def restore(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    return host.run([COMMAND, *arguments], check=False)


def called(uuid: str, parent: str = CARD, kind: str = KIND) -> str:
    return f"mdev {uuid} of type {kind} on {names.called(parent)}"


def uuids(result: dict[str, Any]) -> list[str]:
    return sorted(ids(result))


def test_all_is_there_again_after_a_reboot(engine: Host) -> None:
    pool = engine.pool(type=KIND, count=4, attrs=[{"nvidia/vgpu_params": "a=1"}])
    engine.mdev(type=KIND, parent=OTHER_CARD)
    engine.mdev(uuid=OTHER, type=KIND, autostart=False)
    before = engine.run(["mdevctl", "list", "--dumpjson", "--defined"]).stdout
    engine.reboot()
    assert running(engine) == []
    done = restore(engine)
    places = [(each["uuid"], each["parent_addr"]) for each in pool["instances"]]
    lines = sorted(f"restored: {called(*place)}" for place in [*places, (UUID, OTHER_CARD)])
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted([*lines, "5 restored, 0 there already, 0 failed"])
    assert running(engine) == sorted([*uuids(pool), UUID])
    assert {engine.read(f"/sys/bus/mdev/devices/{uuid}/nvidia/vgpu_params") for uuid, _parent in places} == {"a=1\n"}
    assert engine.run(["mdevctl", "list", "--dumpjson", "--defined"]).stdout == before
    again = restore(engine)
    assert (again.returncode, again.stderr) == (0, "")
    assert sorted(again.stdout.splitlines()) == sorted(
        [line.replace("restored", "there already") for line in lines] + ["0 restored, 5 there already, 0 failed"]
    )
    assert engine.pool()["plan"] == []


def test_nothing_is_defined(engine: Host) -> None:
    done = restore(engine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 restored, 0 there already, 0 failed\n", "")


def test_what_is_not_persistent_is_gone_after_a_reboot(engine: Host) -> None:
    engine.pool(type=KIND, count=2, persistent=False)
    engine.reboot()
    assert restore(engine).returncode == 0
    assert running(engine) == []


def test_what_fails_is_named_with_the_reason_and_does_not_stop_the_rest(engine: Host) -> None:
    pool = engine.pool(type=KIND, count=2, parents={"addresses": [OTHER_CARD]})
    third, fourth, fifth = (f"83b8f4f2-509f-382f-3c1e-e6bfe0fa100{number}" for number in (3, 4, 5))
    for uuid in (UUID, OTHER, third, fourth):
        engine.mdev(uuid=uuid, type=KIND)
    # Damaged, its parent gone, its type gone, its attribute unknown, and the last one runs on another parent.
    folder = f"/etc/mdevctl.d/{CARD}"
    engine.write(f"{folder}/{UUID}", "{")
    engine.run(["sh", "-c", f"mkdir {folder}.gone; mv {folder}/{OTHER} {folder}.gone"])
    engine.run(["sed", "-i", f"s/{KIND}/nvidia-9/", f"{folder}/{third}"])
    engine.run(["sed", "-i", 's/"attrs": .*/"attrs": [{"nvidia\\/none": "1"}]/', f"{folder}/{fourth}"])
    engine.reboot()
    engine.mdev(uuid=fifth, type=KIND, parent=OTHER_CARD, persistent=False)
    engine.write(f"{folder}/{fifth}", f'{{"mdev_type": "{KIND}", "start": "auto"}}')
    done = restore(engine, "--wait", "0.3")
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"restored: {called(uuid, OTHER_CARD)}" for uuid in uuids(pool)] + ["2 restored, 0 there already, 4 failed"]
    )
    told = dict.fromkeys(done.stderr.splitlines())
    beginnings = [
        f"the definition {folder}/{UUID} is damaged (no JSON",
        f"failed: {called(OTHER, f'{CARD}.gone')}: its parent {CARD}.gone is not there; it is restored when the parent",
        f"failed: {called(third, kind='nvidia-9')}: its parent {HERE} does not have type nvidia-9, only nvidia-230, nv",
        f"failed: {called(fourth)}: could not ",
        f"failed: {called(fifth)}: mdev {fifth} runs with type {KIND} on {THERE}, not with type {KIND} on {HERE}",
    ]
    assert len(told) == len(beginnings)
    assert all(any(line.startswith(beginning) for line in told) for beginning in beginnings), done.stderr
    assert engine.read(f"{folder}/{UUID}") == "{"
    # What runs is as it was.
    assert running(engine) == sorted([*uuids(pool), fifth])


def test_a_create_that_fails_does_not_stop_the_rest(engine: Host) -> None:
    made = engine.pool(type=KIND, count=4)
    engine.reboot()
    engine.fault("/sys/devices/*/create", op="write", errno="EINVAL", nth=2)
    done = restore(engine)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "3 restored, 0 there already, 1 failed")
    assert "EINVAL (Invalid argument): the driver refuses this type now" in done.stderr
    assert restore(engine).stdout.splitlines()[-1] == "1 restored, 3 there already, 0 failed"
    assert running(engine) == uuids(made)


def test_a_create_that_fails_for_a_moment_is_tried_again(engine: Host) -> None:
    """As where the vendor's services are still starting."""
    made = engine.pool(type=KIND, count=2)
    engine.reboot()
    engine.fault("/sys/devices/*/create", op="write", errno="EIO", times=3)
    done = restore(engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "2 restored, 0 there already, 0 failed"
    assert running(engine) == uuids(made)


def test_a_create_that_goes_on_failing_is_given_up(engine: Host) -> None:
    engine.pool(type=KIND, count=1)
    engine.reboot()
    engine.fault("/sys/devices/*/create", op="write", errno="EIO")
    done = restore(engine, "--wait", "1")
    assert (done.returncode, done.stdout) == (1, "0 restored, 0 there already, 1 failed\n")
    assert "EIO (Input/output error): the vendor's driver failed: look at the kernel log" in done.stderr


def test_a_device_that_cannot_be_read_does_not_stop_the_rest(engine: Host) -> None:
    pool = engine.pool(type=KIND, count=1, parents={"addresses": [OTHER_CARD]})
    engine.mdev(uuid=UUID, type="nvidia-231")
    engine.reboot()
    engine.mdev(uuid=UUID, type="nvidia-231")
    engine.fault(f"/sys/devices/*/{CARD}/{UUID}/mdev_type", op="read", errno="EIO")
    done = restore(engine, "--wait", "1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"failed: {called(UUID, kind='nvidia-231')}: reading ")
    assert done.stdout.splitlines() == [
        f"restored: {called(uuids(pool)[0], OTHER_CARD)}",
        "1 restored, 0 there already, 1 failed",
    ]


def test_the_journal_gets_failures_as_errors(engine: Host) -> None:
    engine.write("/etc/mdevctl.d/x", "")
    engine.run(["mkdir", f"/etc/mdevctl.d/{CARD}"])
    engine.write(f"/etc/mdevctl.d/{CARD}/{UUID}", "{")
    done = engine.run([COMMAND], check=False, env={"JOURNAL_STREAM": "1:2"})
    assert done.stderr.startswith(f"<3>the definition /etc/mdevctl.d/{CARD}/{UUID} is damaged")


def test_list(engine: Host) -> None:
    engine.mdev(uuid=UUID, type=KIND)
    engine.mdev(uuid=OTHER, type=KIND, state="inactive", autostart=False)
    engine.run(["mkdir", "/etc/mdevctl.d/0000:99:00.0"])
    engine.run(["cp", f"/etc/mdevctl.d/{CARD}/{UUID}", "/etc/mdevctl.d/0000:99:00.0"])
    before = engine.state()
    done = restore(engine, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{called(UUID)}: active, auto",
        f"{called(OTHER)}: inactive, manual",
        f"{called(UUID, '0000:99:00.0')}: inactive, auto, parent missing, parent is {CARD}, not 0000:99:00.0",
    ]
    assert engine.state() == before
    engine.write(f"/etc/mdevctl.d/{CARD}/{OTHER}", "{")
    done = restore(engine, "--list")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert f"{OTHER} is damaged" in done.stderr


def test_dry_run(engine: Host) -> None:
    engine.mdev(uuid=UUID, type=KIND, attrs=[{"nvidia/vgpu_params": "a=1"}])
    engine.mdev(uuid=OTHER, type=KIND, parent=OTHER_CARD)
    assert (restore(engine, "--dry-run").returncode, restore(engine, "--dry-run").stdout) == (0, "")
    engine.reboot()
    engine.run(["mv", f"/etc/mdevctl.d/{OTHER_CARD}", "/etc/mdevctl.d/0000:99:00.0"])
    before = engine.state()
    done = restore(engine, "--dry-run")
    assert engine.state() == before
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"would create {called(UUID)}",
        f"would set nvidia/vgpu_params=a=1 on mdev {UUID}",
    ]
    assert done.stderr.startswith(
        f"{called(OTHER, '0000:99:00.0')} would fail: its parent pci_0000_99_00_0 (0000:99:00.0) is not there"
    )
    # A full parent is found out too.
    third = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"
    engine.mdev(uuid=third, type="nvidia-234", persistent=False)
    assert f"{called(UUID)} would fail: type: '{KIND}' cannot be used: no instance is left" in (
        restore(engine, "--dry-run").stderr
    )


def test_one_parent(engine: Host) -> None:
    made = engine.pool(type=KIND, count=2)
    engine.reboot()
    engine.write(f"/etc/mdevctl.d/{CARD}/{UUID}", "{")
    mine = next(each["uuid"] for each in made["instances"] if each["parent_addr"] == OTHER_CARD)
    done = restore(engine, "--parent", OTHER_CARD)
    assert (done.returncode, done.stderr) == (0, "")
    assert running(engine) == [mine]
    assert restore(engine, "--parent", CARD).returncode == 1
    assert running(engine) == uuids(made)
    nobody = restore(engine, "--parent", "0000:99:00.0")
    told = "--parent: there is no device 0000:99:00.0, and nothing is defined on it\n"
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (2, "", told)


def test_a_parent_that_has_left_again(engine: Host) -> None:
    """As where a card is pulled out before the unit that its arrival has started runs: nothing has failed."""
    engine.run(["mkdir", "-p", "/etc/mdevctl.d/0000:99:00.0"])
    engine.write(f"/etc/mdevctl.d/0000:99:00.0/{UUID}", json.dumps({"mdev_type": KIND, "start": "auto"}))
    done = restore(engine, "--parent", "0000:99:00.0")
    assert done.returncode == 2
    assert "is not there; it is restored when the parent arrives" in done.stderr
    assert "parent missing" in restore(engine, "--parent", "0000:99:00.0", "--list").stdout
    assert "SuccessExitStatus=2\n" in (FILES / "nodedev-restore@.service").read_text()


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--list", "--dry-run"], ["--wait", "long"], ["--parent"]])
def test_a_bad_command_line(engine: Host, arguments: list[str]) -> None:
    assert restore(engine, *arguments).returncode == 2


def test_not_root(engine: Host) -> None:
    engine.mdev(type=KIND)
    engine.reboot()
    user = ["setpriv", "--reuid=65534", "--inh-caps=-all"]
    done = engine.run([*user, COMMAND], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "changing devices needs root" in done.stderr
    assert engine.run([*user, COMMAND, "--dry-run"]).stdout == f"would create {called(UUID)}\n"


# pyudev finds what an earlier call has left: a wait for another device's events, a look at a node that is gone.
LEFT = """
import ctypes, errno, sys
import pyudev
sys.path.insert(0, "/usr/lib/nodedev")
from nodedev.host import udev_events
udev_events.CONTROL = "/"
filter_by = pyudev.Monitor.filter_by
def leave(monitor, subsystem):
    filter_by(monitor, subsystem)
    ctypes.set_errno(number)
pyudev.Monitor.filter_by = leave
for number in (errno.EAGAIN, errno.ENOENT):
    udev_events.Watch("mdev")
"""


def test_an_earlier_devices_errno_is_no_failure(engine: Host) -> None:
    assert engine.run([engine.python, "-c", LEFT], check=False).stderr == ""


@pytest.mark.parametrize("late", [f"/sys/devices/*/{CARD}/{TYPES}*", "/sys/class/mdev_bus*"])
def test_a_parent_that_is_ready_late_is_waited_for(engine: Host, late: str) -> None:
    made = engine.pool(type=KIND, count=4)
    engine.fault(late, lag=2)
    engine.reboot()
    done = restore(engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "4 restored, 0 there already, 0 failed"
    assert running(engine) == uuids(made)


@pytest.mark.parametrize(
    ("late", "reason"),
    [
        (
            f"/sys/devices/*/{CARD}/{TYPES}*",
            f"its parent {HERE} does not have type {KIND}, only nvidia-230, nvidia-231",
        ),
        (
            "/sys/class/mdev_bus*3d*",
            f"its parent {HERE} is not registered for mediated devices: is its driver bound?",
        ),
    ],
)
def test_a_parent_is_waited_for_no_longer_than_told(engine: Host, late: str, reason: str) -> None:
    engine.pool(type=KIND, count=2)
    engine.fault(late, lag=600)
    engine.reboot()
    done = restore(engine, "--wait", "0.7")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 restored, 0 there already, 1 failed")
    assert reason in done.stderr


def test_mdevctl_at_work_at_the_same_time(engine: Host) -> None:
    made = engine.pool(type=KIND, count=8)
    engine.reboot()
    engine.fault("/sys/devices/*/create", op="write", delay=0.05)
    commands = [[COMMAND], *(["mdevctl", "start-parent-mdevs", parent] for parent in (CARD, OTHER_CARD))]
    with ThreadPoolExecutor() as pool:
        done, *_others = pool.map(lambda command: engine.run(command, check=False), commands)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(" there already, 0 failed")
    assert len(done.stdout.splitlines()) == 9
    assert running(engine) == uuids(made)
    assert engine.pool()["plan"] == []


def test_two_engines_at_once(engine: Host) -> None:
    made = engine.pool(type=KIND, count=4)
    engine.reboot()
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda parent: restore(engine, *parent), [[], ["--parent", CARD]]))
    assert [(done.returncode, done.stderr) for done in runs] == [(0, "")] * 2
    assert sum(done.stdout.count("restored: ") for done in runs) == 4
    assert running(engine) == uuids(made)


def test_a_pool_whose_parents_moved_is_told_and_mended_by_the_module(engine: Host) -> None:
    made = engine.pool(type=KIND, count=2)
    engine.reboot()
    engine.run(["mv", f"/etc/mdevctl.d/{CARD}", "/etc/mdevctl.d/0000:99:00.0"])
    assert restore(engine).returncode == 1
    engine.pool()
    assert running(engine) == uuids(made)
    assert restore(engine).returncode == 0


def test_parents_that_are_not_pci(start: Callable[..., Host]) -> None:
    host = start("mtty")
    install(host)
    made = host.pool(type="mtty-2", count=3)
    host.reboot()
    assert restore(host).returncode == 0
    assert running(host) == uuids(made)


def test_the_engine_runs_without_ansible(engine: Host) -> None:
    script = (
        f"import sys; sys.path.insert(0, '{ENGINE}'); import nodedev.boot.restore\n"
        "print([name for name in sys.modules if 'ansible' in name])"
    )
    assert engine.run(["/usr/bin/python3", "-I", "-c", script]).stdout == "[]\n"
    texts = engine.run(["grep", "-rlE", "^(from|import) .*ansible", ENGINE, "--include=*.py"], check=False).stdout
    assert texts == ""
