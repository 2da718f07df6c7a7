# SPDX-License-Identifier: GPL-3.0-or-later
"""Between a device as a plain dict and libvirt's <device> XML, through lxml.

A child element is a key: its text, a dict when it has attributes or children of its own, and a list when it may
repeat. The tables here are libvirt's grammar (its docs/schemas/nodedev.rng), the only place that knows it.
"""

from __future__ import annotations

import re
import traceback
from typing import Any

from ..errors import BadInput, MissingLibrary
from ..text import shown

try:
    from lxml import etree
except ImportError:
    LXML_IMPORT_ERROR = traceback.format_exc()
else:
    LXML_IMPORT_ERROR = ""

# Far more than any device has to say; a document beyond it was made to harm.
LONGEST = 1 << 20
# Characters of a document in a message.
SHOWN = 80
# Users' own facts of a device, which libvirt's document has no place for.
OUTSIDE = ("extra", "xml")

# The attributes of an element; what else it has is children.
ATTRIBUTES = {
    "capability": ("type", "maxCount"),
    "devnode": ("type",),
    "parent": ("wwnn", "wwpn", "fabric_wwn"),
    "product": ("id",),
    "vendor": ("id",),
    "address": ("domain", "bus", "slot", "function"),
    "type": ("id",),
    "link": ("validity", "port", "speed", "width", "state"),
    "feature": ("name",),
    "iommuGroup": ("number",),
    "numa": ("node",),
    "attr": ("name", "value"),
    "fields": ("access",),
    "vendor_field": ("index",),
    "system_field": ("index",),
    "ccw_device": ("ref",),
}
# The key of an element's text, where it has attributes too. Fields may be empty; a product without a name has none,
# and a parent that is told by its attributes has none either.
TEXTS = {
    "devnode": "path",
    "parent": "name",
    "product": "name",
    "vendor": "name",
    "vendor_field": "value",
    "system_field": "value",
    "ccw_device": "name",
}
NAMELESS = ("parent", "product", "vendor")
# Elements that have children only, and so are dicts even when empty.
FOLDERS = frozenset(("driver", "hardware", "firmware", "members", "channel_dev_addr", "pci-express"))
# And those that have children beside their attributes. What stands in any other is its text, as to libvirt.
FOLDED = FOLDERS | {"capability", "iommuGroup", "fields"}
# What may repeat, by the element around it, or by its type attribute if that is a capability.
REPEATED = frozenset(
    (
        ("device", "devnode"),
        ("virt_functions", "address"),
        ("iommuGroup", "address"),
        ("mdev_types", "types"),
        ("net", "feature"),
        ("mdev", "attr"),
        ("pci-express", "link"),
        ("vpd", "fields"),
        ("fields", "vendor_field"),
        ("fields", "system_field"),
        ("members", "ccw_device"),
    )
)
# The child <type> of a capability needs another key, since its attribute has that one.
TYPE_KEYS = {"scsi": "scsi_type", "drm": "drm_type", "mdev": "mdev_type", "mdev_types": "types"}
NUMBERS = frozenset(
    (
        *("domain", "bus", "slot", "function", "maxCount", "number", "node", "port", "speed", "width"),
        *("device", "class", "subclass", "protocol", "host", "target", "lun", "unique_id", "max_vports", "vports"),
        *("size", "media_available", "media_size", "logical_block_size", "num_blocks", "availableInstances"),
    )
)
# A longer one is no number of a device's, and takes long to understand or becomes infinite.
NUMBER = re.compile(r"(0|-?[1-9][0-9]{0,19})(\.[0-9]{0,19}[1-9])?")
# What XML 1.0 has no way to write.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(device: dict[str, Any]) -> str:
    """A device as libvirt's document, without characters that XML cannot carry; MissingLibrary without lxml."""
    _check_lxml()
    root = etree.Element("device")
    _append(root, {key: value for key, value in device.items() if key not in OUTSIDE}, "device")
    text: str = etree.tostring(root, pretty_print=True, encoding="unicode")
    return text


def _check_lxml() -> None:
    if LXML_IMPORT_ERROR:
        raise MissingLibrary("lxml", LXML_IMPORT_ERROR)


def _append(element: Any, content: dict[str, Any], kind: str) -> None:
    """Write the children in the dict's order; ``kind`` is the element's name, or its type if it is a capability."""
    for key, value in content.items():
        name = "type" if TYPE_KEYS.get(kind) == key else key
        for item in value if isinstance(value, list) else (value,):
            child = etree.SubElement(element, name)
            if isinstance(item, dict):
                _fill(child, name, item)
            else:
                child.text = _text(item)


def _fill(element: Any, name: str, content: dict[str, Any]) -> None:
    attributes, text = ATTRIBUTES.get(name, ()), TEXTS.get(name)
    for key in attributes:
        if key in content:
            element.set(key, _text(content[key]))
    if text in content:
        element.text = _text(content[text])
    rest = {key: value for key, value in content.items() if key not in attributes and key != text}
    _append(element, rest, str(content.get("type")) if name == "capability" else name)


def _text(value: object) -> str:
    return UNWRITABLE.sub("", str(value))


def from_xml(text: str) -> dict[str, Any]:
    """The device of a document in the shape that to_xml() takes, unknown attributes left out as libvirt does.

    Nothing but the text itself is used: no entity is expanded and nothing is fetched. BadInput, naming the option
    ``xml``, for a document that is malformed, has a document type, is too long or is no <device>.
    """
    _check_lxml()
    if len(text) > LONGEST:
        raise BadInput("xml", shown(text, SHOWN), f"a device has less than {LONGEST} characters")
    # The text is decoded already, whatever encoding it claims.
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeError, ValueError) as error:
        raise BadInput("xml", shown(text, SHOWN), f"it is not well-formed XML: {shown(error)}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadInput("xml", shown(text, SHOWN), "a document type (DOCTYPE) is not accepted")
    if root.tag != "device":
        raise BadInput("xml", shown(text, SHOWN), f"the outermost element is <{shown(root.tag)}>, not <device>")
    found: dict[str, Any] = _read(root, "device")
    return found


def _read(element: Any, kind: str) -> dict[str, Any]:
    """The children of an element as a dict; of what cannot repeat the first one counts, as in libvirt."""
    found: dict[str, Any] = {}
    for child in element.iterchildren(tag=etree.Element):
        key = TYPE_KEYS.get(kind, child.tag) if child.tag == "type" else child.tag
        value = _value(child, key)
        if (kind, key) in REPEATED or (key == "capability" and kind != "device"):
            found.setdefault(key, []).append(value)
        else:
            found.setdefault(key, value)
    return found


def _value(element: Any, key: str) -> Any:
    """What an element says: a dict of its attributes, its children and its text, or the text where that is all."""
    name = element.tag
    found = {each: _scalar(each, element.get(each)) for each in ATTRIBUTES.get(name, ()) if each in element.attrib}
    # As XPath's string(): of all that stands in the element, without comments and processing instructions.
    text = "" if name in FOLDED or key == "types" else str(element.xpath("string()"))
    if text.strip() == "":
        for child, value in _read(element, str(found.get("type")) if name == "capability" else name).items():
            # A child that is named as an attribute has no place here; libvirt knows none either.
            found.setdefault(child, value)
    if not found and name not in FOLDED:
        return _scalar(name, text)
    place = TEXTS.get(name)
    return {**found, place: text} if place and (text or name not in NAMELESS) else found


def _scalar(key: str, text: str) -> str | int | float:
    number = NUMBER.fullmatch(text) if key in NUMBERS else None
    if number is None:
        return text
    return float(text) if number.group(2) else int(text)
