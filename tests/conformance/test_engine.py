# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison itself: what it finds, what a waiver lets pass, and that the documentation lists the waivers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from . import waivers
from .compare import Listing, compare, tree_text
from .hosts import ROOT
from .waivers import Rules, Waiver

DOCUMENT = ROOT / "docs" / "conformance.md"
VERSION = (9, 0)


def waiver(**keys: Any) -> Waiver:
    return Waiver(**{"id": "W", "reason": "because", "first": (9, 0), "last": (9, 0), **keys})


def side(**devices: str) -> Listing:
    """Devices by name, each given by what stands after its name; the first tag may be its parent."""
    xml = {name: f"<device><name>{name}</name>{text}</device>" for name, text in devices.items()}
    found = {name: re.search("<parent>(.*)</parent>", text) for name, text in devices.items()}
    parents = {name: match and match.group(1) for name, match in found.items()}
    return Listing(xml, parents, tree_text(parents))


def run(
    ours: Listing, libvirt: Listing, *listed: Waiver, unordered: tuple[str, ...] = ()
) -> tuple[list[str], set[str]]:
    result = compare(ours, libvirt, Rules(list(listed), [], list(unordered)), VERSION)
    return result.differences, result.used


def test_form_does_not_count() -> None:
    libvirt = side(a="\n  <x k='1' a='&lt;'/>\n  <y></y>")
    assert run(side(a='<x a="&lt;" k="1"></x><y/>'), libvirt) == ([], set())


@pytest.mark.parametrize("text", ["<x>2</x>", "<x> 1</x>", "<x a='1'>1</x>", "<y>1</y>", "<x>1</x><x>1</x>", ""])
def test_content_counts(text: str) -> None:
    differences = run(side(a=text), side(a="<x>1</x>"))[0]
    assert len(differences) == 1
    assert "--- a of libvirt" in differences[0]


def test_the_order_counts_but_in_lists_without_one() -> None:
    ours, libvirt = side(a="<b><x>1</x><x>2</x><y/></b>"), side(a="<b><x>2</x><x>1</x><y/></b>")
    assert len(run(ours, libvirt)[0]) == 1
    assert run(ours, libvirt, unordered=("//b/x",)) == ([], set())


def test_names_parents_and_trees_count() -> None:
    ours = Listing({"a": "<device><name>b</name></device>"}, {"a": "c"}, "a")
    differences = run(ours, side(a=""))[0]
    assert len(differences) == 4
    assert "the tree is" in "".join(differences)


def test_what_is_no_xml() -> None:
    differences = run(side(a="<x>&lt;</x>", b=""), side(a="<x><</x>", b=""))[0]
    assert [text.partition(":")[0] for text in differences] == ["libvirt", "a is listed by ours alone"]


def test_a_device_that_one_side_alone_has() -> None:
    ours = side(a="", b="<parent>a</parent><k/>", c="<parent>b</parent>")
    libvirt = side(a="", c="<parent>a</parent>")
    assert len(run(ours, libvirt)[0]) == 1
    assert run(ours, libvirt, waiver(only={"side": "ours", "match": "k"})) == ([], {"W"})
    assert len(run(ours, libvirt, waiver(only={"side": "libvirt", "match": "k"}))[0]) == 1


@pytest.mark.parametrize(
    ("ours", "libvirt", "edit"),
    [
        ("<x/>", "<x/><y/>", {"side": "libvirt", "remove": "y"}),
        ("<x/>", "<x a='1'/>", {"side": "libvirt", "remove": "x/@a"}),
        ("<x><y/></x>", "<x><x><y/></x></x>", {"side": "libvirt", "unwrap": "x/x"}),
        ("<x>6</x><y>2</y>", "<x>3</x><y>2</y>", {"side": "libvirt", "set": "x[. = 3]", "to": ". * ../y"}),
        ("<x a='1'/>", "<x a='2'/>", {"side": "libvirt", "take": "x/@a"}),
        ("<x>1</x>", "<x>2</x>", {"side": "libvirt", "take": "x", "if_ours": "x[. = 1]"}),
    ],
)
def test_edits(ours: str, libvirt: str, edit: dict[str, str]) -> None:
    assert run(side(a=ours), side(a=libvirt), waiver(edit=[edit])) == ([], {"W"})
    assert run(side(a=ours), side(a=ours), waiver(edit=[edit])) == ([], set())
    assert len(run(side(a=ours), side(a=f"{libvirt}<z/>"), waiver(edit=[edit]))[0]) == 1
    other = waiver(edit=[{**edit, "if_libvirt": "nothing"}], first=(8, 0))
    assert len(run(side(a=ours), side(a=libvirt), other)[0]) == 1


def test_an_unknown_key_of_an_edit() -> None:
    with pytest.raises(KeyError, match="W: unknown key replace"):
        run(side(a=""), side(a=""), waiver(edit=[{"side": "libvirt", "replace": "x"}]))


def test_escape() -> None:
    libvirt = side(a="<v k='<\"'>a & 'b' <c></v>")
    rule = waiver(escape="<v k='([^']*)'>([^\\n]*)</v>")
    assert run(side(a="<v k='&lt;&quot;'>a &amp; 'b' &lt;c></v>".replace("c>", "c&gt;")), libvirt, rule) == ([], {"W"})


def test_a_waiver_of_another_version_does_not_hold() -> None:
    rule = waiver(edit=[{"side": "libvirt", "remove": "y"}], first=(11, 3), last=(11, 3))
    assert len(run(side(a="<x/>"), side(a="<x/><y/>"), rule)[0]) == 1


def test_the_documentation_lists_the_waivers() -> None:
    """After a change of waivers.yml: PYTHONPATH=tests .venv/bin/python -m conformance.document"""
    rules = waivers.load()
    text = DOCUMENT.read_text()
    for listed in (rules.waivers, rules.schema):
        assert waivers.table(listed) in text
    assert len(re.findall(r"^\| [WQVS]\S* \|", text, re.MULTILINE)) == len(rules.waivers + rules.schema)


def test_no_waiver_is_there_twice() -> None:
    rules = waivers.load()
    names = [waiver.id for waiver in rules.waivers + rules.schema]
    assert len(set(names)) == len(names)
