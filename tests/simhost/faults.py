# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: operations that fail, take time, answer wrongly, and entries or values that come late."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from simhost.tree import Attribute, Node, Tree

OPERATIONS = ("read", "write", "open", "list", "any")
_ALIAS = re.compile(r"^/sys/(?:bus/[^/]+/devices|class/[^/]+)/(.+)$")


def errno_number(value: str | int) -> int:
    """The number of an errno given by name ("EIO") or as a number; ValueError for an unknown name."""
    if isinstance(value, int):
        return value
    number = getattr(errno, value, None)
    if not isinstance(number, int):
        raise ValueError(f"{value!r} is not an errno name: write it as in EIO or ENOSPC")
    return number


@dataclass
class Fault:
    """One rule. `path` is a glob over paths inside the host, where `*` crosses slashes.

    A path through /sys/bus/*/devices or /sys/class stands for the real device directory. A path without a
    leading slash matches at any depth.
    """

    path: str
    op: str = "any"
    errno: str | int | None = None
    nth: int | None = None
    times: int | None = None
    delay: float = 0.0
    lag: float = 0.0
    content: str | None = None
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.op not in OPERATIONS:
            raise ValueError(f"op {self.op!r} is unknown: use one of {', '.join(OPERATIONS)}")
        if self.errno is not None:
            errno_number(self.errno)
        pattern = self.path
        alias = _ALIAS.match(pattern)
        if alias:
            pattern = f"/sys/devices/*/{alias.group(1)}"
        elif not pattern.startswith("/"):
            pattern = f"*/{pattern}"
        self._match = re.compile(fnmatch.translate(pattern)).match

    def matches(self, path: str) -> bool:
        return self._match(path) is not None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Fault:
        """A rule from a scenario or a request; ValueError names what is unknown."""
        known = {item.name for item in fields(cls) if item.init}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"fault: unknown key {', '.join(unknown)}: use {', '.join(sorted(known))}")
        return cls(**values)


@dataclass(frozen=True)
class Effect:
    """What the rules ask of one operation."""

    errno: int | None = None
    delay: float = 0.0
    content: bytes | None = None


NOTHING = Effect()


class Faults:
    """The rules in force, and the values that they hold back."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()
        self._old: dict[str, tuple[float, bytes]] = {}

    def add(self, rule: Fault) -> None:
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._old.clear()

    def rules(self) -> list[Fault]:
        return list(self._rules)

    def hit(self, op: str, path: str) -> Effect:
        """Count this operation against the rules and say what they do to it."""
        if not self._rules:
            return NOTHING
        number: int | None = None
        delay = 0.0
        content: bytes | None = None
        with self._lock:
            for rule in self._rules:
                if rule.op not in (op, "any") or not rule.matches(path):
                    continue
                rule.seen += 1
                if rule.nth is not None and rule.seen != rule.nth:
                    continue
                if rule.times is not None and rule.hits >= rule.times:
                    continue
                rule.hits += 1
                delay = max(delay, rule.delay)
                if rule.errno is not None and number is None:
                    number = errno_number(rule.errno)
                if rule.content is not None and op == "read":
                    content = rule.content.encode("utf-8", "surrogateescape")
        return Effect(number, delay, content)

    def new_node(self, node: Node) -> None:
        """Hide an entry that has just been made for as long as a lag rule says."""
        for rule in self._rules:
            if rule.lag and rule.matches(node.path):
                node.visible_at = max(node.visible_at, time.monotonic() + rule.lag)

    def event_lag(self, path: str) -> float:
        """Seconds by which the udev event of the device at `path` is late (a lag rule on its uevent file)."""
        return max((rule.lag for rule in self._rules if rule.lag and rule.matches(f"{path}/uevent")), default=0.0)

    def hold_values(self, tree: Tree) -> dict[str, bytes]:
        """Before a store: freeze the values that lag rules cover. Give the result to `release_values`."""
        lagging = [rule for rule in self._rules if rule.lag]
        held: dict[str, bytes] = {}
        if not lagging:
            return held
        for path, node in list(tree.nodes.items()):
            if isinstance(node, Attribute) and callable(node.content) and any(r.matches(path) for r in lagging):
                value = self._value(node)
                if value is not None:
                    held[path] = value
                    self._old[path] = (float("inf"), value)
        return held

    def release_values(self, tree: Tree, held: Mapping[str, bytes]) -> None:
        """After the store: values that did change stay old for the rule's time, the others are let go."""
        for path, value in held.items():
            node = tree.nodes.get(path)
            changed = False
            if isinstance(node, Attribute):
                with contextlib.suppress(OSError):
                    changed = node.show() != value
            lag = max((rule.lag for rule in self._rules if rule.matches(path)), default=0.0)
            if changed and lag:
                self._old[path] = (time.monotonic() + lag, value)
            else:
                self._old.pop(path, None)

    def _value(self, node: Attribute) -> bytes | None:
        """What `shown` gives, or None where the driver refuses."""
        try:
            return self.shown(node)
        except OSError:
            return None

    def shown(self, node: Attribute) -> bytes:
        """The attribute's value, or its old one while that is held back."""
        old = self._old.get(node.path)
        if old is not None:
            if old[0] > time.monotonic():
                return old[1]
            self._old.pop(node.path, None)
        return node.show()

    def describe(self) -> Iterable[dict[str, Any]]:
        """The rules as plain data, each with how often it met an operation and acted."""
        for rule in self.rules():
            yield {item.name: getattr(rule, item.name) for item in fields(rule)}
