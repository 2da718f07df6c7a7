# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may say of a pool of whatever kind."""

from __future__ import annotations

from typing import Any

from ..errors import BadInput
from . import members, record


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the count as a number or MAX; raises BadInput naming the one that cannot be honoured."""
    record.checked_name(options["name"])
    if options.get("count") is not None:
        options = {**options, "count": members.checked_count(options["count"])}
    if options.get("wait_timeout", 0) < 0:
        raise BadInput("wait_timeout", options["wait_timeout"], "a number of seconds, 0 or more")
    if options.get("state") == "inactive" and not options.get("persistent", True):
        raise BadInput("persistent", False, "with state 'inactive' the definitions are all that is kept")
    return options
