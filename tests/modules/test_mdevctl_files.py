# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in /etc/mdevctl.d: what the real mdevctl does with each, and what modules and boot engine do with all at once.

mdevctl stops at the first file that it does not understand, so it sees one at a time; ours see them all together.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER_CARD, UUID, Host, running, warnings
from scripts import NEW, OLD, mdevctl, mdevctls
from test_restore import install as install_engine
from test_restore import restore

TYPE = "nvidia-230"
STORE = "/etc/mdevctl.d"
FOLDER = f"{STORE}/{CARD}"
GOOD = json.dumps({"mdev_type": TYPE, "start": "auto", "attrs": []})
# What comes of a file: its device is started, or not by itself; it is no definition; or nothing works any more.
AUTO, MANUAL, SKIPPED, STOPS = "auto", "manual", "skipped", "stops"
# What only ours does: name one file, and go on.
DAMAGED = "damaged"


@dataclass(frozen=True)
class Case:
    """A file by what it is about: its name with U for the UUID, and its text or the command that makes it."""

    what: str
    file: str
    text: str
    theirs: str
    ours: str
    attribute: str = ""
    command: str = ""


def named(what: str, file: str, outcome: str) -> Case:
    return Case(what, file, GOOD, outcome, outcome)


def said(what: str, theirs: str, ours: str | None = None, attribute: str = "", **values: Any) -> Case:
    document = {"mdev_type": TYPE, "start": "auto", "attrs": [], **values}
    text = json.dumps({key: value for key, value in document.items() if value != "-"})
    return Case(what, "U", text, theirs, ours or (DAMAGED if theirs == STOPS else theirs), attribute)


def text(what: str, content: str) -> Case:
    return Case(what, "U", content, STOPS, DAMAGED)


def made(what: str, command: str, ours: str) -> Case:
    return Case(what, "U", "", SKIPPED, ours, command=command)


PARAMS = "nvidia/vgpu_params"
CASES = [
    named("as mdevctl names it", "U", AUTO),
    named("in capitals", "UPPER", AUTO),
    named("without dashes", "SIMPLE", AUTO),
    named("without dashes, in capitals", "UPPERSIMPLE", AUTO),
    named("in braces", "{U}", AUTO),
    named("as a URN", "urn:uuid:U", AUTO),
    named("as a URN in capitals", "URN:UUID:U", SKIPPED),
    named("in braces, without dashes", "{SIMPLE}", SKIPPED),
    named("with a blank before it", " U", SKIPPED),
    named("an editor's swap file", ".U.swp", SKIPPED),
    named("an editor's copy", "U~", SKIPPED),
    said("start is true", MANUAL, start=True),
    said("start is 1", MANUAL, start=1),
    said("start is a list", MANUAL, start=["auto"]),
    said("start is an object", MANUAL, start={}),
    said("start is Auto", MANUAL, start="Auto"),
    said("start is null", STOPS, start=None),
    said("start is missing", STOPS, start="-"),
    said("attrs is null", AUTO, attrs=None),
    said("attrs is missing", AUTO, attrs="-"),
    said("attrs is an object", STOPS, attrs={}),
    said("attrs has an empty object", STOPS, attrs=[{}]),
    said("attrs has two in one", STOPS, attrs=[{PARAMS: "a=1", "b": "2"}]),
    said("attrs has a number", STOPS, attrs=[{PARAMS: 1}]),
    said("attrs has null", STOPS, attrs=[{PARAMS: None}]),
    # mdevctl writes a value as it is, and a vendor's driver may want whole lines.
    said("an attribute", AUTO, attribute="a=1", attrs=[{PARAMS: "a=1\n"}]),
    said("an attribute twice", AUTO, attribute="b=2", attrs=[{PARAMS: "a=1\n"}, {PARAMS: "b=2\n"}]),
    said("an attribute with an empty value: nothing is written", AUTO, attrs=[{PARAMS: ""}]),
    said("more keys", AUTO, more=[1, {"a": None}]),
    Case("keys that stand twice", "U", GOOD.replace('"attrs"', '"start": "manual", "attrs"'), MANUAL, MANUAL),
    said("the type is a number", STOPS, mdev_type=5),
    said("the type is null", STOPS, mdev_type=None),
    # It becomes a part of paths, where mdevctl follows it.
    said("the type is a path", AUTO, DAMAGED, mdev_type=f"../mdev_supported_types/{TYPE}"),
    # mdevctl lists it and cannot start it.
    said("the type is empty", AUTO, DAMAGED, mdev_type=""),
    text("empty", ""),
    text("no JSON", "{"),
    text("a list", "[]"),
    text("a text", '"text"'),
    text("more than one value", f"{GOOD} x"),
    text("no number", GOOD.replace("[]", '[], "x": NaN')),
    text("a byte order mark", f"\ufeff{GOOD}"),
    text("half of a pair", GOOD.replace("[]", '[], "x": "\\ud800"')),
    Case("no UTF-8", "U", "", STOPS, DAMAGED, command=f"printf '\\377' > '{FOLDER}/U'"),
    made("a folder", f"mkdir '{FOLDER}/U'", SKIPPED),
    # What stands where a definition should is named, as nothing is written over it.
    made("a link", f"echo '{GOOD}' > /etc/x; ln -s /etc/x '{FOLDER}/U'", DAMAGED),
    made("a link to itself", f"ln -s U '{FOLDER}/U'", DAMAGED),
    made("zeros without end", f"ln -s /dev/zero '{FOLDER}/U'", DAMAGED),
    made("a pipe", f"mkfifo '{FOLDER}/U'", DAMAGED),
]
NAMES = ["UPPER", "SIMPLE", "UPPERSIMPLE", "{U}", "urn:uuid:U"]


def uuid_of(index: int) -> str:
    return f"{UUID[:-4]}{index:04x}"


def filled(template: str, uuid: str) -> str:
    simple = uuid.replace("-", "")
    for word, value in (("UPPERSIMPLE", simple.upper()), ("UPPER", uuid.upper()), ("SIMPLE", simple)):
        template = template.replace(word, value)
    return template if "URN:UUID:U" in template else template.replace("U", uuid)


def name_of(case: Case, uuid: str) -> str:
    return case.file.replace("UUID:U", f"UUID:{uuid}") if "URN:" in case.file else filled(case.file, uuid)


def putting(case: Case, uuid: str) -> str:
    """The command that makes the file."""
    if case.command:
        return case.command.replace("/U", f"/{uuid}").replace("-s U ", f"-s {uuid} ") + ";"
    return f"printf '%s' {shlex.quote(case.text)} > {shlex.quote(f'{FOLDER}/{name_of(case, uuid)}')};"


def attribute(host: Host, uuid: str) -> str:
    return host.read(f"/sys/bus/mdev/devices/{uuid}/{PARAMS}").strip()


@pytest.mark.parametrize("release", ["1.2", "1.4"])
def test_what_mdevctl_does(host: Host, release: str) -> None:
    command = shlex.join(mdevctls()[release])
    folders = (f"{folder}/{kind}" for folder in (NEW, OLD) for kind in ("callouts", "notifiers"))
    commands = [f"mkdir -p {' '.join(folders)};"]
    for index, case in enumerate(CASES):
        commands += [
            f"rm -rf {FOLDER}; mkdir {FOLDER}; {putting(case, uuid_of(index))}",
            f"{command} list --defined --dumpjson > /run/told 2>/dev/null; echo \"= $? $(tr -d '\\n' < /run/told)\";",
            f"{command} start-parent-mdevs {CARD} 2>/dev/null; cd /sys/bus/mdev/devices;",
            f'for each in *; do [ ! -e $each ] || {{ echo "$each $(cat $each/{PARAMS})";',
            "echo 1 > $each/remove; }; done;",
        ]
    text = host.run(["bash", "-c", "".join(commands)], timeout=300).stdout
    parts = re.split(r"^= (\d+) (.*)\n", text, flags=re.M)[1:]
    for index, case in enumerate(CASES):
        uuid = uuid_of(index)
        status, said, started = parts[3 * index : 3 * index + 3]
        outcome = STOPS
        if status == "0":
            devices = {
                key: value for each in json.loads(said) for device in each[CARD] for key, value in device.items()
            }
            outcome = devices[uuid]["start"] if devices else SKIPPED
        assert outcome == case.theirs, case.what
        startable = outcome == AUTO and case.what != "the type is empty"
        assert started.split() == [uuid, *case.attribute.split()] * startable, case.what


def test_what_ours_do(host: Host) -> None:
    install_engine(host)
    host.run(
        ["sh", "-c", f"mkdir {STORE}/.git; echo x > {STORE}/plain; echo x > {STORE}/.plain.swp; ln -s x {STORE}/gone"]
    )
    uuids = {uuid_of(index): case for index, case in enumerate(CASES)}
    commands = [f"mkdir -p {FOLDER};"]
    for uuid, case in uuids.items():
        commands.append(putting(case, uuid))
    host.run(["bash", "-c", "".join(commands)])

    def having(*outcomes: str) -> list[str]:
        return sorted(uuid for uuid, case in uuids.items() if case.ours in outcomes)

    facts = host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]
    assert sorted(each["uuid"] for each in facts["mdev"]) == having(AUTO, MANUAL)
    assert sorted(each["uuid"] for each in facts["mdev"] if each["autostart"]) == having(AUTO)
    assert {each["path"] for each in facts["damaged"]} == {f"{FOLDER}/{uuid}" for uuid in having(DAMAGED)}
    devices = host.done("nodedev_facts", capabilities=["mdev"], include="all")["ansible_facts"]["nodedev"]["devices"]
    assert sorted(device["capability"]["uuid"] for device in devices.values()) == having(AUTO, MANUAL)
    done = restore(host)
    assert running(host) == having(AUTO)
    # What is damaged is named, and makes the unit fail; the rest is restored.
    assert done.returncode == 1
    assert sorted(line.split(" is damaged")[0] for line in done.stderr.splitlines()) == [
        f"the definition {FOLDER}/{uuid}" for uuid in having(DAMAGED)
    ]
    for uuid in having(AUTO):
        assert attribute(host, uuid) == uuids[uuid].attribute, uuids[uuid].what


@pytest.mark.parametrize("name", NAMES)
def test_a_file_keeps_its_name(host: Host, name: str) -> None:
    path = f"{FOLDER}/{filled(name, UUID)}"
    host.run(["mkdir", "-p", FOLDER])
    host.write(path, GOOD)
    wish = {"type": TYPE}
    assert host.mdev(**wish)["plan"] == [f"create mdev {UUID} of type {TYPE} on {HERE}"]
    changed = host.mdev(attrs=[{PARAMS: "a=1"}], **wish)
    assert [step.split(" mdev")[0] for step in changed["plan"]] == ["change the definition of"]
    assert host.run(["ls", "-A", FOLDER]).stdout.splitlines() == [path.rpartition("/")[2]]
    assert json.loads(host.read(path))["attrs"] == [{PARAMS: "a=1"}]
    # mdevctl itself makes a second file of it, and cannot undefine it.
    assert mdevctl(host, "1.4", "undefine", "-u", UUID).returncode == 1
    assert host.mdev(state="absent", **wish)["changed"]
    assert host.run(["find", STORE, "-type", "f"]).stdout == ""


def test_a_pool_with_a_file_of_another_name(host: Host) -> None:
    pool = host.pool(type=TYPE, count=1)
    uuid = pool["instances"][0]["uuid"]
    path = f"{FOLDER}/{uuid.upper()}"
    host.run(["mv", f"{FOLDER}/{uuid}", path])
    assert host.pool()["plan"] == []
    host.pool(attrs=[{PARAMS: "a=1"}])
    assert host.run(["find", STORE, "-type", "f"]).stdout.splitlines() == [path]
    host.write(path, "{")
    assert f"the definition {path} is damaged" in host.pool_refused()
    assert removes(host.pool(state="absent"), path)
    assert host.run(["find", STORE, "/etc/nodedev.d", "-type", "f"], check=False).stdout == ""
    assert running(host) == []


def test_two_files_of_one_device(host: Host) -> None:
    host.mdev(type=TYPE)
    second = f"{FOLDER}/{UUID.upper()}"
    host.write(second, GOOD)
    assert f"the definition {second} is damaged ({UUID} in the same folder defines the same device)" in host.refused(
        type=TYPE, attrs=[{PARAMS: "a=1"}]
    )
    host.mdev(type=TYPE, state="absent")
    assert host.run(["find", STORE, "-type", "f"]).stdout == ""


@pytest.mark.parametrize("state", ["present", "inactive"])
def test_a_folder_that_mdevctl_does_not_look_into(host: Host, state: str) -> None:
    host.run(["sh", "-c", f"mkdir /etc/elsewhere; ln -s /etc/elsewhere {FOLDER}; echo x > {FOLDER}/x"])
    assert f"{FOLDER} is damaged (it is a link, which mdevctl does not follow)" in host.refused(state=state)
    # All other parents are as they were.
    assert host.mdev(parent=OTHER_CARD, state=state)["changed"]


BROKEN = [
    ("no JSON", "printf '{' > FILE"),
    ("no UTF-8", "printf '\\377\\376' > FILE"),
    ("a link to itself", "ln -s FILE FILE"),
]


def removes(result: dict[str, Any], path: str) -> bool:
    """Whether a plan begins with the removal of this file."""
    first: str = result["plan"][0]
    return first.startswith("remove the damaged definition") and path in first


@pytest.mark.parametrize("parent", [CARD, None], ids=["with its parent", "alone"])
@pytest.mark.parametrize("command", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_absent_removes_a_damaged_file_that_is_just_what_is_meant(host: Host, command: str, parent: str | None) -> None:
    path = f"{FOLDER}/{UUID}"
    host.run(["sh", "-c", f"mkdir -p {FOLDER}; {command.replace('FILE', path)}"])
    assert f"the definition {path} is damaged" in host.module("mdev", uuid=UUID, parent=CARD, type=TYPE)["msg"]
    foretold = host.mdev(parent=parent, state="absent", check_mode=True)
    assert removes(foretold, path)
    removed = host.mdev(parent=parent, state="absent")
    assert removed["plan"] == foretold["plan"]
    assert host.run(["sh", "-c", f"ls -A {FOLDER}"], check=False).stdout == ""
    assert not host.mdev(parent=parent, state="absent")["changed"]


def test_a_damaged_file_comes_back_when_the_removal_fails(host: Host) -> None:
    path = f"{FOLDER}/{UUID}"
    host.mdev()
    host.run(["sh", "-c", f"printf '\\377{{ ' > {path}; chmod 600 {path}"])
    before = host.run(["sh", "-c", f"stat -c '%a %s' {path}; sha1sum {path}"]).stdout
    host.fault(f"/sys/devices/*/{UUID}/remove", op="write", errno="EBUSY")
    message = host.module("mdev", uuid=UUID, parent=CARD, state="absent")["msg"]
    assert "undone: remove the damaged definition" in message
    assert host.run(["sh", "-c", f"stat -c '%a %s' {path}; sha1sum {path}"]).stdout == before
    assert host.run(["ls", "-A", FOLDER]).stdout.split() == [UUID]


def test_absent_leaves_a_damaged_file_of_another_parent(host: Host) -> None:
    host.mdev()
    other = f"{STORE}/{OTHER_CARD}/{UUID}"
    host.run(["sh", "-c", f"mkdir -p {STORE}/{OTHER_CARD}; printf '{{' > {other}"])
    assert f"the definition {other} is damaged" in host.refused(parent=None, state="absent")
    removed = host.mdev(state="absent")
    assert removed["changed"]
    assert any(f"the definition {other} is damaged" in text for text in warnings(removed))
    assert host.run(["find", STORE, "-type", "f"]).stdout.split() == [other]


def test_a_parent_of_a_name_that_nobody_would_give(start: Callable[..., Host]) -> None:
    odd = "odd,parent+1"
    types = {"t-1": {"device_api": "vfio-pci"}}
    parent = {"mdev_parent": {"driver": "x", "units": 2, "types": types}}
    host = start({"devices": [{"path": f"devices/platform/{odd}", "bus": "platform", "behaviour": parent}]})
    install_engine(host)
    assert host.mdev(parent="platform_odd_parent_1", type="t-1")["mdev"]["parent_addr"] == odd
    host.reboot()
    done = restore(host)
    assert (done.returncode, running(host)) == (0, [UUID]), done.stderr
    assert host.mdev(parent=None, type=None, state="absent")["changed"]
    assert host.run(["find", STORE, "-type", "f"]).stdout == ""


def test_what_could_not_be_read_again_is_not_written(host: Host) -> None:
    assert f"mdev {UUID} cannot be defined: it would have more than 1048576 bytes" in host.refused(
        attrs=[{PARAMS: f"a={'x' * 4000}"}] * 300
    )
