# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import warm
from .debian import S390X, chosen_release
from .machine import Machine
from .playbooks import Playbooks

# The s390x machine has nothing but channels, and no other machine has any.
collect_ignore_glob = ["test_*.py"] if chosen_release() == S390X else ["s390x/*"]

# As docs/boot.md has it for hosts that need longer: an emulated machine does beside others.
SLOW = {
    "nodedev-restore": """[Service]
ExecStart=
ExecStart=/usr/sbin/nodedev-restore --wait 240 --limit 240
TimeoutStartSec=900
""",
    "nodedev-restore@": """[Service]
ExecStart=
ExecStart=/usr/sbin/nodedev-restore --parent %i --wait 240 --limit 240
RuntimeMaxSec=1140
""",
}


@pytest.fixture(scope="session")
def stays() -> bool:
    """Whether the machine is up already."""
    return Machine().running() is not None


@pytest.fixture(scope="session")
def machine(stays: bool) -> Iterator[Machine]:
    """The machine that is up already, which stays up; else one for this run of the tests."""
    with Machine() as up:
        for unit, limits in SLOW.items():
            up.write(f"/etc/systemd/system/{unit}.service.d/limits.conf", limits)
        yield up


@pytest.fixture(scope="session")
def playbooks(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """Runs playbooks on the machine by a warm interpreter, which test_warm.py compares with the guest's own."""
    return Playbooks(machine, tmp_path_factory.mktemp("playbooks"), warm.install(machine))


@pytest.fixture(scope="session")
def engine(stays: bool, playbooks: Playbooks) -> Iterator[None]:
    """The boot engine with libvirt's hook, for all files that need it but test_boot.py, which comes before them.

    That one installs and removes it by itself, and holds that nothing is left: here that is done once for all, and
    undone where the machine stays up.
    """
    role: dict[str, Any] = {"import_role": {"name": "hostdev.nodedev.persistence"}}
    playbooks.tasks([{**role, "vars": {"persistence_reload_libvirt": True}}])
    yield
    if stays:
        playbooks.tasks([{**role, "vars": {"persistence_state": "absent"}}])
