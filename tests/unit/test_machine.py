# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host this is: by its machine-id, as long as it is one, and is its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import machine

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "MACHINE_ID", str(tmp_path / "machine-id"))
    return tmp_path / "machine-id"


@pytest.mark.parametrize("text", [ID, f"{ID}\n", f" {ID} \n\n"])
def test_a_machine_id(file: Path, text: str) -> None:
    file.write_text(text)
    assert machine.known_id() == ID
    assert machine.needed_id(ID) == ID


@pytest.mark.parametrize(
    "text",
    ["", "\n", "uninitialized\n", ID[:-1], f"{ID}0", f"{ID[:-1]}g", f"{ID}\n{ID}", "٠" * 32, "\x00" * 32, b"\xff" * 32],
)
def test_what_is_none(file: Path, text: str | bytes) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert machine.known_id() is None


def test_no_file_and_what_is_no_file(file: Path) -> None:
    assert machine.known_id() is None
    os.mkfifo(file)
    assert machine.known_id() is None


def test_how_to_get_one() -> None:
    with pytest.raises(NodedevError) as refused:
        machine.needed_id(None)
    assert str(refused.value) == (
        f"{machine.MACHINE_ID} holds no machine-id, from which names follow: run systemd-machine-id-setup, or name the"
        " host by the option identity"
    )


@pytest.mark.parametrize("own", [ID, ID.upper(), "b4047197195f4f359571cd0658157295"])
def test_of_an_id_of_its_own_there_is_no_doubt(own: str) -> None:
    assert machine.doubts(own, "the WWNs of pool x") == []


@pytest.mark.parametrize(
    ("id", "why"),
    [
        ("0" * 32, "which is no random number"),
        ("f" * 32, "which is no random number"),
        ("F" * 32, "which is no random number"),
        ("b76cc7b1bbdc489e93909d2043031de8", "which every host has that was made of the image of Linux Mint 20"),
        (
            "B08DFA6083E7567A1921A715000001FB",
            "which every host has that was made of the image of Whonix and Kicksecure",
        ),
    ],
)
def test_of_an_id_that_others_have(id: str, why: str) -> None:
    assert machine.doubts(id, "the WWNs of pool x") == [
        f"{machine.MACHINE_ID} holds {id}, {why}: the WWNs of pool x would be the same on all of them. Name the host by"
        " the option identity, or give it a machine-id of its own by systemd-machine-id-setup"
    ]


def test_of_none() -> None:
    assert machine.doubts(None, "the WWNs of pool x") == [
        f"{machine.MACHINE_ID} holds no machine-id, from which the WWNs of pool x follow, so that none can be"
        " recognized or made by it: run systemd-machine-id-setup, or name the host by the option identity"
    ]


def test_the_ids_of_images_are_ids() -> None:
    assert all(machine.ID.fullmatch(id) and id == id.lower() for id in machine.CLONED)
