# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the lanes of tests named on the command line and closes on a summary.

Each check prints a line when it begins and one when it ends; its whole output is in .build/logs, and on failure its
end is shown. The lane with virtual machines, of which each uses about one core, runs beside the others, and two of its
checks beside each other once those have ended.
With CI=true a check whose tool is missing fails; otherwise it is told as left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

import repeats

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
LOGS = BUILD / "logs"
BIN = ROOT / ".venv" / "bin"
OLDEST_PYTHON = "3.9"
OLDEST = ROOT / f".venv-{OLDEST_PYTHON}" / "bin" / "python"
# The oldest ansible-core that is supported and one between it and the newest, with the Pythons that each runs on.
OLDER_ANSIBLE = {"2.16": "3.10 to 3.12", "2.18": "3.11 to 3.13"}
OLDEST_ANSIBLE = "2.16"
COLLECTION = BUILD / "sanity" / "ansible_collections" / "hostdev" / "nodedev"
# Of the tests sanity gets what it is told by; they are not installed, and the linters before it look at them.
SANITY_CONFIG = "tests/config.yml"
CI = os.environ.get("CI") == "true"
TAIL = 60
# Characters of why tests failed, in the summary: of all of them together, and of one at least.
REASONS, REASON = 2400, 300
INTERRUPTED = 130
REAPER = ROOT / "tests" / "reaper.py"
# Simulated hosts are private to a test; beyond these, starting the workers takes longer than they save.
WORKERS = min(len(os.sched_getaffinity(0)), 8)
KERNEL_CONFORMANCE = "tests/conformance/test_kernelhost.py"
# By the release of the virtual machine, which tests it runs: all on one, on the other what may differ there.
RELEASES = {
    "Debian 13": ("trixie", ()),
    "Debian 12": ("bookworm", ("-m", "every_release")),
}
# By name, the folder of tests and the release of the virtual machine that they use.
ENDURANCE = (
    ("simhost", "tests/modules", ""),
    ("Debian 13", "tests/kernelhost", "trixie"),
)
# What differs between versions of Ansible is how it runs a module and reads its documentation, not what a module does:
# the integration playbooks on each; on the oldest also the collection built and installed, the report, whose text must
# stay text, and each module by its examples.
INTEGRATION = "tests/modules/test_integration.py"
PLAYBOOKS = (INTEGRATION, "tests/modules/test_collection.py", "tests/modules/test_report.py")
EXAMPLES = "tests/modules/test_documentation.py::test_examples_run"
# The same of sanity; what imports would show, the plays do.
SANITY = ("validate-modules", "compile", "ignores")

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT / "tests"),
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
    "ANSIBLE_NOCOLOR": "1",
    # What is compiled is kept, whatever the machine is set to.
    "PYTHONDONTWRITEBYTECODE": "",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True)
class Check:
    """One command of a lane; one that counts its tests writes them to a JUnit file."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    missing: str | None = None

    @property
    def junit(self) -> Path:
        return LOGS / f"{self.name.replace(' ', '-')}.xml"


@dataclass(frozen=True)
class Outcome:
    """How a check ended; ``tests`` and ``failures`` are its own counts, or 1 and whether it failed.

    ``processor`` is in seconds, of all processes that it started (reaper.py).
    """

    lane: str
    check: Check
    seconds: float
    processor: float
    tests: int
    failures: int


@dataclass(frozen=True)
class Running:
    """A check that was begun."""

    lane: str
    check: Check
    process: subprocess.Popen[bytes]
    start: float
    log: Path


def command(name: str, *arguments: str) -> Check:
    return Check(name, arguments)


def pytest(name: str, *paths: str, python: Path = BIN / "python", missing: str | None = None) -> Check:
    junit = LOGS / f"{name.replace(' ', '-')}.xml"
    return Check(name, (str(python), "-m", "pytest", "-q", f"--junit-xml={junit}", *paths), missing=missing)


def spread(name: str, *arguments: str, python: Path = BIN / "python", missing: str | None = None) -> Check:
    """Tests that run on all cores; test by test, unless the arguments say otherwise."""
    return pytest(name, f"--numprocesses={WORKERS}", "--dist=worksteal", *arguments, python=python, missing=missing)


def programs_of(version: str) -> Path:
    """The programs of an older ansible-core."""
    return ROOT / f".venv-{version}" / "bin"


def missing_ansible(version: str) -> str | None:
    return None if programs_of(version).exists() else f"none of Python {OLDER_ANSIBLE[version]} is installed"


def missing_oldest() -> str | None:
    return None if OLDEST.exists() else f"python{OLDEST_PYTHON} is not installed"


def sanity(name: str, programs: Path, *arguments: str, missing: str | None = None) -> Check:
    return Check(
        name,
        (str(programs / "ansible-test"), "sanity", "--color", "no", *arguments),
        folder=COLLECTION,
        # Its virtual environments stay in this checkout, and its Pythons are found without pyenv's shims.
        environment={"HOME": str(BUILD / "home"), "PATH": f"{programs}:{pyenv_path()}{os.environ['PATH']}"},
        prepare=prepare_sanity,
        missing=missing,
    )


def lint() -> Iterator[Check]:
    yield command("ruff check", "ruff", "check", "--quiet", ".")
    yield command("ruff format", "ruff", "format", "--check", "--quiet", ".")
    yield command("mypy plugins", "mypy", "-p", "ansible_collections.hostdev.nodedev.plugins")
    yield command("mypy test hosts", "mypy", "-p", "simhost", "-p", "kernelhost", "-p", "conformance")
    tools = ("run.py", "reaper.py", "demo.py", "house_picture.py", "docs/build.py")
    yield command("mypy tools", "mypy", "tests/bench", *(f"tests/{tool}" for tool in tools))
    yield command("shellcheck", "shellcheck", *(str(script) for script in sorted((ROOT / "tests").rglob("*.sh"))))
    yield command("reuse", "reuse", "lint")
    yield command("ansible-lint", "ansible-lint", "--offline", "--profile", "production", "--strict")
    yield command("antsibull-changelog", "antsibull-changelog", "lint")
    docs = ("lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", str(COLLECTION))
    yield Check("antsibull-docs", ("antsibull-docs", *docs), prepare=copy_collection)
    # It costs less than 20 seconds of a processor.
    yield command("documentation site", str(BIN / "python"), "tests/docs/build.py")
    yield sanity("ansible-test sanity", BIN, "--skip-test=import")
    # On the oldest Python and on this one; what lies between them has what both have.
    for python, lacking in ((OLDEST_PYTHON, missing_oldest()), ("{}.{}".format(*sys.version_info), None)):
        yield sanity(f"sanity, Python {python}", BIN, "--test=import", f"--python={python}", missing=lacking)
    for version in OLDER_ANSIBLE:
        tests = (f"--test={test}" for test in SANITY)
        yield sanity(f"sanity, ansible {version}", programs_of(version), *tests, missing=missing_ansible(version))


def unit() -> Iterator[Check]:
    yield spread("unit", "tests/unit")
    yield spread(f"unit on Python {OLDEST_PYTHON}", "tests/unit", python=OLDEST, missing=missing_oldest())


def sim() -> Iterator[Check]:
    yield spread("simhost", "tests/simhost")
    yield spread("modules on simhost", "tests/modules")
    for version in OLDER_ANSIBLE:
        python, missing = programs_of(version) / "python", missing_ansible(version)
        plays = (*PLAYBOOKS, EXAMPLES) if version == OLDEST_ANSIBLE else (INTEGRATION,)
        yield spread(f"plays, ansible {version}", *plays, python=python, missing=missing)
    yield command("molecule default", "molecule", "test")


def core() -> Iterator[Check]:
    """The plays and the examples with the ansible-core that CORE names, for which tests/setup.sh made a .venv."""
    version = os.environ.get("CORE", OLDEST_ANSIBLE)
    yield spread(f"plays, ansible {version}", *PLAYBOOKS, EXAMPLES, python=programs_of(version) / "python")


def conformance() -> Iterator[Check]:
    # File by file, since the tests of one share what they ask.
    yield spread("conformance", "--dist=loadfile", "tests/conformance", f"--ignore={KERNEL_CONFORMANCE}")


def kernel() -> Iterator[Check]:
    for name, (release, chosen) in RELEASES.items():
        check = pytest(f"kernelhost, {name}", "tests/kernelhost", KERNEL_CONFORMANCE, *chosen)
        yield replace(check, environment={"KERNELHOST_RELEASE": release})
    yield command("molecule reboot", "molecule", "test", "--scenario-name", "reboot")


def s390x() -> Iterator[Check]:
    check = pytest("kernelhost, s390x", "tests/kernelhost", KERNEL_CONFORMANCE)
    yield replace(check, environment={"KERNELHOST_RELEASE": "s390x"})


def endurance() -> Iterator[Check]:
    """What the other lanes repeat a few times, as often as docs/reliability.md and docs/verified.md tell."""
    for name, folder, release in ENDURANCE:
        check = pytest(f"endurance, {name}", folder, "-m", "endurance")
        yield replace(check, environment={repeats.VARIABLE: "1", "KERNELHOST_RELEASE": release})


BESIDE = "kernel"
LANES: dict[str, Callable[[], Iterator[Check]]] = {
    "lint": lint,
    "unit": unit,
    "sim": sim,
    "core": core,
    "conformance": conformance,
    "kernel": kernel,
    "s390x": s390x,
    "endurance": endurance,
}


def pyenv_path() -> str:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return "".join(f"{folder}:" for folder in sorted(versions.glob("3.*/bin"), reverse=True))


def copy_collection() -> None:
    """The checkout but its tests under the path that ansible-test and antsibull-docs insist on: a link would not do."""
    shutil.rmtree(COLLECTION, ignore_errors=True)
    COLLECTION.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        left_out = name.startswith(("playbooks/collections/", "tests/")) and name != SANITY_CONFIG
        if source.is_file() and not left_out:
            target = COLLECTION / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # In a folder that git ignores, ansible-test would find no file at all.
    subprocess.run(["git", "init", "--quiet"], cwd=COLLECTION, check=True)
    subprocess.run(["git", "add", "--all"], cwd=COLLECTION, check=True)


def prepare_sanity() -> None:
    """ansible-test's cache with our stand-in for the bootstrap script that it would download, by each core's name."""
    copy_collection()
    cache = BUILD / "home" / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("23_1_2", "24_2", "25_2"):
        shutil.copy(ROOT / "tests" / "sanity" / "get_pip.py", cache / f"get_pip_{version}.py")


def begin(lane: str, check: Check) -> Running | None:
    """Start a check; None when it is left out."""
    if check.missing and not CI:
        tell(lane, check, f"LEFT OUT: {check.missing}")
        return None
    start = time.monotonic()
    log = LOGS / f"{check.name.replace(' ', '-')}.log"
    check.junit.unlink(missing_ok=True)
    tell(lane, check, "...")
    command = (sys.executable, str(REAPER), *check.command)
    if check.missing:
        command = ("sh", "-c", 'echo "$0"; exit 1', check.missing)
    elif check.prepare:
        check.prepare()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=check.folder,
            env={**ENVIRONMENT, **check.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is ours to pass on, once.
            start_new_session=True,
        )
    return Running(lane, check, process, start, log)


def end(running: Running, status: int, processor: float) -> Outcome:
    """Tell how a check ended."""
    lane, check = running.lane, running.check
    tests, failures = counts(check.junit, status)
    outcome = Outcome(lane, check, time.monotonic() - running.start, processor, tests, failures)
    result = "FAILED" if failures else "ok"
    tell(lane, check, f"{result}, {tests} in {outcome.seconds:.1f} s, {processor:.1f} s of a processor")
    if failures:
        last = running.log.read_text(errors="replace").splitlines()[-TAIL:]
        print(*(f"    | {line}" for line in last), f"    the whole: {running.log}", sep="\n", flush=True)
    return outcome


def tell(lane: str, check: Check, text: str) -> None:
    print(f"  {lane:11} {check.name:24} {text}", flush=True)


def run(rows: Iterable[Iterable[tuple[str, Check]]]) -> Iterator[Outcome]:
    """Run the checks of each row one after another, and the rows side by side; the outcomes as they come."""
    waiting = [iter(row) for row in rows]
    running: dict[int, tuple[Running, Iterator[tuple[str, Check]]]] = {}

    def begin_next(row: Iterator[tuple[str, Check]]) -> None:
        begun = next((begun for lane, check in row if (begun := begin(lane, check))), None)
        if begun:
            running[begun.process.pid] = begun, row

    try:
        for row in waiting:
            begin_next(row)
        while running:
            pid, status, usage = os.wait4(-1, 0)
            if pid not in running:
                # A child that this process had before.
                continue
            ended, row = running.pop(pid)
            ended.process.returncode = os.waitstatus_to_exitcode(status)
            yield end(ended, ended.process.returncode, usage.ru_utime + usage.ru_stime)
            begin_next(row)
    finally:
        for begun, _row in running.values():
            begun.process.send_signal(signal.SIGINT)
        for begun, _row in running.values():
            begun.process.wait()


def counts(junit: Path, status: int) -> tuple[int, int]:
    """The tests and failures of a run; one that ended badly is one at least, and in CI so is a skipped test."""
    tests, failures = 1, int(status != 0)
    if junit.exists():
        suites = ElementTree.parse(junit).getroot().iter("testsuite")
        numbers = [
            {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites
        ]
        tests = sum(suite["tests"] for suite in numbers)
        failed = sum(suite["failures"] + suite["errors"] + (suite["skipped"] if CI else 0) for suite in numbers)
        failures = max(failed, failures)
    return tests, failures


def failed_tests(outcome: Outcome) -> Iterator[str]:
    """The tests of a check that failed, each with why."""
    junit = outcome.check.junit
    if not outcome.failures or not junit.exists():
        return
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        for kind in ("failure", "error", "skipped"):
            found = case.find(kind)
            if found is not None:
                # Where a test failed, pytest's message is cut: the lines that it marks have all of it.
                marked = [line[1:] for line in (found.text or "").splitlines() if line.startswith("E ")]
                why = " ".join((" ".join(marked) or found.get("message") or "").split())
                yield f"{outcome.check.name}: {case.get('classname')}.{case.get('name')}: {why}"


def shortened(text: str, length: int) -> str:
    """A text of this many characters at most, without its middle: what a play or a journal ends on says most."""
    end = length * 2 // 3
    return text if len(text) <= length else f"{text[: length - end - 5]} ... {text[-end:]}"


def main(lanes: list[str]) -> int:
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown or not lanes:
        print(f"usage: run.py LANE...; the lanes are {', '.join(LANES)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    start = time.monotonic()
    try:
        outcomes = list(run(shared([(lane, check) for lane in row for check in LANES[lane]()] for row in rows(lanes))))
    except KeyboardInterrupt:
        print("interrupted; what was started has been ended", file=sys.stderr)
        return INTERRUPTED
    summarise(lanes, outcomes)
    failures = sum(outcome.failures for outcome in outcomes)
    minutes = (time.monotonic() - start) / 60, sum(outcome.processor for outcome in outcomes) / 60
    print("  all of it in {:.1f} minutes with {:.1f} processor minutes;".format(*minutes), end=" ")
    print(f"the logs are in {LOGS.relative_to(ROOT)}")
    # Last, so that whoever is shown the end alone sees them.
    failed = [*chain.from_iterable(map(failed_tests, outcomes))]
    for test in failed:
        print(f"  FAILED {shortened(test, max(REASONS // len(failed), REASON))}")
    print(f"{sum(outcome.tests for outcome in outcomes) - failures} passed, {failures} failed")
    return 1 if failures else 0


def rows(lanes: list[str]) -> list[list[str]]:
    """The lanes that run beside each other: the one with the virtual machine, and all others in turn."""
    return [[lane for lane in lanes if (lane == BESIDE) == beside] for beside in (True, False)]


def shared(rows: Iterable[Iterable[tuple[str, Check]]]) -> list[Iterator[tuple[str, Check]]]:
    """The checks of two rows; the second goes on with what the first has not begun, as virtual machines are apart."""
    first, second = map(iter, rows)
    return [first, chain(second, first)]


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def summarise(lanes: list[str], outcomes: list[Outcome]) -> None:
    print("\nsummary")
    for lane in lanes:
        own = [outcome for outcome in outcomes if outcome.lane == lane]
        failed = sum(outcome.failures for outcome in own)
        seconds = sum(outcome.seconds for outcome in own)
        processor = sum(outcome.processor for outcome in own) / 60
        result = f"{failed} FAILED" if failed else "ok"
        tests = sum(outcome.tests for outcome in own)
        print(f"  {lane:11} {tests:4} tests  {seconds:6.1f} s  {processor:5.1f} processor minutes  {result}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
