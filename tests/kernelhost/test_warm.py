# SPDX-License-Identifier: GPL-3.0-or-later
"""The warm interpreter, by which the playbooks of the other files run, does what the guest's own Python does."""

from __future__ import annotations

from typing import Any

import pytest

from .machine import PYTHON, Machine
from .playbooks import Playbooks
from .warm import INTERPRETER, LIBRARY, RESTART

SEEN = """
import json, os, sys
os.environ.pop("_")
print(json.dumps([sys.argv, sys.path, dict(os.environ), os.getcwd(), os.umask(0), __name__, sys.executable]))
print(globals().get("__file__"), sorted(os.listdir("/proc/self/fd")), os.getsid(0) == os.getpgid(0))
print(sys.stdin.read(), flush=True)
"""
SCRIPTS = {
    "what it sees": SEEN,
    "an exit code": "raise SystemExit(3)",
    "a message at the end": "import sys; sys.exit('no')",
    "an exception": "print(1, flush=True)\n1/0",
    "a signal": "import os; os.kill(os.getpid(), 9)",
    "what runs at the end": "import atexit; atexit.register(print, 'end')",
    "no Python": "1 +",
}
TEST = {"uuid": "5a0b5e7c-3f0e-4a56-9d1c-0d6f2f6e7a04", "type": "mtty-1", "parent": "mtty"}
# One of each sort, with whatever it can do on a host that has no fabric: of a kind, of a pool, with facts, one that
# parses XML, and one that asks what has been imported.
MODULES: dict[str, dict[str, Any]] = {
    "boot_engine": {},
    "mdev": TEST,
    "mdev_pool": {"name": "warm", "type": "mtty-2", "count": 3},
    "mdev_types_facts": {},
    "nodedev": {
        "xml": "<device><parent>mtty_mtty</parent><capability type='mdev'><type id='mtty-1'/></capability></device>"
    },
}


def run_by(machine: Machine, python: str, script: str, arguments: str = "") -> tuple[str, list[str]]:
    """What a script says, its exit code as a shell sees it, and the last of its errors: tracebacks differ."""
    done = machine.run(f"cd /usr && umask 27 && A='b c' {python} {arguments}; echo $?", stdin=script)
    return done.stdout, [line for line in done.stderr.splitlines() if not line.startswith("bash: ")][-1:]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_on_standard_input(machine: Machine, playbooks: Playbooks, script: str) -> None:
    assert run_by(machine, INTERPRETER, script) == run_by(machine, PYTHON, script)


@pytest.mark.parametrize("arguments", ["/run/script.py", "/run/script.py 'a b' -c", "-c 'print(1)'"])
def test_arguments(machine: Machine, playbooks: Playbooks, arguments: str) -> None:
    machine.write("/run/script.py", SEEN)
    assert run_by(machine, INTERPRETER, "input", arguments) == run_by(machine, PYTHON, "input", arguments)


def test_modules_by_both(playbooks: Playbooks) -> None:
    """A user's Ansible runs modules here; what they say is what the other tests, which are warm, would be told."""
    tasks: list[dict[str, Any]] = []
    for module, options in MODULES.items():
        for name, python in (("own", PYTHON), ("warm", INTERPRETER)):
            task = {f"hostdev.nodedev.{module}": options, "check_mode": True, "register": name}
            tasks.append({**task, "vars": {"ansible_python_interpreter": python}})
        tasks.append({"assert": {"that": "own == warm"}})
    assert "failed=0" in playbooks.tasks(tasks)


def test_a_change_by_the_guest_s_own(playbooks: Playbooks) -> None:
    """What a user's Ansible makes here, a warm module finds as it is wished, and tells the same of it."""
    pool, own = MODULES["mdev_pool"], {"ansible_python_interpreter": PYTHON}
    playbooks.tasks(
        [
            {"hostdev.nodedev.mdev_pool": pool, "vars": own, "register": "made"},
            {"hostdev.nodedev.mdev_pool": pool, "register": "found"},
            {"hostdev.nodedev.mdev_pool": {**pool, "state": "absent"}, "register": "gone"},
            {"assert": {"that": ["made is changed", "found is not changed", "gone is changed"]}},
            {"assert": {"that": ["made.instances == found.instances", "made.diff.after == found.diff.after"]}},
        ]
    )


def test_a_library_that_differs_is_not_used(machine: Machine, playbooks: Playbooks) -> None:
    """What runs is what Ansible has sent, whatever of our library the interpreter has imported."""
    file = f"/{LIBRARY}/ansible_collections/hostdev/nodedev/plugins/module_utils/_nodedev/plan.py"
    stale = "describe = lambda *_: ['stale']"
    asked = "from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import plan; print(plan.describe())"
    machine.run(f"cp -p {file} /run/intact && cat >> {file} && {RESTART}", stdin=f"{stale}\n")
    try:
        assert machine.run(INTERPRETER, stdin=asked).stdout == "['stale']\n"
        call = {"hostdev.nodedev.mdev": TEST, "check_mode": True, "register": "told"}
        playbooks.tasks([call, {"assert": {"that": "told.plan[0] is search('create mdev')"}}])
    finally:
        machine.run(f"mv /run/intact {file} && {RESTART}")
