# SPDX-License-Identifier: GPL-3.0-or-later
"""The running machine: its process, its ssh connection, and what is remembered of it in the state folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from . import paths, qemu
from .debian import chosen_release
from .emulator import Emulator, find_or_unpack
from .image import Image, find_or_build
from .s390x import hardware as s390x
from .steps import KernelhostError, locked, output_of, require_tools, say, step, tail, tool

BOOT_LIMIT = 600.0
POWEROFF_LIMIT = 90.0
KILL_LIMIT = 10.0
COMMAND_LIMIT = 600.0
PYTHON = "/usr/bin/python3"
# Under emulation on a busy machine the key exchange alone can take many seconds.
CONNECT_LIMIT = 60
# A probe that the guest missed while it had no network is answered late or never: better to ask again.
GREETING_LIMIT = 5.0
MONITOR_LIMIT = 30.0
PLUG_LIMIT = 60.0
POLL_SECONDS = 0.5
# A Unix socket's path has at most 107 characters, and ssh adds a random suffix while it makes one.
SOCKET_PATH_LIMIT = 85
TOOLS = ("qemu-img", "scp", "setpriv", "ssh", "ssh-keygen")


class Ended(KernelhostError):
    """QEMU has ended although nobody asked it to."""


@dataclass(frozen=True)
class Running:
    """What identifies a started machine, kept as machine.json in the state folder."""

    pid: int
    started_ticks: int
    port: int
    accelerator: str
    image: str

    def alive(self) -> bool:
        """Whether this very process runs: a pid alone may be another's by now."""
        return _started_ticks(self.pid) == self.started_ticks


class Hardware(Protocol):
    """A file that says what QEMU makes for an architecture."""

    SPARE_DISKS: Sequence[str]

    def command(
        self, emulator: Emulator, image: Image, accelerator: str, state: Path, port: int, public_key: str, /
    ) -> list[str]:
        """The words that start the machine."""

    def accelerator(self, emulator: Emulator, image: Image, /) -> str:
        """What runs its instructions, kvm or tcg."""


# By architecture.
HARDWARE: dict[str, Hardware] = {"amd64": qemu, "s390x": s390x}


class Machine:
    """The machine of one state folder, by default that of a release (`bookworm`, `trixie` or `s390x`).

    As a context manager it is up inside the block, and down afterwards if the block started it. With
    `supervised`, QEMU ends when the thread that called `up` ends, however that happens; without, it
    stays until `down`. All methods raise KernelhostError with what to do.
    """

    def __init__(self, state: Path | None = None, *, release: str | None = None, supervised: bool = True) -> None:
        self.release = chosen_release(release)
        self.state = state or paths.default_state(self.release.name)
        self._hardware: Hardware = HARDWARE[self.release.architecture]
        self.supervised = supervised
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False

    def __enter__(self) -> Machine:
        self._started = self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self.down()

    @property
    def key(self) -> Path:
        """The private key that root's login takes."""
        return self.state / "id_ed25519"

    @property
    def serial_log(self) -> Path:
        """What the guest's kernel and systemd wrote to the console."""
        return self.state / "serial.log"

    def running(self) -> Running | None:
        """The started machine, None if there is none (a record of a dead one counts as none)."""
        try:
            record = Running(**json.loads(self._record.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        return record if record.alive() else None

    def up(self) -> bool:
        """Boot, and wait until ssh answers. False, and nothing done, if the machine runs already."""
        require_tools(TOOLS)
        if len(str(self._control)) > SOCKET_PATH_LIMIT:
            raise KernelhostError(
                f"{self.state} is too long for an ssh control socket: set KERNELHOST_STATE to a shorter path"
            )
        with locked(self.state / "lock"):
            running = self.running()
            if running:
                say(f"already up (pid {running.pid}, port {running.port})")
                return False
            image = find_or_build(self.release)
            emulator = find_or_unpack(self.release.architecture)
            accelerator = self._hardware.accelerator(emulator, image)
            with step(f"booting {self.release} with {accelerator}"):
                self._start(emulator, image, accelerator)
        return True

    def run(
        self, command: str, *, check: bool = True, stdin: str | None = None, limit: float = COMMAND_LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in the guest, at most `limit` seconds; with `check`, fail if it does."""
        try:
            answer = subprocess.run(
                [*self.ssh_command(), command],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KernelhostError(f"no end after {limit:.0f} s in the guest: {command}") from error
        if check and answer.returncode != 0:
            raise KernelhostError(
                f"exit code {answer.returncode} in the guest: {command}\n{answer.stdout}{answer.stderr}"
            )
        return answer

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Make a file in the guest, and the folders above it."""
        self.run(f"install -D -m {mode:o} /dev/stdin {shlex.quote(path)}", stdin=content)

    def copy(self, source: Path, destination: str) -> None:
        """Copy a file or a folder of this machine to `destination` in the guest."""
        options = [*self._ssh_options(), "-P", str(self._port())]
        answer = subprocess.run(
            [tool("scp"), "-q", "-r", "-p", *options, str(source), f"root@127.0.0.1:{destination}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise KernelhostError(f"cannot copy {source} to the guest: {answer.stderr.strip()}")

    def reboot(self) -> None:
        """Reboot the guest as an administrator would, and wait until the new boot answers."""
        with step("rebooting"):
            before = self.run("cat /proc/sys/kernel/random/boot_id").stdout
            old = self._needed()
            # The connection may break before the answer: that the boot_id changes is what counts.
            self.run("systemctl reboot", check=False)
            self._disconnect()
            # A login that begins while the old boot goes away hangs, so let its sshd end first.
            deadline = time.monotonic() + POWEROFF_LIMIT
            while _ssh_listens(old.port) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            try:
                self._wait(before)
            except Ended as error:
                # The disks are as the guest has left them, and it was about to boot from them anyway.
                say(f"QEMU is started again: {error}")
                emulator = find_or_unpack(self.release.architecture)
                self._launch(emulator, find_or_build(self.release), old.accelerator, old.port)

    def monitor(self, command: str, **arguments: str) -> Any:
        """Ask QEMU itself, in the words of its QMP, and return its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(MONITOR_LIMIT)
            connection.connect(str(self._monitor))
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()
                _ask(stream, "qmp_capabilities", {})
                return _ask(stream, command, arguments)

    def plug_in(self, device: Mapping[str, str]) -> None:
        """Have QEMU add a device with these properties, as soon as it has forgotten one that was unplugged."""
        deadline = time.monotonic() + PLUG_LIMIT
        while True:
            try:
                self.monitor("device_add", **device)
                return
            except KernelhostError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def down(self) -> bool:
        """End it at once, and throw its disks away. False if nothing was running."""
        with locked(self.state / "lock"):
            running = self.running()
            if running:
                self._end(running)
            self._forget()
        return running is not None

    def ssh_command(self) -> list[str]:
        """The ssh command line to the guest; append the remote command."""
        return [tool("ssh"), *self._ssh_options(), "-p", str(self._port()), "root@127.0.0.1"]

    def inventory(self, python: str = PYTHON) -> str:
        """An Ansible inventory in YAML with the one host `kernelhost`, for its own or another Python."""
        return "\n".join(
            [
                "all:",
                "  hosts:",
                "    kernelhost:",
                "      ansible_host: 127.0.0.1",
                f"      ansible_port: {self._port()}",
                "      ansible_user: root",
                f"      ansible_ssh_private_key_file: {json.dumps(str(self.key))}",
                f"      ansible_ssh_args: {json.dumps(shlex.join(self._ssh_options()))}",
                "      ansible_pipelining: true",
                f"      ansible_python_interpreter: {python}",
                "",
            ]
        )

    @property
    def _record(self) -> Path:
        return self.state / "machine.json"

    @property
    def _control(self) -> Path:
        return self.state / "ssh.socket"

    @property
    def _monitor(self) -> Path:
        return self.state / "monitor.socket"

    @property
    def _log(self) -> Path:
        return self.state / "qemu.log"

    def _port(self) -> int:
        return self._needed().port

    def _needed(self) -> Running:
        running = self.running()
        if running is None:
            raise KernelhostError("the machine is not up; run: PYTHONPATH=tests python -m kernelhost up")
        return running

    def _ssh_options(self) -> list[str]:
        # The guest's key is new with each image, and the address is this machine's own.
        options = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": CONNECT_LIMIT,
            "ServerAliveInterval": 30,
            "ControlMaster": "auto",
            "ControlPath": self._control,
            "ControlPersist": 600,
        }
        return ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]

    def _start(self, emulator: Emulator, image: Image, accelerator: str) -> None:
        """Start QEMU on a fresh overlay and wait for ssh; whatever goes wrong or interrupts us ends QEMU."""
        self._forget()
        self._make_key()
        self._make_disks(image)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._launch(emulator, image, accelerator, port)

    def _launch(self, emulator: Emulator, image: Image, accelerator: str, port: int) -> None:
        """Start QEMU on the disks that there are, and wait for ssh on this port."""
        if self._process:
            self._process.wait()
        public_key = self.key.with_suffix(".pub").read_text(encoding="ascii").split()[1]
        argv = self._hardware.command(emulator, image, accelerator, self.state, port, public_key)
        if self.supervised:
            argv = [tool("setpriv"), "--pdeathsig", "TERM", "--", *argv]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.state, start_new_session=True
            )
        self._process = process
        try:
            ticks = _started_ticks(process.pid)
            if ticks is None:
                raise KernelhostError(f"QEMU ended at once:\n{tail(self._log)}")
            running = Running(process.pid, ticks, port, accelerator, str(image.folder))
            self._record.write_text(json.dumps(dataclasses.asdict(running)), encoding="utf-8")
            self._wait(None)
        except BaseException:
            process.terminate()
            self._disconnect()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_LIMIT)
            process.kill()
            process.wait()
            self._record.unlink(missing_ok=True)
            raise

    def _make_key(self) -> None:
        if not self.key.exists():
            output_of(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kernelhost", "-f", str(self.key)])

    def _make_disks(self, image: Image) -> None:
        """A fresh overlay on the image's disk, and empty spare disks."""
        base = ["-b", str(image.disk), "-F", "qcow2"]
        output_of(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(self.state / "disk.qcow2")])
        for name in self._hardware.SPARE_DISKS:
            with (self.state / f"{name}.img").open("wb") as file:
                file.truncate(qemu.SPARE_DISK_SIZE)

    def _wait(self, old_boot: str | None) -> None:
        """Wait until ssh answers from a boot that is not `old_boot`."""
        deadline = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < deadline:
            running = self.running()
            if running is None:
                raise Ended(f"QEMU ended while the guest booted:\n{tail(self._log)}\n{tail(self.serial_log)}")
            if _ssh_listens(running.port):
                with contextlib.suppress(KernelhostError):
                    boot = self.run("cat /proc/sys/kernel/random/boot_id", limit=CONNECT_LIMIT).stdout
                    if boot != old_boot:
                        return
                # A connection to the old boot, or a broken one, must not be the next command's.
                self._disconnect()
            time.sleep(POLL_SECONDS)
        raise KernelhostError(f"no ssh after {BOOT_LIMIT:.0f} s; the console's last lines:\n{tail(self.serial_log)}")

    def _disconnect(self) -> None:
        """End the shared ssh connection, if there is one."""
        if self._control.exists():
            control = ["-F", "none", "-o", f"ControlPath={self._control}", "-O", "exit", "root@127.0.0.1"]
            subprocess.run([tool("ssh"), *control], stdin=subprocess.DEVNULL, capture_output=True, check=False)
            self._control.unlink(missing_ok=True)

    def _end(self, running: Running) -> None:
        """End QEMU, as by pulling the plug: nothing that the guest would still write is kept."""
        self._disconnect()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, number)
            deadline = time.monotonic() + KILL_LIMIT
            while time.monotonic() < deadline:
                if not running.alive():
                    return
                time.sleep(POLL_SECONDS / 5)
            say(f"still running {KILL_LIMIT:.0f} s after {number.name} to {running.pid}")
        raise KernelhostError(f"QEMU (pid {running.pid}) cannot be ended")

    def _forget(self) -> None:
        """Remove what belongs to one run. The key and the logs stay: the logs tell what happened."""
        if self._process:
            self._process.wait()
            self._process = None
        for name in (
            "machine.json",
            "disk.qcow2",
            "ssh.socket",
            "monitor.socket",
            *(f"{disk}.img" for disk in self._hardware.SPARE_DISKS),
        ):
            (self.state / name).unlink(missing_ok=True)


def _ask(stream: TextIO, command: str, arguments: dict[str, str]) -> Any:
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    answer = json.loads(stream.readline())
    # Events come in between, whenever they like.
    while "event" in answer:
        answer = json.loads(stream.readline())
    if "error" in answer:
        raise KernelhostError(f"QEMU's monitor refuses {command}: {answer['error']['desc']}")
    return answer["return"]


def _started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may have spaces in it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _ssh_listens(port: int) -> bool:
    """Whether sshd's greeting comes; QEMU takes the connection itself long before the guest does."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=GREETING_LIMIT) as connection,
    ):
        return connection.recv(4) == b"SSH-"
    return False
