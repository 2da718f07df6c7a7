# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the image by extraction alone: no program for s390x can run here, so no package's own script does."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from .. import build, debian
from ..steps import require_tools, run_command, step, tool
from ..unpacked import unpack, unpack_tools
from . import kernel

PACKAGES = (
    # What every Debian has.
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "login",
    "mawk",
    "mount",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
    # A managed host, and the peers that its devices are compared with.
    "dbus",
    "driverctl",
    "iproute2",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "mdevctl",
    "openssh-server",
    "procps",
    "python3",
    "python3-libvirt",
    "python3-lxml",
    "python3-pyudev",
    "s390-tools",
    "systemd-sysv",
    "udev",
)
# For compiling Python's files ahead of time, which takes an emulated Python many seconds.
TOOLS_PACKAGES = ("mawk", "python3-minimal")
GUEST = "guest"
# Users and groups that packages' scripts would have added, and the groups that udev's rules name.
USERS = {
    "messagebus": (102, "/nonexistent"),
    "sshd": (103, "/run/sshd"),
    "libvirt-qemu": (64055, "/var/lib/libvirt"),
    "systemd-network": (998, "/"),
    "systemd-resolve": (997, "/"),
}
GROUPS = {"input": 106, "sgx": 107, "render": 108, "kvm": 109, "systemd-journal": 110, "libvirt": 111}
ENABLED = {
    "multi-user.target.wants": ("ssh.service",),
    "sockets.target.wants": ("libvirtd.socket", "virtlogd.socket"),
}
MASKED = (*build.MASKED_UNITS, "getty.target", "systemd-networkd.service", "systemd-resolved.service", "cpi.service")
DISK_SIZE = "2G"
TOOLS = ("chroot", "depmod", "mke2fs", "qemu-img", "ssh-keygen", "tar")


def build_image(work: Path, release: debian.Release) -> Path:
    """Make a folder in `work` with disk.qcow2 and vmlinux; the rest of `work` is the caller's to remove."""
    require_tools(TOOLS)
    log = work / "build.log"
    image = work / "image"
    for folder in (image, work / "tools", work / "packages"):
        folder.mkdir()
    kept = kernel.find_or_build()
    with step("unpacking Debian packages"):
        tools = unpack_tools(work / "tools", debian.BOOKWORM, TOOLS_PACKAGES)
        root = unpack(work / "packages", release, PACKAGES).rename(tools / GUEST)
    with step("setting up the guest"):
        _configure(root, log)
        shutil.copytree(kept / "modules", root / "usr/lib/modules", symlinks=True)
        [version] = (path.name for path in (root / "usr/lib/modules").iterdir())
        run_command([tool("depmod"), "-b", str(root), version], log)
        python = ("python3", "-m", "compileall", "-q", "-s", f"/{GUEST}", "-p", "/", f"/{GUEST}/usr/lib/python3")
        run_command([tool("chroot"), str(tools), *python, f"/{GUEST}/usr/lib/python3.11"], log)
    with step("making the disk image"):
        shutil.copyfile(kept / "kernel", image / "vmlinux")
        build.make_disk(root, work / "disk.raw", image / "disk.qcow2", log, DISK_SIZE)
    for path in image.iterdir():
        path.chmod(0o444)
    return image


def _configure(root: Path, log: Path) -> None:
    """What the packages' scripts would have made, and the files of guest/."""
    for folder in build.EXCLUDED:
        shutil.rmtree(root / folder.strip("/*"), ignore_errors=True)
    for folder in ("dev", "proc", "sys", "run", "tmp", "root/.ssh", "etc/ssh", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for folder, target in {"var/run": "/run", "var/lock": "/run/lock", "usr/bin/awk": "mawk"}.items():
        if not (root / folder).is_symlink():
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).symlink_to(target)
    _users(root)
    build.lay_over(Path(__file__).with_name("guest"), root)
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    run_command([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "kernelhost", "-f", str(host_key)], log)
    units = root / "etc/systemd/system"
    for target, names in ENABLED.items():
        (units / target).mkdir(parents=True, exist_ok=True)
        for name in names:
            (units / target / name).symlink_to(f"/lib/systemd/system/{name}")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    build.mask_generators(root)
    for folder in ("etc", "var"):
        (root / folder / ".updated").touch()


def _users(root: Path) -> None:
    masters = root / "usr/share/base-passwd"
    users = (masters / "passwd.master").read_text().replace(":*:", ":x:").splitlines()
    groups = (masters / "group.master").read_text().splitlines()
    users += [f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin" for name, (number, home) in USERS.items()]
    groups += [f"{name}:x:{number}:" for name, (number, _home) in USERS.items()]
    groups += [f"{name}:x:{number}:" for name, number in GROUPS.items()]
    for name, lines in (("passwd", users), ("group", groups)):
        (root / "etc" / name).write_text("".join(f"{line}\n" for line in lines))
    shadow = root / "etc/shadow"
    shadow.write_text("".join(f"{line.partition(':')[0]}:*:19000:0:99999:7:::\n" for line in users))
    shadow.chmod(0o640)
