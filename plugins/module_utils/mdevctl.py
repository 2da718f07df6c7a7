# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's ground: the definitions it keeps in /etc/mdevctl.d, and its callout scripts.

The format is that of mdevctl 1.2 to 1.4: one JSON file a device, named by its UUID, in a folder named as the parent is
in /sys/class/mdev_bus. libvirt reads the same files through mdevctl.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import definitions
from .definitions import DamagedDefinition
from .errors import NodedevError
from .names import UUID

STORE = "/etc/mdevctl.d"
SCRIPTS = ("/etc/mdevctl.d/scripts.d", "/usr/lib/mdevctl/scripts.d")
# mdevctl writes its files under the normal umask, and other tools read them.
MODE = 0o644

Attrs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Definition:
    """One mediated device as mdevctl keeps it; ``parent`` is the parent's kernel name, not its node device name."""

    uuid: str
    parent: str
    type: str
    autostart: bool
    attrs: Attrs = ()

    @property
    def path(self) -> str:
        return os.path.join(STORE, self.parent, self.uuid)


def decode(uuid: str, parent: str, text: str) -> Definition:
    """Understand mdevctl's JSON as mdevctl does; raises DamagedDefinition naming the file and what is wrong."""
    path = os.path.join(STORE, parent, uuid)
    document = definitions.from_json(path, text)
    kind, start = document.get("mdev_type"), document.get("start")
    if not isinstance(kind, str) or not kind:
        raise DamagedDefinition(path, "mdev_type is not text")
    if not isinstance(start, str):
        raise DamagedDefinition(path, "start is not text")
    return Definition(uuid, parent, kind, start == "auto", tuple(_attrs(path, document.get("attrs"))))


def _attrs(path: str, listed: object) -> Iterator[tuple[str, str]]:
    if listed is None:
        return
    if not isinstance(listed, list):
        raise DamagedDefinition(path, "attrs is not a list")
    for item in listed:
        if not isinstance(item, dict) or len(item) != 1 or not all(isinstance(value, str) for value in item.values()):
            raise DamagedDefinition(path, "an item of attrs is not one name with one text value")
        yield from item.items()


def encode(definition: Definition) -> str:
    """The file's text, byte for byte as mdevctl writes it."""
    document = {
        "mdev_type": definition.type,
        "start": "auto" if definition.autostart else "manual",
        "attrs": [{name: value} for name, value in definition.attrs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def defined(uuid: str) -> tuple[list[Definition], list[DamagedDefinition]]:
    """The definitions of a UUID, which may stand under several parents, and those that cannot be understood."""
    return _decoded((parent, uuid) for parent in definitions.entries(STORE))


def all_defined() -> tuple[list[Definition], list[DamagedDefinition]]:
    """All definitions by parent and UUID, and those that cannot be understood; other files are not looked at."""
    return _decoded(
        (parent, uuid)
        for parent in definitions.entries(STORE)
        for uuid in definitions.entries(os.path.join(STORE, parent))
        if UUID.fullmatch(uuid)
    )


def _decoded(places: Iterable[tuple[str, str]]) -> tuple[list[Definition], list[DamagedDefinition]]:
    found, damaged = [], []
    for parent, uuid in places:
        try:
            text = definitions.read(os.path.join(STORE, parent, uuid))
            if text is not None:
                found.append(decode(uuid, parent, text))
        except DamagedDefinition as error:
            damaged.append(error)
    return found, damaged


def define(definition: Definition) -> None:
    """Write a definition, and the script folders without which mdevctl 1.2 refuses to run at all."""
    for folder in ("callouts", "notifiers"):
        definitions.make_folder(os.path.join(STORE, "scripts.d", folder))
    definitions.write(definition.path, encode(definition), MODE)


def undefine(definition: Definition) -> None:
    """Remove a definition, and its parent's folder with the last one; one that is gone already is no error."""
    definitions.remove(definition.path)


def clear_up(parents: Iterable[str]) -> None:
    """Remove what killed runs left of writing definitions under these parents, whose locks the caller holds."""
    for parent in parents:
        folder = os.path.join(STORE, parent)
        for name in definitions.entries(folder):
            if name.startswith(definitions.TEMPORARY):
                definitions.clear_up(os.path.join(folder, name[len(definitions.TEMPORARY) :]))


def has_callouts() -> bool:
    """Whether scripts of mdevctl want a say in starting and stopping, as s390-tools' check of AP queues does."""
    folders = (os.path.join(scripts, "callouts") for scripts in SCRIPTS)
    return any(
        os.access(os.path.join(folder, name), os.X_OK) for folder in folders for name in definitions.entries(folder)
    )


def start(definition: Definition) -> None:
    """Start a device through mdevctl, so that its callout scripts are asked; raises NodedevError with its words."""
    arguments = ["start", "--uuid", definition.uuid, "--parent", definition.parent, "--jsonfile", "/dev/stdin"]
    _run(arguments, encode(definition))


def stop(uuid: str, seconds: float) -> None:
    """Stop a device through mdevctl; raises NodedevError with its words, or when it takes longer than ``seconds``."""
    _run(["stop", "--uuid", uuid], "", seconds)


def active_attrs() -> dict[tuple[str, str], Attrs]:
    """The attributes of devices that run, by parent and UUID, as mdevctl's callout scripts tell them.

    Raises NodedevError with mdevctl's words, or when it says what cannot be understood.
    """
    said = _run(["list", "--dumpjson"], "")
    try:
        listed = [
            (parent, uuid, attrs)
            for parents in json.loads(said)
            for parent, devices in parents.items()
            for device in devices
            for uuid, known in device.items()
            if (attrs := tuple(_attrs(uuid, known.get("attrs"))))
        ]
    except (ValueError, AttributeError, TypeError) as error:
        raise NodedevError(f"mdevctl list --dumpjson says what cannot be understood: {error}") from error
    return {(parent, uuid): attrs for parent, uuid, attrs in listed}


def _run(arguments: list[str], document: str, seconds: float | None = None) -> str:
    """What mdevctl prints."""
    command = shutil.which("mdevctl", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if command is None:
        raise NodedevError(
            "mdevctl has callout scripts on this host but is not installed: install it or remove its scripts.d"
        )
    words = f"mdevctl {' '.join(arguments)}"
    # The library runs without Ansible too, and then has no run_command.
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
        [command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(document, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        # It may block in the kernel, where nothing ends it, so its end is not waited for.
        process.terminate()
        raise NodedevError(f"{words} has not ended after {seconds:g} s; it may still do so") from error
    if process.returncode:
        raise NodedevError(f"{words} refused: {errors.strip()}")
    return said
