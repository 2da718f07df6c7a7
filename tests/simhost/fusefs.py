# SPDX-License-Identifier: GPL-3.0-or-later
"""The FUSE file system that shows a host's tree with sysfs's manners."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# mfusepy looks for FUSE 2 first, by way of ldconfig and the compiler; naming the library saves that time.
os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse3.so.3")

import mfusepy

from simhost.faults import Effect
from simhost.host import Host
from simhost.tree import Attribute, Directory, Link, Node, failure
from simhost.vfio import VfioNode

_POLL_SECONDS = 0.02
_READABLE = 0o444
_WRITABLE = 0o222

_library = mfusepy._libfuse
_library.fuse_invalidate_path.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


def interrupted() -> bool:
    """Whether the process behind the current request was told to stop."""
    return bool(_library.fuse_interrupted())


def pause(seconds: float, path: str) -> None:
    """Sleep within a request; OSError EINTR as soon as its process is told to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if interrupted():
            raise failure(errno.EINTR, path)
        time.sleep(min(left, _POLL_SECONDS))


@dataclass
class Handle:
    """An open file; its first read, and each from the start, takes a new snapshot, as the kernel's seq files do."""

    node: Node
    snapshot: bytes | None = None


# mfusepy ships no types, so that mypy knows nothing of the class.
class SysfsOperations(mfusepy.Operations):  # type: ignore[misc]
    """Requests by path. Names are cached by the kernel for long; what disappears is invalidated at once."""

    use_ns = True

    def __init__(self) -> None:
        self.host: Host | None = None
        self.on_ready: Callable[[], None] = lambda: None
        self._fuse: int | None = None
        self._handles: dict[int, Handle] = {}
        self._numbers = itertools.count(1)

    @property
    def running(self) -> Host:
        """The host, which is there before the first request."""
        if self.host is None:
            raise failure(errno.ENOTCONN, "/")
        return self.host

    def invalidate(self, path: str) -> None:
        """Make the kernel ask again for an entry that is gone."""
        if self._fuse is not None:
            _library.fuse_invalidate_path(self._fuse, path.encode("utf-8", "surrogateescape"))

    def init(self, path: str) -> None:
        self._fuse = _library.fuse_get_context().contents.fuse
        self.on_ready()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self.running.tree.get(path)
        return {
            "st_mode": node.mode,
            "st_nlink": 2 if isinstance(node, Directory) else 1,
            "st_size": len(node.target) if isinstance(node, Link) else node.size,
            "st_uid": node.uid,
            "st_gid": node.gid,
            "st_blksize": 4096,
        }

    def readlink(self, path: str) -> str:
        node = self.running.tree.get(path)
        if not isinstance(node, Link):
            raise failure(errno.EINVAL, path)
        effect = self._before("read", path)
        return node.target if effect.content is None else os.fsdecode(effect.content)

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, int, int]]:
        node = self.running.tree.get(path)
        if not isinstance(node, Directory):
            raise failure(errno.ENOTDIR, path)
        self._before("list", path)
        now = time.monotonic()
        yield ".", stat.S_IFDIR, 0
        yield "..", stat.S_IFDIR, 0
        for name, child in list(node.children.items()):
            if not child.visible_at or child.visible_at <= now:
                yield name, stat.S_IFMT(child.mode), 0

    def open(self, path: str, flags: int) -> int:
        host = self.running
        node = host.tree.get(path)
        access = flags & os.O_ACCMODE
        # kernfs refuses these to root as well.
        if access != os.O_RDONLY and not node.mode & _WRITABLE:
            raise failure(errno.EACCES, path)
        if access != os.O_WRONLY and not node.mode & _READABLE:
            raise failure(errno.EACCES, path)
        self._before("open", path)
        number = next(self._numbers)
        if isinstance(node, VfioNode):
            host.vfio.opened(node, number, mfusepy.fuse_get_context()[2], access == os.O_RDWR)
        self._handles[number] = Handle(node)
        return number

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        handle = self._handles[fh]
        if not isinstance(handle.node, Attribute):
            raise failure(errno.EINVAL, path)
        if offset == 0 or handle.snapshot is None:
            effect = self._before("read", path)
            self.running.tree.get(path)
            handle.snapshot = self.running.faults.shown(handle.node) if effect.content is None else effect.content
        return handle.snapshot[offset : offset + size]

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        node = self._handles[fh].node
        if not isinstance(node, Attribute) or node.store is None:
            raise failure(errno.EIO if isinstance(node, Attribute) else errno.EINVAL, path)
        host = self.running
        if host.tree.nodes.get(path) is not node:
            raise failure(errno.ENODEV, path)
        effect = host.faults.hit("write", path)
        if effect.errno is not None:
            pause(effect.delay, path)
            raise failure(effect.errno, path)
        held = host.faults.hold_values(host.tree)
        try:
            node.store(data)
        finally:
            host.faults.release_values(host.tree, held)
        pause(effect.delay, path)
        return len(data)

    def _before(self, op: str, path: str) -> Effect:
        """Apply the faults that delay or refuse an operation."""
        effect = self.running.faults.hit(op, path)
        if effect.delay:
            pause(effect.delay, path)
        if effect.errno is not None:
            raise failure(effect.errno, path)
        return effect

    def flush(self, path: str, fh: int) -> int:
        node = self._handles[fh].node
        if isinstance(node, VfioNode):
            self.running.vfio.flushed(node, fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        node = self._handles.pop(fh).node
        if isinstance(node, VfioNode):
            self.running.vfio.released(node, fh)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self.running.tree.get(path)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        node = self.running.tree.get(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        node = self.running.tree.get(path)
        unchanged = 0xFFFFFFFF
        node.uid = node.uid if uid in (-1, unchanged) else uid
        node.gid = node.gid if gid in (-1, unchanged) else gid
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self.running.tree.get(path)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_namemax": 255}

    def mkdir(self, path: str, mode: int) -> int:
        raise failure(errno.EPERM, path)

    def rmdir(self, path: str) -> int:
        raise failure(errno.EPERM, path)

    def unlink(self, path: str) -> int:
        raise failure(errno.EPERM, path)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        raise failure(errno.EACCES, path)


def serve(operations: SysfsOperations, mountpoint: str) -> None:
    """Mount and answer requests until the process ends. Many may wait at once, hence the number of threads."""
    mfusepy.FUSE(
        operations,
        mountpoint,
        foreground=True,
        fsname="simhost",
        allow_other=True,
        default_permissions=True,
        max_threads=256,
        max_idle_threads=8,
        direct_io=True,
        entry_timeout=3600,
        attr_timeout=3600,
        negative_timeout=0,
    )
