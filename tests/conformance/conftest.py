# SPDX-License-Identifier: GPL-3.0-or-later
"""Each tree is asked once for all tests; the waivers that were needed are listed at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from . import hosts, waivers
from .hosts import Answer

OWN = "this machine"
ZOOS = ("zoo-pci", "zoo-net", "zoo-usb", "zoo-scsi", "zoo-s390x", "zoo-misc")
TREES = (OWN, *ZOOS, "nvidia-sriov", "s390x")
_USED: set[str] = set()

Ask = Callable[[str], Answer]


@pytest.fixture(scope="session")
def rules() -> waivers.Rules:
    """The waivers."""
    return waivers.load()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH of our modules."""
    return hosts.library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def ask(rules: waivers.Rules, library: str) -> Ask:
    """Gives both sides' answers on a tree, and their comparison."""

    @cache
    def ask(tree: str) -> Answer:
        context = hosts.own_machine(library) if tree == OWN else hosts.simulated(tree, library)
        with context as host:
            answer = hosts.compared(host, rules)
        comparison = answer.comparison
        _USED.update(comparison.used)
        print(f"{tree}: {comparison.devices} devices compared, waivers {', '.join(sorted(comparison.used)) or 'none'}")
        return answer

    return ask


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells which waivers its tests needed."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["waivers"] = sorted(_USED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a worker told; one that was killed told nothing."""
    _USED.update(getattr(node, "workeroutput", {}).get("waivers", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the waivers that were needed, and those that were not."""
    if _USED:
        unused = {waiver.id for waiver in waivers.load().waivers} - _USED
        terminalreporter.write_line(f"waivers used: {', '.join(sorted(_USED))}")
        terminalreporter.write_line(f"waivers not used in this run: {', '.join(sorted(unused)) or 'none'}")
