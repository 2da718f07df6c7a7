# SPDX-License-Identifier: GPL-3.0-or-later
"""What chzdev keeps of the device on a subchannel: rules that would fight with a binding, taken over and given back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ...errors import NodedevError
from ...host import chzdev, chzdev_rules, subchannels
from ...names import device_name
from ...plan import Step
from .seen import HOSTS, Member, Observation, Wish


def look(wish: Wish, seen: Observation) -> Observation:
    """The same with what chzdev keeps of the device on a subchannel, and what was taken over from it."""
    first = seen.members[0]
    device, rules = _ccw(first), _rules(first, seen.driver, wish)
    taken = None if device is None else chzdev.TAKEN.find(device)
    return replace(
        seen,
        rules=tuple(rules.online.get(str(device), ())),
        has_chzdev=chzdev.is_installed(),
        taken=taken,
        keeps=taken is not None and _is_kept_anew(taken, rules),
        oddities=rules.oddities,
    )


def _is_kept_anew(taken: chzdev.Taken, rules: chzdev_rules.Rules) -> bool:
    """Whether chzdev was told of the device since: of a site that was taken over, or to set it online as another type.

    What it keeps beside that was there before: a site that sets it offline, and the LUNs of an adapter.
    """
    own = {site or chzdev.COMMON for device, type, site in rules.kept if (device, type) == (taken.device, taken.type)}
    others = [each for each in rules.online.get(taken.device, ()) if each.type != taken.type and not each.machines]
    return bool(others or own & taken.exports.keys())


def _ccw(member: Member) -> str | None:
    """The CCW device on a subchannel, whoever has that."""
    return member.device.name if member.device is not None else subchannels.expected(member.target.path)


def _rules(member: Member, driver: str | None, wish: Wish) -> chzdev_rules.Rules:
    """chzdev's rules that would fight with the binding at boot, if it is one that is to be there then, or goes."""
    device = _ccw(member)
    if device is None or (wish.state != "absent" and (driver in (None, HOSTS) or not wish.persistent)):
        return chzdev_rules.Rules()
    return chzdev_rules.of([device])


def taking_over(wish: Wish, seen: Observation) -> list[Step]:
    """What has chzdev give up a device that it would set online at each boot; NodedevError where that is not wished."""
    for rule in seen.rules:
        _refuse_rule(wish, seen, rule)
    types = {rule.type for rule in seen.rules} | ({seen.taken.type} if seen.taken and seen.rules else set())
    if len(types) > 1:
        raise NodedevError(
            f"chzdev keeps {_called(seen.rules[0].device)} as several types, {', '.join(sorted(types))}, of which one"
            " alone can be given back: disable the others by chzdev --disable --persistent"
        )
    return [
        Step(
            f"have chzdev give up what it keeps of {_called(rule.device)}, a {rule.type}",
            partial(chzdev.take, rule),
            partial(chzdev.undo, rule),
        )
        for rule in seen.rules
    ]


def _called(device: str) -> str:
    """A CCW device by both its names."""
    return f"{device_name('ccw', device)} ({device})"


def _refuse_rule(wish: Wish, seen: Observation, rule: chzdev_rules.Rule) -> None:
    """Raise NodedevError where a rule of chzdev's has to stay as it is, or nobody has said that it need not."""
    if rule.machines:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, sets {_called(rule.device)} online at each boot, as the machine's own"
            " configuration has it: take the device out of that, or boot with rd.zdev=no-auto among the kernel's"
            " arguments"
        )
    if rule.members:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, makes a group of {', '.join(rule.members)} and sets it online at each"
            f" boot, against the binding: give the group up by chzdev --disable --persistent {rule.type} {rule.device}"
        )
    sites = [site for site in rule.sites if site is not None]
    some = sites and len(sites) == len(rule.sites)
    where = " " + f"at the sites {', '.join(sites)}" if some else ""
    if not wish.take_over:
        raise NodedevError(
            f"{rule.path}, a rule of chzdev's, sets {_called(rule.device)} online at each boot{where}, against the"
            " binding: set take_over: true to have chzdev give the device up until it is given back, or disable it by"
            f" chzdev --disable --persistent {rule.type} {rule.device}"
        )
    if not seen.has_chzdev:
        raise NodedevError(f"{rule.path} is a rule of chzdev's, which is not installed: it comes with the s390-tools")


def giving_back(taken: chzdev.Taken, keeps: bool) -> list[Step]:
    """What has chzdev keep again what was taken over from it, unless it was told of the device anew meanwhile."""
    if keeps:
        what = f"forget what chzdev kept of {_called(taken.device)}, since it keeps that anew"
        return [Step(what, partial(chzdev.forget, taken), partial(chzdev.keep, taken))]
    what = f"have chzdev keep {_called(taken.device)} again, a {taken.type}"
    return [Step(what, partial(chzdev.give_back, taken), partial(chzdev.take_again, taken))]
