# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others in messages and in results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("qemu-system-x86", "qemu-system-x86"),
        ("Gerät 1", "Gerät 1"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2Jok", r"\x1b[2Jok"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        (12, "12"),
    ],
)
def test_shown(value: object, shown: str) -> None:
    assert text.shown(value) == shown


@given(st.text(st.characters(), max_size=300))
def test_what_is_shown_is_one_printable_line(value: str) -> None:
    assert text.shown(value, None).isprintable()
    assert text.shown(value).isprintable()
    assert len(text.shown(value)) <= 10 * text.LONGEST + 3


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("\udcff", "\ufffd"),
        ({"a\ud800": ["b\udfff", 1, None, True]}, {"a\ufffd": ["b\ufffd", 1, None, True]}),
        (("x",), ["x"]),
        ("ü", "ü"),
    ],
)
def test_what_leaves_is_utf8(value: Any, cleaned: Any) -> None:
    assert text.cleaned(value) == cleaned
    assert json.loads(text.as_json(value)) == cleaned
