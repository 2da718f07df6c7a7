# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as the collection, and the test hosts as packages, wherever the checkout is."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent

sys.path[:0] = [str(TESTS.parent / "playbooks" / "collections"), str(TESTS)]
