# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works from a clone in any folder, and installed from what is built of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clones import clone

# This machine itself is the managed host, with the Python that has python3-pyudev.
PYTHON = ("-e", "ansible_python_interpreter=/usr/bin/python3")
AD_HOC = ("adhoc", "localhost", *PYTHON, "-m", "hostdev.nodedev.mdev_types_facts")


def ansible(folder: Path, *arguments: str, **environment: str) -> str:
    """Run a command of Ansible in a folder, with none of this checkout's settings; it must succeed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", *arguments],
        cwd=folder,
        env={**own, **environment},
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


def test_a_playbook_of_a_clone_from_anywhere(checkout: Path, tmp_path: Path) -> None:
    playbook = str(checkout / "playbooks" / "provision_gpu_host.yml")
    done = ansible(
        tmp_path,
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        *PYTHON,
        "-e",
        '{"target": "all", "vgpus": []}',
        playbook,
    )
    assert "failed=0" in done
    assert "unreachable=0" in done


def test_built_and_installed(checkout: Path, tmp_path: Path) -> None:
    ansible(checkout, "galaxy", "collection", "build", "--output-path", str(tmp_path))
    (archive,) = tmp_path.glob("hostdev-nodedev-*.tar.gz")
    ansible(tmp_path, "galaxy", "collection", "install", "--offline", "--collections-path", "here", str(archive))
    found = ansible(tmp_path, *AD_HOC, ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "here"))
    assert '"mdev_types": {' in found
    installed = tmp_path / "here" / "ansible_collections" / "hostdev" / "nodedev"
    assert not [path for path in installed.iterdir() if path.name in (".build", ".venv", ".git")]
    assert not (installed / "playbooks" / "collections").exists()
