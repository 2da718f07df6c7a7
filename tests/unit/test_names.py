# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's names, and what may become part of a path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import grammar, names
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.machine import derived_wwn
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
    assert grammar.checked_uuid(value) == UUID


@pytest.mark.parametrize(
    "value", ["", "83b8f4f2", f"{{{UUID}}}", UUID.replace("-", ""), f"{UUID}\n", f"{UUID}/..", "g" + UUID[1:]]
)
def test_what_is_no_uuid(value: str) -> None:
    with pytest.raises(BadInput, match=r"uuid: .* 8-4-4-4-12"):
        grammar.checked_uuid(value)


PLAIN = UUID.replace("-", "")


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        (UUID, UUID),
        (UUID.upper(), UUID),
        (PLAIN, UUID),
        (PLAIN.upper(), UUID),
        (f" \t\n\r{UUID}\n  ", UUID),
        (f"- -{UUID}", UUID),
        ("83 b8 f4 f2--50 9f 38 2f 3c 1e e6-bf e0 fa 10 01", UUID),
        ("8 3b8f4f2-509f-382f-3c1e-e6bfe0fa1001", None),
        (f"{UUID}-", None),
        (f"{UUID}0", None),
        (f"{PLAIN}{PLAIN}", None),
        (PLAIN[:-1], None),
        (PLAIN[:-2], None),
        ("83b8f4f2-\t509f-382f-3c1e-e6bfe0fa1001", None),
        (f"{{{UUID}}}", None),
        (f"g{UUID[1:]}", None),
        (f"\u0663{UUID[1:]}", None),
        (f"\u00a0{UUID}", None),
        ("-", None),
        (" ", None),
    ],
)
def test_uuids_as_libvirt_takes_them(tmp_path: Path, text: str, uuid: str | None) -> None:
    assert names.libvirt_uuid(text) == uuid
    document = (
        f"<domain type='test'><name>d</name><uuid>{text}</uuid><memory>1</memory><os><type>hvm</type></os></domain>"
    )
    (tmp_path / "domain.xml").write_text(document)
    script = f"define {tmp_path}/domain.xml; domuuid d"
    told = subprocess.run(["virsh", "-c", "test:///default", script], capture_output=True, text=True, check=False)
    assert (uuid in told.stdout.split()) if uuid else ("malformed uuid" in told.stderr), told


def test_a_long_text_is_no_uuid_at_once() -> None:
    """Of a megabyte of blanks, no expression tries all ways to divide it."""
    for text in (" " * (1 << 20), "- " * (1 << 19), " " * (1 << 20) + "x", ("83" + "- " * (1 << 16)) * 8):
        assert names.libvirt_uuid(text) is None


@pytest.mark.parametrize("value", ["0000:06:00.0", "0.0.0013", "matrix", "mtty", "pci_0000_06_00_0"])
def test_address(value: str) -> None:
    assert grammar.checked_address("parent", value) == value


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("00000000:3D:00.0", "0000:3d:00.0"),
        ("3D:1f.7", "0000:3d:1f.7"),
        ("0:3d:00.0", "0000:3d:00.0"),
        ("00010000:e1:00.0", "10000:e1:00.0"),
        # That of a channel.
        ("FE.3.ABCD", "fe.3.abcd"),
        # None of either.
        ("3D:20.0", "3D:20.0"),
        ("3D:00.8", "3D:00.8"),
    ],
)
def test_an_address_as_people_and_tools_write_it(value: str, address: str) -> None:
    assert grammar.checked_address("parent", value) == address


@pytest.mark.parametrize("value", ["", ".", "..", "../x", "a/b", "a b", "a\n", "\0", "-x"])
def test_what_is_no_address(value: str) -> None:
    with pytest.raises(BadInput, match="parent: "):
        grammar.checked_address("parent", value)


@pytest.mark.parametrize(
    "value",
    [None, "nvidia-231", "GRID T4-2Q", "I/O subchannel (Non-QDIO)", "a.b", "...", "vfio_ap-passthrough", "\u00e9"],
)
def test_type(value: str | None) -> None:
    assert grammar.checked_type(value) == value


@pytest.mark.parametrize("value", ["", ".", "..", "../nvidia-231", "/nvidia-231", "a/../b", "a/.", "a//b", "a/", "a\0"])
def test_what_is_no_type(value: str) -> None:
    with pytest.raises(BadInput, match=r"type: .* named by its kernel id or its vendor's name"):
        grammar.checked_type(value)


@pytest.mark.parametrize("name", ["assign_adapter", "nvidia/vgpu_params", "a/b/c.d"])
def test_attribute(name: str) -> None:
    assert grammar.checked_attrs([{name: "1"}]) == ((name, "1"),)


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
        ("a", None),
        ("a", True),
        ("a", 1.5),
        ("a", ["1"]),
        ("a", "\udcff"),
        ("a", "x" * 4095),
        ("remove", "1"),
        ("uevent", "remove"),
        ("driver/unbind", "1"),
        ("driver_override", "1"),
        ("power/control", "on"),
        ("subsystem/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/remove", "1"),
        ("mdev_type/create", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"),
        ("mdev_type/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/remove", "1"),
        ("iommu_group/devices/0000:3d:00.0/remove", "1"),
        ("vendor/remove", "1"),
    ],
)
def test_what_is_no_attribute(name: str, value: object) -> None:
    with pytest.raises(BadInput, match="attrs: "):
        grammar.checked_attrs([{name: value}])


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (-5, "-5"), ("0xab", "0xab"), (" ", " "), ("x" * 4094, "x" * 4094)]
)
def test_the_value_of_an_attribute(value: object, text: str) -> None:
    assert grammar.checked_attrs([{"a": value}]) == (("a", text),)


@given(st.text())
def test_no_attribute_leads_out_of_the_device(name: str) -> None:
    try:
        grammar.checked_attribute_name(name)
    except BadInput:
        return
    assert not name.startswith("/")
    assert ".." not in name.split("/")


@pytest.mark.parametrize(
    "value",
    [
        "5001a4a0000000a1",
        "5001A4A0000000A1",
        "0x5001a4a0000000a1",
        "0X5001A4A0000000A1",
        "50:01:a4:a0:00:00:00:a1",
        "50-01-A4-A0-00-00-00-A1",
        "0x50:01:a4:a0:00:00:00:a1",
    ],
)
def test_wwn(value: str) -> None:
    assert grammar.checked_wwn("wwpn", value) == "5001a4a0000000a1"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0x",
        "5001a4a0000000a",
        "5001a4a0000000a1b",
        "0x0x5001a4a0000000a1",
        "g001a4a0000000a1",
        " 5001a4a0000000a1",
        "5001a4a0000000a1\n",
        "5001a4a0000000a1:5001a4a1000000a1",
        "5001:a4a0:0000:00a1",
        "50:01:a4:a0:00:00:00:a",
        "5:001a4a0000000a1",
        "../../5001a4a00000",
        "\u0665" * 16,
    ],
)
def test_what_is_no_wwn(value: str) -> None:
    with pytest.raises(BadInput, match=r"wwpn: .* has 16 hexadecimal digits"):
        grammar.checked_wwn("wwpn", value)


def test_a_wwn_of_digits_has_to_be_quoted() -> None:
    # What YAML makes of 10:00:00:00:00:12:34:56, as text.
    with pytest.raises(BadInput, match=r"wwpn: '27993600045296' .*: quote them"):
        grammar.checked_wwn("wwpn", "27993600045296")
    with pytest.raises(BadInput, match=r"and colons$"):
        grammar.checked_wwn("wwpn", "5001a4")


@pytest.mark.parametrize("value", ["0" * 16, "f" * 16, "F" * 16, "0x" + "0" * 16, ":".join(["ff"] * 8)])
def test_a_wwn_that_stands_for_no_port(value: str) -> None:
    with pytest.raises(BadInput, match=r"wwnn: .* of zeros or of f alone stands for no port"):
        grammar.checked_wwn("wwnn", value)


@given(st.text())
def test_whatever_is_taken_for_a_wwn_is_one(value: str) -> None:
    try:
        wwn = grammar.checked_wwn("wwpn", value)
    except BadInput:
        return
    assert grammar.WWN.fullmatch(wwn)


MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("machine", "name", "role", "oui", "wwn"),
    [
        (MACHINE, "database", "node", "001a4a", "5001a4a5c2f82842"),
        (MACHINE, "database", "port", "001a4a", "5001a4a2ecd0a2fb"),
        (MACHINE, "database", "port", "00163e", "500163e2ecd0a2fb"),
        (MACHINE, "datab\u00e4se", "port", "001a4a", "5001a4ae5330bf14"),
        (MACHINE[::-1], "database", "port", "001a4a", "5001a4a12fb49e2f"),
    ],
)
def test_a_derived_wwn_never_changes(machine: str, name: str, role: str, oui: str, wwn: str) -> None:
    """A change of one of these takes zoned storage away from hosts."""
    assert derived_wwn(machine, name, role, oui) == wwn


@given(st.text(), st.sampled_from(["node", "port"]))
def test_a_derived_wwn_is_a_wwn(name: str, role: str) -> None:
    wwn = derived_wwn(MACHINE, name, role, "001a4a")
    assert grammar.checked_wwn("wwpn", wwn) == wwn
    assert wwn.startswith("5001a4a")
