# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans for vGPUs are made of, each with what takes it back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from ...names import called
from ...plan import Step
from ...text import shown
from . import kernel
from .definition import Definition


def other_owners(steps: Sequence[Step], cards: Collection[str]) -> list[str]:
    """The warnings that name who else owns the functions of these cards, for a plan that changes something."""
    if not steps:
        return []
    from ...host import function_owners

    return function_owners.of_gpus(cards)


def create(target: Definition, seconds: float) -> list[Step]:
    """Make the vGPU, then give it its parameters, before any guest opens it."""
    place = "" if target.placement is None else f" at placement {target.placement}"
    make = Step(
        f"create a vGPU of type {shown(target.kind)} on {called(target.address)}{place}",
        partial(kernel.make, target, seconds),
        partial(kernel.clear, target, seconds),
    )
    return [make, *([set_params(target, target.params, None, seconds)] if target.params else [])]


def set_params(target: Definition, params: str, former: str | None, seconds: float) -> Step:
    """Give a vGPU that nobody has open its parameters; ``former`` are those it gets back, None where it goes then."""
    return Step(
        f"set params {shown(params)} of the vGPU of {called(target.address)}"
        if params
        else f"clear the params of the vGPU of {called(target.address)}",
        partial(kernel.set_params, target, params, seconds),
        None if former is None else partial(kernel.set_params, target, former, seconds),
    )


def clear(former: Definition, seconds: float) -> Step:
    """Have the function be no vGPU any more; taken back, it is the same again."""

    def undo() -> None:
        kernel.make(former, seconds)
        if former.params:
            kernel.set_params(former, former.params, seconds)

    return Step(
        f"clear the vGPU of type {shown(former.kind)} on {called(former.address)}",
        partial(kernel.clear, former, seconds),
        undo,
    )
