# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings definitions back on this host: the boot engine, or mdevctl's udev rule where it works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import restorers

NOT_INSTALLED = "the boot engine is not installed"
STARTS = 'ACTION=="{}", RUN+="/bin/sh -c \'{} start-parent-mdevs %k 2>&1 | logger\'"\n'


class Host:
    """The files that restorers.py looks at, below a test's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = [root / name for name in ("etc", "run", "local", "usr", "lib")]
        self.mdevctl = root / "bin" / "mdevctl"

    def rule(self, text: str, folder: int = 3) -> Path:
        path = self.folders[folder] / "60-mdevctl.rules"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def starts(self, program: Path | None = None) -> str:
        """mdevctl's rules as Debian has them, for two kinds of event."""
        return "".join(STARTS.format(action, program or self.mdevctl) for action in ("change", "add"))

    def install(self, path: Path, mode: int = 0o755) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(mode)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(restorers, "RULE_FOLDERS", tuple(str(folder) for folder in host.folders))
    monkeypatch.setattr(restorers, "UNIT", str(tmp_path / "engine.service"))
    monkeypatch.setattr(restorers, "HOOK", str(tmp_path / "hooks" / "50-nodedev"))
    monkeypatch.setattr(restorers, "ENABLED", str(tmp_path / "wants" / "engine.service"))
    return host


def test_no_rule(host: Host) -> None:
    assert restorers.broken_rule("mdevctl") == "no udev rule 60-mdevctl.rules of mdevctl is installed"


def test_a_rule_that_works(host: Host) -> None:
    host.install(host.mdevctl)
    host.rule(host.starts())
    assert restorers.broken_rule("mdevctl") is None


def test_a_rule_that_runs_what_is_not_there(host: Host) -> None:
    path = host.rule(host.starts())
    assert restorers.broken_rule("mdevctl") == f"{path} runs {host.mdevctl}, which is not there"
    host.install(host.mdevctl, mode=0o644)
    assert restorers.broken_rule("mdevctl") == f"{path} runs {host.mdevctl}, which is not there"


def test_debians_rule_and_package(host: Host) -> None:
    host.install(host.mdevctl)
    wrong = host.root / "sbin" / "mdevctl"
    path = host.rule(host.starts(wrong))
    assert restorers.broken_rule("mdevctl") == f"{path} runs {wrong}, which is not there"
    # The link that mends it.
    wrong.parent.mkdir()
    wrong.symlink_to(host.mdevctl)
    assert restorers.broken_rule("mdevctl") is None


def test_one_of_its_rules_is_broken(host: Host) -> None:
    host.install(host.mdevctl)
    gone = host.root / "gone" / "mdevctl"
    path = host.rule(host.starts() + host.starts(gone))
    assert restorers.broken_rule("mdevctl") == f"{path} runs {gone}, which is not there"


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("works", [True, False])
def test_the_first_file_of_the_name_counts(host: Host, first: int, works: bool) -> None:
    host.install(host.mdevctl)
    gone = host.root / "gone" / "mdevctl"
    host.rule(host.starts(None if works else gone), first)
    host.rule(host.starts(gone if works else None), first + 1)
    assert (restorers.broken_rule("mdevctl") is None) == works


@pytest.mark.parametrize("masked", [True, False])
def test_a_rule_that_starts_nothing(host: Host, masked: bool) -> None:
    host.install(host.mdevctl)
    host.rule(host.starts())
    path = host.rule("# Nothing here.\n", 0)
    if masked:
        path.unlink()
        path.symlink_to("/dev/null")
    assert restorers.broken_rule("mdevctl") == f"{path} starts nothing"


def test_a_rule_that_cannot_be_read(host: Host) -> None:
    path = host.folders[0] / "60-mdevctl.rules"
    path.mkdir(parents=True)
    assert restorers.broken_rule("mdevctl") == f"{path} cannot be read (Is a directory)"


def test_a_rule_that_is_no_text(host: Host) -> None:
    host.install(host.mdevctl)
    path = host.rule("")
    path.write_bytes(b"\xff\n" + host.starts().encode())
    assert restorers.broken_rule("mdevctl") is None


@pytest.mark.parametrize(("installed", "enabled"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_engine_runs_where_it_is_installed_and_enabled(host: Host, installed: bool, enabled: bool) -> None:
    if installed:
        Path(restorers.UNIT).write_text(
            f"[Service]\nType=oneshot\nExecStart={host.root}/sbin/nodedev-restore --wait 9\n"
        )
        host.install(host.root / "sbin" / "nodedev-restore")
    if enabled:
        Path(restorers.ENABLED).parent.mkdir()
        # Enabling links to the unit's place on the host, which need not be there from where one looks.
        Path(restorers.ENABLED).symlink_to("/nowhere/engine.service")
    lacking = "the boot engine is installed, and engine.service is not enabled" if installed else NOT_INSTALLED
    assert restorers.idle_engine() == (None if installed and enabled else lacking)
    assert (restorers.warning(None) == []) == (installed and enabled)


@pytest.mark.parametrize(
    ("line", "prefix"),
    [
        ("ExecStart=/usr/sbin/nodedev-restore", "/usr"),
        ("ExecStart=/var/lib/nodedev/sbin/nodedev-restore --wait 120", "/var/lib/nodedev"),
        ("# ExecStart=/usr/sbin/nodedev-restore", None),
        ("ExecStart=/usr/sbin/nodedev-restore-all", None),
        ("ExecStart=/opt/../sbin/nodedev-restore", None),
        ("ExecStart=/opt/a b/sbin/nodedev-restore", None),
        ("ExecStart=-/usr/sbin/nodedev-restore", None),
        ("ExecStart=/sbin/nodedev-restore", None),
        ("", None),
    ],
)
def test_the_prefix_is_what_the_unit_says(host: Host, line: str, prefix: str | None) -> None:
    Path(restorers.UNIT).write_bytes(b"# \xff\n[Service]\n" + line.encode() + b"\n")
    assert restorers.prefix() == prefix


def test_a_command_that_no_unit_runs_is_not_the_engine(host: Host) -> None:
    Path(restorers.UNIT).write_text(f"ExecStart={host.root}/sbin/nodedev-restore\n")
    assert restorers.idle_engine() == NOT_INSTALLED


def test_the_warning(host: Host) -> None:
    lacking = f"what is defined on {os.uname().nodename} will not be there after a boot: {NOT_INSTALLED}"
    role = ". Apply the role hostdev.nodedev.persistence to this host"
    rule = " and no udev rule 60-mdevctl.rules of mdevctl is installed"
    assert restorers.warning(None) == [lacking + role]
    assert restorers.warning("mdevctl") == [lacking + rule + role]
    host.install(host.mdevctl)
    host.rule(host.starts())
    assert restorers.warning("mdevctl") == []
    # What mdevctl does not know of is not served by its rule.
    assert restorers.warning(None) == [lacking + role]


def test_the_hook(host: Host) -> None:
    path = host.root / "hooks" / "50-nodedev"
    told = (
        f"what is managed on {os.uname().nodename} will not be made for guests: {path} is not there. Apply the role"
        " hostdev.nodedev.persistence to this host"
    )
    assert restorers.hook_warning() == [told]
    # libvirt runs nothing else.
    host.install(path, 0o644)
    assert restorers.hook_warning() == [told]
    host.install(path)
    assert restorers.hook_warning() == []
