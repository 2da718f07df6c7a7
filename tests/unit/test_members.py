# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances come and go when a pool's size changes."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import InUse
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.members import (
    Member,
    fitted,
    listed,
    resized,
)
from hypothesis import given
from hypothesis import strategies as st

HELD = "process 4711 (qemu-system-x86)"


def pool(*indexes: int, held: tuple[int, ...] = ()) -> list[Member]:
    return [Member(index, f"id{index}", "p", True, HELD if index in held else "") for index in indexes]


@pytest.mark.parametrize(
    ("there", "held", "count", "stay", "go", "new"),
    [
        ((), (), 0, [], [], []),
        ((), (), 3, [], [], [0, 1, 2]),
        ((0, 1, 2), (), 3, [0, 1, 2], [], []),
        ((0, 2), (), 4, [0, 2], [], [1, 3]),
        ((0, 5), (), 3, [0, 5], [], [1]),
        ((2, 0, 1), (), 1, [0], [2, 1], []),
        ((0, 1, 2), (2,), 2, [0, 2], [1], []),
        ((0, 1, 2), (1, 2), 2, [1, 2], [0], []),
        ((0, 1, 2), (), 0, [], [2, 1, 0], []),
        ((0, 1, 2), (0, 1, 2), 3, [0, 1, 2], [], []),
        ((0, 1), (0, 1), 3, [0, 1], [], [2]),
    ],
)
def test_resized(
    there: tuple[int, ...], held: tuple[int, ...], count: int, stay: list[int], go: list[int], new: list[int]
) -> None:
    change = resized("x", pool(*there, held=held), count, force=False)
    assert [member.index for member in change.stay] == stay
    assert [member.index for member in change.go] == go
    assert list(change.new) == new


def test_too_few_are_idle() -> None:
    message = r"pool x: 2 of 3 instances have to go and only 1 are idle; in use are id0 \(index 0\) by process 4711"
    with pytest.raises(InUse, match=message + r".*id2 \(index 2\) by process.*force: true"):
        resized("x", pool(0, 1, 2, held=(0, 2)), 1, force=False)


def test_force_takes_the_idle_ones_first() -> None:
    change = resized("x", pool(0, 1, 2, 3, held=(1, 3)), 1, force=True)
    assert [member.index for member in change.go] == [2, 0, 3]
    assert [member.index for member in change.stay] == [1]


@given(
    st.sets(st.integers(0, 20)).flatmap(
        lambda indexes: st.tuples(
            st.just(indexes), st.sets(st.sampled_from(sorted(indexes))) if indexes else st.just(set())
        )
    ),
    st.integers(0, 25),
    st.booleans(),
)
def test_a_resized_pool_has_its_size_and_no_index_twice(
    there_and_held: tuple[set[int], set[int]], count: int, force: bool
) -> None:
    there, held = there_and_held
    before = pool(*there, held=tuple(held))
    try:
        change = resized("x", before, count, force)
    except InUse:
        assert not force
        assert len(held) > count
        return
    assert len(change.stay) + len(change.new) == count
    assert {*change.stay, *change.go} == {*before}
    assert len({member.index for member in change.stay} | {*change.new}) == count
    if change.go and not force:
        assert not any(member.held_by for member in change.go)
        # Of the idle ones, the highest.
        idle = [member.index for member in change.stay if not member.held_by]
        assert max(idle, default=-1) < min(member.index for member in change.go)


def test_listed() -> None:
    change = listed("x", pool(0, 1, 2, held=(0,)), ["id2", "new", "id0"], force=False)
    assert [(member.index, member.id) for member in change.stay] == [(0, "id2"), (2, "id0")]
    assert [member.id for member in change.go] == ["id1"]
    assert change.new == (1,)


def test_one_that_is_listed_no_longer_is_in_use() -> None:
    there = pool(0, 1, held=(1,))
    with pytest.raises(InUse, match=r"pool x: instances that are no longer listed are in use, id1 \(index 1\) by proc"):
        listed("x", there, ["id0"], force=False)
    assert [member.id for member in listed("x", there, ["id0"], force=True).go] == ["id1"]


def test_what_does_not_fit_is_left_unless_it_runs() -> None:
    members = [Member(0, "a"), Member(1, "b", active=True), Member(2, "c"), Member(3, "d")]
    change = fitted(members, 2, runs=True)
    assert [member.id for member in change.stay] == ["a", "b"]
    assert [member.id for member in change.left] == ["d", "c"]
    assert (change.go, change.new) == ((), ())
    assert fitted(members, 6, runs=True).new == (4, 5)
