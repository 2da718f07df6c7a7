# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's side of the library: arguments in, results and errors out. The only file that imports ansible."""

from __future__ import annotations

import gc
import importlib
import math
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .archive import import_each_once
from .errors import InUse, MissingLibrary, NodedevError, NoFit
from .text import as_json, cleaned, shown
from .waiting import within

# What every state module takes, besides what names its own kind of device.
STATE_OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "inactive", "absent"], "default": "present"},
    "persistent": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
    "wait_timeout": {"type": "float", "default": 30.0},
}

Answer = Callable[[dict[str, Any], bool], dict[str, Any]]

# A module ends soon. Nothing that it makes is garbage before that, its imports least of all, however long one looks.
gc.disable()
import_each_once()


def run(options: dict[str, Any], answer: Answer, libraries: Iterable[str] = (), **rules: Any) -> None:
    """Run a module: ``answer`` gets the arguments and whether this is check mode, and returns the result.

    ``libraries`` are those that it cannot do without, tried before anything is done; what is needed only where there
    is something to do is imported there, and its lack is told in the same words. ``rules`` are AnsibleModule's own,
    such as required_one_of. A NodedevError becomes the module's failure, with its text as the message.
    """
    module, result = _answered(options, answer, libraries, **rules)
    for warning in result.pop("warnings", ()):
        module.warn(_line(warning))
    if "plan" in result:
        result["plan"] = [_line(step) for step in result["plan"]]
    module.exit_json(**{"changed": False, **cleaned(result)})


def run_facts(options: dict[str, Any], answer: Answer) -> NoReturn:
    """Run a module that only looks and may have very much to tell; the rest is as in run().

    The result is printed as it is. exit_json() would copy every value twice, to look for secrets, of which such a
    module has none, and to tag it: with some thousand devices that takes longer than all else together.
    """
    _module, result = _answered(options, answer, ())
    if "warnings" in result:
        result["warnings"] = [_line(warning) for warning in result["warnings"]]
    sys.stdout.write(as_json({"changed": False, **result}))
    # Ansible takes a module that merely returns for one that failed.
    raise SystemExit(0)


def _answered(
    options: dict[str, Any], answer: Answer, libraries: Iterable[str], **rules: Any
) -> tuple[AnsibleModule, dict[str, Any]]:
    module = _module(options, **rules)
    try:
        for library in libraries:
            _import(library)
        with within(module.params.get("wait_timeout", math.inf)):
            result = answer(module.params, module.check_mode)
    except MissingLibrary as error:
        module.fail_json(msg=missing_required_lib(error.library), exception=error.details)
    except NodedevError as error:
        module.fail_json(msg=_line(error), **cleaned({**_holders(error), **_room(error)}))
    return module, result


def _holders(error: NodedevError) -> dict[str, Any]:
    """Who is in the way, as data, where that is what went wrong, be it in a step of a plan."""
    cause = error if isinstance(error, InUse) else error.__cause__
    return {"holders": cause.holders} if isinstance(cause, InUse) and cause.holders else {}


def _room(error: NodedevError) -> dict[str, Any]:
    """What there is room for, and what is in the way of what has none, as data."""
    return {"free": error.free, "leaving": error.leaving} if isinstance(error, NoFit) else {}


def _module(options: dict[str, Any], **rules: Any) -> AnsibleModule:
    """Ansible's part of the module; it stumbles over some values of wrong types itself, and that is told too."""
    try:
        return AnsibleModule(argument_spec=options, supports_check_mode=True, **rules)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        message = f"the options cannot be understood, one has a value of a wrong type: {_line(error)}"
        sys.stdout.write(as_json({"failed": True, "msg": message}))
        raise SystemExit(1) from error


def _line(text: object) -> str:
    """Something that is told, on one line: whatever text of others is in it shows as it is and does nothing."""
    return shown(text, longest=None)


def _import(library: str) -> None:
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise MissingLibrary(library, traceback.format_exc()) from error
