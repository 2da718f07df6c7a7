# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of plans for crypto queues: the module, the masks, the overrides, and what is kept of them."""

from __future__ import annotations

from functools import partial

from ...errors import NodedevError
from ...host import ap, ap_changes, ap_lock
from ...host.ap import Bus
from ...plan import Step
from ...store import ap_rules
from ...store.ap_rules import Rule
from .definition import DOCUMENTS, OVERRIDES, Given, of_rule, words


def load(loadable: bool) -> Step:
    """The step that loads vfio_ap; raises NodedevError where it cannot be loaded."""
    if not loadable:
        raise NodedevError("no module vfio_ap could be loaded: this kernel gives no crypto queues to guests")
    return Step("load module vfio_ap", ap_changes.load)


def changes(bus: Bus, after: Bus, seconds: float) -> list[Step]:
    """The steps from one bus to the other, each of which takes up to so many seconds."""
    steps = []
    for what, file in ap.MASKS.items():
        before, wanted = getattr(bus, what), getattr(after, what)
        give, leave = before - wanted, wanted - before
        for numbers, hosts in ((give, False), (leave, True)):
            change, undo = (partial(ap_changes.set_mask, file, numbers, way, seconds) for way in (hosts, not hosts))
            described = f"give {what} {ap.listed(numbers)} to {'the host' if hosts else 'guests'}, by {file}"
            steps += [Step(described, change, undo)] if numbers else []
    for number, queue in sorted(bus.queues.items()):
        if queue.override == after.queues[number].override:
            continue
        undo = partial(ap_changes.put_back, queue, seconds)
        if after.queues[number].override is None:
            change = partial(ap_changes.take_back, queue, seconds)
            steps.append(Step(f"give queue {ap.name(number)} to the host, by its override", change, undo))
        else:
            change = partial(ap_changes.give, queue, seconds)
            steps.append(Step(f"give queue {ap.name(number)} to guests, by its override", change, undo))
    return steps


def leave_rule(target: Rule | None, former: Rule | None, seconds: float) -> Step:
    """The step that leaves this rule, under the lock that chzdev takes for it too."""

    def leave(rule: Rule | None) -> None:
        with ap_lock.held(seconds):
            ap_rules.leave(rule)

    named = words(of_rule(target))
    described = f"change the rule {ap_rules.PATH}{named}"
    if target is None:
        described = f"remove the rule {ap_rules.PATH}"
    elif former is None:
        described = f"write a rule of chzdev's form, {ap_rules.PATH}{named}"
    return Step(described, partial(leave, target), partial(leave, former))


def leave_document(target: Given | None, former: Given | None) -> Step:
    """The step after which this is our own document, or there is none."""
    described = "undefine what is for guests"
    if target is not None:
        define, change = f"define what is for guests{words(target)}", "change the definition of what is for guests"
        described = define if former is None else f"{change}{words(target)}"
    return DOCUMENTS.change(described, OVERRIDES, target, former)
