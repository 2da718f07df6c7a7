# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which a device, or a pool of devices, is made as wished: observe, plan, apply.

A kind is a Python module that has what Resource asks for, and what the optional protocols do where it needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from . import locks
from .errors import NodedevError, NoRoom
from .host import sysfs
from .plan import Step, StepFailed, apply, describe
from .store import restorers
from .text import as_json, shown
from .waiting import wait_for

# How often is looked at what has to be locked, which others may change between two looks.
ATTEMPTS = 5


class Wish(Protocol):
    """What a person wants of a device or a pool."""

    @property
    def wait_timeout(self) -> float:
        """Seconds for all that has to be waited for."""


W = TypeVar("W", bound=Wish)
W_contra = TypeVar("W_contra", bound=Wish, contravariant=True)
S = TypeVar("S")


@dataclass(frozen=True)
class Plan(Generic[S]):
    """The steps, and the host when they have been taken, as far as that can be known: a new device has no group yet.

    ``creates`` are the ids of what they make, in that order, and ``cards`` what carries those of them that could go
    elsewhere. ``also`` is what else the kind has to tell of how it came to the plan.
    """

    steps: tuple[Step, ...]
    then: S
    creates: tuple[str, ...] = ()
    cards: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    also: Mapping[str, Any] = field(default_factory=dict)


class Resource(Protocol[W_contra, S]):
    """What a kind gives: how its part of the host is seen, what has to be done there, and how that is told."""

    @property
    def SUBSYSTEM(self) -> str:
        """The subsystem of the events that udev has of new devices."""

    @property
    def PEER(self) -> str | None:
        """Who else restores what is defined, as the boot engine does, by a udev rule of its own; None for nobody."""

    def locks(self, wish: W_contra, seen: S | None = None, /) -> set[str]:
        """The names of the locks that the wish needs, by what was seen, or by a look that is as short as may be."""

    def observe(self, wish: W_contra, /) -> S:
        """All of the host that the wish touches, each part read once."""

    def plan(self, wish: W_contra, seen: S, ceilings: Mapping[str, int], /) -> Plan[S]:
        """The steps from what is to what is wished, a pure function; refuses what cannot be before any of them.

        ``ceilings`` is how many new instances a card has been found to take, where that is less than its parents say.
        """

    def look_again(self, wish: W_contra, before: S, planned: Plan[S], /) -> S:
        """What is there when all steps have been taken."""

    def state(self, seen: S, /) -> dict[str, Any]:
        """What runs and what is kept for the next boot, under ``runtime`` and ``boot``, each by the devices' ids."""

    def starts(self, seen: S, /) -> bool:
        """Whether something is defined of it that is to be there after a boot."""

    def described(self, wish: W_contra, before: S, planned: Plan[S], after: S, /) -> dict[str, Any]:
        """The kind's own part of the result, with the warnings."""


@dataclass(frozen=True)
class Hindrance:
    """Why what is defined cannot be made now; ``passing`` says whether that may end by itself in a moment."""

    reason: str
    passing: bool


def lasting(look: Callable[[], Hindrance | None], seconds: float) -> Hindrance | None:
    """What is in a device's way once that does not end by itself, so many seconds waited for; None for nothing.

    A driver that still starts is such a thing.
    """
    found: list[Hindrance | None] = []

    def is_decided() -> bool:
        found[:] = [look()]
        return found[0] is None or not found[0].passing

    wait_for(is_decided, seconds)
    return found[0]


@runtime_checkable
class Clearing(Protocol):
    """A kind of which killed runs may leave something."""

    def clear_up(self, wish: Any, seen: Any, /) -> bool:
        """Do away with it; whether that is a reason to look again."""


@runtime_checkable
class Announced(Protocol):
    """A kind whose new devices have other names in the kernel than the ids that a plan has for them."""

    def events(self, planned: Any, after: Any, /) -> Collection[str]:
        """The kernel's names of the new devices, with which udev has to deal."""


@runtime_checkable
class Settling(Protocol):
    """A kind whose devices have something that comes later than they do, as the LUNs of a vHBA."""

    def settled(self, wish: Any, before: Any, after: Any, /) -> Any:
        """What is there when all of it has come; NodedevError where it does not come in time."""


@runtime_checkable
class Manageable(Protocol):
    """A kind whose devices may be managed: made when a guest that names them starts, and removed after it."""

    def comes_with_guest(self, seen: Any, /) -> bool:
        """Whether something is defined of it that is managed."""


def ensure(kind: Resource[W, S], wish: W, check_mode: bool = False) -> dict[str, Any]:
    """Make it as wished, or in check mode only say what would be done; the result in Ansible's shape."""
    hindrance = sysfs.why_not_writable()
    if check_mode or hindrance:
        before = kind.observe(wish)
        planned = kind.plan(wish, before, {})
        if planned.steps and not check_mode:
            raise NodedevError(hindrance)
        if planned.creates:
            # Here, so that no run but one that makes devices waits for its import.
            from .host.udev_events import needed_pyudev

            needed_pyudev()
        result = _result(kind, wish, before, planned, planned.then)
        # The role that restores it may be foretold in the same play.
        return result if check_mode else _with_doubts(kind, planned, result)
    for _attempt in range(ATTEMPTS):
        names = kind.locks(wish)
        with locks.held(names, wish.wait_timeout):
            done = _applied(kind, wish, names)
        if done is not None:
            return _with_doubts(kind, done[1], _result(kind, wish, *done))
    raise NodedevError("what has to be locked was another each time, so that others change it now: try again")


def _applied(kind: Resource[W, S], wish: W, names: set[str]) -> tuple[S, Plan[S], S] | None:
    """What was there, the plan that was carried out, and what is there then.

    None, with nothing changed, where more has to be locked than is: what was seen before the locks were held may have
    been half of another run's work.
    """
    ceilings: dict[str, int] = {}
    while True:
        before = kind.observe(wish)
        if not names.issuperset(kind.locks(wish, before)):
            return None
        if isinstance(kind, Clearing) and kind.clear_up(wish, before):
            before = kind.observe(wish)
        planned = kind.plan(wish, before, ceilings)
        watch = _watch(kind.SUBSYSTEM) if planned.creates else None
        try:
            apply(planned.steps)
        except StepFailed as error:
            ceilings = _learnt(error, planned, ceilings)
            continue
        if isinstance(kind, Clearing):
            kind.clear_up(wish, before)
        after = kind.look_again(wish, before, planned) if planned.steps else before
        if watch is not None:
            fresh = kind.events(planned, after) if isinstance(kind, Announced) else planned.creates
            late = watch.wait_added(fresh, wish.wait_timeout)
            planned = replace(planned, warnings=(*planned.warnings, *late))
        if isinstance(kind, Settling):
            after = kind.settled(wish, before, after)
        return before, planned, after


def _watch(subsystem: str) -> Any:
    """udev's events of new devices of this subsystem, from now on."""
    from .host.udev_events import Watch

    return Watch(subsystem)


def _learnt(error: StepFailed, planned: Plan[S], ceilings: Mapping[str, int]) -> dict[str, int]:
    """The ceilings with what a failure has shown; raises it again where that is nothing, or all was not undone."""
    full = error.__cause__
    if not isinstance(full, NoRoom) or error.left or full.device not in planned.cards:
        raise error
    card, before = planned.cards[full.device], planned.creates[: planned.creates.index(full.device)]
    made = sum(planned.cards[each] == card for each in before)
    if made >= ceilings.get(card, made + 1):
        raise error
    return {**ceilings, card: made}


def _result(kind: Resource[W, S], wish: W, before: S, planned: Plan[S], after: S) -> dict[str, Any]:
    return {
        "changed": bool(planned.steps),
        "plan": describe(planned.steps),
        "diff": {"before": _lines(kind.state(before)), "after": _lines(kind.state(after))},
        **kind.described(wish, before, planned, after),
    }


def _with_doubts(kind: Resource[W, S], planned: Plan[S], result: dict[str, Any]) -> dict[str, Any]:
    """The result with the warnings that what is defined will not be there when it should, as long as that is so."""
    doubts = restorers.warning(kind.PEER) if kind.starts(planned.then) else []
    if isinstance(kind, Manageable) and kind.comes_with_guest(planned.then):
        doubts += restorers.hook_warning()
    return {**result, "warnings": [*result["warnings"], *doubts]}


def _lines(state: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The devices as a diff shows them, one line each: whether it runs and is defined, and what it is."""
    runtime, boot = state["runtime"], state["boot"]
    return "".join(f"{_line(id, runtime.get(id), boot.get(id))}\n" for id in dict.fromkeys([*runtime, *boot]))


def _line(id: str, running: Mapping[str, Any] | None, kept: Mapping[str, Any] | None) -> str:
    ways = [word for word, found in (("runs", running), ("is defined", kept)) if found is not None]
    parts = []
    for key, value in {**(kept or {}), **(running or {})}.items():
        other = (kept or {}).get(key, value)
        defined = "" if other == value else f" (defined: {_value(other)})"
        if value not in ([], id) or defined:
            parts.append(f"{key} {_value(value)}{defined}")
    what = f"; {', '.join(parts)}" if parts else ""
    return shown(f"{id}: {' and '.join(ways)}{what}", longest=None)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)
