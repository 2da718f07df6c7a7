# SPDX-License-Identifier: GPL-3.0-or-later
"""The controllers of an NVMe card's virtual functions, which need queues and interrupts to be of use; by nvme-cli.

Each virtual function has a secondary controller. It is taken offline, given of the card's flexible resources, and
brought online when its function is there (NVM Express Base Specification, Virtualization Management).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import programs
from ..errors import NodedevError
from ..store import files
from ..text import is_number, shown
from . import pci, sysfs

CLASS = "0x0108"
# What virt-mgmt does, and of what.
PRIMARY, OFFLINE, ASSIGN, ONLINE = "1", "7", "8", "9"
QUEUES, INTERRUPTS = "0", "1"
# A controller has a queue for its administration, and one for data at least.
LEAST_QUEUES, LEAST_INTERRUPTS = 2, 1
# Seconds for one command, which the card's firmware carries out.
PATIENCE = 30.0
MISSING = "nvme-cli is not installed, which brings its controller online"


@dataclass(frozen=True)
class Secondary:
    """The controller of a virtual function, by the number of that, which counts from 1."""

    number: int
    id: int
    online: bool
    queues: int
    interrupts: int


@dataclass(frozen=True)
class Room:
    """What there is of a resource: in all, at most for one function, in portions of ``step``, with the primary one."""

    total: int
    most: int
    step: int
    primary: int

    def share(self, count: int) -> int:
        """How much each of so many gets."""
        even = min(self.total // count, self.most or self.total)
        return even - even % max(self.step, 1)


def is_for(function: pci.Function) -> bool:
    """Whether a function is an NVMe controller."""
    return function.kind.startswith(CLASS)


def node_of(function: pci.Function) -> str | None:
    """The node of a physical function's controller; None where it has none."""
    name = next(iter(sysfs.names(f"{function.path}/nvme")), None)
    return None if name is None else f"/dev/{name}"


def is_installed() -> bool:
    return programs.find("nvme") is not None


def secondaries(node: str) -> tuple[Secondary, ...]:
    """All secondary controllers by the number of their function; raises NodedevError."""
    return parsed(_asked("list-secondary", node, "--output-format=json"))


def parsed(text: str) -> tuple[Secondary, ...]:
    """The same of what nvme-cli prints; NodedevError for what is none of its JSON."""
    listed = _json(text).get("secondary-controllers")
    if not isinstance(listed, list):
        raise NodedevError("nvme list-secondary has printed what is not understood")
    found = [
        Secondary(
            _value(each, "virtual-function-number"),
            _value(each, "secondary-controller-identifier"),
            _value(each, "secondary-controller-state") & 1 == 1,
            _value(each, "num-virtual-queues"),
            _value(each, "num-virtual-interrupts"),
        )
        for each in listed
    ]
    return tuple(sorted((each for each in found if each.number), key=lambda each: each.number))


def rooms(text: str) -> tuple[int, Room, Room]:
    """The id of the primary controller, its queues and its interrupts, in what nvme primary-ctrl-caps prints."""
    caps = _json(text)
    queues, interrupts = (
        Room(*(_value(caps, f"{kind}{what}") for what in ("frt", "frsm", "gran", "rfap"))) for kind in ("vq", "vi")
    )
    return _value(caps, "cntlid"), queues, interrupts


def prepare(function: pci.Function, node: str, count: int, seconds: float) -> None:
    """Take the controllers of the first so many functions offline, and give each its share; raises NodedevError."""
    primary, queues, interrupts = rooms(_asked("primary-ctrl-caps", node, "--output-format=json"))
    for each in _first(node, count):
        _manage(node, each.id, OFFLINE)
    if any(room.total - room.primary < room.share(count) * count for room in (queues, interrupts)):
        _make_room(function, node, primary, seconds)
    for each in _first(node, count):
        _manage(node, each.id, ASSIGN, QUEUES, queues.share(count))
        _manage(node, each.id, ASSIGN, INTERRUPTS, interrupts.share(count))


def _make_room(function: pci.Function, node: str, primary: int, seconds: float) -> None:
    """Have the primary controller give up what it has beyond its own, which it does when the function is reset.

    The kernel's driver holds its requests back meanwhile.
    """
    for resource in (QUEUES, INTERRUPTS):
        _manage(node, primary, PRIMARY, resource, 0)
    sysfs.write(f"{function.path}/reset", "1\n", seconds)


def bring_online(node: str, count: int) -> None:
    """Bring the controllers of the first so many functions online; raises NodedevError."""
    for each in _first(node, count):
        if not each.online:
            _manage(node, each.id, ONLINE)


def take_offline(node: str, count: int) -> None:
    for each in _first(node, count):
        if each.online:
            _manage(node, each.id, OFFLINE)


def why_unusable(found: Sequence[Secondary], index: int) -> str | None:
    """Why the function of this index cannot be used; None where it can."""
    each = next((each for each in found if each.number == index + 1), None)
    if each is None:
        return "the card lists no secondary controller for it"
    if not each.online:
        return f"its controller is offline, with {each.queues} queues and {each.interrupts} interrupts"
    if each.queues < LEAST_QUEUES or each.interrupts < LEAST_INTERRUPTS:
        return f"its controller has {each.queues} queues and {each.interrupts} interrupts only"
    return None


def _first(node: str, count: int) -> list[Secondary]:
    found = [each for each in secondaries(node) if each.number <= count]
    if len(found) < count:
        raise NodedevError(f"{node} has {len(found)} secondary controllers for {count} virtual functions")
    return found


def _manage(node: str, controller: int, action: str, resource: str = QUEUES, amount: int = 0) -> None:
    _asked("virt-mgmt", node, f"--cntlid={controller}", f"--rt={resource}", f"--act={action}", f"--nr={amount}")


def _asked(*arguments: str) -> str:
    tool = programs.find("nvme")
    if tool is None:
        raise NodedevError(MISSING)
    answer = programs.run([tool, *arguments], PATIENCE)
    if answer.status != 0:
        said = shown((answer.errors.strip() or answer.output.strip()) or f"exit status {answer.status}")
        raise NodedevError(f"nvme {shown(' '.join(arguments))} has failed: {said}")
    return answer.output


def _json(text: str) -> dict[str, Any]:
    try:
        found = files.json_value(text)
    except ValueError as error:
        raise NodedevError(f"nvme has printed what is not understood: {shown(error)}") from error
    return found if isinstance(found, dict) else {}


def _value(entry: object, key: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int) or not is_number(value):
        raise NodedevError(f"nvme has printed no number for {key}")
    return value
