# SPDX-License-Identifier: GPL-3.0-or-later
"""A card of NVIDIA's that MIG divides, and what nvidia-smi says of that and does.

The forms of `mig -lgip`, of the modes and of what is said where there is nothing are those of driver 580 as seen on a
card; those of instances and of what is done as in NVIDIA's MIG user guide. As that says: of an Ampere the mode changes
with a reset, which `-mig` does by itself where no client has the card (`resets` false: never), and is kept over a
reboot; of newer ones it changes at once and is lost. No instance outlasts the driver. `processes` of the scenario are
clients of the card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simhost.drivers.nvidia_card import NvidiaCard, VgpuType

Answer = tuple[int, str]
WORDS = {True: "Enabled", False: "Disabled", None: "N/A"}
_NONE_ENABLED = "No MIG-enabled devices found.\n"
_NO_INSTANCES = (6, "No GPU instances found: Not Found\n")
_NO_COMPUTE = (6, "No compute instances found: Not Found\n")
_IN_USE = 19
# Slices of memory and of compute that a whole card has.
_MEMORY, _COMPUTE = 8, 7


@dataclass(frozen=True)
class Profile:
    """A profile of GPU instances: its slices of memory and of compute, GiB, and how many a card has at most."""

    number: int
    name: str
    memory: int
    compute: int
    gib: float
    total: int


@dataclass
class Instance:
    """A GPU instance, with the ids of its compute instances."""

    number: int
    profile: Profile
    start: int
    compute: list[int] = field(default_factory=list)


class Mig:
    """How a card is divided. `current` is None where it cannot be."""

    # What a card keeps by itself, by its address, over reboots of the host.
    kept: Mapping[str, bool] = {}

    def __init__(self, card: NvidiaCard, given: Mapping[str, Any], word: str) -> None:
        self.card = card
        self.architecture = given.get("architecture")
        self.resets = given.get("resets") is not False
        self.processes: list[dict[str, Any]] = list(given.get("processes") or ())
        self.profiles = [_profile(number, each) for number, each in (given.get("profiles") or {}).items()]
        self.instances: list[Instance] = []
        self.current = {"Enabled": True, "Disabled": False}.get(word)
        if self.is_ampere and self.current is not None:
            self.current = Mig.kept.get(card.device.name, self.current)
        self.pending = self.current

    @property
    def is_ampere(self) -> bool:
        return self.architecture == "Ampere"

    def is_busy(self, number: int | None = None) -> bool:
        """Whether a client has the card, or this instance of it."""
        used = [each.get("gpu_instance") for each in self.processes] + [each.instance for each in self.card.made()]
        return bool(used) if number is None else number in used

    def set(self, enabled: bool) -> bool:
        """Have the mode so; whether it is so now, and not only with the next reset."""
        self.pending = enabled
        if self.is_ampere:
            Mig.kept = {**Mig.kept, self.card.device.name: enabled}
            if self.current != enabled and self.resets and not self.is_busy():
                self.reset()
        elif self.current != enabled:
            self.current = enabled
            self.instances.clear()
        return self.current == enabled

    def reset(self) -> None:
        self.current = self.pending
        self.instances.clear()

    def free(self, profile: Profile) -> int:
        """How many more instances of a profile there can be now."""
        if not self.current:
            return profile.total
        before, count = [*self.instances], 0
        while self.make(profile) is not None:
            count += 1
        self.instances = before
        return count

    def make(self, profile: Profile) -> Instance | None:
        """Make an instance; None where it does not fit."""
        taken = {place for each in self.instances for place in range(each.start, each.start + each.profile.memory)}
        starts = range(0, _MEMORY - profile.memory + 1, profile.memory)
        start = next((each for each in starts if not taken & {*range(each, each + profile.memory)}), None)
        alike = sum(each.profile == profile for each in self.instances)
        compute = sum(each.profile.compute for each in self.instances) + profile.compute
        if start is None or alike >= profile.total or compute > _COMPUTE:
            return None
        used = {each.number for each in self.instances}
        number = next(each for each in range(0 if profile.memory == _MEMORY else 1, 16) if each not in used)
        self.instances = sorted([*self.instances, Instance(number, profile, start)], key=lambda each: each.number)
        return self.find(number)

    def find(self, number: int) -> Instance | None:
        return next((each for each in self.instances if each.number == number), None)

    def place(self, wanted: VgpuType, number: int | None) -> int | None:
        """The instance in which one more vGPU of a type fits, this one where it is named; None for none.

        One instance has vGPUs of one size of memory, and as many as the type says.
        """
        for each in self.instances:
            there = [vgpu.type for vgpu in self.card.made() if vgpu.instance == each.number and vgpu.type]
            fits = each.profile.number == wanted.profile and len(there) < wanted.per_instance
            alike = all(other.framebuffer == wanted.framebuffer for other in there)
            if fits and alike and number in (None, each.number):
                return each.number
        return None


def _profile(number: Any, given: Mapping[str, Any]) -> Profile:
    memory, compute, total = (int(given[key]) for key in ("memory", "compute", "total"))
    return Profile(int(number), str(given["name"]), memory, compute, float(given["gib"]), total)


def set_mode(found: Iterable[NvidiaCard], address: Mapping[NvidiaCard, str], enabled: bool) -> Answer:
    """What `-mig` does."""
    said = ""
    for card in found:
        name = address[card]
        if card.division.current is None:
            return 3, f"{said}Unable to {'enable' if enabled else 'disable'} MIG Mode for GPU {name}: Not Supported\n"
        verb = "enable" if enabled else "disable"
        if card.division.set(enabled):
            said += f"{verb.capitalize()}d MIG Mode for GPU {name}\n"
        else:
            said += (
                f"Warning: MIG mode is in pending {verb} state for GPU {name}:In use by another client\n{name} is"
                " currently being used by one or more other processes (e.g. CUDA application or a monitoring"
                " application such as another instance of nvidia-smi). Please first kill all processes using the"
                " device and retry the command or reboot the system to make MIG mode effective.\n"
            )
    return 0, f"{said}All done.\n"


def reset(found: Iterable[NvidiaCard], address: Mapping[NvidiaCard, str]) -> Answer:
    """What `--gpu-reset` does."""
    said = ""
    for card in found:
        if card.division.is_busy():
            return 1, (
                f"{said}The following GPUs could not be reset:\n  GPU {address[card]}: In use by another client\n\n1"
                " device is currently being used by one or more other processes (e.g., Fabric Manager, CUDA"
                " application, graphics application such as an X server, or a monitoring application such as another"
                " instance of nvidia-smi). Please first kill all processes using this device and all compute"
                " applications running in the system.\n"
            )
        card.division.reset()
        said += f"GPU {address[card]} was successfully reset.\n"
    return 0, f"{said}All done.\n"


def answer(there: list[NvidiaCard], found: list[NvidiaCard], options: list[str]) -> Answer | None:
    """What `mig` says, and does; None for what it does not know."""
    able = [card for card in found if card.division.current is not None]
    if not able:
        return 0, "No MIG-supported devices found.\n"
    places = {card: there.index(card) for card in able}
    if options == ["-lgip"]:
        return 0, _profiles(places)
    enabled = {card: index for card, index in places.items() if card.division.current}
    if not enabled:
        return 0, _NONE_ENABLED
    if options == ["-lgi"]:
        return _instances(enabled)
    if options == ["-lci"]:
        return _compute_instances(enabled)
    flags = {option: value for option, value in zip(options, [*options[1:], ""]) if option.startswith("-")}
    (card, index), *others = enabled.items()
    if others:
        return None
    if set(flags) in ({"-cgi"}, {"-cgi", "-C"}):
        return _create_all(card, index, flags["-cgi"].split(","), "-C" in flags)
    if not flags.get("-gi", "").isdecimal():
        return None
    instance = card.division.find(int(flags["-gi"]))
    if set(flags) == {"-dgi", "-gi"}:
        return _destroy(card, index, instance)
    if set(flags) == {"-dci", "-gi"}:
        return _destroy_compute(card, index, instance)
    return _complete(index, instance) if set(flags) == {"-cci", "-gi"} else None


def _table(width: int, head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    rule = f"+{'-' * width}+\n"
    text = rule + "".join(f"|{line:<{width}}|\n" for line in head) + f"|{'=' * width}|\n"
    return text + "".join("".join(f"|{line:<{width}}|\n" for line in row) + rule for row in rows)


def _profiles(places: Mapping[NvidiaCard, int]) -> str:
    rows = []
    for card, index in places.items():
        for each in card.division.profiles:
            instances = f"{card.division.free(each)}/{each.total}"
            first = f"  {index:>2}  MIG {each.name:<13} {each.number:>4}     {instances:<10} {each.gib:<8.2f}   No   "
            rows.append(
                (
                    f"{first}{16 * each.compute:>4}{each.compute:>6}     0",
                    f"{'':62}{each.compute:>2}{each.compute:>6}     0",
                )
            )
    head = (
        " GPU instance profiles:",
        " GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC",
        "                                Free/Total   GiB              CE    JPEG  OFA",
    )
    return _table(79, head, rows)


def _instances(places: Mapping[NvidiaCard, int]) -> Answer:
    rows = [
        (
            f"  {index:>2}  MIG {each.profile.name:<15}{each.profile.number:>4}{each.number:>9}"
            f"{each.start:>11}:{each.profile.memory}",
        )
        for card, index in places.items()
        for each in card.division.instances
    ]
    head = (
        " GPU instances:",
        " GPU   Name             Profile  Instance   Placement",
        "                          ID       ID       Start:Size",
    )
    return (0, _table(55, head, rows)) if rows else _NO_INSTANCES


def _compute_instances(places: Mapping[NvidiaCard, int]) -> Answer:
    rows = [
        (
            f"  {index:>2}  {each.number:>5}       MIG {each.profile.name:<16}{0:>3}{compute:>10}"
            f"{0:>11}:{each.profile.compute}",
        )
        for card, index in places.items()
        for each in card.division.instances
        for compute in each.compute
    ]
    head = (
        " Compute instances:",
        " GPU     GPU       Name             Profile   Instance   Placement",
        "       Instance                       ID        ID       Start:Size",
        "         ID",
    )
    return (0, _table(68, head, rows)) if rows else _NO_COMPUTE


def _create_all(card: NvidiaCard, index: int, wanted: Iterable[str], complete: bool) -> Answer:
    """One after the other, until one fails; those before it stay."""
    said = ""
    for each in wanted:
        status, told = _create(card, index, each, complete)
        said += told
        if status:
            return status, said
    return 0, said


def _create(card: NvidiaCard, index: int, wanted: str, complete: bool) -> Answer:
    profile = next((each for each in card.division.profiles if wanted in (str(each.number), each.name)), None)
    if profile is None:
        return 6, f"Unable to find GPU instance profile {wanted} on GPU {index:>2}: Not Found\n"
    made = card.division.make(profile)
    if made is None:
        return 15, (
            f"Unable to create a GPU instance on GPU {index:>2} using profile {profile.number}: Insufficient"
            " Resources\n"
            "Failed to create GPU instances: Insufficient Resources\n"
        )
    said = (
        f"Successfully created GPU instance ID {made.number:>2} on GPU {index:>2} using profile MIG {profile.name}"
        f" (ID {profile.number:>2})\n"
    )
    return 0, said + (_complete(index, made)[1] if complete else "")


def _complete(index: int, instance: Instance | None) -> Answer:
    if instance is None:
        return _NO_INSTANCES
    if instance.compute:
        return 15, f"Unable to create a compute instance on GPU {index:>2}: Insufficient Resources\n"
    instance.compute.append(0)
    return 0, (
        f"Successfully created compute instance ID  0 on GPU {index:>2} GPU instance ID {instance.number:>2} using"
        f" profile MIG {instance.profile.name} (ID  0)\n"
    )


def _destroy(card: NvidiaCard, index: int, instance: Instance | None) -> Answer:
    if instance is None:
        return _NO_INSTANCES
    if instance.compute or card.division.is_busy(instance.number):
        return _IN_USE, (
            f"Unable to destroy GPU instance ID {instance.number:>2} from GPU {index:>2}: In use by another client\n"
            "Failed to destroy GPU instances: In use by another client\n"
        )
    card.division.instances.remove(instance)
    return 0, f"Successfully destroyed GPU instance ID {instance.number:>2} from GPU {index:>2}\n"


def _destroy_compute(card: NvidiaCard, index: int, instance: Instance | None) -> Answer:
    if instance is None or not instance.compute:
        return _NO_COMPUTE
    if card.division.is_busy(instance.number):
        return _IN_USE, (
            f"Unable to destroy compute instance ID  0 from GPU {index:>2} GPU instance ID {instance.number:>2}:"
            " In use by another client\nFailed to destroy compute instances: In use by another client\n"
        )
    instance.compute.clear()
    return 0, (
        f"Successfully destroyed compute instance ID  0 from GPU {index:>2} GPU instance ID {instance.number:>2}\n"
    )
