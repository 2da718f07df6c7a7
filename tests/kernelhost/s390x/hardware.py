# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's command line for the channel subsystem and the devices on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..emulator import Emulator
from ..image import Image
from ..steps import KernelhostError

SPARE_DISKS: Sequence[str] = ()
MEMORY_MB = 1024
# A processor that Debian's s390x needs and no more: fewer features, fewer long code paths in the guest.
EMULATION = ("-accel", "tcg,thread=single", "-cpu", "qemu")
ADDRESS = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"
KERNEL_ARGUMENTS = (
    f"root=/dev/vda rw console=ttyS0 quiet panic=30 systemd.unit=multi-user.target net.ifnames=0 ip={ADDRESS}"
)
# Those that nobody needs, by their device numbers: two that the guest has drivers for, and one without a driver.
SPARE_DEVICES = ("0.0.1000", "0.0.1001", "0.0.3000")


def command(emulator: Emulator, image: Image, accelerator: str, state: Path, port: int, public_key: str) -> list[str]:
    """The machine of README.md's table. `public_key` is the middle word of an ed25519 public key file."""
    devices = [
        ["-drive", f"file={state / 'disk.qcow2'},format=qcow2,if=none,id=root,cache=unsafe,discard=unmap"],
        ["-device", "virtio-blk-ccw,drive=root,devno=fe.0.0001"],
        ["-netdev", f"user,id=management,hostfwd=tcp:127.0.0.1:{port}-:22"],
        ["-device", "virtio-net-ccw,netdev=management,devno=fe.0.0002"],
        ["-device", "virtio-serial-ccw,devno=fe.0.1000"],
        ["-device", "virtio-scsi-ccw,devno=fe.0.1001"],
        ["-netdev", "hubport,hubid=9,id=nowhere", "-device", "virtio-net-ccw,netdev=nowhere,devno=fe.0.3000"],
    ]
    return [
        *emulator.command,
        *("-machine", "s390-ccw-virtio", "-nodefaults", "-no-user-config", "-display", "none"),
        *EMULATION,
        *("-smp", "1", "-m", str(MEMORY_MB), "-kernel", str(image.kernel)),
        *("-chardev", f"file,id=console,path={state / 'serial.log'}", "-device", "sclpconsole,chardev=console"),
        *("-qmp", f"unix:{state / 'monitor.socket'},server=on,wait=off"),
        *("-append", f"{KERNEL_ARGUMENTS} kernelhost.key={public_key}"),
        *(word for device in devices for word in device),
    ]


def accelerator(emulator: Emulator, image: Image) -> str:
    """Always tcg, since the machine that runs this is no mainframe; KernelhostError where another one is chosen."""
    chosen = os.environ.get("KERNELHOST_ACCEL", "tcg")
    if chosen != "tcg":
        raise KernelhostError(f"KERNELHOST_ACCEL is {chosen!r}: s390x runs with tcg alone")
    return chosen
