# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual functions that are vGPUs, on a real kernel: nvidiasim's rules, the stand-ins for NVIDIA's tools, a guest.

The card is a GPU of NVIDIA's for all that read sysfs; README.md says how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .machine import Machine
from .playbooks import Playbooks
from .qemu import GRAPHICS_CARD

# How a kernel's VFIO takes the module; what the module and the tools do besides is the same on each.
every_release = pytest.mark.every_release

CARD = "0000:04:00.0"
FUNCTIONS = [f"0000:04:{device}.{function}" for device in (10, 11) for function in (0, 2, 4, 6)]
SRIOV_MANAGE = "/usr/lib/nvidia/sriov-manage"
HEADER = "ID    : vGPU Name"
SMALL, MIDDLE, LARGE = "11    : SIM V100-1Q", "12    : SIM V100-4Q", "13    : SIM V100-8Q"
DOMAIN = """
<domain type="qemu">
  <name>graphics</name>
  <memory unit="MiB">64</memory>
  <os><type machine="q35">hvm</type></os>
  <devices>
    <hostdev mode="subsystem" type="pci" managed="no">
      <source><address domain="0x0000" bus="0x04" slot="0x10" function="0x0"/></source>
    </hostdev>
  </devices>
</domain>
"""

# What the programs in the guest share.
COMMON = r"""
import errno, fcntl, json, os, struct, subprocess, time

DEVICES = "/sys/bus/pci/devices/"
TYPE, PARAMS, PLACEMENT = "current_vgpu_type", "vgpu_params", "placement_id"

def said(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()

def attempt(path, text):
    try:
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"

def path(index, name):
    return DEVICES + FUNCTIONS[index] + "/nvidia/" + name

def write(index, name, text):
    return attempt(path(index, name), text)

def read(index, name):
    with open(path(index, name)) as file:
        return file.read()

def creatable(index):
    return read(index, "creatable_vgpu_types").splitlines()

def link(name, what):
    found = DEVICES + name + "/" + what
    return os.path.basename(os.readlink(found)) if os.path.islink(found) else None

def functions():
    return [link(CARD, "virtfn%d" % index) for index in range(len(FUNCTIONS)) if link(CARD, "virtfn%d" % index)]

def folders():
    return [name for name in functions() if os.path.exists(DEVICES + name + "/nvidia/" + TYPE)]

def appeared(seconds=60):
    deadline = time.monotonic() + seconds
    while folders() != functions() and time.monotonic() < deadline:
        time.sleep(0.1)
    return folders()

def vfio(index):
    folder = DEVICES + FUNCTIONS[index] + "/vfio-dev"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return len(names), os.path.exists("/dev/vfio/" + link(FUNCTIONS[index], "iommu_group"))

# linux/vfio.h: the group's container, its IOMMU of type 1, and the device of the group.
SET_IOMMU, SET_CONTAINER, GET_DEVICE = 0x3B66, 0x3B68, 0x3B6A

def opened(index):
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open("/dev/vfio/" + link(FUNCTIONS[index], "iommu_group"), os.O_RDWR)
    fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
    fcntl.ioctl(container, SET_IOMMU, 1)
    device = fcntl.ioctl(group, GET_DEVICE, bytearray(FUNCTIONS[index].encode() + b"\0"))
    return device, group, container

def closed(files):
    for file in files:
        os.close(file)
"""

RULES = r"""
seen = {"tool": said("/usr/lib/nvidia/sriov-manage", "-e", CARD)[0], "early": folders(), "late": appeared()}
seen["again"] = said("/usr/lib/nvidia/sriov-manage", "-e", CARD)
seen["functions"] = {name: [link(name, "driver"), link(name, "iommu_group")] for name in functions()}
seen["files"] = sorted(os.listdir(path(0, "")))
seen["values"] = {name: read(0, name).strip() for name in (TYPE, PARAMS, PLACEMENT, "gpu_instance_id", "warm_update")}
seen["card"] = os.path.exists(DEVICES + CARD + "/nvidia")
seen["vfio"] = [vfio(0)]
seen["lists"] = [creatable(0)]
seen["malformed"] = [write(0, TYPE, text) for text in ("x\n", "\n", "-1\n", "12 13\n", "1" * 40)]
seen["params without a type"] = write(0, PARAMS, "a=1\n")
seen["unknown"] = [write(0, TYPE, "99\n"), read(0, TYPE)]
seen["made"] = [write(0, TYPE, " 0xc\n"), read(0, TYPE)]
seen["second"] = [write(0, TYPE, "12\n"), read(0, TYPE)]
seen["lists"] += [creatable(0), creatable(1)]
seen["other size"] = [write(1, TYPE, "11\n"), read(1, TYPE)]
seen["vfio"].append(vfio(0))
seen["params"] = []
for text in ("a=1,b=2\n", "c=3", " ", "x" * 257):
    seen["params"] += [write(0, PARAMS, text), read(0, PARAMS)]
seen["placement of a homogeneous card"] = write(1, PLACEMENT, "4\n")
seen["full"] = [write(1, TYPE, "12\n"), creatable(2), write(2, TYPE, "12\n"), write(2, TYPE, "11\n")]
files = opened(0)
seen["held"] = [write(0, name, text) for name, text in ((TYPE, "0\n"), (PARAMS, "a=1\n"), (PLACEMENT, "0\n"))]
seen["active"] = said("nvidia-smi", "vgpu", "-q")[1].splitlines()[1:2]
seen["other"] = [write(1, TYPE, "0\n"), creatable(2)]
closed(files)
write(0, PARAMS, "kept=1\n")
seen["cleared"] = [write(0, TYPE, "0\n"), read(0, TYPE), read(0, PARAMS), creatable(1)]
seen["vfio"].append(vfio(0))
write(0, TYPE, "11\n")
unbound = attempt(DEVICES + FUNCTIONS[0] + "/driver/unbind", FUNCTIONS[0])
seen["unbound"] = [unbound, os.path.exists(path(0, "")), creatable(1)]
seen["bound anew"] = [attempt("/sys/bus/pci/drivers/nvidia/bind", FUNCTIONS[0]), appeared(), read(0, TYPE)]
write(0, TYPE, "11\n")
said("rmmod", "nvidiasim")
said("modprobe", "nvidiasim")
seen["reloaded"] = [link(CARD, "driver"), functions()]
attempt(DEVICES + CARD + "/sriov_numvfs", "3")
seen["some"] = [appeared(), [link(name, "driver") for name in functions()], read(0, TYPE)]
seen["disabled"] = [said("/usr/lib/nvidia/sriov-manage", "-d", CARD)[0], functions(), link(CARD, "driver")]
print(json.dumps(seen))
"""

HETEROGENEOUS = r"""
def mode():
    text = said("nvidia-smi", "-q", "-i", "00000000:04:00.0")[1]
    return [line.partition(":")[2].strip() for line in text.splitlines() if "Heterogeneous Mode" in line]

said("/usr/lib/nvidia/sriov-manage", "-e", "ALL")
appeared()
seen = {"before": mode(), "set": said("nvidia-smi", "vgpu", "-shm", "1", "-i", "04:00.0")[0], "modes": mode()}
seen["placed"] = [write(0, PLACEMENT, "4\n"), write(0, TYPE, "12\n"), read(0, PLACEMENT)]
seen["beside"] = [write(1, TYPE, "11\n"), read(1, PLACEMENT)]
seen["free"] = creatable(2)
seen["taken"] = [write(2, PLACEMENT, "4\n"), write(2, TYPE, "11\n"), read(2, TYPE)]
seen["beyond"] = write(2, PLACEMENT, "8\n")
seen["none"] = [write(2, PLACEMENT, "65535\n"), write(2, TYPE, "11\n"), read(2, PLACEMENT)]
seen["of a type"] = write(2, PLACEMENT, "3\n")
seen["busy"] = said("nvidia-smi", "vgpu", "-shm", "0", "-i", "0")
seen["after"] = [said("/usr/lib/nvidia/sriov-manage", "-d", "ALL")[0], mode()]
print(json.dumps(seen))
"""

DIVIDED = r"""
INSTANCE, MIG = "gpu_instance_id", DEVICES + CARD + "/nvidiasim/mig"

def mig(text):
    return attempt(MIG, text)

def shown():
    with open(MIG) as file:
        return file.read().splitlines()

def smi(*words):
    return said("nvidia-smi", *words, "-i", "0")

seen = {"off": [shown(), smi("mig", "-lgi")]}
seen["on"] = [smi("-mig", "1"), shown()]
seen["made"] = [smi("mig", "-cgi", "9", "-C")[0], shown()]
seen["lost"] = [said("/usr/lib/nvidia/sriov-manage", "-e", CARD)[0], shown()]
appeared()
seen["without instances"] = [creatable(0), write(0, TYPE, "31\n"), write(0, TYPE, "11\n")]
seen["divided"] = [mig("1\n1 9 0 4 3 1\n2 19 4 1 1 1\n"), creatable(0)]
verbose = smi("vgpu", "-s", "-v")[1].splitlines()
seen["told"] = [line.split(":")[1].strip() for line in verbose if "GPU Instance Profile" in line or "Per GI" in line]
seen["first"] = [write(0, TYPE, "32\n"), read(0, INSTANCE)]
seen["one size"] = [creatable(1), write(1, TYPE, "33\n")]
seen["full"] = [write(1, TYPE, "32\n"), creatable(2), write(2, TYPE, "32\n")]
seen["wanted"] = [write(2, INSTANCE, "1\n"), write(2, TYPE, "31\n"), write(2, INSTANCE, "2\n"), write(2, TYPE, "31\n")]
seen["of a type"] = [read(2, INSTANCE), write(2, INSTANCE, "1\n"), write(3, INSTANCE, "7\n")]
seen["in use"] = [smi("mig", "-dci", "-gi", "1")[0], mig("1\n2 19 4 1 1 1\n"), mig("0\n"), smi("-mig", "0")]
one = "1\n1 9 0 4 3 1"
wrong = ["2\n", "1\n1 9 0 4 3\n", one + " 1\n", "1\n1 9 6 4 3 1\n", one + "\n2 9 2 4 3 1\n", one + "\n1 19 4 1 1 1\n"]
seen["malformed"] = [mig(text) for text in [*wrong, one[1:], "1\n1 9 0 4 8 1\n", "0" + one[1:], "1\n-1 9 0 4 3 1\n"]]
seen["kept"] = shown()
seen["cleared"] = [write(2, TYPE, "0\n"), read(2, INSTANCE), mig("1\n1 9 0 4 3 1\n"), shown()]
seen["mixed sizes"] = said("nvidia-smi", "vgpu", "-shm", "1", "-i", "0")[0]
seen["disabled"] = [said("/usr/lib/nvidia/sriov-manage", "-d", CARD)[0], shown()]
said("rmmod", "nvidiasim")
said("modprobe", "nvidiasim")
seen["reloaded"] = shown()
print(json.dumps(seen))
"""

TOOLS = r"""
seen = {"creatable": said("nvidia-smi", "vgpu", "-c")[1].splitlines()}
said("/usr/lib/nvidia/sriov-manage", "-e", CARD)
appeared()
write(0, TYPE, "12\n")
seen["shrunken"] = said("nvidia-smi", "vgpu", "-c")[1].splitlines()
seen["supported"] = said("nvidia-smi", "vgpu", "-s", "-i", "0")[1].splitlines()
verbose = said("nvidia-smi", "vgpu", "-s", "-v")[1].splitlines()
wanted = ("vGPU Type ID", "Name", "Max Instances", "FB Memory")
seen["verbose"] = [line for line in verbose if line.strip().partition("  ")[0] in wanted]
seen["virtualization"] = [line for line in said("nvidia-smi", "-q")[1].splitlines() if "Mode  " in line]
seen["unknown card"] = said("nvidia-smi", "-q", "-i", "0000:05:00.0")
seen["unknown words"] = said("nvidia-smi", "vgpu", "--frobnicate")
network = [said("/usr/lib/nvidia/sriov-manage", "-e", "0000:03:00.0")[0], link("0000:03:00.0", "virtfn0")]
seen["another card"] = [*network, link("0000:03:00.0", "driver")]
seen["no card"] = said("/usr/lib/nvidia/sriov-manage", "-e", "0000:05:00.0")
said("/usr/lib/nvidia/sriov-manage", "-d", CARD)
print(json.dumps(seen))
"""

# A guest of QEMU's without libvirt, and a domain: each has the function until it ends.
GUESTS = r"""
QEMU = ("qemu-system-x86_64", "-machine", "q35", "-m", "64", "-nodefaults", "-display", "none", "-S")

def held():
    return [write(0, TYPE, "0\n"), write(0, PARAMS, "a=1\n"), read(0, TYPE), read(0, PARAMS)]

def in_use(wanted, seconds=60):
    deadline = time.monotonic() + seconds
    while ("Active vGPUs                          : 1" in said("nvidia-smi", "vgpu", "-q")[1]) != wanted:
        if time.monotonic() > deadline:
            return not wanted
    return wanted

said("/usr/lib/nvidia/sriov-manage", "-e", CARD)
appeared()
seen = {"without a type": [said(*QEMU, "-device", "vfio-pci,host=" + FUNCTIONS[0])[0]]}
seen["without a type"].append(said("virsh", "start", "graphics", "--paused")[0])
write(0, TYPE, "12\n")
write(0, PARAMS, "frame_rate_limiter=0\n")
guest = subprocess.Popen([*QEMU, "-device", "vfio-pci,host=" + FUNCTIONS[0]])
seen["qemu"] = [in_use(True), held()]
seen["tool"] = said("/usr/lib/nvidia/sriov-manage", "-d", CARD)
guest.terminate()
guest.wait()
seen["qemu"] += [in_use(False), link(FUNCTIONS[0], "driver"), read(0, TYPE)]
seen["libvirt"] = [said("virsh", "start", "graphics", "--paused"), held()]
said("virsh", "destroy", "graphics")
seen["bound"] = link(FUNCTIONS[0], "driver")
seen["cleared"] = [write(0, TYPE, "0\n"), read(0, TYPE)]
said("/usr/lib/nvidia/sriov-manage", "-d", CARD)
print(json.dumps(seen))
"""


def observe(machine: Machine, program: str) -> dict[str, Any]:
    """What a program in the guest prints, after which the card has no functions."""
    names = f"CARD, FUNCTIONS = {CARD!r}, {FUNCTIONS}\n"
    answer: dict[str, Any] = json.loads(machine.run("python3 -", stdin=names + COMMON + program).stdout)
    return answer


@pytest.fixture(scope="module", autouse=True)
def domain(machine: Machine) -> Iterator[None]:
    """The domain with the first function, and nothing left of these tests afterwards."""
    machine.write("/run/graphics.xml", DOMAIN, mode=0o600)
    machine.run("virsh define --validate /run/graphics.xml")
    yield
    machine.run("virsh destroy graphics; virsh undefine graphics", check=False)
    machine.run(f"{SRIOV_MANAGE} -d {CARD}")


@pytest.fixture(scope="module")
def rules(machine: Machine) -> dict[str, Any]:
    return observe(machine, RULES)


@pytest.fixture(scope="module")
def heterogeneous(machine: Machine) -> dict[str, Any]:
    return observe(machine, HETEROGENEOUS)


@pytest.fixture(scope="module")
def divided(machine: Machine) -> dict[str, Any]:
    return observe(machine, DIVIDED)


@pytest.fixture(scope="module")
def tools(machine: Machine) -> dict[str, Any]:
    return observe(machine, TOOLS)


@pytest.fixture(scope="module")
def guests(machine: Machine, domain: None) -> dict[str, Any]:
    return observe(machine, GUESTS)


VALUES = {
    "current_vgpu_type": "0",
    "vgpu_params": "",
    "placement_id": "65535",
    "gpu_instance_id": "4294967295",
    "warm_update": "0",
}
# What each thing that was tried answered, by its name in RULES.
ANSWERS: dict[str, Any] = {
    "tool": 0,
    # The folders come some time after the driver.
    "early": [],
    "late": FUNCTIONS,
    "again": [0, f"VFs already enabled on {CARD}"],
    "files": sorted([*VALUES, "creatable_vgpu_types"]),
    "values": VALUES,
    "card": False,
    # The VFIO device, and the node of the group, are there as long as a type is set.
    "vfio": [[0, False], [1, True], [0, False]],
    # Those that can be made now: none beside one that is, then those of its size.
    "lists": [[HEADER, SMALL, MIDDLE, LARGE], [HEADER], [HEADER, MIDDLE]],
    "malformed": ["EINVAL"] * 5,
    "params without a type": "EPERM",
    "unknown": ["EIO", "0\n"],
    "made": ["ok", "12\n"],
    "second": ["EIO", "12\n"],
    "other size": ["EIO", "0\n"],
    # The last character of each write is lost.
    "params": ["ok", "a=1,b=2\n", "ok", "c=\n", "ok", "\n", "EINVAL", "\n"],
    "placement of a homogeneous card": "EINVAL",
    "full": ["ok", [HEADER], "EIO", "EIO"],
    "held": ["EPERM"] * 3,
    "active": ["    Active vGPUs                          : 1"],
    "other": ["ok", [HEADER, MIDDLE]],
    "cleared": ["ok", "0\n", "\n", [HEADER, SMALL, MIDDLE, LARGE]],
    "unbound": ["ok", False, [HEADER, SMALL, MIDDLE, LARGE]],
    "bound anew": ["ok", FUNCTIONS, "0\n"],
    "reloaded": ["nvidia", []],
    "some": [FUNCTIONS[:3], ["nvidia"] * 3, "0\n"],
    "disabled": [0, [], "nvidia"],
}


@every_release
@pytest.mark.parametrize("what", ANSWERS)
def test_a_rule_of_the_driver(rules: dict[str, Any], what: str) -> None:
    assert rules[what] == ANSWERS[what]


@every_release
def test_functions_have_the_driver_and_groups_of_their_own(rules: dict[str, Any]) -> None:
    assert list(rules["functions"]) == FUNCTIONS
    assert {driver for driver, _group in rules["functions"].values()} == {"nvidia"}
    assert len({group for _driver, group in rules["functions"].values()}) == len(FUNCTIONS)


# By their names in HETEROGENEOUS.
PLACEMENTS: dict[str, Any] = {
    "before": ["Disabled"],
    "set": 0,
    "modes": ["Enabled"],
    "placed": ["ok", "ok", "4\n"],
    "beside": ["ok", "0\n"],
    "free": [HEADER, SMALL],
    "taken": ["ok", "EIO", "0\n"],
    "beyond": "EINVAL",
    "none": ["ok", "ok", "1\n"],
    "of a type": "EIO",
    "busy": [19, f"Unable to set vGPU heterogeneous mode for GPU 0000{CARD}: In use by another client"],
    # The tool that makes functions, and removes them, ends it.
    "after": [0, ["Disabled"]],
}


@pytest.mark.parametrize("what", PLACEMENTS)
def test_a_heterogeneous_card(heterogeneous: dict[str, Any], what: str) -> None:
    assert heterogeneous[what] == PLACEMENTS[what]


SHARE, PART, HALF = "31    : SIM V100-1-1Q", "32    : SIM V100-3-2Q", "33    : SIM V100-3-4Q"
# By their names in DIVIDED.
DIVISION: dict[str, Any] = {
    "off": [["0"], [0, "No MIG-enabled devices found."]],
    "on": [[0, f"Enabled MIG Mode for GPU 0000{CARD}\nAll done."], ["1"]],
    "made": [0, ["1", "1 9 0 4 3 1"]],
    # The mode outlasts that the card leaves its driver for its functions, instances do not.
    "lost": [0, ["1"]],
    "without instances": [[HEADER], "EIO", "EIO"],
    "divided": ["ok", [HEADER, SHARE, PART, HALF]],
    "told": ["19", "1", "9", "2", "9", "1"],
    "first": ["ok", "1\n"],
    "one size": [[HEADER, SHARE, PART], "EIO"],
    "full": ["ok", [HEADER, SHARE], "EIO"],
    "wanted": ["ok", "EIO", "ok", "ok"],
    "of a type": ["2\n", "EIO", "EIO"],
    "in use": [19, "EBUSY", "EBUSY", [19, f"Unable to change MIG of GPU 0000{CARD}: In use by another client"]],
    "malformed": ["EINVAL"] * 10,
    "kept": ["1", "1 9 0 4 3 1", "2 19 4 1 1 1"],
    "cleared": ["ok", "4294967295\n", "ok", ["1", "1 9 0 4 3 1"]],
    "mixed sizes": 19,
    "disabled": [0, ["1"]],
    "reloaded": ["0"],
}


@pytest.mark.parametrize("what", DIVISION)
def test_a_card_that_mig_divides(divided: dict[str, Any], what: str) -> None:
    assert divided[what] == DIVISION[what]


GPU = f"GPU 0000{CARD}"
NAMES = ["    SIM V100-1Q", "    SIM V100-4Q", "    SIM V100-8Q"]
# By their names in TOOLS.
TOLD: dict[str, Any] = {
    "creatable": [GPU, *NAMES],
    "shrunken": [GPU, NAMES[1]],
    "supported": [GPU, *NAMES],
    "verbose": [
        line
        for number, name, most, size in (("0xb", "1Q", 8, 1024), ("0xc", "4Q", 2, 4096), ("0xd", "8Q", 1, 8192))
        for line in (
            f"    vGPU Type ID                          : {number}",
            f"        Name                              : SIM V100-{name}",
            f"        Max Instances                     : {most}",
            f"        FB Memory                         : {size} MiB",
        )
    ],
    "virtualization": [
        "    Persistence Mode                                   : Enabled",
        "        Virtualization Mode                            : Host VGPU",
        "        Host VGPU Mode                                 : SR-IOV",
        "        vGPU Heterogeneous Mode                        : Disabled",
    ],
    "unknown card": [6, "No devices were found"],
    "unknown words": [2, "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help."],
    # No GPU: nothing is done, and the exit code is 0.
    "another card": [0, None, "igb"],
    "no card": [1, "0000:05:00.0: no such device"],
}


@pytest.mark.parametrize("what", TOLD)
def test_what_the_tools_say(tools: dict[str, Any], what: str) -> None:
    assert tools[what] == TOLD[what]


IN_A_GUEST = ["EPERM", "EPERM", "12\n", "frame_rate_limiter=0\n"]


@every_release
def test_a_guest_takes_a_function_that_has_a_type(guests: dict[str, Any]) -> None:
    assert guests["without a type"] == [1, 1]
    assert guests["qemu"] == [True, IN_A_GUEST, False, "nvidia", "12\n"]
    assert guests["tool"] == [1, f"Cannot obtain unbindLock for {CARD}"]
    assert guests["bound"] == "nvidia"
    assert guests["cleared"] == ["ok", "0\n"]


def test_libvirt_gives_it_to_a_domain_from_some_release_on(machine: Machine, guests: dict[str, Any]) -> None:
    """9.0 takes a function for assignable without rebinding only where its driver is called vfio-pci."""
    (status, said), held = guests["libvirt"]
    if machine.release.name == "bookworm":
        assert "Unmanaged PCI device 0000:04:10.0 must be manually detached from the host" in said
        assert status == 1
    else:
        assert (status, held) == (0, IN_A_GUEST), said


def test_sriov_has_the_tool_make_the_functions(playbooks: Playbooks) -> None:
    sriov = {"device": CARD, "persistent": False, "wait_timeout": 240}
    all_of_them = {"hostdev.nodedev.sriov": {**sriov, "numvfs": "max"}, "register": "made"}
    conditions = [
        f"made.plan | select('search', '{SRIOV_MANAGE}') | length == 1",
        f"made.sriov.functions | map(attribute='address') | list == {FUNCTIONS}",
        "made.sriov.functions | map(attribute='driver') | unique | list == ['nvidia']",
    ]
    playbooks.tasks(
        [
            all_of_them,
            {"assert": {"that": conditions, "quiet": True}},
            {**all_of_them, "failed_when": "made is failed or made is changed"},
            # A bound driver is taken for a user of the function.
            {"hostdev.nodedev.sriov": {**sriov, "state": "absent", "force": True}},
        ]
    )


# Its driver, once it has one or a minute is over.
PLUGGED_IN = r"""
deadline = time.monotonic() + 60
while link(CARD, "driver") is None and time.monotonic() < deadline:
    time.sleep(0.2)
print(json.dumps({"driver": link(CARD, "driver"), "functions": functions()}))
"""


def test_a_card_that_is_plugged_in_has_its_driver(machine: Machine) -> None:
    machine.run(f"{SRIOV_MANAGE} -e {CARD}")
    machine.monitor("device_del", id=GRAPHICS_CARD["id"])
    machine.run(f"timeout 60 sh -c 'while test -e /sys/bus/pci/devices/{CARD}; do sleep 0.2; done'")
    machine.plug_in(GRAPHICS_CARD)
    assert observe(machine, PLUGGED_IN) == {"driver": "nvidia", "functions": []}
