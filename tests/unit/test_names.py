# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's names, and what may become part of a path."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils import names
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import BadInput
from hypothesis import given
from hypothesis import strategies as st

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


@pytest.mark.parametrize(
    ("subsystem", "sysname", "name"),
    [
        ("pci", "0000:06:00.0", "pci_0000_06_00_0"),
        ("pci", "10000:e1:00.0", "pci_10000_e1_00_0"),
        ("css", "0.0.0013", "css_0_0_0013"),
        ("matrix", "matrix", "ap_matrix"),
        ("mtty", "mtty", "mtty_mtty"),
        ("net", "é", "net___"),
        ("net", "\udcff", "net__"),
    ],
)
def test_device_name(subsystem: str, sysname: str, name: str) -> None:
    assert names.device_name(subsystem, sysname) == name


def test_mdev_name_has_uuid_and_parent() -> None:
    assert names.mdev_name(UUID, "0000:06:00.0") == "mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001_0000_06_00_0"


@pytest.mark.parametrize("value", [UUID, UUID.upper()])
def test_uuid_is_kept_in_lower_case(value: str) -> None:
    assert names.checked_uuid(value) == UUID


@pytest.mark.parametrize(
    "value", ["", "83b8f4f2", f"{{{UUID}}}", UUID.replace("-", ""), f"{UUID}\n", f"{UUID}/..", "g" + UUID[1:]]
)
def test_what_is_no_uuid(value: str) -> None:
    with pytest.raises(BadInput, match=r"uuid: .* 8-4-4-4-12"):
        names.checked_uuid(value)


@pytest.mark.parametrize("value", ["0000:06:00.0", "0.0.0013", "matrix", "mtty", "pci_0000_06_00_0"])
def test_address(value: str) -> None:
    assert names.checked_address("parent", value) == value


@pytest.mark.parametrize("value", ["", ".", "..", "../x", "a/b", "a b", "a\n", "\0", "-x"])
def test_what_is_no_address(value: str) -> None:
    with pytest.raises(BadInput, match="parent: "):
        names.checked_address("parent", value)


@pytest.mark.parametrize("name", ["assign_adapter", "nvidia/vgpu_params", "a/b/c.d"])
def test_attribute(name: str) -> None:
    assert names.checked_attribute(name, "1") == (name, "1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "1"),
        ("/remove", "1"),
        ("..", "1"),
        ("../x", "1"),
        ("a/../../x", "1"),
        ("a//b", "1"),
        ("a/", "1"),
        ("a\n", "1"),
        ("a", ""),
        ("a", "x\0y"),
    ],
)
def test_what_is_no_attribute(name: str, value: str) -> None:
    with pytest.raises(BadInput, match="attrs: "):
        names.checked_attribute(name, value)


@given(st.text())
def test_no_attribute_leads_out_of_the_device(name: str) -> None:
    try:
        names.checked_attribute(name, "1")
    except BadInput:
        return
    assert not name.startswith("/")
    assert ".." not in name.split("/")
