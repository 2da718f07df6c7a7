# SPDX-License-Identifier: GPL-3.0-or-later
"""Records and definitions with anything in them: they are understood, or are one DamagedDefinition."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import pool as mdev_plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import pool_wish as mdev_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import pool as vhba_plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import pool_wish as vhba_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools import record as records
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from hypothesis import given
from hypothesis import strategies as st
from pools import IDS, PARENTS
from pools import observed as mdev_host
from vhba_pools import HBAS, WWPNS
from vhba_pools import observed as vhba_host

PATH = "/etc/nodedev.d/pool/x.json"
DEFINITION = f"/etc/nodedev.d/vhba/{WWPNS[0]}.json"
numbers = st.integers(-(10**999), 10**999) | st.sampled_from([0, 1, 4095, 4096, 2**64])
scalars = st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
likely = st.sampled_from(["max", "spread", "nvidia-1", "x y", "/", "..", *IDS[:2], *WWPNS[:2], *PARENTS.values()])
values = anything | likely | st.lists(likely, max_size=3)
instances = st.lists(
    values
    | st.fixed_dictionaries(
        {
            "index": numbers | values,
            "id": st.sampled_from([*IDS, *WWPNS]) | values,
            "parent": st.sampled_from([*PARENTS.values(), *(hba.wwpn for hba in HBAS.values())]) | values,
        }
    ),
    max_size=3,
)
KEYS = ["type", "count", "uuids", "parents", "placement", "attrs", "autostart", "require_online", "oui", "identity"]
SELECTORS = [
    *("names", "addresses", "driver", "vendor", "numa_node", "physical_function", "iommu_group", "interface"),
    *("wwpns", "fabric_wwn", "online"),
]
sane: dict[str, st.SearchStrategy[Any]] = {
    "type": st.just("nvidia-1"),
    "count": st.integers(0, 8) | st.just("max"),
    "parents": st.dictionaries(st.sampled_from(SELECTORS), values, max_size=2),
    "placement": st.sampled_from(["spread", "pack"]),
    "attrs": st.just([]) | st.just([{"a": "1"}]),
    "autostart": st.booleans(),
    "require_online": st.booleans(),
    "oui": st.just("001a4a"),
}
wishes = st.fixed_dictionaries({}, optional={key: sane.get(key, values) | values for key in KEYS})
documents = st.one_of(
    st.builds(
        lambda kind, wish, listed: {"kind": kind, **wish, "instances": listed},
        st.sampled_from(["mdev", "vhba"]) | values,
        wishes,
        instances | values,
    ),
    st.dictionaries(st.sampled_from(["kind", "instances", *KEYS]), values),
)


def understood(document: dict[str, Any]) -> Record | None:
    """The record of a document; None where it is damaged, and nothing else."""
    try:
        return records.decode(PATH, document)
    except DamagedDefinition as damage:
        assert damage.path == PATH
        return None


@given(documents)
def test_any_record_of_mediated_devices(document: dict[str, Any]) -> None:
    record = understood(document)
    if record is None:
        return
    try:
        wish = mdev_wish.Wish.checked(name="x").filled(record)
    except (DamagedDefinition, BadInput) as error:
        assert isinstance(error, DamagedDefinition) or record.kind != "mdev"
        return
    assert Record("x", "mdev", wish.document(), record.instances, record.root) is not None
    try:
        mdev_plan.plan(mdev_wish.Wish.checked(name="x"), mdev_host(record))
    except NodedevError as error:
        assert not isinstance(error, DamagedDefinition)


@given(documents)
def test_any_record_of_vhbas(document: dict[str, Any]) -> None:
    record = understood(document)
    if record is None:
        return
    try:
        vhba_wish.Wish.checked(name="x").filled(record)
    except (DamagedDefinition, BadInput) as error:
        assert isinstance(error, DamagedDefinition) or record.kind != "vhba"
        return
    try:
        vhba_plan.plan(vhba_wish.Wish.checked(name="x"), vhba_host(record))
    except NodedevError as error:
        assert not isinstance(error, DamagedDefinition)


@given(
    st.dictionaries(
        st.sampled_from(["wwnn", "wwpn", "parent_wwpn", "require_online"]),
        values | st.sampled_from(WWPNS) | st.integers(10**15, 10**16),
    )
)
def test_any_definition_of_a_vhba(document: dict[str, Any]) -> None:
    try:
        known = definition.decode(DEFINITION, document)
    except DamagedDefinition as damage:
        assert damage.path == DEFINITION
        return
    assert definition.decode(DEFINITION, known.document()) == known
    assert all(isinstance(document[key], str) for key in ("wwnn", "wwpn", "parent_wwpn"))


@pytest.mark.parametrize("index", [-1, 4096, 10**999])
def test_an_index_that_no_pool_has(index: int) -> None:
    listed = [{"index": index, "id": IDS[0], "parent": "p"}]
    with pytest.raises(DamagedDefinition, match="an instance has an index that is not from 0 to 4095"):
        records.decode(PATH, {"kind": "mdev", "instances": listed})


def test_what_was_told_is_all_that_is_recorded() -> None:
    told = {
        "type": "nvidia-1",
        "count": 3,
        "parents": {"driver": "nvidia"},
        "placement": "pack",
        "attrs": [],
        "autostart": False,
        "identity": "a",
    }
    for key in told:
        wish = {name: value for name, value in told.items() if name in ("type", "count", key)}
        record = Record("x", "mdev", wish, (Recorded(0, IDS[0], PARENTS["A"]),))
        assert mdev_wish.kept(record).document() == wish
        assert mdev_wish.Wish.checked(name="x", **wish).document() == wish
    vhbas = {"count": 3, "parents": {"online": False}, "placement": "pack", "require_online": False, "oui": "005056"}
    for key in [*vhbas, "identity"]:
        wish = {name: value for name, value in {**vhbas, "identity": "a"}.items() if name in ("count", key)}
        assert vhba_wish.kept(Record("x", "vhba", wish, ())).document(()) == wish
        assert vhba_wish.Wish.checked(name="x", **wish).document(()) == wish
