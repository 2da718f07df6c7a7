# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report tells of one host, from what the modules that gather facts returned there."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.plugin_utils import _host_report
from ansible_collections.hostdev.nodedev.plugins.plugin_utils._fleet_report import as_json


def host_report(answers: object, name: str) -> str:
    """The host's part of the report, as JSON; ``answers`` are results of modules by the keys of ANSWERS.

    Raises AnsibleFilterError for what are no such results.
    """
    if not isinstance(answers, dict) or not set(answers) <= set(_host_report.ANSWERS):
        raise AnsibleFilterError(
            f"host_report: this is not a dictionary of results under {', '.join(_host_report.ANSWERS)}"
        )
    return as_json(_host_report.host_report(name, answers))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"host_report": host_report}
