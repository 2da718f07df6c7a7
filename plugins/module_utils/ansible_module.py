# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's side of the library: arguments in, results and errors out. The only file that imports ansible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from . import udev
from .errors import NodedevError

# What every state module takes, besides what names its own kind of device.
STATE_OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "inactive", "absent"], "default": "present"},
    "persistent": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
    "wait_timeout": {"type": "float", "default": 30.0},
}


def run(options: dict[str, Any], answer: Callable[[dict[str, Any], bool], dict[str, Any]]) -> None:
    """Run a module: ``answer`` gets the arguments and whether this is check mode, and returns the result.

    A NodedevError becomes the module's failure, with its text as the message.
    """
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    if not udev.HAS_PYUDEV:
        module.fail_json(msg=missing_required_lib("pyudev"), exception=udev.PYUDEV_IMPORT_ERROR)
    try:
        result = answer(module.params, module.check_mode)
    except NodedevError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**{"changed": False, **result})
