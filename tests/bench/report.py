# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benches share: a host to measure in, the goals with their verdicts, and the page that has the figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ansible
from ansible.release import __version__ as ansible_version
from simhost import SimHost

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make bench"
PAGE = ROOT / "docs" / "performance.md"

# What is asked, what was measured if anything was, and how much it may be at most.
Goal = tuple[str, float | None, float]


def measured(scenario: Mapping[str, Any] | str, script: str, *arguments: str) -> dict[str, Any]:
    """What a script of this folder measures inside a host of its own.

    It is given the file to which it writes JSON, and the arguments.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        library = Path(folder, "library")
        library.mkdir()
        # The host's own Python gets ansible and the collection alone, as in tests/modules.
        (library / "ansible").symlink_to(Path(ansible.__file__).parent)
        answer = Path(folder, "answer.json")
        paths = [str(library), str(ROOT / "playbooks" / "collections"), str(ROOT / "tests")]
        env = {"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(Path(__file__).with_name(script)), str(answer), *arguments]
        with SimHost(scenario) as host:
            status = host.popen(command, env=env).wait()
        if status:
            raise SystemExit(status)
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def machine(other: str, program: str) -> str:
    """The kind of machine and the versions of what was measured, ``other`` being one more; no name of it."""
    kind = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            kind = line.partition(":")[2].strip()
            break
    python, version = (
        subprocess.run([command, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
        for command in ("/usr/bin/python3", program)
    )
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} CPUs of kind {kind}, Linux {kernel}, Python {python}, ansible-core {ansible_version},"
        f" {other} {version}"
    )


def ratio(figure: float | None, other: float | None) -> float | None:
    """How many times the other; None where one of them was not measured."""
    return figure / other if figure and other else None


def goals(asked: Iterable[Goal]) -> list[str]:
    """The goals with their figures, in Markdown. A missed one is no failure, as nobody's machine is ours."""
    lines = ["| goal | at most | measured | |", "|---|---|---|---|"]
    for name, figure, limit in asked:
        verdict = "not measured" if figure is None else "met" if figure <= limit else "**missed**"
        lines.append(f"| {name} | {limit:g} | {'' if figure is None else f'{figure:.3g}'} | {verdict} |")
    return lines


def write(bench: str, lines: Iterable[str]) -> None:
    """Print the lines, and put them between the bench's own markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- bench {bench}: begin -->", f"<!-- bench {bench}: end -->"
    before, _mark, rest = text.partition(begin)
    after = rest.partition(end)[2]
    told = "\n".join(lines)
    print(f"\n{told}")
    PAGE.write_text(f"{before}{begin}\n{told}\n{end}{after}", encoding="utf-8")
