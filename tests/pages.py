# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what a page of the documentation prints: writes its files, runs its commands, and compares what they say."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from programs import printed

ROOT = Path(__file__).resolve().parent.parent

# What stands for lines that are left out.
GAP = "..."
BLOCK = re.compile(r"^```(\w+)\n((?s:.*?))^```$|^(#{2,}) (.*)$", re.MULTILINE)
# A table's rows, after its head and the line below that.
TABLE = re.compile(r"^\|[-|]+\|\n((?:\|.*\|\n)+)", re.MULTILINE)
# The first line of a file names it.
FILE = re.compile(r"(?:# (\S+\.yml)|<!-- (\S+\.xml) -->)\n")


@dataclass(frozen=True)
class Block:
    """A block of a page, below these headings: the chapter's and, where there is one, the section's."""

    language: str
    text: str
    chapter: str
    section: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it is one."""
        named = FILE.match(self.text)
        return (named[1] or named[2]) if named else None


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def blocks(text: str) -> Iterator[Block]:
    chapter = section = ""
    for language, content, depth, heading in BLOCK.findall(text):
        if depth == "##":
            chapter, section = heading, ""
        elif depth:
            section = heading
        else:
            yield Block(language, content, chapter, section)


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table, without their heads."""
    return [[cells(line) for line in found.splitlines()] for found in TABLE.findall(text)]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line[1:-1].split("|")]


class Controller:
    """A folder with an empty home, where commands run as a person types them."""

    def __init__(self, folder: Path, collection: Path) -> None:
        """``collection`` is what is installed, as built."""
        self.folder = folder / "work"
        self.home = folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        self.run(f"ansible-galaxy collection install --offline {collection}")

    def run(self, command: str) -> str:
        """All that a command prints; it must succeed."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return printed(["sh", "-ec", command], self.folder, {**own, "HOME": str(self.home), "PATH": path})

    def write(self, block: Block) -> None:
        assert block.file is not None, block.text
        file = self.folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)

    def reach(self, variables: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the hosts of an inventory in this folder these variables, which are no part of a page."""
        (self.folder / "host_vars").mkdir()
        for name, own in variables.items():
            (self.folder / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(dict(own)))


def unlike(shown: str, output: str) -> str | None:
    """The first line of what a page shows that the output lacks; lines stand together but where some are left out.

    Empty lines count for nothing.
    """
    said = [line.rstrip() for line in output.splitlines() if line.strip()]
    place, anywhere = 0, True
    for line in shown.splitlines():
        if line == GAP:
            anywhere = True
            continue
        until = len(said) if anywhere else place + 1
        found = next((number for number in range(place, until) if said[number : number + 1] == [line.rstrip()]), None)
        if found is None:
            return line
        place, anywhere = found + 1, False
    return None


def follow(block: Block, controller: Controller, output: str) -> str:
    """Do what a block says, and return what it prints; compare what the page shows with what was printed last."""
    if block.language == "shell":
        return controller.run(block.text)
    if block.language == "yaml":
        controller.write(block)
    else:
        assert block.language == "text"
        missing = unlike(block.text, output)
        assert missing is None, f"{missing!r} is not in\n{output}"
    return output
