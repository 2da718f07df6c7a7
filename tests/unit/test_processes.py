# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes have open, by a /proc of a test's own and by processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import nodes, processes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Look, Mount, Opened


class Proc:
    """A /proc; process 1 is there from the beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "proc"
        self.node = folder / "node"
        self.node.touch()
        self.wanted = {nodes.of_path(str(self.node)): "/dev/x"}
        self.process("1", "init")

    def process(self, pid: str, command: str = "", opened: dict[str, str] | None = None, **files: bytes) -> Path:
        """A process, or a thread of one, with files open; x is the node that is looked for."""
        folder = self.folder / pid
        (folder / "fd").mkdir(parents=True)
        (folder / "task" / pid.rpartition("/")[2]).mkdir(parents=True)
        for handle, target in (opened or {}).items():
            (folder / "fd" / handle).symlink_to(self.node if target == "x" else target)
        (folder / "comm").write_text(f"{command}\n")
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder

    def opened(self) -> Look:
        return processes.opened(self.wanted)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    return Proc(tmp_path)


def test_all_that_have_it_open_by_number(proc: Proc) -> None:
    proc.process("20", opened={"0": "/dev/null", "3": "x", "4": "x"})
    proc.process("7", opened={"9": "x"})
    proc.process("8", opened={"0": "/dev/null", "1": "socket:[1]", "2": "/gone"})
    (proc.folder / "self").symlink_to("7")
    (proc.folder / "not a process").mkdir()
    assert proc.opened() == Look((Opened(7, "/dev/x"), Opened(20, "/dev/x")), None)


@pytest.mark.parametrize(
    ("flags", "uses"),
    [(os.O_RDONLY, True), (os.O_RDWR | os.O_NONBLOCK, True), (os.O_PATH, False), (os.O_PATH | os.O_NOFOLLOW, False)],
)
def test_whoever_has_only_its_place_does_not_use_it(tmp_path: Path, flags: int, uses: bool) -> None:
    """As udev has a node while it sets whose it is."""
    node = tmp_path / "node"
    node.touch()
    handle = os.open(node, flags)
    try:
        found = Opened(os.getpid(), "/dev/x") in processes.opened({nodes.of_path(str(node)): "/dev/x"}).opened
    finally:
        os.close(handle)
    assert found == uses


@pytest.mark.parametrize(
    ("information", "uses"),
    [
        (f"pos:\t0\nflags:\t{os.O_PATH:08o}\nmnt_id:\t9\n", False),
        (f"pos:\t0\nflags:\t0{os.O_PATH | os.O_CLOEXEC:o}\nmnt_id:\t9\n", False),
        ("pos:\t0\nflags:\t02100002\nmnt_id:\t9\n", True),
        # What is not told may be a use.
        ("", True),
        ("flags:\n", True),
        ("flags:\todd\n", True),
        ("pos:\t010000000\n", True),
        (None, True),
    ],
)
def test_how_a_process_has_it_open(proc: Proc, information: str | None, uses: bool) -> None:
    folder = proc.process("7", opened={"9": "x"})
    if information is not None:
        (folder / "fdinfo").mkdir()
        (folder / "fdinfo" / "9").write_text(information)
    assert proc.opened() == Look((Opened(7, "/dev/x"),) if uses else (), None)


@pytest.mark.parametrize(("then", "uses"), [("x", True), ("/dev/null", False), (None, False)])
def test_what_is_closed_while_it_is_looked_at(proc: Proc, then: str | None, uses: bool) -> None:
    """As by udev; its number may be another file's at once."""
    folder = proc.process("7", opened={"9": "x"})
    (folder / "fdinfo").mkdir()
    os.mkfifo(folder / "fdinfo" / "9")

    def go_on() -> None:
        with open(folder / "fdinfo" / "9", "wb"):
            (folder / "fd" / "9").unlink()
            if then is not None:
                (folder / "fd" / "9").symlink_to(proc.node if then == "x" else then)

    # It waits until somebody looks how the file is open.
    closing = threading.Thread(target=go_on, daemon=True)
    closing.start()
    look = proc.opened()
    closing.join(10)
    assert not closing.is_alive()
    assert look == Look((Opened(7, "/dev/x"),) if uses else (), None)


def test_processes_that_end_meanwhile(proc: Proc) -> None:
    # Its files are gone, its folder, and one of its files.
    (proc.process("7") / "fd").rmdir()
    (proc.folder / "8").mkdir()
    proc.process("9", opened={"0": "/gone", "1": "x"})
    assert proc.opened() == Look((Opened(9, "/dev/x"),), None)


def test_a_process_whose_first_thread_has_ended(proc: Proc) -> None:
    proc.process("7")
    proc.process("7/task/8", opened={"3": "x"})
    (proc.folder / "7" / "task" / "9").mkdir()
    assert proc.opened() == Look((Opened(7, "/dev/x"),), None)


def test_those_that_cannot_be_looked_at(proc: Proc) -> None:
    for pid in ("7", "8", "9"):
        folder = proc.process(pid, f"\x1b[3{pid}m")
        (folder / "fd").rmdir()
        (folder / "fd").touch()
        look = proc.opened()
    assert look == Look(
        (),
        "process 7 (\\x1b[37m) and 2 others, whose open files cannot be read (ENOTDIR, Not a directory)",
    )


def test_an_open_file_that_cannot_be_looked_at(proc: Proc) -> None:
    folder = proc.process("7", "one", opened={"0": "x", "1": "1"})
    assert proc.opened() == Look(
        (Opened(7, "/dev/x"),),
        "process 7 (one), whose open files cannot be read (ELOOP, Too many levels of symbolic links)",
    )
    (folder / "fd" / "1").unlink()
    assert proc.opened().doubt is None


def test_a_host_that_hides_processes(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.process("7", opened={"0": "x"})
    (proc.folder / "1").rename(proc.folder / "one")
    words = f"a process of another user, which {processes.PROC} hides here"
    assert proc.opened() == Look((Opened(7, "/dev/x"),), words)
    assert processes.mounts()[1] == words
    monkeypatch.setattr(processes, "PROC", f"{processes.PROC}/gone")
    words = f"any process, since {processes.PROC} cannot be read (ENOENT, No such file or directory)"
    assert proc.opened() == Look((), words)


def test_a_process_with_thousands_of_files(proc: Proc) -> None:
    proc.process("7", opened={str(handle): "x" if handle == 1234 else "/dev/null" for handle in range(2000)})
    assert proc.opened() == Look((Opened(7, "/dev/x"),), None)


def test_processes_and_files_that_come_and_go(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is held all the while, and whatever else happens there is neither an error nor a doubt."""
    program = f"import sys\nfile = open({str(proc.node)!r})\nprint(flush=True)\nsys.stdin.read()"
    churn = f"for _ in range(500): open({str(proc.node)!r}).close()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        held.stdout.readline()
        monkeypatch.setattr(processes, "PROC", "/proc")
        short = [threading.Thread(target=subprocess.run, args=([sys.executable, "-c", churn],)) for _each in range(3)]
        for each in short:
            each.start()
        looks = [proc.opened()]
        while any(each.is_alive() for each in short):
            looks.append(proc.opened())
        held.communicate()
    assert all(Opened(held.pid, "/dev/x") in look.opened for look in looks)
    assert proc.opened().opened == ()


@pytest.fixture
def own_threads(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A process whose first thread has ended, while another has a file open."""
    node = tmp_path / "held"
    node.touch()
    program = (
        "import ctypes, sys, threading\n"
        f"file = open({str(node)!r})\n"
        "def stay():\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
        "threading.Thread(target=stay).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid, str(node)
        child.kill()


def test_a_real_process_whose_first_thread_has_ended(own_threads: tuple[int, str]) -> None:
    pid, node = own_threads
    status = Path(f"/proc/{pid}/status")
    while "zombie" not in status.read_text():
        pass
    assert Opened(pid, node) in processes.opened({nodes.of_path(node): node}).opened


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["qemu", "-name", "guest=desk,debug-threads=on"], "desk"),
        (["qemu", "-name", "debug-threads=on,guest=desk"], "desk"),
        (["qemu", "-name", "guest=a,,b,,,,c,debug-threads=on"], "a,b,,c"),
        (["qemu", "-name", "guest=a,,,debug-threads=on"], "a,"),
        (["qemu", "-name", "guest=a=b c"], "a=b c"),
        (["qemu", "-name", "guest=\x1b[2Jred\n"], "\x1b[2Jred\n"),
        (["qemu", "-name", "guest=b\udce4r"], "b\udce4r"),
        (["qemu", "-name", "guest="], ""),
        (["qemu", "-name", "debug-threads=on"], None),
        (["qemu", "-smbios", "guest=desk"], None),
        (["qemu", "-name"], None),
        (["find", "/", "-name", "guest"], None),
        ([], None),
    ],
)
def test_the_name_of_a_guest(proc: Proc, arguments: list[str], name: str | None) -> None:
    command_line = "".join(f"{argument}\0" for argument in arguments)
    proc.process("7", "qemu", cmdline=command_line.encode("utf-8", "surrogateescape"))
    assert processes.guest(7) == name


def test_the_name_of_a_process(proc: Proc) -> None:
    proc.process("7", " a\nb\n ")
    assert processes.command(7) == " a\nb\n "
    assert processes.command(8) == ""


def test_a_user_is_no_line_of_a_name(proc: Proc, tmp_path: Path) -> None:
    program = tmp_path / "daemon"
    program.touch()
    folder = proc.process("7", "daemon", status=b"Name:\ta\rUid:\t0 0 0 0\x0bUid:\t0 0 0 0\nUid:\t7\t7\t7\t7\n")
    (folder / "exe").symlink_to(program)
    assert not processes.is_daemon(7, {str(program): ("daemon",)})
    (folder / "status").write_bytes(b"Name:\tdaemon\nUid:\t0\t0\t0\t0\n")
    assert processes.is_daemon(7, {str(program): ("daemon",)})


def test_mounts_of_every_namespace_once(proc: Proc) -> None:
    for pid, space in (("1", "1"), ("7", "2"), ("8", "2"), ("9", "3")):
        folder = proc.folder / "1" if pid == "1" else proc.process(pid)
        (folder / "ns").mkdir()
        (folder / "ns" / "mnt").symlink_to(f"mnt:[{space}]")
        (folder / "mountinfo").write_text(f"1 1 8:{pid} / /a\\040b rw - x x rw\nodd\n\n")
    (proc.folder / "9" / "mountinfo").unlink()
    assert processes.mounts() == ([Mount("8:1", "/a b"), Mount("8:7", "/a b")], None)
