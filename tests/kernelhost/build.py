# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an image of a release: userland, kernel, test modules, a disk, an initial ram disk. No loop mounts."""

from __future__ import annotations

import gzip
import os
import shutil
import uuid
from pathlib import Path

from . import debian, paths
from .kernel import Kernel, build_modules, uncompress, unpack_kernel
from .steps import KernelhostError, output_of, require_tools, run_command, step, tool

PACKAGES = (
    "ca-certificates",
    "dbus",
    "driverctl",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "lsscsi",
    "mdevctl",
    "nvme-cli",
    "openssh-server",
    "pci.ids",
    "pciutils",
    "procps",
    "python3",
    "python3-libvirt",
    "python3-lxml",
    "python3-pyudev",
    "qemu-system-x86",
    "seabios",
    "sg3-utils",
    "sudo",
    "systemd-sysv",
    "udev",
    "usbutils",
)
# Never read in a test guest, and a third of the packages' files.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# Daemons of libvirt's start when they are first asked, by their sockets, which go with the units in Debian 13.
DISABLED_UNITS = ("libvirtd.service", "virtlogd.service")
ENABLED_UNITS = ("libvirtd.socket", "ssh.service", "systemd-networkd.service", "testhw.service", "virtlogd.socket")
# Each costs seconds of a boot under emulation, and none does anything for the tests.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "apparmor.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "libvirt-guests.service",
    "logrotate.timer",
    "nvmefc-boot-connections.service",
    "nvmf-autoconnect.service",
    "serial-getty@ttyS0.service",
    "systemd-binfmt.service",
    "systemd-network-generator.service",
    "systemd-networkd-persistent-storage.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
    "systemd-udev-load-credentials.service",
    "user@.service",
)
# Of systemd's generators, which run at each boot and whenever units are read anew, the one that has work here.
GENERATOR = "systemd-fstab-generator"
# Where the guest's Python looks for modules, whichever Python 3 it is.
GUEST_PYTHON = "usr/lib/python3/dist-packages"
# What the guest's nvidia-smi says of MIG, as the simulated host's does.
MIG = paths.REPOSITORY / "tests/simhost/nvidia_mig.py"
# What the root disk needs before it can be mounted. ext4 asks for the checksum by a name that no dependency shows.
INITRD_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
DISK_SIZE = "3G"
TOOLS = (
    "busybox",
    "chroot",
    "cpio",
    "depmod",
    "mke2fs",
    "mmdebstrap",
    "modprobe",
    "qemu-img",
    "setpriv",
    "sh",
    "ssh-keygen",
    "tar",
    "unshare",
    "xz",
)


def build_image(work: Path, release: debian.Release) -> Path:
    """Make a folder in `work` with disk.qcow2, vmlinux and initrd.gz; the rest of `work` is the caller's to remove."""
    require_tools(TOOLS)
    if os.geteuid() != 0:
        raise KernelhostError("building an image makes a root tree with device nodes: run it as root")
    log = work / "build.log"
    root = work / "root"
    image = work / "image"
    for folder in (image, work / "kernel"):
        folder.mkdir()
    with step("unpacking the kernel"):
        kernel = unpack_kernel(work / "kernel", release, log)
    with step("building kernel modules"):
        build_modules(kernel, log)
    with step("installing Debian packages"):
        _make_root(root, release, log)
    with step("setting up the guest"):
        _configure(root, log)
    with step("making kernel and initial ram disk"):
        uncompress(kernel, image / "vmlinux")
        _install_modules(kernel, root, log)
        _make_initrd(root, work / "initrd", kernel, image / "initrd.gz", log)
    with step("making the disk image"):
        make_disk(root, work / "disk.raw", image / "disk.qcow2", log)
    for path in image.iterdir():
        path.chmod(0o444)
    return image


def _make_root(root: Path, release: debian.Release, log: Path) -> None:
    """Install the guest's packages into `root`.

    The kernel's is not one of them: it would build an initial ram disk that nothing uses.
    """
    options = [f"--aptopt={option}" for option in debian.apt_options()]
    options += ["--dpkgopt=force-unsafe-io"]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    run_command(
        [
            # Its mounts below the root are seen by nobody else, so nothing can hold them and they end with it.
            *(tool("unshare"), "--mount", "--propagation", "private", "--"),
            tool("mmdebstrap"),
            "--mode=root",
            "--variant=apt",
            "--format=directory",
            f"--include={','.join(PACKAGES)}",
            *options,
            release.suite,
            str(root),
            *debian.sources(release),
        ],
        log,
    )


def _install_modules(kernel: Kernel, root: Path, log: Path) -> None:
    """Put the kernel's modules into `root`."""
    (root / "usr/lib/modules").mkdir(exist_ok=True)
    kernel.modules.rename(root / "usr/lib/modules" / kernel.release)
    run_command([tool("depmod"), "-b", str(root), kernel.release], log)


def _configure(root: Path, log: Path) -> None:
    """Lay the files of guest/ over `root`, add the programs that are shared, and choose what starts at boot."""
    lay_over(paths.PACKAGE / "guest", root)
    (root / GUEST_PYTHON / "fcf").mkdir()
    for path in (paths.PACKAGE / "fcf").glob("*.py"):
        shutil.copyfile(path, root / GUEST_PYTHON / "fcf" / path.name)
    shutil.copyfile(MIG, root / "usr/lib/nvidia" / MIG.name)
    # A host has one machine-id over all its boots; an empty one would be made anew at each `up`.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    run_command([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "kernelhost", "-f", str(host_key)], log)
    for verb, units in (("disable", DISABLED_UNITS), ("enable", ENABLED_UNITS), ("mask", MASKED_UNITS)):
        run_command([tool("chroot"), str(root), "systemctl", verb, *units], log)
    mask_generators(root)
    # What there is to do once after an update of /usr, the packages' scripts have done (systemd-update-done(8)).
    for folder in ("etc", "var"):
        (root / folder / ".updated").touch()


def mask_generators(root: Path) -> None:
    """Have systemd run no generator but GENERATOR (systemd.generator(7))."""
    masked = root / "etc/systemd/system-generators"
    masked.mkdir()
    for path in (root / "usr/lib/systemd/system-generators").iterdir():
        if path.name != GENERATOR:
            (masked / path.name).symlink_to("/dev/null")


def lay_over(source: Path, root: Path) -> None:
    """Put the files of a folder into `root`, each where it is in that folder."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            target = root / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _make_initrd(root: Path, work: Path, kernel: Kernel, target: Path, log: Path) -> None:
    """A ram disk of busybox, INITRD_MODULES with what they depend on, and initrd-init.sh."""
    for folder in ("bin", "dev", "modules", "proc", "root"):
        (work / folder).mkdir(parents=True)
    shutil.copy(tool("busybox"), work / "bin/busybox")
    (work / "init").write_text("#!/bin/busybox sh\n" + (paths.PACKAGE / "initrd-init.sh").read_text())
    (work / "init").chmod(0o755)
    order: list[str] = []
    for module in INITRD_MODULES:
        shown = output_of(["modprobe", "-d", str(root), "-S", kernel.release, "--show-depends", module])
        for line in shown.splitlines():
            kind, path = line.split()[:2]
            name = Path(path).name
            if kind == "insmod" and name not in order:
                order.append(name)
                shutil.copy(path, work / "modules")
    (work / "modules/order").write_text("".join(f"{name}\n" for name in order), encoding="ascii")
    names = work.with_suffix(".names")
    names.write_text("".join(f"{path.relative_to(work)}\n" for path in sorted(work.rglob("*"))), encoding="ascii")
    archive = work.with_suffix(".cpio")
    run_command([tool("cpio"), "--create", "--format=newc", "--quiet"], log, cwd=work, stdin=names, stdout=archive)
    target.write_bytes(gzip.compress(archive.read_bytes(), compresslevel=1))


def make_disk(root: Path, raw: Path, target: Path, log: Path, size: str = DISK_SIZE) -> None:
    """An ext4 file system of the tree, packed. No journal: the disk of a machine that is killed is thrown away."""
    features = ["-O", "^has_journal,^metadata_csum", "-E", "lazy_itable_init=1"]
    run_command([tool("mke2fs"), "-q", "-t", "ext4", *features, "-d", str(root), str(raw), size], log)
    packing = ["-c", "-o", "compression_type=zstd"]
    run_command([tool("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", *packing, str(raw), str(target)], log)
