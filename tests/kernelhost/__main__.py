# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs. PYTHONPATH=tests python -m kernelhost --help"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from . import warm
from .debian import RELEASES
from .image import find_or_build
from .machine import PYTHON, Machine
from .steps import KernelhostError, say

Action = Callable[[Machine, argparse.Namespace], int]

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main() -> int:
    arguments = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup ignores one of them, and means it.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        action: Action = arguments.action
        return action(Machine(release=arguments.release, supervised=False), arguments)
    except KernelhostError as error:
        say(f"error: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("interrupted; what was started has been ended")
        return EXIT_INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let a termination clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kernelhost",
        description="A virtual machine with a real kernel, real drivers and a real libvirtd, for tests.",
        epilog="Environment: KERNELHOST_RELEASE (the release unless --release names it), KERNELHOST_STATE (folder of "
        "the running machines, one for each release), KERNELHOST_ACCEL (kvm or tcg), KERNELHOST_MIRROR (Debian mirror, "
        "and after a space its security archive), XDG_CACHE_HOME.",
    )
    release = argparse.ArgumentParser(add_help=False)
    release.add_argument("--release", choices=RELEASES, help="Debian 12 or, as long as nothing else is said, Debian 13")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, action: Action, text: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text, parents=[release])
        verb.set_defaults(action=action)
        return verb

    add("build", _build, "make the image, or find it in the cache; prints its folder")
    add("up", _up, "build if needed, boot, wait for ssh; nothing is done if it is up")
    ssh = add("ssh", _ssh, "run a command in the guest; a shell without one")
    ssh.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="words, joined by spaces as ssh does")
    copy = add("copy", _copy, "copy a file or folder into the guest")
    copy.add_argument("source", type=Path, metavar="SRC", help="on this machine")
    copy.add_argument("destination", metavar="DST", help="path in the guest")
    add("reboot", _reboot, "reboot the guest and wait until the new boot answers")
    add("down", _down, "end it at once; what the guest wrote to its disks is gone")
    add("status", _status, "say whether it is up; exit code 1 if not")
    inventory = add("inventory", _inventory, "print an Ansible inventory for the running machine")
    inventory.add_argument("--warm", action="store_true", help="install a quick interpreter for Ansible, and name that")
    return parser


def _build(machine: Machine, arguments: argparse.Namespace) -> int:
    print(find_or_build(machine.release).folder)
    return 0


def _up(machine: Machine, arguments: argparse.Namespace) -> int:
    machine.up()
    return 0


def _ssh(machine: Machine, arguments: argparse.Namespace) -> int:
    return subprocess.call([*machine.ssh_command(), *arguments.command])


def _copy(machine: Machine, arguments: argparse.Namespace) -> int:
    machine.copy(arguments.source, arguments.destination)
    return 0


def _reboot(machine: Machine, arguments: argparse.Namespace) -> int:
    machine.reboot()
    return 0


def _down(machine: Machine, arguments: argparse.Namespace) -> int:
    if not machine.down():
        say("not up")
    return 0


def _inventory(machine: Machine, arguments: argparse.Namespace) -> int:
    print(machine.inventory(warm.install(machine) if arguments.warm else PYTHON), end="")
    return 0


def _status(machine: Machine, arguments: argparse.Namespace) -> int:
    running = machine.running()
    if running is None:
        print("down")
        return EXIT_FAILED
    print(f"up: {machine.release}, pid {running.pid}, port {running.port}, {running.accelerator}")
    print(f"image: {running.image}")
    print(f"state: {machine.state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
