# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host that would ask the machine's kernel: what they do on the simulated one."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simhost.host import Host


@dataclass
class Outcome:
    """What a program prints and its exit status."""

    status: int = 0
    out: str = ""
    err: str = ""


def modules_folder() -> str:
    """Where the modules of the running kernel are."""
    return f"/lib/modules/{os.uname().release}"


def modprobe(host: Host, arguments: list[str]) -> Outcome:
    """modprobe of kmod: loads or unloads modules of the scenario's drivers, by name or by modules.alias."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    options = {argument for argument in arguments if argument.startswith("-")}
    for short in [option for option in options if not option.startswith("--")]:
        options |= {f"-{letter}" for letter in short[1:]}
    quiet = bool(options & {"-q", "--quiet"})
    remove = bool(options & {"-r", "--remove"})
    every = remove or bool(options & {"-a", "--all", "-R", "--resolve-alias"})
    if not names:
        return Outcome(1, err="modprobe: ERROR: missing parameters. See -h.\n")
    result = Outcome()
    # Without -a, what comes after the first name are parameters of the module.
    for name in names if every else names[:1]:
        modules = _modules(host, name)
        if not modules:
            result.status = 1
            if not quiet:
                result.err += f"modprobe: FATAL: Module {name} not found in directory {modules_folder()}\n"
        elif options & {"-R", "--resolve-alias"}:
            result.out += "".join(f"{module}\n" for module in modules)
        elif not options & {"-n", "--dry-run", "--show", "-D", "--show-depends"}:
            for module in modules:
                result = _change(host, module, remove, result)
    return result


def _change(host: Host, module: str, remove: bool, before: Outcome) -> Outcome:
    """Load or unload a module, unless a fault has it fail."""
    effect = host.faults.hit("write", f"/sys/module/{module}")
    time.sleep(effect.delay)
    if effect.errno is not None:
        verb = "remove" if remove else "insert"
        text = f"modprobe: ERROR: could not {verb} '{module}': {os.strerror(effect.errno)}\n"
        return Outcome(1, before.out, before.err + text)
    (host.binding.files.unload if remove else host.binding.files.load)(module)
    return before


def _modules(host: Host, name: str) -> list[str]:
    """The modules of this name, or those that modules.alias has for it; the name may have - for _."""
    module = name.replace("-", "_")
    if module in host.scenario.modules or host.binding.files.of_module(module):
        return [module]
    lines = host.scenario.module_files.get("modules.alias", "").splitlines()
    aliases = (line.split() for line in lines if line.startswith("alias "))
    return [words[2] for words in aliases if len(words) == 3 and fnmatch.fnmatchcase(name, words[1])]


PROGRAMS: dict[str, Callable[[Host, list[str]], Outcome]] = {
    "modprobe": modprobe,
    "ip": lambda host, arguments: host.network.ip(arguments),
}
