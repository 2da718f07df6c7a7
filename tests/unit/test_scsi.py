# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SCSI device says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import Dropped
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.capabilities import scsi
from devices import Host


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *[("0", "disk"), ("1", "tape"), ("3", "processor"), ("4", "worm"), ("5", "cdrom"), ("6", "scanner")],
        *[
            ("7", "mod"),
            ("8", "changer"),
            ("12", "raid"),
            ("13", "enclosure"),
            ("0xd", "enclosure"),
            ("010", "changer"),
        ],
        *[(text, None) for text in ("2", "14", "17", "31", "127", "-1", None)],
    ],
)
def test_its_type(host: Host, text: str | None, word: str | None) -> None:
    said = scsi.unit(host.make_device("scsi", "3:0:11:49409", {} if text is None else {"type": text}))
    address = [("type", "scsi"), ("host", 3), ("bus", 0), ("target", 11), ("lun", 49409)]
    assert list(said.items()) == address + ([] if word is None else [("scsi_type", word)])


@pytest.mark.parametrize("text", ["disk", "5 ", "08", "1.0", ""])
def test_a_type_that_is_no_number_drops(host: Host, text: str) -> None:
    with pytest.raises(Dropped, match="type is"):
        scsi.unit(host.make_device("scsi", "3:0:0:1", {"type": text}))


@pytest.mark.parametrize("name", ["3:0:0", "3:0:0:", "a:0:0:1", "3:0:0:1:2", "3:0:0:4294967296", "host3"])
def test_a_name_that_is_no_address_drops(host: Host, name: str) -> None:
    with pytest.raises(Dropped, match="host:bus:target:lun"):
        scsi.unit(host.make_device("scsi", name, {"type": "0"}))
