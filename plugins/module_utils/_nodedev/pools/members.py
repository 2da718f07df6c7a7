# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances that a pool has, and which of them come and go when its size changes. The same for every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import BadInput, InUse
from ..text import is_number

# No pool has more: it bounds the search for instances whose identity follows from the pool's name.
MOST = 4096
# Digits of a count, with zeros before it.
LONGEST_COUNT = 20
# The size of a pool that has as many as fit.
MAX = "max"
RELEASE = "have the kernel ask for their release, which takes them from guests that run"


@dataclass(frozen=True)
class Member:
    """One instance; ``id`` is what names it in its kind, ``parent`` where it is or was, None if it never was.

    ``held_by`` says in words who uses it, nothing when it is idle, and ``holders`` the same as data. ``rests`` says
    that it can stay defined where it is as long as it is not to run. ``type`` is that of one in a pool of several.
    """

    index: int
    id: str
    parent: str | None = None
    active: bool = False
    held_by: str = ""
    rests: bool = False
    holders: tuple[Mapping[str, Any], ...] = ()
    type: int | None = None

    def stays(self, runs: bool) -> bool:
        """Whether it keeps its place as it is, where the pool's instances are to run or not to."""
        return self.active if runs else self.rests


@dataclass(frozen=True)
class Change:
    """Who stays, who goes, the indexes of those to come, and who is left as it is for now.

    ``types`` are by index those of the ones to come, in a pool of several.
    """

    stay: tuple[Member, ...]
    go: tuple[Member, ...]
    new: tuple[int, ...]
    left: tuple[Member, ...] = ()
    types: Mapping[int, int] = field(default_factory=dict)


def checked_count(value: object) -> int | str:
    """The size of a pool, a number or MAX; else BadInput."""
    if isinstance(value, int) and is_number(value) and 0 <= value <= MOST:
        return value
    text = value if isinstance(value, str) else ""
    if text == MAX:
        return MAX
    if not (text.isascii() and text.isdecimal()) or len(text) > LONGEST_COUNT or int(text) > MOST:
        raise BadInput("count", value, f"a number from 0 to {MOST}, or {MAX!r} for as many as fit")
    return int(text)


def derived(ids: set[str], identity: Callable[[int], str]) -> dict[str, int]:
    """Those of the ids that ``identity`` derives from indexes, with these: also where the pool's record is lost."""
    left = {*ids}
    found: dict[str, int] = {}
    index = 0
    while left and index < MOST:
        name = identity(index)
        if name in left:
            found[name] = index
            left.remove(name)
        index += 1
    return found


def resized(
    pool: str, members: Sequence[Member], count: int, force: bool, means: str = "by", effect: str = RELEASE
) -> Change:
    """Growing takes the lowest free indexes; shrinking lets the highest idle ones go.

    Raises InUse naming the holders when too few are idle, unless ``force`` lets those in use go too, the highest first.
    ``means`` stands between an instance and who holds it, ``effect`` says what ``force`` would do, if it does anything.
    """
    ordered = sorted(members, key=lambda member: member.index)
    surplus = len(ordered) - count
    if surplus <= 0:
        return _grown(ordered, count)
    idle = [member for member in ordered if not member.held_by]
    held = [member for member in ordered if member.held_by]
    if len(idle) < surplus and not force:
        raise InUse(
            f"pool {pool}: {surplus} of {len(ordered)} instances have to go and only {len(idle)} are idle; in use are "
            + _named(held, means)
            + _way_out(effect),
            _holders(held),
        )
    go = idle[::-1][:surplus] + held[::-1][: max(surplus - len(idle), 0)]
    return Change(tuple(member for member in ordered if member not in go), tuple(go), ())


def fitted(members: Sequence[Member], count: int, runs: bool, first: Collection[str] = ()) -> Change:
    """As many as fit, which is ``count``. Those beyond it, which do not run, are left: a missing card may return.

    Of these the ids that are named ``first`` are left before others, and then those of the highest indexes.
    """
    ordered = sorted(members, key=lambda member: member.index)
    surplus = len(ordered) - count
    if surplus <= 0:
        return _grown(ordered, count)
    waiting = [member for member in ordered if not member.stays(runs)][::-1]
    left = sorted(waiting, key=lambda member: member.id not in first)[:surplus]
    return Change(tuple(member for member in ordered if member not in left), (), (), tuple(left))


def _grown(ordered: Sequence[Member], count: int) -> Change:
    used = {member.index for member in ordered}
    free = [index for index in range(count) if index not in used]
    return Change(tuple(ordered), (), tuple(free[: count - len(ordered)]))


def mixed(
    pool: str,
    members: Sequence[Member],
    counts: Mapping[int, int],
    waits: bool,
    force: bool = False,
    means: str = "by",
    effect: str = "",
) -> Change:
    """So many of each type, in the order of ``counts``, each as by resized().

    Raises InUse naming the holders of those that have to go, unless it ``waits`` for them: then they are left.
    """
    ordered = sorted(members, key=lambda member: member.index)
    go: list[Member] = []
    late: list[Member] = []
    for type in dict.fromkeys(member.type for member in ordered):
        own = [member for member in ordered[::-1] if member.type == type]
        surplus = max(len(own) - (counts.get(type, 0) if type is not None else 0), 0)
        leaving = sorted(own, key=lambda member: bool(member.held_by))[:surplus]
        go += [member for member in leaving if force or not member.held_by]
        late += [member for member in leaving if member.held_by and not force]
    if late and not waits:
        raise InUse(
            f"pool {pool}: instances that are too many of their types are in use, {_named(late, means)}"
            f"{_way_out(effect)}, or set in_use: wait",
            _holders(late),
        )
    stay = tuple(member for member in ordered if member not in (*go, *late))
    used = {member.index for member in (*stay, *late)}
    free = (index for index in range(MOST + len(used)) if index not in used)
    there = Counter(member.type for member in stay)
    types = {next(free): type for type, count in counts.items() for _one in range(count - there[type])}
    return Change(stay, tuple(go), tuple(types), tuple(late), types)


def listed(pool: str, members: Sequence[Member], ids: Sequence[str], force: bool) -> Change:
    """The pool has just these instances, by their place in the list; those that are not among them go, if idle."""
    places = {name: index for index, name in enumerate(ids)}
    go = [member for member in members if member.id not in places]
    refuse_if_held(pool, go, "are no longer listed", force)
    former = {member.id: member for member in members}
    stay = tuple(replace(former[name], index=index) for name, index in places.items() if name in former)
    return Change(stay, tuple(go), tuple(index for name, index in places.items() if name not in former))


def refuse_if_held(
    pool: str, members: Sequence[Member], which: str, force: bool, means: str = "by", effect: str = RELEASE
) -> None:
    """Raise InUse, naming all holders, when any of these has one; ``which`` says which they are in the pool."""
    held = [member for member in members if member.held_by]
    if held and not force:
        raise InUse(
            f"pool {pool}: instances that {which} are in use, {_named(held, means)}{_way_out(effect)}", _holders(held)
        )


def _way_out(effect: str) -> str:
    """What to do about instances in use; nothing is said of force where it has no ``effect``."""
    return ": stop that first" + (f", or set force: true to {effect}" if effect else "")


def _holders(held: Sequence[Member]) -> list[Mapping[str, Any]]:
    return [holder for member in held for holder in member.holders]


def _named(held: Sequence[Member], means: str = "by") -> str:
    return ", ".join(f"{member.id} (index {member.index}) {means} {member.held_by}" for member in held)
