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


def left_open(wish: object, was: object, *besides: str) -> dict[str, Any]:
    """What a wish leaves open, as it was; but for what stands ``besides``.

    Raises BadInput where it is for names of another identity.
    """
    own, former = vars(wish), vars(was)
    record.refuse_other_identity(own["name"], own["identity"], former["identity"])
    return {option: former[option] for option, value in own.items() if value is None and option not in besides}
