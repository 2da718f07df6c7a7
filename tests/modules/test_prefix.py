# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine on hosts where /usr cannot be written: it finds a place, stays there, and goes from there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import UUID, Host, running, warnings
from plays import play
from test_playbooks import ROLE, quiet
from test_restore import HOOK

# What else than /usr is one: the rest is the machine's own.
OWN = "for each in /usr/local /opt /var/lib; do mkdir -p $each && mount -t tmpfs -o mode=755 none $each || exit; done;"
UNITS = "/etc/systemd/system"


@pytest.fixture
def image(host: Host) -> Host:
    """A host with a /usr that is mounted read-only, and folders of its own for the other prefixes."""
    host.run(["sh", "-c", OWN])
    mount(host, "ro", "/usr")
    return host


def mount(host: Host, how: str, *folders: str) -> None:
    for folder in folders:
        host.run(["mount", "-o", f"remount,bind,{how}", folder])


def there(host: Host) -> list[str]:
    """All of the boot engine that is at any prefix, but for what is in the library."""
    look = (
        "find /usr /usr/local /opt/nodedev /opt/tools /var/lib/nodedev -maxdepth 2 -name '*nodedev*' -prune -print;"
        "find /etc -name '*nodedev*' ! -name nodedev.d -prune -print"
    )
    return sorted(host.run(["sh", "-c", look], check=False).stdout.splitlines())


def test_the_first_place_that_can_be_written(image: Host) -> None:
    foretold = image.done("boot_engine", check_mode=True)
    assert there(image) == []
    done = image.done("boot_engine")
    assert foretold == done
    release = done["diff"]["after"]["release"]
    assert (done["prefix"], done["superseded"]) == ("/usr/local", [])
    assert done["plan"] == [
        "make /usr/local/sbin",
        f"write /usr/local/lib/nodedev/{release}",
        f"have /usr/local/lib/nodedev/nodedev lead to {release}",
    ]
    again = image.done("boot_engine")
    assert (again["changed"], again["plan"], again["prefix"]) == (False, [], "/usr/local")


def test_it_stays_where_it_is(image: Host) -> None:
    image.done("boot_engine")
    mount(image, "rw", "/usr")
    assert not image.done("boot_engine")["changed"]
    image.write("/usr/local/lib/nodedev/nodedev/names.py", "older")
    mended = image.done("boot_engine")
    assert (mended["prefix"], len(mended["plan"])) == ("/usr/local", 3)
    assert image.done("boot_engine", state="absent", check_mode=True)["plan"] == ["remove /usr/local/lib/nodedev"]
    assert image.done("boot_engine", state="absent")["changed"]
    assert not image.done("boot_engine", state="absent")["changed"]
    assert there(image) == []
    assert image.done("boot_engine")["prefix"] == "/usr"


def test_what_came_with_an_image_is_used_as_long_as_it_is_current(image: Host) -> None:
    mount(image, "rw", "/usr")
    image.done("boot_engine", prefix="/usr")
    mount(image, "ro", "/usr")
    same = image.done("boot_engine")
    assert (same["changed"], same["prefix"]) == (False, "/usr")
    left = image.done("boot_engine", state="absent")
    assert (left["changed"], warnings(left)) == (False, ["/usr/lib/nodedev stays: /usr/lib is mounted read-only"])
    mount(image, "rw", "/usr")
    image.write("/usr/lib/nodedev/nodedev/names.py", "older")
    mount(image, "ro", "/usr")
    # The image's cannot be removed; nothing runs it any more.
    newer = image.done("boot_engine")
    assert (newer["changed"], newer["prefix"], newer["superseded"]) == (True, "/usr/local", [])
    assert not image.done("boot_engine")["changed"]


def test_each_place_in_its_turn(image: Host) -> None:
    """An image that ostree has booted counts as such also while /usr can be written."""
    mount(image, "rw", "/usr")
    image.write("/run/ostree-booted", "")
    image.run(["sh", "-c", "umount /usr/local && rm -rf /usr/local && ln -s ../var/lib/usrlocal /usr/local"])
    assert image.done("boot_engine", check_mode=True)["prefix"] == "/opt/nodedev"
    image.run(["mkdir", "/var/lib/usrlocal"])
    assert image.done("boot_engine", check_mode=True)["prefix"] == "/usr/local"
    image.run(["rm", "/usr/local"])
    mount(image, "noexec", "/opt")
    done = image.done("boot_engine")
    assert done["prefix"] == "/var/lib/nodedev"
    assert image.done("boot_engine", state="absent")["plan"] == ["remove /var/lib/nodedev"]
    mount(image, "ro", "/var/lib")
    assert image.failed("boot_engine") == (
        "the boot engine can be nowhere on this host: /usr/lib is of the image that ostree has booted; /usr is of the"
        " image that ostree has booted; /opt is mounted so that nothing there is executed (noexec); /var/lib is mounted"
        " read-only. Name another folder by prefix"
    )


ODD = [
    ("opt/x", "the path of a folder is required, with letters, digits and the signs / _ . + - only"),
    ("/opt/link/x", "what is below /root is not there at boot, or hidden from the units"),
    ("/opt/shared/x", "everybody may write to /opt/shared, and root runs what is there"),
    ("/opt/file/x", "/opt/file does not lead to a folder"),
    ("/opt/gone/x", "/opt/gone does not lead to a folder"),
    ("/usr", "/usr/lib is mounted read-only"),
]


def test_odd_prefixes(image: Host) -> None:
    image.run(["sh", "-c", "cd /opt && ln -s /root link && ln -s nowhere gone && touch file && mkdir -m 1777 shared"])
    for prefix, why in ODD:
        message = image.failed("boot_engine", prefix=prefix)
        assert message.startswith("prefix: ") and message.endswith(f" cannot be used: {why}"), prefix
    assert there(image) == []
    assert image.done("boot_engine", prefix="/opt/tools/")["prefix"] == "/opt/tools"


def test_what_others_have_at_a_place_stays(image: Host) -> None:
    """A command of the same name, a folder of a like name."""
    mount(image, "rw", "/usr")
    image.run(["sh", "-c", "mkdir -p /usr/local/sbin /opt/nodedev/lib/nodedev /var/lib/nodedev/sbin"])
    image.write("/usr/local/sbin/nodedev-restore", "#!/bin/sh\nexec /usr/sbin/nodedev-restore --wait 9\n")
    image.write("/opt/nodedev/lib/nodedev/data", "")
    look = ["find", "/usr/local", "/opt", "/var/lib"]
    before = image.run(look).stdout
    assert image.done("boot_engine")["superseded"] == []
    image.done("boot_engine", prefix="/opt/nodedev", check_mode=True)
    image.done("boot_engine", state="absent")
    assert image.run(look).stdout == before


def test_the_role(image: Host, tmp_path: Path) -> None:
    """Wherever it is, all that names it leads there; it moves when told, and nothing of it is left."""
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)

    def played(*options: str, **variables: Any) -> str:
        return quiet(play(image, playbook, tmp_path, *options, **variables))

    played("--check")
    assert there(image) == []
    played(persistence_metrics=True, persistence_events_post="http://eda.example.com")
    prefixed(image, "/usr/local", *PARTS)
    image.mdev()
    image.reboot()
    (command,) = re.findall(r"^ExecStart=(.*)$", image.read(f"{UNITS}/nodedev-restore.service"), re.MULTILINE)
    assert image.run(command.split()).stdout.endswith("1 restored, 0 there already, 0 failed\n")
    assert running(image) == [UUID]
    played(persistence_prefix="/opt/tools")
    prefixed(image, "/opt/tools", *PARTS[:2])
    # The unit says where it is.
    mount(image, "rw", "/usr")
    assert "changed=0" in played()
    played(persistence_state="absent")
    assert there(image) == []


# The units, each with the command that it runs; the last two are of metrics and events.
PARTS = (
    ("nodedev-restore.service", "sbin/nodedev-restore"),
    ("nodedev-restore@.service", "sbin/nodedev-restore"),
    ("nodedev-metrics.service", "sbin/nodedev-restore"),
    ("nodedev-events.service", "sbin/nodedev-events"),
)


def prefixed(host: Host, prefix: str, *parts: tuple[str, str]) -> None:
    """The boot engine is at this prefix alone, and what runs it finds it there."""
    for unit, command in parts:
        assert re.findall(r"^ExecStart=(\S+)", host.read(f"{UNITS}/{unit}"), re.MULTILINE) == [f"{prefix}/{command}"]
    commands = {f"{prefix}/{command}" for _unit, command in parts}
    for path in commands:
        assert host.run([path, "--help"]).stdout.startswith("usage: nodedev-")
    assert f'LINK, LARGEST = "{prefix}/lib/nodedev/nodedev"' in host.read(HOOK)
    assert {path for path in there(host) if not path.startswith("/etc/")} == {f"{prefix}/lib/nodedev", *commands}
