# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of vGPUs, made as the host makes them: as mediated devices, or of virtual functions.

Which of the two is seen by what is there: the registered parents of mediated devices, and functions with the files of
vGPUs. What a card claims to be capable of does not tell. Both give one result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import resource
from ..errors import BadInput, NodedevError
from ..host import mdev_parents, pci, vgpu_types, vgpus
from ..names import device_name
from ..plan import Step
from ..pools import mixes, record, selector
from ..pools.mix import Mix
from ..pools.pool import members_of
from ..pools.record import Record
from ..pools.selector import Selector
from ..resource import Plan
from .mdev import pool as mdevs
from .mdev import pool_seen as mdev_seen
from .mdev import pool_wish as mdev_wish
from .mdev.pool_mix import Cards
from .vgpu import pool as functions
from .vgpu import pool_seen as function_seen
from .vgpu import pool_wish as function_wish
from .vgpu.definition import KIND

AUTO, MDEV, VFIO = BACKENDS = ("auto", "mdev", "vfio")
# By the back end, the kind of its devices, as records of pools have it.
KINDS = {MDEV: mdev_wish.KIND, VFIO: KIND}
# What mediated devices have the parameters in.
PARAMS = vgpus.PARAMS
MdevPlan = Plan[mdev_seen.Observation]


def ensure(
    backend: str,
    migrate: bool,
    params: str | None,
    check_mode: bool,
    types: Mapping[str, int] | None = None,
    in_use: str = mixes.REFUSE,
    mig: str = function_wish.KEEP,
    **options: Any,
) -> dict[str, Any]:
    """Make the pool as wished by the back end that the host has; the result in Ansible's shape, alike for both."""
    # Of functions nothing follows from who the host is.
    checked = function_wish.Wish.checked(params=params, types=types, in_use=in_use, **options)
    wish = replace(checked, identity=None, mig=mig)
    former = _kind_of(wish.name)
    chosen = wish.parents or Selector()
    there = _there(chosen)
    is_known = former in {KINDS[each] for each in there}
    if wish.state == "present" and not is_known and selector.await_functions(chosen, wish.wait_timeout):
        there = _there(chosen)
    made_of = _made_of(backend, former, there, wish)
    of_mdevs = MDEV in (made_of, next((name for name in KINDS if KINDS[name] == former), None))
    if mig == function_wish.DERIVE and (wish.state == "present" or not of_mdevs):
        if of_mdevs:
            raise BadInput(
                "mig",
                mig,
                f"pool {wish.name} is one of mediated devices: make their GPU instances first, by hostdev.nodedev.mig"
                " with types",
            )
        # Who wants no GPU instances does not wait for the import.
        from . import derived

        return resource.ensure(derived, wish, check_mode)
    if made_of == MDEV:
        return resource.ensure(MdevPool, _mdev_wish(wish, options), check_mode)
    if former != KINDS[MDEV]:
        return resource.ensure(functions, wish, check_mode)
    _refuse_unasked(wish, migrate)
    return resource.ensure(Migration, Moved(wish, _last_mdevs(wish.name)), check_mode)


def _kind_of(name: str) -> str | None:
    for path in record.RECORDS.paths(name):
        found = record.kind_said(path)
        if isinstance(found, str):
            return found
    return None


def _there(chosen: Selector) -> set[str]:
    """The back ends of which there are parents; where there are both, those whose parents a selector takes, if any."""
    devices = {MDEV: mdev_parents.paths(), VFIO: pci.paths(vgpus.addresses())}
    there = {name for name, every in devices.items() if every}
    taken = {name for name in there if selector.takes(chosen, devices[name])} if len(there) > 1 else set()
    return taken or there


def _made_of(backend: str, former: str | None, there: Collection[str], wish: function_wish.Wish) -> str:
    recorded = next((name for name, kind in KINDS.items() if kind == former), None)
    if former is not None and recorded is None:
        record.refuse_other_kind(wish.name, former, KIND)
    if wish.state == "absent" and recorded is not None:
        return recorded
    if backend != AUTO:
        return backend
    if wish.state == "absent":
        # Of a pool whose record is lost, mediated devices are known by their UUIDs all the same.
        return MDEV if MDEV in there else VFIO
    if recorded is not None and (recorded in there or not there):
        return recorded
    if len(there) > 1:
        listed = ", ".join(sorted(there))
        raise BadInput("backend", AUTO, f"this host makes vGPUs in both ways, choose parents, or one of: {listed}")
    # Where there is neither, that is told as of functions, with what is there instead.
    return next(iter(there), recorded or VFIO)


def _refuse_unasked(wish: function_wish.Wish, migrate: bool) -> None:
    """Raise BadInput where a pool of mediated devices would become one of functions, and nobody has said so."""
    if not migrate:
        raise BadInput(
            "migrate",
            False,
            f"pool {wish.name} is of mediated devices, and this host makes vGPUs of virtual functions now, as after an"
            " upgrade of its kernel or driver: with migrate: true it is carried over by its type, and its definitions"
            " of mediated devices are removed",
        )


def _mdev_wish(wish: function_wish.Wish, options: Mapping[str, Any]) -> mdev_wish.Wish:
    attrs = None if wish.params is None else [{PARAMS: wish.params}] if wish.params else []
    type = None if wish.type is None else _mdev_type(wish.type)
    more = {"type": type, "attrs": attrs, "types": wish.types, "in_use": wish.in_use}
    return mdev_wish.Wish.checked(**{**options, **more})


def _mdev_type(wanted: str) -> str:
    """The type as mediated devices have it, by its id or name: the last word of a name, or its number, is enough."""
    number = vgpu_types.number(wanted)
    for address in mdev_parents.addresses():
        path = mdev_parents.path_of(address)
        for id, title in mdev_parents.titles(path).items() if path else ():
            if wanted in (id, title) or (title is not None and wanted == vgpu_types.short(title)):
                return id if wanted == id else title or id
            if number is not None and vgpu_types.number(id) == number:
                return id
    return wanted


def _last_mdevs(name: str) -> mdev_wish.Wish:
    return mdev_wish.Wish(name, state="absent")


class MdevPool:
    """A pool of mediated devices, told of as one of vGPUs."""

    SUBSYSTEM, PEER = mdevs.SUBSYSTEM, mdevs.PEER
    locks = staticmethod(mdevs.locks)
    observe = staticmethod(mdevs.observe)
    plan = staticmethod(mdevs.plan)
    look_again = staticmethod(mdevs.look_again)
    state = staticmethod(mdevs.state)
    starts = staticmethod(mdevs.starts)
    clear_up = staticmethod(mdevs.clear_up)
    comes_with_guest = staticmethod(mdevs.comes_with_guest)

    @staticmethod
    def described(
        wish: mdev_wish.Wish, before: mdev_seen.Observation, planned: MdevPlan, after: mdev_seen.Observation
    ) -> dict[str, Any]:
        """The instances afterwards, and what the cards have room for."""
        found = mdevs.described(wish, before, planned, after)
        titles = _titles(after)
        instances = [_instance(each, titles) for each in found["instances"]]
        filled = wish.filled(before.record)
        mix = None if filled.types is None else Mix(Cards(filled, after))
        waiting: dict[str, Any] = {"go": [], "come": {}} if mix is None else mix.waiting()
        warnings = [*found["warnings"], *mixes.told(wish.name, waiting)]
        return {"instances": instances, "capacity": _capacity(after, mix), "waiting": waiting, "warnings": warnings}


def _titles(seen: mdev_seen.Observation) -> dict[str, str | None]:
    paths = {parent.type: mdev_parents.path_of(parent.address) for parent in seen.choice.parents}
    return {type: mdev_parents.title(path, type) for type, path in paths.items() if path is not None}


def _instance(told: Mapping[str, Any], titles: Mapping[str, str | None]) -> dict[str, Any]:
    type = told["type"]
    types = {"type": titles.get(type) if type else None, "type_id": vgpu_types.number(type) if type else None}
    return {**told, **types, "address": None}


def _capacity(seen: mdev_seen.Observation, mix: Mix[Cards] | None) -> dict[str, dict[str, Any]]:
    """By card: how many more of the type fit, or of each, and how many vGPUs the pool and others have there."""
    own = {member.id for member in members_of(seen)}
    found: dict[str, dict[str, Any]] = {}
    for card in dict.fromkeys(parent.card for parent in seen.choice.parents):
        parents = [parent for parent in seen.choice.parents if parent.card == card]
        there = [each for each in seen.active.values() if mdev_parents.card_of(each.parent) == card]
        mine = sum(each.uuid in own for each in there)
        if mix is not None:
            counted = {"free": None, "pool": mine, "others": len(there) - mine}
            found[mix.cards.name(card)] = {**counted, "types": mix.free(card)}
            continue
        free = sum(parent.free for parent in parents)
        most = parents[0].most
        same = sum(each.type == parents[0].type for each in there)
        left = free if most is None else min(free, max(most - same, 0))
        path = mdev_parents.path_of(parents[0].address)
        name = mdev_parents.name_of(path) if path and parents[0].address == card else device_name("pci", card)
        found[name] = {"free": left, "pool": mine, "others": len(there) - mine}
    return found


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


class Migration:
    """A pool of mediated devices that becomes one of functions, by the type's name; what is defined of it goes first.

    Its record is written over at once, so that it is known as the one or as the other wherever a run is killed.
    """

    SUBSYSTEM, PEER = functions.SUBSYSTEM, functions.PEER

    @staticmethod
    def locks(wish: Moved, seen: Both | None = None) -> set[str]:
        """Those of both."""
        if seen is None:
            return mdevs.locks(wish.mdevs) | {pci.card_of(each) for each in vgpus.addresses()}
        return mdevs.locks(wish.mdevs, seen.mdevs) | functions.locks(wish.wish, seen.functions)

    @staticmethod
    def observe(wish: Moved) -> Both:
        """What there is of both; the functions are looked at as for a new pool of the same size and type."""
        seen = mdevs.observe(wish.mdevs)
        return Both(seen, function_seen.observe(_carried(wish, seen.record), is_new=True))

    @staticmethod
    def plan(wish: Moved, seen: Both, ceilings: Mapping[str, int]) -> Plan[Both]:
        """The steps that undefine the one and make the other."""
        gone = mdevs.plan(wish.mdevs, seen.mdevs)
        made = functions.plan(_carried(wish, seen.mdevs.record), seen.functions, ceilings)
        steps = (*_carrying(seen.mdevs.record, gone.steps), *made.steps)
        warnings = (*gone.warnings, *made.warnings)
        return Plan(steps, Both(gone.then, made.then), made.creates, made.cards, warnings, made.also)

    @staticmethod
    def look_again(wish: Moved, before: Both, planned: Plan[Both]) -> Both:
        """What is there when all steps have been taken."""
        return Both(planned.then.mdevs, functions.look_again(wish.wish, before.functions, _of_functions(planned)))

    @staticmethod
    def events(planned: Plan[Both], after: Both) -> Collection[str]:
        """None: the functions were there before."""
        return ()

    @staticmethod
    def state(seen: Both) -> dict[str, Any]:
        """What runs and what is kept of either."""
        both = (mdevs.state(seen.mdevs), functions.state(seen.functions))
        return {part: {id: each for found in both for id, each in found[part].items()} for part in ("runtime", "boot")}

    @staticmethod
    def starts(seen: Both) -> bool:
        """Whether an instance is defined and starts by itself."""
        return functions.starts(seen.functions)

    @staticmethod
    def comes_with_guest(seen: Both) -> bool:
        """Whether an instance is defined as managed."""
        return functions.comes_with_guest(seen.functions)

    @staticmethod
    def clear_up(wish: Moved, seen: Both) -> bool:
        """Remove what killed runs have left of writing what is defined."""
        return mdevs.clear_up(wish.mdevs, seen.mdevs)

    @staticmethod
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
    params = next((value.strip() for name, value in was.attrs or () if name == PARAMS), None)
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
