# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel with vfio_ccw, which none of Debian's for s390x has, built from Debian's source by Debian's compiler."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .. import paths
from ..cache import HASH_LENGTH, find_or_make
from ..debian import BOOKWORM, S390X
from ..steps import KernelhostError, run_command, tool
from ..unpacked import unpack_tools

CONFIG = Path(__file__).with_name("kernel.config")
PACKAGES = (
    "bc",
    "bison",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "flex",
    "gcc",
    "gcc-s390x-linux-gnu",
    "grep",
    "gzip",
    "hostname",
    "libc6-dev",
    "linux-source-6.1",
    "make",
    "mawk",
    "perl-base",
    "sed",
    "tar",
    "xz-utils",
)
# In the chroot: the source, what is built, and what is kept of that.
SOURCE, BUILD, KEPT = "source", "build", "kept"
# What a kernel tells of who built it, and where and when, is no part of it here.
MAKE = (
    "make",
    "--silent",
    f"--directory=/{SOURCE}",
    f"O=/{BUILD}",
    "ARCH=s390",
    "CROSS_COMPILE=s390x-linux-gnu-",
    "KBUILD_BUILD_TIMESTAMP=@0",
    "KBUILD_BUILD_USER=kernelhost",
    "KBUILD_BUILD_HOST=kernelhost",
)


def find_or_build() -> Path:
    """The folder with the file kernel and the tree modules/RELEASE, built first if the cache does not have it."""
    name = _hash()
    return find_or_make(paths.kernels(S390X.name) / name, f"building the kernel {name} of {S390X}", _build)


def _build(work: Path) -> Path:
    log = work / "build.log"
    root = unpack_tools(work, BOOKWORM, PACKAGES)
    for folder in (SOURCE, BUILD, KEPT):
        (root / folder).mkdir()
    [archive] = (root / "usr/src").glob("linux-source-*.tar.xz")
    options = ["-x", "-I", "xz -T0", "--strip-components=1"]
    run_command([tool("tar"), *options, "-f", str(archive), "-C", str(root / SOURCE)], log)
    (root / BUILD / "wanted").write_text(CONFIG.read_text())
    make = [tool("chroot"), str(root), *MAKE]
    run_command([*make, f"KCONFIG_ALLCONFIG=/{BUILD}/wanted", "allnoconfig"], log)
    _check((root / BUILD / ".config").read_text())
    run_command([*make, f"--jobs={os.cpu_count() or 1}", "bzImage", "modules"], log)
    install = (f"INSTALL_MOD_PATH=/{KEPT}", "INSTALL_MOD_STRIP=1", "DEPMOD=true", "modules_install")
    run_command([*make, *install], log)
    kept = root / KEPT
    (root / BUILD / "arch/s390/boot/bzImage").rename(kept / "kernel")
    (kept / "lib/modules").rename(kept / "modules")
    (kept / "lib").rmdir()
    for link in (kept / "modules").glob("*/[bs][uo]*"):
        if link.is_symlink():
            link.unlink()
    return kept


def _check(config: str) -> None:
    """Raise KernelhostError where an option is not as it was wanted, as one is whose own conditions are not met."""
    lines = {*config.splitlines()}
    wanted = [line for line in CONFIG.read_text().splitlines() if not line.startswith("#")]
    missing = [line for line in wanted if line not in lines]
    if missing:
        raise KernelhostError(f"the kernel's configuration has not taken {', '.join(missing)}")


def _hash() -> str:
    digest = hashlib.sha256()
    for path in (Path(__file__), CONFIG):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:HASH_LENGTH]
