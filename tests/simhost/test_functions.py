# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver core and SR-IOV: which writes are taken, with which errno others are refused, what comes and goes."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from simhost import SimHost
from simhost.testing import eventually, monitored, names, refused

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
