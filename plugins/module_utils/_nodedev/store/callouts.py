# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that want a say when a mediated device is defined, changed, undefined, started or stopped.

They are mdevctl's: callouts, which may refuse (s390-tools has one that checks the queues of AP devices), and notifiers,
which only hear of it. They are asked as mdevctl 1.4 asks them (mdevctl(8), "Invoking external scripts for device
events"), whether mdevctl is installed or not, and those of mdevctl 1.2 too. docs/mdev.md has what differs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .. import programs
from ..errors import NodedevError
from ..names import called
from ..programs import Answer, NoAnswer
from ..text import is_number, shown
from ..waiting import anew, left
from . import files, mdevctl
from .mdevctl import Attrs, Definition
from .scripts import Refused, Scripts, Spokesman

# The version of the protocol that is spoken here, and all that belongs to it.
VERSION = 2
ACTIONS = ("start", "stop", "define", "undefine", "modify", "attributes", "capabilities")
EVENTS = ("pre", "post", "notify", "get", "live")
# What a script answers that has nothing to do with devices of this type.
NOT_MINE = 2
# Seconds that a script has at least: none could answer in a wait_timeout of 0.
LEAST = 1.0
# Seconds that one has to hear what came of it, whatever time the run has left; a notifier has no more.
TELLING = 5.0
DENIALS = {"pre": "refuses the", "get": "does not tell the", "live": "refuses the live"}
HINTS = {"pre": "; force: true passes over it", "get": "; say what they are with attrs"}


@dataclass(frozen=True)
class _Question:
    """What a script is asked about one device; ``document`` is what it may read from its standard input."""

    event: str
    action: str
    device: Definition
    seconds: float
    document: str = ""
    state: str = "none"

    def command(self, script: str) -> list[str]:
        device = self.device
        words = ("-t", device.type, "-e", self.event, "-a", self.action, "-s", self.state)
        return [script, *words, "-u", device.uuid, "-p", device.parent]


@contextlib.contextmanager
def asked(scripts: Scripts | None, action: str, device: Definition, seconds: float, force: bool) -> Iterator[None]:
    """Do in the body what ``action`` names, the scripts being asked before it and told of it after it.

    Raises Refused before the body where a script does not allow it; with ``force`` that is passed over, as by mdevctl's
    --force. Whatever comes of the body, the script that was asked hears of it: it may keep a lock until then, for the
    process that started it, which is this one. Each script has ``seconds`` to answer.
    """
    if scripts is None:
        yield
        return
    question = _Question("pre", action, device, max(seconds, LEAST), mdevctl.compact(device))
    after = replace(question, event="post", state="failure")
    state = "none"
    try:
        spokesman = _before(scripts, question, after, force)
        state = "failure"
        try:
            yield
            state = "success"
        finally:
            _after(scripts, replace(after, state=state), spokesman)
    finally:
        _notify(scripts, replace(question, event="notify", state=state))


def _before(scripts: Scripts, question: _Question, after: _Question, force: bool) -> Spokesman | None:
    """Ask whether it may be done; who is to hear what came of it, None where that is to be asked of all."""
    spokesman = None
    try:
        spokesman = _spokesman(scripts, question.device, question.seconds)
        if spokesman is not None:
            _allowed(*_say(scripts, spokesman, question), question)
            return spokesman
        answered = _first(scripts, question)
        if answered is None:
            return None
        _allowed(*answered, question)
        return _unversioned(answered[0])
    except Refused as error:
        # One that was killed may have taken what it gives back when it hears of the end.
        killed = None if error.killed is None else spokesman or _unversioned(error.killed)
        if force:
            return killed or spokesman
        if killed is not None:
            _after(scripts, after, killed)
        raise


def _unversioned(path: str) -> Spokesman:
    return Spokesman(path, frozenset(ACTIONS) - {"capabilities"}, frozenset(EVENTS) - {"live"})


def _after(scripts: Scripts, question: _Question, spokesman: Spokesman | None) -> None:
    """Tell what came of it; the answer is of no interest, as for mdevctl."""
    with contextlib.suppress(Refused), anew(max(left(question.seconds), TELLING)):
        if spokesman is None:
            _first(scripts, question)
        elif spokesman.understands(question.event, question.action):
            _answer(scripts, spokesman.path, question)


def _notify(scripts: Scripts, question: _Question) -> None:
    for path in scripts.notifiers:
        if path not in scripts.silent:
            with contextlib.suppress(Refused), anew(TELLING):
                _answer(scripts, path, question)


def attributes(scripts: Scripts | None, device: Definition, seconds: float) -> Attrs:
    """The attributes of a device that runs, as a script tells them; none where no script knows such devices.

    Raises Refused where a script should tell them and does not, or nothing that can be understood.
    """
    if scripts is None:
        return ()
    question = _Question("get", "attributes", device, max(seconds, LEAST))
    spokesman = _spokesman(scripts, device, question.seconds)
    answered = _first(scripts, question) if spokesman is None else _say(scripts, spokesman, question)
    if answered is None:
        return ()
    path, answer = answered
    if answer.status != 0:
        raise _refusal(path, answer, question)
    try:
        return _understood(answer.output)
    except ValueError as error:
        raise Refused(
            f"the callout script {shown(path)} tells attributes of mdev {device.uuid} that cannot be understood:"
            f" {shown(error)}"
        ) from error


def _understood(output: str) -> Attrs:
    text = output.rstrip("\0").strip()
    if len(text) > files.LARGEST:
        raise ValueError(f"more than {files.LARGEST} characters")
    if not text:
        return ()
    listed = files.json_value(text)
    # s390-tools' way to say that there are none, which mdevctl 1.4 knows without a line feed only.
    return mdevctl.attributes([] if listed == [{}] else listed)


def can_change(scripts: Scripts | None, device: Definition, seconds: float) -> bool:
    """Whether a script gives devices of this type other attributes while they run."""
    if scripts is None:
        return False
    spokesman = _spokesman(scripts, device, max(seconds, LEAST))
    return spokesman is not None and spokesman.understands("live", "modify")


def change(scripts: Scripts, device: Definition, seconds: float) -> None:
    """Have a script give a device that runs these attributes; raises Refused where it does not.

    As for mdevctl there is no force in this: nothing was changed.
    """
    question = _Question("live", "modify", device, max(seconds, LEAST), mdevctl.compact(device))
    try:
        spokesman = _spokesman(scripts, device, question.seconds)
        if spokesman is None:
            raise Refused(f"no callout script changes mdev {device.uuid} while it runs")
        _allowed(*_say(scripts, spokesman, question), question)
    finally:
        _notify(scripts, replace(question, event="notify"))


def _spokesman(scripts: Scripts, device: Definition, seconds: float) -> Spokesman | None:
    """The first script that says which version of the protocol it understands: no other is asked then."""
    key = (device.parent, device.type)
    if key not in scripts.spokesmen:
        provides = {"version": VERSION, "actions": ACTIONS, "events": EVENTS}
        document = json.dumps({"provides": provides}, separators=(",", ":"))
        question = _Question("get", "capabilities", device, seconds, document)
        answered = _first(scripts, question, lambda path, answer: _supports(path, answer) is not None)
        scripts.spokesmen[key] = _supports(*answered) if answered else None
    return scripts.spokesmen[key]


def _supports(path: str, answer: Answer) -> Spokesman | None:
    """What a script says that it understands; its exit status does not matter, as for mdevctl."""
    try:
        document = files.json_value(answer.output.rstrip("\0"))
        supports = document["supports"]
        version, actions, events = supports["version"], supports["actions"], supports["events"]
    except (ValueError, LookupError, TypeError):
        return None
    listed = [*actions, *events] if isinstance(actions, list) and isinstance(events, list) else [None]
    if not is_number(version) or version < 0 or not all(isinstance(word, str) for word in listed):
        return None
    return Spokesman(path, frozenset(actions), frozenset(events))


def _first(
    scripts: Scripts, question: _Question, counts: Callable[[str, Answer], bool] = lambda _path, _answer: True
) -> tuple[str, Answer] | None:
    """The first script whose answer counts: not where it cannot be run, is of another type, or died of a signal."""
    for path in scripts.callouts:
        if path in scripts.silent:
            continue
        answer = _answer(scripts, path, question)
        if answer is not None and answer.status >= 0 and answer.status != NOT_MINE and counts(path, answer):
            return path, answer
    return None


def _say(scripts: Scripts, spokesman: Spokesman, question: _Question) -> tuple[str, Answer]:
    path = spokesman.path
    if not spokesman.understands(question.event, question.action):
        raise Refused(f"the callout script {shown(path)} does not understand {question.event} {question.action}")
    if path in scripts.silent:
        raise Refused(f"the callout script {shown(path)} has not answered before")
    answer = _answer(scripts, path, question)
    if answer is None:
        raise Refused(f"the callout script {shown(path)} cannot be run any more")
    return path, answer


def _answer(scripts: Scripts, path: str, question: _Question) -> Answer | None:
    """What a script answers; None where it cannot be run. Raises Refused where it has to be killed."""
    try:
        return programs.run(question.command(path), question.seconds, question.document)
    except NoAnswer as error:
        scripts.silent.add(path)
        raise Refused(
            f"the script {shown(path)}, asked for {question.event} {question.action} of mdev {question.device.uuid},"
            f" has not ended after {question.seconds:g} s and was killed{HINTS.get(question.event, '')}",
            path if question.event == "pre" else None,
        ) from error
    except NodedevError:
        return None


def _allowed(path: str, answer: Answer, question: _Question) -> None:
    # One that died of a signal has no objection, as for mdevctl.
    if answer.status > 0:
        raise _refusal(path, answer, question)


def _refusal(path: str, answer: Answer, question: _Question) -> Refused:
    errors = shown(answer.errors.strip())
    how = f"exit status {answer.status}" if answer.status >= 0 else f"signal {-answer.status}"
    return Refused(
        f"the callout script {shown(path)} {DENIALS[question.event]} {question.action} of mdev {question.device.uuid}"
        f" on {called(question.device.parent)} ({how}){f': {errors}' if errors else ''}{HINTS.get(question.event, '')}"
    )
