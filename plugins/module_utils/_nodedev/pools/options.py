# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may say of a pool of whatever kind."""

from __future__ import annotations

from typing import Any

from .. import wishes
from . import members, record


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the count as a number or MAX; raises BadInput naming the one that cannot be honoured."""
    record.checked_name(options["name"])
    wishes.check(options, "the definitions are all that is kept")
    if options.get("count") is not None:
        options = {**options, "count": members.checked_count(options["count"])}
    return options
