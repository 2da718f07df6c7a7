# SPDX-License-Identifier: GPL-3.0-or-later
"""A vHBA whose LUNs are used is not removed; by force it is, in the order that does least harm."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import simhost
from conftest import Host
from vhbas import DELETE, UNDEFINE, WWPN, disks, kept, no_write, vports

STATES = ("inactive", "absent")
MAP = "the multipath map mpatha (dm-0)"
# Stands for multipath-tools: its -f removes a map, as the simulated host does when it is asked.
MULTIPATH = f"""#!/bin/sh
echo "$@" >> /run/multipath.log
ls /sys/block | tr '\\n' ' ' >> /run/multipath.log
PYTHONPATH={Path(simhost.__file__).parents[1]} exec {sys.executable} -m simhost --unmap "$2"
"""


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
        assert hint == ", or set force: true to take the disks away all the same"
        said.append(uses)
    assert said[0] == said[1]
    return said[0]


@pytest.fixture
def plain(fc: Host) -> Host:
    """A host with vHBA a1, without the multipath map upon its LUN 0."""
    fc.vhba()
    fc.unmap("mpatha")
    return fc


def test_a_map(fc: Host) -> None:
    fc.vhba()
    assert refused(fc) == f"/dev/sdb is held by {MAP}, /dev/sdc is held by {MAP}"
    assert not fc.vhba()["changed"]


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


@pytest.fixture
def with_multipath(fc: Host) -> Host:
    """A host with vHBA a1 and a multipath command."""
    fc.write("/usr/sbin/multipath", MULTIPATH)
    fc.run(["chmod", "755", "/usr/sbin/multipath"])
    fc.vhba()
    return fc


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
    with_multipath.write("/usr/sbin/multipath", "#!/bin/sh\necho 'mpatha: map in use' >&2\nexit 1\n")
    assert with_multipath.vhba(state="inactive", force=True)["changed"]
    assert (vports(with_multipath), kept(with_multipath), disks(with_multipath)) == ([], ["a1"], [])


def test_force_in_check_mode_says_what_would_go(fc: Host) -> None:
    fc.vhba()
    before = fc.state()
    with no_write(fc):
        assert fc.vhba(state="absent", force=True, check_mode=True)["plan"][-1] == DELETE
    assert f"vHBA {WWPN} (scsi_host8) is in use" in fc.vhba_refused(state="absent", check_mode=True)
    assert fc.state() == before
