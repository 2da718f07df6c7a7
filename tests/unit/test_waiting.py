# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, and the limit that all waiting of a run shares."""

from __future__ import annotations

import math

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.waiting import anew, left, wait_for, within


def never() -> bool:
    return False


def test_it_waits_until_the_condition_holds() -> None:
    asked: list[None] = []

    def third() -> bool:
        asked.append(None)
        return len(asked) == 3

    assert wait_for(third, 60)
    assert len(asked) == 3


def test_without_time_it_asks_once() -> None:
    assert not wait_for(never, 0)
    assert wait_for(lambda: True, 0)


def test_a_run_bounds_all_that_it_waits_for() -> None:
    with within(0):
        assert left(1000) == 0
        assert not wait_for(never, 1000)
    assert left(1000) == 1000


def test_a_block_inside_has_no_more_than_the_one_around_it() -> None:
    with within(0), within(1000):
        assert left(1000) == 0
    with within(1000), within(0):
        assert left(1000) == 0


def test_taking_back_has_time_of_its_own() -> None:
    with within(0):
        with anew(500):
            assert 400 < left(1000) <= 500
        assert left(1000) == 0


def test_an_endless_limit_is_none() -> None:
    with within(math.inf):
        assert left(1000) == 1000
