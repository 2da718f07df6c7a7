# SPDX-License-Identifier: GPL-3.0-or-later
"""Every block of the pages, by its language: it can be read, and what it names of the collection is there.

Many are run besides, as they are printed: tests/modules/test_start.py, test_migration.py and others.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible.playbook.block import Block as TaskBlock
from ansible.playbook.handler import Handler
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from lxml import etree
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "plugins" / "modules"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
]
# What is indented without a language.
INDENTED = "shell"
TEXT = "text"
# What a whole name of the collection leads to.
NAME = re.compile(r"\bhostdev\.nodedev\.(\w+)")
CONTENT = {
    file.stem
    for pattern in (
        *("plugins/modules/*.py", "plugins/filter/*.py", "playbooks/*.yml", "roles/*"),
        *("extensions/eda/plugins/event_source/*.py", "extensions/eda/rulebooks/*.yml"),
    )
    for file in ROOT.glob(pattern)
}
GROUPS = set(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"])
ACTION = "hostdev.nodedev."


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type in ("fence", "code_block"):
            assert token.map
            language = token.info if token.type == "fence" else INDENTED
            yield Block(page, token.map[0] + 1, language, token.content)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(language: str) -> Any:
    """A parameter for each block of a language."""
    found = [block for block in BLOCKS if block.language == language]
    assert found
    ids = [f"{block.page.relative_to(ROOT)}:{block.line}" for block in found]
    return pytest.mark.parametrize("block", found, ids=ids)


def test_each_block_has_a_language_that_is_checked_here() -> None:
    assert {block.language for block in BLOCKS} == {"shell", "yaml", "xml", "ini", TEXT}


@of("shell")
def test_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@of("xml")
def test_xml(block: Block) -> None:
    # A block may show several.
    etree.fromstring(f"<all>{block.text}</all>")


@of("ini")
def test_ini(block: Block) -> None:
    # A unit may have a key twice, of which the first empties it.
    configparser.RawConfigParser(strict=False).read_string(block.text)


@of("yaml")
def test_yaml(block: Block) -> None:
    assert [*wrong(yaml.safe_load(block.text))] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[{hosts: all, tasks: [{hostdev.nodedev.vhba: {name: a}}]}]", []),
        ("[{hosts: all, task: []}]", ["task"]),
        ("[{hosts: all, tasks: [{hostdev.nodedev.vhba: {nam: a}}]}]", ["hostdev.nodedev.vhba: nam"]),
        (
            "[{block: [{name: a}], rescue: [{hostdev.nodedev.vhba: {}, regster: b}]}]",
            ["name", "hostdev.nodedev.vhba, regster"],
        ),
        ("[{hosts: all, module_defaults: {group/hostdev.nodedev.state: {wait: 1}}}]", []),
    ],
)
def test_what_is_wrong_in_yaml(text: str, expected: list[str]) -> None:
    assert [*wrong(yaml.safe_load(text))] == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_name_of_the_collection_is_there(page: Path) -> None:
    assert {name for name in NAME.findall(page.read_text()) if name not in CONTENT | GROUPS} == set()


def wrong(content: Any) -> Iterator[str]:
    """What is no keyword of a play or task, in what may be a playbook or a list of tasks; all else may say anything."""
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        return
    for each in content:
        if "sources" in each:
            # A rulebook, of which ansible-rulebook knows the keywords.
            continue
        if "hosts" in each:
            yield from sorted(set(each) - set(Play.fattributes))
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from wrong_tasks(each.get(part, []))
        else:
            yield from wrong_tasks([each])


def wrong_tasks(tasks: list[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        if "block" in task:
            yield from sorted(set(task) - set(TaskBlock.fattributes))
            for part in ("block", "rescue", "always"):
                yield from wrong_tasks(task.get(part, []))
            continue
        actions = sorted(set(task) - set(Task.fattributes) - set(Handler.fattributes))
        if len(actions) != 1:
            yield ", ".join(actions) or ", ".join(task)
            continue
        (action,) = actions
        if action.startswith(ACTION) and isinstance(task[action], dict):
            unknown = sorted(set(task[action]) - options(action[len(ACTION) :]))
            yield from (f"{action}: {name}" for name in unknown)


@cache
def options(module: str) -> set[str]:
    """The names and aliases of a module's options, with those of the fragments that it has."""
    told = documentation(MODULES / f"{module}.py")
    found = dict(told["options"])
    for fragment in told.get("extends_documentation_fragment", []):
        name, _dot, part = fragment[len(ACTION) :].partition(".")
        if fragment.startswith(ACTION):
            file = ROOT / "plugins" / "doc_fragments" / f"{name}.py"
            found.update(documentation(file, (part or "documentation").upper()).get("options", {}))
    return {each for name, option in found.items() for each in (name, *option.get("aliases", []))}


def documentation(file: Path, variable: str = "DOCUMENTATION") -> Any:
    """The value of such a variable in a file, which is not run."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{file} has no {variable}")
