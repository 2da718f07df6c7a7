# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of vgpu-device-manager and mig-parted, read into variables and written from them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter.card_config import FilterModule as Reader
from ansible_collections.hostdev.nodedev.plugins.filter.card_config_export import FilterModule as Writer
from hypothesis import given
from hypothesis import strategies as st

card_config = Reader().filters()["card_config"]
card_config_export = Writer().filters()["card_config_export"]
NAMES = ("pci_0000_3d_00_0", "pci_0000_41_00_0", "pci_0001_04_00_0")


def gpu(bus: int, product: str = "26b9", domain: int = 0, **extra: Any) -> dict[str, Any]:
    """A GPU as nodedev_facts has it."""
    place = {"domain": domain, "bus": bus, "slot": 0, "function": 0, "class": "0x030200"}
    ids = {"vendor": {"id": "0x10de"}, "product": {"id": f"0x{product}"}}
    return {"capability": {"type": "pci", **place, **ids}, "extra": {"role": "whole", **extra}}


# Not in the order of their addresses, and with what is none of NVIDIA's GPUs.
DEVICES: dict[str, Any] = {
    NAMES[2]: gpu(4, "2330", 1),
    NAMES[0]: gpu(0x3D, subsystem_id="10de:1851"),
    NAMES[1]: gpu(0x41, subsystem_id="10de:16f1"),
    "pci_0000_3d_00_4": gpu(0x3D, role="function"),
    "pci_0000_3d_00_1": {**gpu(0x3D), "capability": {**gpu(0x3D)["capability"], "class": "0x040300"}},
    "pci_0000_02_00_0": {"capability": {"type": "pci", "vendor": {"id": "0x8086"}}},
    "net_eth0": {"capability": {"type": "net"}},
}
MIX = {"L40S-8Q": 2, "L40S-4Q": 4}


def vgpus(*entries: Any) -> dict[str, Any]:
    return {"version": "v1", "vgpu-configs": {"mix": [*entries], "other": []}}


def migs(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"version": "v1", "mig-configs": {"mix": [*entries]}}


def pool(index: int, types: dict[str, int]) -> dict[str, Any]:
    return {"name": f"mix-{index}", "parents": {"names": [NAMES[index]]}, "types": types}


@pytest.mark.parametrize(
    ("document", "name", "found"),
    [
        (
            vgpus({"devices": "all", "vgpu-devices": MIX}),
            "nodedev_vgpu_pools",
            [pool(0, MIX), pool(1, MIX), pool(2, MIX)],
        ),
        (vgpus({"devices": [1, 0], "vgpu-devices": MIX}), "nodedev_vgpu_pools", [pool(0, MIX), pool(1, MIX)]),
        (vgpus({"devices": 2, "vgpu-devices": {"H100-4C": 1}}), "nodedev_vgpu_pools", [pool(2, {"H100-4C": 1})]),
        (
            vgpus({"devices": "all", "device-filter": "0x26B910DE", "vgpu-devices": MIX}),
            "nodedev_vgpu_pools",
            [pool(0, MIX), pool(1, MIX)],
        ),
        (
            vgpus({"devices": "all", "device-filter": ["0x26b910de:0x16F110DE", "0x233010DE"], "vgpu-devices": MIX}),
            "nodedev_vgpu_pools",
            [pool(1, MIX), pool(2, MIX)],
        ),
        # The last one counts.
        (
            vgpus({"devices": "all", "vgpu-devices": MIX}, {"devices": [0, 2], "vgpu-devices": {}}),
            "nodedev_vgpu_pools",
            [{"name": "mix-0", "state": "absent"}, pool(1, MIX), {"name": "mix-2", "state": "absent"}],
        ),
        (vgpus(), "nodedev_vgpu_pools", []),
        (
            migs(
                {"devices": "all", "mig-enabled": False},
                {"devices": [2], "mig-enabled": True, "mig-devices": {"1g.18gb": 3, "3g.71gb": 1}},
                {"devices": [1], "mig-enabled": True, "mig-devices": {}},
            ),
            "nodedev_mig",
            [
                {"device": NAMES[0], "enabled": False},
                {"device": NAMES[1], "enabled": True, "instances": {}},
                {"device": NAMES[2], "enabled": True, "instances": {"1g.18gb": 3, "3g.71gb": 1}},
            ],
        ),
    ],
)
def test_what_a_label_says(document: dict[str, Any], name: str, found: list[Any]) -> None:
    assert card_config(document, "mix", DEVICES) == {name: found}
    assert card_config(yaml.safe_dump(document), "mix", DEVICES) == {name: found}


@pytest.mark.parametrize(
    ("document", "options", "message"),
    [
        ("a: [", {}, "this is no YAML"),
        ("", {}, "this has neither vgpu-configs nor mig-configs: None"),
        ([], {}, "this has neither vgpu-configs nor mig-configs"),
        ({"vgpu-configs": {}}, {}, "version is None, not v1"),
        ({**vgpus(), "version": "v2"}, {}, "version is 'v2', not v1"),
        ({**vgpus(), "x": 1}, {}, "the document has 'x', which v1 does not know"),
        (vgpus(), {"label": "none"}, "label is 'none'; the document has 'mix', 'other'"),
        (vgpus(), {"label": None}, "label is None; the document has 'mix', 'other'"),
        ({"version": "v1", "mig-configs": {"mix": 7}}, {}, "mix is 7, not a list of entries"),
        (vgpus(7), {}, "an entry is 7, not a mapping"),
        (vgpus({"devices": "all"}), {}, "an entry has no vgpu-devices"),
        (vgpus({"vgpu-devices": {}}), {}, "an entry has no devices"),
        (vgpus({"devices": "all", "vgpu-devices": {}, "mig-enabled": True}), {}, "has 'mig-enabled', which v1 does"),
        (migs({"devices": "all", "mig-devices": {}}), {}, "an entry has no mig-enabled"),
        (migs({"devices": "all", "mig-enabled": True}), {}, "an entry has no mig-devices"),
        (migs({"devices": "all", "mig-enabled": "yes", "mig-devices": {}}), {}, "mig-enabled is 'yes', not true or"),
        (vgpus({"devices": "all", "vgpu-devices": ["x"]}), {}, "vgpu-devices is ['x'], not numbers by names"),
        (vgpus({"devices": "all", "vgpu-devices": {"x": -1}}), {}, "vgpu-devices has -1 of 'x'"),
        (vgpus({"devices": "all", "vgpu-devices": {"x": True}}), {}, "vgpu-devices has True of 'x'"),
        (vgpus({"devices": "all", "vgpu-devices": {4: 1}}), {}, "vgpu-devices has 1 of 4"),
        (
            migs({"devices": 0, "mig-enabled": True, "mig-devices": {"1c.3g.20gb": 1}}),
            {},
            "1c.3g.20gb is a part of a GPU instance",
        ),
        (
            vgpus({"devices": "none", "vgpu-devices": {}}),
            {},
            "devices is 'none', not all and not numbers",
        ),
        (
            vgpus({"devices": [3], "vgpu-devices": {}}),
            {},
            "numbers of this host's GPUs, 0 to 2",
        ),
        (vgpus({"devices": True, "vgpu-devices": {}}), {}, "devices is True"),
        (vgpus({"devices": 0, "device-filter": "26B9", "vgpu-devices": {}}), {}, "device-filter is '26B9', not like"),
        (vgpus(), {"devices": None}, "devices has no GPU of NVIDIA's"),
        (vgpus(), {"devices": {"x": None}}, "devices is not as nodedev_facts has it"),
    ],
)
def test_what_is_no_configuration(document: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        card_config(document, **{"label": "mix", "devices": DEVICES, **options})
    assert message in str(error.value)
    assert str(error.value).startswith("card_config: ")
    assert "\n" not in str(error.value)


COUNTS = st.dictionaries(st.sampled_from(["L40S-8Q", "L40S-4Q", "L40S-1B"]), st.integers(1, 48), min_size=1)
INSTANCES = st.dictionaries(st.sampled_from(["1g.18gb", "1g.18gb+me", "7g.141gb"]), st.integers(1, 7))
PLACES = st.lists(st.integers(0, 2), unique=True)


@given(places=PLACES, counts=st.lists(COUNTS, min_size=3, max_size=3))
def test_pools_there_and_back(places: list[int], counts: list[dict[str, int]]) -> None:
    variables = {"nodedev_vgpu_pools": [pool(index, counts[index]) for index in sorted(places)]}
    assert card_config(card_config_export(variables, "mix", DEVICES), "mix", DEVICES) == variables


@given(places=PLACES, counts=st.lists(INSTANCES, min_size=3, max_size=3))
def test_instances_there_and_back(places: list[int], counts: list[dict[str, int]]) -> None:
    wishes = [{"device": NAMES[index], "enabled": True, "instances": counts[index]} for index in sorted(places)]
    variables = {"nodedev_mig": wishes}
    assert card_config(card_config_export(variables, "mix", DEVICES), "mix", DEVICES) == variables


def test_what_is_written() -> None:
    pools = [pool(0, {"NVIDIA L40S-8Q": 2}), {**pool(1, {}), "type": "L40S-8Q", "count": 2}, pool(2, {"H100-4C": 1})]
    assert card_config_export({"nodedev_vgpu_pools": pools}, "mix", DEVICES).splitlines() == [
        "version: v1",
        "vgpu-configs:",
        "  mix:",
        "  - devices:",
        "    - 0",
        "    - 1",
        "    vgpu-devices:",
        "      L40S-8Q: 2",
        "  - devices:",
        "    - 2",
        "    vgpu-devices:",
        "      H100-4C: 1",
    ]
    every = {"nodedev_mig": [{"device": name, "enabled": False} for name in NAMES]}
    assert yaml.safe_load(card_config_export(every, devices=DEVICES)) == {
        "version": "v1",
        "mig-configs": {"hostdev": [{"devices": "all", "mig-enabled": False, "mig-devices": {}}]},
    }


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({}, {}, "give nodedev_vgpu_pools or nodedev_mig, one of both"),
        ({"nodedev_vgpu_pools": [], "nodedev_mig": []}, {}, "give nodedev_vgpu_pools or nodedev_mig, one of both"),
        ([], {}, "give nodedev_vgpu_pools or nodedev_mig, one of both"),
        ({"nodedev_mig": []}, {"label": ""}, "label is '', not a name"),
        ({"nodedev_mig": []}, {"devices": {}}, "devices has no GPU of NVIDIA's"),
        ({"nodedev_mig": [{"device": "x"}]}, {}, "'x' is not one of the host's GPUs, pci_0000_3d_00_0"),
        (
            {"nodedev_vgpu_pools": [{"name": "p", "type": "x", "count": 2}]},
            {},
            "pool 'p' has no one card in parents.names",
        ),
        ({"nodedev_vgpu_pools": [{**pool(0, {}), "type": "x", "count": "max"}]}, {}, "pool 'mix-0' has no one card in"),
        ({"nodedev_mig": [7]}, {}, "a value has another shape"),
    ],
)
def test_what_cannot_be_said(variables: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        card_config_export(variables, **{"label": "mix", "devices": DEVICES, **options})
    assert message in str(error.value)
    assert str(error.value).startswith("card_config_export: ")
    assert "\n" not in str(error.value)
