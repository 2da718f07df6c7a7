# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command inside a host: `python client.py FOLDER COMMAND [ARG...]`.

A plain script that imports next to nothing, since it is started for every command. It hands its standard streams,
environment, umask and working directory to the host's first process, which starts the command as its own child:
children that enter a process namespace from outside would be left behind as zombies where nobody collects them.
When this script is killed, the connection ends and the command is killed.
"""

import os
import signal
import sys

# The module `socket` costs as much as the rest of the interpreter's start.
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

COMMANDS = "commands"
"""The first process's socket in the folder of the host's state."""
ANOTHER = "SIMHOST_SOCKET"
"""The variable with the name of another socket there, which is asked first."""
NO_HOST = 125
LENGTH_BYTES = 4


def encode(directory: str, umask: int, arguments: list[str], environment: dict[str, str]) -> bytes:
    """A request: its length in 4 bytes, then texts that end in NUL: directory, umask, count, arguments, variables."""
    texts = [directory, str(umask), str(len(arguments)), *arguments]
    texts += [f"{key}={value}" for key, value in environment.items()]
    body = b"".join(os.fsencode(text) + b"\0" for text in texts)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def ask(folder: str, name: str, request: bytes, streams: tuple[int, int, int]) -> socket:
    """The connection on which the exit status of a command comes.

    `folder` is that of the host's state, `name` that of the socket there; OSError if nothing listens.
    """
    connection = socket(AF_UNIX, SOCK_STREAM)
    # An address holds 107 bytes, whatever the folder's length.
    place = os.open(folder, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{place}/{name}")
    finally:
        os.close(place)
    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in streams)
    sent = connection.sendmsg([request], [(SOL_SOCKET, SCM_RIGHTS, numbers)])
    if sent < len(request):
        # Not for nothing: a command that ends at once has the host hang up already.
        connection.sendall(request[sent:])
    return connection


def answer_on(connection: socket) -> tuple[int, bytes] | None:
    """The exit status that comes, negative for a signal, and a message; None if the host ended before."""
    answer = b""
    while part := connection.recv(4096):
        answer += part
    status, _newline, message = answer.partition(b"\n")
    return (int(status), message) if answer else None


def main(folder: str, arguments: list[str]) -> int:
    """Run `arguments` in the host whose state is in `folder`; the exit status, 125 if there is no host."""
    umask = os.umask(0)
    os.umask(umask)
    another = os.environ.pop(ANOTHER, COMMANDS)
    request = encode(os.getcwd(), umask, arguments, dict(os.environ))
    try:
        try:
            connection = ask(folder, another, request, (0, 1, 2))
        except (FileNotFoundError, ConnectionRefusedError):
            connection = ask(folder, COMMANDS, request, (0, 1, 2))
    except OSError as error:
        sys.stderr.write(f"simhost: no simulated host in {folder}: start one with --up ({error})\n")
        return NO_HOST
    answer = answer_on(connection)
    if not answer:
        sys.stderr.write("simhost: the host ended while the command ran\n")
        return NO_HOST
    status, message = answer
    if status < 0:
        # End as the command did, so that the caller sees the same signal.
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.stderr.buffer.write(message)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
