# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the library can tell a person is explained in docs/troubleshooting.md, and nothing else is there."""

from __future__ import annotations

from collections import Counter

import pytest
from house import PLUGINS, ROOT
from messages import core, entries, texts

PAGE = ROOT / "docs" / "troubleshooting.md"
SOURCES = {str(file.relative_to(ROOT)): file.read_text() for file in sorted(PLUGINS.rglob("*.py"))}
# Variables, classes and functions whose texts are no messages.
UNSAID = {
    "FIELDS": "what nvidia-smi calls what it tells",
    "OWN": "what chzdev's rules begin with",
    "CLONED": "names of images, which stand in a message that has its own entry",
    "title": "the heading of a report, and what it is a report of",
    "HELP": "what the metrics of nodedev-restore are, which docs/monitoring.md explains",
    "_Parser": "what nodedev-restore --help says",
    "_parser": "what nodedev-events --help says",
}
SAID = [(file, text) for file, source in SOURCES.items() for text in texts(source, UNSAID)]
EXPLAINED = entries(PAGE.read_text())


def test_every_message_is_explained() -> None:
    known = {entry.core for entry in EXPLAINED}
    missing = [f"{file}:{said.line}: {said.text}" for file, said in SAID if said.is_message and said.core not in known]
    assert not missing, "\n".join([f"{PAGE.name} does not have:", *missing])


def test_every_explanation_is_of_a_message() -> None:
    known = {said.core for _file, said in SAID}
    stale = [f"{PAGE.name}:{entry.line}: {entry.text}" for entry in EXPLAINED if entry.core not in known]
    assert not stale, "\n".join(["the library does not say:", *stale])


def test_every_message_is_explained_once() -> None:
    cores = Counter(entry.core for entry in EXPLAINED)
    assert [text for text, count in cores.items() if count > 1] == []


@pytest.mark.parametrize("name", UNSAID)
def test_what_is_no_message_is_there(name: str) -> None:
    sources = [source for source in SOURCES.values() if name in source]
    assert any(len(texts(source, {name})) < len(texts(source)) for source in sources)


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        pytest.param('raise Bad("it is of no use")', ["it is of no use"], id="text"),
        pytest.param('raise Bad(f"{a} is of no use: {b}")', ["… is of no use: …"], id="values"),
        pytest.param('raise Bad("it is" " of no use")', ["it is of no use"], id="implicit"),
        pytest.param('raise Bad("it is " + use(f"{a}") + ": of none")', ["it is …: of none"], id="sum"),
        pytest.param(
            'raise Bad("it is " + ("quite new here" if a else b))', ["it is …", "quite new here"], id="choice"
        ),
        pytest.param("raise Bad(f\"it {'is new now' if a else b}\")", ["is new now"], id="within"),
        pytest.param('raise Bad(f"{a} {b} / {c} is new")', ["… / … is new"], id="several-values"),
        pytest.param('WORDS = {1: "it is new"}', ["it is new"], id="table"),
        pytest.param('return "it is new", True', ["it is new"], id="returned"),
        pytest.param('def f(a="it is new"): ...', ["it is new"], id="default"),
        pytest.param('raise Bad("no room")', ["no room"], id="two-words-raised"),
        pytest.param('how = "held by"', [], id="two-words"),
        pytest.param('raise Bad("parent", a)', [], id="one-word"),
        pytest.param('a = "/sys/class/mdev_bus"', [], id="path"),
        pytest.param('def f():\n    """It is not said."""', [], id="docstring"),
        pytest.param('DOCUMENTATION = """\nit is not said\n"""', [], id="lines"),
        pytest.param('a = re.compile(r"it is\\b no text")', [], id="pattern"),
        pytest.param('raise Bad(" and no ".join(a))', [], id="joint"),
        pytest.param('NAMES = {1: "it is a name"}', [], id="unsaid-variable"),
        pytest.param('NAMES: dict[int, str] = {1: "it is a name"}', [], id="unsaid-annotated"),
        pytest.param('class NAMES:\n    def f(self): return "it is a name"', [], id="unsaid-class"),
    ],
)
def test_what_is_a_message(source: str, messages: list[str]) -> None:
    assert [text.text for text in texts(source, {"NAMES"}) if text.is_message] == messages


def test_a_message_has_its_line() -> None:
    assert [text.line for text in texts('"""Docs."""\n\nraise Bad("it is new")\n') if text.is_message] == [3]


PAGE_OF_TWO = """\
`not in a table`

| errno | message | what to do |
|---|---|---|
| EIO | `it is new`<br>`… is old: …` | `dmesg` |

| situation | what to do |
|---|---|
| `no message` | nothing |
"""


def test_messages_of_a_page() -> None:
    assert [(entry.line, entry.text) for entry in entries(PAGE_OF_TWO)] == [(5, "it is new"), (5, "… is old: …")]


@pytest.mark.parametrize(
    ("source", "entry", "same"),
    [
        ("; it is new: …", "it is new", True),
        ("… has … … here (…)", "has … here", True),
        ("it is … here", "it is here", False),
        ("it is new", "it is news", False),
    ],
)
def test_what_stands_around_a_message_does_not_count(source: str, entry: str, same: bool) -> None:
    assert (core(source) == core(entry)) == same
