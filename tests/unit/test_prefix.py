# SPDX-License-Identifier: GPL-3.0-or-later
"""Which prefix the boot engine has: what can be asked for, and what is chosen of what a host has."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import prefix as prefixes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.prefix import PREFIXES, Place
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError

GRAMMAR = "the path of a folder is required, with letters, digits and the signs / _ . + - only"
UNSEEN = "what is below {} is not there at boot, or hidden from the units"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        *((value, GRAMMAR) for value in ("", "/", "opt", "/opt/../usr", "/opt/.", "//opt", "/opt/a b", "/opt/-x")),
        *((value, GRAMMAR) for value in ("/opt/%n", "/opt/x\n", "/opt/$x", "/opt/\u00e9", '/opt/"x', "/opt\0")),
        ("/run/x", UNSEEN.format("/run")),
        ("/var/run/x", UNSEEN.format("/run")),
        ("/tmp", UNSEEN.format("/tmp")),
        ("/home/x/y", UNSEEN.format("/home")),
        ("/root/nodedev", UNSEEN.format("/root")),
    ],
)
def test_a_prefix_that_is_refused(value: str, why: str) -> None:
    with pytest.raises(BadInput) as refusal:
        prefixes.given(value)
    assert str(refusal.value).endswith(f" cannot be used: {why}")


@pytest.mark.parametrize(
    ("value", "prefix"),
    [(None, None), ("/usr", "/usr"), ("/opt/nodedev/", "/opt/nodedev"), ("/homes/x_1.2+3-4", "/homes/x_1.2+3-4")],
)
def test_a_prefix_that_is_taken(value: str | None, prefix: str | None) -> None:
    assert prefixes.given(value) == prefix


def host(found: Collection[str] = (), hindered: Collection[str] = (), first: str = "/usr") -> dict[str, Place]:
    """What a host has at each prefix, that which its unit names first."""
    return {
        prefix: Place((f"{prefix}/lib/nodedev",) if prefix in found else (), "why" if prefix in hindered else None)
        for prefix in dict.fromkeys([first, *PREFIXES])
    }


@pytest.mark.parametrize(
    ("asked", "known", "current", "chosen"),
    [
        pytest.param(None, host(), "", "/usr", id="first"),
        pytest.param(None, host(hindered=["/usr"]), "", "/usr/local", id="read-only"),
        pytest.param(None, host(hindered=PREFIXES[:3]), "", "/var/lib/nodedev", id="last"),
        pytest.param(None, host(["/opt/nodedev"]), "", "/opt/nodedev", id="stays"),
        pytest.param(None, host(["/usr", "/srv"], first="/srv"), "/usr", "/srv", id="as-the-unit-says"),
        pytest.param(None, host(["/usr"], ["/usr"]), "/usr", "/usr", id="image-is-current"),
        pytest.param(None, host(["/usr"], ["/usr"]), "", "/usr/local", id="image-is-old"),
        pytest.param(None, host(["/usr", "/opt/nodedev"], ["/usr"]), "", "/opt/nodedev", id="beside-an-old-image"),
        pytest.param(None, host(first="/srv"), "", "/usr", id="gone-from-where-the-unit-says"),
        pytest.param("/usr", host(["/opt/nodedev"]), "", "/usr", id="asked-for"),
        pytest.param("/usr", host(["/usr"], ["/usr"]), "/usr", "/usr", id="asked-for-and-current"),
    ],
)
def test_what_is_chosen(asked: str | None, known: dict[str, Place], current: str, chosen: str) -> None:
    assert prefixes.chosen(asked, known, lambda prefix: prefix == current) == chosen


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("/usr", "prefix: '/usr' cannot be used: why"),
        (None, "the boot engine can be nowhere on this host: why. Name another folder by prefix"),
    ],
)
def test_nothing_can_be_chosen(asked: str | None, message: str) -> None:
    with pytest.raises(NodedevError) as refusal:
        prefixes.chosen(asked, host(hindered=PREFIXES), lambda _prefix: False)
    assert str(refusal.value) == message
