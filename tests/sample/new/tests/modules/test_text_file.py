# SPDX-License-Identifier: GPL-3.0-or-later
"""The text_file module on the simulated host: its states, its definition, and what restores it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Host, warnings
from test_documentation import returned, shape
from test_restore import install, restore

FOLDERS = "/run/text_files"
DEFINITION = "/etc/nodedev.d/text_file/today.json"
CREATE, DEFINE = "create text file today in folder notes", "define text file today in folder notes"
DOCUMENT = {"folder": "notes", "text": "one"}
NOTHING: dict[str, Any] = {}


@pytest.fixture
def notes(host: Host) -> Host:
    """A host with a folder for text files and the boot engine."""
    install(host)
    make_folder(host)
    return host


def make_folder(host: Host) -> None:
    host.run(["mkdir", "-p", f"{FOLDERS}/notes"])


def there(host: Host) -> dict[str, str]:
    """All text files by their place, with their text."""
    found = host.run(["grep", "-rs", "", FOLDERS], check=False).stdout.splitlines()
    return dict(line.removeprefix(f"{FOLDERS}/").split(":", 1) for line in found)


def changed(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that changes something, as check mode has foretold it; the next one changes nothing."""
    before = host.state()
    foretold = host.done("text_file", name="today", **wish, check_mode=True, diff=True)
    assert host.state() == before
    done = host.done("text_file", name="today", **wish, diff=True)
    assert {**foretold, "invocation": None, "warnings": None} == {**done, "invocation": None, "warnings": None}
    again = host.done("text_file", name="today", **wish, diff=True)
    assert (done["changed"], again["changed"], again["plan"]) == (True, False, [])
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    return done


def test_its_life(notes: Host) -> None:
    made = changed(notes, folder="notes", text="one")
    assert made["plan"] == [CREATE, DEFINE]
    assert made["diff"] == {"before": "", "after": "today: runs and is defined; folder notes, text one\n"}
    assert made["text_file"] == {
        "file": "today",
        "parent_addr": "notes",
        "text": "one",
        "active": True,
        "persistent": True,
    }
    assert there(notes) == {"notes/today": "one"}
    assert changed(notes, state="inactive")["diff"]["after"] == "today: is defined; folder notes, text one\n"
    assert there(notes) == {}
    assert changed(notes)["plan"] == [CREATE]
    assert changed(notes, state="absent")["diff"]["after"] == ""
    assert there(notes) == {}
    assert notes.run(["ls", "/etc/nodedev.d"], check=False).stdout == ""


def test_a_file_for_now(notes: Host) -> None:
    made = changed(notes, folder="notes", text="one", persistent=False)
    assert (made["plan"], made["text_file"]["persistent"]) == ([CREATE], False)
    assert made["diff"]["after"] == "today: runs; folder notes, text one\n"


def test_what_is_refused_changes_nothing(notes: Host) -> None:
    message = notes.failed("text_file", name="today", folder="later")
    assert message == "folder: 'later' cannot be used: it is not there; the folders are: notes"


def test_what_fails_is_undone(notes: Host) -> None:
    # A file is in the place of the folder of definitions.
    notes.run(["sh", "-c", "mkdir -p /etc/nodedev.d; touch /etc/nodedev.d/text_file"])
    message = notes.failed("text_file", name="today", folder="notes")
    assert f"undone: {CREATE}" in message
    assert there(notes) == {}


def test_facts(notes: Host) -> None:
    notes.done("text_file", name="today", folder="notes", text="one")
    notes.write(f"{FOLDERS}/notes/today", "two\n")
    notes.write("/etc/nodedev.d/text_file/y.json", "{")
    result = notes.done("definition_facts", kinds=["text_file"])
    facts = result["ansible_facts"]["nodedev_definitions"]
    assert facts["text_file"] == [
        {
            "file": "today",
            "parent_addr": "notes",
            "text": "one",
            "active": True,
            "autostart": True,
            "parent_missing": False,
            "drift": [{"what": "text", "defined": "one", "running": "two"}],
            "pool": None,
        }
    ]
    assert [each["path"] for each in facts["damaged"]] == ["/etc/nodedev.d/text_file/y.json"]
    assert len(warnings(result)) == 1
    sample = returned("definition_facts")["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]["text_file"]
    assert set(sample["sample"][0]) == set(facts["text_file"][0])


def test_it_is_back_after_a_reboot(notes: Host) -> None:
    notes.done("text_file", name="today", folder="notes", text="one")
    notes.done("text_file", name="now", folder="notes", persistent=False)
    notes.reboot()
    make_folder(notes)
    assert there(notes) == {}
    told = "text file today in folder notes"
    done = restore(notes)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"restored: {told}", "1 restored, 0 there already, 0 failed"]
    assert there(notes) == {"notes/today": "one"}
    assert restore(notes).stdout.splitlines()[0] == f"there already: {told}"
    assert restore(notes, "--list").stdout.splitlines() == [f"{told}: active, auto"]


def test_it_is_back_when_its_folder_arrives(notes: Host) -> None:
    notes.done("text_file", name="today", folder="notes", text="one")
    notes.write("/etc/nodedev.d/text_file/y.json", "{")
    notes.reboot()
    missing = "its folder is not there; it is restored when the folder arrives"
    done = restore(notes)
    assert done.returncode == 1
    assert f"failed: text file today in folder notes: {missing}" in done.stderr.splitlines()
    make_folder(notes)
    assert restore(notes, "--parent", "other").returncode == 2
    done = restore(notes, "--parent", "notes")
    assert "1 restored" in done.stdout
    # The damaged one may be of this folder too.
    assert "y.json is damaged" in done.stderr
    assert there(notes) == {"notes/today": "one"}


def test_it_returns_what_it_documents(notes: Host) -> None:
    known = returned("text_file")
    made = notes.done("text_file", name="today", folder="notes", text="one")
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["text_file"]) == shape(known["text_file"]["contains"])
