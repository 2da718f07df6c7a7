# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of the house: a file imports only what stands on floors below its own, or beside it in its folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
LIBRARY = PLUGINS / "module_utils" / "_nodedev"
MODULES = PLUGINS / "modules"

# From the ground up: folders, and the files that stand in none. What shares a floor does not import each other.
FLOORS = (
    {"text"},
    {"errors", "waiting"},
    {"names", "plan", "programs", "wishes", "ansible_module"},
    {"store"},
    {"locks"},
    {"host"},
    {"libvirt"},
    {"resource"},
    {"pools"},
    {"kinds.mdev", "kinds.vhba"},
    {"kinds.registry"},
    {"facts", "boot"},
)
# Who imports the library from outside.
DOORS = {"modules", "filter"}

FILES = sorted(LIBRARY.rglob("*.py"))
IDS = [str(file.relative_to(LIBRARY)) for file in FILES]


def name_of(file: Path) -> str:
    """The dotted name of a file of the library, as 'host.sysfs'."""
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts)


NAMES = {name_of(file) for file in FILES}


def place(name: str) -> str:
    """The folder of the house that a file of the library stands in, or the file itself where it stands in none."""
    return next(place for floor in FLOORS for place in floor if name == place or name.startswith(f"{place}."))


def floor(name: str) -> int:
    """On which floor a file of the library stands."""
    return next(number for number, places in enumerate(FLOORS) if place(name) in places)


def imports(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, those of other packages as they are."""
    folder = file.relative_to(PLUGINS).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*folder[: len(folder) - node.level + 1], *filter(None, [node.module])] if node.level else []
            package = ".".join(base) if node.level else str(node.module).partition("nodedev.plugins.")[2]
            if not package:
                yield str(node.module)
            yield from (f"{package}.{alias.name}" for alias in node.names if package)


def used(file: Path) -> set[str]:
    """The files of the library that a file imports."""
    inside = (name.partition("module_utils._nodedev.")[2] for name in imports(file))
    found = {name if name in NAMES else name.rpartition(".")[0] for name in inside if name}
    assert found <= NAMES
    return found


USED = {name_of(file): used(file) for file in FILES}


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
