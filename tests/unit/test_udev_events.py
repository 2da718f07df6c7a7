# SPDX-License-Identifier: GPL-3.0-or-later
"""udev's events by the real pyudev and libudev."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest
import pyudev
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import udev_events


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOENT])
def test_what_an_earlier_call_has_left_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Waiting for an earlier device's events leaves EAGAIN, a node that is gone ENOENT."""
    filter_by = pyudev.Monitor.filter_by

    def leave(monitor: pyudev.Monitor, subsystem: str) -> None:
        filter_by(monitor, subsystem)
        ctypes.set_errno(number)

    monkeypatch.setattr(pyudev.Monitor, "filter_by", leave)
    monkeypatch.setattr(udev_events, "CONTROL", str(tmp_path))
    watch = udev_events.Watch("mdev")
    assert watch.wait_added([], 1) == []
    assert "a in time" in watch.wait_added(["a"], 0)[0]
