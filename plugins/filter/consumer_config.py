# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nova, KubeVirt and Proxmox VE are told of a pool, each in its own configuration's words.

After nova's nova.conf ([pci], [devices]), KubeVirt's permittedHostDevices and Proxmox VE's mapping/pci.cfg.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import checked_device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown

Instance = Mapping[str, Any]
# The instances of a pool by their type.
Types = Mapping[str, Sequence[Instance]]
NO_POOL = (
    "this is not a pool: give the result of hostdev.nodedev.vgpu_pool or mdev_pool, or its instances, of which there"
    " is one at least"
)
# What a name may be for each: nova's is any text, KubeVirt's a resource of Kubernetes, Proxmox's one of its ids.
NAMES = {
    "nova": (re.compile(r"[^\s]+"), "a name without blanks"),
    "kubevirt": (
        re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"),
        "a resource such as nvidia.com/desktops",
    ),
    "proxmox": (re.compile(r"[A-Za-z][A-Za-z0-9_-]+"), "letters, digits, _ and - that begin with a letter"),
}
NODE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
DOMAIN = "nvidia.com/"
# As mdev_pool has a type: by the kernel's id, which is no name.
TYPE_ID = re.compile(r"[^\s]+-[0-9]+")
HEX_ID = re.compile(r"0x([0-9a-f]{4})")


def consumer_config(
    value: object,
    consumer: str | None = None,
    name: str | None = None,
    devices: Mapping[str, Any] | None = None,
    node: str | None = None,
) -> str:
    """The text for the consumer's configuration, for a pool of mdev_pool's or vgpu_pool's result or its instances.

    ``devices`` are those of nodedev_facts, where the functions' ids are; ``node`` is Proxmox VE's name of the host.
    AnsibleFilterError naming the option and the value that cannot be used.
    """
    try:
        if not isinstance(consumer, str) or consumer not in CONSUMERS:
            raise NodedevError(f"consumer is {quoted(consumer)}, not one of {', '.join(CONSUMERS)}")
        types = _types(value)
        if name is not None:
            _check_name(name, consumer, types)
        return CONSUMERS[consumer](types, name, devices, node)
    except NodedevError as error:
        raise AnsibleFilterError(f"consumer_config: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"consumer_config: {NO_POOL}: {quoted(value)} ({quoted(error)})") from None


def _types(value: object) -> Types:
    """The instances by type, in the pool's order; NodedevError for what has none or only foretold ones."""
    instances = value["instances"] if isinstance(value, Mapping) else value
    if not isinstance(instances, (list, tuple)) or not instances:
        raise NodedevError(f"{NO_POOL}: {quoted(value)}")
    types: dict[str, list[Instance]] = {}
    for instance in instances:
        types.setdefault(_text(instance, "type"), []).append(instance)
    return types


def _text(instance: Instance, key: str) -> str:
    text = instance[key]
    if not isinstance(text, str) or not text.isprintable() or not text:
        raise NodedevError(f"an instance's {key} is {quoted(text)}: the pool is only foretold, or this is none of one")
    return text


def _check_name(name: object, consumer: str, types: Types) -> None:
    grammar, what = NAMES[consumer]
    if not isinstance(name, str) or not name.isprintable() or not grammar.fullmatch(name):
        raise NodedevError(f"name is {quoted(name)}, not {what}")
    if len(types) > 1:
        raise NodedevError(
            f"name is {quoted(name)}, and the pool has the types {', '.join(types)}: give the instances of one of them,"
            " or no name"
        )


def _word(text: str) -> str:
    """A type's name as one word."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def _are_mediated(instances: Sequence[Instance]) -> bool:
    return instances[0].get("uuid") is not None


def _address(instance: Instance) -> str:
    return checked_device("address", _text(instance, "address"))[1]


def _nova(types: Types, name: str | None, devices: object, node: object) -> str:
    """Lines of nova.conf: functions stay with their driver, and a flavor asks for them by the alias."""
    mediated = {kind: found for kind, found in types.items() if _are_mediated(found)}
    lines = [f"[devices]\nenabled_mdev_types = {','.join(map(_mdev_type, mediated.values()))}"] if mediated else []
    for found in mediated.values():
        parents = ",".join(dict.fromkeys(_text(each, "parent_addr") for each in found))
        lines.append(f"[mdev_{_mdev_type(found)}]\ndevice_addresses = {parents}\nmax_instances = {len(found)}")
    functions = {kind: found for kind, found in types.items() if kind not in mediated}
    options = [line for kind, found in functions.items() for line in _pci_options(kind, found, name, devices)]
    lines += ["\n".join(["[pci]", *options])] if functions else []
    return "\n\n".join(lines) + "\n"


def _mdev_type(instances: Sequence[Instance]) -> str:
    """The kernel's id of the instances' type, which vgpu_pool has as NVIDIA's number."""
    number = instances[0].get("type_id")
    return _text(instances[0], "type") if number is None else f"nvidia-{int(number)}"


def _pci_options(kind: str, instances: Sequence[Instance], name: str | None, devices: object) -> list[str]:
    resource = {"resource_class": "CUSTOM_" + re.sub(r"[^A-Z0-9_]+", "_", kind.upper())}
    ids = [dict(zip(("vendor_id", "product_id"), _pci_ids(devices, each)["id"].split(":"))) for each in instances]
    specs = [{"address": _address(each), **its, "managed": "no", **resource} for each, its in zip(instances, ids)]
    alias = {"name": name or _word(kind), "device_type": "type-VF", **ids[0], **resource}
    return [*(f"device_spec = {json.dumps(spec)}" for spec in specs), f"alias = {json.dumps(alias)}"]


def _pci_ids(devices: object, instance: Instance) -> dict[str, str]:
    """What nodedev_facts says of a function, as Proxmox VE has it: its ids, its subsystem's and its IOMMU group."""
    name = _text(instance, "name")
    if not isinstance(devices, Mapping) or name not in devices:
        raise NodedevError(
            f"devices has no {shown(name)}: give it ansible_facts.nodedev.devices of hostdev.nodedev.nodedev_facts"
        )
    capability = devices[name]["capability"]
    found = [HEX_ID.fullmatch(capability[each]["id"]) for each in ("vendor", "product")]
    told = {"id": ":".join(each[1] for each in found if each)}
    if None in found:
        raise NodedevError(f"devices has no ids of vendor and product for {shown(name)}")
    if "iommuGroup" in capability:
        told["iommugroup"] = str(int(capability["iommuGroup"]["number"]))
    subsystem = devices[name].get("extra", {}).get("subsystem_id")
    return told if subsystem is None else {**told, "subsystem-id": str(subsystem)}


def _kubevirt(types: Types, name: str | None, devices: object, node: object) -> str:
    """The part of a KubeVirt resource's configuration; functions are told by what product they are, not by type."""
    mediated = []
    functions: dict[str, str] = {}
    for kind, found in types.items():
        resource = name or DOMAIN + _word(kind)
        if not NAMES["kubevirt"][0].fullmatch(resource):
            raise NodedevError(f"type {shown(kind)} makes no name of a resource: give a name such as nvidia.com/vgpu")
        if _are_mediated(found):
            if found[0].get("type_id") is None and TYPE_ID.fullmatch(kind):
                raise NodedevError(
                    f"KubeVirt takes the name of a type, and {shown(kind)} is an id: give the result of"
                    " hostdev.nodedev.vgpu_pool, which has the name"
                )
            mediated.append({"mdevNameSelector": kind, "resourceName": resource})
            continue
        for selector in dict.fromkeys(_pci_ids(devices, each)["id"].upper() for each in found):
            if functions.setdefault(selector, resource) != resource:
                raise NodedevError(
                    f"KubeVirt cannot tell the types {', '.join(types)} from each other: all are functions {selector}"
                )
    lists = {
        "mediatedDevices": mediated,
        "pciHostDevices": [{"pciVendorSelector": ids, "resourceName": name} for ids, name in functions.items()],
    }
    # Ansible's texts and numbers are subclasses of Python's, of which PyYAML takes none.
    permitted = json.loads(json.dumps({key: each for key, each in lists.items() if each}))
    return str(yaml.safe_dump({"permittedHostDevices": permitted}, sort_keys=False, allow_unicode=True))


def _proxmox(types: Types, name: str | None, devices: object, node: object) -> str:
    """Sections of pci.cfg; a guest gets one of a mapping's functions."""
    if not isinstance(node, str) or not NODE.fullmatch(node):
        raise NodedevError(f"node is {quoted(node)}, not Proxmox VE's name of the host")
    sections = []
    for kind, found in types.items():
        if _are_mediated(found):
            raise NodedevError(
                f"Proxmox VE makes mediated devices by itself and takes none that is there: {shown(kind)} is a type of"
                " them; give a pool of virtual functions"
            )
        maps = [{**_pci_ids(devices, each), "node": node, "path": _address(each)} for each in found]
        lines = [",".join(f"{key}={each[key]}" for key in sorted(each)) for each in maps]
        mapping = name or _word(kind).replace(".", "_")
        if not NAMES["proxmox"][0].fullmatch(mapping):
            raise NodedevError(f"type {shown(kind)} makes no id of a mapping: give a name")
        sections.append("\n".join([mapping, *(f"\tmap {line}" for line in lines)]) + "\n")
    return "\n".join(sections)


CONSUMERS: dict[str, Callable[[Types, str | None, object, object], str]] = {
    "nova": _nova,
    "kubevirt": _kubevirt,
    "proxmox": _proxmox,
}


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"consumer_config": consumer_config}
