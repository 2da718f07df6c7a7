# SPDX-License-Identifier: GPL-3.0-or-later
"""The house as its files have it: its floors, and who imports whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ROOT / "plugins"
LIBRARY = PLUGINS / "module_utils" / "_nodedev"
MODULES = PLUGINS / "modules"
COMMAND, HOOK = (ROOT / "roles" / "persistence" / "files" / name for name in ("nodedev-restore", "50-nodedev"))

# From the ground up: folders, and the files that stand in none, each with what it is. What shares a floor does not
# import each other, so that no kind imports another one.
KINDS = "kinds."
REGISTRY = "kinds.registry"
# What deals with several kinds, and is none.
ABOVE = (REGISTRY, "kinds.backends", "kinds.derived", "kinds.mediated", "kinds.migration")
FLOORS: tuple[Mapping[str, str], ...] = (
    {"text": "text from outside", "archive": "what Ansible sends"},
    {"errors": "what a person reads", "waiting": "with a limit"},
    {
        "names": "libvirt's names",
        "grammar": "parts of a path",
        "plan": "steps with undo",
        "programs": "run with a limit",
        "wishes": "checks of options",
        "ansible_module": "Ansible's side",
    },
    {"store": "what is kept"},
    {"locks": "one a card"},
    {"host": "kernel, udev, /proc"},
    {"libvirt": "libvirt's eyes"},
    {"resource": "ensure()"},
    {"pools": "counted sets"},
    {KINDS: "can be declared"},
    {
        "kinds.derived": "vGPUs, GPU instances",
        "kinds.mediated": "mdevs, told as vGPUs",
        "kinds.migration": "mdevs to functions",
    },
    {REGISTRY: "all kinds, in order", "kinds.backends": "whichever a host has"},
    {"facts": "answers that only look"},
    {"boot": "what is defined, made"},
)
# Who imports the library from outside.
DOORS = {
    "modules": "documentation, one call",
    "filter": "on the controller",
    COMMAND.name: "the role's command",
    HOOK.name: "libvirt's hook",
}

FILES = sorted(LIBRARY.rglob("*.py"))


def name_of(file: Path) -> str:
    """The dotted name of a file of the library, as 'host.sysfs'."""
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts)


NAMES = {name_of(file) for file in FILES}


def place(name: str) -> str:
    """The folder of the house that a file of the library stands in, or the file itself where it stands in none."""
    if name.startswith(KINDS):
        return ".".join(name.split(".")[:2])
    return name.partition(".")[0]


def floor(name: str) -> int:
    """On which floor a file of the library stands; every kind is on the one of kinds."""
    own = place(name)
    listed = own if own in ABOVE or not own.startswith(KINDS) else KINDS
    return next(number for number, places in enumerate(FLOORS) if listed in places)


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


def needed(*names: str) -> set[str]:
    """These files of the library and all that they import, at once or later."""
    found: set[str] = set()
    wanted = [*names]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += USED[name]
    return found


def edges() -> dict[str, set[str]]:
    """Which place imports which, the doors with them."""
    found: dict[str, set[str]] = {place(name): set() for name in sorted(NAMES)}
    for name, files in USED.items():
        found[place(name)] |= {place(each) for each in files} - {place(name)}
    for door in DOORS:
        found[door] = {place(name) for file in (PLUGINS / door).glob("*.py") for name in used(file)}
    for file in (COMMAND, HOOK):
        found[file.name] = {place(name) for name in imported_by(file)}
    return found


def imported_by(command: Path) -> list[str]:
    """The files of the library, as the boot engine has it, that one of its commands imports."""
    return re.findall(r"from nodedev\.(\S+) import", command.read_text())
