# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans for mediated devices are made of, each with what takes it back.

``callouts`` says whether mdevctl's callout scripts are to be asked, ``seconds`` how long to wait for the kernel.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from .. import holders, mdevctl
from ..capabilities.mdev import Mdev
from ..errors import InUse
from ..mdevctl import Attrs, Definition
from ..names import checked_attribute_name
from ..plan import Step
from . import mdev_kernel as kernel


def create(target: Definition, callouts: bool, seconds: float) -> list[Step]:
    """Make the device and give it its attributes in their order; nothing is defined by it."""
    create = f"create mdev {target.uuid} of type {target.type} on {target.parent}"

    def undo() -> None:
        kernel.remove(target.uuid, seconds, callouts)

    if callouts:
        attrs = "".join(f", {name}={value}" for name, value in target.attrs)
        return [Step(f"{create} through mdevctl{attrs}", lambda: kernel.start(target, seconds), undo)]
    return [Step(create, lambda: kernel.make(target, seconds), undo), *set_attributes(target, seconds)]


def set_attributes(target: Definition, seconds: float) -> list[Step]:
    """Give a device that runs its attributes in their order; what they were before cannot always be told.

    Raises BadInput for an attribute that is not the device's own, whoever wrote the definition.
    """
    return [
        Step(
            f"set {name}={value} on mdev {target.uuid}",
            partial(kernel.set_attribute, target.uuid, checked_attribute_name(name), value, seconds),
        )
        for name, value in target.attrs
    ]


def remove(active: Mdev, attrs: Attrs, callouts: bool, seconds: float) -> Step:
    """Remove the device; ``attrs`` are those that it gets back when it has to be made again."""
    again = Definition(active.uuid, active.parent, active.type, False, attrs)

    def undo() -> None:
        kernel.make(again, seconds)
        for name, value in again.attrs:
            kernel.set_attribute(again.uuid, name, value, seconds)

    return Step(
        f"remove mdev {active.uuid} of type {active.type} from {active.parent}",
        lambda: kernel.remove(active.uuid, seconds, callouts),
        undo,
    )


def refuse_if_held(active: Mdev, held_by: Collection[holders.Holder], force: bool) -> None:
    """Raise InUse, naming the holders, when the device has any and may not be removed from under them."""
    if held_by and not force:
        raise InUse(
            f"mdev {active.uuid} on {active.parent} is in use by {holders.named(held_by)}:"
            " stop that first, or set force: true to have the kernel ask for its release"
        )


def define(target: Definition, former: Definition | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces under the same parent."""
    start = "auto" if target.autostart else "manual"
    verb = "define" if former is None else "change the definition of"
    attrs = "".join(f", {name}={value}" for name, value in target.attrs)
    return Step(
        f"{verb} mdev {target.uuid} with type {target.type} on {target.parent}, start {start}{attrs}",
        lambda: mdevctl.define(target),
        lambda: mdevctl.define(former) if former is not None else mdevctl.undefine(target),
    )


def undefine(known: Definition) -> Step:
    """Keep the definition no longer."""
    return Step(
        f"undefine mdev {known.uuid} on {known.parent}",
        lambda: mdevctl.undefine(known),
        lambda: mdevctl.define(known),
    )
