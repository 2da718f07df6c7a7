# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hook as the role persistence installs and removes it, beside those of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import UUID, Host, running
from guests import Libvirt, libvirtd
from plays import play
from test_playbooks import ROLE, quiet
from test_restore import COMMAND, ENGINE, HOOK

__all__ = ["libvirtd"]

OTHERS = "/etc/libvirt/hooks/qemu.d/10-other"
# As systemd answers where libvirtd runs; what is reloaded is written down.
SYSTEMCTL = """#!/bin/sh
case "$1" in
    is-active) echo active; echo inactive ;;
    show) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\n' ;;
    reload) echo "$2" >> /run/reloaded ;;
    *) exec /usr/bin/systemctl.real "$@" ;;
esac
"""
Play = Callable[..., str]


@pytest.fixture
def played(host: Host, tmp_path: Path) -> Play:
    """Applies the role with these variables."""
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)

    def played(*options: str, **variables: Any) -> str:
        return quiet(play(host, playbook, tmp_path, *options, **variables))

    return played


def hooks(host: Host) -> list[str]:
    found = ["find", "/etc/libvirt/hooks", "-type", "f", "-printf", "%p %u:%g %m\n"]
    return sorted(host.run(found, check=False).stdout.splitlines())


def test_it_comes_and_goes(host: Host, played: Play, tmp_path: Path, libvirtd: Callable[[Host], Libvirt]) -> None:
    host.run(["install", "-D", "-m", "700", "/dev/null", OTHERS])
    other, own = f"{OTHERS} root:root 700", f"{HOOK} root:root 755"
    played("--check", "--diff")
    assert hooks(host) == [other]
    played()
    assert hooks(host) == [other, own]
    host.mdev(managed=True)
    libvirt = libvirtd(host)
    libvirt.done("desk", "prepare", UUID)
    assert running(host) == [UUID]
    libvirt.done("desk", "release", UUID)
    assert running(host) == []
    assert "changed=0" in played()
    played(persistence_libvirt_hook="false")
    assert hooks(host) == [other]
    host.run(["install", "-m", "755", "/dev/null", HOOK])
    play(host, tmp_path / "role.yml", tmp_path, persistence_state="absent")
    assert hooks(host) == [other]
    assert not {COMMAND, ENGINE} & set(host.run(["find", "/usr/sbin", "/usr/lib", "-maxdepth", "1"]).stdout.split())
    assert host.mdev(check_mode=True)["plan"] == []


def test_libvirt_that_has_found_no_hook(host: Host, played: Play) -> None:
    """It is told once, by a person or by the role; where libvirt has found a hook before, nothing is to be told."""
    host.run(["mv", "/usr/bin/systemctl", "/usr/bin/systemctl.real"])
    host.run(["install", "-m", "755", "/dev/stdin", "/usr/bin/systemctl"], input=SYSTEMCTL)
    assert "Until it is reloaded, by systemctl reload" in told(played(persistence_reload_libvirt="no"))
    host.run(["rm", HOOK])
    assert told(played(persistence_reload_libvirt="yes")) == ""
    assert host.read("/run/reloaded") == "libvirtd.service\n"
    host.run(["mv", HOOK, OTHERS])
    assert told(played(persistence_reload_libvirt=True)) == ""
    assert host.read("/run/reloaded") == "libvirtd.service\n"


def told(output: str) -> str:
    """What the role says of libvirt."""
    found = re.findall(r'"msg": "(libvirt runs on this host .*?)"', output)
    return found[0] if found else ""
