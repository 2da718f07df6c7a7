# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part uses: the error for the person, progress lines, and commands that do not outlive us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TOOL_PACKAGES = {
    "apt-config": "apt",
    "apt-get": "apt",
    "busybox": "busybox-static",
    "chroot": "coreutils",
    "cpio": "cpio",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "env": "coreutils",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "modprobe": "kmod",
    "qemu-img": "qemu-utils",
    "scp": "openssh-client",
    "setpriv": "util-linux",
    "sh": "dash",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "unshare": "util-linux",
    "xz": "xz-utils",
}
# A person's PATH may lack these, where mke2fs, depmod and others are.
SYSTEM_FOLDERS = "/usr/sbin:/sbin"
STOP_LIMIT = 15.0
LOG_TAIL_LINES = 15


class KernelhostError(Exception):
    """Something that a person can act on; the message says what and how."""


def say(text: str) -> None:
    """Progress goes to standard error, so that standard output stays what the verb answers."""
    print(f"kernelhost: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Announce a long step, and how many seconds it took when it is through."""
    started = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: done in {time.monotonic() - started:.1f} s")


def find_tool(name: str) -> str | None:
    """Full path of a command, None if the machine does not have it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")


def tool(name: str) -> str:
    """Full path of a command; KernelhostError if it is missing."""
    require_tools([name])
    path = find_tool(name)
    assert path is not None
    return path


def require_tools(names: Sequence[str]) -> None:
    """Fail with one message for all missing commands, before any work has begun."""
    missing = [name for name in names if find_tool(name) is None]
    if missing:
        packages = " ".join(sorted({TOOL_PACKAGES[name] for name in missing}))
        raise KernelhostError(f"missing on this machine: {', '.join(missing)}; run: apt-get install {packages}")


def run_command(
    argv: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    stdin: Path | None = None,
    stdout: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a build command to its end, its output appended to `log`; whatever interrupts us ends it first.

    `env` adds to the environment. Raises KernelhostError with the end of the log when the command fails.
    """
    with contextlib.ExitStack() as files:
        log_file = files.enter_context(log.open("ab"))
        process = subprocess.Popen(
            [tool("setpriv"), "--pdeathsig", "TERM", "--", *argv],
            cwd=cwd,
            env={**os.environ, **(env or {}), "LC_ALL": "C.UTF-8"},
            stdin=files.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL,
            stdout=files.enter_context(stdout.open("wb")) if stdout else log_file,
            stderr=log_file,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            stop_group(process)
            raise
    if code != 0:
        raise KernelhostError(f"{Path(argv[0]).name} failed with exit code {code}; its last lines:\n{tail(log)}")


def output_of(argv: Sequence[str], *, check: bool = True) -> str:
    """What a short command prints. Raises KernelhostError when it fails, unless `check` is false."""
    answer = subprocess.run([tool(argv[0]), *argv[1:]], capture_output=True, text=True, check=False)
    if check and answer.returncode != 0:
        raise KernelhostError(f"{argv[0]} failed with exit code {answer.returncode}: {answer.stderr.strip()}")
    return answer.stdout


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in its own session, and its children with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)


def tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, indented for a message."""
    if not path.exists():
        return "  (no log)"
    text = path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; waits for whoever has it, and the kernel frees it if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another kernelhost command (lock {path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
