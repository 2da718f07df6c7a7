# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans for vHBAs are made of, each with what takes it back; definitions have theirs beside them.

``seconds`` is how long to wait for the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...host.fc_port import Port
from ...host.lun import Lun
from ...plan import Step
from . import kernel
from .definition import Definition
from .parent import called


def create(target: Definition, hba: Port, seconds: float) -> Step:
    """Make the vHBA; nothing is defined by it."""
    return Step(
        f"create vHBA {target.wwpn} (WWNN {target.wwnn}) on {called(hba)}",
        lambda: kernel.make(hba, target.wwnn, target.wwpn, seconds, target.require_online),
        lambda: kernel.delete(target.wwnn, target.wwpn, seconds),
    )


def remove(port: Port, hba: Port, luns: Sequence[Lun], seconds: float, force: bool = False) -> list[Step]:
    """Each unit in good order, then the vport: its deletion alone would pull the disks away.

    ``force`` takes them away also from who has begun to use them meanwhile.
    """
    delete = Step(
        f"delete vHBA {port.wwpn} (WWNN {port.wwnn}) from {called(hba)}",
        lambda: kernel.delete(port.wwnn, port.wwpn, seconds),
        lambda: kernel.make(hba, port.wwnn, port.wwpn, seconds, require_active=False),
    )
    going = [unit.block for unit in luns if unit.block is not None]
    return [*(_remove_lun(port, unit, seconds, going, force) for unit in luns), delete]


def _remove_lun(port: Port, unit: Lun, seconds: float, going: Collection[str], force: bool) -> Step:
    def undo() -> None:
        # A vHBA that had to be made again meanwhile has another host.
        now = kernel.find(port.wwnn, port.wwpn)
        if now is not None:
            kernel.rescan(now.host, seconds)

    node = f" ({unit.block})" if unit.block else ""
    return Step(f"remove LUN {unit.address}{node}", lambda: kernel.remove_lun(unit, seconds, going, force), undo)
