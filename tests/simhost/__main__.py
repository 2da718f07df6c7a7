# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line; `python -m simhost --help` shows its forms."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from simhost import api, client, control, holder, scenario
from simhost.commands import FOLDER
from simhost.places import LOG, PID

_USAGE = """\
usage: python -m simhost SCENARIO -- COMMAND [ARG...]       start a host, run a command in it, end the host
       python -m simhost --up DIR SCENARIO [--python PATH]  start a host that stays; its state is in DIR
       python -m simhost --in DIR -- COMMAND [ARG...]       run a command in it
       python -m simhost --reboot [DIR]                     reboot it
       python -m simhost --down DIR                         end it and remove DIR
       python -m simhost --fault [DIR] --path GLOB [--op read|write|open|any] [--errno NAME] [--nth N] [--times N]
                                  [--delay SECONDS] [--lag SECONDS] [--content TEXT]
       python -m simhost --fault [DIR] --list | --clear
       python -m simhost --hold [DIR] GROUP|UUID|ADDRESS    keep a VFIO node open until killed
       python -m simhost --hold [DIR] DISK|SG               keep a LUN's node open until killed
       python -m simhost --link [DIR] HBA STATE             change an FC HBA's port_state
       python -m simhost --reload [DIR] HBA                 reload its driver
       python -m simhost --unmap [DIR] NAME                 remove a multipath map or the like
       python -m simhost --unplug [DIR] DEVICE              take a device of a bus with drivers away
       python -m simhost --plug [DIR] DEVICE                bring it back
SCENARIO is the name of a file in tests/simhost/scenarios or a path. Inside a host, DIR is $SIMHOST_DIR.
"""
_DOWN_SECONDS = 30


class UsageError(Exception):
    """The command line is not one of the forms."""


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments or arguments[-1] == "--":
        raise UsageError("a command is needed after --")
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _folder(given: str | None) -> Path:
    name = given or os.environ.get(FOLDER)
    if not name:
        raise UsageError(f"give the folder of the host, or set {FOLDER}")
    return Path(name).resolve()


def _run(arguments: list[str]) -> int:
    before, command = _split(arguments)
    if len(before) != 1:
        raise UsageError("one scenario is needed before --")
    # The host ends by its lifeline even if this process is killed; SIGTERM is to clean up as an exit does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with api.SimHost(before[0]) as host:
        return client.main(str(host.folder), command)


def _up(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simhost --up")
    parser.add_argument("folder", type=Path)
    parser.add_argument("scenario")
    parser.add_argument("--python", default=api.DEFAULT_PYTHON, help="the interpreter for modules in the host")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    path = scenario.find(options.scenario)
    plan = scenario.load(path)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: choose a new folder, or end its host with --down")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    api.start(folder, str(path))
    wrapper = folder / "python"
    wrapper.write_text(api.python_wrapper(folder, options.python), encoding="utf-8")
    wrapper.chmod(0o755)
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(wrapper)}
    inventory = {"all": {"hosts": {plan.hostname: variables}}}
    text = yaml.safe_dump(inventory)
    (folder / "inventory.yml").write_text(text, encoding="utf-8")
    return 0


def _in(arguments: list[str]) -> int:
    before, command = _split(arguments)
    if len(before) != 1:
        raise UsageError("one folder is needed before --")
    return client.main(str(_folder(before[0])), command)


def _reboot(arguments: list[str]) -> int:
    control.request(_folder(arguments[0] if arguments else None), "reboot")
    return 0


def _down(arguments: list[str]) -> int:
    folder = _folder(arguments[0] if arguments else None)
    pid_file = folder / PID
    if not pid_file.is_file():
        raise UsageError(f"no simulated host in {folder}")
    os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGKILL)
    end = time.monotonic() + _DOWN_SECONDS
    while pid_file.exists():
        if time.monotonic() > end:
            raise control.ControlError(f"the host did not end within {_DOWN_SECONDS} seconds: read {folder / LOG}")
        time.sleep(0.01)
    return 0


def _fault(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simhost --fault")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--path", help="a glob over paths in the host")
    parser.add_argument("--op", choices=("read", "write", "open", "any"))
    parser.add_argument("--errno", help="a name such as EIO")
    parser.add_argument("--nth", type=int, help="only this matching operation, counted from 1")
    parser.add_argument("--times", type=int, help="only so many times")
    parser.add_argument("--delay", type=float, help="seconds by which an operation returns late")
    parser.add_argument("--lag", type=float, help="seconds by which new entries and changed values show late")
    parser.add_argument("--content", help="what a read gives instead of the value")
    parser.add_argument("--clear", action="store_true", help="remove all faults")
    parser.add_argument("--list", action="store_true", help="show the faults as JSON")
    options = vars(parser.parse_args(arguments))
    folder = _folder(options.pop("folder"))
    clear, show = options.pop("clear"), options.pop("list")
    if clear:
        control.request(folder, "clear")
    rule = {key: value for key, value in options.items() if value is not None}
    if rule:
        if "path" not in rule:
            raise UsageError("a fault needs --path")
        control.request(folder, "fault", rule=rule)
    if show:
        print(json.dumps(control.request(folder, "faults"), indent=2))
    elif not clear and not rule:
        raise UsageError("give --path with what is to happen, --list or --clear")
    return 0


def _link(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        raise UsageError("give an HBA and a state")
    folder = _folder(arguments[0] if len(arguments) == 3 else None)
    control.request(folder, "link", what=arguments[-2], state=arguments[-1])
    return 0


def _reload(arguments: list[str]) -> int:
    return _on_one("reload", arguments)


def _unmap(arguments: list[str]) -> int:
    return _on_one("unmap", arguments)


def _unplug(arguments: list[str]) -> int:
    return _on_one("unplug", arguments)


def _plug(arguments: list[str]) -> int:
    return _on_one("plug", arguments)


def _on_one(operation: str, arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        raise UsageError("give one name")
    control.request(_folder(arguments[0] if len(arguments) == 2 else None), operation, what=arguments[-1])
    return 0


def _hold(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        raise UsageError("give a group, an mdev's UUID, a PCI address or a disk")
    folder = _folder(arguments[0] if len(arguments) == 2 else None)
    node = control.request(folder, "node", what=arguments[-1])
    return client.main(str(folder), [api.DEFAULT_PYTHON, "-I", "-S", str(Path(holder.__file__).resolve()), node])


_FORMS = {
    "--up": _up,
    "--in": _in,
    "--reboot": _reboot,
    "--down": _down,
    "--fault": _fault,
    "--hold": _hold,
    "--link": _link,
    "--reload": _reload,
    "--unmap": _unmap,
    "--unplug": _unplug,
    "--plug": _plug,
}


def main(arguments: list[str]) -> int:
    """Run the command line; the exit status is the command's where one is run, 2 for wrong usage."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0 if arguments else 2
    form = _FORMS.get(arguments[0])
    try:
        return form(arguments[1:]) if form else _run(arguments)
    except UsageError as error:
        print(f"simhost: {error}\n\n{_USAGE}", end="", file=sys.stderr)
        return 2
    except (api.SimHostError, control.ControlError, OSError, ValueError) as error:
        print(f"simhost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
