# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of nodedev_facts: the inventory, its tree, its XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .inventory import Filter, gathered


def facts(options: dict[str, Any]) -> dict[str, Any]:
    """The answer of nodedev_facts to its options: ansible_facts.nodedev, and warnings."""
    inventory = gathered(
        Filter(
            capabilities=frozenset(options["capabilities"] or ()),
            names=frozenset(options["names"] or ()),
            **{key: options[key] for key in ("parent", "driver", "include", "persistence")},
        )
    )
    said: dict[str, Any] = {"devices": inventory.devices}
    if options["tree"]:
        said["tree"] = tree(inventory.devices)
    if options["unlisted"]:
        said["unlisted"] = inventory.unlisted
    if options["xml"]:
        # Here, since importing lxml takes longer than reading many a host.
        from . import xml

        for device in inventory.devices.values():
            device["xml"] = xml.to_xml(device)
    return {"ansible_facts": {"nodedev": said}, "warnings": inventory.warnings}


def tree(devices: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of ``virsh nodedev-list --tree``; a device whose parent is not among them is a root of its own."""
    children: dict[str | None, list[str]] = {}
    for name in sorted(devices, key=str.lower):
        parent = devices[name].get("parent")
        children.setdefault(parent if parent in devices else None, []).append(name)
    return [line for root in children.get(None, ()) for line in _branch(root, children, "", True, True)]


def _branch(
    name: str, children: dict[str | None, list[str]], indent: str, is_root: bool, is_last: bool
) -> Iterator[str]:
    yield indent + ("" if is_root else "+- ") + name
    below = children.get(name, [])
    inner = indent if is_root else indent + ("  " if is_last else "| ")
    if below:
        yield f"{inner}  |"
    for child in below:
        yield from _branch(child, children, f"{inner}  ", False, child == below[-1])
    if not below and is_last:
        yield inner
