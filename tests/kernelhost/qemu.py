# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's command line for the test hardware, and whether KVM works here."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import paths
from .emulator import Emulator
from .image import Image
from .steps import KernelhostError, step, stop_group, tool

ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    # Under emulation a plain CPU is quicker than "max": fewer features, fewer long code paths in the guest. With
    # several threads QEMU 10 ends at times, where a guest that boots places its devices' memory anew
    # (iotlb_to_section: Assertion `section_index < d->map.sections_nb' failed).
    "tcg": ["-accel", "tcg,thread=single", "-cpu", "Nehalem"],
}
MEMORY_MB = 2048
PROCESSORS = 1
# Sparse files behind the guest's NVMe namespace, USB stick and SCSI disk.
SPARE_DISKS: Sequence[str] = ("nvme", "usb", "scsi")
SPARE_DISK_SIZE = 64 * 1024 * 1024
# No card has a ROM: the firmware would run what is in it to boot from a network.
IGB = {"driver": "igb", "romfile": ""}
# As device_add takes it too, so that a test can plug it in again.
NETWORK_CARD = {**IGB, "id": "igb0", "bus": "port3", "netdev": "network", "mac": "52:54:00:00:00:03"}
# The module nvidiasim makes it a GPU, whenever it comes.
GRAPHICS_CARD = {**IGB, "id": "igb1", "bus": "port4", "mac": "52:54:00:00:00:04"}
# A kernel that KVM can run says its first words within a second; one that it cannot never does.
PROBE_FIRST_SIGN = 10.0
PROBE_LIMIT = 60.0
KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=1 mitigations=off nokaslr panic=30 intel_iommu=on"


def command(emulator: Emulator, image: Image, accelerator: str, state: Path, port: int, public_key: str) -> list[str]:
    """The machine of README.md's table. `public_key` is the middle word of an ed25519 public key file."""
    spare = {name: f"file={state / name}.img,format=raw,if=none,id={name}" for name in SPARE_DISKS}
    nvme = "sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=10"
    devices = [
        ["-device", "intel-iommu,intremap=off,caching-mode=off"],
        ["-drive", f"file={state / 'disk.qcow2'},format=qcow2,if=none,id=root,cache=unsafe,discard=unmap"],
        ["-device", "virtio-blk-pci,drive=root"],
        ["-netdev", f"user,id=management,hostfwd=tcp:127.0.0.1:{port}-:22"],
        ["-device", "virtio-net-pci,romfile=,netdev=management,mac=52:54:00:00:00:01"],
        ["-device", "virtio-rng-pci"],
        # Behind their own root ports the functions have fixed addresses: NVMe 0000:01:00.0, e1000e 0000:02:00.0,
        # the network card 0000:03:00.0, and the one that is a GPU for the guest 0000:04:00.0.
        ["-device", "pcie-root-port,id=port1,slot=1,chassis=1"],
        ["-device", "pcie-root-port,id=port2,slot=2,chassis=2"],
        ["-device", "nvme-subsys,id=subsystem0"],
        ["-device", f"nvme,id=nvme0,serial=kernelhost-pf,subsys=subsystem0,bus=port1,{nvme}"],
        ["-drive", spare["nvme"], "-device", "nvme-ns,drive=nvme,bus=nvme0,nsid=1"],
        ["-netdev", "user,id=spare,restrict=on"],
        ["-device", "e1000e,romfile=,netdev=spare,bus=port2,mac=52:54:00:00:00:02"],
        ["-device", "pcie-root-port,id=port3,slot=3,chassis=3"],
        ["-netdev", "user,id=network,restrict=on", "-device", _words(NETWORK_CARD)],
        ["-device", "qemu-xhci,id=xhci", "-device", "usb-tablet,bus=xhci.0"],
        ["-drive", spare["usb"], "-device", "usb-storage,bus=xhci.0,drive=usb"],
        ["-device", "virtio-gpu-pci"],
        ["-device", "virtio-scsi-pci,id=scsi0", "-drive", spare["scsi"]],
        ["-device", "scsi-hd,drive=scsi,bus=scsi0.0,wwn=0x5000c500a1b2c3d4,serial=SCSI0001"],
        # What is added last leaves the addresses of all others as they are.
        ["-device", "pcie-root-port,id=port4,slot=4,chassis=4", "-device", _words(GRAPHICS_CARD)],
    ]
    arguments = f"{KERNEL_ARGUMENTS} kernelhost.key={public_key}"
    serial = ["-serial", f"file:{state / 'serial.log'}"]
    monitor = ["-qmp", f"unix:{state / 'monitor.socket'},server=on,wait=off"]
    return [
        *_base(emulator, image, accelerator),
        *serial,
        *monitor,
        "-append",
        arguments,
        *(word for device in devices for word in device),
    ]


def _words(device: dict[str, str]) -> str:
    return ",".join([device["driver"], *(f"{name}={value}" for name, value in device.items() if name != "driver")])


def accelerator(emulator: Emulator, image: Image) -> str:
    """KERNELHOST_ACCEL, else "kvm" where this kernel really boots with it, else "tcg"."""
    chosen = os.environ.get("KERNELHOST_ACCEL")
    if chosen is not None:
        if chosen not in ACCELERATORS:
            raise KernelhostError(f"KERNELHOST_ACCEL is {chosen!r}: set it to one of {', '.join(ACCELERATORS)}")
        return chosen
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    # A boot is the only test: /dev/kvm can be there, and answer, without being able to run a kernel.
    known = paths.caches() / f"accelerator-{platform.release()}"
    found = known.read_text(encoding="ascii").strip() if known.exists() else ""
    # Not even that is there while another machine, which starts at the same time, writes it.
    if found not in ACCELERATORS:
        with step("trying KVM"):
            found = "kvm" if _boots_with_kvm(emulator, image) else "tcg"
        known.write_text(f"{found}\n", encoding="ascii")
    return found


def _base(emulator: Emulator, image: Image, accelerator: str) -> list[str]:
    return [
        *emulator.command,
        *("-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none"),
        *ACCELERATORS[accelerator],
        *("-smp", str(PROCESSORS), "-m", str(MEMORY_MB)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
    ]


def _boots_with_kvm(emulator: Emulator, image: Image) -> bool:
    """Whether the kernel comes as far as its first process under KVM."""
    with tempfile.TemporaryDirectory(prefix="kernelhost-") as folder:
        serial = Path(folder) / "serial.log"
        process = subprocess.Popen(
            [
                *(tool("setpriv"), "--pdeathsig", "TERM", "--"),
                *_base(emulator, image, "kvm"),
                *("-no-reboot", "-serial", f"file:{serial}"),
                *("-append", "console=ttyS0 earlyprintk=serial,ttyS0,115200 panic=-1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            started = time.monotonic()
            while process.poll() is None:
                seconds = time.monotonic() - started
                said = serial.read_bytes() if serial.exists() else b""
                if b"Run /init as init process" in said:
                    return True
                if seconds > PROBE_LIMIT or (seconds > PROBE_FIRST_SIGN and not said):
                    return False
                time.sleep(0.2)
            return False
        finally:
            stop_group(process)
