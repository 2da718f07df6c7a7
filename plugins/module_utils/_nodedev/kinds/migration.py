# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of mediated devices that becomes one of functions, by the type's name; what is defined of it goes first.

Its record is written over at once, so that it is known as the one or as the other wherever a run is killed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NodedevError
from ..host import pci, vgpus
from ..plan import Step
from ..pools import record
from ..pools.record import Record
from ..resource import Plan
from .mdev import pool as mdevs
from .mdev import pool_seen as mdev_seen
from .mdev import pool_wish as mdev_wish
from .vgpu import pool as functions
from .vgpu import pool_seen as function_seen
from .vgpu import pool_wish as function_wish

SUBSYSTEM, PEER = functions.SUBSYSTEM, functions.PEER


@dataclass(frozen=True)
class Moved:
    """The wish for a pool of functions in the place of one of mediated devices, which are to go."""

    wish: function_wish.Wish
    mdevs: mdev_wish.Wish

    @property
    def wait_timeout(self) -> float:
        return self.wish.wait_timeout


@dataclass(frozen=True)
class Both:
    """What there is of the pool as mediated devices, and as functions."""

    mdevs: mdev_seen.Observation
    functions: function_seen.Observation


def moved(wish: function_wish.Wish) -> Moved:
    """The wish for a pool of functions as one that takes the place of the pool of mediated devices of its name."""
    return Moved(wish, mdev_wish.Wish(wish.name, state="absent"))


def locks(wish: Moved, seen: Both | None = None) -> set[str]:
    """Those of both."""
    if seen is None:
        return mdevs.locks(wish.mdevs) | {pci.card_of(each) for each in vgpus.addresses()}
    return mdevs.locks(wish.mdevs, seen.mdevs) | functions.locks(wish.wish, seen.functions)


def observe(wish: Moved) -> Both:
    """What there is of both; the functions are looked at as for a new pool of the same size and type."""
    seen = mdevs.observe(wish.mdevs)
    return Both(seen, function_seen.observe(_carried(wish, seen.record), is_new=True))


def plan(wish: Moved, seen: Both, ceilings: Mapping[str, int]) -> Plan[Both]:
    """The steps that undefine the one and make the other."""
    gone = mdevs.plan(wish.mdevs, seen.mdevs)
    made = functions.plan(_carried(wish, seen.mdevs.record), seen.functions, ceilings)
    steps = (*_carrying(seen.mdevs.record, gone.steps), *made.steps)
    warnings = (*gone.warnings, *made.warnings)
    return Plan(steps, Both(gone.then, made.then), made.creates, made.cards, warnings, made.also)


def look_again(wish: Moved, before: Both, planned: Plan[Both]) -> Both:
    """What is there when all steps have been taken."""
    return Both(planned.then.mdevs, functions.look_again(wish.wish, before.functions, _of_functions(planned)))


def events(planned: Plan[Both], after: Both) -> Collection[str]:
    """None: the functions were there before."""
    return ()


def state(seen: Both) -> dict[str, Any]:
    """What runs and what is kept of either."""
    both = (mdevs.state(seen.mdevs), functions.state(seen.functions))
    return {part: {id: each for found in both for id, each in found[part].items()} for part in ("runtime", "boot")}


def starts(seen: Both) -> bool:
    """Whether an instance is defined and starts by itself."""
    return functions.starts(seen.functions)


def comes_with_guest(seen: Both) -> bool:
    """Whether an instance is defined as managed."""
    return functions.comes_with_guest(seen.functions)


def clear_up(wish: Moved, seen: Both) -> bool:
    """Remove what killed runs have left of writing what is defined."""
    return mdevs.clear_up(wish.mdevs, seen.mdevs)


def described(wish: Moved, before: Both, planned: Plan[Both], after: Both) -> dict[str, Any]:
    """The instances afterwards, and what the cards have room for."""
    return functions.described(wish.wish, before.functions, _of_functions(planned), after.functions)


def _of_functions(planned: Plan[Both]) -> Plan[function_seen.Observation]:
    then = planned.then.functions
    return Plan(planned.steps, then, planned.creates, planned.cards, planned.warnings, planned.also)


def _carried(wish: Moved, former: Record | None) -> function_wish.Wish:
    if former is None:
        raise NodedevError(f"pool {wish.wish.name} is gone: somebody has removed it meanwhile")
    was = mdev_wish.kept(former)
    new = wish.wish
    params = next((value.strip() for name, value in was.attrs or () if name == vgpus.PARAMS), None)
    common = replace(
        new,
        params=params if new.params is None else new.params,
        managed=was.managed if new.managed is None else new.managed,
        parents=was.parents if new.parents is None else new.parents,
    )
    if new.types is not None or was.types is not None:
        return common.as_mix(was.types)
    size = was.count if was.count is not None else len(was.uuids or ())
    return replace(
        common,
        type=was.type if new.type is None else new.type,
        count=size if new.count is None else new.count,
        placement=was.placement if new.placement is None else new.placement,
    )


def _carrying(former: Record | None, steps: Sequence[Step]) -> list[Step]:
    """The steps that remove a pool of mediated devices, but for its record, which the other one takes the place of.

    The first step has it put back where the others are undone.
    """
    if former is None:
        return [*steps]
    what = f"carry pool {former.name} over from mediated devices to virtual functions"
    carry = record.RECORDS.change(what, former.name, former, former)
    forget = record.forget(former).description
    return [carry, *(step for step in steps if step.description != forget)]
