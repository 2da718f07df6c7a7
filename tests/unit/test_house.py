# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of the house: a file imports only what stands on floors below its own, or beside it in its folder.

And every kind of the registry is known wherever kinds have to be.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import install
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from house import (
    COMMAND,
    FILES,
    HOOK,
    LIBRARY,
    MODULES,
    PLUGINS,
    ROOT,
    USED,
    floor,
    imported_by,
    imports,
    name_of,
    needed,
    place,
)
from house_picture import PICTURE, picture

# Who imports the library from outside.
DOORS = {"modules", "filter"}
IDS = [str(file.relative_to(LIBRARY)) for file in FILES]
KINDS = registry.KINDS
# The modules for what can be declared, one device or a pool.
DECLARING = {*KINDS, *(f"{name}_pool" for name, kind in KINDS.items() if kind.pools)}
RULES = ROOT / "roles" / "persistence" / "files" / "61-nodedev-restore.rules"
# Above the rules of a kind's parents, up to an empty line.
RULES_OF_A_KIND = re.compile(r"^# (\w+): .*\n((?:.+\n)+)", re.MULTILINE)
STARTS = 'GOTO="nodedev_arrived"'


def circle(name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The files by which a file imports itself; nothing where it does not."""
    if name in above:
        return (*above, name)
    return next(filter(None, (circle(each, (*above, name)) for each in sorted(USED[name]))), ())


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_arrows_point_down(file: Path) -> None:
    own = name_of(file)
    wrong = [each for each in USED[own] if floor(each) >= floor(own) and place(each) != place(own)]
    assert not wrong, f"{own} imports {wrong}, which is not below it"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_no_file_imports_itself_by_way_of_others(file: Path) -> None:
    assert not circle(name_of(file))


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_only_one_file_imports_ansible(file: Path) -> None:
    uses = any(name.split(".")[0] == "ansible" for name in imports(file))
    assert uses == (name_of(file) == "ansible_module")


def test_only_the_doors_import_the_library() -> None:
    users = {file.relative_to(PLUGINS).parts[0] for file in PLUGINS.rglob("*.py") if used_from_outside(file)}
    assert users == DOORS


def used_from_outside(file: Path) -> bool:
    """Whether a file imports the library and is not of it."""
    return not file.is_relative_to(LIBRARY) and any("module_utils._nodedev" in name for name in imports(file))


@pytest.mark.parametrize("file", sorted(MODULES.glob("*.py")), ids=lambda file: file.name)
def test_a_module_is_documentation_and_one_call(file: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    assert [(function.name, len(function.body)) for function in functions] == [("main", 1)]


def test_the_picture_is_current() -> None:
    # .venv/bin/python tests/house_picture.py
    assert PICTURE.read_text() == picture()


def test_the_picture_shows_each_box_whole() -> None:
    text = PICTURE.read_text()
    (width,) = re.findall(r'viewBox="0 0 (\d+) ', text)
    boxes = [
        (int(left), int(size)) for left, size in re.findall(r'class="box" x="(-?\d+)" y="\d+" width="(\d+)"', text)
    ]
    assert boxes
    assert [left for left, size in boxes if left < 0 or left + size > int(width)] == []


def test_the_boot_engine_has_what_its_commands_import() -> None:
    """No more and no less: it is what is sent with the module that installs it."""
    # nodedev-events is nodedev-restore with another file (roles/persistence/tasks/events.yml).
    commands = {*imported_by(COMMAND), *imported_by(HOOK), "boot.forward"}
    installers = {path.removesuffix(".py").replace("/", ".") for path in install.INSTALLERS}
    assert needed("ansible_module", "boot.engine") - installers == needed(*commands)


def test_the_page_on_the_house_names_files_that_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text())
    assert [name for name in named if not (LIBRARY / name).exists() and not (ROOT / name).exists()] == []


def assigned(file: Path, name: str) -> Any:
    """What a file assigns to a name, without running it: where there is no ansible it cannot be imported."""
    for node in ast.parse(file.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(target, ast.Name) and target.id == name:
            return ast.literal_eval(node.value or ast.Constant(None))
    raise AssertionError(f"{file} has no {name}")


def listed(text: str, head: str) -> list[str]:
    """The entries of a list in YAML, by the line above it."""
    (found,) = re.findall(rf"^ *{re.escape(head)}\n((?: *(?:- |#).*\n)+)", text, re.MULTILINE)
    return re.findall(r"^ *- (.*)$", found, re.MULTILINE)


def test_every_kind_has_its_modules() -> None:
    with_a_state = {file.stem for file in MODULES.glob("*.py") if "- hostdev.nodedev.state\n" in file.read_text()}
    # The module nodedev makes what libvirt's documents and names mean, whatever kind that is of.
    assert with_a_state == {*DECLARING, "nodedev"}


def test_every_kind_is_in_the_action_group_of_modules_with_a_state() -> None:
    runtime = (ROOT / "meta" / "runtime.yml").read_text()
    assert listed(runtime, "state:") == sorted([*DECLARING, "nodedev"])


def test_every_kind_has_a_rule_for_its_parents() -> None:
    found = RULES_OF_A_KIND.findall(RULES.read_text())
    assert sorted(name for name, rules in found if STARTS in rules) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_page(kind: str) -> None:
    assert (ROOT / "docs" / f"{kind}.md").exists()
    assert f"(docs/{kind}.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("module", sorted(DECLARING))
def test_every_module_of_a_kind_is_in_the_table_of_the_readme(module: str) -> None:
    assert f"\n| `{module}` |" in (ROOT / "README.md").read_text()


def test_hostdev_xml_has_an_answer_for_every_kind() -> None:
    assert set(assigned(PLUGINS / "filter" / "hostdev_xml.py", "DECLARED")) == set(KINDS)


def test_definition_facts_tells_of_every_kind() -> None:
    file = MODULES / "definition_facts.py"
    documentation = assigned(file, "DOCUMENTATION")
    assert listed(documentation, "choices:") == [*KINDS, "pool"]
    returned = re.findall(r"^        (\w+):$", assigned(file, "RETURN"), re.MULTILINE)
    assert returned == [*KINDS, "pool", "damaged"]
    others = [name for name in listed(documentation, "seealso:") if name.startswith("module: ")]
    assert others == [f"module: hostdev.nodedev.{name}" for name in sorted([*DECLARING, "nodedev"])]


def test_a_name_is_of_one_kind() -> None:
    prefixes = {name: kind.documents.PREFIX for name, kind in KINDS.items() if kind.documents}
    same = [
        (one, other)
        for one, prefix in prefixes.items()
        for other, longer in prefixes.items()
        if one != other and longer.startswith(prefix)
    ]
    assert not same, f"the module nodedev cannot tell by a name of which of these kinds a device is: {same}"
