# SPDX-License-Identifier: GPL-3.0-or-later
"""Random hosts, ours against each libvirt's. In CI the same ones each time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import hypothesis

from . import hosts, waivers
from .judges import Judge
from .strategies import scenarios


# Each example starts a host and libvirt's daemons, which takes a second; the difference says enough without a smaller
# host.
@hypothesis.settings(
    max_examples=25,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate),
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(scenario=scenarios())
def test_random_host(library: str, rules: waivers.Rules, judges: Mapping[str, Judge], scenario: dict[str, Any]) -> None:
    with hosts.simulated(scenario, library) as host:
        answers = hosts.compared(host, rules, judges.values())
    for answer in answers.values():
        answer.comparison.check()
