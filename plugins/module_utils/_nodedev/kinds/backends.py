# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of vGPUs, made as the host makes them: as mediated devices, or of virtual functions.

Which of the two is seen by what is there: the registered parents of mediated devices, and functions with the files of
vGPUs. What a card claims to be capable of does not tell. Both give one result. What makes the pool is imported where
that is known, so that nobody waits for the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from .. import resource
from ..errors import BadInput
from ..host import mdev_parents, pci, sysfs, vgpus
from ..pools import mixes, record, selector
from ..pools.selector import Selector
from .mdev import pool_wish as mdev_wish
from .vgpu import pool_wish as function_wish
from .vgpu.definition import KIND

AUTO, MDEV, VFIO = BACKENDS = ("auto", "mdev", "vfio")
# By the back end, the kind of its devices, as records of pools have it.
KINDS = {MDEV: mdev_wish.KIND, VFIO: KIND}


def ensure(
    backend: str,
    migrate: bool,
    params: str | None,
    check_mode: bool,
    types: Mapping[str, int] | None = None,
    in_use: str = mixes.REFUSE,
    mig: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Make the pool as wished by the back end that the host has; the result in Ansible's shape, alike for both."""
    # Of functions nothing follows from who the host is.
    checked = function_wish.Wish.checked(params=params, types=types, in_use=in_use, **options)
    wish = replace(checked, identity=None, mig=mig)
    former = _kind_of(wish.name)
    chosen = wish.parents or Selector()
    there = _there(chosen)
    is_open = wish.state == "present" and backend == AUTO and not _is_decided(former, chosen, there)
    if is_open and selector.await_functions(chosen, wish.wait_timeout):
        there = _there(chosen)
    made_of = _made_of(backend, former, there, wish)
    of_mdevs = MDEV in (made_of, next((name for name in KINDS if KINDS[name] == former), None))
    if mig is None and not of_mdevs:
        mig = _mig_of(wish.name)
    if mig == function_wish.DERIVE and (wish.state == "present" or not of_mdevs):
        if of_mdevs:
            raise BadInput(
                "mig",
                mig,
                f"pool {wish.name} is one of mediated devices: make their GPU instances first, by hostdev.nodedev.mig"
                " with types",
            )
        from . import derived

        return resource.ensure(derived, wish, check_mode)
    if made_of == MDEV:
        from . import mediated

        return resource.ensure(mediated, mediated.wish_of(wish, options), check_mode)
    if former != KINDS[MDEV]:
        from .vgpu import pool

        return resource.ensure(pool, wish, check_mode)
    _refuse_unasked(wish, migrate)
    from . import migration

    return resource.ensure(migration, migration.moved(wish), check_mode)


def _kind_of(name: str) -> str | None:
    for path in record.RECORDS.paths(name):
        found = record.kind_said(path)
        if isinstance(found, str):
            return found
    return None


def _mig_of(name: str) -> str | None:
    recorded, _damaged = record.RECORDS.look(name)
    return recorded.wish.get("mig") if recorded is not None else None


def _there(chosen: Selector) -> set[str]:
    """The back ends of which there are parents; where there are both, those whose parents a selector takes, if any."""
    devices = {MDEV: mdev_parents.paths(), VFIO: pci.paths(vgpus.addresses())}
    there = {name for name, every in devices.items() if every}
    taken = {name for name in there if selector.takes(chosen, devices[name])} if len(there) > 1 else set()
    return taken or there


def _is_decided(former: str | None, chosen: Selector, there: Collection[str]) -> bool:
    """Whether the back end does not depend on functions that come later; for their room, the pool itself waits."""
    if former is not None:
        return former in {KINDS[each] for each in there}
    # The driver makes vGPUs of all its functions in one way, but of whole GPUs perhaps in another.
    devices = {**mdev_parents.paths(), **pci.paths(vgpus.addresses())}
    return selector.takes(chosen, {each: path for each, path in devices.items() if sysfs.exists(f"{path}/physfn")})


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
