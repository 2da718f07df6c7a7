# SPDX-License-Identifier: GPL-3.0-or-later
"""What is defined of crypto queues for guests: whose they are now, and how they are restored."""

from __future__ import annotations

from typing import Any

from ...grammar import ap_queue
from ...host import ap, binding, matrix
from ...host.oddities import Oddities
from ...resource import Hindrance
from ...store import ap_rules
from ...store.files import DamagedDefinition
from .definition import DOCUMENTS, MASKS, Given, of_rule, words
from .device import Wish


def defined(arrived: str | None) -> tuple[list[Given], list[DamagedDefinition]]:
    """What is kept: chzdev's rule, and our own document."""
    found, damaged = DOCUMENTS.all()
    try:
        ruled = of_rule(ap_rules.find())
    except DamagedDefinition as error:
        return found, [error, *damaged]
    return ([ruled] if ruled else []) + found, damaged


def summary(definition: Given) -> tuple[str, str, bool]:
    """In which way it is kept, what a person calls it; what is defined is there after every boot."""
    return definition.by, f"crypto queues for guests by {definition.by}{words(definition)}", True


def place(definition: Given) -> list[str]:
    """The matrix, whose devices come after it."""
    return [matrix.PARENT]


def concerns(definition: Given, arrived: str) -> bool:
    """Whether this is the bus, or one of the queues."""
    number = ap_queue(arrived)
    return arrived == ap.NAME or (number is not None and definition.has(number))


def may_concern(damage: DamagedDefinition, arrived: str) -> bool:
    """Whether a definition that cannot be understood may be of this: the bus, or any queue."""
    return arrived == ap.NAME or ap_queue(arrived) is not None


def wish(definition: Given) -> Wish:
    return Wish(definition, persistent=False)


def hindrance(definition: Given) -> Hindrance | None:
    if not ap.is_there():
        return Hindrance("this host has no AP bus now", passing=False)
    unready = ap.unready()
    return None if unready is None else Hindrance(unready, passing=True)


def facts(definition: Given) -> dict[str, Any]:
    """What definition_facts says of it: whether its queues are for guests, and which are not."""
    bus = ap.look(Oddities())
    mine = [] if bus is None else [each for number, each in sorted(bus.queues.items()) if definition.has(number)]
    unlike = [each for each in mine if bus is not None and bus.is_hosts(each.number)]
    # Of what is not there a mask speaks all the same, and an override does not.
    masked = definition.by != MASKS or (
        bus is not None and not definition.adapters & bus.adapters and not definition.domains & bus.domains
    )
    return {
        "by": definition.by,
        **definition.document(),
        "autostart": True,
        "active": bus is not None and masked and not unlike,
        "parent_missing": bus is None,
        "drift": [
            {"what": f"queue {ap.name(each.number)}", "defined": ap.VFIO_AP, "running": each.driver or binding.NONE}
            for each in unlike
        ],
    }
