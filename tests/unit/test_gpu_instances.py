# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPU instances a mix of MIG-backed types needs."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.gpu_instances import MigType, derived

WHOLE, HALF, QUARTER = 0, 5, 14
# By number: of a whole card, a half in two sizes and two letters, a quarter in one; and a time-sliced one.
TYPES = {
    each.id: each
    for each in (
        MigType(1, WHOLE, 96 * 1024, 1),
        MigType(2, HALF, 48 * 1024, 1),
        MigType(3, HALF, 8 * 1024, 6),
        MigType(4, HALF, 8 * 1024, 6),
        MigType(5, QUARTER, 2 * 1024, 12),
        MigType(6, QUARTER, 2 * 1024, 8),
        MigType(7, None, 8 * 1024, 12),
    )
}


@pytest.mark.parametrize(
    ("mix", "instances"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({7: 5}, {}, id="time-sliced"),
        pytest.param({3: 0}, {}, id="none-of-it"),
        pytest.param({1: 1}, {WHOLE: 1}, id="whole"),
        pytest.param({3: 6}, {HALF: 1}, id="full"),
        pytest.param({3: 7}, {HALF: 2}, id="one-more"),
        pytest.param({3: 4, 4: 2}, {HALF: 1}, id="letters-share"),
        pytest.param({3: 4, 4: 3}, {HALF: 2}, id="letters-overflow"),
        pytest.param({2: 1, 3: 1}, {HALF: 2}, id="a-second-size"),
        pytest.param({5: 12}, {QUARTER: 1}, id="one-letter"),
        pytest.param({5: 9, 6: 1}, {QUARTER: 2}, id="the-least-counts"),
        pytest.param({5: 48, 3: 1, 1: 0}, {HALF: 1, QUARTER: 4}, id="several-profiles"),
    ],
)
def test_the_instances_that_a_mix_needs(mix: dict[int, int], instances: dict[int, int]) -> None:
    assert derived(mix, TYPES) == instances
    assert [*derived(mix, TYPES)] == sorted(instances)


def test_a_type_that_is_not_known() -> None:
    with pytest.raises(KeyError):
        derived({99: 1}, TYPES)
