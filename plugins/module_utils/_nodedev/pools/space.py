# SPDX-License-Identifier: GPL-3.0-or-later
"""From members and room to places: how many instances fit, and where each goes. The same for every kind, and pure.

``runs`` says whether the instances of the pool are to run: those that do stay where they are then, the others may go to
any parent with room. Where they are not to run, those that are defined stay where they are and need no room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..names import called
from . import members, placement
from .members import Change, Member
from .placement import Room
from .record import Recorded


@dataclass(frozen=True)
class Space:
    """What parents can take, each by itself, and of cards that take less than the sum what they take."""

    rooms: Sequence[Room]
    limits: Mapping[str, int]

    @property
    def capacity(self) -> int:
        return placement.capacity(self.rooms, self.limits)

    def described(self, name: Callable[[str], str] = called) -> str:
        """The room that is left, in all and of each; ``name`` gives a person's name for a parent or a card."""
        left = [
            f"{name(each.parent)}: {min(each.free, self.limits.get(each.card, each.free))}"
            for each in self.rooms
            if each.card not in self.limits or each.card == each.parent
        ]
        shared = dict.fromkeys(each.card for each in self.rooms if each.card != each.parent)
        left += [f"all of {name(card)}: {self.limits[card]}" for card in shared if card in self.limits]
        return f"{self.capacity}; free are {', '.join(left) or 'none'}"


def leaving(go: Sequence[Member], stay: Sequence[Member], runs: bool) -> Counter[str | None]:
    """How many instances leave each parent: those that go, and those that stay in the pool and are to run no longer."""
    return Counter(member.parent for member in (*go, *(() if runs else stay)) if member.active)


def most(own: Sequence[Member], runs: bool, space: Space) -> int:
    """How many instances the pool can have; ``space`` is with all that leaves where none goes.

    Those that stay defined on parents that are not there come back into account with these.
    """
    stay = [member for member in own if member.stays(runs)]
    parents = {room.parent for room in space.rooms}
    here = stay if runs else [member for member in stay if member.parent in parents]
    return min(max(len(stay), len(here) + space.capacity), members.MOST)


def resting(stay: Sequence[Member], runs: bool) -> Counter[str | None]:
    """How many instances stay defined on each parent without running: what it can take is less by them."""
    return Counter(member.parent for member in stay if not runs and member.stays(runs))


def wanted(change: Change, runs: bool) -> int:
    """How many places have to be found."""
    return len(change.new) + sum(not member.stays(runs) for member in change.stay)


def placed(
    change: Change,
    runs: bool,
    space: Space,
    identity: Callable[[int, str], str],
    moved: Callable[[str, str], str],
    how: str | None,
) -> tuple[Recorded, ...]:
    """Where each instance is to be, by index; there is room for all that is wanted.

    ``identity`` gives the id of a new one by its index and its parent, ``moved`` that of one which is placed anew by
    its own and its parent; ``how`` is the placement, to spread unless it says otherwise.
    """
    staying = [member for member in change.stay if member.stays(runs)]
    free = [member for member in change.stay if not member.stays(runs)]
    former = [*(member.parent for member in free), *([None] * len(change.new))]
    own = Counter(member.parent for member in staying if member.parent is not None)
    found = placement.place(former, space.rooms, space.limits, own, how or placement.SPREAD)
    instances = [Recorded(member.index, member.id, str(member.parent)) for member in staying]
    instances += [Recorded(member.index, moved(member.id, parent), parent) for member, parent in zip(free, found)]
    new = zip(change.new, found[len(free) :])
    instances += [Recorded(index, identity(index, parent), parent) for index, parent in new]
    return tuple(sorted(instances, key=lambda one: (one.index, one.id)))
