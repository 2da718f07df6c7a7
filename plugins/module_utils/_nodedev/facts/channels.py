# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodedev_facts says of a mainframe's channels beside libvirt's words: what they are, whose, and what is free."""

from __future__ import annotations

import os
from typing import Any

from ..host import chzdev_rules
from ..host.chzdev_rules import Rule
from ..libvirt.capabilities import ccw
from ..libvirt.inventory import Inventory
from ..names import device_name

HOST, GUESTS = "host", "guests"
VFIO = "vfio_ccw"
# The files that say what a CCW device is, and what it is attached by (Documentation/arch/s390/driver-model.rst).
KINDS = ("devtype", "cutype")


def tell(found: Inventory) -> dict[str, Any] | None:
    """Add what is known of each channel that was found to its ``extra``; what is free for guests among all of them.

    None where there are none. Reads the type of each CCW device, and the rules of chzdev's for those and their groups.
    """
    devices = {
        kind: [each for each in found.devices.values() if each["capability"]["type"] == kind]
        for kind in (ccw.DEVICE, ccw.SUBCHANNEL, ccw.GROUP)
    }
    if not any(devices.values()):
        return None
    configured = [*devices[ccw.DEVICE], *devices[ccw.GROUP]]
    addresses = {each["name"]: os.path.basename(each["path"]) for each in configured}
    rules = chzdev_rules.of([*addresses.values()]) if configured else chzdev_rules.Rules()
    for oddity in rules.oddities:
        found.oddities.add(oddity)
    for each in configured:
        own = rules.online.get(addresses[each["name"]], ())
        each["extra"] = {**each.get("extra", {}), **_state(each), "rules": [*map(_told, own)]}
    for each in devices[ccw.DEVICE]:
        texts = {key: found.oddities.text(f"{each['path']}/{key}") for key in KINDS}
        told = {key: text for key, text in texts.items() if text is not None}
        each["extra"] = {**told, **each["extra"], "free": _is_free(each)}
    for each in devices[ccw.SUBCHANNEL]:
        each["extra"] = {**each.get("extra", {}), **_subchannel(each)}
    channels = [each for kind in (ccw.DEVICE, ccw.SUBCHANNEL) for each in devices[kind]]
    return {
        "free": sorted(each["name"] for each in channels if each["extra"].get("free")),
        GUESTS: sorted(each["name"] for each in devices[ccw.SUBCHANNEL] if each["extra"].get("free") is False),
        HOST: sum(each["extra"].get("online", False) for each in devices[ccw.DEVICE]),
    }


def _state(device: dict[str, Any]) -> dict[str, Any]:
    """Whose a device is that is there itself, and whether it is online, where that is told."""
    state = device["capability"].get("state")
    return {"owner": HOST, **({} if state is None else {"online": state == ccw.STATES[1]})}


def _told(rule: Rule) -> dict[str, Any]:
    """A rule that sets a device, or its group, online at boot, with the sites at which it does so."""
    return {"path": rule.path, "type": rule.type, "sites": _sites(rule)}


def _sites(rule: Rule) -> list[str]:
    return ["all others" if site is None and len(rule.sites) > 1 else site or "all" for site in rule.sites]


def _is_free(device: dict[str, Any]) -> bool:
    """Whether a CCW device can go to a guest without anybody's loss: offline, also at boot, and of no group."""
    extra = device["extra"]
    return extra.get("online") is False and not extra["rules"] and "capability" not in device["capability"]


def _subchannel(device: dict[str, Any]) -> dict[str, Any]:
    """Whose a subchannel is, the CCW device on it, and of one for guests whether it can have a mediated device."""
    capability = device["capability"]
    address = capability.get("channel_dev_addr")
    told: dict[str, Any] = {}
    if address is not None:
        number = f"{int(address['cssid'], 16):x}.{int(address['ssid'], 16):x}.{int(address['devno'], 16):04x}"
        told["device"] = device_name("ccw", number)
    if device.get("driver", {}).get("name") != VFIO:
        return {"owner": HOST, **told}
    types = [each for nested in capability.get("capability", ()) for each in nested.get("types", ())]
    return {"owner": GUESTS, **told, "free": any(each["availableInstances"] > 0 for each in types)}
