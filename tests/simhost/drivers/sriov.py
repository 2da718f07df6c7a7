# SPDX-License-Identifier: GPL-3.0-or-later
"""A physical function with SR-IOV: the files of its capability, and the virtual functions made by `sriov_numvfs`.

The behaviour belongs to a PCI function on a bus with `drivers`. Parameters: `totalvfs`; `offset` and `stride`, 1 by
default, by which the addresses of the virtual functions follow; `numvfs`, how many there are after the boot; `drivers`,
the names of those that can make them (by default all but VFIO's); `vf`, what each virtual function is: keys of a
device with `pci` (the vendor, class and NUMA node are the physical function's if they are not given) and `children`,
devices whose `path` continues the function's. In their texts `{vf}` is its index and `{address}` its address.
`enables` is how many a driver makes at most, `configure_errno` with what it refuses to make any, `disable_errno` to
remove them, `keeps_vfs` true leaves them there when the driver goes, or when one of the drivers that it names does.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from typing import Any

from simhost import scenario
from simhost.binding import VirtualFunction
from simhost.devices import Device
from simhost.drivers import Driver
from simhost.drivers.mdev_parent import kernel_number
from simhost.faults import errno_number
from simhost.tree import Attribute, failure

_ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_MOST = 0xFFFF
_TRUE = ("y", "Y", "t", "T", "1", "on", "oN", "On", "ON")
_FALSE = ("n", "N", "f", "F", "0", "of", "oF", "Of", "OF")


def kernel_bool(data: bytes, path: str) -> bool:
    """A truth value as the kernel parses one: by its first letter, or the first two of on and off; OSError EINVAL."""
    text = data.decode("ascii", "replace")
    for value, words in ((True, _TRUE), (False, _FALSE)):
        if text[:1] in words or text[:2] in words:
            return value
    raise failure(errno.EINVAL, path)


class Sriov(Driver):
    """The capability of one physical function."""

    KEYS = frozenset(
        {
            "totalvfs",
            "offset",
            "stride",
            "numvfs",
            "drivers",
            "vf",
            "enables",
            "configure_errno",
            "disable_errno",
            "keeps_vfs",
        }
    )

    def attach(self) -> None:
        """Add the capability's files, and the virtual functions that the boot has."""
        given = self.parameters
        if not self.host.binding.manages(self.device):
            raise ValueError(f"{self.device.path}: sriov is for buses that the scenario has drivers for")
        self.total = int(given["totalvfs"])
        self.offset = int(given.get("offset", 1))
        self.stride = int(given.get("stride", 1))
        self.template: dict[str, Any] = dict(given.get("vf") or {})
        self.autoprobe = True
        self.functions: list[Device] = []
        self.count = 0
        sample = self._declare(0)[0]
        self._add_files(str(sample.attributes["device"]).removeprefix("0x"))
        # A card that is plugged in has no driver yet, and no functions either.
        if self.device.driver is not None:
            self._enable(int(given.get("numvfs", 0)))

    def _add_files(self, device_id: str) -> None:
        path = self.device.path
        tree = self.host.tree
        for name, value in (("totalvfs", self.total), ("offset", self.offset), ("stride", self.stride)):
            tree.add(Attribute(f"{path}/sriov_{name}", f"{value}\n".encode()))
        tree.add(Attribute(f"{path}/sriov_vf_device", f"{int(device_id, 16):x}\n".encode()))
        tree.add(Attribute(f"{path}/sriov_numvfs", self._show, self._store))
        autoprobe = f"{path}/sriov_drivers_autoprobe"
        tree.add(Attribute(autoprobe, lambda: b"%d\n" % self.autoprobe, self._store_autoprobe))

    def _store_autoprobe(self, data: bytes) -> None:
        self.autoprobe = kernel_bool(data, f"{self.device.path}/sriov_drivers_autoprobe")

    def _show(self) -> bytes:
        with self.host.binding.locks.held(self.device.path, self.host.interrupted):
            return f"{self.count}\n".encode()

    def _store(self, data: bytes) -> None:
        path = f"{self.device.path}/sriov_numvfs"
        wanted = kernel_number(data, path)
        if wanted > _MOST:
            raise failure(errno.EINVAL, path)
        if wanted > self.total:
            raise failure(errno.ERANGE, path)
        self.host.insist(path, lambda: self._configure(wanted, path))

    def _configure(self, wanted: int, path: str) -> None:
        with self.host.binding.locks.held(self.device.path, self.host.is_closed):
            if wanted == self.count:
                return
            if not self._driver_makes_them():
                raise failure(errno.ENOENT, path)
            if wanted and self.count:
                raise failure(errno.EBUSY, path)
            refused = self.parameters.get("configure_errno" if wanted else "disable_errno")
            if refused is not None:
                raise failure(errno_number(refused), path)
            if wanted:
                self._enable(min(wanted, int(self.parameters.get("enables", wanted))))
            else:
                self._disable()

    def _driver_makes_them(self) -> bool:
        driver = self.host.binding.driver_of(self.device)
        if driver is None:
            return False
        names = self.parameters.get("drivers")
        return not driver.vfio if names is None else driver.name in names

    def _address(self, index: int) -> str:
        match = _ADDRESS.fullmatch(self.device.name)
        assert match is not None
        domain, bus, slot, function = (int(part, 16) for part in match.groups())
        place = (bus << 8 | slot << 3 | function) + self.offset + self.stride * index
        return f"{domain:04x}:{place >> 8:02x}:{place >> 3 & 0x1F:02x}.{place & 7}"

    def _declare(self, index: int) -> tuple[Device, list[Device]]:
        """The virtual function of this index, and what its drivers make below it."""
        address = self._address(index)
        own = self.device.attributes
        given = scenario.filled(self.template, {"vf": index, "address": address})
        children = given.pop("children", [])
        inherited = {"vendor": own["vendor"], "class": own["class"], "numa_node": own["numa_node"]}
        declaration = {**given, "pci": {**inherited, **given.get("pci", {}), "address": address}}
        place = f"{self.device.parent}/{address}"
        function = replace(scenario.declared_device(declaration, {}), path=place)
        below = [{**child, "path": f"{place.removeprefix('/sys/')}/{child['path']}"} for child in children]
        return function, [scenario.declared_device(child, {}) for child in below]

    def _enable(self, count: int) -> None:
        host, binding, path = self.host, self.host.binding, self.device.path
        for index in range(count):
            function, children = self._declare(index)
            self.functions.append(function)
            binding.vfs[function.path] = VirtualFunction(self.device, index, lambda: self.autoprobe)
            binding.arrive(function, children)
            host.tree.link(f"{path}/virtfn{index}", function.path)
            host.tree.link(f"{function.path}/physfn", path)
            host.announce(function, "change")
            binding.discover(function)
        self.count = count
        if count:
            host.announce(self.device, "change")

    def _disable(self) -> None:
        host = self.host
        for index, function in enumerate(self.functions):
            host.tree.remove(f"{self.device.path}/virtfn{index}")
            if host.binding.functions.get(function.path) is function:
                host.tree.remove(f"{function.path}/physfn")
                host.binding.depart(function)
        self.functions = []
        self.count = 0
        host.network.forget(self.device)

    def unbound(self) -> None:
        """Most drivers take their virtual functions along."""
        keeps = self.parameters.get("keeps_vfs", False)
        if not (self.device.driver in keeps if isinstance(keeps, list) else keeps):
            self._disable()

    def detach(self) -> None:
        """The physical function goes, and all of them with it."""
        self._disable()


DRIVER = Sriov
