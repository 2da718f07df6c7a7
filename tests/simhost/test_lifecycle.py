# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that start, stay and end, from Python and from the command line, and what they leave: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import mfusepy
import pytest
import yaml

import simhost
from simhost import SimHost, SimHostError
from simhost.testing import CARD, MDEVS, UUIDS, create, eventually, types

PACKAGE = Path(simhost.__file__).parent
COMMAND = [sys.executable, "-m", "simhost"]
CREATE = types(CARD, "nvidia-231", "create")
NOBODY = 65534


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **variables}


def cli(*arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=check, timeout=60, env=environment(**variables)
    )


def marked(mark: str) -> list[int]:
    """The processes of the machine that have the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ("long-" * 20) / "host"
    cli("--up", str(folder), "nvidia-mdev")
    yield folder
    cli("--down", str(folder))
    assert not folder.exists()


def test_start_is_fast() -> None:
    """It takes no longer than some starts of Python at the same moment, whatever else the machine does."""
    ratios = []
    for _time in range(5):
        start = time.monotonic()
        with SimHost("nvidia-mdev"):
            started = time.monotonic()
        subprocess.run([sys.executable, "-c", "import subprocess"], check=True)
        plain = time.monotonic()
        subprocess.run([sys.executable, "-c", "import subprocess"], check=True)
        ratios.append((started - start) / (time.monotonic() - plain))
    print(f"ratios {ratios}")
    assert min(ratios) < 25


def test_a_large_host_starts_in_seconds() -> None:
    start = time.monotonic()
    with SimHost("large") as host:
        assert time.monotonic() - start < 10
        assert len(os.listdir(host.path("/sys/bus/pci/devices"))) == 4096
        script = "import pyudev; print(len(list(pyudev.Context().list_devices(subsystem='pci'))))"
        assert host.run([host.python, "-c", script]).stdout == "4096\n"


def test_command_line_runs_a_command() -> None:
    done = cli("mtty", "--", "sh", "-c", "ls /sys/class/mdev_bus; hostname; echo $SIMHOST_DIR; exit 7", check=False)
    assert done.returncode == 7
    parent, hostname, folder = done.stdout.split()
    assert (parent, hostname) == ("mtty", "mttyhost")
    assert not Path(folder).exists()


def test_command_line_passes_input_and_signals_on() -> None:
    done = subprocess.run(
        [*COMMAND, "mtty", "--", "cat"], input=b"text", stdout=subprocess.PIPE, env=environment(), check=True
    )
    assert done.stdout == b"text"
    assert cli("mtty", "--", "sh", "-c", "kill -TERM $$", check=False).returncode in (-signal.SIGTERM, 143)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["nosuch", "--", "true"], 1, "give a file or one of ambiguous"),
        (["mtty"], 2, "a command is needed after --"),
        (["--in", "/nonexistent", "--", "true"], 125, "start one with --up"),
        (["--reboot", "/nonexistent"], 1, "start one with --up"),
        (["--down", "/nonexistent"], 2, "no simulated host"),
        (["mtty", "--", "/nonexistent"], 127, "No such file"),
        ([], 2, ""),
    ],
)
def test_command_line_errors(arguments: list[str], status: int, text: str) -> None:
    done = cli(*arguments, check=False)
    assert (done.returncode, text in done.stderr) == (status, True)
    assert "Traceback" not in done.stderr


def test_a_staying_host(staying: Path) -> None:
    inside = ["--in", str(staying), "--"]
    cli(*inside, "sh", "-c", f"echo {UUIDS[1]} > {CREATE}; touch /etc/kept")
    assert cli(*inside, "ls", MDEVS).stdout.split() == [UUIDS[1]]
    cli("--reboot", str(staying))
    assert cli(*inside, "ls", MDEVS, "/etc/kept").stdout.split() == ["/etc/kept", f"{MDEVS}:"]
    assert cli("--up", str(staying), "mtty", check=False).returncode == 2


def test_faults_and_holders_by_command_line(staying: Path) -> None:
    cli("--fault", str(staying), "--path", CREATE, "--op", "write", "--errno", "EIO", "--nth", "1")
    script = f"open('{CREATE}', 'wb', buffering=0).write(b'{UUIDS[1]}')"
    inside = ["--in", str(staying), "--", "/usr/bin/python3", "-c"]
    assert "Errno 5" in cli(*inside, script, check=False).stderr
    # From inside, the host is the one that the command runs in.
    listed = cli("--in", str(staying), "--", *COMMAND, "--fault", "--list").stdout
    assert json.loads(listed)[0]["hits"] == 1
    cli("--fault", str(staying), "--clear")
    cli(*inside, script)
    holder = subprocess.Popen(
        [*COMMAND, "--hold", str(staying), UUIDS[1]], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())
    comm = cli("--in", str(staying), "--", "cat", f"/proc/{pid}/comm").stdout
    assert comm == "simhost-guest\n"
    holder.kill()
    holder.communicate(timeout=5)


def test_the_wrapper_for_ansible(staying: Path) -> None:
    hosts = yaml.safe_load((staying / "inventory.yml").read_text(encoding="utf-8"))["all"]["hosts"]
    assert hosts == {"gpuhost": {"ansible_connection": "local", "ansible_python_interpreter": str(staying / "python")}}
    script = (
        "import os, sys, pyudev, lxml.etree\n"
        "verify = os.environ['SYSTEMD_DEVICE_VERIFY_SYSFS']\n"
        "print(verify, os.listdir('/sys/class/mdev_bus'), sys.argv[1:], os.getcwd())\n"
    )
    command = [str(staying / "python"), "-", "an argument"]
    done = subprocess.run(command, input=script, stdout=subprocess.PIPE, text=True, check=True, cwd="/usr")
    assert done.stdout == "0 ['0000:3d:00.0', '0000:af:00.0'] ['an argument'] /usr\n"
    assert subprocess.run([str(staying / "python"), "-c", "raise SystemExit(3)"], check=False).returncode == 3


@pytest.mark.parametrize("victim", ["runner", "guardian", "first process", "server"])
def test_nothing_remains_after_a_kill(tmp_path: Path, victim: str) -> None:
    mark = uuid.uuid4().hex
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    script = "sleep 1000 & setsid sleep 1000 & echo started; sleep 1000"
    runner = subprocess.Popen(
        [*COMMAND, "nvidia-mdev", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(SIMHOST_TEST_MARK=mark, TMPDIR=str(tmp_path)),
    )
    assert runner.stdout is not None
    assert runner.stdout.readline() == "started\n"
    (folder,) = tmp_path.iterdir()
    first = int((folder / "pid").read_text(encoding="ascii"))
    status = Path(f"/proc/{first}/status").read_text(encoding="ascii")
    guardian = int(status.partition("PPid:")[2].split()[0])
    server = int(Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()[0])
    eventually(lambda: len(marked(mark)) >= 7)
    assert Path("/proc/self/mounts").read_text(encoding="utf-8") == mounts
    victims = {"runner": runner.pid, "guardian": guardian, "first process": first, "server": server}
    os.kill(victims[victim], signal.SIGKILL)
    runner.stdout.read()
    runner.wait(10)
    runner.stdout.close()
    eventually(lambda: not marked(mark), 10)
    assert Path("/proc/self/mounts").read_text(encoding="utf-8") == mounts
    if victim != "guardian":
        eventually(lambda: not list(tmp_path.iterdir()))


def test_a_remove_that_blocks_does_not_keep_a_host_from_ending() -> None:
    with SimHost("nvidia-mdev") as host:
        create(host, CARD, "nvidia-231", UUIDS[1])
        holder = host.popen([host.python, "-c", "import os, time; os.open('/dev/vfio/0', os.O_RDWR); time.sleep(99)"])
        eventually(host.holders)
        remover = host.popen(["sh", "-c", f"echo 1 > {MDEVS}/{UUIDS[1]}/remove"])
        eventually(lambda: not os.listdir(host.path(MDEVS)))
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert holder.wait(5) != 0
    assert remover.wait(5) != 0


def test_the_machine_is_not_changed() -> None:
    places = ("/etc", "/usr", "/usr/lib", "/run", "/dev", "/etc/mdevctl.d")
    before = {place: Path(place).stat().st_mtime_ns for place in places if Path(place).exists()}
    names = {place: sorted(os.listdir(place)) for place in before}
    files = {"/etc/made/by/scenario": "text", "/etc/made/script": "#!/bin/sh\necho done\n"}
    with SimHost({"files": files, "directories": ["/dev/made"], "devices": []}) as host:
        assert host.run(["/etc/made/script"]).stdout == "done\n"
        host.run(["sh", "-c", "rm /etc/passwd; echo x > /etc/group; mkdir /run/made; echo > /dev/made/file; umask 77"])
        host.run(["sh", "-c", "mkdir /usr/lib/made; echo > /usr/made; rm /usr/bin/yes"])
        assert host.read("/etc/made/by/scenario") == "text"
        assert not host.path("/etc/passwd").exists()
        assert sorted(host.run(["find", "/etc/mdevctl.d", "/run"]).stdout.split()) == [
            "/etc/mdevctl.d",
            "/etc/mdevctl.d/scripts.d",
            "/etc/mdevctl.d/scripts.d/callouts",
            "/etc/mdevctl.d/scripts.d/notifiers",
            "/run",
            "/run/lock",
            "/run/made",
            "/run/udev",
            "/run/udev/control",
            "/run/udev/data",
        ]
    assert Path("/etc/passwd").read_text(encoding="utf-8").startswith("root:")
    assert {place: sorted(os.listdir(place)) for place in before} == names
    assert {place: Path(place).stat().st_mtime_ns for place in before} == before


def test_hosts_do_not_see_each_other() -> None:
    with SimHost("nvidia-mdev") as one, SimHost("nvidia-mdev") as two:
        create(one, CARD, "nvidia-231", UUIDS[1])
        create(two, CARD, "nvidia-232", UUIDS[1])
        assert one.run(["mdevctl", "list"]).stdout.split()[2] == "nvidia-231"
        assert two.run(["mdevctl", "list"]).stdout.split()[2] == "nvidia-232"


def test_without_root() -> None:
    """In a user namespace where the system allows one; else the error says what to do."""
    as_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="simhost-test-"))
    try:
        folder.chmod(0o755)
        shutil.copytree(PACKAGE, folder / "simhost", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(mfusepy.__file__, folder / "mfusepy.py")
        script = (
            "from simhost import SimHost\n"
            "from simhost.testing import *\n"
            "with SimHost('nvidia-mdev') as host:\n"
            "    create(host, CARD, 'nvidia-231', UUIDS[1])\n"
            "    assert refused(create, host, CARD, 'nvidia-231', UUIDS[1]) == 17\n"
            "    assert available(host, CARD, 'nvidia-231') == 7\n"
            "    host.run(['mdevctl', 'define', '-u', UUIDS[1]])\n"
            "    with host.hold(UUIDS[1]) as pid:\n"
            "        assert host.holders() == {'/dev/vfio/0': [pid]}\n"
            "    host.reboot()\n"
            "    print(host.run(['mdevctl', 'list', '-d']).stdout)\n"
        )
        done = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)},
            user=NOBODY if as_root else None,
            group=NOBODY if as_root else None,
            extra_groups=[] if as_root else None,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    if done.returncode == 0:
        assert done.stdout.split() == [UUIDS[1], "0000:3d:00.0", "nvidia-231", "manual"]
    else:
        assert "the system refuses" in done.stderr
        assert "root" in done.stderr


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ({"devices": [{"path": "/etc/x"}]}, "begins with devices/"),
        ({"devices": [{"path": "devices/x", "buss": "pci"}]}, "unknown key buss"),
        ({"devices": [{"path": "devices/x"}, {"path": "devices/x"}]}, "declared twice"),
        ({"devices": [{"pci": {"address": "06:00.0"}}]}, "not of the form"),
        ({"devices": [{"pci": {"address": "0000:06:00.1", "physfn": "0000:06:00.0"}}]}, "declare that function first"),
        ({"devices": [{"path": "devices/x", "behaviour": {"nosuch": {}}}]}, "no behaviour 'nosuch'"),
        ({"devices": [{"path": "devices/x", "behaviour": {"mdev_parent": {"type": 1}}}]}, "unknown parameter type"),
        ({"files": {"/usr/x": ""}}, "not below /etc"),
        ({"nosuch": 1}, "unknown key nosuch"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(scenario: dict[str, object], text: str) -> None:
    with pytest.raises(SimHostError, match=text), SimHost(scenario):
        raise AssertionError("started")


def test_declared_devices_of_any_kind() -> None:
    scenario = """
sysfs:
  module/example/version: "1.0"
devices:
  - path: devices/pci0000:00/0000:00:03.0/net/eth0
    class: net
    attributes:
      address: 02:00:00:00:00:01
      operstate: up
      speed: {errno: EINVAL}
      mtu: {text: 1500, store: {pattern: "[0-9]+"}}
    uevent: {INTERFACE: eth0, IFINDEX: 2}
    udev: {ID_NET_DRIVER: example}
  - path: devices/virtual/block/disk0
    class: block
    node: {name: disk0, major: 8, minor: 0}
    attributes: {size: 2048, empty: {raw: ""}, secret: {text: x, mode: "0200", store: true}, data: {hex: 00ff, size: 4}}
    uevent: {DEVTYPE: disk}
    udev: {ID_SERIAL: a b}
    devlinks: [disk/by-id/example]
  - repeat: {host: [3, 4], n: 2}
    devices:
      - path: "devices/host{host}/target{host}:0:{n:02x}"
        bus: scsi
        uevent: {DEVTYPE: scsi_target, NUMBER: "{index}"}
        links: {up: "devices/host{host}"}
"""
    scenario = scenario.replace("devices:\n", "devices:\n  - pci: {address: '0000:00:03.0'}\n", 1)
    script = (
        "import json, pyudev\n"
        "c = pyudev.Context()\n"
        "net = pyudev.Devices.from_name(c, 'net', 'eth0')\n"
        "disk = pyudev.Devices.from_name(c, 'block', 'disk0')\n"
        "found = [dict(net.properties), net.parent.sys_name, dict(disk.properties), list(disk.device_links)]\n"
        "print(json.dumps(found))\n"
    )
    with SimHost(yaml.safe_load(scenario)) as host:
        net, parent, disk, links = json.loads(host.run([host.python, "-c", script]).stdout)
        assert (net["ID_NET_DRIVER"], net["IFINDEX"], parent) == ("example", "2", "0000:00:03.0")
        assert (disk["ID_SERIAL"], disk["DEVNAME"], links) == ("a b", "/dev/disk0", ["/dev/disk/by-id/example"])
        assert os.readlink(host.path("/sys/class/net/eth0/device")) == "../../../0000:00:03.0"
        with pytest.raises(OSError, match="Invalid argument"):
            host.read("/sys/class/net/eth0/speed")
        with pytest.raises(OSError, match="Invalid argument"):
            host.write("/sys/class/net/eth0/mtu", "big")
        host.write("/sys/class/net/eth0/mtu", "9000")
        assert host.read("/sys/class/net/eth0/mtu") == "9000"
        assert os.listdir(host.path("/sys/block")) == ["disk0"]
        assert host.path("/sys/dev/block/8:0/data").read_bytes() == b"\0\xff\0\0"
        assert host.read("/sys/class/block/disk0/empty") == ""
        assert sorted(os.listdir(host.path("/sys/bus/scsi/devices"))) == [
            f"target{number}:0:{n:02x}" for number in (3, 4) for n in (0, 1)
        ]
