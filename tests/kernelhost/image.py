# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of built images: find the one that fits, or have it built."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .build import build_image
from .cache import find_or_make
from .debian import Release
from .s390x import build as s390x

# Everything in the package that decides what is in an image, which has the packages that the mirror had at the time.
COMMON = ("build.py", "debian.py", "image.py", "unpacked.py")
# What the guest's nvidia-smi shares with the simulated host's.
MIG = "../simhost/nvidia_mig.py"
# By architecture: who builds it, and what else decides.
BUILDERS = {
    "amd64": (build_image, ("initrd-init.sh", "kernel.py", "fcf/*.py", "guest/**/*", "modules/*", MIG)),
    "s390x": (s390x.build_image, ("s390x/build.py", "s390x/kernel.*", "s390x/guest/**/*")),
}
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
        """Uncompressed."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.gz"


def find_or_build(release: Release) -> Image:
    """The release's image for the inputs as they are now, built first if the cache does not have it."""
    name = _hash(release)
    what = f"building image {name} of {release}"
    build, _inputs = BUILDERS[release.architecture]
    return Image(find_or_make(paths.images(release.name) / name, what, lambda work: build(work, release)))


def _hash(release: Release) -> str:
    """A name for all inputs: the release, and contents and modes of the files."""
    digest = hashlib.sha256(f"{release.name}\n".encode())
    patterns = (*COMMON, *BUILDERS[release.architecture][1])
    for path in sorted(path for pattern in patterns for path in paths.PACKAGE.glob(pattern) if path.is_file()):
        executable = os.access(path, os.X_OK)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(paths.PACKAGE)} {executable} {content}\n".encode())
    return digest.hexdigest()[:HASH_LENGTH]
