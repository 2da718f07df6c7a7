# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the simulated sysfs: directories, links, attributes and VFIO nodes, found by their full path."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Show = Callable[[], bytes]
Store = Callable[[bytes], None]

ATTRIBUTE_SIZE = 4096


def failure(number: int, path: str) -> OSError:
    """An OSError with its usual text, for the file `path` of the tree."""
    return OSError(number, os.strerror(number), path)


def relative_target(link: str, target: str) -> str:
    """The target that the kernel writes: up to the directory shared by the link's and the target's directory.

    So a link to an ancestor goes one level above it and names it, as in `device -> ../../../0000:00:03.0`.
    """
    base = link.split("/")[:-1]
    parts = target.split("/")
    shared = 0
    while shared < min(len(base), len(parts) - 1) and base[shared] == parts[shared]:
        shared += 1
    return "/".join([".."] * (len(base) - shared) + parts[shared:])


class Node:
    """What every entry has. `visible_at` is a time.monotonic() value before which nobody sees the entry."""

    __slots__ = ("gid", "mode", "path", "uid", "visible_at")

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.visible_at = 0.0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def size(self) -> int:
        return 0


class Directory(Node):
    """A directory; children in the order in which they were made."""

    __slots__ = ("children",)

    def __init__(self, path: str) -> None:
        super().__init__(path, stat.S_IFDIR | 0o755)
        self.children: dict[str, Node] = {}


class Link(Node):
    """A symbolic link whose target is relative, as all of the kernel's are."""

    __slots__ = ("target",)

    def __init__(self, path: str, target: str) -> None:
        super().__init__(path, stat.S_IFLNK | 0o777)
        self.target = target


class Attribute(Node):
    """A regular file: `content` is its text or makes it at each read; `store` takes one write call."""

    __slots__ = ("binary_size", "content", "store")

    def __init__(
        self,
        path: str,
        content: bytes | Show = b"",
        store: Store | None = None,
        mode: int | None = None,
        binary_size: int | None = None,
    ) -> None:
        if mode is None:
            mode = 0o444 if store is None else 0o644
        super().__init__(path, stat.S_IFREG | mode)
        self.content = content
        self.store = store
        self.binary_size = binary_size

    @property
    def size(self) -> int:
        return ATTRIBUTE_SIZE if self.binary_size is None else self.binary_size

    def show(self) -> bytes:
        """The content as a read sees it now; OSError where the driver refuses."""
        return self.content() if callable(self.content) else self.content

    def keep(self, data: bytes) -> None:
        """A store function for attributes that simply remember what was written, byte for byte."""
        self.content = data


N = TypeVar("N", bound=Node)


class Tree:
    """All entries below the mount, by full path as seen inside the host ("/sys/...", "/dev/vfio/...")."""

    def __init__(self) -> None:
        self.root = Directory("")
        self.nodes: dict[str, Node] = {"": self.root}
        self.on_add: Callable[[Node], None] | None = None
        self.on_remove: Callable[[str], None] | None = None

    def get(self, path: str) -> Node:
        """The entry at `path`; OSError ENOENT if there is none or it does not show yet."""
        node = self.nodes.get(path if path != "/" else "")
        if node is None or (node.visible_at and node.visible_at > time.monotonic()):
            raise failure(errno.ENOENT, path)
        return node

    def exists(self, path: str) -> bool:
        return path in self.nodes

    def directory(self, path: str) -> Directory:
        """The directory at `path`, made with its missing ancestors."""
        node = self.nodes.get(path)
        if node is None:
            return self.add(Directory(path))
        if not isinstance(node, Directory):
            raise ValueError(f"{path} is declared both as a directory and as a file: rename one of them")
        return node

    def add(self, node: N) -> N:
        """Add an entry; ValueError if its name is taken."""
        if node.path in self.nodes:
            raise ValueError(f"{node.path} is declared twice: remove one of the declarations")
        parent, _slash, name = node.path.rpartition("/")
        holder = self.directory(parent)
        node.visible_at = holder.visible_at
        if self.on_add is not None:
            self.on_add(node)
        self.nodes[node.path] = node
        holder.children[name] = node
        return node

    def link(self, path: str, target: str) -> Link:
        """Add a link to the absolute path `target`, stored relative to the link's place.

        It shows no earlier than its target, which the kernel makes before it.
        """
        link = self.add(Link(path, relative_target(path, target)))
        aim = self.nodes.get(target)
        if aim is not None:
            link.visible_at = max(link.visible_at, aim.visible_at)
        return link

    def remove(self, path: str) -> None:
        """Remove an entry with all below it; nothing happens if it is not there."""
        node = self.nodes.get(path)
        if node is None:
            return
        parent, _slash, name = path.rpartition("/")
        holder = self.nodes[parent]
        if isinstance(holder, Directory):
            del holder.children[name]
        for entry in list(self.walk(node)):
            del self.nodes[entry.path]
            if self.on_remove is not None:
                self.on_remove(entry.path)

    def resolve(self, path: str) -> str:
        """The real path of `path`, with the tree's links followed; OSError ENOENT or ELOOP."""
        pending = [part for part in reversed(path.split("/")) if part]
        place = ""
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                place = place.rpartition("/")[0]
                continue
            node = self.get(f"{place}/{part}")
            if isinstance(node, Link):
                links += 1
                if links > 40:
                    raise failure(errno.ELOOP, path)
                pending.extend(reversed(node.target.split("/")))
            else:
                place = node.path
        return place

    def walk(self, node: Node) -> Iterator[Node]:
        """`node` and everything below it, parents first."""
        yield node
        if isinstance(node, Directory):
            for child in list(node.children.values()):
                yield from self.walk(child)
