# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other files compare to see that nothing has changed differs where something has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, UUID, Host

MDEV = {"uuid": UUID, "parent": CARD, "type": "nvidia-231"}
FUNCTIONS = {"device": "pci_0000_06_00_0", "numvfs": 2}
VGPU = {"device": "pci_0000_06_00_4", "type": "NVIDIA A16-4Q"}
# Each makes something; only the first defines it too.
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("nvidia-mdev", "mdev", MDEV),
    ("nvidia-mdev", "mdev", {**MDEV, "persistent": False}),
    ("functions", "driver", {"device": "pci_0000_81_00_0", "driver": "vfio-pci", "persistent": False}),
    ("functions", "sriov", {**FUNCTIONS, "persistent": False}),
    ("nvidia-vfio-small", "vgpu", {**VGPU, "persistent": False}),
    ("fc", "vhba", {"name": "images", "persistent": False}),
    ("ap", "ap_mask", {"adapters": [5], "persistent": False}),
]


@pytest.mark.parametrize(("scenario", "module", "options"), CHANGES)
def test_a_change(start: Callable[..., Host], scenario: str, module: str, options: dict[str, Any]) -> None:
    host = start(scenario)
    before = host.state()
    assert host.done(module, **options, check_mode=True)["changed"]
    assert host.state() == before
    assert host.done(module, **options)["changed"]
    assert host.state() != before
