# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev modules on a real kernel, with real mdevctl and libvirt to compare with."""

from __future__ import annotations

import pytest

from .playbooks import ROOT, Playbooks

pytestmark = pytest.mark.every_release

INTEGRATION = ROOT / "tests" / "integration"


@pytest.mark.parametrize("playbook", ["mdev.yml", "mdev_held.yml"])
def test_integration(playbooks: Playbooks, playbook: str) -> None:
    assert "failed=0" in playbooks.run(INTEGRATION / playbook, libvirt_runs=True)
