# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual function of an NVIDIA card, which is a vGPU once a type is written to it: the folder `nvidia`.

The behaviour stands in the `vf` of `sriov` with `of_driver: nvidia`; the physical function has `nvidia_card`.
Parameters: `delay`, seconds from the bind until the folder is there; `type_delay`, seconds until `current_vgpu_type` is
there too; `without`, indices of functions that never get the folder; `header` false: the list of types begins with
its first type.

The folder is as on drivers 17 and later with a kernel of 6.8 or later. A type makes the function a VFIO device, which
goes with the type, and all of it goes with the driver. What nobody may write is refused with EIO and remembered in
`host.forbidden`: `warm_update`, and any file of a card that is not in mode SR-IOV.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable

from simhost.drivers import Driver
from simhost.drivers.mdev_parent import kernel_number
from simhost.drivers.nvidia_card import NO_PLACEMENT, VgpuType, card_of
from simhost.tree import Attribute, Show, Store, failure

HEADER = "ID    : vGPU Name"
NO_INSTANCE = 0xFFFFFFFF
_PARAMS = re.compile(r"([A-Za-z0-9_.]+=[^=, ]+(,[A-Za-z0-9_.]+=[^=, ]+)*)?")


def _number(data: bytes, path: str, most: int) -> int:
    """A number as the driver reads one, blanks around it apart; OSError EINVAL, or ERANGE beyond `most`."""
    number = kernel_number(data.strip(), path)
    if number > most:
        raise failure(errno.ERANGE, path)
    return number


def _line(value: Callable[[], object]) -> Show:
    """What a file shows of a value."""
    return lambda: b"%s\n" % str(value()).encode()


class NvidiaVgpu(Driver):
    """One virtual function while NVIDIA's driver has it."""

    KEYS = frozenset({"delay", "type_delay", "without", "header"})

    def attach(self) -> None:
        """Add the folder, unless this function gets none."""
        given = self.parameters
        vf = self.host.binding.vfs.get(self.device.path)
        if vf is None or self.host.group_or_none(self.device) is None:
            raise ValueError(f"{self.device.path}: nvidia_vgpu is for virtual functions of sriov with an iommu_group")
        self.card = card_of(self.host, vf.physical)
        self.type: VgpuType | None = None
        self.folder = f"{self.device.path}/nvidia"
        self._forget()
        if vf.index in (given.get("without") or ()) or self.card.mode == "N/A":
            return
        self.card.vgpus.append(self)
        self._add_files(float(given.get("delay", 0)), float(given.get("type_delay", 0)))

    def _forget(self) -> None:
        """What is gone with the type."""
        self.type = None
        self.params = ""
        self.placement = NO_PLACEMENT
        self.instance = NO_INSTANCE

    def _add_files(self, delay: float, type_delay: float) -> None:
        tree = self.host.tree
        now = time.monotonic()
        folder = tree.directory(self.folder)
        if delay:
            folder.visible_at = max(folder.visible_at, now + delay)
        files: dict[str, tuple[Show, Store | None]] = {
            "creatable_vgpu_types": (self._list, None),
            "current_vgpu_type": (_line(lambda: self.type.number if self.type else 0), self._store_type),
            "vgpu_params": (_line(lambda: self.params), self._store_params),
            "placement_id": (_line(lambda: self.placement), self._store_placement),
            "gpu_instance_id": (_line(lambda: self.instance), self._store_instance),
            "warm_update": (_line(lambda: 0), self._store_update),
        }
        for name, (show, store) in files.items():
            node = tree.add(Attribute(f"{self.folder}/{name}", show, store))
            if name == "current_vgpu_type" and type_delay:
                node.visible_at = max(node.visible_at, now + type_delay)

    def is_in_use(self) -> bool:
        """Whether a guest has the function's VFIO device open."""
        return self.host.binding.vfio.in_use(self.device)

    def detach(self) -> None:
        """The driver lets go of the function, when its guest has ended: nothing of the vGPU stays."""
        self.host.tree.remove(self.folder)
        if self.type is not None:
            self.host.binding.vfio.close(self.device)
        self._forget()
        if self in self.card.vgpus:
            self.card.vgpus.remove(self)

    def _list(self) -> bytes:
        with self.host.lock:
            types = [] if self.type else self.card.creatable()
            lines = [] if self.parameters.get("header") is False else [HEADER]
            return "".join(f"{line}\n" for line in lines + [f"{t.number:<5} : {t.name}" for t in types]).encode()

    def _admit(self, name: str, data: bytes) -> str:
        """The path of a file that may be written now; OSError EIO on a card of another mode, EPERM while in use."""
        path = f"{self.folder}/{name}"
        if self.card.mode != "SR-IOV":
            self._denounce(path, data)
        if self.is_in_use():
            raise failure(errno.EPERM, path)
        return path

    def _denounce(self, path: str, data: bytes) -> None:
        self.host.forbidden.append((path, data.decode("utf-8", "replace")))
        raise failure(errno.EIO, path)

    def _store_type(self, data: bytes) -> None:
        with self.host.lock:
            path = self._admit("current_vgpu_type", data)
            number = _number(data, path, 0xFFFFFFFF)
            if number:
                self._make(number, path)
            elif self.type is not None:
                self.host.binding.vfio.close(self.device)
                self._forget()

    def _make(self, number: int, path: str) -> None:
        types = [] if self.type else self.card.creatable()
        wanted = next((each for each in types if each.number == number), None)
        if wanted is None:
            raise failure(errno.EIO, path)
        if self.card.heterogeneous:
            place = self.card.place(wanted, self.placement)
            if place is None:
                raise failure(errno.EIO, path)
            self.placement = place
        if wanted.profile is not None:
            instance = self.card.division.place(wanted, None if self.instance == NO_INSTANCE else self.instance)
            if instance is None:
                raise failure(errno.EIO, path)
            self.instance = instance
        self.type = wanted
        self.host.binding.vfio.open(self.device)

    def _store_params(self, data: bytes) -> None:
        with self.host.lock:
            path = self._admit("vgpu_params", data)
            if self.type is None:
                raise failure(errno.EPERM, path)
            if not _PARAMS.fullmatch(data.decode("utf-8", "replace").strip()):
                raise failure(errno.EINVAL, path)
            # The driver takes what is written for a line and drops its end, whatever that is.
            self.params = data[:-1].decode().strip()

    def _store_placement(self, data: bytes) -> None:
        with self.host.lock:
            path = self._admit("placement_id", data)
            number = _number(data, path, NO_PLACEMENT)
            if self.type is not None or not self.card.heterogeneous:
                raise failure(errno.EINVAL, path)
            self.placement = number

    def _store_instance(self, data: bytes) -> None:
        with self.host.lock:
            path = self._admit("gpu_instance_id", data)
            self.instance = _number(data, path, NO_INSTANCE)

    def _store_update(self, data: bytes) -> None:
        self._denounce(f"{self.folder}/warm_update", data)


DRIVER = NvidiaVgpu
