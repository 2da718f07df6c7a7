# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules' documentation says is true: its examples run, and what it lists is what is returned."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, UUID, Host
from simhost.api import python_wrapper

MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))


def documentation(module: Path, name: str) -> Any:
    """A documentation variable of a module, read without running it."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no {name}")


@pytest.mark.parametrize("module", MODULES, ids=[module.stem for module in MODULES])
def test_examples_run(host: Host, module: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(python_wrapper(host.folder, host.python))
    python.chmod(0o755)
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"gpuhost": variables}}}))
    tasks = documentation(module, "EXAMPLES")
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            str(tmp_path / "inventory.yml"),
            str(tmp_path / "play.yml"),
        ],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok={len(tasks)}" in done.stdout


def shape(contains: dict[str, Any]) -> set[str]:
    """The keys that a RETURN section lists, each of which has a sample."""
    assert [key for key, said in contains.items() if "sample" not in said and "contains" not in said] == []
    return set(contains)


def test_the_mdev_module_returns_what_it_documents(host: Host) -> None:
    known = documentation(ROOT / "plugins" / "modules" / "mdev.py", "RETURN")
    made = host.mdev(uuid=UUID)
    assert set(made) - {"changed", "invocation"} == shape(known)
    assert set(made["mdev"]) == shape(known["mdev"]["contains"])


def test_the_mdev_types_facts_module_returns_what_it_documents(host: Host) -> None:
    known = documentation(ROOT / "plugins" / "modules" / "mdev_types_facts.py", "RETURN")
    sample = known["ansible_facts"]["contains"]["mdev_types"]["sample"]["pci_0000_3d_00_0"]
    facts = host.module("mdev_types_facts")["ansible_facts"]["mdev_types"]["pci_0000_3d_00_0"]
    assert set(facts) == set(sample)
    assert set(facts["types"]["nvidia-232"]) == set(sample["types"]["nvidia-232"])
