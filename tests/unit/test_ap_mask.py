# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for crypto queues: what is wished, what is there, the steps between; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.grammar import (
    ap_mask,
    ap_numbers,
    ap_parameter,
    checked_ap_numbers,
    checked_ap_queues,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.ap import EVERY, Bus, Card, Queue
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.ap_mask.definition import Given
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.ap_mask.device import (
    Observation,
    Wish,
    plan,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.ap_rules import PATH, Rule
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
NUMBERS = [(adapter, domain) for adapter in (5, 6, 9) for domain in (4, 71)]
USER = Holder("/dev/z90crypt", "openssl", pid=7)
DAMAGED = DamagedDefinition(PATH, "its masks are none")
LOAD = "load module vfio_ap"
GIVE = "give adapters 5 (0x05) to guests, by apmask"
GIVE_DOMAIN = "give domains 71 (0x47) to guests, by aqmask"
LEAVE = "give adapters 5 (0x05) to the host, by apmask"
WRITE = f"write a rule of chzdev's form, {PATH}, adapters 5 (0x05)"
CHANGE = f"change the rule {PATH}, adapters"
REMOVE = f"remove the rule {PATH}"
DEFINE = "define what is for guests, adapters 5 (0x05)"
OWN, ALSO = "give queue 05.0004 to guests, by its override", "give queue 05.0047 to guests, by its override"


def wished(**options: Any) -> Wish:
    return Wish.checked(**options)


def bus(without: int | None = None, overrides: tuple[tuple[int, int], ...] = (), **more: Any) -> Bus:
    """Two new adapters and an old one, with two domains; ``without`` is the adapter that guests have."""
    queues = {
        number: Queue(
            number,
            driver="vfio_ap" if number in overrides or number[0] == without else "cex4queue",
            override="vfio_ap" if number in overrides else None,
            online=True,
        )
        for number in NUMBERS
    }
    cards = {5: Card(5, "CEX7C", 13), 6: Card(6, "CEX8P", 14), 9: Card(9, "CEX3C", 9)}
    return Bus(adapters=EVERY - {without}, queues=queues, cards=cards, max_domain=84, **more)


def seen(found: Bus | None = None, **more: Any) -> Observation:
    return Observation(found or bus(), **more)


RULE = Rule(EVERY - {5})
BY_RULE = seen(bus(5), rule=RULE)
NEW = bus(overridable=True)
KEPT = Given(adapters=frozenset({5}))
BY_OVERRIDES = seen(bus(None, ((5, 4), (5, 71)), overridable=True), kept=KEPT)

CASES: list[tuple[str, Wish, Observation, list[str]]] = [
    ("an adapter", wished(adapters=["5"]), seen(loaded=False), [LOAD, GIVE, WRITE]),
    ("it is so already", wished(adapters=["0x5"]), BY_RULE, []),
    ("nothing is named, and it is defined", wished(), seen(rule=RULE), [GIVE]),
    ("another one", wished(adapters=["6"]), BY_RULE, [GIVE.replace("5", "6"), f"{CHANGE} 5 (0x05), 6 (0x06)"]),
    ("for now", wished(adapters=["5"], persistent=False), seen(), [GIVE]),
    (
        "a domain, and an old adapter with it",
        wished(domains=["71"], force=True),
        seen(),
        [GIVE_DOMAIN, f"write a rule of chzdev's form, {PATH}, domains 71 (0x47)"],
    ),
    ("only defined", wished(adapters=["5"], state="inactive"), seen(), [WRITE]),
    ("no longer for guests", wished(state="inactive"), BY_RULE, [LEAVE]),
    ("no more", wished(state="absent"), BY_RULE, [REMOVE, LEAVE]),
    ("this one no more", wished(adapters=["5"], state="absent"), BY_RULE, [REMOVE, LEAVE]),
    ("another one no more", wished(adapters=["6"], state="absent"), BY_RULE, []),
    ("no more, and it is not", wished(state="absent"), seen(), []),
    (
        "the kernel has begun so",
        wished(state="absent"),
        seen(bus(5, first_adapters=EVERY - {5})),
        [],
    ),
    (
        "the rule has what the kernel has begun with",
        wished(adapters=["6"]),
        seen(bus(5, first_adapters=EVERY - {5})),
        [GIVE.replace("5", "6"), f"write a rule of chzdev's form, {PATH}, adapters 5 (0x05), 6 (0x06)"],
    ),
    ("queues", wished(queues=["05.0004"]), seen(NEW), [OWN, "define what is for guests, queues 05.0004"]),
    (
        "all queues of it",
        wished(adapters=["5"]),
        seen(NEW),
        [OWN, ALSO, "define what is for guests, adapters 5 (0x05)"],
    ),
    ("they are so already", wished(adapters=["5"]), BY_OVERRIDES, []),
    (
        "they are no more",
        wished(state="absent"),
        BY_OVERRIDES,
        [
            "undefine what is for guests",
            "give queue 05.0004 to the host, by its override",
            "give queue 05.0047 to the host, by its override",
        ],
    ),
    ("a rule is kept, though queues have overrides", wished(), seen(NEW, rule=RULE), [GIVE]),
    (
        "the same, given away meanwhile, and no more",
        wished(state="absent"),
        seen(bus(None, ((6, 4),), overridable=True), rule=RULE),
        [REMOVE, "give queue 06.0004 to the host, by its override"],
    ),
    ("a queue no more, and it is not", wished(queues=["06.0004"], state="absent"), BY_RULE, []),
    ("the same, and not there", wished(queues=["07.0004"], state="absent"), BY_OVERRIDES, []),
    (
        "a queue no more, with its adapter",
        wished(adapters=["5"], queues=["05.0004"], state="absent"),
        BY_RULE,
        [REMOVE, LEAVE],
    ),
    ("no bus, and no more", wished(state="absent"), Observation(None, kept=KEPT), ["undefine what is for guests"]),
    (
        "damaged, and no more",
        wished(state="absent"),
        seen(damaged=(DAMAGED,)),
        [f"remove the damaged definition of ap_mask, {PATH}"],
    ),
]


@pytest.mark.parametrize(("wish", "before", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(wish: Wish, before: Observation, steps: list[str]) -> None:
    planned = plan(wish, before)
    assert describe(planned.steps) == steps
    assert plan(wish, planned.then).steps == ()


def at_work(number: tuple[int, int]) -> Bus:
    found = bus()
    return replace(found, queues={**found.queues, number: replace(found.queues[number], work=3)})


TAKEN = {UUID: frozenset({(5, 4)})}
COVERED = "queues: '05.0004' cannot be used: their whole adapters or domains are for guests: name those"
REFUSED: list[tuple[str, Wish, Observation, str]] = [
    ("no bus", wished(adapters=["5"]), Observation(None), "this host has no AP bus"),
    ("nothing", wished(), seen(), "adapters is required: nothing is defined for guests here"),
    ("too high", wished(domains=["85"]), seen(), "domains: 85 cannot be used: the highest number that this machine"),
    ("a queue by masks", wished(queues=["05.0004"]), seen(), "have no override of their own, and masks give whole"),
    ("a queue, masks in use", wished(queues=["05.0004"]), seen(bus(5, overridable=True)), "apmask or aqmask is in use"),
    ("of masks, a queue no more", wished(queues=["05.0004"], state="absent"), BY_RULE, COVERED),
    ("of a rule alone", wished(queues=["05.0004"], state="absent"), seen(NEW, rule=RULE), COVERED),
    ("of overrides, a queue no more", wished(queues=["05.0004"], state="absent"), BY_OVERRIDES, COVERED),
    ("of what is only kept", wished(queues=["05.0004"], state="absent"), Observation(None, kept=KEPT), COVERED),
    ("no longer for guests, a queue", wished(queues=["05.0004"], state="inactive"), BY_OVERRIDES, COVERED),
    ("old", wished(adapters=["9"], force=True), seen(), "is of type 9, and vfio_ap takes 10 and newer: leave it"),
    ("old, by a domain", wished(domains=["4"]), seen(), "so that nobody would have its queues of these domains"),
    (
        "at work",
        wished(adapters=["5"]),
        seen(at_work((5, 71))),
        "the host works with the queues 05.0047",
    ),
    ("the last ones", wished(adapters=["5-6"]), seen(bus(9), users=(USER,)), "no crypto queue left, and /dev/z90crypt"),
    (
        "assigned",
        wished(state="absent", force=True),
        replace(BY_RULE, assigned=TAKEN),
        f"{UUID} has the queues 05",
    ),
    ("defined", wished(state="absent"), replace(BY_RULE, defined=TAKEN), f"mdev {UUID} is defined with the queues 05"),
    ("no module", wished(adapters=["5"]), seen(loaded=False, loadable=False), "no module vfio_ap could be loaded"),
    ("damaged", wished(adapters=["5"]), seen(damaged=(DAMAGED,)), "is damaged (its masks are none)"),
    ("damaged, one named", wished(adapters=["5"], state="absent"), seen(damaged=(DAMAGED,)), "is damaged"),
    (
        "a rule, and overrides",
        wished(adapters=["5"]),
        seen(bus(None, ((6, 4),), overridable=True), rule=RULE),
        "the queues 06.0004 have an override of their own",
    ),
]


@pytest.mark.parametrize(("wish", "before", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_refusal(wish: Wish, before: Observation, message: str) -> None:
    with pytest.raises(NodedevError) as error:
        plan(wish, before)
    assert message in str(error.value)


def test_what_is_forced() -> None:
    assert plan(wished(adapters=["5"], force=True), seen(at_work((5, 71)))).steps
    assert plan(wished(state="absent", force=True), replace(BY_RULE, defined=TAKEN)).steps


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([5, "0x1F", "31"], {5, 31}),
        (["4-0x7"], {4, 5, 6, 7}),
        (["0", "255"], {0, 255}),
        ([], set()),
    ],
)
def test_numbers(values: list[object], numbers: set[int]) -> None:
    assert checked_ap_numbers("adapters", values) == numbers


@pytest.mark.parametrize("value", ["256", "0x100", "-1", "05", "5-4", "a", "", "5,6", "05.0047", True, "4\n"])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(BadInput, match=r"^adapters: .* a number from 0 to 255"):
        checked_ap_numbers("adapters", [value])


@pytest.mark.parametrize("value", ["5.47", "05.0100", "05", "0x05.0x0047", ""])
def test_what_is_no_queue(value: str) -> None:
    assert checked_ap_queues("queues", ["0A.004F"]) == {(10, 79)}
    with pytest.raises(BadInput, match=r"^queues: .* by its adapter and domain in hexadecimal"):
        checked_ap_queues("queues", [value])


def test_masks() -> None:
    assert ap_mask({1, 7}) == f"0x41{'0' * 62}"
    assert ap_numbers("0x41") == {1, 7}
    assert ap_numbers(ap_mask(EVERY)) == EVERY
    assert [ap_numbers(text) for text in ("41", f"0x{'0' * 65}", "0x", "0xg")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0x41", {1, 7}),
        ("41", {1, 7}),
        ("x41", {1, 7}),
        ("", set()),
        ("f" * 64, EVERY),
        ("f" * 65, None),
        ("0xg", None),
        ("+0-4,+6-255", EVERY - {5}),
        ("+1,+0x1F-32-2", {1, 31, 32}),
        ("+0-10,-010-9", {*range(8), 10}),
        ("-5", set()),
        ("+08", None),
        ("+5-4", None),
        ("+256", None),
        ("+1,2", None),
        ("+", None),
    ],
)
def test_masks_of_the_kernels_command_line(text: str, numbers: set[int] | None) -> None:
    """As ap_parse_mask_str() of drivers/s390/crypto/ap_bus.c reads them, onto a mask of zeros."""
    assert ap_parameter(text) == numbers


def test_the_rule_is_chzdevs() -> None:
    assert Rule(EVERY - {1}, EVERY).text().splitlines() == [
        "# Generated by chzdev",
        'ACTION=="add", DEVPATH=="/bus/ap", ATTR{bindings_complete_count}!="0", GOTO="cfg_ap"',
        'ACTION=="change", SUBSYSTEM=="ap", DEVPATH=="/devices/ap", ENV{BINDINGS}=="complete",'
        ' ENV{COMPLETECOUNT}=="1", GOTO="cfg_ap"',
        'GOTO="end_ap"',
        "",
        'LABEL="cfg_ap"',
        "",
        f'ATTR{{../../bus/ap/apmask}}="0xbf{"f" * 62}"',
        f'ATTR{{../../bus/ap/aqmask}}="0x{"f" * 64}"',
        'RUN{builtin}+="kmod load vfio_ap"',
        "",
        'LABEL="end_ap"',
    ]
