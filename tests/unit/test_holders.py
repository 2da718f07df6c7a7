# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding who holds a node, on files of our own that this process and a child hold open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import holders, nodes, processes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import vfio as vfio_nodes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from devices import Host


def test_the_holder_is_named(tmp_path: Path) -> None:
    node, other = tmp_path / "vfio" / "12", tmp_path / "vfio" / "13"
    node.parent.mkdir()
    node.touch()
    other.touch()
    hold = f"import sys; file = open({str(node)!r}); print('held', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", hold, "-name", "guest=desk,debug-threads=on"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        looked = holders.of_nodes([str(node), str(other), str(tmp_path / "gone")])
        child.communicate()
    # Who runs this test may not be allowed to look at all processes.
    found = [holder for holder in looked if holder.pid is not None]
    assert {holder.node for holder in looked} <= {str(node), str(other)}
    command = Path(os.path.realpath(sys.executable)).name[:15]
    assert [(holder.pid, holder.node, holder.domain) for holder in found] == [(child.pid, str(node), "desk")]
    assert found[0].by in (command, Path(sys.executable).name[:15])


@contextmanager
def holding(path: Path | str) -> Iterator[int]:
    """A process that has this open; its number."""
    hold = f"import sys; file = open({str(path)!r}, 'rb'); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.communicate()


@pytest.fixture
def vfio(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of the test's own with a group and a character device, whose numbers are those of zero and full."""
    for name, place in (("GROUPS", "class/vfio"), ("CDEVS", "class/vfio-dev")):
        monkeypatch.setattr(vfio_nodes, name, str(host.sys / place))
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    host.attributes("class/vfio/12", {"dev": "1:5"})
    host.attributes("devices/function/vfio-dev/vfio3", {"dev": "1:7"})
    host.link("class/vfio-dev/vfio3", "devices/function/vfio-dev/vfio3")
    host.attributes("devices/other/vfio-dev/vfio4", {})
    host.link("class/vfio-dev/vfio4", "devices/other/vfio-dev/vfio4")
    return host


GROUP, CDEV = "/dev/vfio/12", "/dev/vfio/devices/vfio3"


@pytest.mark.parametrize(("opened", "node"), [("/dev/zero", GROUP), ("/dev/full", CDEV), ("/dev/null", None)])
@pytest.mark.usefixtures("vfio")
def test_a_device_that_is_open_under_another_name(opened: str, node: str | None) -> None:
    # No node of these names is there: they were removed, or are in another mount namespace alone.
    with holding(opened) as pid:
        found = holders.seen([GROUP, CDEV, "/dev/vfio/13"])
    assert [holder.node for holder in found if holder.pid == pid] == ([] if node is None else [node])


def test_a_file_of_a_nodes_name_is_no_node(vfio: Host, tmp_path: Path) -> None:
    for folder in (tmp_path / "mine" / "vfio", vfio.dev / "vfio"):
        folder.mkdir(parents=True)
        (folder / "12").touch()
    with holding(tmp_path / "mine" / "vfio" / "12") as pid, holding(vfio.dev / "vfio" / "12") as other:
        found = {holder.pid: holder.node for holder in holders.seen([GROUP])}
    assert pid not in found
    assert found[other] == GROUP


def test_a_character_device_has_a_number(vfio: Host) -> None:
    assert vfio_nodes.cdevs_of(f"{vfio.sys}/devices/function") == [CDEV]
    assert vfio_nodes.cdevs_of(f"{vfio.sys}/devices/other") == []
    assert vfio_nodes.cdevs() == {f"{vfio.sys}/devices/function": [CDEV]}


def test_the_nodes_of_devices(vfio: Host) -> None:
    vfio.attributes("class/vfio/noiommu-13", {"dev": "1:3"})
    function, other = f"{vfio.sys}/devices/function", f"{vfio.sys}/devices/other"
    assert vfio_nodes.nodes_of({function: "12", other: "13", "/gone": "14", "/alone": None}) == {
        function: [GROUP, CDEV],
        other: ["/dev/vfio/noiommu-13"],
        "/gone": [],
        "/alone": [],
    }


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.usefixtures("vfio")
def test_the_holders_of_several_devices(probe: bool) -> None:
    with holding("/dev/zero") as pid:
        found = holders.of_each({"one": [GROUP, CDEV], "two": [CDEV], "three": [GROUP], "none": []}, probe)
    seen = {key: [(each.pid, each.node) for each in own if each.pid is not None] for key, own in found.items()}
    assert seen == {"one": [(pid, GROUP)], "two": [], "three": [(pid, GROUP)], "none": []}


def test_of_whom_it_is_not_known(vfio: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", str(vfio.root / "proc"))
    for pid, command in (("1", "init"), ("7", "sleep")):
        vfio.write(vfio.root / "proc" / pid / "comm", command)
        (vfio.root / "proc" / pid / "fd").mkdir()
    assert holders.of_nodes([GROUP, CDEV]) == []
    (vfio.root / "proc" / "7" / "fd").rmdir()
    (vfio.root / "proc" / "7" / "fd").touch()
    words = "possibly process 7 (sleep), whose open files cannot be read (ENOTDIR, Not a directory)"
    doubtful = [Holder(node, words) for node in (GROUP, CDEV)]
    assert holders.seen([GROUP, CDEV]) == holders.of_nodes([GROUP, CDEV]) == doubtful
    assert holders.seen([GROUP, "/dev/vfio/13"]) == doubtful[:1]
    assert holders.named(doubtful[:1]) == words
    vfio.write(vfio.root / "proc" / "1" / "cmdline", b"qemu\0-name\0guest=a,,b\0")
    (vfio.root / "proc" / "1" / "fd" / "5").symlink_to("/dev/zero")
    held = Holder(GROUP, "init", pid=1, domain="a,b")
    assert holders.seen([GROUP, CDEV]) == [held, doubtful[1]]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("12", "possibly a process that cannot be seen from here, since it cannot be opened (ELOOP"),
        ("gone", None),
        ("/dev/null", None),
        ("/dev/null/below", None),
    ],
)
def test_a_node_that_cannot_be_opened(
    vfio: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str | None
) -> None:
    monkeypatch.setattr(processes, "PROC", str(vfio.root / "proc"))
    vfio.write(vfio.root / "proc" / "1" / "comm", "init")
    (vfio.root / "proc" / "1" / "fd").mkdir()
    node = tmp_path / "12"
    node.symlink_to(target)
    found = holders.of_nodes([str(node)])
    assert [holder.by.startswith(words) for holder in found] == ([] if words is None else [True])


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holders.of_nodes([str(tmp_path / "gone")]) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([Holder("/dev/vfio/1", "qemu", pid=7)], "process 7 (qemu)"),
        ([Holder("n", "qemu", pid=7, domain="desk")], "process 7 (qemu) of domain desk"),
        ([Holder("n", "qemu", pid=7), Holder("n", "a process")], "process 7 (qemu), a process"),
        (
            [Holder("n", "qe\x1b[2Jmu\n", pid=7, domain="a\nb")],
            r"process 7 (qe\x1b[2Jmu\n) of domain a\nb",
        ),
        ([Holder("n", "", pid=7), Holder("n", "")], "process 7 (without a name), without a name"),
        ([Holder("n", "x" * 300)], "x" * 200 + "..."),
    ],
)
def test_holders_in_words(found: list[Holder], words: str) -> None:
    assert holders.named(found) == words
