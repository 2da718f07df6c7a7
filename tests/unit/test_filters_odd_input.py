# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters with whatever a user may give them: a document or a name, or one line that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter import (
    card_config,
    card_config_export,
    consumer_config,
    disk_xml,
    hostdev_xml,
    interface_xml,
    nodedev_name,
    storage_pool_xml,
)
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree
from test_filters import BOUND, FUNCTION, PCI, RESULT, UNIT, USB, VF, VGPU, VHBA, facts, mdev
from test_filters_card_config import DEVICES as GPUS
from test_filters_card_config import MIX, migs, pool, vgpus
from test_filters_consumer import DEVICES, by_id, function, mediated
from test_filters_storage import LUN
from test_filters_storage import VHBA as POOL

FILTERS: dict[str, Callable[..., Any]] = {
    "card_config": card_config.card_config,
    "card_config_export": card_config_export.card_config_export,
    "consumer_config": consumer_config.consumer_config,
    "hostdev_xml": hostdev_xml.hostdev_xml,
    "interface_xml": interface_xml.interface_xml,
    "disk_xml": disk_xml.disk_xml,
    "storage_pool_xml": storage_pool_xml.storage_pool_xml,
    "nodedev_name": nodedev_name.nodedev_name,
}
LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: Any = "x"
for _ in range(3000):
    DEEP = [DEEP]
ODD = st.one_of(
    st.sampled_from([None, True, False, -1, 1.5, math.inf, -math.inf, math.nan, 10**5000, LOOP, DEEP, b"\xff", {1, 2}]),
    st.sampled_from(["", " ", "\0", "a\nb", "\x1b[31m", "\u202ex", "\ud800", "x" * 5000, "9" * 5000, "../x", "<&>"]),
    st.integers(-(1 << 70), 1 << 70),
    st.text(max_size=8),
    st.lists(st.none() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3) | st.integers(), st.none() | st.text(max_size=3), max_size=2),
)
NETWORK = {**VF, "capability": {**VF["capability"], "class": "0x020000"}}
GOOD = [
    *({"name": "x", "capability": kind} for kind in (PCI, USB)),
    *(VF, RESULT, UNIT, VHBA, POOL, LUN, mdev("0000:06:00.0"), {"mdev": RESULT}, {"vhba": POOL}),
    *(BOUND, FUNCTION, {"device": BOUND}, {"sriov": {"functions": [FUNCTION]}}, NETWORK, {"vgpu": VGPU}),
    facts("scsi", host=3, bus=0, target=2, lun=1),
    facts("scsi_host", host=3),
    {**VF, "extra": {"current_vgpu_type": 711}},
    vgpus({"devices": [1], "device-filter": "0x26B910DE", "vgpu-devices": MIX}),
    migs({"devices": "all", "mig-enabled": True, "mig-devices": {"1g.18gb": 3}}),
    *({"nodedev_vgpu_pools": [pool(0, MIX)]}, {"nodedev_mig": [{"device": "x", "instances": {"1g.18gb": 3}}]}),
    *({"instances": [function(4), function(5)]}, [by_id(0)], {"instances": [mediated(0)]}),
]
OPTIONS = {
    "card_config": ("label", "devices"),
    "card_config_export": ("label", "devices"),
    "consumer_config": ("consumer", "name", "devices", "node"),
    "hostdev_xml": ("managed", "usb", "wwpn", "model", "iommufd", "display", "ramfb", "libvirt_version"),
    "interface_xml": ("mac", "vlan", "managed", "model", "iommufd", "libvirt_version"),
    "disk_xml": ("target", "bus", "device", "cache", "readonly", "shareable"),
    "storage_pool_xml": ("name", "target", "managed"),
    "nodedev_name": ("parent", "subsystem"),
}
# Without these, Python itself refuses the call.
NEEDED = {
    "card_config": {"label": "mix", "devices": GPUS},
    "card_config_export": {"devices": GPUS},
    "consumer_config": {"consumer": "proxmox", "node": "pve1", "devices": DEVICES},
    "disk_xml": {"target": "sda"},
    "storage_pool_xml": {"name": "x"},
}


@st.composite
def spoiled(draw: st.DrawFn, value: Any = None) -> Any:
    """A good value in which one thing, however deep, is another or is gone."""
    value = draw(st.sampled_from(GOOD)) if value is None else value
    if not isinstance(value, (Mapping, list)) or not value or draw(st.integers(0, 5)) == 0:
        return draw(ODD)
    if isinstance(value, list):
        return [draw(spoiled(value[0])), *value[1:]]
    key = draw(st.sampled_from(sorted(value)))
    rest = {name: each for name, each in value.items() if name != key}
    return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: draw(spoiled(value[key]))}


def answer(name: str, value: Any, options: Mapping[str, Any]) -> Any:
    """What the filter gives; None where it refuses, which it must do on one line that can be printed."""
    try:
        made = FILTERS[name](value, **options)
    except AnsibleFilterError as error:
        message = str(error)
        assert message.startswith(f"{name}: ")
        assert message.isprintable()
        assert len(message) < 1500
        return None
    if name.endswith("_xml"):
        etree.fromstring(made)
        made.encode()
    assert isinstance(made, dict if name == "card_config" else str)
    return made


@pytest.mark.parametrize("name", FILTERS)
@given(value=ODD | spoiled(), spoiler=st.data())
@example(value={"uuid": "x", "device_api": "y", "capability": None}, spoiler=None)
@example(value={"capability": {"type": ["pci"]}}, spoiler=None)
@example(value={"capability": {**PCI, "capability": ["x"]}}, spoiler=None)
@example(value={"capability": {**PCI, "bus": math.inf}}, spoiler=None)
@example(value={"capability": PCI, "extra": None}, spoiler=None)
@example(value={**RESULT, "device_api": None, "extra": ["x"]}, spoiler=None)
@example(value=10**5000, spoiler=None)
@example(value=LOOP, spoiler=None)
def test_no_input_ends_in_a_traceback(name: str, value: Any, spoiler: Any) -> None:
    options = dict(NEEDED.get(name, {}))
    if spoiler is not None:
        options.update(
            spoiler.draw(
                st.dictionaries(st.sampled_from(OPTIONS[name]), ODD, max_size=2), label="options of the filter"
            )
        )
    answer(name, value, options)


@pytest.mark.parametrize("name", FILTERS)
@given(options=st.data())
def test_no_option_ends_in_a_traceback(name: str, options: Any) -> None:
    good = {
        "card_config": vgpus({"devices": [1], "vgpu-devices": MIX}),
        "card_config_export": {"nodedev_vgpu_pools": [pool(0, MIX)]},
        "consumer_config": {"instances": [function(4)]},
        "hostdev_xml": RESULT,
        "interface_xml": FUNCTION,
        "disk_xml": LUN,
        "storage_pool_xml": POOL,
        "nodedev_name": RESULT["uuid"],
    }
    drawn = options.draw(st.dictionaries(st.sampled_from(OPTIONS[name]), ODD, min_size=1))
    answer(name, good[name], {**NEEDED.get(name, {}), **drawn})


@pytest.mark.parametrize(
    ("name", "value", "options", "message"),
    [
        ("hostdev_xml", {"uuid": "x", "device_api": "y", "capability": None}, {}, "this is not a device"),
        ("hostdev_xml", facts("pci", **{**PCI, "bus": 256}), {}, "256 is not a whole number from 0 to 255"),
        ("hostdev_xml", facts("pci", **{**PCI, "bus": -1}), {}, "-1 is not a whole number from 0 to 255"),
        ("hostdev_xml", facts("pci", **{**PCI, "slot": 1.5}), {}, "1.5 is not a whole number"),
        ("hostdev_xml", facts("pci", **{**PCI, "slot": True}), {}, "True is not a whole number"),
        ("hostdev_xml", facts("scsi", host=3, bus=0, target=2, lun="x"), {}, "'x' is not a whole number"),
        ("hostdev_xml", RESULT, {"managed": "maybe"}, "managed: 'maybe' cannot be used: it is true or false"),
        ("disk_xml", LUN, {"target": "sda", "readonly": 2}, "readonly: 2 cannot be used: it is true or false"),
        ("disk_xml", {**LUN, "by_path": "/dev/x\x01"}, {"target": "sda"}, r"has '/dev/x\x01' for multipath, by_path"),
        (
            "disk_xml",
            {**LUN, "address": "9\n", "by_path": 7},
            {"target": "sda"},
            r"LUN 9\n has 7 for multipath, by_path",
        ),
        (
            "storage_pool_xml",
            {**POOL, "wwpn": ["x"]},
            {"name": "x"},
            "wwpn: ['x'] cannot be used: a World Wide Name is",
        ),
        ("storage_pool_xml", POOL, {"name": "x", "managed": None}, "managed: None cannot be used"),
        ("nodedev_name", "card0a", {"subsystem": ["ap"]}, "subsystem is ['ap'], not the name of a subsystem"),
        ("nodedev_name", "x" * 9000, {}, "xxx... is neither a PCI address"),
    ],
)
def test_what_is_wrong(name: str, value: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        FILTERS[name](value, **options)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{name}: ")


@pytest.mark.parametrize(("word", "wanted"), [("no", "no"), ("False", "no"), ("yes", "yes"), ("On", "yes")])
def test_a_flag_of_an_inventory_may_be_text(word: str, wanted: str) -> None:
    assert etree.fromstring(hostdev_xml.hostdev_xml(RESULT, managed=word)).get("managed") == wanted
