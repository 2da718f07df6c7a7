# SPDX-License-Identifier: GPL-3.0-or-later
"""SimHost: a simulated host for tests, from Python."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import yaml

from simhost import access, client, control, holder, libvirt, scenario
from simhost.places import LOG, PID, STAGE

DEFAULT_PYTHON = "/usr/bin/python3"
_PACKAGE_PARENT = Path(__file__).parent.parent
_OWN_PLACES = ("/etc", "/usr", "/run", "/dev", "/sys", "/proc")
_STOP_SECONDS = 30


_UMASK = os.umask(0)
os.umask(_UMASK)


def _memory(text: str = "") -> TextIO:
    """A file without a name that holds a text."""
    stream = os.fdopen(os.memfd_create("simhost"), "w+", encoding="utf-8")
    stream.write(text)
    stream.seek(0)
    return stream


def _whole(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read()


class SimHostError(Exception):
    """The host did not start; the text says why."""


def attendant(command: Sequence[str], environment: Mapping[str, str]) -> socket.socket:
    """The socket on which a process takes requests, its standard input, for as long as this program runs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), env={**os.environ, **environment}, start_new_session=True
        )
    # It ends with our end of the socket, and is nothing to wait for.
    process.returncode = 0
    return ours


@functools.cache
def _starter() -> socket.socket:
    """The socket on which starter.py takes requests."""
    paths = [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
    # Without a number of malloc's arenas glibc counts the processors by a file below /sys: the server would ask
    # itself, and a server that is killed while it waits for its own answer never ends.
    own = {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "MALLOC_ARENA_MAX": "4"}
    return attendant([sys.executable, "-m", "simhost.starter"], own)


def start(folder: Path, name: str, lifeline: int = -1) -> int:
    """Start the host described by scenario `name` with its state in the existing, empty `folder`.

    Returns, when the host is ready, a descriptor that ends when the host has. `lifeline` is the read end of a pipe:
    the host ends when all write ends are closed. SimHostError if the host cannot start.
    """
    folder = folder.resolve()
    if any(folder.is_relative_to(place) for place in _OWN_PLACES):
        raise SimHostError(f"{folder} is hidden inside the host: choose a folder outside {', '.join(_OWN_PLACES)}")
    (folder / STAGE).mkdir()
    read_end, write_end = os.pipe()
    ended, alive = os.pipe()
    try:
        with (folder / LOG).open("wb") as log:
            passed = [log.fileno(), write_end, alive, *([lifeline] if lifeline >= 0 else [])]
            socket.send_fds(_starter(), [json.dumps([str(folder), name]).encode()], passed)
    finally:
        os.close(write_end)
        os.close(alive)
    with open(read_end, encoding="utf-8") as ready:
        answer = ready.read().strip()
    if answer != "ok":
        log_text = ""
        # A guardian that ends removes the folder, at any moment from here on.
        with contextlib.suppress(FileNotFoundError):
            log_text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
        wait_for_end(ended)
        raise SimHostError(answer or f"the host did not start; does {sys.executable} have mfusepy?\n{log_text}")
    return ended


def wait_for_end(ended: int) -> None:
    """Wait until a host has ended, and close the descriptor; TimeoutError after 30 seconds."""
    if not select.select([ended], [], [], _STOP_SECONDS)[0]:
        raise TimeoutError(f"the host did not end within {_STOP_SECONDS} seconds")
    os.close(ended)


def command(folder: Path, arguments: list[str]) -> list[str]:
    """The command line that runs `arguments` inside the host whose state is in `folder`."""
    return [sys.executable, "-I", "-S", client.__file__, str(folder), *arguments]


def python_wrapper(folder: Path, interpreter: str) -> str:
    """A shell script that runs `interpreter` in the host with all its arguments, standard input kept."""
    start = shlex.join(command(folder, [interpreter]))
    return (
        "#!/bin/sh\n"
        "# Runs a Python interpreter inside the simulated host; written by simhost --up.\n"
        f'exec {start} "$@"\n'
    )


class SimHost:
    """A simulated host; a context manager, or `start()` and `stop()`.

    `host` is a scenario's name, the path of a scenario file, or a scenario as plain data.
    """

    def __init__(self, host: str | Path | Mapping[str, Any], python: str = DEFAULT_PYTHON) -> None:
        self._wanted = host
        self.python = python
        self._ended: int | None = None
        self._lifeline = -1
        self._folder: Path | None = None

    def __enter__(self) -> SimHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """The folder with the state of the running host."""
        if self._folder is None:
            raise SimHostError("the host is not running: use it in a with statement or call start()")
        return self._folder

    @property
    def pid(self) -> int:
        """The process id, on the machine, of the host's first process."""
        return int((self.folder / PID).read_text(encoding="ascii"))

    def start(self) -> None:
        """Start the host; SimHostError if it cannot start."""
        folder = Path(tempfile.mkdtemp(prefix="simhost-"))
        read_end, self._lifeline = os.pipe()
        try:
            self._ended = start(folder, self._scenario_name(folder), read_end)
        except BaseException:
            os.close(self._lifeline)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(read_end)
        self._folder = folder

    def _scenario_name(self, folder: Path) -> str:
        if isinstance(self._wanted, Mapping):
            path = folder / "scenario.yml"
            path.write_text(yaml.safe_dump(dict(self._wanted), sort_keys=False), encoding="utf-8")
            return str(path)
        return str(scenario.find(str(self._wanted)))

    def stop(self) -> None:
        """End the host with all its processes and mounts, and remove its folder."""
        if self._ended is None:
            return
        os.close(self._lifeline)
        wait_for_end(self._ended)
        self._ended = None
        self._folder = None

    def command(self, arguments: list[str]) -> list[str]:
        """The command line that runs `arguments` inside the host."""
        return command(self.folder, arguments)

    def run(
        self,
        arguments: list[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout: float | None = 60,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host and capture its output; exceptions as of subprocess.run."""
        done = self.ask(client.COMMANDS, arguments, input=input, timeout=timeout, env=env, cwd=cwd)
        if check:
            done.check_returncode()
        return done

    def ask(
        self,
        name: str,
        arguments: list[str],
        *,
        input: str | None = None,
        timeout: float | None = 60,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Have the process that listens on the socket `name` in the host's folder run a command, as `run` does."""
        request = client.encode(cwd or os.getcwd(), _UMASK, arguments, {**os.environ, **(env or {})})
        with _memory(input or "") as given, _memory() as output, _memory() as errors:
            streams = (given.fileno(), output.fileno(), errors.fileno())
            with contextlib.closing(client.ask(str(self.folder), name, request, streams)) as connection:
                connection.settimeout(timeout)
                try:
                    answer = client.answer_on(connection)
                except TimeoutError:
                    # With the connection the command ends.
                    raise subprocess.TimeoutExpired(arguments, timeout or 0) from None
            texts = [_whole(stream) for stream in (output, errors)]
        if answer is None:
            raise SimHostError(f"the host ended while {shlex.join(arguments)} ran")
        status, message = answer
        return subprocess.CompletedProcess(arguments, status, texts[0], texts[1] + message.decode())

    def popen(
        self, arguments: list[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command in the host; it is killed when the returned process is. Options as of subprocess.Popen."""
        return subprocess.Popen(self.command(arguments), env={**os.environ, **(env or {})}, cwd=cwd, **options)

    def path(self, path: str) -> Path:
        """A path that reaches the host's file `path` from outside. Only root may use it.

        os.path.realpath and Path.resolve take the way through the machine's own files; use `realpath` instead.
        """
        return Path(f"/proc/{self.pid}/root{path}")

    def realpath(self, path: str) -> str:
        """The path within the host with all links followed; CalledProcessError if a directory is missing."""
        return self.run(["readlink", "-f", path]).stdout.rstrip("\n")

    def read(self, path: str) -> str:
        """The text of a file in the host; OSError with the errno that a reader there gets."""
        if os.geteuid() != 0:
            return self._access("read", path, "")
        with self.path(path).open("rb", buffering=0) as stream:
            return (stream.readall() or b"").decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str) -> None:
        """Write a file in the host with one write call; OSError with the errno that a writer there gets.

        A file that is not there is made, below /etc, /usr, /run and /dev.
        """
        if os.geteuid() != 0:
            self._access("write", path, text)
            return
        with self.path(path).open("wb", buffering=0) as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))

    def _access(self, operation: str, path: str, text: str) -> str:
        script = str(Path(access.__file__).resolve())
        result = self.run([self.python, "-I", "-S", script, operation, path], input=text, check=False)
        if result.returncode == access.FAILED:
            number = int(result.stderr)
            raise OSError(number, os.strerror(number), path)
        result.check_returncode()
        return result.stdout

    def fault(self, path: str, **rule: Any) -> None:
        """Add a fault: `op`, `errno`, `nth`, `times`, `delay`, `lag`, `content` as in README.md."""
        control.request(self.folder, "fault", rule={"path": path, **rule})

    def clear_faults(self) -> None:
        """Remove all faults, the scenario's own included."""
        control.request(self.folder, "clear")

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, each with `seen` and `hits`."""
        result: list[dict[str, Any]] = control.request(self.folder, "faults")
        return result

    def holders(self) -> dict[str, list[int]]:
        """The VFIO nodes that are open, each with the process ids (as seen in the host) that opened them."""
        result: dict[str, list[int]] = control.request(self.folder, "holders")
        return result

    @contextlib.contextmanager
    def hold(self, what: str, name: str = holder.COMMAND_NAME, program: Sequence[str] = ()) -> Iterator[int]:
        """Hold the VFIO node of a group, mdev or PCI address open, a LUN's node such as sdb or sg1, or a file.

        Gives the holder's process id in the host. `name` is that of its command, `program` a Python that it runs
        instead of the host's, with what comes before that.
        """
        node = what if what.startswith("/") else str(control.request(self.folder, "node", what=what))
        script = str(Path(holder.__file__).resolve())
        arguments = [*(program or [self.python]), "-I", "-S", script, node, name]
        process = self.popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SimHostError(f"{node} could not be held: its opener ended with status {process.wait()}")
            yield int(line)
        finally:
            process.kill()
            process.wait()
            # The holder itself dies a moment later; its end closes the pipe.
            process.stdout.read()
            process.stdout.close()

    def libvirtd(self) -> contextlib.AbstractContextManager[libvirt.Libvirtd]:
        """A real libvirtd in the host, for the time of a with block that gets a `Libvirtd`."""
        return libvirt.running(self.run, self.popen)

    def link(self, hba: str, state: str) -> None:
        """Change the port_state of a Fibre Channel HBA, given by host name, WWPN or PCI address."""
        control.request(self.folder, "link", what=hba, state=state)

    def reload(self, hba: str) -> None:
        """Reload the driver of a Fibre Channel HBA: its host comes back under another number, without vports."""
        control.request(self.folder, "reload", what=hba)

    def forbidden_writes(self) -> list[tuple[str, str]]:
        """What was written where nobody may write, over all boots, as pairs of path and text: see `nvidia_vgpu`."""
        return [(str(path), str(text)) for path, text in control.request(self.folder, "forbidden")]

    def new_ids(self) -> list[tuple[str, str]]:
        """What was written to a driver's new_id since the boot, each with the driver's name."""
        return [(str(driver), str(text)) for driver, text in control.request(self.folder, "new_ids")]

    def unplug(self, name: str) -> None:
        """Take a device of a bus with drivers away, with all below it, as a card that is pulled.

        Where a guest holds it, that goes on when the guest ends, and this returns before.
        """
        control.request(self.folder, "unplug", what=name)

    def plug(self, name: str) -> None:
        """Bring back what was taken away, as the scenario has it."""
        control.request(self.folder, "plug", what=name)

    def unmap(self, name: str) -> None:
        """Remove a device that is upon others, as `multipath -f` does; by its name or dm name."""
        control.request(self.folder, "unmap", what=name)

    def reboot(self) -> None:
        """Reboot: processes end, devices are as the scenario has them, /etc and /usr stay, /run is new."""
        control.request(self.folder, "reboot")
