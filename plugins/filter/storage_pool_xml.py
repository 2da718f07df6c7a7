# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage pool by which libvirt lists the LUNs of a vHBA, after its formatstorage.html."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import checked_wwn
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import elements
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    Element,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

# The order in which libvirt writes them.
NAMES = ("parent_wwnn", "parent_wwpn", "wwnn", "wwpn")
# The grammar of libvirt's names, none of which begins with a blank here, and of its paths.
NAME = re.compile(r"[^\s/][^/]*")
PATH = re.compile(r"/.+")
NO_VHBA = "this is not a vHBA of hostdev.nodedev.vhba's result or of hostdev.nodedev.vhba_facts"


def storage_pool_xml(
    value: object, name: str | None = None, target: str = "/dev/disk/by-path", managed: bool = False
) -> str:
    """The pool's text for a vHBA of the vhba module or of vhba_facts; AnsibleFilterError naming what is wrong."""
    try:
        return elements.text(_pool(value, name, target, elements.flag("managed", managed)))
    except BadInput as error:
        raise AnsibleFilterError(f"storage_pool_xml: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"storage_pool_xml: {NO_VHBA}: {quoted(value)} ({quoted(error)})") from None


def _pool(value: object, name: str | None, target: str, managed: bool) -> Element:
    several = elements.several(value)
    if several is not None:
        raise AnsibleFilterError(f"storage_pool_xml: {several}")
    vhba = value.get("vhba", value) if isinstance(value, Mapping) else None
    if not isinstance(vhba, Mapping) or not {"wwnn", "wwpn"} <= set(vhba):
        raise AnsibleFilterError(f"storage_pool_xml: {NO_VHBA}: {quoted(value)}")
    if name is None:
        raise AnsibleFilterError("storage_pool_xml: name is required: the pool's name for libvirt")
    for option, text, grammar in (("name", name, NAME), ("target", target, PATH)):
        # Other characters have no place in XML.
        if not isinstance(text, str) or not text.isprintable() or not grammar.fullmatch(text):
            what = "a name without a slash" if option == "name" else "an absolute path"
            raise AnsibleFilterError(f"storage_pool_xml: {option} is {quoted(text)}, not {what}")
    missing = [key for key in NAMES if vhba.get(key) is None]
    if missing:
        raise AnsibleFilterError(
            f"storage_pool_xml: vHBA {_named(vhba)} has no {' and no '.join(missing)}: its HBA has to be there, or"
            " libvirt might make the vHBA on another one"
        )
    names = {key: checked_wwn(key, _text(key, vhba[key])) for key in NAMES}
    pool = ElementTree.Element("pool", type="scsi")
    ElementTree.SubElement(pool, "name").text = name
    source = ElementTree.SubElement(pool, "source")
    is_managed = "yes" if managed else "no"
    ElementTree.SubElement(source, "adapter", {"type": "fc_host", "managed": is_managed, **names})
    ElementTree.SubElement(ElementTree.SubElement(pool, "target"), "path").text = target
    return pool


def _named(vhba: Mapping[str, Any]) -> str:
    return shown(vhba["wwpn"]) if isinstance(vhba["wwpn"], str) else quoted(vhba["wwpn"])


def _text(key: str, value: object) -> str:
    """A name as text; YAML takes one that stands without quotes and has no letters for a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadInput(key, value, "a World Wide Name is text: quote it")
    return str(value)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"storage_pool_xml": storage_pool_xml}
