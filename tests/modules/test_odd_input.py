# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a user, a file or a driver says: a module answers with one JSON object, in time, and without a traceback.

Hypothesis makes up the input, for two minutes altogether or NODEDEV_SECONDS. The examples are the same each time, but
how many there is time for; NODEDEV_SEED gives others.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import odd_strategies as odd
import pytest
from conftest import Host
from hypothesis import strategies as st

SEED = int(os.environ.get("NODEDEV_SEED", "1"))
# Seconds for the examples of all tests, and the part that a test of each kind gets: 12 of the first, two of the others.
SECONDS = float(os.environ.get("NODEDEV_SECONDS", "120"))
OF_MODULE, OF_FILES, OF_VALUES = 0.03, 0.15, 0.18
# Seconds after which a module has not ended; it waits for much less.
LIMIT = 15.0
# Seconds to make smaller what fails.
TO_SHRINK = 60.0
SERVER = str(Path(__file__).with_name("odd_server.py"))
HOSTS = ("nvidia-mdev", "fc")
# Where modules have something to do that have nothing to do on those.
OTHERS = {"sriov": "functions", "vgpu": "nvidia-vfio-small"}
# How Ansible's own refusals of arguments begin, in which the user's text stands as it is.
ANSIBLES = (
    *("argument '", "value of ", "Unsupported parameters", "missing required", "parameters are mutually", "one of the"),
    *("Elements value for", "Failed to", "dictionary requested", "unable to", "Unable to"),
)


class Server:
    """A simulated host with the process that runs modules in it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process: subprocess.Popen[str] = host.popen(
            [host.python, SERVER, *odd.MODULES],
            env={"PYTHONPATH": host.library, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        assert select.select([self._process.stdout], [], [], 2 * LIMIT)[0], f"{do} has not ended"
        return json.loads(self._process.stdout.readline())

    def run(self, module: str, arguments: odd.Arguments) -> dict[str, Any]:
        """What a module says; AssertionError where it does not say it as it must."""
        done = self.ask("run", module=module, arguments=arguments, seconds=LIMIT)
        assert done["status"] is not None, f"it has not ended after {LIMIT} s: {done['stderr']}"
        assert done["stdout"], f"it said nothing: {done['stderr']}"
        result: dict[str, Any] = json.loads(done["stdout"].encode("latin-1"), parse_constant=_refuse)
        json.dumps(result, ensure_ascii=False).encode()
        assert "Traceback" not in done["stderr"], done["stderr"]
        if result.get("failed"):
            _check_failure(result)
        else:
            assert done["status"] == 0
        return result

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _check_failure(result: dict[str, Any]) -> None:
    message = result["msg"]
    assert isinstance(message, str) and message
    if not message.startswith(ANSIBLES):
        assert "exception" not in result or "Failed to import" in message, result
        assert message.isprintable(), message


class Budget:
    """The time for the examples of a test, and some more to make smaller what fails."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.examples = 0
        self.failure: Exception | None = None
        self.failing: Any = None

    def attempt(self, example: Any, attempt: Callable[[Any], None]) -> None:
        """Try an example; raises _OverError when the time is over."""
        if time.monotonic() > self._end:
            raise _OverError
        self.examples += 1
        try:
            attempt(example)
        except Exception as error:
            if self.failure is None:
                self._end = time.monotonic() + TO_SHRINK
            self.failure, self.failing = error, example
            raise


def tried(share: float, input: st.SearchStrategy[Any], attempt: Callable[[Any], None]) -> None:
    """Try examples for this part of the time; what fails is shown as small as it can be made in a while."""
    budget = Budget(share * SECONDS)

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=100000, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(input)
    def run(example: Any) -> None:
        budget.attempt(example, attempt)

    try:
        run()
    except _OverError:
        print(f"{budget.examples} examples with NODEDEV_SEED={SEED}")
    if budget.failure is not None:
        raise AssertionError(f"with NODEDEV_SEED={SEED}: {budget.failing!r}") from budget.failure


class _OverError(BaseException):
    """The time is over: Hypothesis itself cannot be told to end, but by what it does not catch."""


@pytest.fixture(scope="module")
def servers(library: str) -> Iterator[dict[str, Server]]:
    """A host of each scenario, by its name."""
    started: dict[str, Server] = {}
    for scenario in (*HOSTS, *OTHERS.values()):
        host = Host(scenario)
        host.library = library
        host.start()
        started[scenario] = Server(host)
    yield started
    for server in started.values():
        server.end()
        server.host.stop()


def hosts_of(module: str) -> tuple[str, ...]:
    """The scenarios in which a module has something to do."""
    if module == "nodedev" or module in odd.FACTS:
        return HOSTS
    if module in OTHERS:
        return (OTHERS[module],)
    return ("fc",) if module.startswith("vhba") else ("nvidia-mdev",)


def named(scenario: str) -> st.SearchStrategy[tuple[str, odd.Arguments]]:
    """A module with arguments that are right."""
    modules = [name for name in odd.MODULES if scenario in hosts_of(name)]
    return st.sampled_from(modules).flatmap(lambda name: st.tuples(st.just(name), odd.calls(name, most=0)))


@pytest.mark.parametrize(
    ("module", "scenario"), [(module, hosts_of(module)[-1]) for module in odd.MODULES] + [("nodedev", "nvidia-mdev")]
)
def test_arguments(servers: dict[str, Server], module: str, scenario: str) -> None:
    """Of any arguments; in check mode and where it fails, a module changes nothing."""
    server = servers[scenario]
    server.ask("reset")
    first = server.ask("state")

    def attempt(arguments: odd.Arguments) -> None:
        result = server.run(module, arguments)
        after = server.ask("state")
        if after != first:
            server.ask("reset")
            assert not arguments["_ansible_check_mode"]
            # What was undone may leave the folder that definitions of its kind are in.
            assert not result.get("failed") or _without_folders(after) == _without_folders(first), result

    tried(OF_MODULE, odd.calls(module), attempt)


def _without_folders(state: dict[str, list[str]]) -> dict[str, list[str]]:
    return {path: entry for path, entry in state.items() if entry[0] != "folder"}


@pytest.mark.parametrize("scenario", HOSTS)
def test_definitions(servers: dict[str, Server], scenario: str) -> None:
    """Whatever stands where definitions are kept: facts are told, and what is not asked for stays as it is."""
    server = servers[scenario]
    server.ask("reset")

    def attempt(example: tuple[Sequence[odd.Entry], tuple[str, odd.Arguments]]) -> None:
        entries, (module, arguments) = example
        server.ask("plant", entries=entries)
        before = server.ask("state")
        try:
            result = server.run(module, arguments)
            after = server.ask("state")
            assert not (result.get("failed") and module in odd.FACTS), result
            if arguments["_ansible_check_mode"] or module in odd.FACTS:
                assert after == before
            for path, _kind, _content in entries:
                if path in before and not _is_meant(path, arguments):
                    assert after.get(path) == before[path], path
        finally:
            server.ask("reset")

    tried(OF_FILES, st.tuples(st.lists(odd.entries(), min_size=1, max_size=4), named(scenario)), attempt)


def _is_meant(path: str, arguments: odd.Arguments) -> bool:
    """Whether a file's name, or that of a file below it, is in what a module is told to make."""
    name = path.rpartition("/")[2].partition(".")[0].lower()
    return bool(name) and name in json.dumps(arguments).lower()


@pytest.mark.parametrize("scenario", HOSTS)
def test_values(servers: dict[str, Server], scenario: str) -> None:
    """Whatever a driver answers: facts are told, and all else is done or refused with a reason."""
    server = servers[scenario]
    module = "mdev" if scenario == "nvidia-mdev" else "vhba"

    def made() -> Any:
        """The state of the host with a device that runs and is defined."""
        server.ask("reset")
        assert not server.run(module, {**odd.CALLS[module][0], "wait_timeout": odd.SHORT}).get("failed")
        return server.ask("state")

    first = made()
    listed = server.host.run(["find", "/sys", "-printf", "%y %p\n"]).stdout.splitlines()
    paths = {kind: [line[2:] for line in listed if line[0] == kind] for kind in "fld"}

    def attempt(example: tuple[Sequence[odd.Rule], tuple[str, odd.Arguments]]) -> None:
        nonlocal first
        rules, (module, arguments) = example
        for rule in rules:
            server.host.fault(**rule)
        try:
            result = server.run(module, arguments)
        finally:
            server.host.clear_faults()
            after, before = server.ask("state"), first
            if after != before:
                first = made()
        assert not (result.get("failed") and module in odd.FACTS), result
        if arguments["_ansible_check_mode"] or module in odd.FACTS:
            assert after == before

    rules = odd.rules(paths["f"], paths["l"], paths["d"])
    tried(OF_VALUES, st.tuples(st.lists(rules, min_size=1, max_size=3), named(scenario)), attempt)
