# SPDX-License-Identifier: GPL-3.0-or-later
"""How a GPU is divided by MIG, as it is wished and kept for boots, and what plans are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from ...errors import BadInput
from ...grammar import checked_function
from ...host import mig
from ...host.mig import Instance, Modes, Profile
from ...names import called
from ...plan import Step
from ...store.documents import Documents, name_of
from ...store.files import DamagedDefinition, Document

KIND = "mig"
PROFILE = re.compile(r"[0-9]{1,4}|[1-9][0-9]?g\.[0-9]{1,4}gb[-+.a-z0-9]{0,16}")
# GPU instances that any card can have are fewer.
MOST = 64


@dataclass(frozen=True)
class Division:
    """What is said of a card: whether MIG divides it, and its GPU instances, their profiles with the number of each.

    Profiles are named as the wish has them, by name or id. None where nothing is said.
    """

    address: str
    enabled: bool | None = None
    instances: Mapping[str, int] | None = None

    @property
    def path(self) -> str:
        """Where it is kept."""
        return DOCUMENTS.paths(self.address)[0]

    def document(self) -> Document:
        """It as it is written."""
        found = {"enabled": self.enabled, "instances": None if self.instances is None else dict(self.instances)}
        return {key: value for key, value in found.items() if value is not None}

    def over(self, other: Division | None) -> Division:
        """The same, with what is not said as it is there; a card that is not divided has no instances."""
        if other is None:
            return self
        enabled = other.enabled if self.enabled is None else self.enabled
        instances = other.instances if self.instances is None else self.instances
        return Division(self.address, enabled, instances if enabled else None)


def declare(address: str, enabled: object, instances: object) -> Division:
    """What is said of this card, each part of its grammar; else BadInput."""
    if enabled is not None and not isinstance(enabled, bool):
        raise BadInput("enabled", enabled, "true or false")
    counts = None if instances is None else _checked(instances)
    if counts:
        if enabled is False:
            raise BadInput("enabled", False, "a card that MIG does not divide has no GPU instances")
        enabled = True
    return Division(address, enabled, None if enabled is False else counts)


def _checked(instances: object) -> dict[str, int]:
    if not isinstance(instances, Mapping):
        raise BadInput("instances", instances, "profiles, each with a number, as 1g.18gb: 3")
    found = {}
    for key, value in instances.items():
        # To YAML an id is a number, and to a template each number may be a text.
        profile = str(key)
        if isinstance(key, bool) or not PROFILE.fullmatch(profile):
            raise BadInput("instances", key, "a profile is named like 1g.18gb or 1g.18gb+me, or by its id")
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > MOST:
            raise BadInput("instances", {profile: value}, f"a number from 0 to {MOST}")
        found[profile] = int(text)
    return {profile: count for profile, count in sorted(found.items()) if count}


def division_of(address: str) -> str:
    """What a person calls the way in which a card is divided."""
    return f"the MIG mode of {called(address)}"


def words(of: Division) -> str:
    """How a card is divided, as it stands at the end of a step."""
    if not of.enabled:
        return ", off"
    if of.instances is None:
        return ", on"
    counts = ", ".join(f"{count} of {profile}" for profile, count in of.instances.items())
    return f", on, with {counts or 'no'} GPU instances"


def decode(path: str, document: Document) -> Division:
    """Understand a definition; raises DamagedDefinition naming the file and what is wrong."""
    try:
        address = checked_function("device", name_of(path))
        found = declare(address, document.get("enabled"), document.get("instances"))
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if found.enabled is None or address != name_of(path):
        reason = "it does not say whether MIG is enabled" if found.enabled is None else "its name is not an address"
        raise DamagedDefinition(path, reason)
    return found


DOCUMENTS = Documents(KIND, decode)


def define(target: Division, former: Division | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces."""
    verb = "change the definition of" if former else "define"
    described = f"{verb} {division_of(target.address)}{words(target)}"
    return DOCUMENTS.change(described, target.address, target, former)


def undefine(known: Division) -> Step:
    """Keep the definition no longer."""
    return DOCUMENTS.change(f"undefine {division_of(known.address)}", known.address, None, known)


def set_mode(address: str, enabled: bool, resets: bool, former: Modes) -> Step:
    """Have MIG divide the card, or not."""
    how = ", by a reset of this card where it needs one" if resets else ""
    undo = None
    if former.current is not None and former.current != enabled:
        undo = partial(mig.set_mode, address, former.current, resets, Modes(enabled, enabled))
    return Step(
        f"{'enable' if enabled else 'disable'} MIG on {called(address)}{how}",
        partial(mig.set_mode, address, enabled, resets, former),
        undo,
    )


def create(address: str, profile: Profile, count: int) -> Step:
    """Make so many GPU instances of a profile."""
    made: list[int] = []

    def apply() -> None:
        made[:] = mig.create(address, profile.id, count)

    def undo() -> None:
        for each in mig.instances(address):
            if each.id in made:
                mig.destroy(address, each)

    return Step(f"create {count} GPU instances {profile.name} on {called(address)}", apply, undo)


def complete(address: str, instance: Instance) -> Step:
    """Make the compute instance that a GPU instance lacks."""
    return Step(
        f"create the compute instance of {_named(instance)} on {called(address)}",
        partial(mig.complete, address, instance),
        partial(mig.strip, address, instance),
    )


def remove(address: str, instance: Instance) -> Step:
    """Remove a GPU instance with its compute instances; it comes back with one, and an id of the driver's choice."""
    return Step(
        f"remove {_named(instance)} from {called(address)}",
        partial(mig.remove, address, instance),
        lambda: _put_back(address, instance),
    )


def _put_back(address: str, instance: Instance) -> None:
    mig.create(address, instance.profile, 1)


def _named(instance: Instance) -> str:
    return f"GPU instance {instance.id} ({instance.name})"
