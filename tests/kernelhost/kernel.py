# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's kernel, and the modules that are built for it, in a chroot with the compiler that it was built with."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .debian import Release
from .steps import KernelhostError, run_command, tool
from .unpacked import unpack_tools

PACKAGES = (
    # All three are of one version, the newest.
    "linux-headers-amd64",
    "linux-image-amd64",
    "linux-source",
    # What building modules and uncompressing a kernel take beside the compiler, on which the headers depend.
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "make",
    "mawk",
    "sed",
    "xz-utils",
    "zstd",
)
# Nothing in the guest uses these, and they are most of the modules.
EXCLUDED = (
    "drivers/gpu/drm/amd",
    "drivers/gpu/drm/i915",
    "drivers/gpu/drm/nouveau",
    "drivers/gpu/drm/radeon",
    "drivers/gpu/drm/xe",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/ethernet/broadcom",
    "drivers/net/ethernet/chelsio",
    "drivers/net/ethernet/mellanox",
    "drivers/net/ethernet/qlogic",
    "drivers/net/wireless",
    "drivers/staging",
    "sound",
)
SAMPLES = ("mbochs", "mdpy", "mtty")
OWN_MODULES = ("fcmaxnpiv", "nvidiasim", "vgpusim")
# Where the modules are built, in the chroot.
BUILD = "build"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel below `root`, where programs run in a chroot; `release` as uname -r has it."""

    root: Path
    release: str

    @property
    def modules(self) -> Path:
        return self.root / "usr/lib/modules" / self.release


def unpack_kernel(work: Path, release: Release, log: Path) -> Kernel:
    """The release's kernel with the modules that the guest takes, uncompressed, and what building more takes."""
    root = unpack_tools(work, release, PACKAGES)
    (root / BUILD).mkdir()
    [modules] = (root / "usr/lib/modules").iterdir()
    kernel = Kernel(root, modules.name)
    for folder in EXCLUDED:
        shutil.rmtree(kernel.modules / "kernel" / folder, ignore_errors=True)
    # Debian 13 packs its modules: each boot would unpack them, under emulation, and a busybox could not.
    unpack_all = "find . -name '*.ko.xz' -print0 | xargs --null --no-run-if-empty --max-procs=0 --max-args=64 xz -d"
    run_command([tool("sh"), "-c", unpack_all], log, cwd=kernel.modules)
    members = [f"*/{name}" for name in ("samples/vfio-mdev", "scripts/extract-vmlinux")]
    [archive] = (root / "usr/src").glob("linux-source-*.tar.xz")
    options = ["-x", "-I", "xz -T0", "--strip-components=1", "--wildcards"]
    run_command([tool("tar"), *options, "-f", str(archive), "-C", str(root / BUILD), *members], log)
    return kernel


def build_modules(kernel: Kernel, log: Path) -> None:
    """Add the samples of the kernel's source and our own modules to the kernel's."""
    build = kernel.root / BUILD
    for folder in (build / "samples/vfio-mdev", paths.PACKAGE / "modules"):
        for path in folder.iterdir():
            if path.suffix in (".c", ".h") or path.name == "Kbuild":
                shutil.copy(path, build)
    make = ["make", "-C", f"/usr/src/linux-headers-{kernel.release}", f"M=/{BUILD}", f"-j{os.cpu_count() or 1}"]
    run_command([tool("chroot"), str(kernel.root), *make, "modules"], log)
    target = kernel.modules / "updates"
    target.mkdir()
    for name in (*SAMPLES, *OWN_MODULES):
        shutil.copy(build / f"{name}.ko", target)


def uncompress(kernel: Kernel, target: Path) -> None:
    """Uncompress the kernel here: under emulation the guest would take many seconds to do it."""
    compressed = f"vmlinuz-{kernel.release}"
    command = ["sh", f"/{BUILD}/scripts/extract-vmlinux", f"/boot/{compressed}"]
    with target.open("wb") as file:
        subprocess.run(
            [tool("chroot"), str(kernel.root), *command], stdout=file, stderr=subprocess.DEVNULL, check=False
        )
    if target.stat().st_size == 0:
        raise KernelhostError(f"extract-vmlinux found no kernel in {compressed}")
