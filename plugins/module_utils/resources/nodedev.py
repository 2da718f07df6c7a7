# SPDX-License-Identifier: GPL-3.0-or-later
"""Any device that can be made, in libvirt's words: which kind it is, and whose work it therefore is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput
from ..xml import from_xml
from . import mdev, mdev_wish


@dataclass(frozen=True)
class Kind:
    """How wishes for devices of a kind are made of a document and of a name, and what fulfils them."""

    from_device: Callable[..., Any]
    from_name: Callable[..., Any]
    ensure: Callable[[Any, bool], dict[str, Any]]


# By the capability's type, with which the names begin too.
KINDS = {
    "mdev": Kind(mdev_wish.from_device, mdev_wish.from_name, mdev.ensure),
}


def ensure(check_mode: bool, xml: str | None, name: str | None, **options: Any) -> dict[str, Any]:
    """Make the device of the document or of the name as wished; the result in Ansible's shape is its kind's own.

    ``options`` are those of the kind's wish. Raises BadInput for what is no device, or none that can be made.
    """
    if xml is not None:
        device = from_xml(xml)
        capability = device.get("capability")
        kind = _kind("xml", capability.get("type") if isinstance(capability, dict) else None)
        return kind.ensure(kind.from_device(device, **options), check_mode)
    kind = _kind("name", name and name.partition("_")[0], name)
    return kind.ensure(kind.from_name(name, **options), check_mode)


def _kind(option: str, found: object, value: str | None = None) -> Kind:
    if isinstance(found, str) and found in KINDS:
        return KINDS[found]
    raise BadInput(option, value or found, f"the kinds of devices that can be made are: {', '.join(KINDS)}")
