# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of PCI vendors and products, as libpciaccess takes them from pci.ids."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils.capabilities import pci

IDS = b"""# comment
10de  NVIDIA Corporation
\t1eb8  TU104GL [Tesla T4]
\t\t10de 12a2  a subsystem's name, not the product's
# a comment within
\t25b6  GA107GL [A2 / A16]
15b3  Mellanox Technologies
\t1017  MT27800 Family [ConnectX-5]
C 03  Display controller
\t1eb8  not a product
"""


@pytest.fixture(params=["plain", "compressed"], autouse=True)
def ids(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plain = request.param == "plain"
    path = tmp_path / ("pci.ids" if plain else "pci.ids.gz")
    path.write_bytes(IDS if plain else gzip.compress(IDS))
    monkeypatch.setattr(pci, "PCI_IDS", (str(tmp_path / "gone"), str(path)))
    forget()
    yield
    forget()


def forget() -> None:
    pci.names_of.cache_clear()
    pci._pci_ids.cache_clear()


@pytest.mark.parametrize(
    ("vendor", "product", "names"),
    [
        (0x10DE, 0x1EB8, ("NVIDIA Corporation", "TU104GL [Tesla T4]")),
        (0x10DE, 0x25B6, ("NVIDIA Corporation", "GA107GL [A2 / A16]")),
        (0x10DE, 0x1017, ("NVIDIA Corporation", None)),
        (0x15B3, 0x1017, ("Mellanox Technologies", "MT27800 Family [ConnectX-5]")),
        (0x15B3, 0x1EB8, ("Mellanox Technologies", None)),
        (0x8086, 0x1EB8, (None, None)),
    ],
)
def test_names(vendor: int, product: int, names: tuple[str | None, str | None]) -> None:
    assert pci.names_of(vendor, product) == names


def test_identity(tmp_path: Path) -> None:
    (tmp_path / "vendor").write_text("0x10de\n")
    (tmp_path / "device").write_text("0x1234\n")
    assert pci.identity(str(tmp_path)) == {
        "vendor": {"id": "0x10de", "name": "NVIDIA Corporation"},
        "product": {"id": "0x1234"},
    }


def test_a_device_that_is_gone_has_no_identity(tmp_path: Path) -> None:
    assert pci.identity(str(tmp_path)) == {}
