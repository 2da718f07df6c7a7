# SPDX-License-Identifier: GPL-3.0-or-later
"""Vital product data: what libvirt prints of it, what makes it invalid, and that no bytes of it do harm."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import vpd
from devices import Host
from hypothesis import given
from hypothesis import strategies as st

NAME, READ_ONLY, READ_WRITE, END = 0x82, 0x90, 0x91, b"\x78"


def resource(tag: int, data: bytes) -> bytes:
    return bytes((tag,)) + len(data).to_bytes(2, "little") + data


def keyword(name: str, data: bytes = b"") -> bytes:
    return name.encode() + bytes((len(data),)) + data


def data_of(
    *fields: bytes, name: bytes | None = b"NIC", writable: bytes | None = None, skipped: bytes = b"", wrong: int = 0
) -> bytes:
    """Whole data: a name, the read-only fields with a checksum behind them, the read-write section if any.

    ``skipped`` is the data of a resource of another kind before all that; ``wrong`` is added to the checksum.
    """
    start = (resource(0x84, skipped) if skipped else b"") + (b"" if name is None else resource(NAME, name))
    section = b"".join(fields) + keyword("RV", b"\0")
    unsummed = start + resource(READ_ONLY, section)
    summed = unsummed[:-1] + bytes(((wrong + sum(skipped) - sum(unsummed)) % 256,))
    return summed + (b"" if writable is None else resource(READ_WRITE, writable)) + END


def fields(access: str = "readonly", **said: Any) -> dict[str, Any]:
    return {"access": access, **said}


VALID = [
    (data_of(), {"name": "NIC"}),
    (data_of(name=None), {}),
    (data_of(name=b""), {"name": ""}),
    (data_of(name=b" \tNIC 1\0after\n"), {"name": "NIC 1"}),
    # The order is libvirt's for the fixed ones, and that of the data for the others.
    (
        data_of(
            *(
                keyword("VZ", b"z"),
                keyword("SN", b"3"),
                keyword("PN", b" 2 "),
                keyword("MN", b"1"),
                keyword("EC", b"0"),
            ),
            *(keyword("V1", b"a"), keyword("VZ", b"y")),
        ),
        {
            "name": "NIC",
            "fields": [
                fields(
                    change_level="0",
                    manufacture_id="1",
                    part_number="2",
                    serial_number="3",
                    vendor_field=[{"index": "Z", "value": "y"}, {"index": "1", "value": "a"}],
                )
            ],
        },
    ),
    (
        data_of(
            keyword("PN", b""),
            writable=keyword("Y3", b"s") + keyword("YA", b"tag") + keyword("V7", b"") + keyword("RW", b"\0\0"),
        ),
        {
            "name": "NIC",
            "fields": [
                fields(part_number=""),
                fields(
                    "readwrite",
                    asset_tag="tag",
                    vendor_field=[{"index": "7", "value": ""}],
                    system_field=[{"index": "3", "value": "s"}],
                ),
            ],
        },
    ),
    # What is not printable is left out alone; what is of no interest counts in the sum.
    (
        data_of(keyword("PN", b"\xff"), keyword("FG", b"zz"), keyword("SN", b"1")),
        {"fields": [fields(serial_number="1")]},
    ),
    # Kept to itself, but the section is there.
    (data_of(keyword("CP", b"\0\1\2\3")), {"fields": [fields()]}),
    (data_of(keyword("YA", b"tag")), {"fields": [fields()]}),
    (data_of(writable=keyword("EC", b"1")), {"fields": [fields("readwrite")]}),
    (data_of(writable=b""), {"name": "NIC"}),
    # Other resources are skipped, and their data does not count.
    (data_of(skipped=b"\xff\xfe"), {"name": "NIC"}),
]

INVALID = {
    "nothing": b"",
    "end only": END,
    "no read-only section": resource(NAME, b"NIC") + END,
    "no end": data_of()[:-1],
    "short": data_of()[:10],
    "wrong sum": data_of(wrong=1),
    "name not printable": data_of(name=b"\xe9"),
    "no checksum": resource(READ_ONLY, keyword("PN", b"1")) + END,
    "empty read-only section": resource(READ_ONLY, b"") + END,
    "field beyond its section": resource(READ_ONLY, b"PN\x09x") + END,
    "bytes left over": resource(READ_ONLY, b"PN") + END,
    "checksum in the read-write section": data_of(writable=keyword("RV", b"\0")),
    "free space in the read-only section": data_of(keyword("RW", b"\0")),
    "fields behind free space": data_of(writable=keyword("RW") + keyword("V1", b"1")),
    "too long": resource(0x84, bytes(0x7FFE)) + data_of(),
    "zeros": bytes(0x8000),
    "ones": b"\xff" * 0x8000,
}


@pytest.mark.parametrize(("data", "said"), VALID)
def test_valid(data: bytes, said: dict[str, Any]) -> None:
    assert vpd.decode(data) == {"type": "vpd", **({"name": "NIC"} if "fields" in said else {}), **said}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
def test_invalid(data: bytes) -> None:
    assert vpd.decode(data) is None


def test_the_file(host: Host) -> None:
    assert vpd.nested(host.make_device("pci", "a", {"vpd": data_of()}).path) == [{"type": "vpd", "name": "NIC"}]
    assert vpd.nested(host.make_device("pci", "b", {"vpd": b"damaged"}).path) == []
    assert vpd.nested(host.make_device("pci", "c", {"vpd/unreadable": ""}).path) == []
    assert vpd.nested(host.make_device("pci", "d").path) == []


KEYWORDS = st.sampled_from(("EC", "MN", "PN", "SN", "V1", "VZ", "YA", "Y1", "CP", "FG", "RV", "RW", "xx"))
FIELDS = st.builds(keyword, KEYWORDS, st.binary(max_size=20))
RESOURCES = st.one_of(
    st.builds(resource, st.sampled_from((NAME, READ_ONLY, READ_WRITE, 0x84)), st.lists(FIELDS).map(b"".join)),
    st.builds(lambda listed, wrong: data_of(*listed, wrong=wrong)[:-1], st.lists(FIELDS), st.integers(0, 1)),
    st.binary(max_size=8),
)


@given(st.one_of(st.binary(max_size=200), st.lists(RESOURCES).map(lambda parts: b"".join(parts) + END)))
def test_no_bytes_do_harm(data: bytes) -> None:
    found = vpd.decode(data)
    assert found is None or set(found) <= {"type", "name", "fields"}


@given(st.lists(st.tuples(KEYWORDS.filter(lambda name: name not in ("RV", "RW")), st.binary(max_size=20)), max_size=8))
def test_whatever_the_fields_are_the_rest_is_read(listed: list[tuple[str, bytes]]) -> None:
    found = vpd.decode(data_of(*(keyword(*one) for one in listed)))
    assert found is not None
    assert found["name"] == "NIC"
