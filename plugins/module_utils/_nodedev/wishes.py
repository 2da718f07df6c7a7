# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked alike in every wish, whatever kind of device it is for, one or a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import BadInput

# A day: what takes longer than that does not come, and infinity would wait for it for ever.
LONGEST_WAIT = 86400
# Long enough for any name of an inventory.
LONGEST_IDENTITY = 255


def check(options: Mapping[str, Any], kept: str = "the definition is all that is kept") -> None:
    """Raise BadInput for those of the options common to all wishes that cannot be honoured.

    ``kept`` says what is left of the device or of the pool where it is inactive.
    """
    if options.get("wait_timeout") is not None:
        checked_seconds("wait_timeout", options["wait_timeout"])
    if options.get("state") == "inactive" and not options.get("persistent", True):
        raise BadInput("persistent", False, f"with state 'inactive' {kept}")
    if options.get("identity") is not None:
        checked_identity(options["identity"])


def check_managed(options: Mapping[str, Any]) -> None:
    """Raise BadInput where a device, or a pool, is to come and go with guests and what else is said forbids that."""
    if not options.get("managed"):
        return
    if not options.get("persistent", True):
        raise BadInput("persistent", False, "a managed device is made from its definition")
    if options.get("autostart"):
        raise BadInput("autostart", True, "a managed device starts with its guest")


def checked_seconds(option: str, value: object) -> float:
    """How many seconds to wait, finite and no longer than a day; else BadInput."""
    # NaN is neither less nor more than anything.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_WAIT:
        raise BadInput(option, value, f"a number of seconds, 0 or more and at most {LONGEST_WAIT}")
    return value


def checked_identity(value: object) -> str:
    """What stands in for a host's machine-id in names that follow from it; else BadInput.

    It has no blanks, so that it and a name after it cannot be taken for another pair of the two.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_IDENTITY or not value.isprintable() or " " in value:
        raise BadInput("identity", value, f"it is text of 1 to {LONGEST_IDENTITY} characters without blanks")
    return value


def checked_text(option: str, value: str) -> str:
    """A text from which names follow; BadInput where it has none, or half of a UTF-16 pair, which is no character."""
    if not value:
        raise BadInput(option, value, f"a {option} has at least one character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(option, value, "it is not UTF-8 text") from error
    return value
