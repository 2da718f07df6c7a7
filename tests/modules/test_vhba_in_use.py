# SPDX-License-Identifier: GPL-3.0-or-later
"""A vHBA whose LUNs are used is not removed; by force it is, in the order that does least harm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import simhost
import yaml
from conftest import ROOT, Host
from simhost.testing import eventually
from vhbas import DELETE, UNDEFINE, WWPN, disks, kept, no_write, vports

STATES = ("inactive", "absent")
MAP = "the multipath map mpatha (dm-0)"
# Stands for multipath-tools: its -f removes a map, as the simulated host does when it is asked.
MULTIPATH = f"""#!/bin/sh
echo "$@" >> /run/multipath.log
ls /sys/block | tr '\\n' ' ' >> /run/multipath.log
PYTHONPATH={Path(simhost.__file__).parents[1]} exec {sys.executable} -m simhost --unmap FOLDER "$2"
"""


def flushing(host: Host) -> None:
    """Give a host that command."""
    host.write("/usr/sbin/multipath", MULTIPATH.replace("FOLDER", str(host.folder)))
    host.run(["chmod", "755", "/usr/sbin/multipath"])


def mounted(host: Host, number: str, place: str) -> None:
    host.write("/proc/1/mountinfo", host.read("/proc/1/mountinfo") + f"40 21 {number} / {place} rw - xfs x rw\n")


def refused(host: Host, end: str = "a1") -> str:
    """The uses that are named when the vHBA of these names is to be removed, in both ways."""
    said = []
    for state in STATES:
        with no_write(host):
            message = host.vhba_refused(end, state=state)
        before, rest = message.split(" is in use, ", 1)
        uses, hint = rest.split(": stop that first", 1)
        assert before == f"vHBA 5001a4a0000000{end} (scsi_host8)"
        assert hint == ", or set force: true to take the disks away all the same, whose users get errors from then on"
        said.append(uses)
    assert said[0] == said[1]
    return said[0]


@pytest.fixture
def plain(fc: Host) -> Host:
    """A host with vHBA a1, without the multipath map upon its LUN 0."""
    fc.vhba()
    fc.unmap("mpatha")
    return fc


HELD = f"/dev/sdb is held by {MAP}, /dev/sdc is held by {MAP}"


def test_a_map_that_is_used(fc: Host) -> None:
    fc.vhba()
    mounted(fc, "253:0", "/srv")
    assert refused(fc) == f"{HELD}, /dev/dm-0 is mounted on /srv"
    assert not fc.vhba()["changed"]


def test_a_map_that_a_guest_has(fc: Host) -> None:
    fc.vhba()
    with fc.hold("dm-0", name="qemu") as pid:
        assert refused(fc) == f"{HELD}, /dev/dm-0 is open by process {pid} (qemu)"


def test_a_volume_and_an_array(fc: Host) -> None:
    fc.vhba("a2")
    assert refused(fc, "a2") == (
        "/dev/sde is held by the logical volume data-images (dm-1), /dev/sdg is held by the array md127"
    )
    mounted(fc, "253:1", "/srv/data\\040images")
    assert refused(fc, "a2").endswith(", /dev/dm-1 is mounted on /srv/data images")


@pytest.mark.parametrize(("number", "node"), [("8:48", "/dev/sdd"), ("8:49", "/dev/sdd1")])
def test_a_mount(plain: Host, number: str, node: str) -> None:
    mounted(plain, number, "/srv")
    assert refused(plain) == f"{node} is mounted on /srv"


@pytest.mark.parametrize("node", ["/dev/sdd", "/dev/sdd1"])
def test_swap(plain: Host, node: str) -> None:
    plain.write("/proc/swaps", plain.read("/proc/swaps") + f"{node} partition 1 0 -3\n")
    assert refused(plain) == f"{node} is used for swap"


@contextmanager
def container(host: Host, mountinfo: str) -> Iterator[None]:
    """A process with a mount namespace of its own, which sees these mounts."""
    argv = ["unshare", "-m", "sh", "-c", "echo $$; exec sleep 600"]
    process = host.popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = process.stdout.readline().strip()
    host.write("/run/mountinfo", mountinfo)
    host.run(["mount", "--bind", "/run/mountinfo", f"/proc/{pid}/mountinfo"])
    yield
    host.run(["umount", f"/proc/{pid}/mountinfo"])
    process.kill()
    process.communicate(timeout=5)


def test_a_mount_in_a_container(plain: Host) -> None:
    with container(plain, "40 21 8:48 / /data rw - xfs x rw\n"):
        assert refused(plain) == "/dev/sdd is mounted on /data"
    assert plain.vhba(state="absent")["changed"]


@pytest.mark.parametrize("line", ["/srv/sdd file 1 0 -3", "/srv/sdd\\040partition file 1 0 -3"])
def test_a_swap_file_of_a_disks_name(plain: Host, line: str) -> None:
    plain.write("/proc/swaps", plain.read("/proc/swaps") + f"{line}\n")
    assert plain.vhba(state="absent")["changed"]


@pytest.mark.parametrize("node", ["sdd", "sdd1"])
def test_an_open_block_node(plain: Host, node: str) -> None:
    with plain.hold(node) as pid:
        assert refused(plain) == f"/dev/{node} is open by process {pid} (simhost-guest)"
    assert plain.vhba(state="absent")["changed"]


def test_an_open_generic_node(plain: Host) -> None:
    generic = {unit["block"]: unit["generic"] for unit in plain.vhba()["vhba"]["luns"]}["/dev/sdd"]
    with plain.hold(generic.removeprefix("/dev/")) as pid:
        assert refused(plain) == f"{generic} is open by process {pid} (simhost-guest)"


def test_other_disks_are_of_no_interest(plain: Host) -> None:
    mounted(plain, "8:112", "/srv")
    with plain.hold("sdh"):
        assert plain.vhba(state="absent")["changed"]


@pytest.mark.parametrize("node", ["/dev/sdd", "/dev/sdd1", "generic"])
def test_a_node_of_another_name(plain: Host, node: str) -> None:
    """As a container has it. On the simulated host, another name of one node is another link to one file."""
    units = {unit["block"]: unit["generic"] for unit in plain.vhba()["vhba"]["luns"]}
    node = units["/dev/sdd"] if node == "generic" else node
    plain.run(["mkdir", "/dev/container"])
    plain.run(["ln", node, "/dev/container/lun"])
    with plain.hold("/dev/container/lun") as pid:
        assert refused(plain) == f"{node} is open by process {pid} (simhost-guest)"
        assert os.readlink(plain.path(f"/proc/{pid}/fd/3")) == "/dev/container/lun"
    assert plain.vhba(state="absent")["changed"]


def test_a_node_within_a_container(plain: Host) -> None:
    """In a mount namespace of its own, in which alone the node has that name."""
    plain.write("/dev/lun", "")
    script = 'mount --bind /dev/sdd /dev/lun; exec "$@"'
    with plain.hold("/dev/lun", program=["unshare", "-m", "sh", "-c", script, "sh", plain.python]) as pid:
        assert refused(plain) == f"/dev/sdd is open by process {pid} (simhost-guest)"


def test_a_file_of_a_nodes_name(plain: Host) -> None:
    plain.run(["mkdir", "-p", "/run/mine/dev"])
    plain.write("/run/mine/dev/sdd", "")
    with plain.hold("/run/mine/dev/sdd"):
        assert plain.vhba(state="absent")["changed"]


def test_names_of_processes_and_places_are_escaped(plain: Host) -> None:
    with plain.hold("sdd", name="a\x1b[2J\nb") as pid:
        assert refused(plain) == rf"/dev/sdd is open by process {pid} (a\x1b[2J\nb)"
    mounted(plain, "8:48", "/srv/\x1b]0;x\\012y")
    assert refused(plain) == r"/dev/sdd is mounted on /srv/\x1b]0;x\ny"


@pytest.mark.parametrize("name", ["multipathd", "systemd-udevd", "(udev-worker)"])
def test_a_name_alone_makes_no_daemon(plain: Host, name: str) -> None:
    with plain.hold("sdd", name=name) as pid:
        assert refused(plain) == f"/dev/sdd is open by process {pid} ({name})"


def daemon(host: Host) -> list[str]:
    """The program of multipathd, which on this host runs Python."""
    host.run(["cp", host.python, "/usr/sbin/multipathd"])
    return ["/usr/sbin/multipathd"]


def test_multipathd_is_known_by_its_program_and_user(plain: Host) -> None:
    program = daemon(plain)
    plain.run(["chmod", "666", "/dev/sdd"])
    with plain.hold("sdd", name="multipathd", program=["setpriv", "--reuid=65534", *program]) as pid:
        assert refused(plain) == f"/dev/sdd is open by process {pid} (multipathd)"
    with plain.hold("sdd", name="multipathd", program=program):
        # An update has replaced it.
        plain.run(["rm", *program])
        plain.run(["cp", "/usr/bin/true", *program])
        assert plain.vhba(state="absent")["changed"]


def test_a_program_within_a_container_is_not_the_hosts(plain: Host) -> None:
    daemon(plain)
    mount = 'mount -t tmpfs x /usr/sbin && cp "$1" /usr/sbin/multipathd && shift && exec /usr/sbin/multipathd "$@"'
    program = ["unshare", "-m", "sh", "-c", mount, "sh", plain.python]
    with plain.hold("sdd", name="multipathd", program=program) as pid:
        assert os.readlink(plain.path(f"/proc/{pid}/exe")) == "/usr/sbin/multipathd"
        assert refused(plain) == f"/dev/sdd is open by process {pid} (multipathd)"


@pytest.mark.parametrize(
    ("user", "why"),
    [("--reuid=65534", " by who is not root"), ("--bounding-set=-sys_ptrace", "")],
    ids=["a user", "root in part"],
)
def test_who_may_not_look_at_processes_is_told_so(plain: Host, user: str, why: str) -> None:
    plain.user = ["setpriv", user, *ORDINARY[2:]]
    for state in STATES:
        message = plain.vhba_refused(state=state, check_mode=True)
        assert "is in use, /dev/sdb is possibly used by process 1 (" in message
        assert (
            f"whose open files cannot be read{why} (EACCES, Permission denied): stop that first, or set force"
            in message
        )
    assert plain.vhba(state="absent", check_mode=True, force=True)["plan"][-1] == DELETE
    plain.user = ()
    assert plain.vhba(state="absent")["changed"]


# A file system of one file, which answers nobody any more once it is told so.
FILE_SYSTEM = """
import os, stat, sys, time
import mfusepy

class FileSystem(mfusepy.Operations):
    use_ns = True

    def getattr(self, path, fh=None):
        if os.path.exists("/run/dead"):
            time.sleep(600)
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1}

mfusepy.FUSE(FileSystem(), "/run/away", foreground=True, attr_timeout=0, entry_timeout=0)
"""
ORDINARY = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@contextmanager
def served(host: Host, user: Sequence[str] = (), look: Sequence[str] = ()) -> Iterator[None]:
    """A file system that is served by a process of the host, as this user."""
    host.run(["mkdir", "-m", "777", "/run/away"])
    host.write("/run/away.py", FILE_SYSTEM)
    server = host.popen([*user, sys.executable, "/run/away.py"])
    eventually(lambda: host.run([*look, "test", "-e", "/run/away/file"], check=False).returncode == 0, 30)
    yield
    host.run(["umount", "-l", "/run/away"])
    server.kill()
    server.wait(10)


def test_a_file_system_that_answers_no_more(plain: Host) -> None:
    """As an NFS server that is gone: a process has a file open there, which nobody can ask for anything."""
    with served(plain), plain.hold("sdd") as pid, plain.hold("/run/away/file"):
        plain.write("/run/dead", "")
        assert refused(plain) == f"/dev/sdd is open by process {pid} (simhost-guest)"


def test_a_file_system_that_answers_its_user_alone(plain: Host) -> None:
    """As that of a user by FUSE, whose files not even root may look at: it has no devices."""
    capabilities = "+dac_override,+sys_admin"
    user = ["setpriv", "--reuid=65534", f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    with served(plain, user, ORDINARY), plain.hold("/run/away/file", program=[*ORDINARY, plain.python]) as pid:
        assert "Permission denied" in plain.run(["stat", "-L", f"/proc/{pid}/fd/3"], check=False).stderr
        assert plain.vhba(state="absent")["changed"]


@pytest.fixture
def with_multipath(fc: Host) -> Host:
    """A host with vHBA a1 and a multipath command."""
    flushing(fc)
    fc.vhba()
    return fc


@pytest.mark.parametrize("state", STATES)
def test_a_map_that_nobody_uses_goes_without_force(with_multipath: Host, state: str) -> None:
    with_multipath.fault("8:0:*/delete", op="write", nth=1000, errno="EIO")
    gone = with_multipath.vhba(state=state)
    assert gone["plan"][-4:-1] == [
        *("remove LUN 8:0:0:0 (/dev/sdb)", "remove LUN 8:0:0:1 (/dev/sdd)", "remove LUN 8:0:1:0 (/dev/sdc)")
    ]
    assert with_multipath.read("/run/multipath.log").splitlines() == ["-f mpatha", "dm-0 sda sdb sdc sdd sdh "]
    assert [fault["seen"] for fault in with_multipath.faults()] == [3]
    assert disks(with_multipath) == []


def test_a_map_that_is_open_for_a_moment(with_multipath: Host) -> None:
    flush = with_multipath.read("/usr/sbin/multipath").partition("\n")[2]
    busy = '#!/bin/sh\necho x >> /run/tries; test $(wc -l < /run/tries) -lt 3 && { echo "map in use" >&2; exit 1; }\n'
    with_multipath.write("/usr/sbin/multipath", busy + flush)
    assert with_multipath.vhba(state="absent")["changed"]
    assert with_multipath.read("/run/tries") == "x\n" * 3
    assert disks(with_multipath) == []


def test_a_map_that_stays_although_nobody_is_seen_to_use_it(with_multipath: Host) -> None:
    with_multipath.write("/usr/sbin/multipath", "#!/bin/sh\necho 'mpatha: map in \033[2Juse' >&2\nexit 1\n")
    message = with_multipath.vhba_refused(state="absent", wait_timeout=1)
    assert "could not remove LUN 8:0:0:0 (/dev/sdb): the multipath map mpatha is still there after 1 s" in message
    assert r"(mpatha: map in \x1b[2Juse), although nobody is seen to use it" in message
    assert f"undone: undefine vHBA {WWPN}" in message
    assert disks(with_multipath) == ["dm-0", "sdb", "sdc", "sdd"]


def shared(start: Callable[..., Host]) -> Host:
    """A host with vHBA a1, whose map mpatha has a path by way of the HBA itself too, with multipath and dmsetup."""
    plan = yaml.safe_load((ROOT / "tests" / "simhost" / "scenarios" / "fc.yml").read_text())
    (mapped,) = (device for device in plan["devices"] if device.get("path", "").endswith("/dm-0"))
    mapped["slaves"].append("sdh")
    host = start(plan)
    flushing(host)
    host.write("/usr/sbin/dmsetup", '#!/bin/sh\necho "$@" > /run/dmsetup.log\ncat /run/status\n')
    host.run(["chmod", "755", "/usr/sbin/dmsetup"])
    host.vhba()
    return host


STATUS = "0 20971520 multipath 2 0 0 0 1 1 A 0 3 2 8:16 A 0 0 1 8:32 A 0 0 1 8:112 {} 0 0 1\n"


def test_a_map_that_is_used_and_keeps_a_path(start: Callable[..., Host]) -> None:
    host = shared(start)
    host.write("/run/status", STATUS.format("A"))
    with host.hold("dm-0"):
        assert host.vhba(state="absent")["changed"]
    assert disks(host) == ["dm-0"]
    assert not host.path("/run/multipath.log").exists()
    assert host.read("/run/dmsetup.log") == "status --noflush --major 253 --minor 0\n"


@pytest.mark.parametrize("why", ["it has failed", "it is offline", "dmsetup does not tell"])
def test_a_map_that_is_used_and_would_lose_its_last_path(start: Callable[..., Host], why: str) -> None:
    host = shared(start)
    host.write("/run/status", STATUS.format("F" if why == "it has failed" else "A"))
    if why == "it is offline":
        host.write("/sys/class/block/sdh/device/state", "offline")
    if why == "dmsetup does not tell":
        host.write("/usr/sbin/dmsetup", "#!/bin/sh\nexit 1\n")
    with host.hold("dm-0") as pid:
        assert refused(host) == f"{HELD}, /dev/dm-0 is open by process {pid} (simhost-guest)"
    # Nobody uses it: it is left with the path that is not this vHBA's.
    assert host.vhba(state="absent")["changed"]
    assert disks(host) == ["dm-0"]
    assert not host.path("/run/multipath.log").exists()


def test_by_force_maps_go_first_and_the_vport_last(with_multipath: Host) -> None:
    mounted(with_multipath, "8:49", "/srv")
    # Once the vport is gone there would be nothing left to remove, so each unit is still there when its turn comes.
    with_multipath.fault("8:0:*/delete", op="write", nth=1000, errno="EIO")
    with_multipath.fault("host3/vport_delete", op="write", delay=0, errno="EIO", nth=1000)
    gone = with_multipath.vhba(state="absent", force=True)
    units = ["remove LUN 8:0:0:0 (/dev/sdb)", "remove LUN 8:0:0:1 (/dev/sdd)", "remove LUN 8:0:1:0 (/dev/sdc)"]
    assert gone["plan"] == [UNDEFINE, *units, DELETE]
    assert [fault["seen"] for fault in with_multipath.faults()] == [3, 1]
    assert with_multipath.read("/run/multipath.log").splitlines() == ["-f mpatha", "dm-0 sda sdb sdc sdd sdh "]
    assert (vports(with_multipath), kept(with_multipath), disks(with_multipath)) == ([], [], [])


def test_a_map_that_is_used_itself_does_not_hinder_force(with_multipath: Host) -> None:
    mounted(with_multipath, "253:0", "/srv")
    with_multipath.write("/usr/sbin/multipath", "#!/bin/sh\necho 'mpatha: map in use' >&2\nexit 1\n")
    assert with_multipath.vhba(state="inactive", force=True)["changed"]
    assert (vports(with_multipath), kept(with_multipath), disks(with_multipath)) == ([], ["a1"], [])


def test_force_in_check_mode_says_what_would_go(fc: Host) -> None:
    fc.vhba()
    mounted(fc, "253:0", "/srv")
    before = fc.state()
    with no_write(fc):
        assert fc.vhba(state="absent", force=True, check_mode=True)["plan"][-1] == DELETE
    assert f"vHBA {WWPN} (scsi_host8) is in use" in fc.vhba_refused(state="absent", check_mode=True)
    assert fc.state() == before
