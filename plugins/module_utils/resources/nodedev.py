# SPDX-License-Identifier: GPL-3.0-or-later
"""Any device that can be made, in libvirt's words: which kind it is, and whose work it therefore is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import resource, wishes
from ..errors import BadInput
from ..xml import from_xml
from . import mdev, mdev_wish, vhba_wish


@dataclass(frozen=True)
class Kind:
    """How wishes for devices of a kind are made of a document and of a name, and what fulfils them.

    Names of the kind begin with ``prefix``; ``foreign`` are the options that mean nothing for it.
    """

    prefix: str
    foreign: tuple[str, ...]
    from_device: Callable[..., Any]
    from_name: Callable[..., Any]
    ensure: Callable[[Any, bool], dict[str, Any]]

    def own(self, options: dict[str, Any]) -> dict[str, Any]:
        """Those of the options that mean something for the kind."""
        return {option: value for option, value in options.items() if option not in self.foreign}


# By the capability's type.
KINDS = {
    "mdev": Kind(
        "mdev_",
        ("require_online", "identity"),
        mdev_wish.from_device,
        mdev_wish.from_name,
        partial(resource.ensure, mdev),
    ),
    "scsi_host": Kind("scsi_host", ("replace",), vhba_wish.from_device, vhba_wish.from_name, vhba_wish.ensure),
}


def ensure(check_mode: bool, xml: str | None, name: str | None, **options: Any) -> dict[str, Any]:
    """Make the device of the document or of the name as wished; the result in Ansible's shape is its kind's own.

    ``options`` are those of the kinds' wishes. Raises BadInput for what is no device, or none that can be made.
    """
    wishes.check(options)
    if xml is not None:
        device = from_xml(xml)
        capability = device.get("capability")
        said = capability.get("type") if isinstance(capability, dict) else None
        kind = KINDS.get(said) if isinstance(said, str) else None
        if kind is None:
            raise _unknown("xml", said)
        return kind.ensure(kind.from_device(device, **kind.own(options)), check_mode)
    kind = next((each for each in KINDS.values() if name and name.startswith(each.prefix)), None)
    if kind is None:
        raise _unknown("name", name)
    return kind.ensure(kind.from_name(name, **kind.own(options)), check_mode)


def _unknown(option: str, value: object) -> BadInput:
    return BadInput(option, value, f"the kinds of devices that can be made are: {', '.join(KINDS)}")
