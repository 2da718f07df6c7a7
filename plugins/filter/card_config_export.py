# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What variables of the role gpu_host say of cards, as vgpu-device-manager's or mig-parted's configuration."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.elements import (
    LONGEST,
    MISSHAPEN,
    quoted,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.text import shown
from ansible_collections.hostdev.nodedev.plugins.plugin_utils import _card_config


def card_config_export(value: object, label: object = "hostdev", devices: object = None) -> str:
    """The configuration's text for ``nodedev_vgpu_pools`` or ``nodedev_mig``; AnsibleFilterError saying what it cannot
    say.
    """
    try:
        return _card_config.written(value, label, devices)
    except _card_config.Unreadable as error:
        raise AnsibleFilterError(f"card_config_export: {shown(error, LONGEST)}") from None
    except MISSHAPEN as error:
        raise AnsibleFilterError(f"card_config_export: a value has another shape: {quoted(error)}") from None


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"card_config_export": card_config_export}
