# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters make, read by each libvirt's parser with its own schema: the tables of the filters' unit tests."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from .hosts import ROOT
from .judges import PYTHON, Judge
from .waivers import counted, version_of

UNIT = ROOT / "tests" / "unit"
DEFINE = Path(__file__).with_name("libvirt_define.py")


@dataclass(frozen=True)
class Made:
    """What a filter made, and the first version of libvirt that knows it."""

    text: str
    first: tuple[int, int] = (9, 0)

    @property
    def document(self) -> str:
        """It, or a domain with it."""
        if self.text.startswith("<pool"):
            return self.text
        inner = f"<name>d</name><memory>1</memory><os><type>hvm</type></os><devices>{self.text}</devices>"
        return f"<domain type='test'>{inner}</domain>"


@pytest.fixture(scope="module")
def made() -> list[Made]:
    """All that the tables have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(UNIT))
        names = ("test_filters", "test_filters_interface", "test_filters_storage")
        hostdev, interface, storage = (importlib.import_module(name) for name in names)
    return [*_hostdevs(hostdev), *_interfaces(interface), *_storage(storage)]


def _hostdevs(tables: Any) -> Iterator[Made]:
    for _name, device, options, _wanted in tables.MADE:
        yield Made(tables.hostdev_xml(device, **options))
    for device, options, _wanted, first in tables.NEWER:
        yield Made(tables.hostdev_xml(device, **options), version_of(first))


def _interfaces(tables: Any) -> Iterator[Made]:
    for _name, function, options, _wanted in tables.MADE:
        yield Made(tables.interface_xml(function, **options))
    for options, _wanted, first in tables.NEWER:
        yield Made(tables.interface_xml(tables.FUNCTION, **options), version_of(first))


def _storage(tables: Any) -> Iterator[Made]:
    for vhba, options, *_wanted in tables.POOLS:
        yield Made(tables.storage_pool_xml(vhba, **options))
    for options, *_wanted in tables.DISKS:
        yield Made(tables.disk_xml(tables.LUN, **options))


def test_documents(judge: Judge, made: list[Made]) -> None:
    """What a version knows it reads as it was meant, and what it does not know it refuses."""
    documents = [each.document for each in made]
    done = subprocess.run(
        judge.outside([PYTHON, str(DEFINE)]), input=json.dumps(documents), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    version = counted(answer["version"])
    wrong = []
    for each, text in zip(made, answer["documents"], strict=True):
        if (text is not None) != (each.first <= version):
            wrong.append(f"{'read' if text else 'refused'}: {each.text}")
        elif text is not None and (lost := sorted(_lost(each.text, text))):
            wrong.append(f"{', '.join(lost)} of {each.text} is lost in {text}")
    assert not wrong, f"libvirt {version}\n{done.stderr}\n" + "\n".join(wrong)


def _lost(ours: str, theirs: str) -> set[str]:
    """The attributes and texts that libvirt does not give back; managed="no" is its default."""
    root, back = etree.fromstring(ours), etree.fromstring(theirs)
    found = back if back.tag == root.tag else back.find(f"devices/{root.tag}")
    return {*_parts(root)} - {*(_parts(found) if found is not None else [])} - {"@managed=no"}


def _parts(element: etree._Element, path: str = "") -> Iterator[str]:
    """All that is said, each with the path of its element below the first."""
    yield f"{path}={(element.text or '').strip()}"
    for name, value in element.attrib.items():
        yield f"{path}@{name!s}={value!s}"
    for child in element:
        yield from _parts(child, f"{path}/{child.tag}")
