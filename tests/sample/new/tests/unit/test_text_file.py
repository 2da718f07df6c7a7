# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a text file: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.text_file import (
    Observation,
    TextFile,
    Wish,
    plan,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import (
    DamagedDefinition,
    LaterVersion,
)

FOLDERS = ("notes", "old")
FILE, OTHER = TextFile("x", "notes", "one"), TextFile("x", "notes", "two")
MOVED = TextFile("x", "old", "one")
PATH = "/etc/nodedev.d/text_file/x.json"
DAMAGED, LATER = DamagedDefinition(PATH, "no JSON"), LaterVersion(PATH, "its version is 2")
CREATE, CHANGE, REMOVE = (
    "create text file x in folder notes",
    "change text file x in folder notes",
    "remove text file x from folder notes",
)
DEFINE, REDEFINE, UNDEFINE = (
    "define text file x in folder notes",
    "change the definition of text file x in folder notes",
    "undefine text file x",
)
REPAIR = f"remove the damaged definition of text file x, {PATH}"


def wished(**options: Any) -> Wish:
    return Wish.checked(name="x", **options)


def seen(
    active: TextFile | None = None, definition: TextFile | None = None, damaged: DamagedDefinition | None = None
) -> Observation:
    return Observation(FOLDERS, active, definition, damaged)


CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("nothing is there", wished(folder="notes", text="one"), seen(), [CREATE, DEFINE]),
    ("an empty one", wished(folder="notes"), seen(), [CREATE, DEFINE]),
    ("all is there", wished(folder="notes", text="one"), seen(FILE, FILE), []),
    ("nothing is said, and it is defined", wished(), seen(None, FILE), [CREATE]),
    ("nothing is said, and it is there", wished(), seen(FILE), [DEFINE]),
    ("another text", wished(text="two"), seen(FILE, FILE), [CHANGE, REDEFINE]),
    ("another text than defined is there", wished(), seen(OTHER, FILE), [CHANGE]),
    ("for now", wished(folder="notes", persistent=False), seen(), [CREATE]),
    ("for now, and it is defined otherwise", wished(text="two", persistent=False), seen(FILE, FILE), [CHANGE]),
    ("defined in another folder", wished(folder="notes"), seen(None, MOVED), [CREATE, REDEFINE]),
    ("only defined", wished(folder="notes", state="inactive"), seen(), [DEFINE]),
    (
        "only defined, its folder is not there",
        wished(folder="later", state="inactive"),
        seen(),
        [DEFINE[:-5] + "later"],
    ),
    ("no longer there", wished(state="inactive"), seen(FILE, FILE), [REMOVE]),
    ("no more", wished(state="absent"), seen(FILE, FILE), [UNDEFINE, REMOVE]),
    ("no more, and it is not", wished(state="absent"), seen(), []),
    ("no more, damaged as its definition is", wished(state="absent"), seen(FILE, damaged=DAMAGED), [REPAIR, REMOVE]),
]


@pytest.mark.parametrize(("wish", "before", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: Wish, before: Observation, steps: list[str]) -> None:
    planned = plan(wish, before)
    assert describe(planned.steps) == steps
    assert plan(wish, planned.then).steps == ()


REFUSED: list[tuple[Wish, Observation, str]] = [
    (wished(), seen(), "folder is required: a file that is to be made has a folder"),
    (wished(folder="later"), seen(), "folder: 'later' cannot be used: it is not there; the folders are: notes, old"),
    (wished(folder="old"), seen(FILE), "text file x is in folder notes, not in old: remove it first"),
    (wished(), seen(TextFile("x", "notes", "a\nb")), "text: 'a\\nb' cannot be used: one line"),
    (wished(), seen(damaged=DAMAGED), "is damaged (no JSON)"),
    (wished(state="absent"), seen(damaged=LATER), "its version is 2"),
]


@pytest.mark.parametrize(("wish", "before", "message"), REFUSED)
def test_refusal(wish: Wish, before: Observation, message: str) -> None:
    with pytest.raises(NodedevError) as error:
        plan(wish, before)
    assert message in str(error.value)


@pytest.mark.parametrize("value", ["", "a/b", "..", "A", "x" * 65, 5, "a\n"])
@pytest.mark.parametrize("option", ["name", "folder"])
def test_what_is_no_name(option: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"^{option}: .* 1 to 64 small letters"):
        Wish.checked(**{"name": "x", option: value})


def test_a_wish_waits_as_long_as_is_documented() -> None:
    assert wished().wait_timeout == 30
