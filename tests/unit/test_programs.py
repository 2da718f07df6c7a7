# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are asked for something, and those that never answer."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import programs
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.programs import Answer, NoAnswer
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.waiting import within


def script(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


@pytest.mark.parametrize(
    ("text", "document", "answer"),
    [
        ("cat; exit 3", "a document", Answer(3, "a document", "")),
        ("echo no >&2", "", Answer(0, "", "no\n")),
        ("kill -9 $$", "", Answer(-9, "", "")),
        (r"printf '\377'", "", Answer(0, "\ufffd", "")),
        ("pwd", "", Answer(0, "/\n", "")),
        ("exec <&-", "x" * 200000, Answer(0, "", "")),
    ],
)
def test_what_it_answers(text: str, document: str, answer: Answer) -> None:
    assert programs.run(script(text), 30, document) == answer


def test_of_what_is_printed_without_end_little_is_kept() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NoAnswer):
        programs.run(["/usr/bin/yes"], 2)
    answer = programs.run(script("head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 3"), 60)
    assert (answer.status, len(answer.output), len(answer.errors)) == (3, programs.LARGEST, programs.LARGEST)
    # Kibibytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_nothing_of_the_caller_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SECRET", "1")
    said = dict(line.split("=", 1) for line in programs.run(["/usr/bin/env"], 30).output.splitlines())
    assert said == programs.ENVIRONMENT


FOREVER = ["sleep 1000", "trap '' TERM INT; sleep 1000", "sleep 1000 & wait", "exec >&- 2>&-; sleep 1000"]


@pytest.mark.parametrize("text", FOREVER)
def test_one_that_never_ends_is_ended_with_its_group(tmp_path: Path, text: str) -> None:
    with pytest.raises(NoAnswer, match=r"has not ended after 0.3 s and was killed"):
        programs.run(script(f"echo $$ > {tmp_path}/group; {text}"), 0.3)
    assert groups((tmp_path / "group").read_text().strip()) == []


def test_what_it_leaves_in_its_group_is_ended(tmp_path: Path) -> None:
    programs.run(script(f"echo $$ > {tmp_path}/group; sleep 1000 >/dev/null 2>&1 &"), 30)
    assert groups((tmp_path / "group").read_text().strip()) == []


def groups(group: str) -> list[str]:
    """The processes of a process group that are not yet gone, after a moment for their end."""
    deadline = time.monotonic() + 5
    while (found := _living(group)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _living(group: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _parent, of = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found += [pid] if of == group and state != "Z" else []
    return found


def test_the_run_bounds_it_too() -> None:
    with within(0.2), pytest.raises(NoAnswer):
        programs.run(script("sleep 1000"), 1000)


@pytest.mark.parametrize("name", ["/nowhere/tool", "/etc/passwd", "/tmp"])
def test_one_that_cannot_be_started(name: str) -> None:
    with pytest.raises(NodedevError, match=f"{name} could not be started"):
        programs.run([name], 30)
