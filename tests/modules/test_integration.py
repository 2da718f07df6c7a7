# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of tests/integration that have no molecule scenario, on the simulated host."""

from __future__ import annotations

from pathlib import Path

from conftest import ROOT, Host
from plays import play
from vhbas import kept, vports


def test_the_life_of_a_vhba(fc: Host, tmp_path: Path) -> None:
    output = play(fc, ROOT / "tests" / "integration" / "vhba.yml", tmp_path)
    assert "failed=0" in output
    assert "Nothing is" in output
    assert (vports(fc), kept(fc)) == ([], [])
