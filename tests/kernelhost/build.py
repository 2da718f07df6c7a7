# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an image: Debian's userland and kernel, the test modules, a disk, an initial ram disk. No loop mounts."""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import subprocess
import uuid
from pathlib import Path

from . import debian, paths
from .steps import KernelhostError, output_of, require_tools, run_command, step, tool

PACKAGES = (
    "ca-certificates",
    "dbus",
    "driverctl",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon-driver-lxc",
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
    "sg3-utils",
    "sudo",
    "systemd-sysv",
    "udev",
    "usbutils",
)
# Never read in a test guest, and a third of the packages' files.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# No such hardware can be in the guest.
EXCLUDED_DRIVERS = ("drivers/infiniband", "drivers/media", "drivers/net/wireless", "drivers/staging", "sound")
SAMPLES = ("mbochs", "mdpy", "mtty")
OWN_MODULES = ("fcmaxnpiv", "vgpusim")
ENABLED_UNITS = ("libvirtd.socket", "ssh.service", "systemd-networkd.service", "testhw.service")
# libvirtd starts when it is first asked, by its socket.
DISABLED_UNITS = ("libvirtd.service",)
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
    "systemd-machined.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
)
# Where Debian 12's Python looks for modules that no package brings.
GUEST_PYTHON = "usr/local/lib/python3.11/dist-packages"
# What the root disk needs before it can be mounted. ext4 asks for the checksum by a name that no dependency shows.
INITRD_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
DISK_SIZE = "3G"
TOOLS = (
    "busybox",
    "chroot",
    "cpio",
    "depmod",
    "dpkg-deb",
    "gcc",
    "make",
    "mke2fs",
    "mmdebstrap",
    "modprobe",
    "qemu-img",
    "readelf",
    "setpriv",
    "ssh-keygen",
    "tar",
    "unshare",
    "xz",
)


def build_image(work: Path, kernel: debian.Kernel) -> Path:
    """Make a folder in `work` with disk.qcow2, vmlinux and initrd.gz; the rest of `work` is the caller's to remove."""
    require_tools(TOOLS)
    if os.geteuid() != 0:
        raise KernelhostError("building an image makes a root tree with device nodes: run it as root")
    log = work / "build.log"
    root = work / "root"
    image = work / "image"
    image.mkdir()
    with step("installing Debian packages"):
        _make_root(root, work / "packages", kernel, log)
    with step("unpacking the kernel"):
        unpacked = _unpack_kernel(work / "packages", kernel, root, log)
    with step("building kernel modules"):
        _build_modules(unpacked, work / "modules", kernel, root, log)
    with step("setting up the guest"):
        _configure(root, log)
    with step("making kernel and initial ram disk"):
        _make_kernel(unpacked, kernel, image / "vmlinux")
        _make_initrd(root, work / "initrd", kernel, image / "initrd.gz", log)
    with step("making the disk image"):
        _make_disk(root, work / "disk.raw", image / "disk.qcow2", log)
    for path in image.iterdir():
        path.chmod(0o444)
    return image


def _make_root(root: Path, packages: Path, kernel: debian.Kernel, log: Path) -> None:
    """Install the guest's packages into `root`; download, without installing, the kernel's into `packages`.

    The kernel image is not installed as a package: it would build an initial ram disk that nothing uses.
    """
    packages.mkdir()
    wanted = (f"linux-image-{kernel.release}={kernel.version}", f"linux-source-6.1={kernel.version}")
    download = (
        f'cd {shlex.quote(str(packages))} && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download {" ".join(wanted)}'
    )
    options = [f"--aptopt={option}" for option in debian.apt_options()]
    # The downloads are outside the folders that apt's own user may enter.
    options += ['--aptopt=APT::Sandbox::User "root";', "--dpkgopt=force-unsafe-io"]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    try:
        run_command(
            [
                # Its mounts below the root are seen by nobody else, so nothing can hold them and they end with it.
                *(tool("unshare"), "--mount", "--propagation", "private", "--"),
                tool("mmdebstrap"),
                "--mode=root",
                "--variant=apt",
                "--format=directory",
                f"--include={','.join(PACKAGES)}",
                f"--customize-hook={download}",
                *options,
                debian.SUITE,
                str(root),
                *debian.sources(),
            ],
            log,
        )
    except KernelhostError as error:
        raise KernelhostError(
            f"{error}\nIf the mirror has no linux-image-{kernel.release} {kernel.version}, this machine's kernel "
            "headers are of another version: run: apt-get update && apt-get install linux-headers-amd64"
        ) from error


def _unpack_kernel(packages: Path, kernel: debian.Kernel, root: Path, log: Path) -> Path:
    """Put the kernel's modules into `root`; return a folder with vmlinuz, and the parts of the source that we use."""
    unpacked = packages / "unpacked"
    for package in packages.glob("*.deb"):
        run_command([tool("dpkg-deb"), "--extract", str(package), str(unpacked)], log)
    modules = unpacked / "lib" / "modules" / kernel.release
    for folder in EXCLUDED_DRIVERS:
        shutil.rmtree(modules / "kernel" / folder)
    (root / "usr/lib/modules").mkdir(exist_ok=True)
    modules.rename(root / "usr/lib/modules" / kernel.release)
    members = [f"linux-source-6.1/{name}" for name in ("samples/vfio-mdev", "scripts/extract-vmlinux")]
    archive = unpacked / "usr/src/linux-source-6.1.tar.xz"
    run_command([tool("tar"), "-x", "-I", "xz -T0", "-f", str(archive), "-C", str(unpacked), *members], log)
    return unpacked


def _build_modules(unpacked: Path, work: Path, kernel: debian.Kernel, root: Path, log: Path) -> None:
    """Build the samples of the kernel source and our own modules, and install them into `root`."""
    shutil.copytree(paths.PACKAGE / "modules", work)
    samples = unpacked / "linux-source-6.1/samples/vfio-mdev"
    for path in samples.glob("*.[ch]"):
        shutil.copy(path, work)
    jobs = f"-j{os.cpu_count() or 1}"
    run_command([tool("make"), "-C", str(kernel.headers), f"M={work}", jobs, "modules"], log)
    target = root / "usr/lib/modules" / kernel.release / "updates"
    target.mkdir()
    for name in (*SAMPLES, *OWN_MODULES):
        shutil.copy(work / f"{name}.ko", target)
    run_command([tool("depmod"), "-b", str(root), kernel.release], log)


def _configure(root: Path, log: Path) -> None:
    """Lay the files of guest/ over `root`, add the fabric's program, and choose what starts at boot."""
    source = paths.PACKAGE / "guest"
    for path in sorted(source.rglob("*")):
        if path.is_file():
            target = root / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    (root / GUEST_PYTHON / "fcf").mkdir()
    for path in (paths.PACKAGE / "fcf").glob("*.py"):
        shutil.copyfile(path, root / GUEST_PYTHON / "fcf" / path.name)
    # A host has one machine-id over all its boots; an empty one would be made anew at each `up`.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    run_command([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "kernelhost", "-f", str(host_key)], log)
    for verb, units in (("enable", ENABLED_UNITS), ("disable", DISABLED_UNITS), ("mask", MASKED_UNITS)):
        run_command([tool("chroot"), str(root), "systemctl", verb, *units], log)


def _make_kernel(unpacked: Path, kernel: debian.Kernel, target: Path) -> None:
    """Uncompress the kernel here: under emulation the guest would take many seconds to do it."""
    script = unpacked / "linux-source-6.1/scripts/extract-vmlinux"
    compressed = unpacked / "boot" / f"vmlinuz-{kernel.release}"
    with target.open("wb") as file:
        subprocess.run(["sh", str(script), str(compressed)], stdout=file, stderr=subprocess.DEVNULL, check=False)
    if target.stat().st_size == 0:
        raise KernelhostError(
            f"extract-vmlinux found no kernel in {compressed.name}: run: apt-get install binutils xz-utils"
        )


def _make_initrd(root: Path, work: Path, kernel: debian.Kernel, target: Path, log: Path) -> None:
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


def _make_disk(root: Path, raw: Path, target: Path, log: Path) -> None:
    """An ext4 file system of the tree, packed. No journal: the disk of a machine that is killed is thrown away."""
    features = ["-O", "^has_journal,^metadata_csum", "-E", "lazy_itable_init=1"]
    run_command([tool("mke2fs"), "-q", "-t", "ext4", *features, "-d", str(root), str(raw), DISK_SIZE], log)
    packing = ["-c", "-o", "compression_type=zstd"]
    run_command([tool("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", *packing, str(raw), str(target)], log)
