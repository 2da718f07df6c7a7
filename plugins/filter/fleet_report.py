# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of many hosts, from the parts of the filter host_report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.plugin_utils import _fleet_report, _host_report

FORMS: dict[str, Callable[[list[dict[str, Any]], str], Any]] = {
    "json": lambda hosts, gathered: _fleet_report.as_json(_fleet_report.fleet(hosts, gathered), 2),
    "markdown": _fleet_report.markdown,
    "page": _fleet_report.page,
}


def fleet_report(parts: Iterable[Any], form: str, gathered: str = "") -> Any:
    """The report in one of FORMS; ``gathered`` says when. Raises AnsibleFilterError for what are no parts of one."""
    if form not in FORMS:
        raise AnsibleFilterError(f"fleet_report: form is {form!r}, not one of {', '.join(FORMS)}")
    try:
        # Ansible 2.16 takes text that begins as a dictionary for one.
        hosts = [json.loads(each) if isinstance(each, str) else each for each in parts]
        return FORMS[form](hosts, str(gathered))
    except _host_report.MISSHAPEN as error:
        raise AnsibleFilterError(f"fleet_report: this is not a list of what host_report gives: {error!r}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_report": fleet_report}
