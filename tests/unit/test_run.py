# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the lanes: what it counts, what runs beside what, and that nothing of it stays."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import run
from run import Check, Outcome

LIMIT = 60
# Waits for a file; so a command can wait for another one's.
WAIT = "until [ -e {} ]; do sleep 0.05; done"
BURN = "import time\nwhile time.process_time() < 0.5: pass"
JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runner's folders, moved to the test's own; what it does with signals ends with the test."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(run, "CI", False)
    (tmp_path / "logs").mkdir()
    yield tmp_path / "logs"
    signal.signal(signal.SIGTERM, handler)


def shell(name: str, script: str) -> Check:
    return Check(name, ("sh", "-c", script), folder=Path("/"))


def outcomes(*rows: list[Check]) -> list[Outcome]:
    return list(run.run([[("lane", check) for check in row] for row in rows]))


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_checks_of_a_row_run_one_after_another(tmp_path: Path) -> None:
    first = shell("first", f"sleep 0.2; touch {tmp_path}/one")
    found = outcomes([first, shell("second", f"[ -e {tmp_path}/one ]")])
    assert [(each.check.name, each.failures) for each in found] == [("first", 0), ("second", 0)]


def test_rows_run_side_by_side(tmp_path: Path) -> None:
    one = shell("one", f"touch {tmp_path}/one; {WAIT.format(tmp_path / 'two')}")
    two = shell("two", f"touch {tmp_path}/two; {WAIT.format(tmp_path / 'one')}")
    assert sorted(each.check.name for each in outcomes([one], [two])) == ["one", "two"]


def test_the_second_row_goes_on_with_what_the_first_has_not_begun(tmp_path: Path) -> None:
    one = shell("one", WAIT.format(tmp_path / "two"))
    two = shell("two", f"[ -e {tmp_path}/other ] && touch {tmp_path}/two")
    other = shell("other", f"touch {tmp_path}/other")
    first, *others = run.run(run.shared([[("vm", one), ("vm", two)], [("lane", other)]]))
    assert (first.lane, first.check.name, first.failures) == ("lane", "other", 0)
    # One ends when two has done its work: either may be seen to end before the other.
    assert sorted((each.lane, each.check.name, each.failures) for each in others) == [
        ("vm", "one", 0),
        ("vm", "two", 0),
    ]


@pytest.mark.parametrize(
    ("lanes", "rows"),
    [
        (["kernel"], [["kernel"], []]),
        (["unit"], [[], ["unit"]]),
        (["lint", "unit", "sim", "conformance", "kernel"], [["kernel"], ["lint", "unit", "sim", "conformance"]]),
    ],
)
def test_the_virtual_machine_has_a_row_of_its_own(lanes: list[str], rows: list[list[str]]) -> None:
    assert run.rows(lanes) == rows


@pytest.mark.parametrize(
    ("text", "status", "ci", "expected"),
    [
        (None, 0, False, (1, 0)),
        (None, 3, False, (1, 1)),
        (JUNIT.format(5, 0, 0, 0), 0, False, (5, 0)),
        (JUNIT.format(5, 1, 1, 0), 1, False, (5, 2)),
        (JUNIT.format(5, 0, 0, 1), 0, False, (5, 0)),
        (JUNIT.format(5, 0, 0, 1), 0, True, (5, 1)),
        (JUNIT.format(5, 0, 0, 0), 2, False, (5, 1)),
    ],
)
def test_tests_are_counted(
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    status: int,
    ci: bool,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(run, "CI", ci)
    if text is not None:
        (logs / "some.xml").write_text(text)
    assert run.counts(logs / "some.xml", status) == expected


def test_a_missing_tool_fails_in_ci_alone(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check("some", ("true",), missing="tool is not installed")
    assert outcomes([check, shell("next", "true")])[0].check.name == "next"
    monkeypatch.setattr(run, "CI", True)
    assert [each.failures for each in outcomes([check])] == [1]
    assert (logs / "some.log").read_text() == "tool is not installed\n"


def test_a_child_that_was_there_before_is_no_check() -> None:
    with subprocess.Popen(["sleep", "0.1"]):
        assert [each.failures for each in outcomes([shell("one", "sleep 0.5")])] == [0]


def left_behind(folder: Path, script: str) -> Check:
    """A check that starts a process in a session of its own, and ends once that has made the file 'there'."""
    (folder / "script").write_text(script)
    return shell("one", f"setsid sh {folder}/script & {WAIT.format(folder / 'there')}")


def test_processor_time_of_all_that_a_check_starts_is_counted(tmp_path: Path) -> None:
    burn = f"{sys.executable} -c {shlex.quote(BURN)}"
    (one,) = outcomes([left_behind(tmp_path, f"{burn}; touch {tmp_path}/there; exec sleep 600")])
    assert one.failures == 0
    assert one.processor >= 0.5


def test_what_a_check_leaves_behind_is_ended(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM; echo $$ > {tmp_path}/pid; touch {tmp_path}/there; while :; do sleep 1; done"
    (one,) = outcomes([left_behind(tmp_path, stubborn)])
    assert one.failures == 0
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(("script", "last"), [("true", "2 passed, 0 failed"), ("exit 3", "1 passed, 1 failed")])
def test_the_closing_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, last: str
) -> None:
    lanes = {"unit": lambda: iter([shell("one", script)]), "kernel": lambda: iter([shell("two", "true")])}
    monkeypatch.setattr(run, "LANES", lanes)
    assert run.main(["unit", "kernel"]) == (0 if script == "true" else 1)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == last
    assert [line.split()[0] for line in printed[-4:-2]] == ["unit", "kernel"]
    assert all("processor minutes" in line for line in printed[-4:-1])


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The runner with two checks side by side, both under way; each has left a process behind."""
    body = (
        'trap "touch {name}.cleaned; exit" INT; setsid sleep 600 & echo $! > {name}.left;'
        " echo $$ > {name}.pid; touch {name}; while :; do sleep 0.1; done"
    )
    script = (
        "import sys, run\nfrom pathlib import Path\n"
        f"run.ROOT = folder = Path({str(tmp_path)!r})\n"
        "run.LOGS = folder / 'logs'\n"
        f"def check(name): return run.Check(name, ('sh', '-c', {body!r}.format(name=name)), folder)\n"
        "run.LANES = {'unit': lambda: iter([check('one')]), 'kernel': lambda: iter([check('two')])}\n"
        "sys.exit(run.main(['unit', 'kernel']))\n"
    )
    folder = str(Path(run.__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": folder})
    end = time.monotonic() + LIMIT
    while not ((tmp_path / "one").exists() and (tmp_path / "two").exists()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_both(interrupted: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals) -> None:
    interrupted.send_signal(number)
    assert interrupted.wait(LIMIT) == run.INTERRUPTED
    for name in ("one", "two"):
        assert (tmp_path / f"{name}.cleaned").exists()
        assert [gone(int((tmp_path / f"{name}.{kind}").read_text())) for kind in ("pid", "left")] == [True, True]


def test_nothing_outlives_a_runner_that_is_killed(interrupted: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pids = [int((tmp_path / f"{name}.{kind}").read_text()) for name in ("one", "two") for kind in ("pid", "left")]
    interrupted.kill()
    end = time.monotonic() + LIMIT
    while not all(map(gone, pids)):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("0123456789abcdefgh", "0123456789abcdefgh"), ("0123456789abcdefghi", "0 ... 789abcdefghi")],
)
def test_what_is_long_is_shown_without_its_middle(text: str, shown: str) -> None:
    assert run.shortened(text, 18) == shown


def test_why_a_test_failed_is_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOGS", tmp_path)
    journal = [f"restored: device {number}" for number in range(60)]
    test = tmp_path / "test_long.py"
    test.write_text("def test_long():\n    assert 'failed' == '', {!r}\n".format("\n".join(journal)))
    check = Check("one", ("true",))
    subprocess.run([sys.executable, "-m", "pytest", f"--junit-xml={check.junit}", test], cwd=tmp_path, check=False)
    [told] = run.failed_tests(Outcome("unit", check, 1, 1, 1, 1))
    assert all(each in told for each in journal)
