# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: a host made of files, and which tests run where.

Filters run on the controller, and pages, sources and tools are read there: where there is no ansible, as on the oldest
Python of a managed host, these are left out.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from devices import Host
from fibre import look_below
from hypothesis import settings

# A busy machine makes an example slow, which says nothing of the code.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")

# What concerns the controller, whose Python is newer.
CONTROLLER = ("accelerator", "filters*", "house", "pages", "run", "troubleshooting", "workflows")
collect_ignore_glob = [] if find_spec("ansible") else [f"test_{name}.py" for name in CONTROLLER]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of the test's own, empty."""
    return Host(tmp_path, monkeypatch)


@pytest.fixture
def fibre(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of the test's own in whose files ports, remote ports and units are looked for."""
    look_below(host, monkeypatch)
    return host
