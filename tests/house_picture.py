# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws docs/house.svg: the floors, what stands on them, and an arrow where one place imports another.

.venv/bin/python tests/house_picture.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from house import DOORS, FLOORS, KINDS, ROOT, edges, floor

PICTURE = ROOT / "docs" / "house.svg"
LEAST_WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN, TIP = 1000, 88, 172, 48, 20, 10, 9
# How often the rows are gone through, each time with the places of those above or below as they are by then.
SWEEPS = 24

HEAD = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
<!-- Drawn by tests/house_picture.py. -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" text-anchor="middle">
<title>The floors of the house, and who imports whom</title>
<style>
  .ground {{ fill: #ffffff; }}
  .floor {{ fill: #f2f4f7; }}
  .box {{ fill: #ffffff; stroke: #57606a; }}
  .name {{ fill: #1f2328; font-size: 15px; font-weight: bold; }}
  .note {{ fill: #57606a; font-size: 12px; }}
  .arrow {{ fill: none; stroke: #0969da; stroke-width: 1.5; }}
  .tip {{ fill: #0969da; }}
  @media (prefers-color-scheme: dark) {{
    .ground {{ fill: #0d1117; }}
    .floor {{ fill: #161b22; }}
    .box {{ fill: #0d1117; stroke: #8b949e; }}
    .name {{ fill: #e6edf3; }}
    .note {{ fill: #8b949e; }}
    .arrow {{ stroke: #58a6ff; }}
    .tip {{ fill: #58a6ff; }}
  }}
</style>
<rect class="ground" width="{width}" height="{height}" />
"""
BOX = """\
<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="6" />
<text class="name" x="{middle}" y="{name_y}">{name}</text>
<text class="note" x="{middle}" y="{note_y}">{note}</text>
"""

Arrows = Mapping[str, set[str]]
Chains = Sequence[Sequence[str]]


def drawn(every: Arrows) -> dict[str, set[str]]:
    """Those imports that do not follow from others: what a place reaches by way of another has no arrow of its own."""

    @cache
    def below(name: str) -> frozenset[str]:
        return frozenset(every[name]).union(*map(below, every[name]))

    return {
        name: {each for each in found if not any(each in below(other) for other in found)}
        for name, found in every.items()
    }


def level(name: str) -> int:
    """The row of a place, from the bottom."""
    return len(FLOORS) if name in DOORS else floor(name)


def in_order(names: Sequence[str] | set[str]) -> list[str]:
    """From the top, on each floor as its table has them, kinds by name."""
    listed = [name for places in (*FLOORS, DOORS) for name in places]
    return sorted(names, key=lambda name: (-level(name), listed.index(name) if name in listed else 0, name))


def chains(arrows: Arrows) -> list[list[str]]:
    """Each arrow by what it touches: both ends, and on each floor between them a point, named by ends and floor."""
    return [
        [upper, *(f"{upper} {lower} {row}" for row in range(level(upper) - 1, level(lower), -1)), lower]
        for upper in in_order(set(arrows))
        for lower in in_order(arrows[upper])
    ]


def rows(arrows: Arrows, lines: Chains) -> list[list[str]]:
    """What is on each floor, boxes and points, from the bottom."""
    found: list[list[str]] = [[] for _row in range(len(FLOORS) + 1)]
    for name in in_order(set(arrows)):
        found[level(name)].append(name)
    for line in lines:
        for point in line[1:-1]:
            found[int(point.split(" ")[-1])].append(point)
    return found


def width_for(floors: Sequence[list[str]]) -> int:
    """How wide a picture is in which each floor has room."""
    return max(LEAST_WIDTH, *(sum(room(name) for name in row) + 2 * MARGIN for row in floors))


def room(name: str) -> int:
    """What a box or a point takes of its floor, with the gap beside it."""
    return GAP if " " in name else BOX_WIDTH + GAP


def places(floors: Sequence[list[str]], lines: Chains, width: int) -> dict[str, float]:
    """The middle of each box and the place of each point, so that arrows are short; sorts the floors."""
    near: dict[str, list[str]] = {}
    for line in lines:
        for upper, lower in zip(line, line[1:]):
            near.setdefault(upper, []).append(lower)
            near.setdefault(lower, []).append(upper)
    x = {name: width / 2 for row in floors for name in row}
    for row in floors:
        x.update(spread(row, x, width))
    for sweep in range(SWEEPS):
        for row in floors if sweep % 2 else reversed(floors):
            wished = {name: sum(x[each] for each in near[name]) / len(near[name]) for name in row}
            # The order of a row settles first, and its distances then.
            if sweep < SWEEPS / 2:
                row.sort(key=lambda name: round(wished[name], 6))
            x.update(spread(row, wished, width))
    return x


def spread(row: Sequence[str], wished: Mapping[str, float], width: int) -> dict[str, float]:
    """The places of a row in its order that are as near to those wished for as the widths allow (least squares)."""
    halves = [room(name) / 2 for name in row]
    offsets = [sum(halves[:number]) + sum(halves[1 : number + 1]) for number in range(len(row))]
    # What would overlap is moved as one block.
    blocks: list[list[float]] = []
    for name, offset in zip(row, offsets):
        blocks.append([wished[name] - offset])
        while len(blocks) > 1 and mean(blocks[-2]) >= mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    starts = [mean(block) for block in blocks for _each in block]
    least, most = MARGIN + halves[0], width - MARGIN - halves[-1] - offsets[-1]
    return {name: min(max(start, least), most) + offset for name, start, offset in zip(row, starts, offsets)}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def top(row: int) -> int:
    """Where the boxes of a floor begin."""
    return (len(FLOORS) - row) * ROW + (ROW - BOX_HEIGHT) // 2


def arrow(line: Sequence[str], x: Mapping[str, float]) -> str:
    """The line, down through its points, and its tip."""
    x_before, y_before = round(x[line[0]]), top(level(line[0])) + BOX_HEIGHT
    path = f"M {x_before} {y_before}"
    for name in line[1:]:
        is_point = " " in name
        here, y = round(x[name]), top(int(name.split(" ")[-1]) if is_point else level(name))
        turn, end = (y_before + y) // 2, y if is_point else y - TIP
        path += f" C {x_before} {turn} {here} {turn} {here} {end}"
        path += f" v {BOX_HEIGHT}" if is_point else ""
        x_before, y_before = here, y + BOX_HEIGHT
    tip = f"M {x_before} {y} l -5 -{TIP} h 10 z"
    return f'<path class="arrow" d="{path}" />\n<path class="tip" d="{tip}" />\n'


def box(name: str, x: float) -> str:
    """A place with its name and what it is."""
    left, y = round(x) - BOX_WIDTH // 2, top(level(name))
    notes = {each: note for floors in (*FLOORS, DOORS) for each, note in floors.items()}
    return BOX.format(
        x=left,
        y=y,
        width=BOX_WIDTH,
        height=BOX_HEIGHT,
        middle=round(x),
        name_y=y + 20,
        note_y=y + 38,
        name=name.replace(".", "/"),
        note=notes.get(name, notes[KINDS]),
    )


def picture() -> str:
    """The text of the SVG file: the same for the same imports."""
    arrows = drawn(edges())
    lines = chains(arrows)
    floors = rows(arrows, lines)
    width = width_for(floors)
    x = places(floors, lines, width)
    bands = [
        f'<rect class="floor" x="8" y="{top(row) - 12}" width="{width - 16}" height="{BOX_HEIGHT + 24}" rx="8" />\n'
        for row in range(len(floors))
    ]
    boxes = [box(name, x[name]) for row in reversed(floors) for name in row if " " not in name]
    head = HEAD.format(width=width, height=len(floors) * ROW)
    return "".join([head, *bands, *(arrow(line, x) for line in lines), *boxes, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(picture())
