# SPDX-License-Identifier: GPL-3.0-or-later
"""chzdev of the s390-tools, which keeps what is set of a mainframe's devices at boot in udev rules of its own.

Follows chzdev(8). A rule that sets a device online at each boot fights with a binding of its subchannel to another
driver. It is chzdev alone that changes it; what it kept is taken from it, and given back, by its own export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import programs
from ..errors import NodedevError
from ..grammar import SUBCHANNEL
from ..store import files
from ..store.documents import Documents, name_of
from ..store.files import DamagedDefinition, Document
from ..text import shown
from ..waiting import anew
from . import chzdev_rules
from .chzdev_rules import TYPE, Rule

NAME = "chzdev"
# Seconds for a run of it, whatever the task has left: it may make the initial RAM disk and the boot record anew, and
# ended in the middle of that it leaves a host that does not boot.
PATIENCE = 300.0
# The site whose settings hold where a site has none of its own, as it stands in a document; the others are 0 to 9.
COMMON = "common"
SITES = (COMMON, *map(str, range(10)))


@dataclass(frozen=True)
class Taken:
    """What chzdev kept of a device, by its own exports by site, before it was taken over from it."""

    device: str
    type: str
    exports: Mapping[str, str]

    @property
    def path(self) -> str:
        return files.document_path(NAME, self.device, files.STORE)

    def document(self) -> Document:
        return {"type": self.type, "exports": dict(self.exports)}


def _decode(path: str, document: Document) -> Taken:
    type, exports = document.get("type"), document.get("exports")
    if not isinstance(type, str) or not TYPE.fullmatch(type) or not isinstance(exports, dict) or not exports:
        raise DamagedDefinition(path, "it has no type of chzdev's, or no exports")
    if not all(site in SITES and isinstance(export, str) for site, export in exports.items()):
        raise DamagedDefinition(path, "an export of chzdev's is not text of a site")
    if not SUBCHANNEL.fullmatch(name_of(path)):
        raise DamagedDefinition(path, "its name is not that of a device")
    return Taken(name_of(path), type, exports)


TAKEN = Documents(NAME, _decode)


def is_installed() -> bool:
    return programs.find(NAME) is not None


def take(rule: Rule) -> None:
    """Have chzdev keep nothing of the device any more at the sites of the rule; what it kept is written down before.

    Raises NodedevError where the device would be set online nevertheless; then it is kept as it was.
    """
    sites = [site or COMMON for site in rule.sites]
    exports = {site: _run("--export", "-", "--persistent", *_at(site), rule.type, rule.device) for site in sites}
    # A run that was killed may have taken others of them.
    former = TAKEN.find(rule.device)
    taken = Taken(rule.device, rule.type, {**(former.exports if former else {}), **exports})
    files.write_document(taken.path, taken.document())
    try:
        _give_up(taken, sites)
    except NodedevError:
        give_back(taken)
        raise


def take_again(taken: Taken) -> None:
    """The same of what was taken and is given back."""
    files.write_document(taken.path, taken.document())
    _give_up(taken, [*taken.exports])


def _give_up(taken: Taken, sites: list[str]) -> None:
    for site in sites:
        _run("--disable", "--persistent", "--yes", *_at(site), taken.type, taken.device)
    for left in chzdev_rules.of([taken.device]).online.get(taken.device, ()):
        raise NodedevError(f"{left.path} sets {taken.device} online at each boot still, although chzdev gave it up")


def give_back(taken: Taken) -> None:
    """Have chzdev keep what it kept of the device before, and nothing else that stands in its export."""
    for site, export in taken.exports.items():
        _run("--import", "-", "--persistent", "--yes", *_at(site), taken.type, taken.device, document=export)
    files.remove(taken.path)


def undo(rule: Rule) -> None:
    """Take take() back."""
    taken = TAKEN.find(rule.device)
    if taken is not None:
        give_back(taken)


def forget(taken: Taken) -> None:
    """Keep nothing of what was taken over."""
    files.remove(taken.path)


def keep(taken: Taken) -> None:
    """Take forget() back."""
    files.write_document(taken.path, taken.document())


def _at(site: str) -> list[str]:
    """The arguments for a site; earlier releases know of none."""
    return [] if site == COMMON else ["--site", site]


def _run(*arguments: str, document: str = "") -> str:
    program = programs.find(NAME)
    if program is None:
        raise NodedevError(f"{NAME} is not installed; it comes with the s390-tools")
    with anew(PATIENCE):
        answer = programs.run([program, *arguments], PATIENCE, document)
    if answer.status != 0:
        said = answer.errors.strip() or answer.output.strip() or f"exit status {answer.status}"
        raise NodedevError(f"{NAME} {' '.join(arguments)}: {shown(said)}")
    return answer.output
