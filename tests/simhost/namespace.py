# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own view of the file system: /etc, /usr, /run, /dev and /proc of its own, the rest as on the machine.

All of it happens in a private mount namespace; nothing is created on the machine's file systems outside the
host's state folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import socket
import struct
from pathlib import Path

from simhost import linux, nvml
from simhost.places import STAGE
from simhost.programs import modules_folder
from simhost.scenario import Scenario

# Consoles and disks of the machine are not the simulated host's.
_FOREIGN_NODES = re.compile(
    r"^(tty.+|vcs.*|loop.*|zram.*|[shv]d[a-z].*|nvme.*|dm-.*|sr\d.*|sg\d.*|vfio|input|disk|mapper|dri|block)$"
)
# What the machine keeps of its own devices.
_NOT_SHOWN = ("/etc/mdevctl.d", "/etc/nodedev.d", "/etc/driverctl.d", "/etc/libvirt", "/usr/lib/nodedev")
# Where the boot engine and modules are. Without root the host's own user has no right in the machine's folders.
_OWN_FOLDERS = {
    "usr": ("bin", "lib", "sbin", "lib/modules"),
    "etc": ("systemd/system/multi-user.target.wants", "udev/rules.d"),
}
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


class NamespaceError(Exception):
    """The system does not allow what a host needs; the text says what to do."""


def enter(user_namespace: bool) -> None:
    """Move this process into new namespaces; its next child is process 1 of the host. NamespaceError."""
    if not os.path.exists("/dev/fuse"):
        raise NamespaceError("there is no /dev/fuse: load the kernel module with modprobe fuse")
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWUTS
    uid, gid = os.getuid(), os.getgid()
    if user_namespace:
        flags |= linux.CLONE_NEWUSER
    try:
        linux.unshare(flags)
    except OSError as error:
        way = "allow unprivileged user namespaces on this system, or run as root"
        if not user_namespace:
            way = "run with the capability CAP_SYS_ADMIN (a privileged container)"
        raise NamespaceError(f"the system refuses new namespaces ({error}): {way}") from error
    if user_namespace:
        try:
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
        except OSError as error:
            raise NamespaceError(
                f"the system refuses to map user ids in a user namespace ({error}): run as root"
            ) from error


def build(stage: str, plan: Scenario) -> str:
    """Make the mounts of a new host on the empty directory `stage`; returns the FUSE mount point to be.

    Runs in process 1 of the host. NamespaceError if the system refuses a mount.
    """
    try:
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("simhost", stage, "tmpfs", linux.MS_NOSUID, "mode=0755")
        for name in ("dev", "fuse", "proc"):
            os.mkdir(f"{stage}/{name}")
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        _own_changes(stage, "usr")
        _own_changes(stage, "etc")
        _empty()
        _own_dev(stage)
        _cover_proc(stage, plan)
        linux.mount("simhost", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
        for name in ("udev", "lock"):
            os.mkdir(f"/run/{name}")
        linux.set_hostname(plan.hostname)
        _loopback_up()
        _own_programs(Path(stage).parent, plan)
    except OSError as error:
        raise NamespaceError(
            f"the system refuses a mount that the host needs ({error}): run as root in a privileged container"
        ) from error
    write_files(plan)
    return f"{stage}/fuse"


def write_files(plan: Scenario) -> None:
    """Make the directories and files that the scenario wants in /etc, /run and /dev; scripts can be executed."""
    for name in (*plan.directories, *plan.files):
        if not re.match(r"^/(etc|run|dev)/", name) or ".." in name:
            raise NamespaceError(f"scenario: {name} is not below /etc, /run or /dev: only those are the host's own")
    for name in plan.directories:
        os.makedirs(name, exist_ok=True)
    for name, text in plan.files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)


def _own_programs(folder: Path, plan: Scenario) -> None:
    """Have the host's server do what programs would ask the machine's kernel for, where the scenario wants that."""
    if plan.drivers or plan.modules:
        modules = Path("/usr", modules_folder().lstrip("/"))
        _hide(str(modules))
        modules.mkdir(parents=True, exist_ok=True)
        for name, text in {"modules.alias": "", "modules.builtin": "", **plan.module_files}.items():
            (modules / name).write_text(text, encoding="utf-8")
        path = Path("/usr/sbin/modprobe")
        # A link to kmod, which is other programs too.
        path.unlink(missing_ok=True)
        _stand_in(folder, path)
    if plan.network is not None:
        own = folder / STAGE / "ip"
        _stand_in(folder, own)
        path = Path(shutil.which("ip", path="/usr/sbin:/usr/bin") or "/usr/sbin/ip")
        if not path.exists():
            path.touch()
        # Without root a file in /usr/bin can be covered, but not replaced.
        linux.bind(str(own), str(path))

    if plan.nvidia.nvidia_smi:
        path = Path("/usr/bin/nvidia-smi")
        path.unlink(missing_ok=True)
        _stand_in(folder, path)
        shutil.copyfile(nvml.compiled(), nvml.LIBRARY)
        os.symlink(folder, nvml.LINK)
    write_sriov_manage(folder, plan)


def write_sriov_manage(folder: Path, plan: Scenario) -> None:
    """Put sriov-manage where the scenario has it; what is below /run has to be put there after each boot."""
    text = Path(__file__).with_name("sriov_manage.sh").read_text(encoding="utf-8")
    for place in plan.nvidia.sriov_manage:
        path = Path(place, "sriov-manage")
        path.parent.mkdir(parents=True, exist_ok=True)
        ask = f'ask() {{ {_asking(folder, path.name)} "$@"; }}'
        path.write_text(f"#!/bin/sh\n{ask}\n{text}", encoding="utf-8")
        path.chmod(0o755)


def _asking(folder: Path, name: str) -> str:
    """The command by which the host's server does the work of a program."""
    script = Path(__file__).with_name("stand_in.py")
    return shlex.join(["/usr/bin/python3", "-I", "-S", str(script), str(folder), name])


def _stand_in(folder: Path, path: Path) -> None:
    path.write_text(f'#!/bin/sh\nexec {_asking(folder, path.name)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def show_sysfs(mountpoint: str, readonly: bool) -> None:
    """Put the running FUSE file system's parts to their places."""
    linux.bind(f"{mountpoint}/sys", "/sys")
    linux.bind(f"{mountpoint}/dev/vfio", "/dev/vfio")
    if readonly:
        linux.mount("none", "/sys", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)


def _own_changes(stage: str, name: str) -> None:
    """Show the machine's folder of this name below the root, with all changes kept in the host."""
    upper, work = (f"{stage}/{name}-{kind}" for kind in ("upper", "work"))
    for folder in (upper, work):
        os.mkdir(folder)
    for folder in _OWN_FOLDERS[name]:
        # What is a link on the machine stays one.
        if os.path.realpath(f"/{name}/{folder}") == f"/{name}/{folder}":
            os.makedirs(f"{upper}/{folder}")
    linux.mount("simhost", f"/{name}", "overlay", 0, f"lowerdir=/{name},upperdir={upper},workdir={work}")


def _empty() -> None:
    for path in _NOT_SHOWN:
        _hide(path)
    for name in ("callouts", "notifiers"):
        os.makedirs(f"/etc/mdevctl.d/scripts.d/{name}")


def _hide(path: str) -> None:
    if not os.path.lexists(path):
        return
    try:
        shutil.rmtree(path)
    except OSError:
        # Without root the overlay cannot take over directories of users who are not mapped.
        linux.mount("simhost", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")


def _own_dev(stage: str) -> None:
    new = f"{stage}/dev"
    linux.mount("simhost", new, "tmpfs", linux.MS_NOSUID, "mode=0755")
    for entry in os.scandir("/dev"):
        if _FOREIGN_NODES.match(entry.name):
            continue
        target = f"{new}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
            continue
        if entry.is_dir():
            os.mkdir(target)
        else:
            Path(target).touch()
        with contextlib.suppress(OSError):
            linux.bind(entry.path, target)
    os.mkdir(f"{new}/vfio")
    linux.mount(new, "/dev", None, linux.MS_MOVE)


def _cover_proc(stage: str, plan: Scenario) -> None:
    """Put files of the host's own over those of /proc that the scenario names."""
    for name in plan.proc:
        if ".." in name or not os.path.isfile(f"/proc/{name}"):
            raise NamespaceError(f"scenario: proc: this system has no file /proc/{name}")
        own = Path(f"{stage}/proc/{name}")
        own.parent.mkdir(parents=True, exist_ok=True)
        own.touch()
        linux.bind(str(own), f"/proc/{name}")
    write_proc(plan)


def write_proc(plan: Scenario) -> None:
    """Give the covered files of /proc the scenario's texts."""
    for name, text in plan.proc.items():
        Path(f"/proc/{name}").write_text(text, encoding="utf-8")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
