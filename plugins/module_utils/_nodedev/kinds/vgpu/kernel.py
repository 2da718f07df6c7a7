# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver is asked for one vGPU: to make it on a function, to give it parameters, to clear the function.

Follows NVIDIA's vGPU user guide on the files of its vendor-specific VFIO framework. Each function reads back what came
of it, and raises SysfsError where the driver refuses.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from ...errors import InUse, NodedevError, NoRoom, NotYet
from ...host import pci, sysfs, vgpus
from ...host.oddities import Oddities
from ...names import called
from ...plan import UNDO
from ...waiting import anew
from .definition import Definition

TYPE_MEANINGS = {
    errno.EIO: "the driver makes no vGPU of this type on this function now: look at the kernel log",
    errno.EINVAL: "the driver does not take this type here: look at the kernel log",
    errno.EPERM: "a guest has the function",
    errno.EBUSY: "a guest has the function",
    errno.ENOENT: "the function has no vGPU's files any more: its driver is gone, or was loaded anew",
}
PARAMS_MEANINGS = {
    errno.EPERM: "a guest has the function, or it has no type yet",
    errno.EINVAL: "the driver does not know one of the parameters",
    errno.ENOENT: "this driver takes no parameters for vGPUs that are functions",
}
PLACEMENT_MEANINGS = {
    errno.EINVAL: "there is no such place on the card, or it has none to choose from",
    errno.EPERM: "the card is not in heterogeneous mode, or a guest has the function",
    errno.ENOENT: "this driver lets no place be chosen",
}
# So a parameter list is emptied; nothing at all would not reach the driver.
EMPTY = " "


def make(target: Definition, seconds: float) -> None:
    """Make a vGPU of the function, which has none, and see that it is there; its parameters are not set by that.

    What can be made is read again first. Raises NoRoom where the type is not among it, whatever was so before: another
    run, or this one's vGPUs before it, took the room. What was begun is cleared again.
    """
    function = _function(target.address)
    offers = vgpus.offers(function.path, Oddities())
    if target.type not in offers:
        raise NoRoom(target.address, called(target.address), _refusal(target, function, offers))
    place = sysfs.read(f"{function.path}/{vgpus.PLACEMENT}") if target.placement is not None else None
    try:
        if target.placement is not None:
            _write_placement(function, str(target.placement), seconds)
        _write_type(function, target.type, seconds)
    except NodedevError as error:
        what = f"{error}; {_taken_back(function, target.type, place)}"
        if isinstance(error, sysfs.SysfsError) and target.type not in vgpus.offers(function.path, Oddities()):
            raise NoRoom(target.address, called(target.address), what) from error
        raise NodedevError(what) from error


def _write_type(function: pci.Function, type: int, seconds: float) -> None:
    path = f"{function.path}/{vgpus.CURRENT}"
    sysfs.write(path, f"{type}\n", seconds, TYPE_MEANINGS)
    made = vgpus.current(function)
    if made != type:
        raise NodedevError(f"{path} is {made} after {type} was written there: look at the kernel log")


def _write_placement(function: pci.Function, place: str, seconds: float) -> None:
    try:
        sysfs.write(f"{function.path}/{vgpus.PLACEMENT}", f"{place}\n", seconds, PLACEMENT_MEANINGS)
    except sysfs.SysfsError as error:
        if error.errno in (errno.EINVAL, errno.EPERM):
            # A boot ends the mode in which the card has places, and somebody may set it late.
            raise NotYet(str(error)) from error
        raise


def _taken_back(function: pci.Function, type: int, place: str | None) -> str:
    """Clear a function on which not all came about as it should; what came of that in words.

    ``place`` is what it had as its place before, None where none was written.
    """
    with anew(UNDO):
        try:
            there = vgpus.current(function)
            if there not in (vgpus.NONE, type):
                return f"it has type {there} now, which is another's, and stays"
            if there == type:
                _write_type(function, vgpus.NONE, UNDO)
            if place is not None and place != sysfs.read(f"{function.path}/{vgpus.PLACEMENT}"):
                _write_placement(function, place, UNDO)
        except NodedevError as error:
            return f"it could not be cleared again: {error}"
    return "it has no vGPU"


def _refusal(target: Definition, function: pci.Function, offers: Mapping[int, str]) -> str:
    card = vgpus.functions(function.physical or function.address, Oddities())
    types = {**{id: name for each in card for id, name in each.offers.items()}, **offers}
    return vgpus.refusal(target.address, target.kind, offers, card, {**types, **target.titles})


def set_params(target: Definition, params: str, seconds: float) -> None:
    """Give the vGPU all its parameters at once, as a line: the driver drops the last character of what it gets."""
    function = _function(target.address)
    path = f"{function.path}/{vgpus.PARAMS}"
    sysfs.write(path, f"{params or EMPTY}\n", seconds, PARAMS_MEANINGS)
    kept = vgpus.params(function.path)
    if kept != params:
        raise NodedevError(f"{path} is '{kept}' after '{params}' was written there")


def clear(target: Definition, seconds: float) -> None:
    """Have the function be no vGPU, if it is one of the recorded type; nothing, and no function, is no error.

    Raises InUse where a guest has it by now, and NodedevError where it has become another's.
    """
    function = pci.find(target.address)
    if function is None or not sysfs.exists(f"{function.path}/{vgpus.CURRENT}"):
        return
    there = vgpus.current(function)
    if there == vgpus.NONE:
        return
    if there != target.type:
        raise NodedevError(
            f"{called(target.address)} has type {there} now and not {target.kind}: it is another's, and stays"
        )
    try:
        _write_type(function, vgpus.NONE, seconds)
    except sysfs.SysfsError as error:
        if error.errno in (errno.EPERM, errno.EBUSY):
            raise InUse(str(error)) from error
        raise


def _function(address: str) -> pci.Function:
    function = pci.find(address)
    if function is None:
        raise NodedevError(f"{called(address)} is gone")
    return function
