# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's own test suite, case by case: the real mdevctl of two releases on the simulated host, and ours beside it.

mdevctl_suite.py has the cases. What both do is compared by what is defined and what runs after it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import CARD, OTHER, OTHER_CARD, ROOT, UUID, Host, warnings
from mdevctl_suite import (
    CASES,
    COMMAND_LINE,
    DEFINED,
    DOCUMENTS,
    INVALID,
    LISTED,
    LISTINGS,
    MODIFIED,
    PARAMS,
    REASONS,
    SCRIPTS,
    TYPES,
    Case,
    Listing,
)
from scripts import NEW, OLD, mdevctls

WORDS = {"U": UUID, "P": CARD, "Q": OTHER_CARD, "T": "nvidia-231", "S": "nvidia-230", "UPPER": CARD.upper()}
WORDS.update({f"U{number}": f"{UUID[:-1]}{number}" for number in (0, 1, 2, 3, 9)})
FILE = "/run/document.json"
# Nothing runs, is defined or is asked.
RESET = (
    "for each in /sys/bus/mdev/devices/*/remove; do [ ! -e $each ] || echo 1 > $each; done;"
    "find /etc/mdevctl.d -mindepth 1 -delete; rm -rf /usr/lib/mdevctl;"
    f"mkdir -p {NEW}/callouts {NEW}/notifiers {OLD}/callouts {OLD}/notifiers;"
)
STATE = (
    "cd /etc/mdevctl.d; find . -mindepth 2 -type f ! -path './scripts.d/*' | while read -r file; do"
    ' printf "%s\\n" "F $file $(tr -d "\\n" < $file)"; done;'
    "cd /sys/bus/mdev/devices; for each in *; do [ ! -e $each ] || "
    'echo "D $each $(basename $(dirname $(readlink -f $each))) $(basename $(readlink $each/mdev_type))'
    f' $(cat $each/{PARAMS})"; done;'
)
State = tuple[dict[str, Any], dict[str, str]]


def filled(text: str) -> str:
    """The text with the host's own names in the place of the short ones."""
    return re.sub(r"\b(U\d?|P|Q|T|S|UPPER)\b", lambda match: WORDS[match[1]], text)


def document(of: dict[str, Any]) -> str:
    return json.dumps({**of, "mdev_type": filled(of["mdev_type"])})


def given(words: str, folder: str = NEW) -> str:
    """The commands that make what there is before; scripts are put in this folder."""
    commands = [RESET, f"printf '%s' {shlex.quote(document(MODIFIED))} > {FILE};"]
    for word in words.split():
        word, _at, device = word.partition("@")
        uuid = filled(device or "U")
        kind, *names = word.split(":")
        if kind in ("active", "full"):
            parent, of = (filled(name) for name in (*names, "S")[:2])
            made = (uuid, of) if kind == "active" else (OTHER, "nvidia-234")
            commands.append(f"echo {made[0]} > /sys/class/mdev_bus/{parent}/mdev_supported_types/{made[1]}/create;")
        elif kind in ("defined", "bare"):
            what = DEFINED if kind == "defined" else {"mdev_type": names[1], "start": "auto"}
            if device:
                # Those that are only listed have no line feeds, which mdevctl does not escape.
                what = json.loads(json.dumps(what).replace("\\n", ""))
            path = f"/etc/mdevctl.d/{filled(names[0])}"
            commands.append(f"mkdir -p {path}; printf '%s' {shlex.quote(document(what))} > {path}/{uuid};")
        else:
            path = f"{OLD if kind == 'old' else folder}/callouts/{names[-1]}.sh"
            # mdevctl 1.2 takes no answer of a script that ends before it has read what it is told.
            text = f"#!/bin/sh\ncat > /dev/null\n{filled(SCRIPTS[names[0]])}\n"
            commands.append(f"printf '%s' {shlex.quote(text)} > {path}; chmod 755 {path};")
    return "".join(commands)


def understood(text: str) -> State:
    """What the commands of STATE print: definitions by parent and UUID, and what runs."""
    definitions, running = {}, {}
    for line in text.splitlines():
        kind, where, what = line.split(" ", 2)
        if kind == "F":
            definitions[where.removeprefix("./")] = json.loads(what)
        elif kind == "D":
            running[where] = what.strip()
    return definitions, running


def expected(leaves: tuple[dict[str, dict[str, Any]], dict[str, str]]) -> State:
    definitions = {f"{filled(parent)}/{UUID}": json.loads(document(what)) for parent, what in leaves[0].items()}
    return definitions, {filled(uuid): filled(what) for uuid, what in leaves[1].items()}


@pytest.fixture(scope="module")
def shared(library: str) -> Iterator[Host]:
    """A host for all cases, each of which makes all anew."""
    host = Host("nvidia-mdev")
    host.library = library
    host.start()
    yield host
    host.stop()


def theirs(host: Host, release: str, case: Case) -> tuple[bool, State, State]:
    """Whether mdevctl fails, and what there is before and after it."""
    command = [*mdevctls()[release], *shlex.split(filled(case.command).replace("DOC", FILE))]
    folder = NEW if release == "1.4" else OLD
    marked = f"{shlex.join(command)} > /run/said 2>&1; echo = $?;"
    done = host.run(["sh", "-c", given(case.given, folder) + STATE + marked + STATE], env={"RUST_BACKTRACE": "0"})
    before, status, after = re.split(r"^= (\d+)\n", done.stdout, flags=re.M)
    return status != "0", understood(before), understood(after)


def ours(host: Host, case: Case) -> tuple[dict[str, Any], State, State]:
    wish = {"uuid": "U", "parent": "P", "type": "T", **(case.ours or {})}
    arguments = {
        key: filled(value) if isinstance(value, str) else value for key, value in wish.items() if value is not None
    }
    before = understood(host.run(["sh", "-c", given(case.given) + STATE]).stdout)
    result = host.module(case.module, **arguments)
    return result, before, understood(host.run(["sh", "-c", STATE]).stdout)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.suite}/{case.name}" for case in CASES])
def test_case(shared: Host, case: Case) -> None:
    reached = None
    for release in ("1.2", "1.4") if case.command else ():
        fails = case.fails if release == "1.4" or case.old is None else case.old == "fails"
        if release == "1.2" and case.old == "":
            continue
        failed, before, after = theirs(shared, release, case)
        assert failed == fails, (release, shared.read("/run/said"))
        if case.fails:
            assert release == "1.2" or after == before
        else:
            reached = after
    if case.ours is None:
        assert case.why in REASONS
        return
    result, before, after = ours(shared, case)
    failed = bool(result.get("failed"))
    if not case.why:
        assert failed == case.fails, result
        assert after == (before if case.fails else reached)
        return
    assert case.why in REASONS
    assert failed == (case.does == "fails"), result
    if case.does in ("fails", "nothing"):
        assert not result.get("changed")
        assert after == before
    elif case.leaves is not None:
        assert after == expected(case.leaves)


def listed_as_json(text: str, one: tuple[str, str] | None) -> list[tuple[Any, ...]]:
    """The devices of list --dumpjson; ``one`` is the place of the only one, which is told without it."""
    told = json.loads(text or "[]")
    if isinstance(told, dict):
        assert one is not None
        told = [{one[0]: [{one[1]: told}]}]
    return sorted(
        (uuid, parent, said["mdev_type"], said["start"], [*(tuple(*attr.items()) for attr in said["attrs"])])
        for parents in told
        for parent, devices in parents.items()
        for device in devices
        for uuid, said in device.items()
    )


def listed_as_text(text: str) -> list[tuple[Any, ...]]:
    devices: list[tuple[Any, ...]] = []
    for line in text.splitlines():
        if line.startswith("    @"):
            (pair,) = json.loads(line.split(": ", 1)[1]).items()
            devices[-1][4].append(pair)
        elif line and not line.startswith("  Attrs"):
            uuid, parent, kind, start = line.split()[:4]
            devices.append((uuid, parent, kind, start, []))
    return sorted(devices)


def listed_by_ours(host: Host, listing: Listing) -> list[tuple[Any, ...]]:
    if listing.defined:
        found = host.done("definition_facts", kinds=["mdev"])["ansible_facts"]["nodedev_definitions"]["mdev"]
        return sorted(
            (
                *(each["uuid"], each["parent_addr"], each["type"], "auto" if each["autostart"] else "manual"),
                [*(tuple(*attr.items()) for attr in each["attrs"])],
            )
            for each in found
        )
    result = host.done("nodedev_facts", capabilities=["mdev"])
    assert any("attributes of a device are not told" in text for text in warnings(result)) == ("bad" in listing.scripts)
    devices = []
    for device in result["ansible_facts"]["nodedev"]["devices"].values():
        said = device["capability"]
        start = "auto" if device["extra"].get("definition", {}).get("autostart") else "manual"
        attrs = [(attr["name"], attr["value"]) for attr in said.get("attr", ())]
        devices.append((said["uuid"], said["parent_addr"], said["mdev_type"]["id"], start, attrs))
    return sorted(devices)


def test_listings(shared: Host) -> None:
    known: dict[tuple[bool, bool, str], list[tuple[Any, ...]]] = {}
    for listing in LISTINGS:
        key = (listing.nothing, listing.defined, listing.scripts)
        setup = given(f"{'' if listing.nothing else LISTED} {listing.scripts}", OLD)
        if key not in known:
            shared.run(["sh", "-c", setup])
            known[key] = listed_by_ours(shared, listing)
        words = shlex.split(filled(listing.options))
        chosen = {option: words[words.index(option) + 1] for option in ("-u", "-p") if option in words}
        mine = [
            *filter(
                lambda device: chosen.get("-u") in (None, device[0]) and chosen.get("-p") in (None, device[1]),
                known[key],
            )
        ]
        one = (mine[0][1], mine[0][0]) if len(mine) == 1 else None
        commands = [setup]
        for command in mdevctls().values():
            line = shlex.join([*command, "list", *(["-d"] if listing.defined else []), *words])
            commands.append(f"{line} --dumpjson 2>/dev/null; echo '# '; {line} 2>/dev/null; echo '# ';")
        told = shared.run(["sh", "-c", "".join(commands)]).stdout.split("# \n")
        for release, as_json, as_text in zip(mdevctls(), told[::2], told[1::2]):
            assert listed_as_json(as_json, one) == mine, (release, listing.name)
            shown = [device if "-v" in words else (*device[:4], []) for device in mine]
            assert listed_as_text(as_text) == shown, (release, listing.name)


def test_types(start: Callable[..., Host]) -> None:
    hosts: dict[str, Host] = {}
    for name, scenario, parent in TYPES:
        if scenario not in hosts:
            hosts[scenario] = start(scenario)
            hosts[scenario].run(["sh", "-c", RESET])
        host, asked = hosts[scenario], filled(parent) if parent else None
        mine = host.module("mdev_types_facts", **({"parent": asked} if asked else {}))
        types = {
            each["address"]: {kind: {**said, "instances": None} for kind, said in each["types"].items()}
            for each in mine.get("ansible_facts", {}).get("mdev_types", {}).values()
        }
        for command in mdevctls().values():
            told = json.loads(host.run([*command, "types", "--dumpjson", *(["-p", asked] if asked else [])]).stdout)
            found = {
                address: {kind: {**said, "instances": None} for each in kinds for kind, said in each.items()}
                for parents in told
                for address, kinds in parents.items()
            }
            assert types == found, name


def test_documents(shared: Host) -> None:
    places = {f"{UUID[:-4]}{number:04x}": each for number, each in enumerate(DOCUMENTS)}
    path = f"/etc/mdevctl.d/{CARD}"
    for release, command in mdevctls().items():
        for uuid, each in places.items():
            put = f"{RESET} mkdir -p {path}; printf '%s' {shlex.quote(filled(each.text))} > {path}/{uuid};"
            line = shlex.join([*command, "list", "-d", "--dumpjson", "-u", uuid])
            done = shared.run(["sh", "-c", f"{put} {line}"], check=False)
            assert bool(done.returncode) == (each.attrs is None), (release, each.name)
            if each.attrs is not None:
                assert json.loads(done.stdout) == {"mdev_type": WORDS["T"], "start": "auto", "attrs": each.attrs}
    shared.run(["sh", "-c", f"{RESET} mkdir -p {path}"])
    for uuid, each in places.items():
        shared.write(f"{path}/{uuid}", filled(each.text))
    # A file of another name, and one more case of theirs.
    shared.write(f"{path}/invalid-uuid-value", "x")
    facts = shared.done("definition_facts", kinds=["mdev"])["ansible_facts"]["nodedev_definitions"]
    assert {each["uuid"]: each["attrs"] for each in facts["mdev"]} == {
        uuid: each.attrs for uuid, each in places.items() if each.attrs is not None
    }
    assert {each["path"] for each in facts["damaged"]} == {
        f"{path}/{uuid}" for uuid, each in places.items() if each.attrs is None
    }


def test_all_their_cases_are_there() -> None:
    assert Counter(case.suite for case in CASES) == {
        "define": 21,
        "undefine": 12,
        "modify": 28,
        "start": 25,
        "stop": 8,
        "callouts": 36,
    }
    assert [len(each) for each in (LISTINGS, TYPES, DOCUMENTS, INVALID, COMMAND_LINE)] == [22, 6, 7, 2, 1]
    names = [(case.suite, case.name) for case in CASES]
    assert len(set(names)) == len(names)


def test_each_difference_has_its_reason_in_the_documentation() -> None:
    text = " ".join((ROOT / "docs" / "mdev.md").read_text().split())
    assert {case.why for case in CASES} - {""} <= {*REASONS}
    for reason in REASONS.values():
        assert f"**{reason}.**" in text
