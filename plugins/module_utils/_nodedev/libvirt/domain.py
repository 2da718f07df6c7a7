# SPDX-License-Identifier: GPL-3.0-or-later
"""The <hostdev> element by which a domain gets a mediated device, after libvirt's formatdomain.html, "Host devices"."""

from __future__ import annotations

from ..grammar import checked_uuid

MODELS = ("vfio-pci", "vfio-ccw", "vfio-ap")
# What is filled in has its own grammar, so that nothing needs quoting, and no XML library.
MDEV = """\
<hostdev mode="subsystem" type="mdev" model="{model}">
  <source>
    <address uuid="{uuid}" />
  </source>
</hostdev>"""


def mdev(uuid: str, device_api: str | None) -> str:
    """The element's text; ValueError where libvirt has no model for the device's API."""
    return MDEV.format(model=checked_model(device_api), uuid=checked_uuid(uuid))


def checked_model(device_api: str | None) -> str:
    """libvirt's model for the device's API; ValueError where it has none."""
    if device_api not in MODELS:
        raise ValueError(f"device_api {device_api!r}")
    return str(device_api)
