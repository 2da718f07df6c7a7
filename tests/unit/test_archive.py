# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module imports from the archive that Ansible sends is compiled once."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from house import LIBRARY, MODULES, PLUGINS

PACKAGE = "ansible_collections/hostdev/nodedev/plugins"
# Prints how often each file of the archive was compiled, and the path of each module that was imported from there.
COUNT = """
import collections, json, sys
archive, module = sys.argv[1:]
compiled = collections.Counter()
sys.addaudithook(lambda event, told: compiled.update([told[1]]) if event == "compile" else None)
sys.path.insert(0, archive)
__import__(module)
known = 0
# To ask a module of a kind for its file has it run, and import others.
while known != len(sys.modules):
    known = len(sys.modules)
    every = [getattr(each, "__file__", None) or "" for each in list(sys.modules.values())]
files = [name for name in every if name.startswith(archive)]
print(json.dumps([{str(name): count for name, count in compiled.items() if str(name).startswith(archive)}, files]))
"""
# Prints what of the kinds was run for the import of a module, which asks nothing of them.
RUN = """
import sys
archive, module = sys.argv[1:]
run = []
sys.addaudithook(lambda event, told: run.append(told[0]) if event == "exec" else None)
sys.path.insert(0, archive)
__import__(module)
print(*(code.co_filename for code in run if "/_nodedev/kinds/" in code.co_filename), sep="\\n")
"""
# Of Ansible only what the library imports: it is not installed beside the oldest Python.
BASIC = "ansible/module_utils/basic.py"
# What is imported before the library can see to it.
FIRST = {"ansible_module", "archive", "errors", "text", "waiting"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules and the library as Ansible sends them, each folder with a file that makes it a package."""
    path = tmp_path_factory.mktemp("sent") / "modules.zip"
    files = [*MODULES.glob("*.py"), *LIBRARY.rglob("*.py")]
    names = {file: f"{PACKAGE}/{file.relative_to(PLUGINS)}" for file in files}
    folders = {str(folder) for name in [*names.values(), BASIC] for folder in Path(name).parents if folder.name}
    with zipfile.ZipFile(path, "w") as written:
        written.writestr(BASIC, "AnsibleModule = missing_required_lib = None\n")
        for file, name in names.items():
            written.write(file, name)
        for folder in sorted(folders):
            written.writestr(f"{folder}/__init__.py", "")
    return path


@pytest.mark.parametrize("module", sorted(file.stem for file in MODULES.glob("*.py")))
def test_compiled_once(archive: Path, module: str) -> None:
    command = [sys.executable, "-c", COUNT, str(archive), f"{PACKAGE.replace('/', '.')}.modules.{module}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=archive.parent)
    compiled, files = json.loads(told.stdout)
    library = f"{archive}/{PACKAGE}/{LIBRARY.relative_to(PLUGINS)}/"
    imported = {name[len(library) : -len(".py")] for name in files if name.startswith(library)}
    # A package's own file has nothing in it.
    own = {name for name in imported - FIRST if not name.endswith("__init__")}
    assert len(own) > 3
    assert {name: compiled.get(f"{library}{name}.py") for name in own} == dict.fromkeys(own, 1)


# Python 3.9 has no importer of archives that can wait.
if sys.version_info >= (3, 10):

    @pytest.mark.parametrize("module", ["definition_facts", "nodedev"])
    def test_no_file_of_a_kind_is_run_before_it_is_asked(archive: Path, module: str) -> None:
        command = [sys.executable, "-c", RUN, str(archive), f"{PACKAGE.replace('/', '.')}.modules.{module}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=archive.parent).stdout
        run = [path for path in told.split() if not path.endswith("__init__.py")]
        assert [path.partition("/kinds/")[2] for path in run] == ["registry.py"]
