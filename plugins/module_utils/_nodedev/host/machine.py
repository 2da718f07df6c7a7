# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host this is, and the names that follow from it: the same in every run, and different on every other host."""

from __future__ import annotations

import re
from uuid import UUID, uuid5

from ..errors import NodedevError
from ..store import files
from ..store.files import DamagedDefinition

MACHINE_ID = "/etc/machine-id"
ID = re.compile(r"[0-9A-Fa-f]{32}")
# Of no meaning but that it never changes: the UUIDs that are derived in this collection are version 5 below it.
NAMESPACE = UUID("5f8f3c0e-5b0e-5c53-9d0c-2a7f4f0b6a11")
# Ids that images were published with, so that every host that was made of one of them has the same.
CLONED = {
    # Images for OpenStack: github.com/hartwork/image-bootstrap/issues/13, Debian bug 789960.
    "cdb7f92199c748a7a20d33ab52974cbb": "Debian 8.1 for OpenStack",
    # github.com/linuxmint/linuxmint/issues/361
    "b76cc7b1bbdc489e93909d2043031de8": "Linux Mint 20",
    # github.com/linuxmint/linuxmint/issues/126
    "e7d0df732b0649e49e97a4d764308014": "Linux Mint 21",
    # github.com/chef/bento/issues/1421
    "b4047197195f4f359571cd0658157294": "bento/ubuntu-22.04 202212.11.0 for Vagrant",
    # github.com/weaveworks/footloose/issues/154
    "ebb19c6b226f48fa86a541fd060e8762": "footloose/ubuntu18.04 0.4.0",
    # github.com/hypriot/image-builder-rpi/issues/143 and 167
    "9989a26f06984d6dbadc01770f018e3b": "HypriotOS 1.0 to 1.6",
    # github.com/TheRemote/Ubuntu-Server-raspi4-unofficial/issues/74
    "1c4ad377574c4263adbb7c624b6a3429": "the unofficial Ubuntu Server for the Raspberry Pi 4",
    # On purpose: github.com/Whonix/dist-base-files, etc/machine-id.
    "b08dfa6083e7567a1921a715000001fb": "Whonix and Kicksecure",
}


def known_id() -> str | None:
    """The host's machine-id (machine-id(5)), 32 hexadecimal digits; None where the file has none.

    It may be empty, and says ``uninitialized`` before the first boot of an image is done.
    """
    try:
        text = (files.read(MACHINE_ID) or "").strip()
    except DamagedDefinition:
        return None
    return text if ID.fullmatch(text) else None


def needed_id(machine: str | None) -> str:
    """What names follow from; NodedevError saying how to get one where there is none."""
    if machine is None:
        raise NodedevError(
            f"{MACHINE_ID} holds no machine-id, from which names follow: run systemd-machine-id-setup, or name the host"
            " by the option identity"
        )
    return machine


def doubts(machine: str | None, what: str) -> list[str]:
    """The warning that a machine-id is none of this host's own, if so it is; ``what`` are names that follow from it."""
    if machine is None:
        return [
            f"{MACHINE_ID} holds no machine-id, from which {what} follow, so that none can be recognized or made by it:"
            " run systemd-machine-id-setup, or name the host by the option identity"
        ]
    plain = machine.lower()
    image = CLONED.get(plain)
    if image is None and len(set(plain)) > 1:
        return []
    why = f"which every host has that was made of the image of {image}" if image else "which is no random number"
    return [
        f"{MACHINE_ID} holds {machine}, {why}: {what} would be the same on all of them. Name the host by the option"
        " identity, or give it a machine-id of its own by systemd-machine-id-setup"
    ]


def derived_uuid(parent: str, kind: str, index: int = 0) -> str:
    """The UUID of the mediated device that was given none: always the same for parent, type and count among them."""
    return str(uuid5(NAMESPACE, f"{parent} {kind} {index}"))


def pool_uuid(machine: str, pool: str, index: int) -> str:
    """The UUID of a pool's instance: the same in every run and from every controller, another on every host.

    ``machine`` is the host's machine-id (machine-id(5)), which cannot be told from the UUID.
    """
    return str(uuid5(NAMESPACE, f"{machine} {pool} {index}"))


def derived_wwn(machine: str, name: str, role: str, oui: str) -> str:
    """The WWN of a vHBA that has a name instead: always the same for host, name and role (node or port).

    Of NAA 5 (FC-FS): the digit 5, 6 digits of the OUI, and 9 that follow from the rest, the shape of those that
    libvirt makes up at random. ``machine`` is the host's machine-id.
    """
    return f"5{oui}{uuid5(NAMESPACE, f'{machine} {name} {role}').int & 0xFFFFFFFFF:09x}"
