# SPDX-License-Identifier: GPL-3.0-or-later
"""What is defined, there and free on this host, as a text file for Prometheus.

The format is that of Prometheus' documentation, "Text-based exposition format", which the textfile collector of
node_exporter reads: it takes all files of its folder that end in .prom, and none where one of them is not right.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..errors import NodedevError
from ..facts import mdev_types, vgpu, vhba
from ..kinds import registry
from ..pools import record
from ..store import files
from ..text import shown
from . import children, outcomes

MODE = 0o644
# What the name of a file ends in while it is written: not in .prom.
UNFINISHED = ".unfinished"
# By name, what each says; all are gauges.
HELP = {
    "nodedev_wanted": "Definitions that start by themselves, by kind and pool.",
    "nodedev_made": "Those of them whose device is there.",
    "nodedev_drifted": "Definitions whose device is not as it is defined.",
    "nodedev_failed": "Definitions that could not be restored when that was tried last, and whose device is not there.",
    "nodedev_free": "Devices that fit on a card besides, by kind and type.",
    "nodedev_damaged_files": "Files of definitions and pools that cannot be understood.",
    "nodedev_unreadable": "Definitions whose device cannot be looked at.",
    "nodedev_last_restore_timestamp_seconds": "When definitions were restored last in this boot.",
    "nodedev_collector_success": "Whether this part could be gathered.",
}
KEYS = {
    "nodedev_wanted": ("kind", "pool"),
    "nodedev_made": ("kind", "pool"),
    "nodedev_drifted": ("kind", "pool"),
    "nodedev_failed": ("kind", "pool"),
    "nodedev_free": ("kind", "card", "type"),
    "nodedev_collector_success": ("collector",),
}

# A metric's name with the values of its labels, and a number; as JSON has it, since it comes from a child.
Sample = tuple[str, list[str], float]


def write(path: str, limit: float) -> list[str]:
    """Write the file, in one step; returns what could not be gathered, and why.

    A driver that does not answer costs ``limit`` seconds for each part, and what the part would have told. Raises
    NodedevError where the file cannot be written.
    """
    samples: list[Sample] = []
    reasons = []
    for name, gather in COLLECTORS.items():
        try:
            found = children.answer(partial(_listed, gather), limit)
        except NodedevError as error:
            found = None
            reasons.append(f"the {name} could not be gathered: {error}")
        samples += [*(found or ()), ("nodedev_collector_success", [name], int(found is not None))]
    unfinished = path + UNFINISHED
    with files.explained(path):
        files.write(unfinished, text(samples), MODE)
        os.replace(unfinished, path)
    return reasons


def _listed(gather: Callable[[], Iterable[Sample]]) -> list[Sample]:
    return list(gather())


def definitions() -> Iterator[Sample]:
    """How many definitions there are, how many of them run, drift or have failed, by kind and pool."""
    names = list(registry.KINDS)
    pools, damaged = record.RECORDS.all()
    pool_of = {(each.kind, one.id): each.name for each in pools for one in each.instances}
    defined, broken = registry.defined()
    counts: Counter[tuple[str, str, str]] = Counter()
    there: set[outcomes.Key] = set()
    keys: dict[outcomes.Key, str] = {}
    unreadable = 0
    for each in defined:
        key = (names[each.rank], each.id)
        keys[key] = pool_of.get(key, "")
        group = (key[0], keys[key])
        for metric in ("nodedev_wanted", "nodedev_made", "nodedev_drifted", "nodedev_failed"):
            counts[(metric, *group)] += 0
        counts[("nodedev_wanted", *group)] += each.autostart
        try:
            facts = each.facts()
        except Exception:
            # Whatever is wrong with one hides no other; nodedev-restore --list says what it is.
            unreadable += 1
            continue
        counts[("nodedev_made", *group)] += each.autostart and bool(facts["active"])
        counts[("nodedev_drifted", *group)] += bool(facts["drift"])
        if facts["active"]:
            there.add(key)
    runs = outcomes.kept()
    for key in outcomes.failing(runs, there) & set(keys):
        counts[("nodedev_failed", key[0], keys[key])] += 1
    yield from ((metric, [kind, pool], count) for (metric, kind, pool), count in counts.items())
    yield "nodedev_damaged_files", [], len(damaged) + len(broken)
    yield "nodedev_unreadable", [], unreadable
    if runs:
        yield "nodedev_last_restore_timestamp_seconds", [], runs[-1].time


def capacity() -> Iterator[Sample]:
    """What fits besides, by card and type: NVIDIA's cards, other parents of mediated devices, HBAs."""
    cards = _told(vgpu.facts(), "vgpu")["cards"]
    functions = {each["name"] for card in cards.values() for each in card["functions"]}
    for name, card in cards.items():
        yield from (_free("vgpu", name, each["name"], each["free"]) for each in card["types"])
    for name, parent in _told(mdev_types.facts(), "mdev_types").items():
        if name not in cards and name not in functions:
            for id, each in parent["types"].items():
                yield _free("mdev", name, each.get("name") or id, each.get("available_instances"))
    for name, hba in _told(vhba.facts(), "vhba")["hbas"].items():
        if hba["npiv"]:
            yield _free("vhba", name, "", 0 if hba["hindrance"] else hba["free_vports"])


def _free(kind: str, card: str, type: str, count: int | None) -> Sample:
    """What is free; where that is not known it is not a number, which is not 0."""
    return "nodedev_free", [kind, card, type], math.nan if count is None else count


def _told(answer: Mapping[str, Any], name: str) -> Any:
    return answer["ansible_facts"][name]


COLLECTORS: Mapping[str, Callable[[], Iterable[Sample]]] = {"definitions": definitions, "capacity": capacity}


def text(samples: Iterable[Sample]) -> str:
    """The file's text: what has the same name and labels is one sum, since the format allows it once."""
    sums: dict[str, dict[tuple[str, ...], float]] = {}
    for name, labels, value in samples:
        same, key = sums.setdefault(name, {}), tuple(map(shown, labels))
        same[key] = same.get(key, 0) + value
    lines = []
    for name, help in HELP.items():
        if name in sums:
            lines += [f"# HELP {name} {help}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(name, labels)} {_number(value)}" for labels, value in sorted(sums[name].items())]
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else str(value)


def _labels(name: str, values: tuple[str, ...]) -> str:
    pairs = [f'{key}="{_quoted(value)}"' for key, value in zip(KEYS.get(name, ()), values)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
