# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host cannot be read or makes no sense: a warning about that one value, and all else goes on.

For facts and for what is merely told. Whoever depends on a value reads it by sysfs.py and hears of the error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..errors import NodedevError
from ..text import shown
from . import sysfs
from .numbers import integer

T = TypeVar("T")
# Characters of one warning: a path and a value, each as long as a message takes it.
LONGEST = 600


class Oddities:
    """The warnings so far, each once."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """What there is to say, in the order in which it was met."""
        return list(self._texts)

    def add(self, text: object) -> None:
        """Keep a warning, on one line."""
        self._texts[shown(text, LONGEST)] = None

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None with a warning where that fails."""
        try:
            return read()
        except (NodedevError, OSError) as error:
            self.add(error)
            return None

    def text(self, path: str) -> str | None:
        """The value of an attribute; None where there is none or it cannot be read."""
        return self.attempt(partial(sysfs.read, path))

    def link_name(self, path: str) -> str | None:
        """The last component of a link's target; None where there is no such link or it cannot be read."""
        return self.attempt(partial(sysfs.link_name, path))

    def number(self, path: str, lowest: int = 0) -> int | None:
        """The decimal number in an attribute, of 64 bits; None where there is none, or none from ``lowest`` on."""
        return self.numbered(path, self.text(path), lowest)

    def numbered(self, path: str, text: str | None, lowest: int = 0) -> int | None:
        """The number in what was read at ``path``, or in the name that a link there leads to."""
        if text is None:
            return None
        value = integer(text, 10, bits=64, signed=True)
        if value is None or value < lowest:
            self.add(unnumbered(path, text))
            return None
        return value


def unnumbered(path: str, text: str) -> str:
    """The words for a value that is to be a number and is none."""
    return f"{shown(path)} is '{shown(text)}', which is not a number that makes sense there"
