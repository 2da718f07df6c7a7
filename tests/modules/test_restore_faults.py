# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine among devices that block, cannot be read or have odd names: all others are restored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, OTHER, OTHER_CARD, UUID, Host, running, warnings
from test_restore import COMMAND, KIND, called, install, restore
from test_vhba_facts import booting, lines
from vhbas import DEFINITION, HBAS, vports

__all__ = ["booting"]

CARDS = [f"0000:{number:02x}:00.0" for number in range(0x11, 0x1B)]
TEN: dict[str, Any] = {
    "devices": [
        {
            "pci": {"address": address, "vendor": 0x10DE, "device": 0x1EB8, "class": 0x030200},
            "driver": "nvidia",
            "iommu_group": 30 + number,
            "behaviour": {
                "mdev_parent": {"units": 2, "driver": "nvidia-vgpu-vfio", "types": {KIND: {"name": "A", "units": 1}}}
            },
        }
        for number, address in enumerate(CARDS)
    ]
}


@pytest.fixture
def ten(start: Callable[..., Host]) -> Host:
    """A host with the boot engine and ten cards, two devices defined on each, none of which run."""
    host = start(TEN)
    install(host)
    host.pool(type=KIND, count=20, state="inactive")
    return host


@pytest.fixture
def engine(host: Host) -> Host:
    """A host with the boot engine and two cards, on each of which a device is defined."""
    install(host)
    host.mdev(uuid=UUID, type=KIND, state="inactive")
    host.mdev(uuid=OTHER, type=KIND, parent=OTHER_CARD, state="inactive")
    return host


def defined(host: Host) -> dict[str, list[str]]:
    """The UUIDs that are defined, by parent."""
    found: dict[str, list[str]] = {}
    for parents in json.loads(host.run(["mdevctl", "list", "--dumpjson", "--defined"]).stdout):
        for parent, devices in parents.items():
            found[parent] = sorted(uuid for device in devices for uuid in device)
    return found


def test_ten_cards(ten: Host) -> None:
    done = restore(ten)
    assert (done.returncode, done.stderr) == (0, "")
    places = defined(ten)
    expected = [f"restored: {called(uuid, parent)}" for parent in CARDS for uuid in places[parent]]
    assert len(expected) == 20
    *made, summary = done.stdout.splitlines()
    assert sorted(made) == sorted(expected)
    assert summary == "20 restored, 0 there already, 0 failed"
    assert running(ten) == sorted(uuid for uuids in places.values() for uuid in uuids)


@pytest.mark.parametrize("blocked", [CARDS[:1], CARDS[3:6]])
def test_cards_whose_driver_blocks_stop_no_other(ten: Host, blocked: list[str]) -> None:
    for address in blocked:
        ten.fault(f"/sys/devices/*/{address}/*/create", op="write", delay=600)
    done = restore(ten, "--limit", "3")
    free = [address for address in CARDS if address not in blocked]
    places = defined(ten)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{2 * len(free)} restored, 0 there already, {2 * len(blocked)} failed"
    assert set(running(ten)) >= {uuid for address in free for uuid in places[address]}
    failures = sorted(done.stderr.splitlines())
    for address in blocked:
        mine = [line for line in failures if f" ({address}): " in line]
        assert len(mine) == 2
        assert sum("it has not ended after 3 s" in line for line in mine) == 1
        assert sum("it was not tried, since its card does not answer for another device" in line for line in mine) == 1
    assert len(failures) == 2 * len(blocked)
    # Not a process is left that waits for the driver, and no lock.
    ten.clear_faults()
    again = restore(ten)
    assert again.stdout.splitlines()[-1].endswith(" 0 failed"), again.stderr


def test_a_card_that_cannot_be_read_stops_no_other(engine: Host) -> None:
    engine.fault(f"/sys/devices/*/{CARD}/subsystem", op="read", errno="EIO")
    engine.fault(f"/sys/devices/*/{CARD}/physfn", op="read", errno="EIO")
    done = restore(engine, "--wait", "0")
    assert done.returncode == 1
    assert f"restored: {called(OTHER, OTHER_CARD)}" in done.stdout
    assert f"failed: {called(UUID)}: reading the link /sys/" in done.stderr
    listed = restore(engine, "--list")
    assert (listed.returncode, listed.stdout) == (1, f"{called(OTHER, OTHER_CARD)}: active, auto\n")
    assert listed.stderr.startswith(f"{called(UUID)}: reading the link /sys/")
    facts = engine.done("definition_facts", kinds=["mdev"])
    assert [each["uuid"] for each in facts["ansible_facts"]["nodedev_definitions"]["mdev"]] == [OTHER]
    assert [text.startswith(f"{called(UUID)} is left out: reading the link /sys/") for text in warnings(facts)] == [
        True
    ]
    assert restore(engine, "--parent", OTHER_CARD).stdout.splitlines()[-1] == "0 restored, 1 there already, 0 failed"


def test_a_command_line_that_cannot_be_used(engine: Host) -> None:
    """The cases are in tests/unit/test_restore.py; here, that it is the command which says so."""
    for arguments, reason in (
        (["--wait", "inf"], "argument --wait: 'inf' cannot be used: a number of seconds, 0 to 86400"),
        (["one\n<3>forged\x1b[2J"], "unrecognized arguments: one\\n<3>forged\\x1b[2J"),
    ):
        done = engine.run([COMMAND, *arguments], check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.split("\n")[-2] == f"nodedev-restore: error: {reason}"
    assert running(engine) == []


def test_odd_names_forge_no_lines(engine: Host) -> None:
    forged = "x\n<3>failed: forged\x1b[2J\u202e"
    shown = "x\\n<3>failed: forged\\x1b[2J\\u202e"
    folder = f"/etc/mdevctl.d/{forged}"
    odd, broken = (f"{UUID[:-1]}{digit}" for digit in "89")
    engine.run(["mkdir", folder])
    engine.write(f"{folder}/{odd}", json.dumps({"mdev_type": forged, "start": "auto"}))
    engine.write(f"{folder}/{broken}", "{")
    # The damaged one, the odd one, the two others and how many there are.
    for arguments, count in (([], 5), (["--list"], 4), (["--dry-run"], 2), (["--parent", forged], 3)):
        done = engine.run([COMMAND, *arguments], check=False, env={"JOURNAL_STREAM": "1:2"})
        told = [*done.stdout.split("\n")[:-1], *done.stderr.split("\n")[:-1]]
        assert len(told) == count, told
        assert all(line.isprintable() for line in told)
        assert sum("forged" in line for line in told) == sum(shown in line for line in told) == 2
        assert (
            sum(line.startswith(f"<3>the definition /etc/mdevctl.d/{shown}/{broken} is damaged") for line in told) == 1
        )
        # As where a parent has left again.
        assert done.returncode == (2 if "--parent" in arguments else 1)
    assert running(engine) == [UUID, OTHER]


def test_names_that_are_not_utf8_are_told_in_any_locale(engine: Host) -> None:
    script = (
        "import json, os\n"
        "folder = b'/etc/mdevctl.d/\\xff\\xc3\\xa4'\n"
        "os.mkdir(folder)\n"
        f"with open(folder + b'/{OTHER}', 'w') as file: json.dump({{'mdev_type': 't', 'start': 'auto'}}, file)\n"
    )
    engine.run(["/usr/bin/python3", "-c", script])
    for locale in ("C", "C.UTF-8", "en_US.ISO-8859-1"):
        done = engine.run([COMMAND], check=False, env={"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
        assert (done.returncode, done.stdout.splitlines()[-1][-8:]) == (1, "1 failed")
        (failure,) = done.stderr.splitlines()
        assert failure.startswith(f"failed: mdev {OTHER} of type t on \\udcff")


def test_nobody_needs_to_listen(engine: Host) -> None:
    engine.run(["sh", "-c", f"{COMMAND} | true"])
    assert running(engine) == [UUID, OTHER]
    engine.reboot()
    engine.run(["sh", "-c", f"{COMMAND} >&- 2>&- <&-"])
    assert running(engine) == [UUID, OTHER]


def test_a_folder_that_cannot_be_read_is_told_and_stops_no_other_kind(engine: Host) -> None:
    engine.run(["sh", "-c", "mkdir -p /etc/nodedev.d && ln -s vhba /etc/nodedev.d/vhba"])
    damage = "the definition /etc/nodedev.d/vhba is damaged (Too many levels of symbolic links); it was left alone"
    done = restore(engine)
    assert done.returncode == 1
    assert done.stderr.startswith(damage)
    assert running(engine) == [UUID, OTHER]
    facts = engine.done("definition_facts")
    assert len(facts["ansible_facts"]["nodedev_definitions"]["mdev"]) == 2
    assert [text.startswith(damage) for text in warnings(facts)] == [True]
    assert restore(engine, "--parent", CARD).returncode == 0


def test_a_damaged_vhba_is_told_when_an_hba_arrives(booting: Host) -> None:
    booting.vhba("a3", parent="scsi_host3")
    booting.write(DEFINITION, "{")
    for parent in ("host3", "host4"):
        done = restore(booting, "--parent", parent)
        assert done.returncode == 1
        assert done.stderr.startswith(f"the definition {DEFINITION} is damaged (no JSON")
    nobody = restore(booting, "--parent", "mtty")
    told = "--parent: there is no device mtty, and nothing is defined on it\n"
    assert (nobody.returncode, nobody.stderr) == (2, told)
    for parent in ("host8", "host0"):
        done = restore(booting, "--parent", parent)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_hba_whose_driver_blocks_keeps_no_vhba_from_another(booting: Host) -> None:
    booting.vhba("a3", parent="scsi_host3", state="inactive")
    booting.vhba("a4", parent="scsi_host4", state="inactive")
    booting.fault("fc_host/host3/vport_create", op="write", delay=600)
    done = restore(booting, "--limit", "5")
    assert done.returncode == 1
    assert "host4 a4 Active" in vports(booting)
    assert done.stdout.splitlines()[-1] == "1 restored, 0 there already, 1 failed"
    blocked = f"vHBA 5001a4a0000000a3 on the HBA with WWPN {HBAS[3]}"
    assert done.stderr == f"failed: {blocked}: it has not ended after 5 s; its process ended by SIGKILL\n"


def test_an_hba_that_cannot_be_looked_at_is_told(booting: Host) -> None:
    booting.vhba("a3", parent="scsi_host3", state="inactive")
    booting.fault("fc_host/host3/port_name", op="read", delay=600)
    done = restore(booting, "--parent", "host3", "--limit", "1")
    assert lines(done) == ["host3 could not be looked at: it has not answered after 1 s"]
    assert done.returncode == 1
