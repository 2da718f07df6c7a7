# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new kind needs, as CONTRIBUTING.md has it: the sample of tests/sample, added to a copy of the collection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clones import clone
from conftest import ROOT

PLUGINS = "ansible_collections.hostdev.nodedev.plugins"
SAMPLE = ROOT / "tests" / "sample"
NEW = SAMPLE / "new"
FILES = sorted(str(file.relative_to(NEW)) for file in NEW.rglob("*") if file.is_file() and file.suffix != ".pyc")
LINES = yaml.safe_load((SAMPLE / "lines.yml").read_text())


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the collection with the sample in it, and its picture drawn anew."""
    folder = tmp_path_factory.mktemp("sample") / "nodedev"
    clone(folder)
    for file in FILES:
        assert not (folder / file).exists()
        # To ansible-test, what begins so and is not in plugins/modules is a script.
        begin = "#!/usr/bin/python\n" if file.startswith("plugins/modules/") else ""
        (folder / file).write_text(begin + (NEW / file).read_text())
    for name, additions in LINES.items():
        for addition in additions:
            add(folder / name, **addition)
    run(folder, "tests/house_picture.py")
    return folder


def add(file: Path, lines: str, above: str | None = None, below: str | None = None) -> None:
    """Add lines above or below the one line that begins so."""
    every = file.read_text().splitlines(keepends=True)
    (number,) = (number for number, line in enumerate(every) if line.startswith(str(above or below)))
    place = number if above else number + 1
    file.write_text("".join([*every[:place], lines, *every[place:]]))


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a copy, with nothing of this checkout's in its environment; it must succeed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_a_kind_is_made_of() -> None:
    assert FILES == [
        "changelogs/fragments/text_file.yml",
        "docs/text_file.md",
        "plugins/module_utils/_nodedev/kinds/text_file.py",
        "plugins/modules/text_file.py",
        "tests/modules/test_text_file.py",
        "tests/unit/test_text_file.py",
    ]


def test_where_a_kind_is_named() -> None:
    found = {name: sum(len(each["lines"].split("\n")) - 1 for each in additions) for name, additions in LINES.items()}
    # The import and the line of the registry; a comment, the rule and an empty line.
    assert found == {
        "plugins/module_utils/_nodedev/kinds/registry.py": 2,
        "plugins/modules/definition_facts.py": 15,
        "plugins/filter/hostdev_xml.py": 1,
        "meta/runtime.yml": 1,
        "roles/persistence/files/61-nodedev-restore.rules": 3,
        "README.md": 2,
        "docs/verified.md": 1,
        "docs/troubleshooting.md": 1,
        "docs/results.md": 1,
        "tests/modules/odd_strategies.py": 1,
    }


@pytest.mark.parametrize("file", [*FILES, *LINES])
def test_the_recipe_has_each_file(file: str) -> None:
    recipe = (ROOT / "CONTRIBUTING.md").read_text().partition("## How to add a device kind")[2].partition("\n## ")[0]
    name = file.replace("text_file", "<kind>").replace("plugins/module_utils/_nodedev/", "")
    assert f"`{name}`" in recipe


def test_it_is_typed(collection: Path) -> None:
    run(
        collection,
        "-m",
        "mypy",
        "-m",
        f"{PLUGINS}.modules.text_file",
        "-m",
        f"{PLUGINS}.module_utils._nodedev.kinds.registry",
    )


def test_the_house_stands(collection: Path) -> None:
    run(collection, "-m", "pytest", "-q", "tests/unit/test_house.py", "tests/unit/test_troubleshooting.py")
    run(collection, "-m", "pytest", "-q", "tests/unit/test_text_file.py")


def test_it_lives(collection: Path) -> None:
    assert "passed" in run(collection, "-m", "pytest", "-q", "tests/modules/test_text_file.py")


def test_it_is_documented(collection: Path) -> None:
    which = "text_file or definition_facts or documented_once or no_other_row or with_a_state or each_word"
    files = ("tests/modules/test_documentation.py", "tests/modules/test_results.py")
    assert "passed" in run(collection, "-m", "pytest", "-q", *files, "-k", which)
