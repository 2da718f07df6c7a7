# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver core and SR-IOV: which writes are taken, with which errno others are refused, what comes and goes."""

from __future__ import annotations

import copy
import errno
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from simhost import SimHost, SimHostError
from simhost.control import ControlError
from simhost.testing import MDEVS, UUIDS, create, eventually, monitored, names, refused, values

PCI = "/sys/bus/pci"
NIC = "0000:3b:00.0"
BRIDGE, TWIN, ALONE, PICKY = "0000:00:01.0", "0000:3b:00.1", "0000:05:00.0", "0000:06:00.0"

# One function of each kind that matters to the driver core; nothing but what these tests ask for.
CORE: dict[str, Any] = {
    "drivers": {
        "pci": {
            "nic": {"ids": ["pci:v00008086d00001592*"], "probe_errno": {PICKY: "EIO"}},
            "spare": {"ids": ["pci:v00008086d00001592*", "pci:v000010DE*"], "loaded": False},
            "pcieport": {"ids": ["pci:*bc06sc04*"], "builtin": True},
            "vfio-pci": {"vfio": True, "override_only": True, "loaded": False},
        }
    },
    "modules": {"vfio_iommu_type1": False},
    "module_files": {"modules.alias": "alias pci:v000010DEd* spare\n"},
    "devices": [
        {"pci": {"address": BRIDGE, "class": 0x060400, "header": 1}, "iommu_group": 0},
        {"pci": {"address": NIC, "vendor": 0x8086, "device": 0x1592}, "iommu_group": 1},
        {
            "path": f"devices/pci0000:3b/{NIC}/net/eth0",
            "class": "net",
            "of_driver": "nic",
            "uevent": {"INTERFACE": "eth0", "IFINDEX": 2},
        },
        {"pci": {"address": TWIN, "vendor": 0x8086, "device": 0x1592}, "iommu_group": 1},
        {"pci": {"address": ALONE, "vendor": 0x8086, "device": 0x1592}},
        {"pci": {"address": PICKY, "vendor": 0x8086, "device": 0x1592}, "iommu_group": 3},
    ],
}


@pytest.fixture
def host() -> Iterator[SimHost]:
    with SimHost(CORE) as running:
        yield running


def function(address: str, name: str = "") -> str:
    return f"{PCI}/devices/{address}/{name}".rstrip("/")


def driver(host: SimHost, address: str) -> str | None:
    """The driver of a function by its link, which agrees with the driver's list and with its uevent file."""
    link = host.path(function(address, "driver"))
    name = link.readlink().name if link.is_symlink() else None
    listed = [d for d in names(host, f"{PCI}/drivers") if host.path(f"{PCI}/drivers/{d}/{address}").is_symlink()]
    lines = host.read(function(address, "uevent")).splitlines()
    assert listed == [name] * bool(name)
    assert [line for line in lines if line.startswith("DRIVER=")] == [f"DRIVER={name}"] * bool(name)
    return name


def bind(host: SimHost, address: str, name: str) -> None:
    """Bind it as driverctl does."""
    if driver(host, address) is not None:
        host.write(function(address, "driver/unbind"), address)
    host.write(function(address, "driver_override"), name)
    host.write(f"{PCI}/drivers_probe", address)


def test_drivers_after_the_boot(host: SimHost) -> None:
    found = {address: driver(host, address) for address in (BRIDGE, NIC, TWIN, ALONE, PICKY)}
    assert found == {BRIDGE: "pcieport", NIC: "nic", TWIN: "nic", ALONE: "nic", PICKY: None}
    assert names(host, f"{PCI}/drivers") == ["nic", "pcieport"]
    assert names(host, f"{PCI}/drivers/pcieport") == [BRIDGE, "bind", "module", "new_id", "remove_id", "unbind"]
    assert host.read(f"{PCI}/drivers_autoprobe") == "1\n"
    assert names(host, "/sys/class/net") == ["eth0"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vfio-pci", "vfio-pci\n"),
        ("vfio-pci\n", "vfio-pci\n"),
        ("no such driver\nand more", "no such driver\n"),
        ("\n", "(null)\n"),
        ("\nvfio-pci", "(null)\n"),
        ("x" * 4094, "x" * 4094 + "\n"),
    ],
)
def test_driver_override(host: SimHost, text: str, shown: str) -> None:
    place = function(NIC, "driver_override")
    assert host.read(place) == "(null)\n"
    host.write(place, "before")
    host.write(place, text)
    assert host.read(place) == shown
    assert driver(host, NIC) == "nic"


def test_an_override_that_is_too_long(host: SimHost) -> None:
    assert refused(host.write, function(NIC, "driver_override"), "x" * 4095) == errno.EINVAL
    assert host.read(function(NIC, "driver_override")) == "(null)\n"


@pytest.mark.parametrize(
    ("override", "file", "text", "number"),
    [
        ("", "drivers/nic/bind", "0000:ff:00.0", errno.ENODEV),
        ("", "drivers/nic/bind", BRIDGE, errno.ENODEV),
        ("", "drivers/nic/bind", NIC, errno.EBUSY),
        ("vfio-pci", "drivers/nic/bind", NIC, errno.ENODEV),
        ("", "drivers/nic/bind", PICKY, errno.EIO),
        ("", "drivers/nic/unbind", BRIDGE, errno.ENODEV),
        ("", "drivers/nic/unbind", PICKY, errno.ENODEV),
        ("", "drivers/nic/unbind", "\n", errno.ENODEV),
        ("", "drivers/nic/unbind", f"{NIC}\n\n", errno.ENODEV),
        ("", "drivers_probe", "0000:ff:00.0", errno.ENODEV),
        ("", "drivers/nic/new_id", "8086", errno.EINVAL),
        ("", "drivers/nic/remove_id", "8086 1234", errno.ENODEV),
    ],
)
def test_what_is_refused(host: SimHost, override: str, file: str, text: str, number: int) -> None:
    before = {address: driver(host, address) for address in (BRIDGE, NIC, PICKY)}
    if override:
        host.write(function(NIC, "driver_override"), override)
    assert refused(host.write, f"{PCI}/{file}", text) == number
    assert {address: driver(host, address) for address in before} == before


@pytest.mark.parametrize(("address", "number"), [(BRIDGE, errno.EINVAL), (ALONE, errno.EINVAL)])
def test_what_vfio_refuses(host: SimHost, address: str, number: int) -> None:
    host.run(["modprobe", "vfio-pci"])
    bind(host, address, "vfio-pci")
    assert driver(host, address) is None
    assert refused(host.write, f"{PCI}/drivers/vfio-pci/bind", address) == number


def test_a_function_goes_to_vfio_and_comes_back(host: SimHost) -> None:
    host.run(["modprobe", "-q", "vfio_pci"])
    events = monitored(host, "pci", lambda: bind(host, NIC, "vfio-pci"), 2)
    assert events == [f"unbind {NIC}", f"bind {NIC}"]
    assert driver(host, NIC) == "vfio-pci"
    assert (names(host, "/sys/class/net"), names(host, function(NIC, "net"))) == ([], [])
    assert (names(host, "/dev/vfio"), names(host, "/sys/class/vfio")) == (["1", "vfio"], ["1"])
    bind(host, TWIN, "vfio-pci")
    bind(host, NIC, "\n")
    assert (names(host, "/dev/vfio"), names(host, "/sys/class/net")) == (["1", "vfio"], ["eth0"])
    bind(host, TWIN, "\n")
    assert names(host, "/dev/vfio") == ["vfio"]
    assert host.new_ids() == []


def test_a_driver_that_is_not_loaded_takes_nothing(host: SimHost) -> None:
    bind(host, NIC, "vfio-pci")
    assert driver(host, NIC) is None
    host.run(["modprobe", "vfio-pci"])
    assert driver(host, NIC) == "vfio-pci"


def test_unbind_waits_for_a_guest(host: SimHost) -> None:
    host.run(["modprobe", "vfio-pci"])
    bind(host, NIC, "vfio-pci")
    with host.hold(NIC):
        assert refused(host.write, f"{PCI}/drivers/nic/bind", PICKY) == errno.EIO
        host.write(function(TWIN, "driver/unbind"), TWIN)
        assert refused(host.write, f"{PCI}/drivers/nic/bind", TWIN) == errno.EBUSY
        writer = host.popen(["sh", "-c", f"echo {NIC} > {function(NIC, 'driver/unbind')}"])
        eventually(lambda: not host.path(function(NIC, "driver")).is_symlink())
        # The files that take the device's lock wait with it.
        reader = host.popen(["cat", function(NIC, "driver_override")], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.3)
        assert writer.poll() is None
        assert names(host, "/dev/vfio") == ["1", "vfio"]
    assert writer.wait(5) == 0
    assert reader.communicate(timeout=5)[0] == "vfio-pci\n"
    assert names(host, "/dev/vfio") == ["vfio"]


def test_a_writer_that_is_stopped_leaves_the_removal_going(host: SimHost) -> None:
    host.run(["modprobe", "vfio-pci"])
    bind(host, NIC, "vfio-pci")
    with host.hold(NIC):
        unbind = f"echo {NIC} > {function(NIC, 'driver/unbind')}"
        assert host.run(["timeout", "0.3", "sh", "-c", unbind], check=False).returncode == 124
        assert names(host, "/dev/vfio") == ["1", "vfio"]
    eventually(lambda: names(host, "/dev/vfio") == ["vfio"])
    assert driver(host, NIC) is None


def test_the_character_device() -> None:
    with SimHost({**CORE, "vfio_cdev": True}) as host:
        host.run(["modprobe", "vfio-pci"])
        bind(host, NIC, "vfio-pci")
        assert names(host, function(NIC, "vfio-dev")) == ["vfio0"]
        assert names(host, "/dev/vfio/devices") == ["vfio0"]
        with host.hold("devices/vfio0"):
            writer = host.popen(["sh", "-c", f"echo {NIC} > {function(NIC, 'driver/unbind')}"])
            eventually(lambda: names(host, function(NIC, "vfio-dev")) == [])
            assert writer.poll() is None
        assert writer.wait(5) == 0
        assert names(host, "/sys/class/vfio-dev") == []


def test_new_id_is_remembered(host: SimHost) -> None:
    host.run(["modprobe", "vfio-pci"])
    host.write(f"{PCI}/drivers/vfio-pci/new_id", "8086 1592")
    # It takes all that have no driver and match.
    assert (driver(host, PICKY), driver(host, NIC)) == ("vfio-pci", "nic")
    assert host.new_ids() == [("vfio-pci", "8086 1592")]
    host.reboot()
    assert host.new_ids() == []


@pytest.mark.parametrize(
    ("arguments", "status", "error", "modules"),
    [
        (["vfio-pci"], 0, "", ["nic", "pcieport", "vfio_pci"]),
        (["-a", "vfio_pci", "vfio_iommu_type1"], 0, "", ["nic", "pcieport", "vfio_iommu_type1", "vfio_pci"]),
        (["-n", "vfio-pci"], 0, "", ["nic", "pcieport"]),
        (["pcieport"], 0, "", ["nic", "pcieport"]),
        (["pci:v000010DEd00001234"], 0, "", ["nic", "pcieport", "spare"]),
        (["nosuch"], 1, "modprobe: FATAL: Module nosuch not found in directory /lib/modules/", ["nic", "pcieport"]),
        (["-q", "nosuch"], 1, "", ["nic", "pcieport"]),
        (["-r", "nic"], 0, "", ["pcieport"]),
        ([], 1, "modprobe: ERROR: missing parameters", ["nic", "pcieport"]),
    ],
)
def test_modprobe(host: SimHost, arguments: list[str], status: int, error: str, modules: list[str]) -> None:
    done = host.run(["modprobe", *arguments], check=False)
    assert (done.returncode, done.stderr.startswith(error), bool(done.stderr)) == (status, True, bool(error))
    assert names(host, "/sys/module") == modules


def test_a_module_that_cannot_be_loaded(host: SimHost) -> None:
    host.fault("/sys/module/vfio_pci", op="write", errno="ENODEV", times=1)
    done = host.run(["modprobe", "vfio-pci"], check=False)
    assert (done.returncode, done.stderr) == (1, "modprobe: ERROR: could not insert 'vfio_pci': No such device\n")
    assert "vfio_pci" not in names(host, "/sys/module")
    host.run(["modprobe", "vfio-pci"])


def test_a_probe_that_fails_once(host: SimHost) -> None:
    host.fault(f"{PCI}/drivers/nic/{NIC}", op="write", errno="EIO", times=1)
    bind(host, NIC, "nic")
    assert driver(host, NIC) is None
    bind(host, NIC, "nic")
    assert driver(host, NIC) == "nic"


def test_a_slow_probe_has_others_wait(host: SimHost) -> None:
    host.fault(f"{PCI}/drivers/nic/{NIC}", op="write", delay=1.5)
    host.write(function(NIC, "driver/unbind"), NIC)
    writer = host.popen(["sh", "-c", f"echo {NIC} > {PCI}/drivers_probe"])
    eventually(lambda: host.faults()[0]["hits"])
    assert (driver(host, NIC), writer.poll()) == (None, None)
    assert host.read(function(NIC, "driver_override")) == "(null)\n"
    assert driver(host, NIC) == "nic"
    assert writer.wait(5) == 0


def test_a_module_takes_what_has_no_driver(host: SimHost) -> None:
    host.run(["modprobe", "spare"])
    assert {address: driver(host, address) for address in (NIC, PICKY)} == {NIC: "nic", PICKY: "spare"}
    host.run(["modprobe", "-r", "spare"])
    assert driver(host, PICKY) is None
    host.write(f"{PCI}/drivers_autoprobe", "0")
    host.run(["modprobe", "spare"])
    assert driver(host, PICKY) is None


def test_the_next_driver_is_tried_when_a_probe_fails(host: SimHost) -> None:
    host.run(["modprobe", "spare"])
    host.write(function(PICKY, "driver/unbind"), PICKY)
    host.write(f"{PCI}/drivers_probe", f"{PICKY}\n")
    assert driver(host, PICKY) == "spare"


def test_modules_of_the_running_kernel(host: SimHost) -> None:
    folder = f"/lib/modules/{host.run(['uname', '-r']).stdout.strip()}"
    assert names(host, folder.replace("/lib", "/usr/lib", 1)) == ["modules.alias", "modules.builtin"]
    assert host.read(f"{folder}/modules.alias") == "alias pci:v000010DEd* spare\n"
    assert host.run(["modprobe", "-R", "pci:v000010DEd00001234"]).stdout == "spare\n"


def test_a_reboot_undoes_it(host: SimHost) -> None:
    host.run(["modprobe", "vfio-pci"])
    bind(host, NIC, "vfio-pci")
    host.reboot()
    assert (driver(host, NIC), host.read(function(NIC, "driver_override"))) == ("nic", "(null)\n")
    assert (names(host, "/sys/module"), names(host, "/sys/class/net")) == (["nic", "pcieport"], ["eth0"])


NET, GPU, CROSSING, NVME = "0000:3b:00.0", "0000:06:00.0", "0000:5e:00.0", "0000:81:00.0"


@pytest.fixture
def functions() -> Iterator[SimHost]:
    with SimHost("functions") as running:
        yield running


def numvfs(host: SimHost, address: str, count: int | str) -> None:
    host.write(function(address, "sriov_numvfs"), str(count))


def virtual(host: SimHost, address: str) -> list[str]:
    """The virtual functions by the links of the physical one, in the order of their indices; they link back."""
    folder = host.path(function(address))
    found = []
    for index in range(sum(1 for name in names(host, function(address)) if name.startswith("virtfn"))):
        found.append((folder / f"virtfn{index}").readlink().name)
        assert host.path(function(found[-1], "physfn")).readlink().name == address
    return found


@pytest.mark.parametrize(
    ("address", "count", "expected"),
    [
        (NET, 2, ["0000:3b:01.0", "0000:3b:01.1"]),
        (CROSSING, 4, ["0000:5e:1f.6", "0000:5e:1f.7", "0000:5f:00.0", "0000:5f:00.1"]),
        (GPU, 1, ["0000:06:00.4"]),
        (NVME, 1, ["0000:81:00.1"]),
    ],
)
def test_virtual_functions(functions: SimHost, address: str, count: int, expected: list[str]) -> None:
    before = names(functions, f"{PCI}/devices")
    numvfs(functions, address, count)
    assert virtual(functions, address) == expected
    assert functions.read(function(address, "sriov_numvfs")) == f"{count}\n"
    assert all(functions.path(function(vf, "iommu_group")).is_symlink() for vf in expected)
    assert functions.read(function(expected[0], "vendor")) == functions.read(function(address, "vendor"))
    assert not functions.path(function(expected[0], "sriov_numvfs")).exists()
    numvfs(functions, address, count)
    numvfs(functions, address, 0)
    assert (names(functions, f"{PCI}/devices"), virtual(functions, address)) == (before, [])


def test_files_of_the_capability(functions: SimHost) -> None:
    files = ("totalvfs", "numvfs", "offset", "stride", "vf_device", "drivers_autoprobe")
    assert values(functions, function(CROSSING), *(f"sriov_{name}" for name in files)) == [
        "4",
        "0",
        "254",
        "1",
        "101e",
        "1",
    ]


@pytest.mark.parametrize(
    ("text", "count"), [("2", 2), ("+2\n", 2), ("0x2", 2), ("010", 8), ("0X8\n", 8), ("00", 0), ("0", 0)]
)
def test_numbers_that_numvfs_takes(functions: SimHost, text: str, count: int) -> None:
    numvfs(functions, NET, text)
    assert len(virtual(functions, NET)) == count


@pytest.mark.parametrize(
    ("before", "text", "number"),
    [
        (0, "x", errno.EINVAL),
        (0, "\n", errno.EINVAL),
        (0, "-1", errno.EINVAL),
        (0, "08", errno.EINVAL),
        (0, " 1", errno.EINVAL),
        (0, "1 ", errno.EINVAL),
        (0, "65536", errno.EINVAL),
        (0, "9", errno.ERANGE),
        (0, "65535", errno.ERANGE),
        (2, "4", errno.EBUSY),
        (2, "1", errno.EBUSY),
        (2, "9", errno.ERANGE),
    ],
)
def test_what_numvfs_refuses(functions: SimHost, before: int, text: str, number: int) -> None:
    numvfs(functions, NET, before)
    assert refused(numvfs, functions, NET, text) == number
    assert len(virtual(functions, NET)) == before


@pytest.mark.parametrize("other", ["", "vfio-pci"])
def test_numvfs_without_a_driver_that_makes_them(functions: SimHost, other: str) -> None:
    functions.run(["modprobe", "vfio-pci"])
    functions.write(function(NET, "driver/unbind"), NET)
    if other:
        bind(functions, NET, other)
    numvfs(functions, NET, 0)
    assert refused(numvfs, functions, NET, 1) == errno.ENOENT
    assert refused(numvfs, functions, NET, 9) == errno.ERANGE


def changed(**parameters: Any) -> dict[str, Any]:
    """The core's host with SR-IOV on its network card."""
    plan = copy.deepcopy(CORE)
    capability = {"totalvfs": 4, "offset": 8, "vf": {"pci": {"device": 0x1592}, "iommu_group": "auto"}, **parameters}
    plan["devices"][1]["behaviour"] = {"sriov": capability}
    return plan


def test_a_driver_that_enables_fewer() -> None:
    with SimHost(changed(enables=2)) as host:
        numvfs(host, NIC, 4)
        assert (len(virtual(host, NIC)), host.read(function(NIC, "sriov_numvfs"))) == (2, "2\n")


def test_a_driver_that_refuses() -> None:
    with SimHost(changed(configure_errno="EPERM")) as host:
        assert refused(numvfs, host, NIC, 4) == errno.EPERM
        assert virtual(host, NIC) == []
    with SimHost(changed(disable_errno="EPERM", numvfs=3)) as host:
        assert refused(numvfs, host, NIC, 0) == errno.EPERM
        assert len(virtual(host, NIC)) == 3


@pytest.mark.parametrize(("keeps", "left"), [(False, 0), (True, 3)])
def test_the_driver_of_the_physical_function_goes(keeps: bool, left: int) -> None:
    with SimHost(changed(keeps_vfs=keeps)) as host:
        numvfs(host, NIC, 3)
        host.write(function(NIC, "driver/unbind"), NIC)
        assert (len(virtual(host, NIC)), host.read(function(NIC, "sriov_numvfs"))) == (left, f"{left}\n")
        host.run(["modprobe", "vfio-pci"])
        bind(host, NIC, "vfio-pci")
        # VFIO keeps out of a physical function while there are functions of it.
        assert driver(host, NIC) == (None if left else "vfio-pci")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0", "0"), ("n", "0"), ("N\n", "0"), ("off", "0"), ("y", "1"), ("on\n", "1"), ("1", "1"), ("f", "0"), ("t", "1")],
)
def test_autoprobe(functions: SimHost, text: str, shown: str) -> None:
    place = function(NET, "sriov_drivers_autoprobe")
    functions.write(place, text)
    assert functions.read(place) == f"{shown}\n"
    numvfs(functions, NET, 1)
    assert driver(functions, "0000:3b:01.0") == ("iavf" if shown == "1" else None)


@pytest.mark.parametrize("text", ["", "2", "-1", "ja", "o", "\n"])
def test_what_autoprobe_refuses(functions: SimHost, text: str) -> None:
    place = function(NET, "sriov_drivers_autoprobe")
    assert not text or refused(functions.write, place, text) == errno.EINVAL
    assert functions.read(place) == "1\n"


def test_without_autoprobe_only_an_override_binds(functions: SimHost) -> None:
    """The kernel asks for the flag at each probe, not only when the functions are made."""
    vf = "0000:3b:01.0"
    functions.write(function(NET, "sriov_drivers_autoprobe"), "0")
    numvfs(functions, NET, 1)
    functions.write(f"{PCI}/drivers_probe", vf)
    assert driver(functions, vf) is None
    assert refused(functions.write, f"{PCI}/drivers/iavf/bind", vf) == errno.ENODEV
    functions.write(function(vf, "driver_override"), "iavf")
    functions.write(f"{PCI}/drivers_probe", vf)
    assert driver(functions, vf) == "iavf"


def test_events_of_virtual_functions(functions: SimHost) -> None:
    vf = "0000:3b:01.0"
    made = monitored(functions, "pci", lambda: numvfs(functions, NET, 1), 4)
    assert made == [f"add {vf}", f"change {vf}", f"bind {vf}", f"change {NET}"]
    gone = monitored(functions, "pci", lambda: numvfs(functions, NET, 0), 2)
    assert gone == [f"unbind {vf}", f"remove {vf}"]
    assert monitored(functions, "net", lambda: numvfs(functions, NET, 1), 1) == ["add ens3f0v0"]


def test_a_guest_holds_a_virtual_function(functions: SimHost) -> None:
    functions.run(["modprobe", "mlx5_vfio_pci"])
    numvfs(functions, CROSSING, 2)
    bind(functions, "0000:5e:1f.7", "mlx5_vfio_pci")
    with functions.hold("0000:5e:1f.7"):
        writer = functions.popen(["sh", "-c", f"echo 0 > {function(CROSSING, 'sriov_numvfs')}"])
        eventually(lambda: not functions.path(function("0000:5e:1f.6")).is_symlink())
        reader = functions.popen(["cat", function(CROSSING, "sriov_numvfs")], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.3)
        assert writer.poll() is None
        # Another card is not behind it.
        numvfs(functions, NET, 1)
    assert writer.wait(5) == 0
    assert reader.communicate(timeout=5)[0] == "0\n"
    assert (virtual(functions, CROSSING), names(functions, "/dev/vfio")) == ([], ["vfio"])


def test_an_instance_on_a_virtual_function(functions: SimHost) -> None:
    numvfs(functions, GPU, 4)
    parents = [f"0000:06:00.{number}" for number in range(4, 8)]
    assert names(functions, "/sys/class/mdev_bus") == parents
    create(functions, f"/sys/class/mdev_bus/{parents[1]}", "vgpusim-2", UUIDS[0])
    with functions.hold(UUIDS[0]):
        unbind = ["sh", "-c", f"echo {parents[1]} > {function(parents[1], 'driver/unbind')}"]
        writer = functions.popen(unbind)
        eventually(lambda: names(functions, MDEVS) == [])
        assert writer.poll() is None
    assert writer.wait(5) == 0
    assert names(functions, "/sys/class/mdev_bus") == [parents[0], *parents[2:]]
    functions.write(f"{PCI}/drivers_probe", parents[1])
    assert names(functions, "/sys/class/mdev_bus") == parents
    vf = parents[1]
    create(functions, f"/sys/class/mdev_bus/{vf}", "vgpusim-2", UUIDS[0])
    events = monitored(functions, "pci", lambda: functions.write(function(vf, "driver/unbind"), vf), 2)
    assert events == [f"change {vf}", f"unbind {vf}"]
    events = monitored(functions, "pci", lambda: functions.write(f"{PCI}/drivers_probe", vf), 2)
    assert events == [f"change {vf}", f"bind {vf}"]
    create(functions, f"/sys/class/mdev_bus/{vf}", "vgpusim-2", UUIDS[0])
    numvfs(functions, GPU, 0)
    assert (names(functions, "/sys/class/mdev_bus"), names(functions, MDEVS)) == ([], [])


def test_a_slow_driver_and_a_late_interface(functions: SimHost) -> None:
    functions.fault("sriov_numvfs", op="write", delay=1.5)
    functions.fault("net/ens3f0v0", lag=1.5)
    writer = functions.popen(["sh", "-c", f"echo 1 > {function(NET, 'sriov_numvfs')}"])
    eventually(lambda: names(functions, function("0000:3b:01.0")))
    assert (writer.poll(), "ens3f0v0" in names(functions, "/sys/class/net")) == (None, False)
    eventually(lambda: "ens3f0v0" in names(functions, "/sys/class/net"))
    assert writer.wait(5) == 0


def test_a_card_is_pulled_and_put_back(functions: SimHost) -> None:
    numvfs(functions, NET, 2)
    before = [name for name in names(functions, f"{PCI}/devices") if not name.startswith("0000:3b")]
    gone = monitored(functions, "pci", lambda: functions.unplug(NET), 6)
    vfs = ["0000:3b:01.0", "0000:3b:01.1"]
    expected = [f"{action} {vf}" for vf in vfs for action in ("unbind", "remove")]
    assert gone == [*expected, f"unbind {NET}", f"remove {NET}"]
    assert names(functions, f"{PCI}/devices") == before
    assert [name for name in names(functions, "/sys/class/net") if name.startswith("ens3")] == []
    back = monitored(functions, "pci", lambda: functions.plug(NET), 2)
    assert back == [f"add {NET}", f"bind {NET}"]
    assert (driver(functions, NET), virtual(functions, NET)) == ("ice", [])
    numvfs(functions, NET, 2)
    assert virtual(functions, NET) == vfs


def test_a_bridge_takes_along_what_is_below(functions: SimHost) -> None:
    functions.unplug(BRIDGE)
    assert not {BRIDGE, "0000:02:00.0"} & set(names(functions, f"{PCI}/devices"))
    with pytest.raises(ControlError):
        functions.unplug(BRIDGE)
    functions.plug(BRIDGE)
    assert (driver(functions, BRIDGE), driver(functions, "0000:02:00.0")) == ("pcieport", "xhci_hcd")
    assert names(functions, "/sys/kernel/iommu_groups/1/devices") == [BRIDGE, "0000:02:00.0"]
    with pytest.raises(ControlError):
        functions.plug(BRIDGE)


def test_a_card_is_pulled_from_a_guest(functions: SimHost) -> None:
    functions.run(["modprobe", "vfio-pci"])
    bind(functions, NVME, "vfio-pci")
    with functions.hold(NVME):
        functions.unplug(NVME)
        assert NVME in names(functions, f"{PCI}/devices")
    eventually(lambda: NVME not in names(functions, f"{PCI}/devices"))


def test_a_disk_goes_with_its_controller(functions: SimHost) -> None:
    assert functions.path("/dev/nvme1n1").exists()
    gone = monitored(functions, "block", lambda: functions.write(function(NVME, "driver/unbind"), NVME), 1)
    assert gone == ["remove nvme1n1"]
    assert ("nvme1n1" in names(functions, "/sys/block"), functions.path("/dev/nvme1n1").exists()) == (False, False)
    functions.write(f"{PCI}/drivers_probe", NVME)
    assert (names(functions, "/sys/block"), functions.path("/dev/nvme1n1").exists()) == (["nvme0n1", "nvme1n1"], True)
    assert functions.path("/dev/disk/by-path/pci-0000:01:00.0-nvme-1").is_symlink()


def test_a_subchannel(functions: SimHost) -> None:
    place = "/sys/bus/css/devices/0.0.0050"
    assert names(functions, "/sys/bus/ccw/devices") == ["0.0.0815"]
    functions.run(["modprobe", "vfio_ccw"])
    functions.write(f"{place}/driver_override", "vfio_ccw")
    functions.write(f"{place}/driver/unbind", "0.0.0050")
    assert names(functions, "/sys/bus/ccw/devices") == []
    functions.write("/sys/bus/css/drivers_probe", "0.0.0050\n")
    assert functions.path(f"{place}/driver").readlink().name == "vfio_ccw"
    assert names(functions, "/sys/class/mdev_bus") == ["0.0.0050"]
    assert not functions.path("/sys/bus/css/drivers/vfio_ccw/new_id").exists()
    functions.write(f"{place}/driver_override", "no-subchannel-driver")
    functions.write(f"{place}/driver/unbind", "0.0.0050")
    functions.write("/sys/bus/css/drivers_probe", "0.0.0050\n")
    assert not functions.path(f"{place}/driver").is_symlink()


def test_a_reboot_removes_virtual_functions(functions: SimHost) -> None:
    before = names(functions, f"{PCI}/devices")
    numvfs(functions, NET, 8)
    functions.write(function(NET, "sriov_drivers_autoprobe"), "0")
    functions.reboot()
    assert (names(functions, f"{PCI}/devices"), virtual(functions, NET)) == (before, [])
    assert functions.read(function(NET, "sriov_drivers_autoprobe")) == "1\n"


def test_what_the_scenario_says(functions: SimHost) -> None:
    found = {address: driver(functions, address) for address in names(functions, f"{PCI}/devices")}
    assert [address for address, name in found.items() if name is None] == []
    assert not functions.path(function("0000:00:1f.3", "iommu_group")).exists()
    assert names(functions, "/sys/kernel/iommu_groups/10/devices") == ["0000:0a:00.0", "0000:0a:00.1"]
    assert functions.read(function("0000:0a:00.0", "boot_vga")) == "1\n"
    assert "259:2 / / " in functions.read("/proc/1/mountinfo")


# ---- ip --------------------------------------------------------------------------------------------------------------


def ip(host: SimHost, *arguments: str) -> Any:
    return json.loads(host.run(["ip", "-json", *arguments]).stdout)


def vf_info(host: SimHost, interface: str, index: int) -> dict[str, Any]:
    link = ip(host, "-details", "link", "show", "dev", interface)[0]
    found: dict[str, Any] = link["vfinfo_list"][index]
    assert found.pop("vf") == index
    return found


def vf_set(host: SimHost, interface: str, index: int, *words: str) -> tuple[int, str]:
    done = host.run(["ip", "link", "set", "dev", interface, "vf", str(index), *words], check=False)
    return done.returncode, done.stderr


TOO_HIGH = "Invalid min_tx_rate 2 - must be <= max_tx_rate 1\n"
PLAIN = {
    "link_type": "ether",
    "address": "00:00:00:00:00:00",
    "broadcast": "ff:ff:ff:ff:ff:ff",
    "vlan_list": [{}],
    "rate": {"max_tx": 0, "min_tx": 0},
    "spoofchk": True,
    "link_state": "auto",
    "trust": False,
    "query_rss_en": False,
}


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["mac", "02:AA:00:00:00:01"], {"address": "02:aa:00:00:00:01"}),
        (["vlan", "5"], {"vlan_list": [{"vlan": 5}]}),
        (["vlan", "5", "qos", "3"], {"vlan_list": [{"vlan": 5, "qos": 3}]}),
        (["vlan", "5", "proto", "802.1ad"], {"vlan_list": [{"vlan": 5, "protocol": "802.1ad"}]}),
        (["spoofchk", "off"], {"spoofchk": False}),
        (["trust", "on"], {"trust": True}),
        (["state", "disable"], {"link_state": "disable"}),
        (["max_tx_rate", "100"], {"tx_rate": 100, "rate": {"max_tx": 100, "min_tx": 0}}),
        (["max_tx_rate", "100", "min_tx_rate", "50"], {"tx_rate": 100, "rate": {"max_tx": 100, "min_tx": 50}}),
        (["mac", "02:00:00:00:00:09", "trust", "on"], {"address": "02:00:00:00:00:09", "trust": True}),
    ],
)
def test_settings_of_a_virtual_function(functions: SimHost, words: list[str], changes: dict[str, Any]) -> None:
    numvfs(functions, NET, 2)
    assert vf_info(functions, "ens3f0", 1) == PLAIN
    assert vf_set(functions, "ens3f0", 1, *words) == (0, "")
    assert vf_info(functions, "ens3f0", 1) == {**PLAIN, **changes}
    assert vf_info(functions, "ens3f0", 0) == PLAIN
    numvfs(functions, NET, 0)
    numvfs(functions, NET, 2)
    assert vf_info(functions, "ens3f0", 1) == PLAIN


@pytest.mark.parametrize(
    ("interface", "index", "words", "status", "text"),
    [
        ("ens3f0", 2, ["trust", "on"], 2, "RTNETLINK answers: Invalid argument\n"),
        ("ens3f0", 0, ["mac", "01:00:00:00:00:01"], 2, "RTNETLINK answers: Invalid argument\n"),
        ("ens3f0", 0, ["vlan", "5", "qos", "8"], 2, "RTNETLINK answers: Invalid argument\n"),
        ("ens3f0", 0, ["vlan", "4096"], 255, 'Error: argument "4096" is wrong: Invalid "vlan" value\n\n'),
        ("ens3f0", 0, ["state", "on"], 255, 'Error: argument "on" is wrong: Invalid "state" value\n\n'),
        (
            "ens3f0",
            0,
            ["max_tx_rate", "1", "min_tx_rate", "2"],
            1,
            "Invalid min_tx_rate 2 - must be <= max_tx_rate 1\n",
        ),
        ("ens4f0np0", 0, ["trust", "on"], 2, "RTNETLINK answers: Operation not supported\n"),
        ("ens4f0np0", 0, ["min_tx_rate", "5"], 2, "RTNETLINK answers: Operation not supported\n"),
        ("eno1", 0, ["trust", "on"], 2, "RTNETLINK answers: Operation not supported\n"),
        ("nosuch", 0, ["trust", "on"], 1, 'Cannot find device "nosuch"\n'),
    ],
)
def test_settings_that_are_refused(
    functions: SimHost, interface: str, index: int, words: list[str], status: int, text: str
) -> None:
    numvfs(functions, NET, 2)
    numvfs(functions, CROSSING, 2)
    before = ip(functions, "-details", "link", "show")
    assert vf_set(functions, interface, index, *words) == (status, text)
    assert ip(functions, "-details", "link", "show") == before


def test_what_a_driver_does_not_offer_is_not_shown(functions: SimHost) -> None:
    numvfs(functions, CROSSING, 1)
    assert vf_info(functions, "ens4f0np0", 0) == {
        key: value for key, value in PLAIN.items() if key not in ("trust", "query_rss_en")
    }
    assert vf_set(functions, "ens4f0np0", 0, "max_tx_rate", "9") == (0, "")


def test_an_address_is_the_interfaces_when_it_is_bound_next(functions: SimHost) -> None:
    numvfs(functions, NET, 1)
    place = "/sys/class/net/ens3f0v0/address"
    assert vf_set(functions, "ens3f0", 0, "mac", "02:aa:00:00:00:01") == (0, "")
    assert functions.read(place) == "02:3b:00:00:00:00\n"
    functions.write(function("0000:3b:01.0", "driver/unbind"), "0000:3b:01.0")
    functions.write(f"{PCI}/drivers_probe", "0000:3b:01.0")
    assert functions.read(place) == "02:aa:00:00:00:01\n"


def test_a_setting_fails(functions: SimHost) -> None:
    """The settings of one command are made one after the other; those before one that fails stay."""
    numvfs(functions, NET, 1)
    functions.fault("/netlink/ens3f0/vf0/trust", op="write", errno="EIO")
    words = ["trust", "on", "mac", "02:00:00:00:00:09"]
    assert vf_set(functions, "ens3f0", 0, *words) == (2, "RTNETLINK answers: Input/output error\n")
    assert vf_info(functions, "ens3f0", 0) == {**PLAIN, "address": "02:00:00:00:00:09"}


def test_interfaces_addresses_and_routes(functions: SimHost) -> None:
    names_of = [link["ifname"] for link in ip(functions, "link", "show")]
    assert names_of == ["lo", "eno1", "ens3f0", "ens4f0np0"]
    assert "vfinfo_list" not in ip(functions, "link", "show", "eno1")[0]
    assert ip(functions, "-details", "link", "show", "ens3f0")[0]["parentdev"] == NET
    addresses = ip(functions, "address", "show", "dev", "eno1")[0]["addr_info"]
    assert [(item["family"], item["local"], item["scope"]) for item in addresses] == [
        ("inet", "192.0.2.10", "global"),
        ("inet6", "2001:db8::10", "global"),
        ("inet6", "fe80::21b:21ff:fe00:1", "link"),
    ]
    assert [route["dst"] for route in ip(functions, "route", "show")] == ["default", "192.0.2.0/24"]
    assert [route["gateway"] for route in ip(functions, "-6", "route", "show", "default")] == ["2001:db8::1"]
    assert len(ip(functions, "route", "show", "table", "all")) == 5


def test_an_interface_takes_its_addresses_and_routes_along(functions: SimHost) -> None:
    functions.write(function("0000:18:00.0", "driver/unbind"), "0000:18:00.0")
    functions.write(f"{PCI}/drivers_probe", "0000:18:00.0")
    assert ip(functions, "address", "show", "eno1")[0]["addr_info"] == []
    assert ip(functions, "route", "show", "table", "all") == []


# ---- what is wrong with a scenario ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"drivers": {"pci": {"nic": {"id": []}}}}, "driver nic: unknown key id"),
        ({"drivers": {"pci": {"nic": {"probe_errno": "EX"}}}}, "EX"),
        ({"network": {"address": {}}}, "network: unknown key address"),
        ({"network": {"not_offered": {"eth0": ["color"]}}}, "not_offered of eth0"),
        ({"drivers": {}}, "of_driver is for devices below one of a bus with drivers"),
    ],
)
def test_scenarios_that_do_not_start(change: dict[str, Any], text: str) -> None:
    with pytest.raises(SimHostError, match=text), SimHost({**CORE, **change}):
        pass


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"vfs": {}}, "unknown parameter vfs"),
        ({"vf": {"pci": {"colour": 1}}}, "pci: unknown key colour"),
        ({"vf": {"children": [{"path": "net/x{vf}", "classes": "net"}]}}, "unknown key classes"),
    ],
)
def test_capabilities_that_do_not_start(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(SimHostError, match=text), SimHost(changed(**parameters)):
        pass
