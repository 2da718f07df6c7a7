# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans for mediated devices are made of, each with what takes it back.

Each step, and what takes it back, asks mdevctl's callout scripts as mdevctl's own command for it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from ...errors import NodedevError
from ...grammar import checked_attribute_name
from ...host.mdevs import Mdev
from ...names import called
from ...plan import Step
from ...store import marks, mdevctl
from ...store.files import DamagedDefinition, removal
from ...store.mdevctl import Attrs, Definition
from ...store.scripts import Scripts
from ...text import shown
from . import kernel

ASKING = ", asking the callout scripts"


def other_owners(steps: Sequence[Step]) -> list[str]:
    """The warning that names who else makes mediated devices here, for a plan that changes something."""
    if not steps:
        return []
    from ...host import mdev_owners

    return mdev_owners.warnings()


@dataclass(frozen=True)
class Terms:
    """On what terms a step is carried out.

    ``seconds`` is how long to wait for the kernel, and for each script; ``scripts`` is None where there are none. With
    ``force`` a refusal of theirs is passed over, as it always is when a step is taken back.
    """

    seconds: float
    scripts: Scripts | None = None
    force: bool = False

    def asked(self, action: str, device: Definition) -> AbstractContextManager[None]:
        """Do in the body what ``action`` names, the scripts being asked."""
        # Here, as in change(), so that no run but one that changes something waits for its import.
        from ...store import callouts

        return callouts.asked(self.scripts, action, device, self.seconds, self.force)

    def described(self, step: str) -> str:
        """The description of a step that asks the scripts, if there are any that may refuse."""
        return f"{step}{ASKING}" if self.scripts and self.scripts.callouts else step


def create(target: Definition, terms: Terms) -> list[Step]:
    """Make the device and give it its attributes in their order; nothing is defined by it.

    Raises BadInput for an attribute that is not the device's own, whoever wrote the definition.
    """
    described = f"create mdev {target.uuid} of type {target.type} on {called(target.parent)}"

    def undo() -> None:
        _stop(target, replace(terms, force=True))

    attributes = set_attributes(target, terms.seconds)
    if not terms.scripts:
        return [Step(described, lambda: kernel.make(target, terms.seconds), undo), *attributes]
    # The scripts are asked about the device as a whole.
    return [Step(terms.described(f"{described}{_listed(target)}"), lambda: _start(target, terms), undo)]


def _listed(target: Definition) -> str:
    return "".join(f", {shown(f'{name}={value}')}" for name, value in target.attrs)


def _start(target: Definition, terms: Terms) -> None:
    """Make the device with its attributes, or nothing."""
    with terms.asked("start", target):
        kernel.make(target, terms.seconds)
        try:
            for name, value in target.attrs:
                kernel.set_attribute(target.uuid, name, value, terms.seconds)
        except BaseException as error:
            _remove_again(target, terms, error)
            raise


def _remove_again(target: Definition, terms: Terms, reason: BaseException) -> None:
    try:
        kernel.remove(target.uuid, terms.seconds)
    except NodedevError as error:
        raise NodedevError(f"{reason}; and it could not be removed again: {error}") from reason


def _stop(device: Definition, terms: Terms) -> None:
    # mdevctl's stop looks at no definition, and tells the scripts of none.
    with terms.asked("stop", replace(device, autostart=False, attrs=())):
        kernel.remove(device.uuid, terms.seconds)


def set_attributes(target: Definition, seconds: float) -> list[Step]:
    """Give a device that runs its attributes in their order; what they were before cannot always be told.

    Raises BadInput for an attribute that is not the device's own, whoever wrote the definition.
    """
    return [
        Step(
            f"set {shown(f'{name}={value}')} on mdev {target.uuid}",
            partial(kernel.set_attribute, target.uuid, checked_attribute_name(name), value, seconds),
        )
        for name, value in target.attrs
    ]


def change(target: Definition, former: Attrs, terms: Terms) -> Step:
    """Have a script give a device that runs its attributes; ``former`` are those that it has now."""

    def change_to(attrs: Attrs) -> None:
        from ...store import callouts

        if terms.scripts is not None:
            callouts.change(terms.scripts, replace(target, attrs=attrs), terms.seconds)

    return Step(
        f"have a callout script change the attributes of mdev {target.uuid}{_listed(target)}",
        lambda: change_to(target.attrs),
        lambda: change_to(former),
    )


def remove(active: Mdev, attrs: Attrs, terms: Terms) -> Step:
    """Remove the device; ``attrs`` are those that it gets back when it has to be made again."""
    again = Definition(active.uuid, active.parent, active.type, False, attrs)
    return Step(
        terms.described(f"remove mdev {active.uuid} of type {active.type} from {called(active.parent)}"),
        lambda: _stop(again, terms),
        lambda: _start(again, replace(terms, force=True)),
    )


def define(target: Definition, former: Definition | None, terms: Terms) -> Step:
    """Keep the definition; ``former`` is the one that it replaces under the same parent, in the same file.

    Raises NodedevError where it could not be read again.
    """
    mdevctl.check(target)
    if former is not None:
        target = replace(target, file=former.file)
    start = "with its guest" if target.managed else "auto" if target.autostart else "manual"
    verb = "define" if former is None else "change the definition of"
    described = (
        f"{verb} mdev {target.uuid} with type {target.type} on {called(target.parent)}, start {start}{_listed(target)}"
    )
    doing, undoing = ("define", "undefine") if former is None else ("modify", "modify")
    return _kept(described, lambda: mdevctl.define(target), (doing, target), (undoing, former or target), terms)


def undefine(definition: Definition, terms: Terms) -> Step:
    described = f"undefine mdev {definition.uuid} on {called(definition.parent)}"
    return _kept(
        described, lambda: mdevctl.undefine(definition), ("undefine", definition), ("define", definition), terms
    )


def unmark(uuid: str) -> Step:
    """Remove the mark of a managed device whose definition is gone. Scripts know of no marks, and are not asked."""
    put_back: list[Callable[[], None]] = []

    def undo() -> None:
        put_back.pop()()

    described = f"remove the mark of mdev {uuid} as managed"
    return Step(described, lambda: put_back.append(marks.leave(mdevctl.KIND, uuid, False)), undo)


def _kept(
    described: str,
    write: Callable[[], Callable[[], None]],
    doing: tuple[str, Definition],
    undoing: tuple[str, Definition],
    terms: Terms,
) -> Step:
    """A step that changes a file. ``write`` returns what puts the file back.

    ``doing`` is what the scripts are asked, an action and what it is about; ``undoing`` what when it is taken back.
    """
    put_back: list[Callable[[], None]] = []

    def apply() -> None:
        with terms.asked(*doing):
            put_back.append(write())

    def undo() -> None:
        with replace(terms, force=True).asked(*undoing):
            put_back.pop()()

    return Step(terms.described(described), apply, undo)


def discard(damage: DamagedDefinition) -> Step:
    """Remove a file that cannot be understood. The scripts are not asked: of what it means, there is nothing to say."""
    return removal(damage, f"mdev {mdevctl.place_of(damage)[1]}")
