# SPDX-License-Identifier: GPL-3.0-or-later
"""Has libvirt's parser read documents, by its schema too, and prints what it makes of them. On the system's Python.

The input is a JSON list of documents of domains and storage pools. The output has libvirt's `version`, as it counts,
and as `documents` a list with the document that it gives back of each, None for one that it refuses.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import libvirt


def read(connection: Any, text: str) -> str | None:
    """What libvirt gives back of a document, which it then forgets."""
    try:
        if text.startswith("<pool"):
            defined = connection.storagePoolDefineXML(text, libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
        else:
            defined = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError:
        return None
    document = str(defined.XMLDesc(0))
    defined.undefine()
    return document


def main() -> None:
    """Read the input and print the output; libvirt itself says on standard error what it does not like."""
    connection = libvirt.open("test:///default")
    documents = [read(connection, text) for text in json.load(sys.stdin)]
    json.dump({"version": connection.getLibVersion(), "documents": documents}, sys.stdout)


if __name__ == "__main__":
    main()
