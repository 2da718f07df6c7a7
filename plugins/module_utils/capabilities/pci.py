# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PCI function says of itself."""

from __future__ import annotations

import functools
import gzip
import os
from typing import Any

from .. import sysfs

# Where distributions keep pci.ids; the first one counts. Debian's place, which libpciaccess reads too, comes first.
PCI_IDS = ("/usr/share/misc/pci.ids.gz", "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")


def identity(path: str) -> dict[str, Any]:
    """``vendor`` and ``product``, each with its ``id`` (0x and four digits) and its ``name`` where pci.ids has it."""
    vendor, product = sysfs.read(f"{path}/vendor"), sysfs.read(f"{path}/device")
    if vendor is None or product is None:
        return {}
    vendor_id, product_id = int(vendor, 16), int(product, 16)
    vendor_name, product_name = names_of(vendor_id, product_id)
    return {"vendor": _named(vendor_id, vendor_name), "product": _named(product_id, product_name)}


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
    # The vendor's products are the lines that begin with a tab, up to the next line that does not.
    while text[end + 1 : end + 2] in (b"\t", b"#"):
        line_end = text.find(b"\n", end + 1)
        line = text[end + 1 : line_end]
        if line.startswith(b"\t%04x  " % product):
            return vendor_name, line[7:].decode("utf-8", "replace")
        end = line_end
    return vendor_name, None


@functools.cache
def _pci_ids() -> bytes:
    for path in PCI_IDS:
        if os.path.exists(path):
            with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
                return b"\n" + file.read() + b"\n"
    return b""
