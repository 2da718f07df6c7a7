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
BUILT = {"CHANGELOG.rst", "CODE_OF_CONDUCT.md", "FILES.json", "LICENSE", "MAINTAINERS", "MANIFEST.json", "README.md"}
BUILT |= {"SECURITY.md", "bindep.txt", "requirements.txt"}
BUILT |= {"docs", "extensions", "meta", "playbooks", "plugins", "roles"}
# Of the pages, what antsibull-docs takes from an installed collection.
DOCS = {"docs/docsite"}
# Bytes of what is built.
LARGEST = 505_000
PLAYBOOKS = {
    *(f"playbooks/{name}.yml" for name in ("adopt", "assert", "drain", "export", "provision", "report")),
    *(f"playbooks/provision_{name}.yml" for name in ("fc_hosts", "gpu_host", "s390_hosts", "vgpu_pools")),
    "playbooks/tasks",
    *(f"playbooks/tasks/{name}.yml" for name in ("idle", "present", "written")),
    "playbooks/templates",
    "playbooks/templates/adopted.yml.j2",
    "playbooks/templates/exported.yml.j2",
    "playbooks/templates/report.html.j2",
    "playbooks/templates/report.text.j2",
}
# For ansible-rulebook alone: molecule's scenarios are of the repository.
EXTENSIONS = {"extensions/eda"}
REQUIREMENTS = re.compile(r"^```yaml\n(collections:\n.*?)```$", re.DOTALL | re.MULTILINE)
# The headings of a certified collection, in their order.
HEADINGS = [
    *("Description", "Requirements", "Installation", "Use Cases", "Testing", "Contributing", "Support"),
    *("Release Notes and Roadmap", "Related Information", "License Information"),
]


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
    assert {"/".join(name.split("/")[:2]) for name in names if name.startswith("extensions/")} == EXTENSIONS
    assert {"/".join(name.split("/")[:2]) for name in names if name.startswith("docs/")} == DOCS
    assert archive.stat().st_size < LARGEST


def test_the_readme_has_the_headings_of_a_certified_collection(checkout: Path) -> None:
    assert re.findall(r"^## (.*)$", (checkout / "README.md").read_text(), re.MULTILINE) == HEADINGS


def test_the_licence_at_the_root_is_that_of_reuse(checkout: Path) -> None:
    assert (checkout / "LICENSE").read_text() == (checkout / "LICENSES" / "GPL-3.0-or-later.txt").read_text()


def test_the_readme_installs_it(checkout: Path, tmp_path: Path) -> None:
    """By the commands as they are printed, for a user who has nothing yet; Ansible then finds it from anywhere."""
    section = (checkout / "README.md").read_text().partition("\n## Installation\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^    (ansible-galaxy .*)$", section, re.MULTILINE)
    assert commands
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    # Twice, as when a clone was updated.
    for command in [*commands, *commands]:
        shell(command, checkout, home)
    assert str(home / ".ansible" / "collections") in shell("ansible-doc hostdev.nodedev.mdev", elsewhere, home)


def test_the_readme_installs_what_is_built(checkout: Path, archive: Path, tmp_path: Path) -> None:
    """By the requirements as they are printed, beside the file that they name."""
    (required,) = REQUIREMENTS.findall((checkout / "README.md").read_text())
    (tmp_path / "requirements.yml").write_text(required)
    (tmp_path / archive.name).symlink_to(archive)
    shell("ansible-galaxy collection install --offline -p here -r requirements.yml", tmp_path, tmp_path)
    assert (tmp_path / "here/ansible_collections/hostdev/nodedev/MANIFEST.json").exists()


def shell(command: str, folder: Path, home: Path) -> str:
    """Run a command line as a user whose home this is, without a network; it must succeed."""
    programs = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": programs, "LC_ALL": "C.UTF-8", "PAGER": "cat"}
    return run(["unshare", "--net", "sh", "-c", command], folder, environment)
