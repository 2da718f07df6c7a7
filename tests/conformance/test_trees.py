# SPDX-License-Identifier: GPL-3.0-or-later
"""Every device of every tree, ours against libvirt's: names, parents, canonical XML, tree text, libvirt's schema.

All that asks the trees is in this file: a worker of pytest-xdist gets a whole file, so that each is asked once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from kernelhost.debian import TRIXIE
from lxml import etree

from . import hosts, waivers
from .canonical import parse
from .conftest import OWN, TREES, ZOOS, Ask
from .hosts import Answer
from .judges import Judge

TYPES = {
    *("system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi", "storage", "scsi_generic"),
    *("drm", "mdev", "ccw", "css", "vdpa", "ap_card", "ap_queue", "ap_matrix", "mdev_types"),
}
NESTED = {
    *("phys_function", "virt_functions", "pci-bridge", "cardbus-bridge", "mdev_types", "vpd", "80203", "80211"),
    *("fc_host", "vport_ops", "fc_remote_port", "removable"),
}
# Types and nested capabilities that later versions of libvirt know.
LATER = {(11, 3): {"ccwgroup", "ccwgroup_member", "qeth_generic", "qeth_layer2", "qeth_layer3"}}
# Which version a release has; that of the machine is what it is.
VERSIONS = {str(TRIXIE): (11, 3)}
# Of two devices with one name libvirt knows the later alone; a subset of ours does not read the other's subsystem.
HIDDEN = {"usb_1_1_1_1"}


def test_version(ask: Ask, judge: Judge) -> None:
    """A judge is not another one by mistake."""
    version = ask(OWN)[judge.name].dump.version
    assert version == VERSIONS.get(judge.name, version)


@pytest.mark.parametrize("tree", TREES)
def test_tree(ask: Ask, judge: Judge, tree: str) -> None:
    ask(tree)[judge.name].comparison.check()


@pytest.fixture(scope="module")
def filtered(ask: Ask, library: str) -> Callable[[str], dict[str, set[str]]]:
    """Gives the devices that ours has of a tree for each filter of which a libvirt has some, by its name."""

    @cache
    def filtered(tree: str) -> dict[str, set[str]]:
        names = {name for answer in ask(tree).values() for name, devices in wanted(answer).items() if devices}
        with hosts.simulated(tree, library) as host:
            return {name: devices(host, capabilities=[name], include="all") for name in sorted(names)}

    return filtered


def devices(host: hosts.Host, **arguments: Any) -> set[str]:
    return set(host.facts(**arguments)["devices"])


def comparable(answer: Answer) -> set[str]:
    """The names of the devices that both sides list."""
    return (answer.dump.listing.xml.keys() & answer.ours.xml.keys()) - HIDDEN


def wanted(answer: Answer) -> dict[str, set[str]]:
    """What libvirt gives for each filter, of the devices that both list."""
    return {name: comparable(answer) & set(names) for name, names in answer.dump.capabilities.items()}


@pytest.mark.parametrize("tree", ZOOS)
def test_filters(ask: Ask, judge: Judge, filtered: Callable[[str], dict[str, set[str]]], tree: str) -> None:
    """`capabilities` gives the devices that `nodedev-list --cap` does, where libvirt knows the name and has some."""
    answer, ours = ask(tree)[judge.name], filtered(tree)
    differences: dict[str, dict[str, set[str]]] = {}
    for name, theirs in wanted(answer).items():
        found = ours[name] & comparable(answer) if theirs else set()
        if found != theirs:
            differences[name] = {"libvirt alone": theirs - found, "ours alone": found - theirs}
    assert not differences


@pytest.fixture(scope="module")
def by_state(library: str) -> dict[str, set[str]]:
    """The devices that ours has of a tree by `include` and `persistence`."""
    states = {
        "active": {"include": "active"},
        "inactive": {"include": "inactive"},
        "persistent": {"include": "all", "persistence": "persistent"},
        "transient": {"include": "all", "persistence": "transient"},
    }
    with hosts.simulated("zoo-misc", library) as host:
        return {state: devices(host, **arguments) for state, arguments in states.items()}


def test_states(ask: Ask, judge: Judge, by_state: dict[str, set[str]]) -> None:
    """`include` and `persistence` give the devices that libvirt says it of."""
    answer = ask("zoo-misc")[judge.name]
    for state, found in by_state.items():
        assert found & comparable(answer) == comparable(answer) & answer.dump.names(state), state


def test_every_capability_occurs(ask: Ask, judge: Judge) -> None:
    dumps = [ask(tree)[judge.name].dump for tree in TREES]
    texts = [text for dump in dumps for text in dump.listing.xml.values()]
    wanted = TYPES | NESTED
    for version, types in LATER.items():
        if dumps[0].version >= version:
            wanted |= types
    missing = {name for name in wanted if not any(f"<capability type='{name}'" in text for text in texts)}
    assert not missing


def test_every_waiver_is_needed(ask: Ask, judge: Judge, rules: waivers.Rules) -> None:
    answers = [ask(tree)[judge.name] for tree in TREES]
    version = answers[0].dump.version
    used = {name for answer in answers for name in answer.comparison.used}
    unused = {waiver.id for waiver in rules.waivers if waiver.holds_for(version)} - used
    assert not unused, f"no tree needs {', '.join(sorted(unused))} for {version}: correct waivers.yml"


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


def test_schema(ask: Ask, judge: Judge, rules: waivers.Rules) -> None:
    """Our XML is valid by the libvirt's own nodedev.rng, but for what a waiver names."""
    schema = etree.RelaxNG(etree.parse(judge.schema))
    used: set[str] = set()
    answers = [ask(tree)[judge.name] for tree in TREES]
    version = answers[0].dump.version
    held = [waiver for waiver in rules.schema if waiver.holds_for(version)]
    messages = [invalid(schema, text, held, used) for answer in answers for text in answer.ours.xml.values()]
    wrong = list(filter(None, messages))
    assert not wrong, "\n\n".join(wrong)
    unused = {waiver.id for waiver in held} - used
    assert not unused, f"no tree needs {', '.join(sorted(unused))} for {version}: correct waivers.yml"
