# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/molecule.md: a user's role, tested as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from pages import Controller, blocks, follow, page


def test_each_file_and_command(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMHOST", str(ROOT / "tests"))
    # Else the lines have colours.
    monkeypatch.setenv("NO_COLOR", "1")
    controller = Controller(tmp_path, archive)
    output = ""
    for block in blocks(page("molecule.md")):
        output = follow(block, controller, output)
    assert "Six of them" in output
