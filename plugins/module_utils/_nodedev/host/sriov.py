# SPDX-License-Identifier: GPL-3.0-or-later
"""Having the virtual functions of a physical one made and removed.

Follows the kernel's Documentation/PCI/pci-iov-howto.rst and drivers/pci/iov.c: the number of functions is written as a
whole and goes from none to some and back only; a driver may enable fewer than it is asked for, and the write succeeds.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import NodedevError
from ..names import called
from ..plan import UNDO
from ..store import files
from ..waiting import anew, wait_for
from . import pci, sysfs
from .numbers import integer

TOTAL, NUMBER, AUTOPROBE = "sriov_totalvfs", "sriov_numvfs", "sriov_drivers_autoprobe"
# Where is kept what sriov_drivers_autoprobe was, while it is another for the functions that are being made.
NOTES = "/run/nodedev/autoprobe"
# Where a card has a file as long as its new functions have no drivers, since what these look for is set before.
UNBOUND = "/run/nodedev/unbound"
# What the kernel's kstrtobool takes for true; it writes 1 itself.
TRUE = "1yYtT"
NUMBER_MEANINGS = {
    errno.EBUSY: "other virtual functions are enabled already, or the driver does not let go of those there are, since"
    " a guest has one",
    errno.ERANGE: "the function has fewer virtual functions than that",
    errno.ENOENT: "it has no driver, or its driver makes no virtual functions",
    errno.EINVAL: "the driver does not take this number",
    errno.ENOMEM: "the firmware has reserved too few bus numbers or too little memory for them: switch SR-IOV on there,"
    " or boot with pci=realloc or pci=assign-busses",
    errno.ENOSPC: "the firmware has reserved too few bus numbers or too little memory for them: switch SR-IOV on there,"
    " or boot with pci=realloc or pci=assign-busses",
    errno.EIO: "the card's firmware refuses, as where SR-IOV is off there: look at the kernel log",
    errno.EPERM: "the driver refuses in the mode it is in, as without an IOMMU or with its functions in use",
    errno.EOPNOTSUPP: "the driver makes no virtual functions in the mode it is in",
    errno.ENOSYS: "the kernel was built without SR-IOV",
}


@dataclass(frozen=True)
class Capability:
    """What a physical function says of its virtual ones.

    ``total`` is the most that there can be, ``count`` how many there are, ``autoprobe`` whether new ones are bound by
    the kernel, None where an old kernel always does. ``offset`` and ``stride`` give their addresses.
    """

    total: int
    count: int
    autoprobe: bool | None = None
    offset: int | None = None
    stride: int | None = None


def capability(function: pci.Function) -> Capability | None:
    """What this function says; None where it cannot have virtual functions. NodedevError for what is no number."""
    total = _number(f"{function.path}/{TOTAL}")
    if total is None:
        return None
    return Capability(
        total,
        # The kernel has whoever reads the number itself wait for a driver that is at work, be it for ever.
        len(function.functions),
        autoprobe(function),
        _number(f"{function.path}/sriov_offset"),
        _number(f"{function.path}/sriov_stride"),
    )


def _number(path: str) -> int | None:
    text = sysfs.read(path)
    value = None if text is None else integer(text, 10)
    if text is not None and value is None:
        raise NodedevError(f"{path} has no number")
    return value


def autoprobe(function: pci.Function) -> bool | None:
    """Whether the kernel binds new functions, whatever a killed run has left there; None for an old kernel."""
    text = sysfs.read(f"{function.path}/{AUTOPROBE}")
    if text is None:
        return None
    noted = files.read(_note(function))
    return (noted or text)[:1] in TRUE


def enable(function: pci.Function, count: int, probed: bool | None, seconds: float) -> None:
    """Have so many virtual functions made where there are none, and wait for all of them.

    ``probed`` is whether the kernel is to bind them, None for what it does anyway. Raises NodedevError where it made
    others than that, which are removed again.
    """
    with autoprobing(function, probed, seconds):
        _write(function, count, seconds)
    try:
        _verify(function, count, seconds)
    except NodedevError as error:
        raise NodedevError(f"{error}; {_taken_back(function)}") from error


def _write(function: pci.Function, count: int, seconds: float) -> None:
    sysfs.write(f"{function.path}/{NUMBER}", f"{count}\n", seconds, NUMBER_MEANINGS)


def _verify(function: pci.Function, count: int, seconds: float) -> None:
    made = _number(f"{function.path}/{NUMBER}")
    if made != count:
        raise NodedevError(
            f"the driver of {called(function.address)} has enabled {made} of {count} virtual functions: look at the"
            " kernel log, or ask for fewer"
        )
    if not wait_for(lambda: _linked(function) == count, seconds):
        raise NodedevError(
            f"{called(function.address)} has {count} virtual functions, of which {_linked(function)} are there after"
            f" {seconds:g} s"
        )


def _linked(function: pci.Function) -> int:
    """How many functions there are with the link to their physical one."""
    found = pci.virtual_functions(function.path)
    return sum(pci.card_of(each) == function.address for each in found)


def enable_unbound(function: pci.Function, count: int, seconds: float) -> None:
    """The same with functions that the kernel binds later, which a run that is killed meanwhile leaves to the next."""
    files.write(_unbound(function), "", files.MODE)
    enable(function, count, False, seconds)


def are_unbound(function: pci.Function) -> bool:
    """Whether functions wait for being bound."""
    return os.path.exists(_unbound(function))


def forget_unbound(function: pci.Function) -> None:
    files.remove(_unbound(function))


def disable(function: pci.Function, seconds: float) -> None:
    """Have all virtual functions removed, and wait until they are gone; none is no error."""
    _write(function, 0, seconds)
    forget_unbound(function)
    if not wait_for(lambda: not pci.virtual_functions(function.path), seconds):
        raise NodedevError(f"the virtual functions of {called(function.address)} are still there after {seconds:g} s")


def _taken_back(function: pci.Function) -> str:
    with anew(UNDO):
        try:
            disable(function, UNDO)
        except NodedevError as error:
            return f"they could not be removed again: {error}"
    return "they were removed again"


@contextlib.contextmanager
def autoprobing(function: pci.Function, wanted: bool | None, seconds: float) -> Iterator[None]:
    """Have the kernel bind new functions, or not, inside the block, and as before after it, however that ends.

    What it was is noted, so that a later run can restore it where this one is killed.
    """
    former = autoprobe(function)
    if wanted is None or former is None or former == wanted:
        yield
        return
    files.write(_note(function), _text(former), files.MODE)
    try:
        sysfs.write(f"{function.path}/{AUTOPROBE}", _text(wanted), seconds)
        yield
    finally:
        with anew(UNDO):
            restore_autoprobe(function)


def restore_autoprobe(function: pci.Function) -> bool:
    """Have the kernel bind new functions, or not, as before a run that was killed; whether there was something to do.

    The caller holds the card's lock, so that no other run is at work there.
    """
    noted = files.read(_note(function))
    if noted is None:
        return False
    sysfs.write(f"{function.path}/{AUTOPROBE}", _text(noted[:1] in TRUE), UNDO)
    files.remove(_note(function))
    return True


def _note(function: pci.Function) -> str:
    return os.path.join(NOTES, function.address)


def _unbound(function: pci.Function) -> str:
    return os.path.join(UNBOUND, function.address)


def _text(value: bool) -> str:
    return "1\n" if value else "0\n"
