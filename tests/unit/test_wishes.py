# SPDX-License-Identifier: GPL-3.0-or-later
"""What every wish is checked for, and that each kind's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import wishes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import device as mdev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import pool_wish as mdev_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.sriov import device as sriov
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import device as vhba
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import pool_wish as vhba_wish
from hypothesis import given
from hypothesis import strategies as st

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
SECONDS = "cannot be used: a number of seconds, 0 or more and at most 86400"


@pytest.mark.parametrize("value", [0, 0.5, 30, 86400, 86400.0])
def test_how_long_one_may_wait(value: float) -> None:
    assert wishes.checked_seconds("wait_timeout", value) == value


WRONG: list[tuple[object, str]] = [
    (-1, "-1"),
    (-0.001, "-0.001"),
    (86400.5, "86400.5"),
    (float("inf"), "inf"),
    (float("-inf"), "-inf"),
    (float("nan"), "nan"),
    (1e300, "1e+300"),
    (10**5000, "a number of thousands of digits"),
    (True, "True"),
    ("5", "'5'"),
    ([], "[]"),
]
EACH_WRONG = pytest.mark.parametrize(("value", "told"), WRONG, ids=[case[1] for case in WRONG])


@EACH_WRONG
def test_how_long_nobody_waits(value: object, told: str) -> None:
    with pytest.raises(BadInput) as refused:
        wishes.checked_seconds("wait_timeout", value)
    assert str(refused.value) == f"wait_timeout: {told} {SECONDS}"


def of_nodedev(**options: Any) -> None:
    registry.ensure(True, None, "scsi_host77", **{"state": "absent", "replace": False, **options})


KINDS: list[Callable[..., Any]] = [
    lambda **options: mdev.Wish.checked(uuid=UUID, **options),
    lambda **options: mdev_wish.Wish.checked(name="x", **options),
    lambda **options: sriov.Wish.checked(device="0000:3b:00.0", **options),
    lambda **options: vhba.Wish.checked(name="x", **options),
    lambda **options: vhba_wish.Wish.checked(name="x", **options),
    of_nodedev,
]
EACH_KIND = pytest.mark.parametrize("wish", KINDS, ids=["mdev", "mdev_pool", "sriov", "vhba", "vhba_pool", "nodedev"])


@EACH_KIND
@EACH_WRONG
def test_no_kind_waits_so_long(wish: Callable[..., Any], value: object, told: str) -> None:
    with pytest.raises(BadInput, match=f"^wait_timeout: .*{SECONDS}$"):
        wish(wait_timeout=value)


@pytest.mark.parametrize("wish", KINDS[:-1])
def test_a_wish_waits_as_long_as_is_documented(wish: Callable[..., Any]) -> None:
    assert wish().wait_timeout == 30


@EACH_KIND
def test_nothing_is_kept_of_what_is_neither_there_nor_persistent(wish: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match=r"persistent: False cannot be used: with state 'inactive' the definitions? "):
        wish(state="inactive", persistent=False)


@pytest.mark.parametrize("value", ["gpu-7", "gpu-7.example.org", "Ω", "x" * 255, "0123456789abcdef0123456789abcdef"])
def test_an_identity(value: str) -> None:
    assert wishes.checked_identity(value) == value


@pytest.mark.parametrize("value", ["", " ", "a b", "a\n", "a\tb", "\x1b[2J", "\ud800", "x" * 256, 5, ["a"], True])
@pytest.mark.parametrize("wish", KINDS[1:], ids=["mdev_pool", "sriov", "vhba", "vhba_pool", "nodedev"])
def test_what_is_no_identity(wish: Callable[..., Any], value: object) -> None:
    with pytest.raises(BadInput, match=r"^identity: .* it is text of 1 to 255 characters without blanks$"):
        wish(identity=value)


@given(st.floats() | st.integers())
def test_any_number_is_waited_for_or_refused(value: float) -> None:
    try:
        assert 0 <= wishes.checked_seconds("wait_timeout", value) <= wishes.LONGEST_WAIT
    except BadInput:
        assert not 0 <= value <= wishes.LONGEST_WAIT
