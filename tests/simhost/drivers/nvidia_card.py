# SPDX-License-Identifier: GPL-3.0-or-later
"""A physical function of NVIDIA's that makes vGPUs: its memory, its types and what fits now.

The behaviour stands before `sriov` of the same function. The vGPUs themselves are `nvidia_vgpu` of the virtual
functions. Parameters: `framebuffer`, the card's memory in MiB; `types` maps numbers to `name`, `framebuffer` (MiB),
`max_instances` (by default what the memory has room for) and, of a type for a MIG instance, `gpu_instance_profile`;
`mode` is the "Host VGPU Mode" that nvidia-smi tells of, `SR-IOV` (the default), `Non SR-IOV` or `N/A`; `heterogeneous`
true: the card takes vGPUs of different sizes after the boot, false (the default): it can be told to, `N/A`: never;
`product` and `uuid` are its names. `mig` is `Enabled`, `Disabled` or `N/A` (the default) after the first boot;
`architecture` (as `Ampere`), `resets`, `profiles` and `processes` are as in nvidia_mig.py: `profiles` maps numbers to
`name`, `memory` and `compute` (slices), `gib` and `total`; `processes` are `pid`, `name` and `gpu_instance`; of a type
with a profile, `max_per_instance` (1 by default) is how many one GPU instance has.

As nvidia-smi's documents say of a card: a homogeneous one takes vGPUs of one size of memory at a time, whatever the
letter of their type; a heterogeneous one what fits; the mode is lost with the driver. With MIG, a vGPU needs a GPU
instance of its type's profile.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from simhost.devices import Device
from simhost.drivers import Driver
from simhost.nvidia_mig import WORDS, Mig

if TYPE_CHECKING:
    from simhost.bus_drivers import BusDriver
    from simhost.drivers.nvidia_vgpu import NvidiaVgpu
    from simhost.host import Host

NAME = "nvidia"
NO_PLACEMENT = 0xFFFF
PLACEMENT_MIB = 1024
MODES = ("SR-IOV", "Non SR-IOV", "N/A")


@dataclass(frozen=True)
class VgpuType:
    """A type: `framebuffer` in MiB, `most` of them on a card, and the GPU instance profile of one for MIG, with
    how many of them one such instance has.
    """

    number: int
    name: str
    framebuffer: int
    most: int
    profile: int | None = None
    per_instance: int = 1


def _type(number: Any, given: Mapping[str, Any], framebuffer: int) -> VgpuType:
    size = int(given["framebuffer"])
    room = framebuffer // size
    profile = given.get("gpu_instance_profile")
    most = min(int(given.get("max_instances", room)), room)
    return VgpuType(
        int(number),
        str(given["name"]),
        size,
        most,
        None if profile is None else int(profile),
        int(given.get("max_per_instance", 1)),
    )


class NvidiaCard(Driver):
    """One card. `vgpus` are its virtual functions that the driver has, in the order in which it got them."""

    KEYS = frozenset({"framebuffer", "types", "mode", "heterogeneous", "mig", "product", "uuid"}) | {
        "architecture",
        "profiles",
        "processes",
        "resets",
    }

    def attach(self) -> None:
        """Read the parameters: the function itself has no files of the card's."""
        given = self.parameters
        self.framebuffer = int(given["framebuffer"])
        self.types = [_type(number, each, self.framebuffer) for number, each in given["types"].items()]
        self.mode = str(given.get("mode", "SR-IOV"))
        mig = str(given.get("mig", "N/A"))
        self.division = Mig(self, given, mig)
        self.product = str(given.get("product", "NVIDIA L40S"))
        # The same after each boot.
        self.uuid = str(given.get("uuid", f"GPU-{uuid5(NAMESPACE_OID, self.device.name)}"))
        self.vgpus: list[NvidiaVgpu] = []
        self.switchable = given.get("heterogeneous") != "N/A" and self.mig != "Enabled" and self.mode == "SR-IOV"
        self.heterogeneous = self.switchable and bool(given.get("heterogeneous", False))
        for value, values in ((self.mode, MODES), (mig, tuple(WORDS.values()))):
            if value not in values:
                raise ValueError(f"{self.device.path}: nvidia_card: {value!r} is not one of {', '.join(values)}")

    @property
    def mig(self) -> str:
        """Whether MIG divides the card, in nvidia-smi's word."""
        return WORDS[self.division.current]

    def refusal(self, function: Device, driver: BusDriver) -> int | None:
        """NVIDIA's driver refuses virtual functions while it does not have the card; a VFIO driver gets none."""
        if driver.vfio:
            return errno.EINVAL
        return errno.ENODEV if driver.name == NAME and self.device.driver != NAME else None

    def unbound(self) -> None:
        """The mode is the driver's: it goes with it, as GPU instances do."""
        self.heterogeneous = False
        self.division.instances.clear()

    def supported(self) -> list[VgpuType]:
        """The types that the card has in its present mode, whatever is made."""
        return [each for each in self.types if (each.profile is not None) == (self.mig == "Enabled")]

    def creatable(self) -> list[VgpuType]:
        """The types of which one more fits on the card now."""
        return [each for each in self.supported() if self._fits(each)]

    def made(self) -> list[NvidiaVgpu]:
        """The functions that have a type."""
        return [each for each in self.vgpus if each.type is not None]

    def _fits(self, wanted: VgpuType) -> bool:
        if wanted.profile is not None:
            return self.division.place(wanted, None) is not None
        there = [each.type for each in self.made() if each.type is not None]
        if self.heterogeneous:
            return there.count(wanted) < wanted.most and self.place(wanted) is not None
        return len(there) < wanted.most and all(each.framebuffer == wanted.framebuffer for each in there)

    def place(self, wanted: VgpuType, placement: int = NO_PLACEMENT) -> int | None:
        """A free placement on a heterogeneous card, the lowest or the one asked for; None if it is not free.

        A placement counts GiB of the card's memory from its start; a vGPU takes one piece.
        """
        given = range(placement, placement + 1)
        places = range(self.framebuffer // PLACEMENT_MIB) if placement == NO_PLACEMENT else given
        return next((place for place in places if self._is_free(place * PLACEMENT_MIB, wanted.framebuffer)), None)

    def _is_free(self, start: int, size: int) -> bool:
        return start + size <= self.framebuffer and all(
            start + size <= first or end <= start for first, end in self._taken()
        )

    def _taken(self) -> Iterable[tuple[int, int]]:
        for each in self.made():
            assert each.type is not None
            start = each.placement * PLACEMENT_MIB
            yield start, start + each.type.framebuffer


def cards(host: Host) -> list[NvidiaCard]:
    """The cards that NVIDIA's driver has, by address."""
    found = [driver for driver in host.drivers if isinstance(driver, NvidiaCard) and driver.device.driver == NAME]
    return sorted(found, key=lambda card: card.device.name)


def card_of(host: Host, physical: Device) -> NvidiaCard:
    """The card that a physical function is; ValueError if the scenario does not say so."""
    for driver in host.behaviours_of(physical):
        if isinstance(driver, NvidiaCard):
            return driver
    raise ValueError(f"{physical.path}: virtual functions with nvidia_vgpu: give it nvidia_card, before sriov")


DRIVER = NvidiaCard
