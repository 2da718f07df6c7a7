# SPDX-License-Identifier: GPL-3.0-or-later
"""What mediated devices on the AP matrix need beside those on other parents: crypto queues, which one alone can have.

Follows the kernel's Documentation/arch/s390/vfio-ap.rst. All that it would refuse is found before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ...errors import BadInput, InUse, NodedevError
from ...host import ap, ap_lock, holders, matrix, mdevs, sysfs
from ...host.ap import Bus, Number
from ...host.matrix import Matrix
from ...host.oddities import Oddities
from ...host.processes import Holder
from ...plan import Step
from ...resource import Hindrance
from ...store import mdevctl
from ...store.mdevctl import Attrs, Definition
from . import kernel


@dataclass(frozen=True)
class Queues:
    """The bus, what the device has now, and what others have, by their UUIDs: those that run, and those that start.

    ``changeable`` says that the device takes other queues while it runs.
    """

    bus: Bus | None
    own: Matrix = field(default_factory=Matrix)
    running: Mapping[str, frozenset[Number]] = field(default_factory=dict)
    starting: Mapping[str, frozenset[Number]] = field(default_factory=dict)
    changeable: bool = False

    def having(self, attrs: Attrs | None) -> Queues:
        """The same when the device has these; None for no device."""
        return replace(self, own=Matrix() if attrs is None else matrix.of_attrs(attrs))

    def refuse(self, target: Definition, former: Definition | None, runs: bool, kept: bool) -> None:
        """Raise NodedevError where the kernel would refuse what is wished: numbers, queues of the host or of others.

        ``runs`` says that the device is to run, ``kept`` that the definition is to be kept; ``former`` is the one that
        there is.
        """
        wanted, bus = matrix.of_attrs(target.attrs), self.bus or Bus(frozenset(), frozenset())
        for name, numbers, most in (
            ("assign_adapter", wanted.adapters, bus.max_adapter),
            ("assign_domain", wanted.domains, bus.max_domain),
            ("assign_control_domain", wanted.control_domains, bus.max_domain),
        ):
            beyond = [number for number in sorted(numbers) if number > most]
            if beyond:
                allowed = f"the highest number that this machine has is {most} (0x{most:02x})"
                raise BadInput("attrs", {name: beyond[0]}, allowed)
        added = wanted.queues - self.own.queues
        if runs:
            _refuse_hosts([number for number in added if bus.is_hosts(number)])
            _refuse_taken(added, self.running, "which runs")
        if kept and (target.autostart or target.managed) and target != former:
            _refuse_taken(wanted.queues, self.starting, "which is defined to start")

    def is_outdated(self, target: Definition, former: Definition | None, anew: bool) -> bool:
        """Whether the device runs with other queues than are wished now, or with ``anew`` than it was wished before."""
        is_new = anew or former is None or former.attrs != target.attrs
        return is_new and matrix.of_attrs(target.attrs) != self.own

    def is_begun(self, target: Definition) -> bool:
        """Whether the device has a part of what is wished and nothing else, as a run that was killed leaves it."""
        wanted = matrix.of_attrs(target.attrs)
        return self.own != wanted and self.own.is_within(wanted)

    def change(self, target: Definition, held_by: Sequence[Holder], force: bool, seconds: float) -> list[Step]:
        """The step that gives a device that runs other queues; raises InUse where a guest would lose some."""
        wanted = matrix.of_attrs(target.attrs)
        lost = self.own.queues - wanted.queues
        if lost and held_by and not force:
            raise InUse(
                f"mdev {target.uuid} is in use by {holders.named(held_by)}, who would lose the queues {ap.named(lost)}:"
                " stop that first, or set force: true to take them away all the same",
                [holder.document(uuid=target.uuid) for holder in held_by],
            )
        described = f"change mdev {target.uuid} while it runs, to the queues {ap.named(wanted.queues) or 'none'}"
        return [
            Step(described, partial(_set, target.uuid, wanted, seconds), partial(_set, target.uuid, self.own, seconds))
        ]

    def locked(self, steps: Sequence[Step], seconds: float) -> list[Step]:
        """The same steps, each under the lock of the s390-tools."""

        def under_lock(step: Step) -> None:
            with ap_lock.held(seconds):
                step.apply()

        return [replace(step, apply=partial(under_lock, step)) for step in steps]

    def warnings(self, target: Definition) -> tuple[str, ...]:
        """That a guest will not get all queues of the device, since vfio_ap has not got them."""
        queues = (self.bus or Bus()).queues
        lacking = [
            each
            for each in sorted(matrix.of_attrs(target.attrs).queues)
            if each not in queues or queues[each].driver != ap.VFIO_AP
        ]
        adapters = ap.listed({adapter for adapter, _domain in lacking})
        told = (
            f"vfio_ap has not got the queues {ap.named(lacking)}, so that the guest of mdev {target.uuid} gets none of"
            f" the adapters {adapters} until it has"
        )
        return (told,) if lacking else ()


def look(uuid: str, oddities: Oddities) -> Queues:
    """The queues that a device of this UUID may have."""
    running = matrix.running()
    definitions, _damaged = mdevctl.all_defined(matrix.PARENT)
    starting = {each.uuid: matrix.attrs_of(each.attrs) for each in definitions if each.autostart or each.managed}
    return Queues(
        ap.look(oddities),
        running.get(uuid, Matrix()),
        {other: each.queues for other, each in running.items() if other != uuid},
        {other: each.queues for other, each in starting.items() if other != uuid and each is not None},
        matrix.can_change(uuid),
    )


def _refuse_hosts(numbers: Collection[Number]) -> None:
    if not numbers:
        return
    adapters = ", ".join(str(each) for each in sorted({adapter for adapter, _domain in numbers}))
    raise NodedevError(
        f"the queues {ap.named(numbers)} are the host's, so that no guest can have them: give them to guests first, as"
        f" by hostdev.nodedev.ap_mask with adapters: [{adapters}]"
    )


def _refuse_taken(wanted: frozenset[Number], others: Mapping[str, frozenset[Number]], how: str) -> None:
    for uuid, numbers in others.items():
        if wanted & numbers:
            raise NodedevError(
                f"mdev {uuid}, {how}, has the queues {ap.named(wanted & numbers)}, which one device alone can have:"
                " choose others, or change that device first"
            )


def _set(uuid: str, wanted: Matrix, seconds: float) -> None:
    """Write all of it at once, and read it back."""
    with ap_lock.held(seconds):
        sysfs.write(f"{mdevs.BUS}/{uuid}/{matrix.CONFIG}", wanted.config(), seconds, kernel.ATTRIBUTE_MEANINGS)
    found = matrix.of_device(uuid)
    if found != wanted:
        raise NodedevError(f"mdev {uuid} has the queues {ap.named(found.queues) or 'none'} after that")


# Definitions.


def hindrance() -> Hindrance | None:
    """That the AP bus is not through with its queues, which the device would not get."""
    unready = ap.unready()
    return None if unready is None else Hindrance(unready, passing=True)


def drift(definition: Definition) -> Iterator[dict[str, str]]:
    """What of the queues of a device that runs is unlike its definition."""
    wanted = matrix.attrs_of(definition.attrs)
    if wanted is None:
        return
    running = matrix.of_device(definition.uuid)
    if running != wanted:
        yield {"what": "queues", "defined": ap.named(wanted.queues), "running": ap.named(running.queues)}
