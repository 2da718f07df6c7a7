# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of NVIDIA's vgpu-device-manager and mig-parted, version v1, and the same as our variables.

Both list by labels what each card is divided into. A card is meant by its place among the host's GPUs in the order of
their addresses, as NVML counts them, or by its ids. Where several entries are for a card, the last one counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

VERSION = "v1"
NVIDIA, DISPLAY, FUNCTION = "0x10de", "0x03", "function"
# As NVIDIA writes ids: the device's before the vendor's.
FILTER = re.compile(r"0x([0-9a-f]{4})([0-9a-f]{4})(?::0x([0-9a-f]{4})([0-9a-f]{4}))?", re.IGNORECASE)
# A profile of a compute instance that is a part of its GPU instance.
PART = re.compile(r"[0-9]+c\..*")
# Characters of a value in a message.
LONGEST = 80
NO_DEVICES = (
    "devices has no GPU of NVIDIA's: give it ansible_facts.nodedev.devices of hostdev.nodedev.nodedev_facts with"
    " capabilities: [pci]"
)


class Unreadable(ValueError):
    """What a configuration or variables say has no meaning here; in words."""


@dataclass(frozen=True)
class Format:
    """A program's document: where its labels are, what an entry has, and the list of variables that says the same."""

    labels: str
    counts: str
    flag: str | None
    variable: str


VGPU = Format("vgpu-configs", "vgpu-devices", None, "nodedev_vgpu_pools")
MIG = Format("mig-configs", "mig-devices", "mig-enabled", "nodedev_mig")
FORMATS = (VGPU, MIG)


@dataclass(frozen=True)
class Card:
    """A GPU by libvirt's name, with its ids and its subsystem's as a filter has them."""

    name: str
    ids: tuple[str, str]
    subsystem: tuple[str, str] | None


@dataclass(frozen=True)
class Wanted:
    """What a card is to be: whether it is divided by MIG, None where that is not said, and into how many of what."""

    is_divided: bool | None
    counts: Mapping[str, int]


def _quoted(value: object) -> str:
    """A value in a message, short."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def cards(devices: object) -> list[Card]:
    """The host's GPUs of NVIDIA's in NVML's order, from the devices that nodedev_facts returns."""
    found = []
    for name, device in devices.items() if isinstance(devices, Mapping) else ():
        capability, extra = device["capability"], device.get("extra", {})
        if capability["type"] != "pci" or capability["vendor"]["id"] != NVIDIA or extra.get("role") == FUNCTION:
            continue
        if not capability.get("class", "").startswith(DISPLAY):
            continue
        vendor, _colon, number = extra.get("subsystem_id", "").partition(":")
        place = tuple(int(capability[part]) for part in ("domain", "bus", "slot", "function"))
        ids = (capability["product"]["id"][2:], NVIDIA[2:])
        found.append((place, Card(str(name), ids, (number, vendor) if number else None)))
    if not found:
        raise Unreadable(NO_DEVICES)
    return [card for _place, card in sorted(found, key=lambda each: each[0])]


def read(document: object, label: object, devices: object) -> dict[str, list[dict[str, Any]]]:
    """The variables of the role gpu_host that say what a label of a document, or of its text, does.

    Unreadable naming what of it cannot be understood: as with NVIDIA's own, an unknown key is an error.
    """
    if isinstance(document, str):
        try:
            document = yaml.safe_load(document)
        except yaml.YAMLError as error:
            raise Unreadable(f"this is no YAML: {error}") from None
    form = next((each for each in FORMATS if isinstance(document, Mapping) and each.labels in document), None)
    if form is None or not isinstance(document, Mapping):
        raise Unreadable(f"this has neither {VGPU.labels} nor {MIG.labels}: {_quoted(document)}")
    if document.get("version") != VERSION:
        raise Unreadable(f"version is {_quoted(document.get('version'))}, not {VERSION}")
    _known(document, ("version", form.labels), "the document")
    labels = document[form.labels]
    if not isinstance(labels, Mapping) or not isinstance(label, str) or label not in labels:
        known = ", ".join(map(_quoted, labels)) if isinstance(labels, Mapping) else "none"
        raise Unreadable(f"label is {_quoted(label)}; the document has {known}")
    entries = labels[label]
    if not isinstance(entries, (list, tuple)):
        raise Unreadable(f"{label} is {_quoted(entries)}, not a list of entries")
    wanted: dict[int, Wanted] = {}
    present = cards(devices)
    for entry in entries:
        found = _wanted(form, entry)
        wanted.update(dict.fromkeys(_chosen(entry, present), found))
    make = _pool if form is VGPU else _mig
    return {form.variable: [make(label, index, present[index], wanted[index]) for index in sorted(wanted)]}


def _known(mapping: Mapping[Any, Any], keys: Iterable[str], what: str) -> None:
    unknown = sorted(_quoted(key) for key in mapping if key not in keys)
    if unknown:
        raise Unreadable(f"{what} has {', '.join(unknown)}, which {VERSION} does not know")


def _wanted(form: Format, entry: object) -> Wanted:
    if not isinstance(entry, Mapping):
        raise Unreadable(f"an entry is {_quoted(entry)}, not a mapping")
    flags = [] if form.flag is None else [form.flag]
    _known(entry, ("devices", "device-filter", form.counts, *flags), "an entry")
    missing = [key for key in ("devices", *flags) if key not in entry]
    if form.counts not in entry and not (flags and entry.get(flags[0]) is False):
        missing.append(form.counts)
    if missing:
        raise Unreadable(f"an entry has no {' and no '.join(missing)}: {_quoted(entry)}")
    flag = entry[flags[0]] if flags else None
    if flags and not isinstance(flag, bool):
        raise Unreadable(f"{flags[0]} is {_quoted(flag)}, not true or false")
    counts = entry.get(form.counts) or {}
    if not isinstance(counts, Mapping):
        raise Unreadable(f"{form.counts} is {_quoted(counts)}, not numbers by names")
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0 or not isinstance(name, str) or not name:
            raise Unreadable(f"{form.counts} has {_quoted(count)} of {_quoted(name)}, not a number of a name")
        if form is MIG and PART.fullmatch(name):
            raise Unreadable(f"{name} is a part of a GPU instance: here each has one compute instance, whole")
    return Wanted(flag, {name: count for name, count in counts.items() if count})


def _chosen(entry: Mapping[str, Any], present: Sequence[Card]) -> list[int]:
    """The places of the cards that an entry is for."""
    chosen = entry["devices"]
    places = range(len(present)) if chosen == "all" else [chosen] if isinstance(chosen, int) else chosen
    if not isinstance(places, (range, list, tuple)) or any(
        isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(present) for place in places
    ):
        raise Unreadable(
            f"devices is {_quoted(chosen)}, not all and not numbers of this host's GPUs, 0 to {len(present) - 1}"
        )
    filters = entry.get("device-filter") or []
    filters = [filters] if isinstance(filters, str) else filters
    return [place for place in places if not filters or any(_fits(each, present[place]) for each in filters)]


def _fits(text: object, card: Card) -> bool:
    """Whether a card has the ids that a filter names; one without a known subsystem has no such one."""
    found = FILTER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Unreadable(f"device-filter is {_quoted(text)}, not like 0x26B910DE or 0x26B910DE:0x185110DE")
    device, vendor, number, of = (each and each.lower() for each in found.groups())
    return card.ids == (device, vendor) and (number is None or card.subsystem == (number, of))


def _pool(label: str, index: int, card: Card, wanted: Wanted) -> dict[str, Any]:
    """A pool of the vGPUs of one card, as such a configuration counts them."""
    pool: dict[str, Any] = {"name": f"{label}-{index}"}
    if not wanted.counts:
        return {**pool, "state": "absent"}
    return {**pool, "parents": {"names": [card.name]}, "types": dict(wanted.counts)}


def _mig(label: str, index: int, card: Card, wanted: Wanted) -> dict[str, Any]:
    divided = {"device": card.name, "enabled": wanted.is_divided}
    return {**divided, "instances": dict(wanted.counts)} if wanted.is_divided else divided


def written(variables: object, label: object, devices: object) -> str:
    """The text of a document with one label that says what a list of such variables does.

    Unreadable where there is none, or what it says cannot be said there.
    """
    given = [form for form in FORMATS if isinstance(variables, Mapping) and form.variable in variables]
    if len(given) != 1 or not isinstance(variables, Mapping):
        raise Unreadable(f"give {VGPU.variable} or {MIG.variable}, one of both: {_quoted(variables)}")
    if not isinstance(label, str) or not label.isprintable() or not label:
        raise Unreadable(f"label is {_quoted(label)}, not a name")
    (form,) = given
    places = {card.name: place for place, card in enumerate(cards(devices))}
    entries: list[dict[str, Any]] = []
    for each in variables[form.variable]:
        card, entry = _entry_of_pool(each) if form is VGPU else _entry_of_mig(each)
        if card not in places:
            raise Unreadable(f"{_quoted(card)} is not one of the host's GPUs, {', '.join(places)}")
        same = next((known for known in entries if {**known, "devices": None} == {**entry, "devices": None}), None)
        if same is None:
            entries.append({"devices": [places[card]], **entry})
        else:
            same["devices"].append(places[card])
    for entry in entries:
        entry["devices"] = "all" if len(entry["devices"]) == len(places) else sorted(entry["devices"])
    # Ansible's texts and numbers are subclasses of Python's, of which PyYAML takes none.
    document = json.loads(json.dumps({"version": VERSION, form.labels: {label: entries}}))
    return str(yaml.safe_dump(document, sort_keys=False))


def _entry_of_pool(pool: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The card of a pool, and its entry, in which a type has no vendor before it."""
    names = pool.get("parents", {}).get("names", [])
    counts = pool.get("types") or {pool.get("type"): pool.get("count")}
    if len(names) != 1 or not all(isinstance(count, int) and isinstance(kind, str) for kind, count in counts.items()):
        raise Unreadable(
            f"pool {_quoted(pool.get('name'))} has no one card in parents.names with numbers of types: such a document"
            " counts by card"
        )
    return str(names[0]), {VGPU.counts: {kind.rpartition(" ")[2]: count for kind, count in counts.items()}}


def _entry_of_mig(wish: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    counts = {str(profile): int(count) for profile, count in (wish.get("instances") or {}).items()}
    return str(wish["device"]), {"mig-enabled": bool(wish.get("enabled", bool(counts))), MIG.counts: counts}
