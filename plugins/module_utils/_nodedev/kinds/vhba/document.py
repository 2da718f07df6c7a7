# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes for a vHBA in libvirt's words: by its document, as nodedev-create takes it, and by its name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ... import resource, wishes
from ...errors import BadInput
from ...grammar import checked_wwn
from ...host import fc_port, machine
from ...host.machine import derived_wwn
from . import device
from .device import OUI, Wish
from .parent import Asked

CAPABILITY = PREFIX = "scsi_host"
FOREIGN = ("replace",)
# The kernel's numbers of hosts have 32 bits.
NAME = re.compile(r"scsi_host(0|[1-9][0-9]{0,9})")


def from_device(document: dict[str, Any], **options: Any) -> Wish:
    """The wish that a document means, which names the HBA and the WWNs, or leaves either open.

    ``options`` are those of Wish that the document has no place for. A document without WWNs means the vHBA whose WWNs
    are derived from the host and from what the document says of the parent. BadInput, naming the option ``xml``, for
    one that lacks what libvirt asks for.
    """
    nested = document["capability"].get("capability", ())
    # Of several, the last counts, as to libvirt.
    port = next((each for each in reversed(nested) if isinstance(each, dict) and each.get("type") == "fc_host"), None)
    if port is None:
        raise BadInput("xml", "scsi_host", "a vHBA has a <capability type='fc_host'> within that of its SCSI host")
    asked = _asked(document.get("parent"))
    given = _text(port, "wwnn"), _text(port, "wwpn")
    wishes.check(options)
    identity = options.pop("identity", None)
    wwnn, wwpn = _pair(*given, asked, identity)
    return replace(_wish(wwnn, wwpn, options), asked=asked, derived=None in given and identity is None)


def _asked(parent: object) -> Asked:
    """The HBA: by its name, else by both WWNs, else by its fabric, the first that is said, as libvirt takes it."""
    element = parent if isinstance(parent, dict) else {"name": parent}
    name, wwnn, wwpn, fabric = (_text(element, key) for key in ("name", "wwnn", "wwpn", "fabric_wwn"))
    if (wwnn is None) != (wwpn is None):
        raise BadInput("xml", element, "a <parent> that is named by wwnn or wwpn has both")
    if name is not None:
        if not NAME.fullmatch(name):
            raise BadInput("xml", name, "the <parent> of a vHBA is its HBA, by libvirt's name such as scsi_host5")
        return Asked.checked(name, None, None, None)
    return Asked.checked(None, wwnn, wwpn, None if wwpn is not None else fabric)


def _text(element: dict[str, Any], key: str) -> str | None:
    """What an element or attribute says; one that is empty says nothing, as to libvirt."""
    value = element.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadInput("xml", value, f"{key} is text and nothing else")
    return value


def _pair(wwnn: str | None, wwpn: str | None, asked: Asked, identity: str | None) -> tuple[str, str]:
    """WWNN and WWPN; what is missing follows from the host, the parent as it is asked for, and the other one."""
    wwnn = None if wwnn is None else checked_wwn("wwnn", wwnn)
    wwpn = None if wwpn is None else checked_wwn("wwpn", wwpn)
    if wwnn is not None and wwpn is not None:
        return wwnn, wwpn
    host = identity or machine.needed_id(machine.known_id())
    parts = (asked.parent, asked.wwnn, asked.wwpn, asked.fabric_wwn, wwnn, wwpn)
    # Not a name that a person would give a vHBA, as the same names would follow from it.
    seed = f"document {' '.join(each or '-' for each in parts)}"
    return wwnn or derived_wwn(host, seed, "node", OUI), wwpn or derived_wwn(host, seed, "port", OUI)


def from_name(name: str, **options: Any) -> Wish | None:
    """The wish for the vHBA whose SCSI host has this name now; None where none has it and none is to be there.

    BadInput where the host is none, or no vHBA's.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise BadInput("name", name, "a vHBA is named scsi_host and the number of its SCSI host")
    port = fc_port.read(int(match[1]))
    if port is not None and port.vport is not None:
        return _wish(port.wwnn, port.wwpn, options)
    if port is not None:
        raise BadInput("name", name, f"it is an HBA (WWPN {port.wwpn}), not a vHBA")
    if fc_port.is_scsi_host(int(match[1])):
        raise BadInput("name", name, "it is a SCSI host without Fibre Channel, not a vHBA")
    if options.get("state") == "absent":
        return None
    raise BadInput(
        "name",
        name,
        "no such SCSI host is there; a vHBA that is to be made needs its xml, for the number is the kernel's",
    )


def _wish(wwnn: str, wwpn: str, options: dict[str, Any]) -> Wish:
    """The wish with the options of the nodedev module, of which autostart means nothing for a vHBA but true."""
    starts = options.pop("autostart", None)
    wish = Wish.checked(wwnn=wwnn, wwpn=wwpn, **options)
    if starts is False and wish.persistent and wish.state != "absent":
        raise BadInput(
            "autostart", False, "a vHBA that is defined is there after every boot; persistent: false does not define it"
        )
    return wish


def ensure(wish: Wish | None, check_mode: bool) -> dict[str, Any]:
    """What the resource does for a wish; for none, nothing."""
    if wish is not None:
        return resource.ensure(device, wish, check_mode)
    return {"changed": False, "plan": [], "diff": {"before": "", "after": ""}, "vhba": None, "hindrances": {}}
