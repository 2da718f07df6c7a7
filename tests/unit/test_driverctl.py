# SPDX-License-Identifier: GPL-3.0-or-later
"""driverctl's files: what it would load from each, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import apply
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import driverctl
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.driverctl import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

ADDRESS = "0000:01:00.2"
NAME = f"pci-{ADDRESS}"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "driverctl.d"
    monkeypatch.setattr(driverctl, "STORE", str(folder))
    return folder


READ = [
    ("as driverctl writes it", b"vfio-pci\n", "vfio-pci"),
    ("without the end of its line", b"vfio-pci", "vfio-pci"),
    ("with empty lines", b"vfio-pci\n\n", "vfio-pci"),
    ("no driver", b"none\n", "none"),
    ("nothing", b"", None),
    ("an empty line", b"\n", None),
]


@pytest.mark.parametrize(("content", "driver"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_what_is_read(store: Path, content: bytes, driver: str | None) -> None:
    store.mkdir()
    (store / NAME).write_bytes(content)
    expected = None if driver is None else Definition("pci", ADDRESS, driver)
    assert driverctl.find("pci", ADDRESS) == expected
    assert driverctl.all_defined() == ([] if expected is None else [expected], [])


@pytest.mark.parametrize("content", [b"two words\n", b"../../evil\n", b"a\nb\n", b"\xff\n", b"x" * 65 + b"\n"])
def test_what_is_damaged(store: Path, content: bytes) -> None:
    store.mkdir()
    (store / NAME).write_bytes(content)
    with pytest.raises(DamagedDefinition):
        driverctl.find("pci", ADDRESS)
    found, (damage,) = driverctl.all_defined()
    assert (found, driverctl.device_of(damage)) == ([], ("pci", ADDRESS))


def test_other_names_are_passed_over(store: Path) -> None:
    store.mkdir()
    for name in (".nodedev-pci-0000:01:00.2", "README", "pci-", "-x", "css-0.0.0013"):
        (store / name).write_text("vfio_ccw\n")
    assert driverctl.all_defined() == ([Definition("css", "0.0.0013", "vfio_ccw")], [])


def test_what_is_written_and_taken_back(store: Path) -> None:
    first, second = Definition("pci", ADDRESS, "vfio-pci"), Definition("pci", ADDRESS, "none")
    apply([driverctl.change("define", first, None)])
    assert ((store / NAME).read_bytes(), (store / NAME).stat().st_mode & 0o777) == (b"vfio-pci\n", 0o644)
    step = driverctl.change("change", second, first)
    step.apply()
    assert (store / NAME).read_bytes() == b"none\n"
    assert step.undo is not None
    step.undo()
    assert (store / NAME).read_bytes() == b"vfio-pci\n"
    apply([driverctl.change("undefine", None, first)])
    assert not store.exists()
