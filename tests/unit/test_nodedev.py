# SPDX-License-Identifier: GPL-3.0-or-later
"""What a document means as a wish: a table, without a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import machine
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import document
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import xml

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


def device(*inside: str, parent: str = "<parent>pci_0000_06_00_0</parent>") -> dict[str, Any]:
    return xml.from_xml(f"<device>{parent}<capability type='mdev'>{''.join(inside)}</capability></device>")


TYPE = "<type id='nvidia-63'/>"
OWN = f"<uuid>{UUID.upper()}</uuid>"


def test_all_that_a_document_says() -> None:
    attrs = "<attr name='b' value='1'/><attr name='a/c' value='&lt;2&gt;'/><attr name='b' value='3'/>"
    wish = document.from_device(device(TYPE, OWN, attrs), state="inactive", autostart=False)
    assert (wish.uuid, wish.type, wish.parent) == (UUID, "nvidia-63", "pci_0000_06_00_0")
    assert wish.attrs == (("b", "1"), ("a/c", "<2>"), ("b", "3"))
    assert (wish.state, wish.autostart) == ("inactive", False)


@pytest.mark.parametrize(
    "own",
    [
        f"<!-- a -->{UUID}",
        UUID.replace("-", "").upper(),
        f"\n    {UUID}\n  ",
        f"{UUID[:8]}<?c?>{UUID[8:]}",
    ],
)
def test_a_uuid_in_any_form_of_libvirts(own: str) -> None:
    said = device(TYPE, f"<uuid>{own}</uuid>", parent="<parent><!-- the card -->pci_0000_06_00_0</parent>")
    assert document.from_device(said) == document.from_device(device(TYPE, OWN))


def test_no_attributes_are_none_and_not_those_of_the_definition() -> None:
    assert document.from_device(device(TYPE, OWN)).attrs == ()


def test_what_libvirt_ignores_is_ignored() -> None:
    more = "<name>x</name><path>/sys/x</path><driver><name>y</name></driver><parent>pci_0000_06_00_0</parent>"
    said = device(TYPE, OWN, "<parent_addr>0000:07:00.0</parent_addr><iommuGroup number='0'/>", parent=more)
    assert document.from_device(said) == document.from_device(device(TYPE, OWN))


def test_a_parent_that_was_away_is_known_by_its_address() -> None:
    orphan = "<parent>computer</parent>"
    said = device(TYPE, OWN, "<parent_addr>0000:07:00.0</parent_addr>", parent=orphan)
    assert document.from_device(said).parent == "0000:07:00.0"
    with pytest.raises(BadInput, match="libvirt's name such as"):
        document.from_device(device(TYPE, OWN, parent=orphan))


def test_a_derived_uuid_never_changes() -> None:
    wish = document.from_device(device(TYPE))
    assert wish.uuid == machine.derived_uuid("pci_0000_06_00_0", "nvidia-63")
    # Written out, since another value would make every such device anew.
    assert wish.uuid == "d2b0f298-2aea-532c-bb0a-b22e46aaf958"
    others = [
        machine.derived_uuid(*seed) for seed in (("pci_0000_06_00_0", "nvidia-64"), ("pci_0000_06_00_1", "nvidia-63"))
    ]
    others.append(machine.derived_uuid("pci_0000_06_00_0", "nvidia-63", 1))
    assert len({wish.uuid, *others}) == 4


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ((OWN,), "has a <type> with an id"),
        ((OWN, "<type>nvidia-63</type>"), "has a <type> with an id"),
        ((TYPE, "<uuid><a/></uuid>"), "uuid"),
        ((TYPE, "<uuid/>"), "uuid"),
        ((TYPE, f"<uuid>{UUID}-</uuid>"), "holds a UUID of 32 hexadecimal digits and nothing else"),
        ((TYPE, OWN, "<attr name='a'/>"), "an <attr> has a name and a value"),
        ((TYPE, OWN, "<attr value='a'/>"), "an <attr> has a name and a value"),
        ((TYPE, OWN, "<attr>a</attr>"), "an <attr> has a name and a value"),
    ],
)
def test_what_a_document_lacks(inside: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        document.from_device(device(*inside))


@pytest.mark.parametrize(
    "text",
    [
        "<device/>",
        "<device><capability/></device>",
        "<device><capability type='pci'/></device>",
        "<device><capability type='net'><type id='mdev'/></capability></device>",
    ],
)
def test_a_kind_that_cannot_be_made(text: str) -> None:
    with pytest.raises(BadInput, match="the kinds of devices that can be made are: mdev"):
        registry.ensure(True, text, None)
