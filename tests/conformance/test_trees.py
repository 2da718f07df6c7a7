# SPDX-License-Identifier: GPL-3.0-or-later
"""Every device of every tree, ours against libvirt's: names, parents, canonical XML, tree text, libvirt's schema.

All that asks the trees is in this file: a worker of pytest-xdist gets a whole file, so that each is asked once.
"""

from __future__ import annotations

import copy

import pytest
from lxml import etree

from . import hosts, waivers
from .canonical import parse
from .conftest import TREES, ZOOS, Ask

# In Debian's package libvirt0.
SCHEMA = "/usr/share/libvirt/schemas/nodedev.rng"
TYPES = {
    *("system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi", "storage", "scsi_generic"),
    *("drm", "mdev", "ccw", "css", "vdpa", "ap_card", "ap_queue", "ap_matrix", "mdev_types"),
}
NESTED = {
    *("phys_function", "virt_functions", "pci-bridge", "cardbus-bridge", "mdev_types", "vpd", "80203", "80211"),
    *("fc_host", "vport_ops", "fc_remote_port", "removable"),
}
# Types and nested capabilities that later versions of libvirt know.
LATER = {(11, 3): {"ccwgroup", "ccwgroup_member", "qeth_layer2", "qeth_layer3"}}
# Of two devices with one name libvirt knows the later alone; a subset of ours does not read the other's subsystem.
HIDDEN = {"usb_1_1_1_1"}


@pytest.mark.parametrize("tree", TREES)
def test_tree(ask: Ask, tree: str) -> None:
    ask(tree).comparison.check()


@pytest.mark.parametrize("tree", ZOOS)
def test_filters(ask: Ask, library: str, tree: str) -> None:
    """`capabilities` gives the devices that `nodedev-list --cap` does, where libvirt knows the name and has some."""
    answer = ask(tree)
    compared = (answer.dump.listing.xml.keys() & answer.ours.xml.keys()) - HIDDEN
    with hosts.simulated(tree, library) as host:
        differences: dict[str, dict[str, set[str]]] = {}
        for name, names in answer.dump.capabilities.items():
            wanted = compared & set(names)
            if wanted:
                found = compared & host.facts(capabilities=[name], include="all")["devices"].keys()
                if found != wanted:
                    differences[name] = {"libvirt alone": wanted - found, "ours alone": found - wanted}
    assert not differences


def test_states(ask: Ask, library: str) -> None:
    """`include` and `persistence` give the devices that libvirt says it of."""
    answer = ask("zoo-misc")
    compared = answer.dump.listing.xml.keys() & answer.ours.xml.keys()
    states = {
        "active": {"include": "active"},
        "inactive": {"include": "inactive"},
        "persistent": {"include": "all", "persistence": "persistent"},
        "transient": {"include": "all", "persistence": "transient"},
    }
    with hosts.simulated("zoo-misc", library) as host:
        for state, arguments in states.items():
            found = compared & host.facts(**arguments)["devices"].keys()
            assert found == compared & answer.dump.names(state), state


def test_every_capability_occurs(ask: Ask) -> None:
    dumps = [ask(tree).dump for tree in TREES]
    texts = [text for dump in dumps for text in dump.listing.xml.values()]
    wanted = TYPES | NESTED
    for version, types in LATER.items():
        if all(dump.version >= version for dump in dumps):
            wanted |= types
    missing = {name for name in wanted if not any(f"<capability type='{name}'" in text for text in texts)}
    assert not missing


def test_every_waiver_is_needed(ask: Ask, rules: waivers.Rules) -> None:
    answers = [ask(tree) for tree in TREES]
    version = answers[0].dump.version
    used = {name for answer in answers for name in answer.comparison.used}
    unused = {waiver.id for waiver in rules.waivers if waiver.holds_for(version)} - used
    assert not unused, f"no tree needs {', '.join(sorted(unused))}: remove them from waivers.yml"


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
    """Our XML is valid by nodedev.rng, but for what a waiver names."""
    used: set[str] = set()
    answers = {tree: ask(tree) for tree in TREES}
    version = answers[TREES[0]].dump.version
    held = [waiver for waiver in rules.schema if waiver.holds_for(version)]
    messages = [invalid(schema, text, held, used) for answer in answers.values() for text in answer.ours.xml.values()]
    wrong = list(filter(None, messages))
    assert not wrong, "\n\n".join(wrong)
    unused = {waiver.id for waiver in held} - used
    assert not unused, f"no tree needs {', '.join(sorted(unused))}: remove them from waivers.yml"
