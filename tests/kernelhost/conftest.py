# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import warm
from .debian import S390X, chosen_release
from .machine import Machine
from .playbooks import Playbooks

# The s390x machine has nothing but channels, and no other machine has any.
collect_ignore_glob = ["test_*.py"] if chosen_release() == S390X else ["s390x/*"]


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The machine that is up already, which stays up; else one for this run of the tests."""
    with Machine() as up:
        yield up


@pytest.fixture(scope="session")
def playbooks(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """Runs playbooks on the machine by a warm interpreter, which test_warm.py compares with the guest's own."""
    return Playbooks(machine, tmp_path_factory.mktemp("playbooks"), warm.install(machine))
