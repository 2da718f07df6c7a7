# SPDX-License-Identifier: GPL-3.0-or-later
"""Each tree is asked once for all tests; the waivers that were needed are listed at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from kernelhost import KernelhostError

from . import hosts, waivers
from .hosts import Answer
from .judges import INSTALLED, NAMES, Judge, find_or_unpack

OWN = "this machine"
ZOOS = ("zoo-pci", "zoo-net", "zoo-usb", "zoo-scsi", "zoo-s390x", "zoo-misc")
TREES = (OWN, *ZOOS, "nvidia-sriov", "s390x")
_USED: set[str] = set()

Ask = Callable[[str], Mapping[str, Answer]]


@pytest.fixture(scope="session")
def rules() -> waivers.Rules:
    """The waivers."""
    return waivers.load()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH of our modules."""
    return hosts.library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def judges() -> dict[str, Judge]:
    """The libvirts that there are, by name; in CI all of them, or KernelhostError."""
    found = [INSTALLED]
    try:
        found.append(find_or_unpack())
    except KernelhostError:
        if os.environ.get("CI") == "true":
            raise
    return {judge.name: judge for judge in found}


@pytest.fixture(params=NAMES)
def judge(request: pytest.FixtureRequest, judges: Mapping[str, Judge]) -> Judge:
    """Each libvirt in turn."""
    if request.param not in judges:
        pytest.skip(f"the libvirt of {request.param} could not be unpacked")
    return judges[request.param]


@pytest.fixture(scope="session")
def ask(rules: waivers.Rules, library: str, judges: Mapping[str, Judge]) -> Ask:
    """Gives what ours and each libvirt say of a tree, by the libvirts' names, and their comparisons."""

    @cache
    def ask(tree: str) -> Mapping[str, Answer]:
        context = hosts.own_machine(library) if tree == OWN else hosts.simulated(tree, library)
        with context as host:
            answers = hosts.compared(host, rules, judges.values())
        for name, answer in answers.items():
            found = answer.comparison
            _USED.update(found.used)
            used = ", ".join(sorted(found.used)) or "none"
            print(f"{tree}, libvirt {name}: {found.devices} devices compared, waivers {used}")
        return answers

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
