# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report tells of one host, from the answers of the modules that gather facts.

Pure functions, on the controller alone. What a host answered wrongly is its own failure, and keeps no other host from
being reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]

# By what each answer is given as: the module, and the name of its facts.
ANSWERS = {
    "nodedev": ("nodedev_facts", "nodedev"),
    "definitions": ("definition_facts", "nodedev_definitions"),
    "types": ("mdev_types_facts", "mdev_types"),
    "vhba": ("vhba_facts", "vhba"),
    "vgpu": ("vgpu_facts", "vgpu"),
}
# What something raises that has not the shape of these facts.
MISSHAPEN = (TypeError, KeyError, AttributeError, ValueError, IndexError, RecursionError)
UNKNOWN = "a type that is not known"
# What devices are counted as in the report, in this order.
VGPUS, MDEVS, VHBAS, FUNCTIONS = "vGPUs", "mediated devices", "vHBAs", "virtual functions"


def host_report(name: str, answers: Facts) -> dict[str, Any]:
    """The part of the report for the host of this name in the inventory.

    ``answers`` are what the modules returned, by the keys of ANSWERS. What failed is told under ``failures``, with the
    module and its message, and what it would have told is empty.
    """
    failures: list[dict[str, str]] = []
    facts = {key: _facts(key, answers, failures) for key in ANSWERS}
    parts: dict[str, Any] = {}
    for part, tell in PARTS.items():
        try:
            parts[part] = tell(facts)
        except MISSHAPEN as error:
            parts[part] = {} if part == "system" else []
            _fail(failures, part, f"the facts have another shape than expected: {error!r}")
    return {
        "name": str(name),
        "failures": failures,
        **parts,
        "warnings": _listed(answers, "warnings"),
        "notes": _listed(answers, "hint"),
    }


def _facts(key: str, answers: Facts, failures: list[dict[str, str]]) -> Facts:
    module, name = ANSWERS[key]
    answer = answers.get(key)
    if not isinstance(answer, Mapping) or answer.get("skipped"):
        # The host could not be reached before; that is told once.
        return {}
    found = answer.get("ansible_facts")
    own = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(own, Mapping):
        return own
    _fail(failures, module, _reason(answer))
    return {}


def _reason(answer: Facts) -> str:
    """Why a module failed, and what it printed last where it did not come so far as to say so itself."""
    printed = str(answer.get("module_stderr") or "").strip().splitlines()
    return ": ".join([_text(answer.get("msg") or "it did not say why"), *printed[-1:]])


def _fail(failures: list[dict[str, str]], module: str, message: str) -> None:
    """Add a failure; several modules that fail alike are one."""
    for each in failures:
        if each["message"] == message:
            each["module"] += f", {module}"
            return
    failures.append({"module": module, "message": message})


def _listed(answers: Facts, key: str) -> list[str]:
    """The texts that modules return under a key, each once."""
    lists = [answer.get(key) for answer in map(answers.get, ANSWERS) if isinstance(answer, Mapping)]
    return list(dict.fromkeys(_text(each) for found in lists if isinstance(found, list) for each in found))


def _text(value: object) -> str:
    """A message, also as newer Ansible wraps those of warnings."""
    if isinstance(value, Mapping):
        event = value.get("event")
        return str(event.get("msg")) if isinstance(event, Mapping) else str(dict(value))
    return str(value)


def _system(facts: Mapping[str, Facts]) -> dict[str, Any]:
    """What the computer says it is."""
    capability = facts["nodedev"].get("devices", {}).get("computer", {}).get("capability", {})
    maker = capability.get("hardware", {}).get("vendor")
    return {"product": " ".join(str(each) for each in (maker, capability.get("product")) if each)}


def _devices(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Each device with its parent; one whose parent is not listed begins a tree of its own."""
    devices = facts["nodedev"].get("devices", {})
    return [
        {
            "name": str(name),
            "parent": str(device["parent"]) if device.get("parent") in devices else None,
            "kind": str(device["capability"]["type"]),
            "what": _what(device),
            "driver": device.get("driver", {}).get("name"),
        }
        for name, device in devices.items()
    ]


def _what(device: Facts) -> str:
    """A few words by which a person knows the device."""
    capability, extra = device["capability"], device.get("extra", {})
    maker, product = (capability.get(key) for key in ("vendor", "product"))
    words = [each.get("name") or each.get("id") if isinstance(each, Mapping) else each for each in (maker, product)]
    words += [capability.get(key) for key in ("interface", "block", "uuid")]
    words += [_type(capability.get("mdev_type"))]
    words += [extra.get("port_state"), "not running" if extra.get("active") is False else None]
    return ", ".join(str(each) for each in words if each)


def _type(value: object) -> object:
    return value.get("name") or value.get("id") if isinstance(value, Mapping) else value


def _capacity(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """What each card carries and can take more, NVIDIA's cards first, then other parents, HBAs and functions."""
    return [*_vgpus(facts), *_mdevs(facts), *_vhbas(facts), *_functions(facts)]


def _defined(facts: Mapping[str, Facts], kind: str, key: str) -> set[str]:
    return {each[key] for each in facts["definitions"].get(kind, ())}


def _vgpus(facts: Mapping[str, Facts]) -> Iterator[dict[str, Any]]:
    defined = _defined(facts, "mdev", "uuid") | _defined(facts, "vgpu", "name")
    for name, card in facts["vgpu"].get("cards", {}).items():
        there = [each for each in card["functions"] if each["uuid"] is not None or _is_vgpu(each)]
        ours, others = _counted((each["type"] or UNKNOWN, (each["uuid"] or each["name"]) in defined) for each in there)
        free = {each["name"]: each["free"] for each in card["types"]}
        product = ": ".join(each for each in (card["product"].get("name"), card["why"]) if each)
        yield _card(VGPUS, name, product or None, free, ours, others)


def _is_vgpu(function: Facts) -> bool:
    """Whether a function is a vGPU; of what type, the card may tell by its number alone."""
    return function["type"] is not None or function.get("type_id") is not None


def _mdevs(facts: Mapping[str, Facts]) -> Iterator[dict[str, Any]]:
    """Other parents than NVIDIA's; functions of one card together."""
    defined = _defined(facts, "mdev", "uuid")
    cards: dict[str, list[Facts]] = {}
    for name, parent in facts["types"].items():
        cards.setdefault(_physical(facts["nodedev"].get("devices", {}).get(name, {})) or name, []).append(parent)
    for name, parents in cards.items():
        if name not in facts["vgpu"].get("cards", {}):
            types = [(id, each) for parent in parents for id, each in parent["types"].items()]
            ours, others = _counted(
                (each.get("name") or id, uuid in defined) for id, each in types for uuid in each.get("instances", ())
            )
            free: Counter[str] = Counter()
            for id, each in types:
                free[each.get("name") or id] += int(each.get("available_instances") or 0)
            yield _card(MDEVS, name, parents[0].get("product", {}).get("name"), dict(free), ours, others)


def _vhbas(facts: Mapping[str, Facts]) -> Iterator[dict[str, Any]]:
    vhbas = facts["vhba"].get("vhbas", {})
    for name, hba in facts["vhba"].get("hbas", {}).items():
        if hba["npiv"]:
            ours = sum(bool(vhbas[each]["persistent"]) for each in hba["vhbas"] if each in vhbas)
            # Behind a port that is down there may be room, but not now.
            free = 0 if hba["hindrance"] else hba["free_vports"]
            others = max(hba["vports"] - ours, 0)
            yield _card(VHBAS, name, hba["hindrance"], {"": free}, Counter({"": ours}), Counter({"": others}))


def _functions(facts: Mapping[str, Facts]) -> Iterator[dict[str, Any]]:
    """Virtual functions: those that are enabled, by a definition or otherwise, and how many more can be."""
    defined = _defined(facts, "sriov", "name")
    for name, device in facts["nodedev"].get("devices", {}).items():
        for each in _nested(device, "virt_functions"):
            enabled = len(each.get("address") or ())
            ours, others = (enabled, 0) if name in defined else (0, enabled)
            free = max(int(each.get("maxCount") or enabled) - enabled, 0)
            product = device["capability"].get("product", {}).get("name")
            yield _card(FUNCTIONS, name, product, {"": free}, Counter({"": ours}), Counter({"": others}))


def _physical(device: Facts) -> str | None:
    """The name of the physical function of a virtual one."""
    for each in _nested(device, "phys_function"):
        return "pci_" + "_".join(each["address"][part][2:] for part in ("domain", "bus", "slot", "function"))
    return None


def _nested(device: Facts, kind: str) -> list[Facts]:
    return [each for each in device.get("capability", {}).get("capability", ()) if each["type"] == kind]


def _counted(instances: Iterable[tuple[Any, bool]]) -> tuple[Counter[str], Counter[str]]:
    """How many of each type are defined, and how many are not."""
    ours: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for kind, defined in instances:
        (ours if defined else others)[str(kind)] += 1
    return ours, others


def _card(
    kind: str, name: str, product: str | None, free: Mapping[str, int | None], ours: Counter[str], others: Counter[str]
) -> dict[str, Any]:
    """One card. What is free of the whole is that of the type that most of it are of.

    An empty card has that of the type of which most fit. It is None where it is not known.
    """
    both = ours + others
    names = sorted({*free, *both})
    known = [value for value in free.values() if value is not None]
    room = free.get(both.most_common(1)[0][0]) if both else max(known, default=0 if not free else None)
    return {
        "kind": kind,
        "card": str(name),
        "product": product,
        "free": room,
        "ours": sum(ours.values()),
        "others": sum(others.values()),
        "types": [
            {"name": each, "free": free.get(each, 0), "ours": ours[each], "others": others[each]}
            for each in names
            if each
        ],
    }


def _pools(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Each pool with how many of its instances are there."""
    definitions = facts["definitions"]
    members = [each for kind in definitions if kind != "pool" for each in definitions[kind] if each.get("pool")]
    active = Counter(each["pool"] for each in members if each.get("active"))
    defined = {each["pool"] for each in members}
    of_this_boot = [each for each in definitions.get("pool", ()) if each["name"] not in defined]
    running = _running(facts) if of_this_boot else set()
    active.update({each["name"]: sum(one.get("id") in running for one in each["instances"]) for each in of_this_boot})
    return [
        {
            "name": str(each["name"]),
            "kind": each["kind"],
            "type": each.get("type"),
            "count": each.get("count"),
            "instances": len(each["instances"]),
            "active": active[each["name"]],
            "managed": bool(each.get("managed")),
            "parents": sorted({str(one.get("parent_addr") or one.get("parent_wwpn")) for one in each["instances"]}),
        }
        for each in definitions.get("pool", ())
    ]


def _running(facts: Mapping[str, Facts]) -> set[Any]:
    """By the ids that pools have for them, the instances that run: UUIDs, functions' addresses and WWPNs."""
    types = [each for parent in facts["types"].values() for each in parent["types"].values()]
    functions = [each for card in facts["vgpu"].get("cards", {}).values() for each in card["functions"]]
    return {
        *(uuid for each in types for uuid in each.get("instances", ())),
        *(each.get("address") for each in functions if _is_vgpu(each)),
        *(each.get("wwpn") for each in facts["vhba"].get("vhbas", {}).values()),
    }


def _drift(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Where the host is not as it is defined."""
    found = []
    for kind, defined in facts["definitions"].items():
        if kind in ("pool", "damaged"):
            continue
        for each in defined:
            # Crypto queues have no name, and a vHBA that is not there has none.
            device = each.get("name") or f"{kind} {each.get('wwpn') or each['by']}"
            name = {"device": str(device), "pool": each.get("pool")}
            found += [{**name, **{key: one[key] for key in ("what", "defined", "running")}} for one in each["drift"]]
            if each["autostart"] and not each["active"] and not each["drift"]:
                state = "its parent is not there" if each["parent_missing"] else "not there"
                found.append({**name, "what": "state", "defined": "there", "running": state})
    return found


def _held(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Which device is held by which guest or process."""
    found = [
        {"device": str(name), **{key: holder.get(key) for key in ("domain", "by", "pid", "node")}}
        for name, device in facts["nodedev"].get("devices", {}).items()
        for holder in device.get("extra", {}).get("holders", ())
    ]
    listed = {each["device"] for each in found}
    found += [
        {"device": each["name"], "domain": each["domain"], "by": None, "pid": None, "node": None}
        for kind, defined in facts["definitions"].items()
        for each in defined
        if kind not in ("pool", "damaged") and each.get("domain") and each["name"] not in listed
    ]
    return found


def _readiness(facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """What vGPUs need, of a host that could have some."""
    if not facts["vgpu"].get("cards") and not facts["types"]:
        return []
    keys = ("device", "what", "ok", "found", "advice")
    return [{key: each[key] for key in keys} for each in facts["vgpu"].get("readiness", ())]


def _damaged(facts: Mapping[str, Facts]) -> list[dict[str, str]]:
    return [{key: str(each[key]) for key in ("path", "reason")} for each in facts["definitions"].get("damaged", ())]


PARTS = {
    "system": _system,
    "capacity": _capacity,
    "pools": _pools,
    "drift": _drift,
    "held": _held,
    "readiness": _readiness,
    "damaged": _damaged,
    "devices": _devices,
}
