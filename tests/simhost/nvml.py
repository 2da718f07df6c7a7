# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's library libnvidia-ml.so.1 on a simulated host: what its functions say of places on a card.

libnvidia_ml.c has the functions; it is compiled once, and asks this for each call. A fault on `LIBRARY:<function>` has
the function answer late, or with `content` say that: the return code, of which 134 has the process crash, and the
numbers after it.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from simhost.drivers.nvidia_card import PLACEMENT_MIB, NvidiaCard, VgpuType, cards
from simhost.programs import Outcome

if TYPE_CHECKING:
    from simhost.host import Host

LIBRARY = "/usr/lib/libnvidia-ml.so.1"
LINK = "/usr/lib/simhost-nvml"
SOURCE = Path(__file__).with_name("libnvidia_ml.c")
CACHE = Path(__file__).parents[2] / ".build" / "simhost"
_NOT_SUPPORTED, _NOT_FOUND = 3, 6


def compiled() -> Path:
    """The library, compiled if it is not there yet; RuntimeError where the compiler refuses."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = CACHE / f"libnvidia-ml-{digest}.so"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Not by the process's id: that of each simulated host's first process is the same.
        own = Path(tempfile.mkdtemp(dir=CACHE)) / path.name
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(own), str(SOURCE)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            raise RuntimeError(f"{SOURCE.name} was not compiled, which needs gcc and libc6-dev: {said}") from error
        own.rename(path)
        own.parent.rmdir()
    return path


def answer(host: Host, arguments: list[str]) -> Outcome:
    """What a function says: its return code as the status, and numbers."""
    name, address, number = arguments
    effect = host.faults.hit("read", f"{LIBRARY}:{name}")
    time.sleep(effect.delay)
    if effect.content is not None:
        code, _blank, numbers = effect.content.decode().partition(" ")
        return Outcome(int(code), numbers)
    with host.lock:
        card = next((each for each in cards(host) if each.device.name == address), None)
        if name == "nvmlInit_v2":
            return Outcome(0)
        if card is None:
            return Outcome(_NOT_FOUND)
        if name not in _ABOUT_TYPES:
            return Outcome(0)
        wanted = next((each for each in card.supported() if each.number == int(number)), None)
        if wanted is None or wanted.profile is not None:
            return Outcome(_NOT_SUPPORTED)
        return Outcome(0, " ".join(map(str, _ABOUT_TYPES[name](card, wanted))))


def _slots(wanted: VgpuType) -> int:
    return -(-wanted.framebuffer // PLACEMENT_MIB)


def _supported(card: NvidiaCard, wanted: VgpuType) -> list[int]:
    slots = _slots(wanted)
    ids = [*range(0, card.framebuffer // PLACEMENT_MIB - slots + 1, slots)][: wanted.most]
    return [slots, len(ids), *ids]


def _creatable(card: NvidiaCard, wanted: VgpuType) -> list[int]:
    slots, _count, *ids = _supported(card, wanted)
    there = sum(each.type == wanted for each in card.made())
    free = [each for each in ids if there < wanted.most and card.place(wanted, each) is not None]
    return [slots, len(free), *free]


_ABOUT_TYPES: dict[str, Callable[[NvidiaCard, VgpuType], list[int]]] = {
    "nvmlVgpuTypeGetMaxInstances": lambda card, wanted: [wanted.most],
    "nvmlDeviceGetVgpuTypeSupportedPlacements": _supported,
    "nvmlDeviceGetVgpuTypeCreatablePlacements": _creatable,
}
