# SPDX-License-Identifier: GPL-3.0-or-later
"""What iproute2 prints of virtual functions, as its versions and drivers have it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vf_settings import (
    KEYS,
    PROTOCOL,
    parsed,
    word,
)

MAC = "02:00:00:00:00:01"
# As print_vfinfo() of iproute2 6.1 has it.
WHOLE = {
    "vf": 0,
    "link_type": "ether",
    "address": MAC,
    "broadcast": "ff:ff:ff:ff:ff:ff",
    "vlan_list": [{"vlan": 100, "qos": 3}],
    "rate": {"max_tx": 1000, "min_tx": 10},
    "spoofchk": True,
    "link_state": "auto",
    "trust": False,
    "query_rss_en": False,
}
REST = {"mac": MAC, "vlan": 0, "qos": 0, "proto": "802.1Q", "max_tx_rate": 0}

TEXTS: list[tuple[str, Any, dict[int, dict[str, Any]]]] = [
    (
        "all",
        [{"vfinfo_list": [WHOLE]}],
        {
            0: {
                "mac": MAC,
                "vlan": 100,
                "qos": 3,
                "proto": "802.1Q",
                "trust": False,
                "spoofchk": True,
                "link_state": "auto",
                "min_tx_rate": 10,
                "max_tx_rate": 1000,
            }
        },
    ),
    ("no VLAN", [{"vfinfo_list": [{"vf": 1, "address": MAC, "vlan_list": [{}]}]}], {1: REST}),
    (
        "another protocol",
        [{"vfinfo_list": [{"vf": 1, "address": MAC, "vlan_list": [{"vlan": 7, "protocol": "802.1ad"}]}]}],
        {1: {**REST, "vlan": 7, "proto": "802.1ad"}},
    ),
    ("an older kernel", [{"vfinfo_list": [{"vf": 1, "address": MAC, "vlan": 7}]}], {1: {**REST, "vlan": 7}}),
    ("an older rate", [{"vfinfo_list": [{"vf": 1, "address": MAC, "tx_rate": 9}]}], {1: {**REST, "max_tx_rate": 9}}),
    ("without functions", [{"ifname": "eth0"}], {}),
    (
        "odd values",
        [{"vfinfo_list": [{"vf": 2, "address": 5, "trust": 1, "vlan": "x"}]}],
        {2: {"qos": 0, "proto": "802.1Q", "max_tx_rate": 0}},
    ),
    ("nothing", [], {}),
    ("an empty answer", [{}], {}),
]


@pytest.mark.parametrize(("links", "found"), [each[1:] for each in TEXTS], ids=[each[0] for each in TEXTS])
def test_what_is_printed(links: Any, found: dict[int, dict[str, Any]]) -> None:
    assert parsed(json.dumps(links)) == found


@pytest.mark.parametrize("text", ["", "x", "5", "[5]", '[{"vfinfo_list": 5}]', '[{"vfinfo_list": [{}]}]', "[" * 100000])
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(NodedevError, match="ip -json link show has printed what is not understood"):
        parsed(text)


def test_all_keys_are_read() -> None:
    assert set(parsed(json.dumps([{"vfinfo_list": [WHOLE]}]))[0]) == {*KEYS, PROTOCOL}


@pytest.mark.parametrize(("value", "told"), [(True, "on"), (False, "off"), (0, "0"), ("auto", "auto")])
def test_words(value: object, told: str) -> None:
    assert word(value) == told
