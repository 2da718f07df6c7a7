# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's name of a device from its address or UUID."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import (
    PCI,
    UUID,
    checked_address,
    kernel_address,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import LONGEST, quoted
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import device_name, mdev_name
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

CCW = re.compile(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}")
# The parents of mediated devices by libvirt's name: what follows the subsystem is the address.
PARENT = re.compile(r"(?:pci|css|ccwgroup|ap|mtty)_([A-Za-z0-9_]+)")


def nodedev_name(value: object, parent: str | None = None, subsystem: str | None = None) -> str:
    """libvirt's name of the device with this address or UUID; AnsibleFilterError when it is neither."""
    if subsystem is not None and not isinstance(subsystem, str):
        raise AnsibleFilterError(f"nodedev_name: subsystem is {quoted(subsystem)}, not the name of a subsystem")
    text = value.lower() if isinstance(value, str) else ""
    try:
        if UUID.fullmatch(text):
            return _mdev(text, parent)
        if parent is not None:
            raise AnsibleFilterError(
                f"nodedev_name: parent goes with the UUID of a mediated device, not with {quoted(value)}"
            )
        if subsystem is not None and isinstance(value, str):
            return device_name(checked_address("subsystem", subsystem), checked_address("address", value))
    except BadInput as error:
        raise AnsibleFilterError(f"nodedev_name: {shown(error, LONGEST)}") from None
    if PCI.fullmatch(text):
        return device_name("pci", kernel_address(text))
    if CCW.fullmatch(text):
        return device_name("ccw", text)
    raise AnsibleFilterError(
        f"nodedev_name: {quoted(value)} is neither a PCI address (0000:06:00.0), a CCW address (0.0.0815; with"
        " subsystem='css' of a subchannel) nor the UUID of a mediated device; other devices need subsystem=, as in"
        " 'card0a' with 'ap'"
    )


def _mdev(uuid: str, parent: str | None) -> str:
    if not isinstance(parent, str):
        raise AnsibleFilterError(
            f"nodedev_name: the name of mediated device {uuid} has its parent's address in it, so give parent="
        )
    named = PARENT.fullmatch(parent)
    return mdev_name(uuid, named[1] if named else checked_address("parent", parent))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"nodedev_name": nodedev_name}
