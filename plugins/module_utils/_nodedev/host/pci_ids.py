# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI vendors and products: a function's own, and their names as libpciaccess takes them from pci.ids for libvirt."""

from __future__ import annotations

import functools
import gzip
import os
import re
from typing import Any

from ..text import shown
from .oddities import Oddities

# Where distributions keep pci.ids; the first one counts. Debian's place, which libpciaccess reads too, comes first.
PCI_IDS = ("/usr/share/misc/pci.ids.gz", "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")

NUMBER = re.compile(r"0x[0-9a-fA-F]{4}")
NEXT = re.compile(rb"\n[0-9a-fA-F]")


def identity(path: str, oddities: Oddities) -> dict[str, Any]:
    """``vendor`` and ``product``, each with its ``id`` (0x and four digits) and its ``name`` where pci.ids has it.

    Neither where one of them is not there, cannot be read or is no such number.
    """
    vendor, product = (_number(f"{path}/{name}", oddities) for name in ("vendor", "device"))
    return {} if vendor is None or product is None else described(vendor, product)


def _number(path: str, oddities: Oddities) -> int | None:
    text = oddities.text(path)
    if text is None:
        return None
    if not NUMBER.fullmatch(text):
        oddities.add(f"{shown(path)} is '{shown(text)}', which is not 0x and four hexadecimal digits")
        return None
    return int(text, 16)


def described(vendor: int, product: int) -> dict[str, Any]:
    """``product`` and ``vendor`` in libvirt's order, each with its ``id`` and its ``name`` where pci.ids has it."""
    vendor_name, product_name = names_of(vendor, product)
    return {"product": _named(product, product_name), "vendor": _named(vendor, vendor_name)}


def _named(number: int, name: str | None) -> dict[str, str]:
    return {"id": f"0x{number:04x}"} | ({"name": name} if name else {})


@functools.cache
def names_of(vendor: int, product: int) -> tuple[str | None, str | None]:
    """The names of a vendor and its product in pci.ids; the product's only where the vendor is known."""
    text = _pci_ids()
    start = text.find(b"\n%04x  " % vendor)
    if start < 0:
        return None, None
    end = text.find(b"\n", start + 1)
    vendor_name = text[start + 7 : end].decode("utf-8", "replace")
    # The vendor's products are the lines that begin with a tab, up to the next line that begins with an id or a class.
    following = NEXT.search(text, end)
    start = text.find(b"\n\t%04x  " % product, end, following.start() + 1 if following else len(text))
    if start < 0:
        return vendor_name, None
    return vendor_name, text[start + 8 : text.find(b"\n", start + 1)].decode("utf-8", "replace")


@functools.cache
def _pci_ids() -> bytes:
    for path in PCI_IDS:
        if os.path.exists(path):
            with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
                return b"\n" + file.read() + b"\n"
    return b""
