# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the tables of docs/conformance.md from waivers.yml: `python -m conformance.document`."""

from __future__ import annotations

import re
from pathlib import Path

from . import waivers

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
TABLE = re.compile(r"^\| id \|.*\n(?:\|.*\n?)*", re.MULTILINE)


def main() -> None:
    """Replace the tables, in the order of the document: towards libvirtd, towards its schema."""
    rules = waivers.load()
    tables = iter([waivers.table(rules.waivers), waivers.table(rules.schema)])
    DOCUMENT.write_text(TABLE.sub(lambda _: next(tables) + "\n", DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
