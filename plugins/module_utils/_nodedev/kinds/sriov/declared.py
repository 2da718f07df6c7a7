# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared of the functions of a physical one, and how it is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ...errors import BadInput
from ...grammar import checked_driver, checked_function
from ...host import vf_settings
from ...host.vf_settings import Settings
from ...names import called
from ...plan import Step
from ...store.documents import Documents, name_of
from ...store.files import DamagedDefinition, Document

KIND = "sriov"
MAX = "max"
# The kernel keeps the number in 16 bits.
MOST = 65535
NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class Declared:
    """What is said of the functions of one physical one; None where nothing is said.

    ``number`` is a number or MAX. ``driver`` is a name, binding.NONE, or empty for the kernel's choice. ``vfs`` has by
    index what each function is set to.
    """

    address: str
    number: str | None = None
    autoprobe: bool | None = None
    driver: str | None = None
    vfs: Settings | None = None

    @property
    def path(self) -> str:
        return DOCUMENTS.paths(self.address)[0]

    def count(self, total: int | None) -> int | None:
        """How many functions that is where there can be ``total``; None where nothing is said, or is not known."""
        return total if self.number == MAX else None if self.number is None else int(self.number)

    def document(self) -> Document:
        found: Document = {"numvfs": self.number if self.number in (None, MAX) else int(str(self.number))}
        found.update({"autoprobe": self.autoprobe, "driver": self.driver})
        found["vfs"] = None if self.vfs is None else [{"index": index, **dict(values)} for index, values in self.vfs]
        return {key: value for key, value in found.items() if value is not None}

    def over(self, other: Declared | None) -> Declared:
        """The same, with what is not said as it is there."""
        if other is None:
            return self
        own = {name: value for name in FIELDS if (value := getattr(self, name)) is not None}
        return replace(other, **own)


FIELDS = ("number", "autoprobe", "driver", "vfs")


def declare(address: str, numvfs: object, autoprobe: object, driver: object, vfs: object) -> Declared:
    """What is declared of the functions of this address, each part of its grammar; else BadInput."""
    number = None if numvfs is None else str(numvfs).strip()
    if number not in (None, MAX):
        if isinstance(numvfs, bool) or not NUMBER.fullmatch(number) or int(number) > MOST:
            raise BadInput("numvfs", numvfs, f"a number from 0 to {MOST}, or {MAX}")
        number = str(int(number))
    if autoprobe is not None and not isinstance(autoprobe, bool):
        raise BadInput("autoprobe", autoprobe, "true or false")
    if driver not in (None, ""):
        checked_driver("driver", driver)
    return Declared(address, number, autoprobe, None if driver is None else str(driver), vf_settings.checked(vfs))


def functions_of(address: str) -> str:
    """What a person calls the virtual functions of this one."""
    return f"the virtual functions of {called(address)}"


def decode(path: str, document: Document) -> Declared:
    try:
        address = checked_function("device", name_of(path))
        found = declare(address, *(document.get(key) for key in ("numvfs", "autoprobe", "driver", "vfs")))
    except BadInput as error:
        raise DamagedDefinition(path, str(error)) from error
    if found.number is None or address != name_of(path):
        raise DamagedDefinition(path, "it says no number" if found.number is None else "its name is not an address")
    return found


DOCUMENTS = Documents(KIND, decode)


def define(target: Declared, former: Declared | None) -> Step:
    """Keep the definition; ``former`` is the one that it replaces."""
    verb = "change the definition of" if former else "define"
    return DOCUMENTS.change(f"{verb} {functions_of(target.address)}", target.address, target, former)


def undefine(known: Declared) -> Step:
    return DOCUMENTS.change(f"undefine {functions_of(known.address)}", known.address, None, known)
