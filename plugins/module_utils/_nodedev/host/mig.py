# SPDX-License-Identifier: GPL-3.0-or-later
"""How MIG divides a GPU of NVIDIA's into GPU instances, by nvidia-smi (its manual, and NVIDIA's MIG user guide).

The tool exits with 0 also where it has done nothing, and with something else where there is nothing to list, so that
all is judged by what it lists. An answer that is not understood never counts as nothing: instances would be made twice.
"""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from .. import programs
from ..errors import NodedevError
from ..names import called
from ..plan import UNDO
from ..text import shown
from ..waiting import anew
from . import nvidia_smi
from .processes import Holder

QUERY = ["--query-gpu=mig.mode.current,mig.mode.pending", "--format=csv,noheader"]
WORDS = {"Enabled": True, "Disabled": False, "[N/A]": None, "N/A": None}
# What it says where nothing is to be listed.
NOTHING = re.compile(r"\bNo\b.*\b(?:devices|instances)\sfound\b")
# The rows of its tables, and what begins as one does.
ROW = re.compile(r"\|\s+\d+\s+.*MIG\s.*")
PROFILE = re.compile(r"\|\s+(\d+)\s+MIG\s+(\S+)\s+(\d+)\s+(\d+)/(\d+)\s.*")
INSTANCE = re.compile(r"\|\s+(\d+)\s+MIG\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+):(\d+)\s*\|")
COMPUTE = re.compile(r"\|\s+(\d+)\s+(\d+)\s+MIG\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+):(\d+)\s*\|")
FIELD = re.compile(r"\s+(\S.*?)\s*:\s?(.*)")
# What it calls what it tells of a card and of each process on it.
FIELDS = ("Product Architecture", "GPU instance ID", "Process ID", "Name")
GENERATION, PLACE, PID, NAME = FIELDS
# The one generation whose mode changes with a reset alone.
AMPERE = "Ampere"
# NVIDIA's own service, which divides all cards of a host by a file of its own.
SERVICE = "nvidia-mig-manager.service"
UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
RUNS = ("active", "activating", "reloading")
PATIENCE = 10.0


@dataclass(frozen=True)
class Modes:
    """Whether MIG divides a card, now and after a reset; None where a card cannot be divided."""

    current: bool | None
    pending: bool | None

    def is_settled(self, enabled: bool) -> bool:
        return (self.current, self.pending) == (enabled, enabled)


@dataclass(frozen=True)
class Profile:
    """A profile of GPU instances, and how many more there can be now, ``total`` on a whole card."""

    id: int
    name: str
    free: int
    total: int


@dataclass(frozen=True)
class Instance:
    """A GPU instance, with the ids of its compute instances; ``id`` is None of one that is only foretold."""

    id: int | None
    profile: int
    name: str
    compute: tuple[int, ...] = ()

    def is_of(self, wanted: str) -> bool:
        return wanted in (self.name, str(self.profile))


@dataclass(frozen=True)
class Details:
    """What is asked of a card only where something is to change.

    ``clients`` are processes, each with the id of the GPU instance that it is on; None for the card as a whole.
    """

    architecture: str | None = None
    profiles: tuple[Profile, ...] = ()
    clients: tuple[tuple[Holder, int | None], ...] = field(default=())

    @property
    def needs_reset(self) -> bool:
        """Whether the mode changes with a reset only, or may do so."""
        return self.architecture in (None, AMPERE)


def modes(address: str) -> Modes:
    """The modes of a card; raises NodedevError where they are not told."""
    said = nvidia_smi.answer([*QUERY, "-i", address])
    words = [word.strip() for word in said.strip().split(",")]
    if len(words) != 2 or not all(word in WORDS for word in words):
        raise NodedevError(f"nvidia-smi does not tell of the MIG mode of {called(address)}; it said: {_told(said)}")
    return Modes(WORDS[words[0]], WORDS[words[1]])


def instances(address: str) -> tuple[Instance, ...]:
    """The GPU instances of a card by their ids; raises NodedevError where they are not told."""
    said = _asked(address, "-lgi")
    return instances_of(said, _asked(address, "-lci") if ROW.search(said) else "", address)


def instances_of(text: str, compute: str, address: str) -> tuple[Instance, ...]:
    """The same by the tool's answers to -lgi and, unless there are none, -lci."""
    found = _rows(text, "-lgi", INSTANCE, address)
    known: dict[int, list[int]] = {int(row[4]): [] for row in found}
    for row in _rows(compute, "-lci", COMPUTE, address) if found else ():
        known.setdefault(int(row[2]), []).append(int(row[5]))
    ordered = sorted(found, key=lambda row: int(row[4]))
    return tuple(Instance(int(row[4]), int(row[3]), row[2], tuple(known[int(row[4])])) for row in ordered)


def profiles_of(text: str, address: str) -> tuple[Profile, ...]:
    """The profiles of a card by their ids, by the tool's answer to -lgip; raises NodedevError as above."""
    rows = _rows(text, "-lgip", PROFILE, address)
    found = [Profile(int(row[3]), row[2], int(row[4]), int(row[5])) for row in rows]
    return tuple(sorted(found, key=lambda each: each.id))


def details(address: str) -> Details:
    """What else has to be known of a card; raises NodedevError where it is not told."""
    said = nvidia_smi.answer(["-q", "-i", address])
    if not nvidia_smi.modes_of(said):
        raise NodedevError(f"nvidia-smi tells nothing of {called(address)}; it said: {_told(said)}")
    architecture, clients = described(said)
    return Details(architecture, profiles_of(_asked(address, "-lgip"), address), tuple(clients))


def _told(said: str) -> str:
    return shown(said.strip() or "nothing")


def _asked(address: str, option: str) -> str:
    return nvidia_smi.answer(["mig", option, "-i", address])


def _rows(said: str, option: str, pattern: re.Pattern[str], address: str) -> list[re.Match[str]]:
    """The rows of a list, all of one card."""
    lines = [line.strip() for line in said.splitlines() if ROW.match(line.strip())]
    found = [row for row in map(pattern.fullmatch, lines) if row is not None]
    if len(found) != len(lines) or len({row[1] for row in found}) > 1 or not (found or NOTHING.search(said)):
        raise NodedevError(
            f"what nvidia-smi mig {option} lists of {called(address)} is not understood; it said: {_told(said)}"
        )
    return found


def described(text: str) -> tuple[str | None, list[tuple[Holder, int | None]]]:
    """The generation of a card, and the processes on it with their GPU instances, by the tool's answer to -q."""
    architecture: str | None = None
    clients: list[tuple[Holder, int | None]] = []
    instance: int | None = None
    pid: int | None = None
    for line in text.splitlines():
        found = FIELD.fullmatch(line)
        key, value = (found[1], found[2].strip()) if found else ("", "")
        if key == GENERATION:
            architecture = value
        elif key == PLACE:
            instance = int(value) if value.isdecimal() else None
        elif key == PID:
            pid = int(value) if value.isdecimal() else None
        elif key == NAME and pid is not None:
            clients.append((Holder("the card", value, "used by", pid), instance))
            pid = None
    return architecture, clients


def manager() -> str | None:
    """Where NVIDIA's own service for MIG is enabled, or that it runs; None where it does neither."""
    enabled = sorted(path for folder in UNITS for path in glob.glob(f"{folder}/*.*/{SERVICE}"))
    program = programs.find("systemctl")
    if enabled or program is None:
        return next(iter(enabled), None)
    state = programs.run([program, "is-active", SERVICE], PATIENCE).output.strip()
    return f"systemd, where it is {state}" if state in RUNS else None


def set_mode(address: str, enabled: bool, resets: bool, former: Modes) -> None:
    """Have MIG divide a card, or not; with ``resets`` this card alone is reset where that does not hold at once.

    Raises NodedevError where it is not so then, and has the modes be as they were, or says why they are not.
    """
    try:
        _set_mode(address, enabled, resets)
    except NodedevError as error:
        try:
            with anew(UNDO):
                _put_back(address, resets, former)
        except NodedevError as failure:
            raise NodedevError(f"{error}; it could not be put back: {failure}") from error
        raise


def _put_back(address: str, resets: bool, former: Modes) -> None:
    """Have the modes be as they were; NodedevError where they are not so then."""
    said, found = "", modes(address)
    if former.pending is not None and found.pending != former.pending:
        said = nvidia_smi.answer(["-mig", _number(former.pending), "-i", address])
        found = modes(address)
    if resets and former.pending == former.current and found.current != former.current:
        said = nvidia_smi.answer(["--gpu-reset", "-i", address])
        found = modes(address)
    _refuse_unlike(address, found, former, said)


def _set_mode(address: str, enabled: bool, resets: bool) -> None:
    said = nvidia_smi.answer(["-mig", _number(enabled), "-i", address])
    found = modes(address)
    if resets and found.pending == enabled and found.current != enabled:
        said = nvidia_smi.answer(["--gpu-reset", "-i", address])
        found = modes(address)
    _refuse_unlike(address, found, Modes(enabled, enabled), said)


def _refuse_unlike(address: str, found: Modes, wanted: Modes, said: str) -> None:
    if found != wanted:
        raise NodedevError(
            f"MIG of {called(address)} is {word(found.current)}, and would be {word(found.pending)} after a reset;"
            f" nvidia-smi said: {_told(said)}"
        )


def word(enabled: bool | None) -> str:
    return "not known" if enabled is None else "on" if enabled else "off"


def _number(enabled: bool) -> str:
    return "1" if enabled else "0"


def create(address: str, profile: int, count: int) -> list[int]:
    """Make so many GPU instances of a profile, each with its compute instance; their ids.

    Raises NodedevError where they are not all there then, and removes those that are.
    """
    before = frozenset(each.id for each in instances(address))
    try:
        said = nvidia_smi.answer(["mig", "-cgi", ",".join([str(profile)] * count), "-C", "-i", address])
        fresh = _fresh(address, before)
        whole = sum(bool(each.compute) for each in fresh)
        if (len(fresh), whole) != (count, count):
            raise NodedevError(
                f"{whole} of {count} GPU instances of profile {profile} are there with a compute instance;"
                f" nvidia-smi said: {_told(said)}"
            )
    except NodedevError as error:
        left = _taken_back(address, before)
        if left:
            raise NodedevError(f"{error}; {left}") from error
        raise
    return [each.id for each in fresh if each.id is not None]


def _fresh(address: str, before: Collection[int | None]) -> list[Instance]:
    return [each for each in instances(address) if each.id not in before]


def _taken_back(address: str, before: Collection[int | None]) -> str:
    """Remove the instances that were not there before; in words what has stayed."""
    try:
        with anew(UNDO):
            for each in _fresh(address, before):
                destroy(address, each)
    except NodedevError as error:
        return f"what was made of it could not be removed: {error}"
    return ""


def complete(address: str, instance: Instance) -> None:
    """Make the compute instance of a GPU instance; NodedevError where it has none then."""
    said = _told_to(address, "-cci", instance)
    if not _compute_of(address, instance):
        raise _failure(address, instance, "has got no compute instance", said)


def strip(address: str, instance: Instance) -> None:
    """Remove the compute instances of a GPU instance; NodedevError where it has any then."""
    said = _told_to(address, "-dci", instance)
    if _compute_of(address, instance):
        raise _failure(address, instance, "has kept its compute instances", said)


def destroy(address: str, instance: Instance) -> None:
    """Remove a GPU instance, after its compute instances; NodedevError where it is there then."""
    said = _told_to(address, "-dci", instance) if instance.compute else ""
    said += _told_to(address, "-dgi", instance)
    if any(int(row[4]) == instance.id for row in _rows(_asked(address, "-lgi"), "-lgi", INSTANCE, address)):
        raise _failure(address, instance, "is still there", said)


def _told_to(address: str, option: str, instance: Instance) -> str:
    return nvidia_smi.answer(["mig", option, "-gi", str(instance.id), "-i", address])


def _compute_of(address: str, instance: Instance) -> tuple[int, ...]:
    return next((each.compute for each in instances(address) if each.id == instance.id), ())


def _failure(address: str, instance: Instance, what: str, said: str) -> NodedevError:
    return NodedevError(f"GPU instance {instance.id} of {called(address)} {what}; nvidia-smi said: {_told(said)}")


def remove(address: str, instance: Instance) -> None:
    """The same, after which there is one as before where that fails, be it with another id."""
    try:
        destroy(address, instance)
    except NodedevError:
        with contextlib.suppress(NodedevError), anew(UNDO):
            there = [each for each in instances(address) if each.id == instance.id]
            if not there:
                create(address, instance.profile, 1)
            elif instance.compute and not there[0].compute:
                complete(address, instance)
        raise
