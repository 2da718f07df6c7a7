# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the inventory against libvirtd and against the floor, and writes its part of docs/performance.md."""

from __future__ import annotations

from typing import Any

from bench.report import COMMAND, Goal, goals, machine, measured, ratio, write

MEGABYTE = 1e6


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
                times = ratio(seconds, other)
                cells.append("" if times is None else f"{times:.2f}")
            cells += [f"{peak / MEGABYTE:.0f} MB" if peak else "", str(figure["runs"])]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def asked(results: dict[str, Any]) -> list[Goal]:
    """The goals of the inventory."""
    few, many = (result["figures"] for result in results.values())
    ours = few["ours"]["median"]
    return [
        ("4,096 functions against libvirtd", ratio(ours, few["libvirtd"]["median"]), 0.5),
        ("4,096 functions against the floor", ratio(ours, few["floor"]["median"]), 2.0),
        ("32,768 functions against 4,096", ratio(many["ours"]["median"], ours), 9.0),
        ("MB at the peak with 32,768 functions", many["ours"]["peak"] / MEGABYTE, 400.0),
        ("mdev_types alone against all, at 4,096", ratio(few["ours, mdev_types alone"]["median"], ours), 0.15),
    ]


def start_apart(results: dict[str, Any]) -> str:
    """What of the small tree's figures is the start of Python and Ansible."""
    few = next(iter(results.values()))["figures"]
    ours, floor, nothing = (few[name]["median"] for name in ("ours", "floor", "a module that does nothing"))
    return (
        f"At 4,096, a module that does nothing takes {nothing / floor:.2f} floors, and {nothing / ours:.2f}"
        f" of ours; it and the floor, one after the other, are {(nothing + floor) / floor:.2f} floors, and ours is"
        f" {ours / (nothing + floor):.2f} times both."
    )


def main() -> None:
    results = measured({}, "measure.py")
    told = f"`{COMMAND}` on {machine('libvirt', 'libvirtd')}; medians."
    write("inventory", [told, "", *table(results), "", *goals(asked(results)), "", start_apart(results)])


if __name__ == "__main__":
    main()
