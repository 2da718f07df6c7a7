# SPDX-License-Identifier: GPL-3.0-or-later
"""What managed devices rest on: domains' documents, records of guests, marks, and who is about to have a device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import processes, starting
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import managed
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.domain_document import Hostdev, read
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files, guests, marks, mdevctl
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.guests import Daemon, Guest, Lent
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from hypothesis import given
from hypothesis import strategies as st

UUID, OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"
DOMAIN = f"<uuid>{UUID}</uuid><name>desk &amp; chair</name>"
MDEV = f"<hostdev type='mdev'><source><address uuid='{OTHER}'/></source><address bus='1'/></hostdev>"
PCI = "<hostdev type='pci'><source><address domain='0' bus='6'/></source></hostdev>"
DEFINITION = Definition(UUID, "0000:06:00.0", "t", autostart=False, managed=True)
GUEST = Guest(UUID, "desk", Daemon(812, 4711), (Lent("mdev", OTHER, "made"), Lent("mdev", UUID, "found")))


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that is kept, below a test's folder."""
    for place, name in ((files, "STORE"), (files, "RUNTIME"), (mdevctl, "STORE")):
        monkeypatch.setattr(place, name, str(tmp_path / f"{place.__name__.rpartition('.')[2]}-{name}"))
    return tmp_path


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, in whose command line a device is named."""
    command = [sys.executable, "-c", "print(flush=True); input()", f"x={OTHER}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        # While a process is being replaced by its program it has no command line.
        assert started.stdout is not None
        assert started.stdout.readline() == b"\n"
        yield started
        started.kill()


@pytest.mark.parametrize(
    ("devices", "hostdevs"),
    [
        ("", ()),
        ("<devices/>", ()),
        (
            f"<devices>{PCI}<disk/>{MDEV}</devices>",
            (Hostdev("pci", {"domain": "0", "bus": "6"}), Hostdev("mdev", {"uuid": OTHER})),
        ),
        ("<devices><hostdev type='mdev'/></devices>", (Hostdev("mdev"),)),
        ("<devices><hostdev><source><address/></source></hostdev></devices>", (Hostdev(""),)),
        # In whatever else the document has, nothing is one.
        (f"<metadata><domain><devices>{MDEV}</devices></domain></metadata>", ()),
        (f"{MDEV}<x>{MDEV}</x><!-- <devices>{MDEV}</devices> -->", ()),
        (f"<devices><![CDATA[{MDEV}]]></devices>", ()),
    ],
)
def test_a_document(devices: str, hostdevs: tuple[Hostdev, ...]) -> None:
    domain = read(f"<domain>{DOMAIN}{devices}</domain>".encode())
    assert (domain.uuid, domain.name, domain.hostdevs) == (UUID, "desk & chair", hostdevs)


@given(
    st.binary(max_size=200) | st.text().map(lambda text: f"<domain>{DOMAIN}{text}</domain>".encode("utf-8", "replace"))
)
def test_any_document_is_read_or_refused(document: bytes) -> None:
    try:
        domain = read(document)
    except NodedevError as error:
        assert "\n" not in str(error)
    else:
        assert domain.uuid == UUID


def test_which_of_a_domains_devices_are_mediated() -> None:
    devices = [Hostdev("mdev", {"uuid": each}) for each in (OTHER, UUID.upper(), OTHER, "")]
    assert managed.named([Hostdev("pci", {"uuid": "x"}), Hostdev("mdev"), *devices]) == [OTHER, UUID]


def test_a_record_reads_back() -> None:
    for guest in (GUEST, replace(GUEST, devices=(), ended=True)):
        files.write_document(guest.path, guest.document())
        assert guests.GUESTS.find(UUID) == guest
        assert guests.GUESTS.all() == ([guest], [])
    assert guests.lent("mdev") == {}
    files.write_document(GUEST.path, GUEST.document())
    assert (guests.lent("mdev"), guests.lent("vgpu")) == ({OTHER: GUEST, UUID: GUEST}, {})
    assert GUEST.path == os.path.join(files.RUNTIME, "guest", f"{UUID}.json")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("name", 1, "it has no name"),
        ("ended", "no", "does not say whether the guest has ended"),
        ("devices", {}, "no list of devices"),
        ("devices", ["x"], "a device is not a kind"),
        ("devices", [{"kind": "mdev", "id": OTHER, "how": "lost"}], "a device is not a kind"),
        ("devices", [{"kind": "mdev", "id": 1, "how": "made"}], "a device is not a kind"),
        ("daemon", 812, "its daemon is not a pid and a time"),
        ("daemon", {"pid": True, "started": 1}, "its daemon is not a pid and a time"),
    ],
)
def test_a_record_that_makes_no_sense(key: str, value: object, reason: str) -> None:
    files.write_document(GUEST.path, {**GUEST.document(), key: value})
    with pytest.raises(DamagedDefinition, match=reason):
        guests.GUESTS.find(UUID)
    assert guests.lent("mdev") == {}


def test_a_process_and_when_it_was_started(process: subprocess.Popen[bytes]) -> None:
    daemon = starting.daemon(process.pid)
    guest = replace(GUEST, daemon=daemon)
    assert starting.is_awaited(guest)
    assert not starting.is_awaited(replace(guest, ended=True))
    # Another process of the same number.
    assert not starting.is_awaited(replace(guest, daemon=replace(daemon, started=daemon.started - 1)))
    assert process.pid in processes.naming(OTHER)
    process.kill()
    process.wait()
    assert not starting.is_awaited(guest)
    assert starting.daemon(process.pid).started == 0
    assert not starting.is_awaited(replace(guest, daemon=starting.daemon(process.pid)))
    assert process.pid not in processes.naming(OTHER)


def test_who_is_about_to_have_a_device(process: subprocess.Popen[bytes]) -> None:
    guest = replace(GUEST, daemon=starting.daemon(process.pid))
    files.write_document(guest.path, guest.document())
    (holder,) = starting.awaiting("mdev", {OTHER: ["/dev/vfio/12"], "x": ["/dev/vfio/13"], UUID: []})
    assert (holder.node, holder.how, holder.pid, holder.domain) == (
        "/dev/vfio/12",
        "about to be opened by",
        process.pid,
        "desk",
    )
    assert starting.awaiting("vgpu", {OTHER: ["/dev/vfio/12"]}) == []
    process.kill()
    process.wait()
    assert starting.awaiting("mdev", {OTHER: ["/dev/vfio/12"]}) == []


def mark() -> str:
    return marks.path_of("mdev", UUID)


def test_a_mark_comes_and_goes_with_the_definition() -> None:
    undo = mdevctl.define(DEFINITION)
    assert mdevctl.defined(UUID) == mdevctl.all_defined() == ([DEFINITION], [])
    assert mdevctl.decode(UUID, DEFINITION.parent, Path(DEFINITION.path).read_text()) == replace(
        DEFINITION, managed=False
    )
    undo()
    assert (marks.is_marked("mdev", UUID), mdevctl.defined(UUID)) == (False, ([], []))
    mdevctl.define(DEFINITION)
    undo = mdevctl.undefine(DEFINITION)
    assert not os.path.exists(mark())
    undo()
    assert mdevctl.defined(UUID) == ([DEFINITION], [])
    undo = mdevctl.define(replace(DEFINITION, managed=False))
    assert not os.path.exists(mark())
    undo()
    assert mdevctl.defined(UUID) == ([DEFINITION], [])


def test_a_mark_stays_with_another_definition_of_the_uuid() -> None:
    other = replace(DEFINITION, parent="0000:07:00.0")
    mdevctl.define(DEFINITION)
    mdevctl.define(other)
    mdevctl.undefine(DEFINITION)
    assert mdevctl.defined(UUID) == ([other], [])
    mdevctl.undefine(other)
    assert not os.path.exists(mark())


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "managed": false}', "\0"])
def test_a_mark_is_one_whatever_is_in_it(text: str) -> None:
    mdevctl.define(DEFINITION)
    Path(mark()).write_text(text)
    assert mdevctl.defined(UUID) == ([DEFINITION], [])
    mdevctl.define(DEFINITION)
    # It is never written over.
    assert Path(mark()).read_text() == text
    mdevctl.undefine(DEFINITION)()
    assert Path(mark()).read_text() == text


def test_a_definition_that_cannot_be_written_leaves_no_mark() -> None:
    with pytest.raises(NodedevError):
        mdevctl.define(replace(DEFINITION, parent="x" * 300))
    assert not os.path.exists(mark())


def test_which_device_is_managed() -> None:
    assert managed.managed(UUID) is None
    assert managed.managed("../x") is None
    marks.leave("mdev", UUID, True)
    with pytest.raises(NodedevError, match="its definition is gone"):
        managed.managed(UUID)
    mdevctl.define(DEFINITION)
    assert managed.managed(UUID) == DEFINITION
    assert managed.managed(OTHER) is None
    mdevctl.define(replace(DEFINITION, parent="0000:07:00.0"))
    with pytest.raises(NodedevError, match="is managed and defined under several parents"):
        managed.managed(UUID)
