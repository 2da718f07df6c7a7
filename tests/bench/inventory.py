# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the inventory against libvirtd and against the floor, and writes the table of docs/performance.md.

Prints each goal with met or missed; a missed one is no failure, as nobody's machine is ours.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ansible
from ansible.release import __version__ as ansible_version
from simhost import SimHost

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make bench"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
MEGABYTE = 1e6


def measured() -> dict[str, Any]:
    """The figures by number of functions, measured in a host of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        library = Path(folder, "library")
        library.mkdir()
        # The host's own Python gets ansible and the collection alone, as in tests/modules.
        (library / "ansible").symlink_to(Path(ansible.__file__).parent)
        answer = Path(folder, "answer.json")
        paths = [str(library), str(ROOT / "playbooks" / "collections"), str(ROOT / "tests")]
        env = {"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(Path(__file__).with_name("measure.py")), str(answer)]
        with SimHost({}) as host:
            status = host.popen(command, env=env).wait()
        if status:
            raise SystemExit(status)
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def machine() -> str:
    """The kind of machine and the versions of what was measured; no name of it."""
    kind = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            kind = line.partition(":")[2].strip()
            break
    python, daemon = (
        subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
        for program in ("/usr/bin/python3", "libvirtd")
    )
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} CPUs of kind {kind}, Linux {kernel}, Python {python}, ansible-core {ansible_version},"
        f" libvirt {daemon}"
    )


def table(results: dict[str, Any]) -> list[str]:
    """The figures, a row each, in Markdown."""
    lines = ["| functions | what | seconds | of libvirtd | of the floor | peak memory | runs |"]
    lines.append("|---|---|---|---|---|---|---|")
    for functions, result in results.items():
        figures = result["figures"]
        for name, figure in figures.items():
            seconds, peak = figure["median"], figure["peak"]
            what = f"{name} ({figure['note']})" if figure["note"] else name
            if name == "floor":
                what = f"floor: {result['files']} files opened, read, closed"
            cells = [f"{int(functions):,}", what, f"{seconds:.3f}" if seconds else ""]
            for other in (figures["libvirtd"]["median"], figures["floor"]["median"]):
                cells.append(f"{seconds / other:.2f}" if seconds and other else "")
            cells += [f"{peak / MEGABYTE:.0f} MB" if peak else "", str(figure["runs"])]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def goals(results: dict[str, Any]) -> list[str]:
    """The goals of the inventory with their figures, in Markdown."""
    few, many = (result["figures"] for result in results.values())

    def ratio(figure: dict[str, Any], other: dict[str, Any]) -> float | None:
        return figure["median"] / other["median"] if figure["median"] and other["median"] else None

    ours = few["ours"]
    asked = [
        ("4,096 functions against libvirtd", ratio(ours, few["libvirtd"]), 0.5),
        ("4,096 functions against the floor", ratio(ours, few["floor"]), 2.0),
        ("32,768 functions against 4,096", ratio(many["ours"], ours), 9.0),
        ("MB at the peak with 32,768 functions", many["ours"]["peak"] / MEGABYTE, 400.0),
        ("mdev_types alone against all, at 4,096", ratio(few["ours, mdev_types alone"], ours), 0.15),
    ]
    lines = ["| goal | at most | measured | |", "|---|---|---|---|"]
    for name, figure, limit in asked:
        verdict = "not measured" if figure is None else "met" if figure <= limit else "**missed**"
        lines.append(f"| {name} | {limit:g} | {'' if figure is None else f'{figure:.2f}'} | {verdict} |")
    floor, nothing = few["floor"]["median"], few["a module that does nothing"]["median"]
    lines += [
        "",
        f"At 4,096, a module that does nothing takes {nothing / floor:.2f} floors, and {nothing / ours['median']:.2f}"
        f" of ours; it and the floor, one after the other, are {(nothing + floor) / floor:.2f} floors, and ours is"
        f" {ours['median'] / (nothing + floor):.2f} times both.",
    ]
    return lines


def write(lines: list[str]) -> None:
    """Put the lines between the markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _mark, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]), encoding="utf-8")


def main() -> None:
    results = measured()
    lines = [f"`{COMMAND}` on {machine()}; medians.", "", *table(results), "", *goals(results)]
    print("\n".join(["", *lines]))
    write(lines)


if __name__ == "__main__":
    main()
