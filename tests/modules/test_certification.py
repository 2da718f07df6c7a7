# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server of collections checks, by its own program, and what an execution environment gets."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from programs import printed

PROGRAMS = ROOT / ".venv-importer" / "bin"
# Linted by the lane lint already, by more rules and without those that the importer leaves out.
SETTINGS = {
    "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
    "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
}
EXPECTED = {
    "module": {file.stem for file in (ROOT / "plugins" / "modules").glob("*.py")},
    "filter": {file.stem for file in (ROOT / "plugins" / "filter").glob("*.py")},
    "role": {folder.name for folder in (ROOT / "roles").iterdir()},
}
# What a module with a state and one that makes documents import of the two libraries.
IMPORTS = """
from lxml import etree
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import udev_events
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import xml
udev_events.needed_pyudev().Context()
assert xml.etree is etree, xml.etree
"""


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """All that a program prints, with none of this checkout's settings; it must succeed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    path = f"{PROGRAMS}:{own['PATH']}"
    return printed(command, folder, {**own, "PATH": path, "HOME": str(folder), **environment})


@pytest.fixture(scope="module")
def imported(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Mapping[str, Any]]:
    """What galaxy-importer prints of the collection as it is built, and what it makes of it."""
    folder = tmp_path_factory.mktemp("imported")
    printed = run(folder, PROGRAMS / "python", "-m", "galaxy_importer.main", archive, **SETTINGS)
    return printed, json.loads((folder / "importer_result.json").read_text())


def test_the_importer_finds_nothing_wrong(imported: tuple[str, Mapping[str, Any]]) -> None:
    printed, _result = imported
    assert printed.splitlines()[-1] == "Importer processing completed successfully"
    assert [line for line in printed.splitlines() if line.startswith(("WARNING", "ERROR"))] == []


def test_the_importer_finds_all_that_there_is(imported: tuple[str, Mapping[str, Any]]) -> None:
    _printed, result = imported
    contents = result["docs_blob"]["contents"]
    # A filter is found by its code and by its documentation.
    found = {kind: {each["content_name"] for each in contents if each["content_type"] == kind} for kind in EXPECTED}
    assert found == EXPECTED
    assert result["requires_ansible"] == yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]


def test_what_an_execution_environment_gets(archive: Path, tmp_path: Path) -> None:
    """As ansible-builder takes it from the collection: in an empty virtual environment its packages suffice."""
    collection = tmp_path / "here" / "ansible_collections" / "hostdev" / "nodedev"
    collection.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        packed.extractall(collection, filter="data")
    python, system = tmp_path / "requirements.txt", tmp_path / "bindep.txt"
    written = ("--write-pip", python, "--write-bindep", system)
    run(tmp_path, PROGRAMS / "ansible-builder", "introspect", *written, tmp_path / "here")
    assert [line.split()[0] for line in python.read_text().splitlines() if line.strip()] == ["lxml", "pyudev"]
    # This machine is one that has them.
    assert run(tmp_path, PROGRAMS / "bindep", "--file", system, "--list_all", "newline").split() == ["libudev1"]
    assert run(tmp_path, PROGRAMS / "bindep", "--file", system, "--brief") == ""

    clean = tmp_path / "clean"
    run(tmp_path, PROGRAMS / "python", "-m", "venv", "--without-pip", clean)
    pip = (PROGRAMS / "pip", "--python", clean / "bin" / "python", "--disable-pip-version-check")
    run(tmp_path, *pip, "install", "--quiet", "--requirement", python)
    run(tmp_path, clean / "bin" / "python", "-c", IMPORTS, PYTHONPATH=str(tmp_path / "here"))


def test_what_a_managed_host_gets() -> None:
    """The profile of bindep.txt for managed hosts names what this machine's own Python has for the simulated ones."""
    command = ("--file", ROOT / "bindep.txt", "--list_all", "newline", "managed-host")
    assert run(ROOT, PROGRAMS / "bindep", *command).split() == ["libudev1", "python3-lxml", "python3-pyudev"]
    assert run(ROOT, PROGRAMS / "bindep", "--file", ROOT / "bindep.txt", "--brief", "managed-host") == ""
