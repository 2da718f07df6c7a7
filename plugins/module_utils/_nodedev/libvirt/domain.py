# SPDX-License-Identifier: GPL-3.0-or-later
"""How a domain gets a device, after libvirt's formatdomain.html, "Host devices": what needs no XML library."""

from __future__ import annotations

from ..grammar import checked_function, checked_uuid

# The API of a mediated device that is a PCI function to its guest, and the driver that gives guests whole functions.
VFIO_PCI = "vfio-pci"
MODELS = (VFIO_PCI, "vfio-ccw", "vfio-ap")
# What is filled in has its own grammar, so that nothing needs quoting, and no XML library.
MDEV = """\
<hostdev mode="subsystem" type="mdev" model="{model}">
  <source>
    <address uuid="{uuid}" />
  </source>
</hostdev>"""

FUNCTION = """\
<hostdev mode="subsystem" type="pci" managed="no">
  <source>
    <address domain="0x{}" bus="0x{}" slot="0x{}" function="0x{}" />
  </source>
</hostdev>"""


def function(address: str) -> str:
    """The element's text for a PCI function that stays with its driver, as a vGPU does; BadInput for no address."""
    domain, bus, place = checked_function("address", address).split(":")
    return FUNCTION.format(domain, bus, *place.split("."))


def mdev(uuid: str, device_api: str | None) -> str:
    """The element's text; ValueError where libvirt has no model for the device's API."""
    return MDEV.format(model=checked_model(device_api), uuid=checked_uuid(uuid))


def checked_model(device_api: str | None) -> str:
    """libvirt's model for the device's API; ValueError where it has none."""
    if device_api not in MODELS:
        raise ValueError(f"device_api {device_api!r}")
    return str(device_api)


def is_vfio(driver: str) -> bool:
    """Whether a driver of PCI functions gives them to guests: vfio-pci, or a variant as mlx5_vfio_pci."""
    return driver.replace("_", "-").endswith(VFIO_PCI)
