# SPDX-License-Identifier: GPL-3.0-or-later
"""IOMMU groups and the nodes below /dev/vfio, which one process at a time may hold open."""

from __future__ import annotations

import errno
import itertools
import stat
import threading
import time
from collections.abc import Callable, Iterable

from simhost.devices import Device
from simhost.tree import Attribute, Node, Tree, failure

GROUPS = "/sys/kernel/iommu_groups"
NODES = "/dev/vfio"
CDEV_MAJOR = 511
_MAJOR = 243
_POLL_SECONDS = 0.02
# FUSE tells the server of a last close a moment after close() returned; a process that opens the node again
# at once must not see its own old handle.
_RELEASE_SECONDS = 0.2


def group_device(group: int) -> Device:
    """The device of a group, in the class that has them all."""
    node = {"name": f"vfio/{group}", "major": _MAJOR, "minor": group}
    return Device(path=f"/sys/devices/virtual/vfio/{group}", class_="vfio", node=node)


class VfioNode(Node):
    """A node of /dev/vfio. A regular file, since a character device would open the kernel's own driver.

    `users` maps open handles to processes; `guests` are the handles that are open for writing. A guest gets the
    device itself by an ioctl on such a handle, and it is the device, not the group, whose use a removal waits for:
    libvirt keeps the group open, for reading, while it has mdevctl remove the device.
    """

    __slots__ = ("closing", "exclusive", "guests", "users")

    def __init__(self, path: str, exclusive: bool = True) -> None:
        super().__init__(path, stat.S_IFREG | (0o600 if exclusive else 0o666))
        self.exclusive = exclusive
        self.users: dict[int, int] = {}
        self.guests: set[int] = set()
        self.closing: set[int] = set()


class Vfio:
    """The groups of the host and who holds their nodes open. `lock` is the host's lock."""

    def __init__(self, tree: Tree, lock: threading.RLock) -> None:
        self._tree = tree
        self._changed = threading.Condition(lock)
        self._members: dict[int, list[str]] = {}
        self._cdevs = itertools.count()
        tree.directory(GROUPS)
        tree.add(VfioNode(f"{NODES}/vfio", exclusive=False))

    def join(self, path: str, group: int | None = None) -> int:
        """Put the device at `path` into a group (None: the lowest free number) and link both ways."""
        tree = self._tree
        if group is None:
            group = next(number for number in itertools.count() if number not in self._members)
        base = f"{GROUPS}/{group}"
        if group not in self._members:
            self._members[group] = []
            tree.directory(f"{base}/devices")
            tree.add(Attribute(f"{base}/reserved_regions", b""))
            tree.add(Attribute(f"{base}/type", b"DMA\n"))
        self._members[group].append(path)
        name = path.rpartition("/")[2]
        tree.link(f"{base}/devices/{name}", path)
        tree.link(f"{path}/iommu_group", base)
        return group

    def leave(self, path: str, group: int) -> None:
        """Take the device out of its group; an empty group is gone."""
        members = self._members[group]
        members.remove(path)
        self._tree.remove(f"{GROUPS}/{group}/devices/{path.rpartition('/')[2]}")
        if not members:
            del self._members[group]
            self._tree.remove(f"{GROUPS}/{group}")

    def add_node(self, name: str) -> str:
        """Add /dev/vfio/`name`; returns its path."""
        return self._tree.add(VfioNode(f"{NODES}/{name}")).path

    def next_cdev(self) -> int:
        """The number of the next vfio character device (vfio0, vfio1, ...)."""
        return next(self._cdevs)

    def opened(self, node: VfioNode, handle: int, pid: int, guest: bool) -> None:
        """Register an open, `guest` if it is for writing too; OSError EBUSY while another handle is open."""
        with self._changed:
            deadline = time.monotonic() + _RELEASE_SECONDS
            while node.exclusive and node.users:
                left = deadline - time.monotonic()
                if left <= 0 or not set(node.users) <= node.closing:
                    raise failure(errno.EBUSY, node.path)
                self._changed.wait(left)
            node.users[handle] = pid
            if guest:
                node.guests.add(handle)

    def flushed(self, node: VfioNode, handle: int) -> None:
        """A descriptor of this handle was closed; others that were inherited may be open still."""
        with self._changed:
            node.closing.add(handle)

    def released(self, node: VfioNode, handle: int) -> None:
        """The last descriptor of this handle was closed."""
        with self._changed:
            node.users.pop(handle, None)
            node.guests.discard(handle)
            node.closing.discard(handle)
            self._changed.notify_all()

    def in_use(self, paths: Iterable[str]) -> bool:
        """Whether a guest uses the device behind one of these nodes."""
        return any(node.guests for node in self._at(paths))

    def _at(self, paths: Iterable[str]) -> list[VfioNode]:
        found = (self._tree.nodes.get(path) for path in paths)
        return [node for node in found if isinstance(node, VfioNode)]

    def wait_free(self, paths: list[str], interrupted: Callable[[], bool]) -> bool:
        """Wait until no guest uses these nodes; False when `interrupted` said so before. Lets go of the lock."""
        return self.wait_released(self._at(paths), interrupted)

    def wait_released(self, nodes: list[VfioNode], interrupted: Callable[[], bool]) -> bool:
        """The same for nodes that may have gone from their place already."""
        with self._changed:
            while any(node.guests for node in nodes):
                if interrupted():
                    return False
                self._changed.wait(_POLL_SECONDS)
        return True
