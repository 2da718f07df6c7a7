# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook in forks of one process that has imported it: its start takes longer than most plays.

All runs share the folder in which Ansible keeps what it packs, so that each module is packed once. The collection has
to stay as it is meanwhile, and Ansible's settings are those of tests/ansible.cfg.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any
from unittest import mock

CONFIGURATION = str(Path(__file__).with_name("ansible.cfg"))
IMPORTED = [
    "ansible.cli.playbook",
    "ansible.executor.powershell.module_manifest",
    "ansible.executor.task_executor",
    "ansible.plugins.callback.default",
    "ansible.plugins.connection.ssh",
    "ansible.plugins.strategy.linear",
]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(IMPORTED)


def printed(folder: Path, *arguments: str) -> str:
    """What ansible-playbook prints with these arguments in a folder, warnings too; it must succeed."""
    status, said = ended(folder, {}, *arguments)
    assert status == 0, f"ansible-playbook {shlex.join(arguments)}\n{said}"
    return said


def ended(folder: Path, environment: Mapping[str, str], *arguments: str) -> tuple[int | None, str]:
    """The same, whether it succeeds or not, with its status; ``environment`` is added to this process's own."""
    with tempfile.TemporaryFile() as output:
        # The first run starts the process that has imported Ansible, which reads its settings then.
        with mock.patch.dict(os.environ, ANSIBLE_CONFIG=CONFIGURATION):
            own = {**os.environ, **environment}
            run = _FORKS.Process(target=_become, args=(own, folder, DupFd(output.fileno()), arguments))
            run.start()
        run.join()
        output.seek(0)
        return run.exitcode, output.read().decode(errors="replace")


def _become(environment: dict[str, str], folder: Path, output: Any, arguments: Sequence[str]) -> None:
    """Be ansible-playbook in this folder, with what it prints in this file."""
    from ansible.cli.playbook import main

    # What was imported stays: to look for garbage in it would have this process, and each of a task, copy it.
    gc.freeze()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    stream = output.detach()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.argv = ["ansible-playbook", *arguments]
    main()
