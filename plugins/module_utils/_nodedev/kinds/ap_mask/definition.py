# SPDX-License-Identifier: GPL-3.0-or-later
"""What is for guests of the crypto queues, as it is kept for boots: in chzdev's rule, or in a document of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import BadInput
from ...grammar import checked_ap_numbers, checked_ap_queues
from ...host import ap
from ...host.ap import Number
from ...store import ap_rules
from ...store.ap_rules import Rule
from ...store.documents import Documents, name_of
from ...store.files import DamagedDefinition, Document

KIND = "ap_mask"
# In what way queues are given to guests, which is the id of the definition too.
MASKS, OVERRIDES = "masks", "overrides"


@dataclass(frozen=True)
class Given:
    """What is for guests: all queues of these adapters, all of these domains, and these queues."""

    adapters: frozenset[int] = frozenset()
    domains: frozenset[int] = frozenset()
    queues: frozenset[Number] = frozenset()
    by: str = field(default=OVERRIDES, compare=False)

    @classmethod
    def checked(
        cls,
        adapters: Sequence[object] | None = None,
        domains: Sequence[object] | None = None,
        queues: Sequence[object] | None = None,
    ) -> Given:
        """What is named so; raises BadInput naming the option that does not fit its grammar."""
        return cls(
            checked_ap_numbers("adapters", adapters or ()),
            checked_ap_numbers("domains", domains or ()),
            checked_ap_queues("queues", queues or ()),
        )

    @property
    def path(self) -> str:
        return ap_rules.PATH if self.by == MASKS else DOCUMENTS.paths(OVERRIDES)[0]

    def has(self, number: Number) -> bool:
        """Whether a queue is among it."""
        return number[0] in self.adapters or number[1] in self.domains or number in self.queues

    def __bool__(self) -> bool:
        return bool(self.adapters or self.domains or self.queues)

    def __or__(self, other: Given) -> Given:
        return Given(self.adapters | other.adapters, self.domains | other.domains, self.queues | other.queues, self.by)

    def __sub__(self, other: Given) -> Given:
        return Given(self.adapters - other.adapters, self.domains - other.domains, self.queues - other.queues, self.by)

    def document(self) -> Document:
        return {
            "adapters": sorted(self.adapters),
            "domains": sorted(self.domains),
            "queues": [ap.name(number) for number in sorted(self.queues)],
        }


def of_rule(rule: Rule | None) -> Given:
    if rule is None:
        return Given(by=MASKS)
    adapters = ap.EVERY if rule.adapters is None else rule.adapters
    domains = ap.EVERY if rule.domains is None else rule.domains
    return Given(ap.EVERY - adapters, ap.EVERY - domains, by=MASKS)


def words(given: Given) -> str:
    """What is for guests, as it stands at the end of a step."""
    parts = []
    if given.adapters:
        parts.append(f", adapters {ap.listed(given.adapters)}")
    if given.domains:
        parts.append(f", domains {ap.listed(given.domains)}")
    if given.queues:
        parts.append(f", queues {ap.named(given.queues)}")
    return "".join(parts)


def decode(path: str, document: Document) -> Given:
    values = [document.get(option) for option in ("adapters", "domains", "queues")]
    if name_of(path) != OVERRIDES or not all(isinstance(each, list) for each in values):
        raise DamagedDefinition(path, "it has no lists of adapters, domains and queues")
    try:
        given = Given.checked(*values)
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if not given:
        raise DamagedDefinition(path, "it has no adapters, domains or queues")
    return given


DOCUMENTS = Documents(KIND, decode)
