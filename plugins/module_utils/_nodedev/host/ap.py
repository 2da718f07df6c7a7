# SPDX-License-Identifier: GPL-3.0-or-later
"""The AP bus of a mainframe: crypto adapters, their queues, and which of these are the host's or for guests.

Follows the kernel's Documentation/arch/s390/vfio-ap.rst. A queue is one usage domain of one adapter. It is the host's
where its adapter is in apmask and its domain in aqmask; from Linux 6.19 an override of its own says so instead. The
kernel takes neither while the other is in use.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import NodedevError
from ..grammar import AP_BITS, ap_numbers, ap_parameter, ap_queue
from ..text import shown
from . import binding, nodes, processes, sysfs
from .binding import Target
from .numbers import integer
from .oddities import Oddities
from .processes import Holder

NAME = "ap"
BUS = "/sys/bus/ap"
VFIO_AP = "vfio_ap"
# Of the masks of the bus, by what they have.
MASKS = {"adapters": "apmask", "domains": "aqmask"}
CMDLINE = "/proc/cmdline"
PARAMETER = re.compile(r"""(?:^|\s)"?ap\.(apmask|aqmask)=("[^"]*"|\S*)""")
# The oldest hardware that vfio_ap takes, CEX4.
OLDEST = 10
# What tells of a queue how many requests it has to do.
WORK = ("load", "requestq_count", "pendingq_count")
EVERY = frozenset(range(AP_BITS))
# By what programs of the host reach all its queues.
NODE, NODES = "z90crypt", "/sys/class/zcrypt"

Number = tuple[int, int]


@dataclass(frozen=True)
class Card:
    """A crypto adapter; ``hwtype`` is 13 for a CEX7, None where it is not told."""

    adapter: int
    type: str | None = None
    hwtype: int | None = None
    online: bool | None = None

    @property
    def takes_vfio(self) -> bool:
        """Whether vfio_ap can have its queues."""
        return self.hwtype is None or self.hwtype >= OLDEST


@dataclass(frozen=True)
class Queue:
    """A queue; ``driver`` and ``override`` are as they are now, ``work`` the requests that it has to do."""

    number: Number
    path: str = ""
    driver: str | None = None
    override: str | None = None
    online: bool | None = None
    work: int = 0

    @property
    def target(self) -> Target:
        """It as what can be bound."""
        return Target(NAME, name(self.number), self.path)


@dataclass(frozen=True)
class Bus:
    """The bus: which adapters and domains its masks leave to the host, now and as the kernel has begun with them.

    ``overridable`` says that queues have overrides.
    """

    adapters: frozenset[int] = EVERY
    domains: frozenset[int] = EVERY
    first_adapters: frozenset[int] = EVERY
    first_domains: frozenset[int] = EVERY
    cards: Mapping[int, Card] = field(default_factory=dict)
    queues: Mapping[Number, Queue] = field(default_factory=dict)
    max_adapter: int = AP_BITS - 1
    max_domain: int = AP_BITS - 1
    overridable: bool = False

    @property
    def is_masked(self) -> bool:
        """Whether the masks leave anything to guests."""
        return (self.adapters, self.domains) != (EVERY, EVERY)

    def is_hosts(self, number: Number) -> bool:
        """Whether the host's drivers alone may have a queue, be it there or not."""
        queue = self.queues.get(number)
        if queue is not None and queue.override is not None:
            return queue.override != VFIO_AP
        return number[0] in self.adapters and number[1] in self.domains


def name(number: Number) -> str:
    """The kernel's name of a queue, 05.0047."""
    return f"{number[0]:02x}.{number[1]:04x}"


def named(numbers: Iterable[Number]) -> str:
    """Queues by their names, in order."""
    return ", ".join(map(name, sorted(numbers)))


def listed(numbers: Iterable[int]) -> str:
    """Adapters or domains as a person reads them, in both ways of writing: 5 (0x05)."""
    return ", ".join(f"{number} (0x{number:02x})" for number in sorted(numbers))


def is_there() -> bool:
    return sysfs.exists(f"{BUS}/apmask")


def look(oddities: Oddities) -> Bus | None:
    """The bus as it is; None where the host has none. What makes no sense of a device is told in ``oddities``."""
    if not is_there():
        return None
    cards: dict[int, Card] = {}
    queues: dict[Number, Queue] = {}
    for path in sorted(sysfs.linked(f"{BUS}/devices")):
        entry = path.rpartition("/")[2]
        number = ap_queue(entry)
        if number is not None:
            queues[number] = _queue(number, path, oddities)
        elif re.fullmatch(r"card[0-9a-f]{2}", entry):
            adapter = int(entry[4:], 16)
            online = oddities.text(f"{path}/online")
            hwtype = oddities.number(f"{path}/hwtype")
            cards[adapter] = Card(
                adapter, oddities.text(f"{path}/type"), hwtype, None if online is None else online == "1"
            )
    first = _first(oddities)
    return Bus(
        adapters=_mask("apmask"),
        domains=_mask("aqmask"),
        first_adapters=first.get("apmask", EVERY),
        first_domains=first.get("aqmask", EVERY),
        cards=cards,
        queues=queues,
        max_adapter=_highest("ap_max_adapter_id", oddities),
        max_domain=_highest("ap_max_domain_id", oddities),
        overridable=any(sysfs.exists(f"{each.path}/driver_override") for each in queues.values()),
    )


def _mask(file: str) -> frozenset[int]:
    text = sysfs.read(f"{BUS}/{file}") or ""
    numbers = ap_numbers(text)
    if numbers is None:
        raise NodedevError(f"{BUS}/{file} is '{shown(text)}', which is not a mask")
    return numbers


def _first(oddities: Oddities) -> dict[str, frozenset[int]]:
    """The masks of the kernel's command line; of what it refuses it makes one that leaves the host nothing."""
    text = (sysfs.whole(CMDLINE, 1 << 16) or b"").decode("utf-8", "replace")
    found = {}
    for mask, value in dict(PARAMETER.findall(text)).items():
        numbers = ap_parameter(value.strip('"'))
        if numbers is None:
            oddities.add(
                f"ap.{mask}= on the kernel's command line is '{shown(value)}', which it takes for an empty mask"
            )
        found[mask] = numbers or frozenset()
    return found


def _highest(file: str, oddities: Oddities) -> int:
    number = oddities.number(f"{BUS}/{file}")
    return AP_BITS - 1 if number is None else number


def _queue(number: Number, path: str, oddities: Oddities) -> Queue:
    work = [integer(oddities.text(f"{path}/{file}") or "", 10) or 0 for file in WORK]
    online = oddities.text(f"{path}/online")
    return Queue(
        number,
        path,
        driver=sysfs.link_name(f"{path}/driver"),
        override=sysfs.read(f"{path}/driver_override") or None,
        online=None if online is None else online == "1",
        work=max(work),
    )


def unready() -> str | None:
    """Why it is too early to say whose queues are; None once all those of the host have had their drivers at boot.

    From Linux 6.19 the bus counts how often that was so. Before, it sends the same event and keeps no trace of it, but
    ``bindings`` tells how many queues have one; a queue that is for guests may wait for vfio_ap, so those do not count.
    """
    count = sysfs.read(f"{BUS}/bindings_complete_count")
    if not is_there() or (count is not None and count != "0"):
        return None
    told = sysfs.read(f"{BUS}/bindings") or ""
    if count is None and "complete" not in told:
        bus = look(Oddities())
        unbound = [] if bus is None else [each.number for each in bus.queues.values() if _lacks_driver(bus, each)]
        if bus is not None and bus.queues and not unbound:
            return None
    elif count is None:
        return None
    return f"the AP bus has not found a driver for all queues yet ({BUS}/bindings: {told or 'unknown'})"


def _lacks_driver(bus: Bus, queue: Queue) -> bool:
    return queue.driver is None and bus.is_hosts(queue.number)


def users() -> tuple[Holder, ...]:
    """The programs that have the host's crypto queues open, whichever of them it is that serves them, or may have."""
    places = {f"/dev/{NODE}": f"/sys/class/misc/{NODE}"}
    places.update({f"/dev/{each}": f"{NODES}/{each}" for each in sysfs.names(NODES)})
    wanted = {
        identity: node
        for node, folder in places.items()
        for identity in nodes.of_device(node[len("/dev/") :], stat.S_IFCHR, folder)
    }
    if not wanted:
        return ()
    seen = processes.opened(wanted)
    return (*map(processes.holder, seen.opened), *seen.possible([f"/dev/{NODE}"]))


def is_loaded() -> bool:
    return binding.is_loaded(NAME, VFIO_AP)


def unbound(numbers: Iterable[Number]) -> list[Number]:
    """Those of the queues that are there and that vfio_ap has not got."""
    found = [number for number in numbers if sysfs.exists(f"{BUS}/devices/{name(number)}")]
    return [each for each in found if sysfs.link_name(f"{BUS}/devices/{name(each)}/driver") != VFIO_AP]
