# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the lanes of tests named on the command line and closes on a summary.

Each check prints a line when it ends; its whole output is in .build/logs, and on failure its end is shown.
With CI=true a check whose tool is missing fails; otherwise it is told as left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
LOGS = BUILD / "logs"
BIN = ROOT / ".venv" / "bin"
OLDEST = ROOT / ".venv-3.9" / "bin" / "python"
OLDEST_ANSIBLE = ROOT / ".venv-2.19" / "bin" / "python"
COLLECTION = BUILD / "sanity" / "ansible_collections" / "hostdev" / "nodedev"
CI = os.environ.get("CI") == "true"
TAIL = 60
KERNEL_CONFORMANCE = "tests/conformance/test_kernelhost.py"
RELIABILITY = "tests/modules/test_reliability.py"

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT / "tests"),
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
    "ANSIBLE_NOCOLOR": "1",
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
    """How a check ended; ``tests`` and ``failures`` are its own counts, or 1 and whether it failed."""

    lane: str
    check: Check
    seconds: float
    tests: int
    failures: int


def command(name: str, *arguments: str) -> Check:
    return Check(name, arguments)


def pytest(name: str, *paths: str, python: Path = BIN / "python", missing: str | None = None) -> Check:
    junit = LOGS / f"{name.replace(' ', '-')}.xml"
    return Check(name, (str(python), "-m", "pytest", "-q", f"--junit-xml={junit}", *paths), missing=missing)


def lint() -> Iterator[Check]:
    yield command("ruff check", "ruff", "check", "--quiet", ".")
    yield command("ruff format", "ruff", "format", "--check", "--quiet", ".")
    yield command("mypy plugins", "mypy", "-p", "ansible_collections.hostdev.nodedev.plugins")
    yield command("mypy test hosts", "mypy", "-p", "simhost", "-p", "kernelhost", "-p", "conformance")
    yield command("mypy bench", "mypy", "tests/bench")
    yield command("reuse", "reuse", "lint")
    yield command("ansible-lint", "ansible-lint", "--offline", "--profile", "production", "--strict")
    yield command("antsibull-changelog", "antsibull-changelog", "lint")
    docs = ("lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", str(COLLECTION))
    yield Check("antsibull-docs", ("antsibull-docs", *docs), prepare=copy_collection)
    yield Check(
        "ansible-test sanity",
        ("ansible-test", "sanity", "--color", "no"),
        folder=COLLECTION,
        # Its virtual environments stay in this checkout, and its Pythons are found without pyenv's shims.
        environment={"HOME": str(BUILD / "home"), "PATH": f"{BIN}:{pyenv_path()}{os.environ['PATH']}"},
        prepare=prepare_sanity,
    )


def unit() -> Iterator[Check]:
    yield pytest("unit", "tests/unit")
    missing = None if OLDEST.exists() else "python3.9 is not installed"
    yield pytest("unit on Python 3.9", "tests/unit", python=OLDEST, missing=missing)


def sim() -> Iterator[Check]:
    yield pytest("simhost", "tests/simhost")
    yield pytest("modules on simhost", "tests/modules")
    yield pytest("modules, ansible 2.19", "tests/modules", f"--ignore={RELIABILITY}", python=OLDEST_ANSIBLE)
    yield command("molecule default", "molecule", "test")


def conformance() -> Iterator[Check]:
    yield pytest("conformance", "tests/conformance", f"--ignore={KERNEL_CONFORMANCE}")


def kernel() -> Iterator[Check]:
    yield pytest("kernelhost", "tests/kernelhost", KERNEL_CONFORMANCE)


LANES: dict[str, Callable[[], Iterator[Check]]] = {
    "lint": lint,
    "unit": unit,
    "sim": sim,
    "conformance": conformance,
    "kernel": kernel,
}


def pyenv_path() -> str:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return "".join(f"{folder}:" for folder in sorted(versions.glob("3.*/bin"), reverse=True))


def copy_collection() -> None:
    """The checkout under the path that ansible-test and antsibull-docs insist on: a link would not do."""
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
        if source.is_file() and not name.startswith("playbooks/collections/"):
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
    for version in ("24_2", "25_2"):
        shutil.copy(ROOT / "tests" / "sanity" / "get_pip.py", cache / f"get_pip_{version}.py")


def run(lane: str, check: Check) -> Outcome | None:
    """Run one check; None when it is left out."""
    if check.missing and not CI:
        print(f"  {lane:11} {check.name:24} LEFT OUT: {check.missing}", flush=True)
        return None
    start = time.monotonic()
    log = LOGS / f"{check.name.replace(' ', '-')}.log"
    check.junit.unlink(missing_ok=True)
    print(f"  {lane:11} {check.name:24} ...", flush=True)
    if check.missing:
        log.write_text(f"{check.missing}\n")
        status = 1
    else:
        if check.prepare:
            check.prepare()
        with log.open("w") as output:
            status = subprocess.run(
                check.command,
                cwd=check.folder,
                env={**ENVIRONMENT, **check.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
    tests, failures = counts(check.junit, status)
    outcome = Outcome(lane, check, time.monotonic() - start, tests, failures)
    word = "FAILED" if failures else "ok"
    print(f"  {lane:11} {check.name:24} {word}, {tests} in {outcome.seconds:.1f} s", flush=True)
    if failures:
        text = log.read_text(errors="replace").splitlines()
        print("\n".join(f"    | {line}" for line in text[-TAIL:]), f"    the whole: {log}", sep="\n", flush=True)
    return outcome


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


def main(lanes: list[str]) -> int:
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown or not lanes:
        print(f"usage: run.py LANE...; the lanes are {', '.join(LANES)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    outcomes = [outcome for lane in lanes for check in LANES[lane]() if (outcome := run(lane, check))]
    print("\nsummary")
    for lane in lanes:
        own = [outcome for outcome in outcomes if outcome.lane == lane]
        failed = sum(outcome.failures for outcome in own)
        seconds = sum(outcome.seconds for outcome in own)
        result = f"{failed} FAILED" if failed else "ok"
        print(f"  {lane:11} {sum(outcome.tests for outcome in own):4} tests  {seconds:6.1f} s  {result}")
    failures = sum(outcome.failures for outcome in outcomes)
    print(f"  all of it in {(time.monotonic() - start) / 60:.1f} minutes; the logs are in {LOGS.relative_to(ROOT)}")
    print(f"{sum(outcome.tests for outcome in outcomes) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
