# SPDX-License-Identifier: GPL-3.0-or-later
"""Public CI: it calls targets of the Makefile that are there, and each ansible-core that is supported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def workflow() -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def targets() -> list[str]:
    found: list[str] = workflow()["jobs"]["make"]["strategy"]["matrix"]["target"]
    return found


@pytest.mark.parametrize("target", targets())
def test_each_target_is_one_of_the_makefile(target: str) -> None:
    assert re.search(rf"^{target.split()[0]}:.*##", MAKEFILE, re.MULTILINE)


def test_nothing_but_make_is_run() -> None:
    steps = [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]
    assert steps == ['sudo env "PATH=$PATH" CI=true make ${{ matrix.target }}']


def test_each_ansible_core_from_the_oldest_to_the_newest() -> None:
    versions = [int(target.split("2.")[1]) for target in targets() if "CORE" in target]
    oldest = re.search(r'">=2\.(\d+)\.0"', (ROOT / "meta" / "runtime.yml").read_text())
    newest = re.search(r"^ansible-core==2\.(\d+)\.", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    assert oldest
    assert newest
    assert versions == [*range(int(oldest[1]), int(newest[1]) + 1)]


def test_it_runs_each_week() -> None:
    assert [each["cron"].split()[-1] for each in workflow()["on"]["schedule"]] == ["1"]
