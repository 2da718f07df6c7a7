# SPDX-License-Identifier: GPL-3.0-or-later
"""The AP matrix device of s390x: mediated devices that adapters and domains are assigned to.

Parameters beyond those of mdev_parent: `queues`, the queues bound to vfio_ap as "05.0004", where ap_bus does not say
which these are; `max_adapter` and `max_domain`, the highest numbers of the machine; `configured: false` leaves out
ap_config, as kernels before 6.9 do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simhost.drivers.mdev_parent import MdevParent, kernel_number
from simhost.faults import errno_number
from simhost.tree import Show, Store, failure

_MASK_BITS = 256
_HIGHEST = 255


@dataclass
class Matrix:
    """What is assigned to one mediated device."""

    adapters: set[int] = field(default_factory=set)
    domains: set[int] = field(default_factory=set)
    control_domains: set[int] = field(default_factory=set)

    def queues(self) -> set[tuple[int, int]]:
        return {(adapter, domain) for adapter in self.adapters for domain in self.domains}


def mask(numbers: set[int]) -> str:
    """A mask as the AP bus prints it: bit 0 is the leftmost."""
    return f"0x{sum(1 << (_MASK_BITS - 1 - number) for number in numbers):064x}"


def numbers_in(text: str, path: str) -> set[int]:
    try:
        value = int(text, 16)
    except ValueError:
        raise failure(errno_number("EINVAL"), path) from None
    # A short mask is filled with zeros on the right: its leftmost bit stays bit 0.
    digits = len(text.strip().removeprefix("0x"))
    if digits > _MASK_BITS // 4:
        raise failure(errno_number("EINVAL"), path)
    value <<= max(_MASK_BITS - 4 * digits, 0)
    return {number for number in range(_MASK_BITS) if value >> (_MASK_BITS - 1 - number) & 1}


class VfioAp(MdevParent):
    """The matrix device: assignments are checked against the queues that vfio_ap has and against other devices."""

    KEYS = MdevParent.KEYS | {"queues", "max_adapter", "max_domain", "configured"}

    def attach(self) -> None:
        """Add the parent's files and note the queues."""
        self.matrices: dict[str, Matrix] = {}
        self.queues = {self._queue(str(text)) for text in self.parameters.get("queues", [])}
        self.highest = {
            "adapter": int(self.parameters.get("max_adapter", _HIGHEST)),
            "domain": int(self.parameters.get("max_domain", _HIGHEST)),
        }
        self.host.shared["ap_assigned"] = self._assigned
        super().attach()

    def _assigned(self) -> set[tuple[int, int]]:
        """The queues that are assigned to any device."""
        return {queue for matrix in self.matrices.values() for queue in matrix.queues()}

    def _is_free(self, queue: tuple[int, int]) -> bool:
        """Whether the host leaves a queue to vfio_ap, be it there or not."""
        bus = self.host.shared.get("ap_bus")
        return queue in self.queues if bus is None else not bus.is_hosts(queue)

    def _of_guest(self, matrix: Matrix) -> Matrix:
        """What of it a guest gets: no adapter of which vfio_ap lacks a queue."""
        bus = self.host.shared.get("ap_bus")
        if bus is None:
            return matrix
        whole = {a for a in matrix.adapters if all(bus.has_vfio((a, domain)) for domain in matrix.domains)}
        return Matrix(whole, matrix.domains if whole else set(), matrix.control_domains)

    @staticmethod
    def _queue(text: str) -> tuple[int, int]:
        adapter, _dot, domain = text.partition(".")
        return int(adapter, 16), int(domain, 16)

    def instance_attributes(self, uuid: str) -> dict[str, tuple[Show | None, Store | None]]:
        """The assignment files of one device."""
        matrix = self.matrices[uuid] = Matrix()
        result: dict[str, tuple[Show | None, Store | None]] = {}
        for name, kind in (("adapter", "adapter"), ("domain", "domain"), ("control_domain", "domain")):
            for verb in ("assign", "unassign"):
                file = f"{verb}_{name}"
                result[file] = (None, self._changer(uuid, file, f"{name}s", kind))
        result["matrix"] = (self._lister(lambda: self._matrix_lines(matrix)), None)
        result["guest_matrix"] = (self._lister(lambda: self._matrix_lines(self._of_guest(matrix))), None)
        result["control_domains"] = (self._lister(lambda: [f"{n:04x}" for n in sorted(matrix.control_domains)]), None)
        if self.parameters.get("configured", True):
            result["ap_config"] = (lambda: self._config(matrix), self._configurer(uuid))
        return result

    def _changer(self, uuid: str, file: str, what: str, kind: str) -> Store:
        path = f"{self.device.path}/{uuid}/{file}"

        def store(data: bytes) -> None:
            number = kernel_number(data, path)
            if number > self.highest[kind]:
                raise failure(errno_number("ENODEV"), path)
            with self.host.lock:
                old = self.matrices[uuid]
                new = Matrix(set(old.adapters), set(old.domains), set(old.control_domains))
                numbers: set[int] = getattr(new, what)
                if file.startswith("assign"):
                    numbers.add(number)
                else:
                    numbers.discard(number)
                self._replace(uuid, new, path)

        return store

    def _replace(self, uuid: str, new: Matrix, path: str) -> None:
        """Check what `new` adds and make it the device's matrix; OSError as the kernel's checks give it."""
        current = self.matrices[uuid]
        added = new.queues() - current.queues()
        if not all(map(self._is_free, added)):
            raise failure(errno_number("EADDRNOTAVAIL"), path)
        for other, matrix in self.matrices.items():
            if other != uuid and added & matrix.queues():
                raise failure(errno_number("EADDRINUSE"), path)
        current.adapters, current.domains, current.control_domains = new.adapters, new.domains, new.control_domains

    @staticmethod
    def _matrix_lines(matrix: Matrix) -> list[str]:
        if matrix.adapters and matrix.domains:
            return [f"{adapter:02x}.{domain:04x}" for adapter, domain in sorted(matrix.queues())]
        if matrix.adapters:
            return [f"{adapter:02x}." for adapter in sorted(matrix.adapters)]
        return [f".{domain:04x}" for domain in sorted(matrix.domains)]

    def _lister(self, lines: Callable[[], list[str]]) -> Show:
        def show() -> bytes:
            with self.host.lock:
                return "".join(f"{line}\n" for line in lines()).encode()

        return show

    @staticmethod
    def _config(matrix: Matrix) -> bytes:
        return f"{mask(matrix.adapters)},{mask(matrix.domains)},{mask(matrix.control_domains)}\n".encode()

    def _configurer(self, uuid: str) -> Store:
        path = f"{self.device.path}/{uuid}/ap_config"

        def store(data: bytes) -> None:
            parts = data.decode("ascii", "replace").strip().split(",")
            # Without the end of the line the kernel does not find the third mask.
            if len(parts) != 3 or not data.endswith(b"\n"):
                raise failure(errno_number("EINVAL"), path)
            adapters, domains, control_domains = (numbers_in(part, path) for part in parts)
            if max(adapters, default=0) > self.highest["adapter"]:
                raise failure(errno_number("ENODEV"), path)
            if max(domains | control_domains, default=0) > self.highest["domain"]:
                raise failure(errno_number("ENODEV"), path)
            with self.host.lock:
                self._replace(uuid, Matrix(adapters, domains, control_domains), path)

        return store

    def forget(self, uuid: str) -> None:
        """Free the queues of a removed device."""
        self.matrices.pop(uuid, None)


DRIVER = VfioAp
