# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a label of vgpu-device-manager's or mig-parted's configuration says, as variables of the role gpu_host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown
from ansible_collections.hostdev.nodedev.plugins.plugin_utils import _card_config


def card_config(value: object, label: object = None, devices: object = None) -> dict[str, list[dict[str, Any]]]:
    """``nodedev_vgpu_pools`` or ``nodedev_mig`` for a configuration or its text; AnsibleFilterError saying what is
    wrong with it.
    """
    try:
        return _card_config.read(value, label, devices)
    except _card_config.Unreadable as error:
        raise AnsibleFilterError(f"card_config: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"card_config: devices is not as nodedev_facts has it ({quoted(error)})") from None


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"card_config": card_config}
