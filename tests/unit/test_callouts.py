# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's callout scripts: who is asked what, in which order, and what their answers mean.

The scripts are real ones, each of which writes down what it was asked. The real mdevctl is asked the same in
tests/modules/test_mdevctl_suite.py.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev import waiting
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import callouts, scripts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.callouts import asked, attributes
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.scripts import (
    Refused,
    Scripts,
    scripts_of_host,
)

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
DEVICE = Definition(UUID, "matrix", "vfio_ap-passthrough", True, (("assign_adapter", "5"),))
DOCUMENT = '{"mdev_type":"vfio_ap-passthrough","start":"auto","attrs":[{"assign_adapter":"5"}]}'
NEW, OLD = "new", "old"
# Writes down event, action and state; a script with versions also answers what it understands.
LOG = 'cat > "$0.stdin"; echo "${0##*/} $4 $6 $8" >> LOG\n'
VERSIONS = (
    'if [ "$4 $6" = "get capabilities" ]; then'
    ' echo \'{"supports":{"version":2,"actions":[ACTIONS],"events":["pre","post","get","live"]}}\'; exit 0; fi\n'
)
ALL = '"start","stop","define","undefine","modify","attributes","capabilities"'

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Installs a script that writes down what it is asked and then does as it is told."""
    folders = (tmp_path / NEW, tmp_path / OLD)
    monkeypatch.setattr(scripts, "FOLDERS", tuple(map(str, folders)))
    monkeypatch.setattr(callouts, "LEAST", 0.3)
    monkeypatch.setattr(callouts, "TELLING", 2.0)

    def put(name: str, body: str = "exit 0", folder: str = NEW, kind: str = "callouts", versions: str = "") -> Path:
        path = tmp_path / folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        said = VERSIONS.replace("ACTIONS", versions) if versions else ""
        path.write_text("#!/bin/sh\n" + (LOG + said).replace("LOG", f"{tmp_path}/log") + body + "\n")
        path.chmod(0o755)
        return path

    return put


def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    # Asking for capabilities comes first, and once.
    return [line for line in lines if "capabilities" not in line]


def do(
    action: str = "start",
    scripts: Scripts | None = None,
    seconds: float = 5,
    force: bool = False,
    fails: bool = False,
) -> None:
    with asked(scripts or scripts_of_host(), action, DEVICE, seconds, force):
        if fails:
            raise KeyError("the step")


def test_without_scripts_nothing_is_run(put: Put, tmp_path: Path) -> None:
    assert scripts_of_host() is None
    do()
    assert attributes(None, DEVICE, 5) == ()
    path = put("x")
    path.chmod(0o644)
    (path.parent / "folder").mkdir()
    (path.parent / "dangling").symlink_to("nowhere")
    (path.parent / "loop").symlink_to("loop")
    assert scripts_of_host() is None
    assert log(tmp_path) == []


def test_the_order_of_folders_and_names(put: Put) -> None:
    paths = [put("b"), put("a", folder=OLD), put("a"), put("z", kind="notifiers", folder=OLD)]
    scripts = scripts_of_host()
    assert scripts is not None
    assert scripts.callouts == tuple(map(str, (paths[2], paths[0], paths[1])))
    assert scripts.notifiers == (str(paths[3]),)


def test_what_a_script_gets_to_see(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of whoever runs the task")
    script = put(
        "x",
        f'for word in "$@"; do echo "$word"; done > {tmp_path}/argv; env > {tmp_path}/env; '
        f"pwd >> {tmp_path}/pwd; echo $PPID >> {tmp_path}/ppid",
    )
    put("n", kind="notifiers")
    do()
    words = ["-t", "vfio_ap-passthrough", "-e", "post", "-a", "start", "-s", "success", "-u", UUID, "-p", "matrix"]
    assert (tmp_path / "argv").read_text().splitlines() == words
    assert Path(f"{script}.stdin").read_text() == DOCUMENT
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    # The shell adds PWD and the like by itself.
    assert {*environment} - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "LC_ALL"}
    assert {*(tmp_path / "pwd").read_text().splitlines()} == {"/"}
    # s390-tools' script keeps a lock for its parent from pre to post.
    assert {*(tmp_path / "ppid").read_text().splitlines()} == {str(os.getpid())}
    assert (tmp_path / NEW / "notifiers" / "n.stdin").read_text() == DOCUMENT


ASKED: list[tuple[str, list[tuple[str, str, str]], list[str]]] = [
    # name, scripts as (name, body, versions), what is written down
    ("one allows", [("a", "exit 0", "")], ["a pre start none", "a post start success", "n notify start success"]),
    (
        "all of another type: all hear of it again",
        [("a", "exit 2", ""), ("b", "exit 2", "")],
        [
            "a pre start none",
            "b pre start none",
            "a post start success",
            "b post start success",
            "n notify start success",
        ],
    ),
    (
        "the first of the type answers, alone",
        [("a", "exit 2", ""), ("b", "exit 0", ""), ("c", "exit 1", "")],
        ["a pre start none", "b pre start none", "b post start success", "n notify start success"],
    ),
    (
        "one that dies of a signal is passed by",
        [("a", "kill -9 $$", ""), ("b", "exit 0", "")],
        ["a pre start none", "b pre start none", "b post start success", "n notify start success"],
    ),
    (
        "what post says does not matter",
        [("a", '[ "$4" = pre ]', "")],
        ["a pre start none", "a post start success", "n notify start success"],
    ),
    (
        "one with versions is asked alone",
        [("a", "exit 1", ""), ("b", "exit 0", ALL)],
        ["b pre start none", "b post start success", "n notify start success"],
    ),
    (
        "one with versions has no objection when it dies of a signal",
        [("a", "kill -9 $$", ALL)],
        ["a pre start none", "a post start success", "n notify start success"],
    ),
]


@pytest.mark.parametrize(("scripts", "lines"), [case[1:] for case in ASKED], ids=[case[0] for case in ASKED])
def test_who_is_asked(put: Put, tmp_path: Path, scripts: list[tuple[str, str, str]], lines: list[str]) -> None:
    put("n", "exit 1", kind="notifiers")
    for name, body, versions in scripts:
        put(name, body, versions=versions)
    do()
    assert log(tmp_path) == lines
    with pytest.raises(KeyError):
        do(fails=True)
    assert log(tmp_path) == [line.replace("success", "failure") for line in lines]


REFUSALS: list[tuple[str, list[tuple[str, str, str]], list[str], str, list[str]]] = [
    # name, scripts, what is written down, the message, what is written down with force
    (
        "one refuses",
        [("a", "echo 'APQN 5.4 is in use' >&2; exit 1", ""), ("b", "exit 0", "")],
        ["a pre start none", "n notify start none"],
        f"the callout script DIR/a refuses the start of mdev {UUID} on ap_matrix (matrix) (exit status 1): APQN"
        " 5.4 is in use; force: true passes over it",
        ["a pre start none", "a post start success", "n notify start success"],
    ),
    (
        "one with versions refuses",
        [("a", "exit 3", ALL)],
        ["a pre start none", "n notify start none"],
        f"the callout script DIR/a refuses the start of mdev {UUID} on ap_matrix (matrix) (exit status 3);"
        " force: true passes over it",
        ["a pre start none", "a post start success", "n notify start success"],
    ),
    (
        "with versions, another type is a refusal too",
        [("a", "exit 2", ALL)],
        ["a pre start none", "n notify start none"],
        f"the callout script DIR/a refuses the start of mdev {UUID} on ap_matrix (matrix) (exit status 2);"
        " force: true passes over it",
        ["a pre start none", "a post start success", "n notify start success"],
    ),
    (
        "one with versions that does not know the action",
        [("a", "exit 0", '"stop"')],
        ["n notify start none"],
        "the callout script DIR/a does not understand pre start",
        ["n notify start success"],
    ),
]


@pytest.mark.parametrize(
    ("scripts", "lines", "message", "forced"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_who_refuses(
    put: Put, tmp_path: Path, scripts: list[tuple[str, str, str]], lines: list[str], message: str, forced: list[str]
) -> None:
    put("n", kind="notifiers")
    for name, body, versions in scripts:
        put(name, body, versions=versions)
    with pytest.raises(Refused) as error:
        do()
    assert str(error.value) == message.replace("DIR", f"{tmp_path}/{NEW}/callouts")
    assert log(tmp_path) == lines
    do(force=True)
    assert log(tmp_path) == forced


def test_what_a_script_says_cannot_forge_lines(put: Put) -> None:
    put("a", "printf '\\033[31mred\\nsecond line %01000d' 1 >&2; exit 1")
    with pytest.raises(Refused) as error:
        do()
    assert str(error.value).isprintable()
    assert "\\x1b[31mred\\nsecond line 0000" in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "body",
    [
        "sleep 60",
        "trap '' TERM; while :; do sleep 1; done",
        "sleep 60 & exit 0",
    ],
    ids=["sleeps", "ignores SIGTERM", "leaves one behind that holds its output"],
)
def test_one_that_never_ends(put: Put, tmp_path: Path, body: str) -> None:
    put("a", f'[ "$4" = post ] && exit 0; [ "$4" = get ] && exit 1; {body}')
    put("n", kind="notifiers")
    scripts = scripts_of_host()
    with pytest.raises(Refused, match=f"a, asked for pre start of mdev {UUID}, has not ended after 0.3 s"):
        do("start", scripts, 0.3, fails=True)
    # It hears of the end, as it may hold a lock; and nobody waits for it again.
    assert log(tmp_path) == ["a pre start none", "a post start failure", "n notify start none"]
    do("stop", scripts, 0.3, force=True)
    assert log(tmp_path) == ["n notify stop success"]


def test_one_hears_of_the_end_when_the_time_of_the_run_is_up(put: Put, tmp_path: Path) -> None:
    put("a")
    put("n", kind="notifiers")
    with waiting.within(0.5), pytest.raises(KeyError), asked(scripts_of_host(), "start", DEVICE, 30, False):
        time.sleep(0.6)
        raise KeyError("the step")
    assert log(tmp_path) == ["a pre start none", "a post start failure", "n notify start failure"]


def test_one_that_never_ends_is_passed_over_with_force(put: Put, tmp_path: Path) -> None:
    put("a", '[ "$4" = pre ] && sleep 60; exit 0')
    do(seconds=0.3, force=True)
    assert log(tmp_path) == ["a pre start none", "a post start success"]


def test_one_that_says_what_it_understands_and_never_ends(put: Put, tmp_path: Path) -> None:
    put("a", "exit 0")
    put("b", '[ "$6" = capabilities ] && sleep 60; exit 0')
    with pytest.raises(Refused, match="b, asked for get capabilities of mdev"):
        do(seconds=0.3, fails=True)
    # Nobody was asked whether it may be done, so nobody hears of an end.
    assert log(tmp_path) == []


def test_notifiers_are_no_judges(put: Put, tmp_path: Path) -> None:
    put("a", "sleep 60", kind="notifiers")
    put("b", "exit 1", kind="notifiers", folder=OLD)
    do("define", seconds=0.3)
    assert log(tmp_path) == ["a notify define success", "b notify define success"]


def test_one_that_prints_100_mb(put: Put, tmp_path: Path) -> None:
    put("a", "head -c 100000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 1")
    with pytest.raises(Refused) as error:
        do(seconds=60)
    assert len(str(error.value)) < 1500
    with pytest.raises(Refused):
        attributes(scripts_of_host(), DEVICE, 60)


def test_a_script_that_does_not_read_what_it_is_told(put: Put, tmp_path: Path) -> None:
    path = put("a")
    path.write_text("#!/bin/sh\nexec <&-\nexit 0\n")
    large = Definition(UUID, "matrix", "t", True, (("a", "x" * 500_000),))
    with asked(scripts_of_host(), "define", large, 5, False):
        pass


def test_a_script_without_an_interpreter_is_passed_by(put: Put, tmp_path: Path) -> None:
    put("a").write_text("exit 1\n")
    put("b").write_text("#!/nowhere\n")
    put("c")
    do()
    assert log(tmp_path) == ["c pre start none", "c post start success"]


def test_a_script_that_is_gone_after_it_was_found(put: Put, tmp_path: Path) -> None:
    path = put("a", versions=ALL)
    scripts = scripts_of_host()
    assert callouts.can_change(scripts, DEVICE, 5)
    path.unlink()
    with pytest.raises(Refused, match="cannot be run any more"):
        do("start", scripts, fails=True)


SUPPORTED = '{"supports":{"version":2,"actions":["start"],"events":["pre"]}}'
CAPABILITIES: list[tuple[str, str, str, bool]] = [
    # name, what it prints, how it ends, whether it counts
    ("all of it", SUPPORTED, "exit 0", True),
    ("with a NUL behind it", SUPPORTED + "\0", "exit 0", True),
    ("a later version", SUPPORTED.replace("2", "9").replace('"pre"', '"pre","later"'), "exit 0", True),
    ("beside something else", SUPPORTED.replace('"supports"', '"provides":{},"supports"'), "exit 0", True),
    ("it failed", SUPPORTED, "exit 1", True),
    ("of another type", SUPPORTED, "exit 2", False),
    ("killed", SUPPORTED, "kill -9 $$", False),
    ("no JSON", "not JSON", "exit 0", False),
    ("nothing", "", "exit 0", False),
    ("null", "null", "exit 0", False),
    ("nothing supported", '{"supports":null}', "exit 0", False),
    ("a list", f"[{SUPPORTED}]", "exit 0", False),
    ("no version", SUPPORTED.replace('"version":2,', ""), "exit 0", False),
    ("a text as version", SUPPORTED.replace("2", '"2"'), "exit 0", False),
    ("a truth as version", SUPPORTED.replace("2", "true"), "exit 0", False),
    ("a version below 0", SUPPORTED.replace("2", "-2"), "exit 0", False),
    ("no actions", SUPPORTED.replace('"actions":["start"],', ""), "exit 0", False),
    ("a text as actions", SUPPORTED.replace('["start"]', '"start"'), "exit 0", False),
    ("numbers as events", SUPPORTED.replace('"pre"', "1"), "exit 0", False),
    ("nested deep", "[" * 200_000, "exit 0", False),
    ("a number of very many digits", SUPPORTED.replace("2", "2" * 100_000), "exit 0", False),
]


@pytest.mark.parametrize(
    ("output", "end", "counts"), [case[1:] for case in CAPABILITIES], ids=[case[0] for case in CAPABILITIES]
)
def test_what_a_script_says_that_it_understands(put: Put, tmp_path: Path, output: str, end: str, counts: bool) -> None:
    script = put("a", f'[ "$6" = capabilities ] && {{ cat "$0.out"; {end}; }}; exit 0')
    Path(f"{script}.out").write_text(output)
    put("b", "exit 2")
    do()
    # One that counts is told of what it understands alone; else all are asked.
    assert log(tmp_path) == ["a pre start none", *([] if counts else ["a post start success"])]


ATTRIBUTES: list[tuple[str, str, str, tuple[tuple[str, str], ...] | str]] = [
    # name, what it prints, how it ends, the attributes or what is wrong
    (
        "some",
        '[{"assign_adapter": "5"}, {"assign_domain": "4"}]',
        "exit 0",
        (("assign_adapter", "5"), ("assign_domain", "4")),
    ),
    ("with a NUL behind them", '[{"a": "1"}]\0', "exit 0", (("a", "1"),)),
    ("with a line feed", '[{"a": "1"}]\n', "exit 0", (("a", "1"),)),
    ("an empty value", '[{"a": ""}]', "exit 0", (("a", ""),)),
    ("none", "[]", "exit 0", ()),
    ("null", "null", "exit 0", ()),
    ("nothing", "", "exit 0", ()),
    ("s390-tools' none", "[{}]\n", "exit 0", ()),
    ("of another type", '[{"a": "1"}]', "exit 2", ()),
    ("killed", '[{"a": "1"}]', "kill -9 $$", ()),
    (
        "it failed",
        '[{"a": "1"}]',
        "echo why >&2; exit 1",
        "does not tell the attributes of mdev .*exit status 1.*: why; say",
    ),
    ("no JSON", "not JSON", "exit 0", "that cannot be understood: Expecting value"),
    ("no list", '{"a": "1"}', "exit 0", "attrs is not a list"),
    ("a number", '[{"a": 1}]', "exit 0", "not one name with one text value"),
    ("two in one", '[{"a": "1", "b": "2"}]', "exit 0", "not one name with one text value"),
    ("nested deep", "[" * 200_000, "exit 0", "it is nested too deep"),
    ("a number of very many digits", "[" + "9" * 100_000 + "]", "exit 0", "a number of 100000 digits"),
    ("half of a pair", '[{"a": "\\ud800"}]', "exit 0", "half of a UTF-16 pair"),
    ("2 MB", '[{"a": "' + "x" * 2**21 + '"}]', "exit 0", "more than 1048576 characters"),
]


@pytest.mark.parametrize("versions", ["", ALL], ids=["without versions", "with versions"])
@pytest.mark.parametrize(
    ("output", "end", "expected"), [case[1:] for case in ATTRIBUTES], ids=[case[0] for case in ATTRIBUTES]
)
def test_attributes(
    put: Put, tmp_path: Path, output: str, end: str, expected: tuple[tuple[str, str], ...] | str, versions: str
) -> None:
    script = put("a", f'cat "$0.out"; {end}', versions=versions)
    Path(f"{script}.out").write_text(output)
    if versions and end == "exit 2":
        expected = "exit status 2"
    if versions and end.startswith("kill"):
        expected = "signal 9"
    if isinstance(expected, str):
        with pytest.raises(Refused, match=expected):
            attributes(scripts_of_host(), DEVICE, 5)
    else:
        assert attributes(scripts_of_host(), DEVICE, 5) == expected
    assert log(tmp_path) == ["a get attributes none"]
    assert Path(f"{script}.stdin").read_text() == ""


def test_attributes_that_a_script_does_not_know(put: Put) -> None:
    put("a", versions='"start"')
    with pytest.raises(Refused, match="does not understand get attributes"):
        attributes(scripts_of_host(), DEVICE, 5)


def test_what_is_provided_to_a_script_with_versions(put: Put, tmp_path: Path) -> None:
    put("a", f'[ "$6" = capabilities ] && cp "$0.stdin" {tmp_path}/provided; exit 2')
    do()
    assert json.loads((tmp_path / "provided").read_text()) == {
        "provides": {
            "version": 2,
            "actions": ["start", "stop", "define", "undefine", "modify", "attributes", "capabilities"],
            "events": ["pre", "post", "notify", "get", "live"],
        }
    }


def test_a_script_changes_what_runs(put: Put, tmp_path: Path) -> None:
    put("n", kind="notifiers")
    put("a")
    scripts = scripts_of_host()
    assert scripts is not None
    assert not callouts.can_change(None, DEVICE, 5)
    assert not callouts.can_change(scripts, DEVICE, 5)
    with pytest.raises(Refused, match="no callout script changes"):
        callouts.change(scripts, DEVICE, 5)
    log(tmp_path)
    script = put("b", versions=ALL)
    scripts = scripts_of_host()
    assert scripts is not None
    assert callouts.can_change(scripts, DEVICE, 5)
    callouts.change(scripts, DEVICE, 5)
    assert log(tmp_path) == ["b live modify none", "n notify modify none"]
    assert Path(f"{script}.stdin").read_text() == DOCUMENT
    put("b", "echo no >&2; exit 1", versions=ALL)
    with pytest.raises(Refused, match=r"refuses the live modify of mdev .*: no$"):
        callouts.change(scripts, DEVICE, 5)
    assert log(tmp_path) == ["b live modify none", "n notify modify none"]
