# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of built images: find the one that fits, or have it built, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .build import build_image
from .debian import Kernel, installed_kernel
from .steps import locked, say, step

# Everything in the package that decides what is in an image. The mirror does not: it only says where from.
INPUTS = ("build.py", "debian.py", "image.py", "initrd-init.sh", "fcf/*.py", "guest/**/*", "modules/*")
KEEP_IMAGES = 2
HASH_LENGTH = 16


@dataclass(frozen=True)
class Image:
    """A built image; its files are never written to again."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.gz"

    @property
    def size(self) -> int:
        """Bytes on the disk, which holes in a file do not use."""
        return sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())


def find_or_build() -> Image:
    """The image for the inputs as they are now, built first if the cache does not have it."""
    kernel = installed_kernel()
    image = Image(paths.cache() / _hash(kernel))
    with locked(paths.cache() / "lock"):
        if image.folder.exists():
            # The age decides which images are pruned, so that of one in use must not grow.
            os.utime(image.folder)
            return image
        with step(f"building image {image.folder.name} with kernel {kernel.release}"):
            _build_beside(image, kernel)
        _prune(keep=image)
    say(f"image {image.folder.name}: {image.size / 1e6:.0f} MB in {image.folder}")
    return image


def _hash(kernel: Kernel) -> str:
    """A name for all inputs: contents and modes of the files, and the kernel."""
    digest = hashlib.sha256(f"{kernel.release} {kernel.version}\n".encode())
    for path in sorted(path for pattern in INPUTS for path in paths.PACKAGE.glob(pattern) if path.is_file()):
        executable = os.access(path, os.X_OK)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(paths.PACKAGE)} {executable} {content}\n".encode())
    return digest.hexdigest()[:HASH_LENGTH]


def _build_beside(image: Image, kernel: Kernel) -> None:
    """Build in a temporary folder of the cache and rename the result, so that no half image is ever found."""
    for leftover in paths.cache().glob("build-*"):
        shutil.rmtree(leftover)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=paths.cache()))
    try:
        build_image(work, kernel)
        (work / "image").rename(image.folder)
    finally:
        shutil.rmtree(work)


def _prune(keep: Image) -> None:
    """Remove the images that were unused for longest. A running machine has its files open and can go on."""
    others = [path for path in paths.cache().iterdir() if path.is_dir() and path != keep.folder]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEEP_IMAGES - 1 :]:
        say(f"removing old image {path.name}")
        shutil.rmtree(path)
