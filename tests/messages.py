# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library can tell a person, as its source has it, and what the page on messages has of it.

Every text of one line that has some words is a message, wherever it stands: a reason is often made in another place
than the error that says it. What is filled in is written as an ellipsis, in the source and on the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# What stands for a value, and several in a row for one.
VALUE = "…"
VALUES = re.compile(f"{VALUE}(?: ?{VALUE})*")
WORD = re.compile(r"[A-Za-z][\w'-]*")
# Words of its own that make a text a message; what is raised is one with fewer.
LEAST, LEAST_RAISED = 3, 2
# What may stand around a message or be left out, since messages are put together.
AROUND = f" {VALUE}.,:;()"
# The column of a table whose cells have messages, each within backticks.
COLUMN = "message"
CODE = re.compile(r"`([^`]+)`")
RULE = re.compile(r"\|[\s|:-]+\|")


@dataclass(frozen=True)
class Text:
    """A text of a source or a page; ``is_message`` says whether it has the words that make it one."""

    line: int
    text: str
    is_message: bool

    @property
    def core(self) -> str:
        """What is compared of it."""
        return core(self.text)


def core(text: str) -> str:
    """A message without what may stand around it."""
    return VALUES.sub(VALUE, text).strip(AROUND)


def texts(source: str, unsaid: Collection[str] = ()) -> list[Text]:
    """The texts of a Python file, but for what stands within ``unsaid``: variables, classes and functions by name."""
    return [*_texts(ast.parse(source), unsaid, LEAST)]


def _texts(node: ast.AST, unsaid: Collection[str], least: int) -> Iterator[Text]:
    if _names(node) & {*unsaid} or _is_documentation(node) or _is_joint(node):
        return
    if isinstance(node, ast.Raise):
        least = LEAST_RAISED
    text = _text(node)
    if text is not None and "\n" not in text and "\\" not in text:
        whole = VALUES.sub(VALUE, text)
        is_message = " " in whole.strip(AROUND) and len(WORD.findall(whole)) >= least
        yield Text(getattr(node, "lineno", 0), whole, is_message)
    for each in [node] if text is None else _values(node):
        for child in ast.iter_child_nodes(each):
            yield from _texts(child, unsaid, least)


def _names(node: ast.AST) -> set[str]:
    """The names that something gets here."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _is_documentation(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_joint(node: ast.AST) -> bool:
    """Whether it only stands between the items of a list."""
    return isinstance(node, ast.Attribute) and node.attr == "join" and isinstance(node.value, ast.Constant)


def _text(node: ast.AST) -> str | None:
    """The text that an expression is, with an ellipsis for each value; None where it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = _text(node.left), _text(node.right)
        return None if parts == (None, None) else "".join(VALUE if part is None else part for part in parts)
    return None


def _values(node: ast.AST) -> Iterator[ast.AST]:
    """The values in a text, of which each may have texts of its own."""
    if isinstance(node, ast.JoinedStr):
        yield from (part for part in node.values if isinstance(part, ast.FormattedValue))
    elif isinstance(node, ast.BinOp):
        for side in (node.left, node.right):
            yield from [ast.Expr(side)] if _text(side) is None else _values(side)


def entries(page: str) -> list[Text]:
    """The messages that a page has, in the columns of its tables that are headed so."""
    found: list[Text] = []
    place: int | None = None
    for number, line in enumerate(page.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("|")]
        if not line.startswith("|"):
            place = None
        elif COLUMN in cells:
            place = cells.index(COLUMN)
        elif place is not None and not RULE.fullmatch(line):
            found += [Text(number, text, True) for text in CODE.findall(cells[place])]
    return found
