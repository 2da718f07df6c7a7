# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's programs on a simulated host: nvidia-smi, and the part of sriov-manage that is not in sriov_manage.sh.

A fault on the path of a program has it answer late, fail, or print something else and do nothing.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from simhost import nvidia_smi, nvml
from simhost.drivers.nvidia_card import cards
from simhost.programs import Outcome

if TYPE_CHECKING:
    from simhost.host import Host

SMI = "/usr/bin/nvidia-smi"
_GO_ON, _REFUSED, _NOTHING_TO_DO = 0, 1, 2


def smi(host: Host, arguments: list[str]) -> Outcome:
    """nvidia-smi. A fault on its path has it answer late, print something else, or fail as without a driver."""
    effect = host.faults.hit("read", SMI)
    time.sleep(effect.delay)
    if effect.errno is not None:
        return Outcome(9, out=f"{SMI}: {os.strerror(effect.errno)}\n")
    if effect.content is not None:
        return Outcome(0, effect.content.decode("utf-8", "surrogateescape"))
    status, text = nvidia_smi.answer(host, arguments)
    return Outcome(status, text)


def sriov_manage(host: Host, arguments: list[str]) -> Outcome:
    """Whether sriov-manage, at a path, may take a card: not while a client has it.

    A fault on the path is a client for that time: EBUSY; another errno is another failure. With `content` it says that
    and does nothing.
    """
    path, address = arguments
    effect = host.faults.hit("read", path)
    time.sleep(effect.delay)
    if effect.content is not None:
        return Outcome(_NOTHING_TO_DO, effect.content.decode("utf-8", "surrogateescape"))
    if effect.errno not in (None, errno.EBUSY):
        return Outcome(_REFUSED, err=f"{path}: {os.strerror(effect.errno or 0)}\n")
    with host.lock:
        has_guest = any(vgpu.is_in_use() for card in cards(host) if card.device.name == address for vgpu in card.vgpus)
    if effect.errno is not None or has_guest:
        return Outcome(_REFUSED, err=f"Cannot obtain unbindLock for {address}\n")
    return Outcome(_GO_ON)


PROGRAMS: dict[str, Callable[[Host, list[str]], Outcome]] = {
    "nvidia-smi": smi,
    "nvml": nvml.answer,
    "sriov-manage": sriov_manage,
}
