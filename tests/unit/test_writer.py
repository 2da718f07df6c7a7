# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that writes: whatever it meets, it ends itself, and the caller knows what became of the write."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import writer
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.writer import Outcome, Unanswered

COLLECTIONS = Path(writer.__file__).parents[7]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that takes what is written to it."""
    file = tmp_path / "remove"
    file.write_text("")
    return file


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A file whose opening blocks until somebody reads it, as a driver does that does not answer."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@contextlib.contextmanager
def handles(free: int) -> Iterator[None]:
    """So many file handles are free inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for _each in range(free):
        os.close(taken.pop())
    try:
        yield
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fresh() -> None:
    """Let the next write start a process of its own."""
    writer._child = None


def child() -> int:
    """The process that serves now."""
    assert writer._child is not None
    return writer._child.process


@pytest.mark.parametrize("data", [b"", b"1", b"1\n", b"\0\xff", b"x" * 70000])
def test_it_writes_what_it_is_given(target: Path, data: bytes) -> None:
    assert writer.write(str(target), data, 5) == Outcome(0, True, len(data))
    assert target.read_bytes() == data


def test_one_process_serves_all_writes(target: Path) -> None:
    writer.write(str(target), b"1", 5)
    first = child()
    writer.write(str(target), b"2", 5)
    assert child() == first
    assert target.read_bytes() == b"2"


@pytest.mark.parametrize(
    ("path", "number", "opened"),
    [("gone", errno.ENOENT, False), ("remove/below", errno.ENOTDIR, False), ("", errno.EISDIR, False)],
)
def test_what_cannot_be_opened(target: Path, path: str, number: int, opened: bool) -> None:
    assert writer.write(str(target.parent / path), b"1", 5) == Outcome(number, opened, 0)


def test_what_the_file_answers() -> None:
    assert writer.write("/dev/full", b"1", 5) == Outcome(errno.ENOSPC, True, -1)


def test_one_that_blocks_is_killed_and_the_next_write_has_another(target: Path, fifo: Path) -> None:
    fresh()
    with pytest.raises(Unanswered) as failure:
        writer.write(str(fifo), b"1", 0)
    assert (failure.value.begun, failure.value.ended) == (True, False)
    assert writer.write(str(target), b"1", 5) == Outcome(0, True, 1)


def test_a_killed_one_is_replaced(target: Path) -> None:
    writer.write(str(target), b"1", 5)
    os.kill(child(), signal.SIGKILL)
    time.sleep(0.2)
    assert writer.write(str(target), b"2", 5) == Outcome(0, True, 1)
    assert target.read_bytes() == b"2"


def test_one_that_is_killed_while_it_writes_has_no_outcome(target: Path, fifo: Path) -> None:
    fresh()
    writer.write(str(target), b"1", 5)
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {child()}"])
    with pytest.raises(Unanswered) as failure:
        writer.write(str(fifo), b"1", 30)
    killer.wait()
    assert (failure.value.begun, failure.value.ended) == (True, True)


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_without_a_free_handle_nothing_is_written(target: Path, free: int) -> None:
    fresh()
    with handles(free), pytest.raises(NodedevError) as failure:
        writer.write(str(target), b"1", 5)
    assert str(failure.value).endswith("could not be started (Too many open files); nothing was written")
    assert target.read_bytes() == b""


def test_with_handles_for_the_pipes_alone_it_writes(target: Path) -> None:
    fresh()
    with handles(4):
        assert writer.write(str(target), b"1", 5) == Outcome(0, True, 1)


def test_a_process_that_was_forked_has_one_of_its_own(target: Path) -> None:
    writer.write(str(target), b"1", 5)
    first, process = child(), os.fork()
    if process == 0:
        try:
            writer.write(str(target), b"2", 5)
            os._exit(int(child() == first))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert target.read_bytes() == b"2"


CALLER = """
import atexit, os, signal, sys
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import writer

def cry(*_what):
    os.write(2, b"the caller's code runs in the child")

atexit.register(cry)
signal.signal(signal.SIGTERM, cry)
{trouble}
try:
    print(writer.write(sys.argv[1], b"1", 5))
except BaseException as error:
    print(type(error).__name__, error)
finally:
    if writer._child is not None:
        try:
            os.kill(writer._child.process, signal.SIGTERM)
        except ProcessLookupError:
            pass
    atexit.unregister(cry)
    print("end of", "caller")
"""
TROUBLES = [
    ("none", "pass", "Outcome(number=0, opened=True, written=1)"),
    ("no /proc", "os.listdir = lambda _path: 1 / 0", "Unanswered (False, True)"),
    ("no library", "writer.ctypes.CDLL = lambda *_a, **_b: exit(0)", "Unanswered (False, True)"),
    ("interrupted", "os.setsid = lambda: (_ for _ in ()).throw(KeyboardInterrupt())", "Unanswered (False, True)"),
]


@pytest.mark.parametrize(("what", "trouble", "said"), TROUBLES, ids=[case[0] for case in TROUBLES])
def test_whatever_happens_in_it_it_ends_itself(target: Path, what: str, trouble: str, said: str) -> None:
    """Nothing of the caller's runs twice: not the code after the write, not what it wants done at its end."""
    done = subprocess.run(
        [sys.executable, "-c", CALLER.format(trouble=trouble), str(target)],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == ([said, "end of caller"], "")


def test_it_holds_no_file_of_the_caller(target: Path, tmp_path: Path) -> None:
    fresh()
    with (tmp_path / "lock").open("w") as lock:
        writer.write(str(target), b"1", 5)
        held = {os.readlink(f"/proc/{child()}/fd/{name}") for name in os.listdir(f"/proc/{child()}/fd")}
        assert lock.name not in held
        assert all(path.startswith("pipe:") for path in held)


def test_it_ends_with_the_process_that_it_serves(target: Path) -> None:
    program = (
        "import os, signal, sys;"
        "from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import writer;"
        "writer.write(sys.argv[1], b'1', 5); print(writer._child.process, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    deadline = time.monotonic() + 10
    while runs(done.stdout.strip()):
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.02)


def runs(pid: str) -> bool:
    """Whether the process is there and not a zombie; whoever collects it may do so between two looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
