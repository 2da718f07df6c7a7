# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of the house: a file imports only what stands on floors below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
MODULES = LIBRARY.parent / "modules"

GROUND = (
    "text",
    "errors",
    "waiting",
    "programs",
    "writer",
    "names",
    "sysfs",
    "plan",
    "definitions",
    "locks",
    "numbers",
    "xml",
    "hostdev",
    "elements",
    "kept",
    "children",
    "machine",
    "nodes",
    "processes",
    "wishes",
    "damaged",
)
FLOORS = (
    GROUND,
    (
        "holders",
        "disk_users",
        "udev",
        "udev_events",
        "oddities",
        "pci_ids",
        "mdevs",
        "mdev_parents",
        "ethtool",
        "devlink",
        "mdevctl",
        "boot",
        "ansible_module",
    ),
    ("capabilities", "callouts"),
    ("resource",),
    ("resources", "kinds", "extras", "extras_fc", "inventory", "facts", "vhba_facts", "mdev_types_facts"),
    ("pools",),
    ("defined",),
    ("restoring",),
    ("restore",),
    ("engine",),
)


def floor(name: str) -> int:
    """Where a library file stands, by the first part of its name below module_utils."""
    return next(number for number, names in enumerate(FLOORS) if name.split(".")[0] in names)


def imports(file: Path) -> list[str]:
    """The dotted names that a file imports; those of the library begin at module_utils, as in 'capabilities.mdev'."""
    found = []
    package = file.relative_to(LIBRARY).parent.parts if file.is_relative_to(LIBRARY) else ()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
            found += [".".join(["lib", *base, *([] if node.module else [alias.name])]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


FILES = sorted(LIBRARY.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(LIBRARY)) for file in FILES])
def test_arrows_point_down(file: Path) -> None:
    own = ".".join(file.relative_to(LIBRARY).with_suffix("").parts)
    used = {name.removeprefix("lib.") for name in imports(file) if name.startswith("lib.")}
    upward = [name for name in used if floor(name) > floor(own)]
    assert not upward, f"{own} imports {upward} from a floor above its own"


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(LIBRARY)) for file in FILES])
def test_only_one_file_imports_ansible(file: Path) -> None:
    uses = any(name.split(".")[0] in ("ansible", "ansible_collections") for name in imports(file))
    assert uses == (file.name == "ansible_module.py")


@pytest.mark.parametrize("file", sorted(MODULES.glob("*.py")), ids=lambda file: file.name)
def test_a_module_is_documentation_and_one_call(file: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    assert [(function.name, len(function.body)) for function in functions] == [("main", 1)]
