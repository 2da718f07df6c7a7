# SPDX-License-Identifier: GPL-3.0-or-later
"""Our XML against libvirt's own schema, nodedev.rng, which Debian has in the package libvirt0."""

from __future__ import annotations

import copy

import pytest
from lxml import etree

from . import waivers
from .canonical import parse
from .conftest import TREES, Ask

SCHEMA = "/usr/share/libvirt/schemas/nodedev.rng"


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMA))


def invalid(schema: etree.RelaxNG, text: str, held: list[waivers.Waiver], used: set[str]) -> str:
    """What the schema says against a device, once the waivers that it needs are applied; empty if nothing."""
    device = parse(text)
    if schema.validate(device):
        return ""
    for waiver in held:
        if waivers.matches(waiver, "ours", device):
            used.add(waiver.id)
            return ""
        if waivers.edit(waiver, device, copy.deepcopy(device)):
            used.add(waiver.id)
    if schema.validate(device):
        return ""
    return "\n".join([*(f"{error.path}: {error.message}" for error in schema.error_log), text])


def test_schema(ask: Ask, rules: waivers.Rules, schema: etree.RelaxNG) -> None:
    used: set[str] = set()
    answers = {tree: ask(tree) for tree in TREES}
    version = answers[TREES[0]].dump.version
    held = [waiver for waiver in rules.schema if waiver.holds_for(version)]
    messages = [invalid(schema, text, held, used) for answer in answers.values() for text in answer.ours.xml.values()]
    wrong = list(filter(None, messages))
    assert not wrong, "\n\n".join(wrong)
    unused = {waiver.id for waiver in held} - used
    assert not unused, f"no tree needs {', '.join(sorted(unused))}: remove them from waivers.yml"
