# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's vGPUs that are virtual functions: what may be written when, what fits, and what takes a vGPU away."""

from __future__ import annotations

import copy
import errno
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from simhost import SimHost, SimHostError
from simhost.scenario import FOLDER
from simhost.testing import UUIDS, available, create, eventually, merged, monitored, names, refused

PCI = "/sys/bus/pci"
PF, BIG = "0000:06:00.0", "0000:41:00.0"
VFS = [f"0000:06:00.{number}" for number in range(4, 8)]
SMALL, LARGE = "nvidia-vfio-small", "nvidia-vfio"
TOOL, SMI = "/usr/lib/nvidia/sriov-manage", "/usr/bin/nvidia-smi"
HEADER = "ID    : vGPU Name"
LISTED = [
    HEADER,
    "709   : NVIDIA A16-2Q",
    "711   : NVIDIA A16-4Q",
    "712   : NVIDIA A16-8Q",
    "713   : NVIDIA A16-16Q",
]


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost(SMALL) as running:
        yield running


@pytest.fixture(scope="module")
def large() -> Iterator[SimHost]:
    """The larger host, on which nothing is left behind."""
    with SimHost(LARGE) as running:
        yield running


def changed(card: dict[str, Any] | None = None, vgpu: dict[str, Any] | None = None, **sriov: Any) -> dict[str, Any]:
    """The small scenario with other parameters of the card, of its vGPUs and of its virtual functions."""
    plan: dict[str, Any] = yaml.safe_load((FOLDER / f"{SMALL}.yml").read_text(encoding="utf-8"))
    behaviour = plan["devices"][0]["behaviour"]
    behaviour["nvidia_card"].update(card or {})
    behaviour["sriov"].update(sriov)
    behaviour["sriov"]["vf"]["behaviour"]["nvidia_vgpu"].update(vgpu or {})
    return plan


def file(address: str, name: str = "current_vgpu_type") -> str:
    return f"{PCI}/devices/{address}/nvidia/{name}"


def current(host: SimHost, address: str) -> int:
    return int(host.read(file(address)))


def listed(host: SimHost, address: str) -> list[str]:
    return host.read(file(address, "creatable_vgpu_types")).splitlines()


def creatable(host: SimHost, address: str) -> list[int]:
    """The numbers of the types that can be made on a function now."""
    return [int(line.partition(":")[0]) for line in listed(host, address) if line != HEADER]


def make(host: SimHost, address: str, number: int) -> None:
    host.write(file(address), f"{number}\n")


def smi(host: SimHost, *arguments: str) -> tuple[int, str]:
    done = host.run(["nvidia-smi", *arguments], check=False)
    return done.returncode, done.stdout


def manage(host: SimHost, *arguments: str) -> subprocess.CompletedProcess[str]:
    return host.run([TOOL, *arguments], check=False)


# ---- the files ---------------------------------------------------------------------------------------------------


def test_the_folder(host: SimHost) -> None:
    first = {
        "creatable_vgpu_types": "\n".join(LISTED) + "\n",
        "current_vgpu_type": "0\n",
        "gpu_instance_id": "4294967295\n",
        "placement_id": "65535\n",
        "vgpu_params": "\n",
        "warm_update": "0\n",
    }
    for address in VFS:
        folder = host.path(f"{PCI}/devices/{address}/nvidia")
        assert {each: host.read(file(address, each)) for each in names(host, file(address, "").rstrip("/"))} == first
        modes = {each: (folder / each).stat().st_mode & 0o777 for each in first}
        assert modes == {each: 0o444 if each == "creatable_vgpu_types" else 0o644 for each in first}
    assert "nvidia" not in names(host, f"{PCI}/devices/{PF}")
    assert names(host, "/sys/class/mdev_bus") == []


def test_a_type_makes_a_vfio_device(host: SimHost) -> None:
    assert names(host, "/dev/vfio") == ["vfio"]
    events = monitored(host, "vfio-dev", lambda: make(host, VFS[1], 711), 1)
    assert events == ["add vfio0"]
    assert (current(host, VFS[1]), listed(host, VFS[1])) == (711, [HEADER])
    assert (names(host, "/dev/vfio"), names(host, "/dev/vfio/devices")) == (["45", "devices", "vfio"], ["vfio0"])
    assert "dev" in names(host, f"{PCI}/devices/{VFS[1]}/vfio-dev/vfio0")
    assert host.path(f"{PCI}/devices/{VFS[1]}/driver").readlink().name == "nvidia"
    assert monitored(host, "vfio-dev", lambda: make(host, VFS[1], 0), 1) == ["remove vfio0"]
    assert (names(host, "/dev/vfio"), names(host, "/sys/class/vfio")) == (["devices", "vfio"], [])
    assert "vfio-dev" not in names(host, f"{PCI}/devices/{VFS[1]}")
    assert creatable(host, VFS[1]) == [709, 711, 712, 713]


@pytest.mark.parametrize(
    ("name", "text", "number", "after"),
    [
        ("current_vgpu_type", "none", errno.EINVAL, "0\n"),
        ("current_vgpu_type", "-1", errno.EINVAL, "0\n"),
        ("current_vgpu_type", "\n", errno.EINVAL, "0\n"),
        ("current_vgpu_type", "711 712", errno.EINVAL, "0\n"),
        ("current_vgpu_type", "4294967296", errno.ERANGE, "0\n"),
        ("current_vgpu_type", "nvidia-711", errno.EINVAL, "0\n"),
        ("current_vgpu_type", "710", errno.EIO, "0\n"),
        ("current_vgpu_type", "0711", errno.EIO, "0\n"),
        ("vgpu_params", "frame_rate_limiter=0\n", errno.EPERM, "\n"),
        ("placement_id", "low", errno.EINVAL, "65535\n"),
        ("placement_id", "0", errno.EINVAL, "65535\n"),
        ("gpu_instance_id", "x", errno.EINVAL, "4294967295\n"),
        ("creatable_vgpu_types", "711", errno.EACCES, None),
    ],
)
def test_what_is_refused(host: SimHost, name: str, text: str, number: int, after: str | None) -> None:
    assert refused(host.write, file(VFS[0], name), text) == number
    assert after is None or host.read(file(VFS[0], name)) == after
    assert host.forbidden_writes() == []


@pytest.mark.parametrize("text", ["711", "711\n", " 711 \n", "0x2c7", "01307"])
def test_how_a_type_is_written(host: SimHost, text: str) -> None:
    host.write(file(VFS[0]), text)
    assert host.read(file(VFS[0])) == "711\n"


def test_a_second_type(host: SimHost) -> None:
    make(host, VFS[0], 711)
    for number in (709, 711):
        assert refused(make, host, VFS[0], number) == errno.EIO
    assert current(host, VFS[0]) == 711
    make(host, VFS[0], 0)
    make(host, VFS[0], 0)
    make(host, VFS[0], 709)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("frame_rate_limiter=0\n", "frame_rate_limiter=0\n"),
        ("frame_rate_limiter=0,disable_vnc=1\n", "frame_rate_limiter=0,disable_vnc=1\n"),
        # The end of what is written is lost, whatever it is.
        ("frame_rate_limiter=60", "frame_rate_limiter=6\n"),
        ("\n", "\n"),
        (" ", "\n"),
    ],
)
def test_params(host: SimHost, text: str, shown: str) -> None:
    place = file(VFS[0], "vgpu_params")
    make(host, VFS[0], 711)
    host.write(place, "enable_uvm=1\n")
    host.write(place, text)
    assert host.read(place) == shown
    assert refused(host.write, place, "frame_rate_limiter\n") == errno.EINVAL
    make(host, VFS[0], 0)
    assert host.read(place) == "\n"


@pytest.mark.parametrize("node", ["group", "device"])
def test_nothing_is_written_while_a_guest_runs(host: SimHost, node: str) -> None:
    make(host, VFS[0], 711)
    host.write(file(VFS[0], "vgpu_params"), "enable_uvm=1\n")
    with host.hold(VFS[0] if node == "group" else "devices/vfio0"):
        for name in ("current_vgpu_type", "vgpu_params", "placement_id", "gpu_instance_id"):
            assert refused(host.write, file(VFS[0], name), "0\n") == errno.EPERM
        make(host, VFS[1], 711)
    assert (current(host, VFS[0]), host.read(file(VFS[0], "vgpu_params"))) == (711, "enable_uvm=1\n")
    eventually(lambda: not host.holders())
    make(host, VFS[0], 0)


# ---- what fits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "left"),
    [
        ([709], [709]),
        ([711, 711, 711], [711]),
        ([712], [712]),
        ([712, 712], []),
        ([713], []),
    ],
)
def test_a_homogeneous_card(host: SimHost, made: list[int], left: list[int]) -> None:
    for address, number in zip(VFS, made, strict=False):
        make(host, address, number)
    assert [creatable(host, address) for address in VFS] == [[]] * len(made) + [left] * (4 - len(made))
    assert refused(make, host, VFS[3], 713) == errno.EIO
    assert current(host, VFS[3]) == 0
    for address in VFS:
        make(host, address, 0)
    assert creatable(host, VFS[0]) == [709, 711, 712, 713]


def test_a_types_own_limit() -> None:
    types = {1: {"name": "X-1Q", "framebuffer": 1024, "max_instances": 2}, 2: {"name": "X-1B", "framebuffer": 1024}}
    with SimHost(changed(card={"types": types})) as host:
        make(host, VFS[0], 1)
        make(host, VFS[1], 2)
        assert creatable(host, VFS[2]) == [2]


def test_letters_of_one_size_mix(large: SimHost) -> None:
    functions = [f"0000:41:00.{number}" for number in range(4, 8)]
    for address, number in zip(functions, (1152, 1162, 9152), strict=False):
        make(large, address, number)
    assert creatable(large, functions[3]) == [1152, 1162, 9152]
    # The other cards have their own memory.
    assert len(creatable(large, "0000:42:00.4")) == 13
    for address in functions:
        make(large, address, 0)


def test_a_heterogeneous_card(large: SimHost) -> None:
    functions = [f"0000:43:00.{number}" for number in range(4, 8)]
    make(large, functions[0], 1155)
    large.write(file(functions[1], "placement_id"), "40\n")
    make(large, functions[1], 1152)
    places = [large.read(file(address, "placement_id")) for address in functions[:3]]
    assert places == ["0\n", "40\n", "65535\n"]
    assert creatable(large, functions[2]) == [1145, 1146, 1147, 1148, 1150, 1151, 1152, 1153, 1154, 1162, 9152]
    # What is not free there is refused when the type is written, and nothing is made.
    for place in ("33", "41", "47"):
        large.write(file(functions[2], "placement_id"), place)
        assert refused(make, large, functions[2], 1152) == errno.EIO
    assert current(large, functions[2]) == 0
    large.write(file(functions[2], "placement_id"), "24")
    make(large, functions[2], 1154)
    assert creatable(large, functions[3]) == []
    assert refused(large.write, file(functions[2], "placement_id"), "0") == errno.EINVAL
    for address in functions:
        make(large, address, 0)
        assert large.read(file(address, "placement_id")) == "65535\n"


def test_the_larger_host(large: SimHost) -> None:
    counts = {bus: len(list(large.path(f"{PCI}/devices").glob(f"0000:{bus}:0*/nvidia"))) for bus in range(41, 49)}
    assert counts == {bus: 0 if bus == 47 else 16 for bus in range(41, 49)}
    assert [large.read(f"{PCI}/devices/0000:{bus}:02.3/numa_node") for bus in (41, 48)] == ["0\n", "1\n"]
    assert listed(large, "0000:48:00.4") == [HEADER]
    assert refused(make, large, "0000:48:00.4", 1152) == errno.EIO


def test_what_nobody_may_write(large: SimHost) -> None:
    assert large.forbidden_writes() == []
    place = "/sys/devices/pci0000:44/0000:44:00.4/nvidia/{}"
    made = []
    for name, text in (("current_vgpu_type", "1152"), ("vgpu_params", "a=1\n"), ("placement_id", "0")):
        assert refused(large.write, file("0000:44:00.4", name), text) == errno.EIO
        made.append((place.format(name), text))
    assert refused(large.write, file("0000:41:00.4", "warm_update"), "1") == errno.EIO
    made.append(("/sys/devices/pci0000:41/0000:41:00.4/nvidia/warm_update", "1"))
    assert large.forbidden_writes() == made
    large.reboot()
    assert large.forbidden_writes() == made


# ---- what comes late, or never -----------------------------------------------------------------------------------


def test_the_folder_comes_late() -> None:
    with SimHost(changed(vgpu={"delay": 0.4, "type_delay": 0.8})) as host:
        start = time.monotonic()
        host.write(f"{PCI}/drivers/nvidia/unbind", VFS[0])
        host.write(f"{PCI}/drivers/nvidia/bind", VFS[0])
        folder = f"{PCI}/devices/{VFS[0]}/nvidia"
        assert not host.path(folder).exists()
        eventually(host.path(folder).exists)
        assert time.monotonic() - start >= 0.4
        assert "current_vgpu_type" not in names(host, folder)
        assert creatable(host, VFS[0]) == [709, 711, 712, 713]
        eventually(host.path(file(VFS[0])).exists)
        assert time.monotonic() - start >= 0.8


def test_functions_without_a_folder() -> None:
    with SimHost(changed(vgpu={"without": [1, 2], "header": False})) as host:
        assert [host.path(file(address)).exists() for address in VFS] == [True, False, False, True]
        assert listed(host, VFS[0]) == LISTED[1:]
        make(host, VFS[0], 713)
        assert host.read(file(VFS[3], "creatable_vgpu_types")) == ""


def test_a_card_without_vgpus() -> None:
    with SimHost(changed(card={"mode": "N/A"})) as host:
        assert [host.path(file(address)).exists() for address in VFS] == [False] * 4
        assert smi(host, "vgpu", "-s", "-v") == (0, "No supported devices in vGPU mode\n")


def test_lists_that_are_late(host: SimHost) -> None:
    host.fault("*/nvidia/creatable_vgpu_types", lag=0.5)
    make(host, VFS[0], 712)
    assert listed(host, VFS[1]) == LISTED
    assert refused(make, host, VFS[1], 709) == errno.EIO
    eventually(lambda: creatable(host, VFS[1]) == [712])


# ---- what takes a vGPU away --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["function", "card", "functions", "reboot", "tool", "plug"])
def test_what_clears_the_types(host: SimHost, way: str) -> None:
    make(host, VFS[0], 711)
    host.write(file(VFS[0], "vgpu_params"), "enable_uvm=1\n")
    if way == "reboot":
        host.reboot()
    elif way == "functions":
        for count in (0, 4):
            host.write(f"{PCI}/devices/{PF}/sriov_numvfs", str(count))
    elif way == "plug":
        host.unplug(PF)
        host.plug(PF)
        assert names(host, f"{PCI}/drivers/nvidia") == [PF, "bind", "module", "new_id", "remove_id", "unbind"]
        manage(host, "-e", PF)
    elif way == "tool":
        for option in ("-d", "-e"):
            assert manage(host, option, PF).returncode == 0
    else:
        address = PF if way == "card" else VFS[0]
        for verb in ("unbind", "bind"):
            host.write(f"{PCI}/drivers/nvidia/{verb}", address)
        if way == "card":
            assert not host.path(file(VFS[0])).exists()
            manage(host, "-e", PF)
    assert (current(host, VFS[0]), host.read(file(VFS[0], "vgpu_params"))) == (0, "\n")
    assert creatable(host, VFS[1]) == [709, 711, 712, 713]
    assert (names(host, "/sys/class/vfio"), names(host, "/sys/class/vfio-dev")) == ([], [])


def test_an_unbind_waits_for_the_guest(host: SimHost) -> None:
    make(host, VFS[0], 711)
    with host.hold(VFS[0]):
        writer = host.popen(["sh", "-c", f"echo {VFS[0]} > {PCI}/drivers/nvidia/unbind"])
        eventually(lambda: not host.path(file(VFS[0])).exists())
        assert writer.poll() is None
    assert writer.wait(5) == 0
    assert names(host, "/sys/class/vfio") == []


def test_functions_stay_with_nvidias_driver(host: SimHost) -> None:
    host.run(["modprobe", "vfio-pci"])
    host.write(f"{PCI}/drivers/nvidia/unbind", VFS[0])
    host.write(f"{PCI}/devices/{VFS[0]}/driver_override", "vfio-pci")
    assert refused(host.write, f"{PCI}/drivers/vfio-pci/bind", VFS[0]) == errno.EINVAL


def test_functions_need_the_card_to_have_the_driver() -> None:
    with SimHost(changed(keeps_vfs=True)) as host:
        host.write(f"{PCI}/drivers/nvidia/unbind", VFS[0])
        host.write(f"{PCI}/drivers/nvidia/unbind", PF)
        assert refused(host.write, f"{PCI}/drivers/nvidia/bind", VFS[0]) == errno.ENODEV


# ---- sriov-manage ------------------------------------------------------------------------------------------------


def drivers(host: SimHost) -> list[str | None]:
    """The drivers of the card and of its functions; None for one that has none or is not there."""
    links = [host.path(f"{PCI}/devices/{address}/driver") for address in (PF, *VFS)]
    return [link.readlink().name if link.is_symlink() else None for link in links]


def test_sriov_manage(host: SimHost) -> None:
    smi(host, "vgpu", "-shm", "1", "-i", PF)
    assert manage(host, "-e", PF).stdout == f"GPU at {PF} already has VFs enabled.\n"
    assert manage(host, "-d", "06:00.0").returncode == 0
    assert drivers(host) == ["nvidia", None, None, None, None]
    assert manage(host, "-d", PF).stdout == f"GPU at {PF} already has VFs disabled.\n"
    assert "vGPU Heterogeneous Mode                        : Disabled" in smi(host, "-q")[1]
    smi(host, "vgpu", "-shm", "1", "-i", PF)
    assert manage(host, "-e", "ALL").stdout == f"Enabling VFs on {PF}\n"
    assert drivers(host) == ["nvidia"] * 5
    assert "vGPU Heterogeneous Mode                        : Disabled" in smi(host, "-q")[1]


@pytest.mark.parametrize("arguments", [[], ["-x"], ["-e"], ["-e", "0000:ff:00.0"]])
def test_sriov_manage_of_nothing(host: SimHost, arguments: list[str]) -> None:
    assert manage(host, *arguments).returncode == 1
    assert drivers(host) == ["nvidia"] * 5


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ({"errno": "EBUSY"}, 1, f"Enabling VFs on {PF}\nCannot obtain unbindLock for {PF}\n"),
        ({"errno": "EIO"}, 1, f"Enabling VFs on {PF}\n{TOOL}: Input/output error\n"),
        ({"content": ""}, 0, f"Enabling VFs on {PF}\n"),
        ({"content": "\ufffd\n"}, 0, f"Enabling VFs on {PF}\n\ufffd\n"),
    ],
)
def test_sriov_manage_that_does_nothing(fault: dict[str, str], status: int, said: str) -> None:
    with SimHost(changed(numvfs=0)) as host:
        host.fault(TOOL, times=1, **fault)
        done = manage(host, "-e", PF)
        assert (done.returncode, done.stdout + done.stderr) == (status, said)
        assert drivers(host) == ["nvidia", None, None, None, None]
        # Such a client goes again.
        assert manage(host, "-e", PF).returncode == 0
        assert drivers(host) == ["nvidia"] * 5


def test_sriov_manage_while_a_guest_runs(host: SimHost) -> None:
    make(host, VFS[0], 711)
    with host.hold(VFS[0]):
        done = manage(host, "-d", PF)
        assert (done.returncode, done.stderr) == (1, f"Cannot obtain unbindLock for {PF}\n")
    assert current(host, VFS[0]) == 711


def test_sriov_manage_that_never_answers(host: SimHost) -> None:
    host.fault(TOOL, delay=30)
    assert host.run(["timeout", "0.3", TOOL, "-d", PF], check=False).returncode == 124
    assert drivers(host) == ["nvidia"] * 5


def test_sriov_manage_that_is_ended_midway() -> None:
    with SimHost(changed(numvfs=0)) as host:
        host.fault(f"{PCI}/drivers/nvidia/{PF}", op="write", errno="EIO")
        assert manage(host, "-e", PF).returncode != 0
        assert drivers(host)[0] is None
        host.clear_faults()
        host.write(f"{PCI}/drivers/nvidia/bind", PF)
        assert drivers(host)[0] == "nvidia"


def test_sriov_manage_of_a_driver_container() -> None:
    place = "/run/nvidia/driver/usr/lib/nvidia"
    plan = changed()
    plan["nvidia"]["sriov_manage"] = ["/usr/lib/nvidia", place]
    with SimHost(plan) as host:
        host.reboot()
        for folder in plan["nvidia"]["sriov_manage"]:
            done = host.run([f"{folder}/sriov-manage", "-e", PF])
            assert done.stdout == f"GPU at {PF} already has VFs enabled.\n"


# ---- nvidia-smi --------------------------------------------------------------------------------------------------


def fields(text: str) -> dict[str, str]:
    """The fields of one card, by their names; of those with the same name, the last."""
    return {key.strip(): value for key, value in re.findall(r"^(.*?) +: (.*)$", text, re.MULTILINE)}


def test_all_of_a_card(large: SimHost) -> None:
    status, text = smi(large, "-q")
    assert status == 0
    assert re.findall(r"^GPU (.*)$", text, re.MULTILINE) == [f"00000000:{bus}:00.0" for bus in range(41, 49)]
    modes = re.findall(r"Host VGPU Mode +: (.*)", text)
    assert modes == ["SR-IOV"] * 3 + ["Non SR-IOV"] + ["SR-IOV"] * 4
    heterogeneous = re.findall(r"vGPU Heterogeneous Mode +: (.*)", text)
    assert heterogeneous == ["Disabled"] * 2 + ["Enabled", "N/A"] + ["Disabled"] * 3 + ["N/A"]
    migs = re.findall(r"MIG Mode\n +Current +: (.*)\n +Pending +: (.*)", text)
    assert migs == [("N/A", "N/A")] * 7 + [("Enabled", "Enabled")]


def test_one_of_the_cards(large: SimHost) -> None:
    uuid = re.findall(r"UUID: (.*)\)", smi(large, "-L")[1])[1]
    answers = {
        smi(large, "-q", "-i", name)
        for name in ("1", uuid, "42:00.0", "0000:42:00.0", "00000000:42:00.0", "0:42:0.0", "00000000:42:00.0".upper())
    }
    ((status, text),) = answers
    assert (status, fields(text)["Bus Id"], fields(text)["Attached GPUs"]) == (0, "00000000:42:00.0", "8")
    for name in ("8", "0000:40:00.0", "1:42:00.0", "x", ""):
        assert smi(large, "-q", "-i", name) == (6, "No devices were found\n")


def test_types(large: SimHost) -> None:
    short = ["vgpu", "-i", BIG]
    supported = [
        f"    NVIDIA L40S-{each}"
        for each in ["1B", "2B", "1Q", "2Q", "4Q", "6Q", "8Q", "12Q", "16Q", "24Q", "48Q", "8A", "8C"]
    ]
    assert smi(large, *short, "-s")[1].splitlines() == ["GPU 00000000:41:00.0", *supported, ""]
    make(large, "0000:41:00.4", 1152)
    assert smi(large, *short, "-s")[1].splitlines() == ["GPU 00000000:41:00.0", *supported, ""]
    same = [line for line in supported if "-8" in line]
    assert smi(large, *short, "-c")[1].splitlines() == ["GPU 00000000:41:00.0", *same, ""]
    text = smi(large, *short, "-c", "-v")[1]
    assert re.findall(r"vGPU Type ID +: (.*)", text) == ["0x480", "0x48a", "0x23c0"]
    block = text.partition("    vGPU Type ID")[2].partition("    vGPU Type ID")[0]
    assert text.splitlines()[1] == "    vGPU Type ID                          : 0x480"
    known = {"Name": "NVIDIA L40S-8Q", "GPU Instance Profile ID": "N/A", "Max Instances": "6", "FB Memory": "8192 MiB"}
    assert {key: fields(block)[key] for key in known} == known
    make(large, "0000:41:00.4", 0)


def test_running_vgpus(host: SimHost) -> None:
    idle = (0, "GPU 00000000:06:00.0\n    Active vGPUs                          : 0\n\n")
    make(host, VFS[0], 711)
    make(host, VFS[1], 711)
    assert smi(host, "vgpu", "-q") == idle
    with host.hold(VFS[1]):
        text = smi(host, "vgpu", "-q")[1]
        assert {key: fields(text)[key] for key in ("Active vGPUs", "vGPU Name", "vGPU Type", "Total")} == {
            "Active vGPUs": "1",
            "vGPU Name": "NVIDIA A16-4Q",
            "vGPU Type": "711",
            "Total": "4096 MiB",
        }


def test_the_mode_is_changed_on_an_empty_card(host: SimHost) -> None:
    make(host, VFS[0], 712)
    assert smi(host, "vgpu", "-shm", "1", "-i", PF)[0] == 19
    assert "In use by another client" in smi(host, "vgpu", "-shm", "1")[1]
    assert creatable(host, VFS[1]) == [712]
    make(host, VFS[0], 0)
    assert smi(host, "vgpu", "-shm", "1", "-i", PF)[0] == 0
    make(host, VFS[0], 712)
    assert creatable(host, VFS[1]) == [709, 711, 712]
    assert fields(smi(host, "-q")[1])["vGPU Heterogeneous Mode"] == "Enabled"


@pytest.mark.parametrize("number", [44, 48])
def test_cards_whose_mode_cannot_be_changed(large: SimHost, number: int) -> None:
    status, text = smi(large, "vgpu", "-shm", "1", "-i", f"0000:{number}:00.0")
    assert (status, "Not Supported" in text) == (3, True)


def test_a_card_of_one_mode() -> None:
    with SimHost(changed(card={"heterogeneous": "N/A"})) as host:
        found = fields(smi(host, "-q")[1])
        assert (found["vGPU Heterogeneous Mode"], found["Heterogeneous Time-Slice Sizes"]) == ("N/A", "Not Supported")
        assert smi(host, "vgpu", "-shm", "1")[0] == 3
        assert smi(host, "vgpu", "-s")[1].count("A16") == 4


@pytest.mark.parametrize(
    "arguments", [["-x"], ["vgpu", "-z"], ["vgpu", "-shm", "2"], ["vgpu", "-s", "-q"], ["-q", "-d", "MEMORY"], ["mig"]]
)
def test_what_nvidia_smi_does_not_know(host: SimHost, arguments: list[str]) -> None:
    status, text = smi(host, *arguments)
    assert (status, text.startswith("Invalid combination of input arguments.")) == (1, True)


def test_nvidia_smi_without_the_driver(host: SimHost) -> None:
    host.write(f"{PCI}/drivers/nvidia/unbind", PF)
    assert smi(host, "-q") == (6, "No devices were found\n")
    host.run(["modprobe", "-r", "nvidia"])
    status, text = smi(host, "-q")
    assert (status, text.startswith("NVIDIA-SMI has failed because")) == (9, True)


def test_nvidia_smi_that_fails(host: SimHost) -> None:
    host.fault(SMI, content="rubbish \udcff\n", times=1)
    done = host.run(["sh", "-c", "nvidia-smi -q | od -c | head -1"])
    assert "377" in done.stdout
    host.fault(SMI, errno="EIO", times=1)
    assert smi(host, "-q")[0] == 9
    host.fault(SMI, delay=0.4, times=1)
    start = time.monotonic()
    assert smi(host, "-q")[0] == 0
    assert time.monotonic() - start >= 0.4
    host.fault(SMI, delay=30)
    assert host.run(["timeout", "0.3", "nvidia-smi", "-q"], check=False).returncode == 124


# ---- with others -------------------------------------------------------------------------------------------------


def test_a_host_with_both_kinds_of_cards() -> None:
    with SimHost(merged("nvidia-mdev", SMALL)) as host:
        parent = "/sys/class/mdev_bus/0000:3d:00.0"
        before = available(host, parent, "nvidia-231")
        create(host, parent, "nvidia-231", UUIDS[0])
        make(host, VFS[0], 711)
        assert available(host, parent, "nvidia-231") == before - 1
        assert sorted(names(host, "/sys/bus/mdev/devices")) == [UUIDS[0]]
        assert VFS[0] not in names(host, "/sys/class/mdev_bus")


def test_a_card_that_has_moved() -> None:
    """The same functions, groups and sizes as those that are parents of mediated devices on an older driver."""

    def seen(host: SimHost, address: str) -> list[str]:
        base = f"{PCI}/devices/{address}"
        group = host.path(f"{base}/iommu_group").readlink().name
        return [
            group,
            *(host.read(f"{base}/{name}") for name in ("vendor", "device", "class", "revision", "numa_node")),
        ]

    with SimHost("nvidia-sriov") as old, SimHost(SMALL) as new:
        for address in (PF, *VFS):
            assert seen(old, address) == seen(new, address)
        folder = old.path(f"{PCI}/devices/{VFS[0]}/mdev_supported_types")
        former = [
            f"{each.name.removeprefix('nvidia-'):<5} : {(each / 'name').read_text().strip()}"
            for each in folder.iterdir()
        ]
        assert sorted(former) == sorted(listed(new, VFS[0])[1:])


def broken(key: str, value: Any) -> dict[str, Any]:
    plan = copy.deepcopy(changed())
    behaviour = plan["devices"][0]["behaviour"]
    if key == "order":
        plan["devices"][0]["behaviour"] = {"sriov": behaviour["sriov"]}
    elif key == "nvidia":
        plan["nvidia"] = value
    elif key == "group":
        del behaviour["sriov"]["vf"]["iommu_group"]
    else:
        behaviour["nvidia_card"][key] = value
    return plan


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("mode", "SRIOV", "'SRIOV' is not one of SR-IOV, Non SR-IOV, N/A"),
        ("mig", "yes", "'yes' is not one of Enabled, Disabled, N/A"),
        ("memory", 1, "unknown parameter memory"),
        ("order", None, "give it nvidia_card, before sriov"),
        ("group", None, "nvidia_vgpu is for virtual functions of sriov with an iommu_group"),
        ("nvidia", {"smi": True}, "unknown key smi"),
        ("nvidia", {"sriov_manage": ["/opt"]}, "/opt is not below /usr/lib or /run"),
    ],
)
def test_scenarios_that_do_not_start(key: str, value: Any, text: str) -> None:
    with pytest.raises(SimHostError, match=re.escape(text)), SimHost(broken(key, value)):
        pass
