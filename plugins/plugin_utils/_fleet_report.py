# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of all hosts: as JSON, as Markdown, and as what its page is filled with.

Pure functions, on the controller alone. Text of hosts is data wherever it goes: in JSON no character of it means
anything to HTML or to Ansible's templates, and in Markdown none to either, or to Markdown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._host_report import FUNCTIONS, MDEVS, VGPUS, VHBAS

Host = Mapping[str, Any]
KINDS = (VGPUS, MDEVS, VHBAS, FUNCTIONS)
COUNTED = ("free", "ours", "others")
# What would end a script element, begin a comment in it, or be taken for a template.
LIVELY = re.compile("[<>&\u2028\u2029]|\\{(?=[{%#])")
# The same in Markdown, whose signs mean something too, some of them in certain places alone, as those of an address.
SIGNS = re.compile(r"[^\w\s.,:;/()=%'-]|(?<!\w)_|_(?!\w)|:(?=/)|(?<=www)\.|^[-=]|^\d(?=\d*[.)])")
# Characters of one text in Markdown; in JSON it is whole.
LONGEST = 400


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON that can stand in a script element of a page, and in a template."""
    text = json.dumps(value, indent=indent, separators=None if indent else (",", ":"))
    return LIVELY.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def fleet(hosts: Iterable[Host], gathered: str) -> dict[str, Any]:
    """The whole report: what was told of each host, by its name, and sums."""
    every = list(hosts)
    return {
        "gathered": gathered,
        "totals": _totals_of(every),
        "hosts": {host["name"]: {**host, "marks": marks(host)} for host in every},
    }


def page(hosts: Iterable[Host], gathered: str) -> dict[str, Any]:
    """What the page is filled with: JSON of ``fleet``, a line for each host, and of each of ``hosts``, its details.

    The details are understood only when somebody looks at the host.
    """
    every = list(hosts)
    lines = [
        {"name": host["name"], "product": host["system"].get("product", ""), "marks": marks(host)}
        | {"totals": _totals(host["capacity"]), "failures": host["failures"]}
        for host in every
    ]
    totals = _totals_of(every)
    return {
        "fleet": as_json({"gathered": gathered, "totals": totals, "hosts": lines}),
        "hosts": [as_json({**host, "devices": [list(each.values()) for each in host["devices"]]}) for host in every],
    }


def marks(host: Host) -> dict[str, int]:
    """What is to be seen of a host at once: how many of each."""
    return {
        "failed": len(host["failures"]),
        "drift": len(host["drift"]),
        "damaged": len(host["damaged"]),
        "short": sum(is_short(each) for each in host["pools"]),
        "unready": sum(each["ok"] is False for each in host["readiness"]),
        "held": len({each["device"] for each in host["held"]}),
    }


def is_short(pool: Mapping[str, Any]) -> bool:
    """Whether instances of a pool are missing; those that come with guests need not be there."""
    count = pool["count"] if isinstance(pool["count"], int) else pool["instances"]
    return bool(pool["active"] < count and not pool["managed"])


def _totals_of(hosts: Iterable[Host]) -> list[dict[str, Any]]:
    return _totals(each for host in hosts for each in host["capacity"])


def _totals(capacity: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sums by kind; what is free of a card that does not tell it counts as nothing, and is told as unknown."""
    found: dict[str, dict[str, Any]] = {}
    for each in capacity:
        total = found.setdefault(
            each["kind"], {"kind": each["kind"], **dict.fromkeys(COUNTED, 0), "cards": 0, "unknown": 0}
        )
        for key in COUNTED:
            total[key] += each[key] or 0
        total["cards"] += 1
        total["unknown"] += each["free"] is None
    return [found[kind] for kind in KINDS if kind in found]


MARKS = {
    "failed": "failed",
    "drift": "drift",
    "damaged": "damaged files",
    "short": "pools short",
    "unready": "not ready",
    "held": "in use",
}


def markdown(hosts: Iterable[Host], gathered: str) -> str:
    """The report for a person who reads text, or a page that shows Markdown."""
    every = list(hosts)
    title = f"# Virtual devices of {len(every)} {'host' if len(every) == 1 else 'hosts'}"
    lines = [title, "", f"Gathered {_inert(gathered)}.", ""]
    sums = ([total[key] for key in ("kind", *COUNTED, "cards")] for total in _totals_of(every))
    lines += _table(("devices", *COUNTED, "cards"), sums)
    lines += _table(("host", *MARKS.values()), ([host["name"], *marks(host).values()] for host in every))
    for host in every:
        lines += _host(host)
    return "\n".join(lines).rstrip() + "\n"


def _host(host: Host) -> list[str]:
    name, product = _inert(host["name"]), _inert(host["system"].get("product", ""))
    lines = [f"## {name}", "", *([product, ""] if product else [])]
    lines += [f"- **failed**: {_inert(each['module'])}: {_inert(each['message'])}" for each in host["failures"]]
    lines += [""] if host["failures"] else []
    for title, key, columns in TABLES:
        rows = [[each.get(column) for column in columns] for each in host[key]]
        lines += [f"### {title}", "", *_table(columns, rows)] if rows else []
    for title, key in (("Warnings", "warnings"), ("Notes", "notes")):
        lines += [f"### {title}", "", *(f"- {_inert(each)}" for each in host[key]), ""] if host[key] else []
    tree = [f"{'  ' * depth}- {_inert(' '.join(filter(None, texts)))}" for depth, texts in _tree(host["devices"])]
    return [*lines, *(["### Devices", "", *tree, ""] if tree else [])]


TABLES = (
    ("Readiness", "readiness", ("device", "what", "ok", "found", "advice")),
    ("Capacity", "capacity", ("kind", "card", "product", *COUNTED)),
    ("Pools", "pools", ("name", "kind", "type", "count", "active")),
    ("Drift", "drift", ("device", "pool", "what", "defined", "running")),
    ("In use", "held", ("device", "domain", "by", "pid", "node")),
    ("Damaged files", "damaged", ("path", "reason")),
)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    listed = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *listed, ""] if listed else []


def _cell(value: Any) -> str:
    words = {None: "", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else _inert(value)


def _inert(value: Any) -> str:
    """A text on one line in which no sign means anything to Markdown, HTML or a template; what is long is cut."""
    text = str(value)
    text = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
    return SIGNS.sub(lambda found: f"&#{ord(found[0])};", text)


def _tree(devices: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The devices as a tree, each with its depth."""
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    for each in devices:
        children.setdefault(each["parent"], []).append(each)
    pending = [(0, each) for each in reversed(children.get(None, []))]
    while pending:
        depth, each = pending.pop()
        driver = f"({each['driver']})" if each["driver"] else ""
        yield depth, (each["name"], driver, each["what"])
        pending += [(depth + 1, child) for child in reversed(children.get(each["name"], []))]
