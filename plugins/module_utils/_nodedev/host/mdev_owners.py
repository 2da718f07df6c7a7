# SPDX-License-Identifier: GPL-3.0-or-later
"""Others on the host who make and remove mediated devices by themselves, by the files in which that is said.

nova (nova.conf: [devices]) makes what a flavor asks for on the cards of its types; KubeVirt's virt-handler makes what
its mediatedDevicesConfiguration lists, and removes what that does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ..errors import NodedevError
from ..store import files
from ..store.files import DamagedDefinition
from ..text import shown

NOVA = ("/etc/nova/nova.conf", "/etc/nova/nova-compute.conf")
NOVA_FOLDERS = ("/etc/nova/nova.conf.d", "/etc/nova/nova-compute.conf.d")
NOVA_DEVICES = re.compile(r"^\[devices\]\s*$(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
# The second is the name that it had before.
NOVA_TYPES = re.compile(r"^enabled_(?:mdev|vgpu)_types[ \t]*=[ \t]*(\S.*)$", re.MULTILINE)
KUBEVIRT = "/var/run/kubevirt"
# Files of a folder that are read at most.
MOST = 100


def warnings() -> list[str]:
    """One warning that names them, none where there are none; a file that cannot be read says nothing."""
    found = [*_nova(), *_kubevirt()]
    return [f"others make and remove mediated devices here too: {'; '.join(found)}: leave them to one"] if found else []


def _nova() -> Iterator[str]:
    for path in (*NOVA, *_listed()):
        for section in NOVA_DEVICES.findall(_text(path)):
            for types in NOVA_TYPES.findall(section)[:1]:
                yield f"{shown(path)} has nova make those of type {shown(types.strip())}"


def _kubevirt() -> Iterator[str]:
    if os.path.isdir(KUBEVIRT):
        yield (
            f"{KUBEVIRT} is KubeVirt's, which removes those that its mediatedDevicesConfiguration does not list, where"
            " it has one"
        )


def _listed() -> Iterator[str]:
    for folder in NOVA_FOLDERS:
        try:
            yield from (f"{folder}/{name}" for name in files.entries(folder)[:MOST] if name.endswith(".conf"))
        except NodedevError:
            continue


def _text(path: str) -> str:
    try:
        data = files.content(path)
    except (DamagedDefinition, NodedevError):
        return ""
    return "" if data is None else data.decode("utf-8", "replace")
