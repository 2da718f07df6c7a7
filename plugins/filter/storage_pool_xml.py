# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage pool by which libvirt lists the LUNs of a vHBA, after its formatstorage.html."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils import elements
from ansible_collections.hostdev.nodedev.plugins.module_utils.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils.names import checked_wwn

# The order in which libvirt writes them.
NAMES = ("parent_wwnn", "parent_wwpn", "wwnn", "wwpn")
# The grammar of libvirt's names, none of which begins with a blank here, and of its paths.
NAME = re.compile(r"[^\s/][^/]*")
PATH = re.compile(r"/.+")


def storage_pool_xml(value: object, name: str, target: str = "/dev/disk/by-path", managed: bool = False) -> str:
    """The pool's text for a vHBA of the vhba module's result or of vhba_facts.

    AnsibleFilterError naming what is wrong with it.
    """
    vhba = value.get("vhba", value) if isinstance(value, Mapping) else None
    if not isinstance(vhba, Mapping) or not {"wwnn", "wwpn"} <= set(vhba):
        raise AnsibleFilterError(
            "storage_pool_xml: this is no vHBA of hostdev.nodedev.vhba's result or of hostdev.nodedev.vhba_facts: "
            + repr(value)[:200]
        )
    for option, text, grammar in (("name", name, NAME), ("target", target, PATH)):
        # Other characters have no place in XML.
        if not isinstance(text, str) or not text.isprintable() or not grammar.fullmatch(text):
            what = "a name without a slash" if option == "name" else "an absolute path"
            raise AnsibleFilterError(f"storage_pool_xml: {option} is {text!r}, not {what}")
    missing = [key for key in NAMES if vhba.get(key) is None]
    if missing:
        raise AnsibleFilterError(
            f"storage_pool_xml: vHBA {vhba['wwpn']} has no {' and no '.join(missing)}: its HBA has to be there, or"
            " libvirt might make the vHBA on another one"
        )
    try:
        names = {key: checked_wwn(key, str(vhba[key])) for key in NAMES}
    except BadInput as error:
        raise AnsibleFilterError(f"storage_pool_xml: {error}") from error
    pool = ElementTree.Element("pool", type="scsi")
    ElementTree.SubElement(pool, "name").text = name
    source = ElementTree.SubElement(pool, "source")
    kept = "yes" if managed else "no"
    ElementTree.SubElement(source, "adapter", {"type": "fc_host", "managed": kept, **names})
    ElementTree.SubElement(ElementTree.SubElement(pool, "target"), "path").text = target
    return elements.text(pool)


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"storage_pool_xml": storage_pool_xml}
