# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works from a clone in any folder, and installed from what is built of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from clones import clone
from conftest import Host
from plays import connection

# This machine itself is the managed host, with the Python that has python3-pyudev.
PYTHON = ("-e", "ansible_python_interpreter=/usr/bin/python3")
AD_HOC = ("adhoc", "localhost", *PYTHON, "-m", "hostdev.nodedev.mdev_types_facts")

# The top of what is built, and its playbooks; all else is for those who work on the collection.
BUILT = {"CHANGELOG.rst", "CONTRIBUTING.md", "FILES.json", "LICENSES", "MANIFEST.json", "README.md", "REUSE.toml"}
BUILT |= {"docs", "meta", "playbooks", "plugins", "roles"}
PLAYBOOKS = {
    *(
        f"playbooks/{name}.yml"
        for name in ("adopt", "provision_gpu_host", "provision_s390_hosts", "provision_vgpu_pools", "report")
    ),
    "playbooks/templates",
    "playbooks/templates/adopted.yml.j2",
    "playbooks/templates/report.html.j2",
    "playbooks/templates/report.text.j2",
}


def ansible(folder: Path, *arguments: str, **environment: str) -> str:
    """Run a command of Ansible in a folder, with none of this checkout's settings; it must succeed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return run([sys.executable, "-m", "ansible", *arguments], folder, {**own, **environment})


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a command prints that must succeed, with this environment alone."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in a folder whose name has nothing to do with the collection's."""
    folder = tmp_path_factory.mktemp("any") / "folder at all"
    clone(folder)
    return folder


def test_straight_from_a_clone(checkout: Path) -> None:
    assert '"mdev_types": {' in ansible(checkout, *AD_HOC)


def test_a_playbook_of_a_clone_from_anywhere(checkout: Path, host: Host, tmp_path: Path) -> None:
    playbook = str(checkout / "playbooks" / "provision_gpu_host.yml")
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(json.dumps({"gpu_hosts": {"hosts": {"gpuhost": connection(host, tmp_path / "python")}}}))
    done = ansible(tmp_path, "playbook", "-i", str(inventory), "-e", '{"vgpus": []}', playbook)
    assert "failed=0" in done
    assert "unreachable=0" in done


@pytest.fixture(scope="module")
def archive(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built of it."""
    folder = tmp_path_factory.mktemp("built")
    ansible(checkout, "galaxy", "collection", "build", "--output-path", str(folder))
    (archive,) = folder.glob("hostdev-nodedev-*.tar.gz")
    return archive


def test_built_and_installed(archive: Path, tmp_path: Path) -> None:
    ansible(tmp_path, "galaxy", "collection", "install", "--offline", "--collections-path", "here", str(archive))
    found = ansible(tmp_path, *AD_HOC, ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "here"))
    assert '"mdev_types": {' in found


def test_nothing_is_built_that_a_user_does_not_need(archive: Path) -> None:
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert {name.split("/")[0] for name in names} == BUILT
    assert {name for name in names if name.startswith("playbooks/")} == PLAYBOOKS


def test_the_readme_installs_it(checkout: Path, tmp_path: Path) -> None:
    """By the commands as they are printed, for a user who has nothing yet; Ansible then finds it from anywhere."""
    section = (checkout / "README.md").read_text().partition("\n## Installing\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^    (\S.*)$", section, re.MULTILINE)
    assert commands
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    # Twice, as when a clone was updated.
    for command in [*commands, *commands]:
        shell(command, checkout, home)
    assert str(home / ".ansible" / "collections") in shell("ansible-doc hostdev.nodedev.mdev", elsewhere, home)


def shell(command: str, folder: Path, home: Path) -> str:
    """Run a command line as a user whose home this is, without a network; it must succeed."""
    programs = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": programs, "LC_ALL": "C.UTF-8", "PAGER": "cat"}
    return run(["unshare", "--net", "sh", "-c", command], folder, environment)
