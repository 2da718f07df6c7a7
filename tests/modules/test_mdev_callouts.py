# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's callout scripts on the simulated host: all modules and the boot engine ask them, as mdevctl does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER, OTHER_CARD, UUID, Host, definitions, ids, running, warnings
from scripts import AP, NEW, OLD, VERSIONS, asked, install, mdevctl, whats
from test_restore import install as install_engine
from test_restore import restore

TYPE = "nvidia-231"
DEVICE = f"/sys/bus/mdev/devices/{UUID}"
ATTRS = [{"nvidia/vgpu_params": "a=1"}]
MORE = [{"nvidia/vgpu_params": "b=2"}]


@pytest.fixture
def checked(host: Host) -> Host:
    """A host with a script that allows all, and one that only hears of it."""
    install(host, "check")
    install(host, "hear", kind="notifiers", folder=OLD)
    return host


def around(action: str, state: str = "success") -> list[str]:
    """What is written down of an action that scripts allow."""
    return [f"check pre {action} none", f"check post {action} {state}", f"hear notify {action} {state}"]


def decided(host: Host) -> list[str]:
    """What is written down, without what a device has that runs undefined."""
    return [what for what in whats(host) if " get " not in what]


LIFE: list[tuple[dict[str, Any], list[list[str]], str]] = [
    # what ours is told, what mdevctl is told to the same end, and with which document
    ({"state": "inactive", "attrs": ATTRS}, [["define", "-u", UUID, "-p", CARD, "--jsonfile", "/dev/stdin"]], "auto"),
    ({"autostart": False, "state": "inactive"}, [["modify", "-u", UUID, "-p", CARD, "--manual"]], ""),
    ({"autostart": False}, [["start", "-u", UUID, "-p", CARD]], ""),
    ({"state": "absent"}, [["undefine", "-u", UUID, "-p", CARD], ["stop", "-u", UUID]], ""),
]


@pytest.mark.parametrize("release", ["1.2", "1.4"])
def test_the_same_is_asked_as_by_mdevctl(start: Callable[..., Host], release: str) -> None:
    for versions in ("", VERSIONS):
        ours, theirs = start(), start()
        # 1.2 knows the old folder alone, and no versions.
        for host in (ours, theirs):
            install(host, "check", versions if release == "1.4" else "", folder=OLD)
            install(host, "hear", kind="notifiers", folder=OLD)
        for arguments, commands, started in LIFE:
            ours.mdev(**arguments)
            document = json.dumps({"mdev_type": TYPE, "start": started, "attrs": ATTRS}) if started else ""
            for command in commands:
                done = mdevctl(theirs, release, *command, document=document)
                assert done.returncode == 0, done.stderr
            told = [[(each.what, each.words, each.document) for each in asked(host)] for host in (ours, theirs)]
            # 1.4 tells notifiers nothing, against its manual; 1.2 tells them what ours does.
            if release == "1.4":
                told = [
                    [(what, words, "" if "notify" in what else said) for what, words, said in each] for each in told
                ]
            assert told[0] == told[1]
            assert told[0]


def test_how_they_are_asked(checked: Host) -> None:
    checked.prepares = False
    checked.mdev(attrs=ATTRS)
    told = asked(checked)
    assert [each.what for each in told] == [*around("start"), *around("define")]
    words = f"-t {TYPE} -e pre -a start -s none -u {UUID} -p {CARD}"
    assert told[0].words == words
    document = '{"mdev_type":"nvidia-231","start":"auto","attrs":[{"nvidia/vgpu_params":"a=1"}]}'
    assert {each.document for each in told} == {document}
    assert {each.folder for each in told} == {"/"}
    # A script may keep a lock for its parent process from pre to post: that is the module itself.
    assert len({each.parent for each in told}) == 1
    assert all("mdev.py" in each.command for each in told)
    environment = checked.read("/run/environment").splitlines()
    assert {line.split("=")[0] for line in environment} - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "LC_ALL"}


def test_the_life_of_one(checked: Host) -> None:
    checked.mdev(state="inactive")
    assert whats(checked) == around("define")
    checked.mdev()
    assert whats(checked) == around("start")
    assert not checked.mdev()["changed"]
    assert whats(checked) == []
    checked.mdev(attrs=ATTRS)
    assert whats(checked) == around("modify")
    checked.mdev(attrs=MORE, replace=True)
    assert whats(checked) == [*around("stop"), *around("start"), *around("modify")]
    checked.mdev(parent=OTHER_CARD, replace=True)
    assert whats(checked) == [*around("stop"), *around("start"), *around("undefine"), *around("define")]
    checked.mdev(state="absent", parent=None)
    assert whats(checked) == [*around("undefine"), *around("stop")]


def test_check_mode_asks_nobody_whether_something_may_be_done(checked: Host) -> None:
    planned = checked.mdev(check_mode=True, attrs=ATTRS)["plan"]
    asking = ", nvidia/vgpu_params=a=1, asking the callout scripts"
    assert planned == [
        f"create mdev {UUID} of type {TYPE} on {HERE}{asking}",
        f"define mdev {UUID} with type {TYPE} on {HERE}, start auto{asking}",
    ]
    assert whats(checked) == []
    assert checked.mdev(attrs=ATTRS)["plan"] == planned


def test_a_pool(checked: Host) -> None:
    pool = checked.pool(type=TYPE, count=2, attrs=ATTRS)
    first, second = ids(pool)
    told = asked(checked)
    assert [each.what for each in told] == [*around("start"), *around("start"), *around("define"), *around("define")]
    assert [each.words.split()[9] for each in told] == [first] * 3 + [second] * 3 + [first] * 3 + [second] * 3
    assert len({each.parent for each in told}) == 1
    checked.pool(count=1)
    assert whats(checked) == [*around("undefine"), *around("stop")]
    checked.pool(state="inactive")
    assert whats(checked) == around("stop")
    checked.pool(state="absent")
    assert whats(checked) == around("undefine")


def test_a_device_by_its_document_and_by_its_name(checked: Host) -> None:
    xml = (
        f"<device><parent>pci_0000_3d_00_0</parent><capability type='mdev'><type id='{TYPE}'/><uuid>{UUID}</uuid>"
        "</capability></device>"
    )
    name = checked.done("nodedev", xml=xml)["mdev"]["name"]
    assert whats(checked) == [*around("start"), *around("define")]
    checked.done("nodedev", name=name, state="absent")
    assert whats(checked) == [*around("undefine"), *around("stop")]


def test_the_boot_engine(checked: Host) -> None:
    install_engine(checked)
    checked.mdev(attrs=ATTRS)
    checked.reboot()
    done = restore(checked)
    assert done.returncode == 0, done.stderr
    assert whats(checked) == around("start")
    checked.reboot()
    install(checked, "check", 'echo "not now" >&2; exit 1')
    done = restore(checked)
    assert done.returncode == 1
    assert f"callouts/check refuses the start of mdev {UUID} on {HERE} (exit status 1): not now" in done.stderr
    assert running(checked) == []


ACTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # the action that is refused, what there is before, and what is wished
    ("start", {"state": "inactive"}, {}),
    ("define", {"persistent": False}, {}),
    ("modify", {}, {"attrs": ATTRS}),
    ("stop", {}, {"state": "inactive"}),
    ("undefine", {"state": "inactive"}, {"state": "absent"}),
]


@pytest.mark.parametrize(("action", "before", "wish"), ACTIONS, ids=[case[0] for case in ACTIONS])
def test_a_refusal_and_force(checked: Host, action: str, before: dict[str, Any], wish: dict[str, Any]) -> None:
    checked.mdev(**before)
    for versions in ("", VERSIONS):
        install(checked, "check", f'{versions}echo "no $action, at all" >&2; [ $event != pre ]')
        whats(checked)
        message = checked.refused(**wish)
        assert (
            f"{NEW}/callouts/check refuses the {action} of mdev {UUID} on {HERE} (exit status 1): no {action}, at all;"
            " force: true passes over it" in message
        )
        # As with mdevctl, a script that refuses does not hear of an end, and notifiers do.
        assert decided(checked) == [f"check pre {action} none", f"hear notify {action} none"]
    assert checked.mdev(force=True, **wish)["changed"]
    assert decided(checked) == around(action)
    assert not checked.mdev(force=True, **wish)["changed"]


def test_what_a_script_says_cannot_forge_lines(checked: Host) -> None:
    install(checked, "check", "printf '\\033[2Jgone\\nok: [host]%03000d' 1 >&2; exit 1")
    message = checked.refused()
    assert "\\x1b[2Jgone\\nok: [host]000" in message
    assert message.isprintable()
    assert len(message) < 800


def test_what_is_undone_asks_them_too_and_no_refusal_keeps_it(checked: Host) -> None:
    checked.mdev(type="nvidia-230", attrs=ATTRS)
    # All is allowed once: that the device is stopped, made anew, and then not that its definition is changed.
    install(checked, "check", "[ $event != pre ] && exit 0; echo x >> /run/count; [ $(wc -l < /run/count) -lt 3 ]")
    whats(checked)
    message = checked.refused(replace=True)
    assert "could not change the definition" in message
    assert "NOT undone" not in message
    assert whats(checked) == [
        *around("stop"),
        *around("start"),
        "check pre modify none",
        "hear notify modify none",
        *around("stop"),
        *around("start"),
    ]
    assert checked.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"


def test_a_definition_is_put_back_byte_for_byte(checked: Host) -> None:
    text = '{ "mdev_type": "nvidia-231", "start": "auto", "attrs": null, "more": [1, 2] }'
    path = f"/etc/mdevctl.d/{CARD}/{UUID}"
    checked.run(["mkdir", "-p", f"/etc/mdevctl.d/{CARD}"])
    checked.write(path, text)
    checked.run(["chmod", "640", path])
    checked.run([*["mdevctl", "start", "-u"], UUID])
    checked.fault(f"/sys/devices/*/{UUID}/remove", op="write", errno="EBUSY")
    whats(checked)
    assert "undone: undefine mdev" in checked.refused(state="absent")
    assert "undone: change the definition" in checked.refused(state="inactive", attrs=ATTRS)
    stopped = [*around("stop", "failure")]
    assert whats(checked) == [
        *around("undefine"),
        *stopped,
        *around("define"),
        *around("modify"),
        *stopped,
        *around("modify"),
    ]
    assert checked.read(path) == text
    assert checked.run(["stat", "-c", "%a", path]).stdout == "640\n"


FAILURES = [
    ("start", "/sys/devices/*/create", {}),
    ("start", "/sys/devices/*/vgpu_params", {"attrs": ATTRS}),
]


@pytest.mark.parametrize(("action", "path", "wish"), FAILURES)
def test_they_hear_of_a_failure(checked: Host, action: str, path: str, wish: dict[str, Any]) -> None:
    checked.fault(path, op="write", errno="EIO")
    assert "EIO" in checked.refused(**wish)
    assert whats(checked) == around(action, "failure")
    assert running(checked) == []


def test_they_hear_of_a_removal_that_has_to_wait(checked: Host) -> None:
    checked.mdev()
    whats(checked)
    with checked.hold(UUID):
        forced = checked.module("mdev", uuid=UUID, state="absent", force=True, wait_timeout=0.5)
        assert "the kernel still waits for the users" in forced["msg"]
    assert whats(checked) == [*around("undefine"), *around("stop", "failure"), *around("define")]


HOSTILE = [
    ("sleeps", "sleep 600"),
    ("ignores SIGTERM", "trap '' TERM HUP INT; while :; do sleep 1; done"),
    ("leaves one behind that holds its output", "sleep 600 & exit 0"),
    ("leaves one behind of another session", "setsid sleep 600 & exit 0"),
]


@pytest.mark.parametrize("body", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_script_that_never_ends(checked: Host, body: str) -> None:
    install(checked, "check", f"[ $event = pre ] || exit 0; {body}")
    message = checked.refused(wait_timeout=1)
    assert (
        f"{NEW}/callouts/check, asked for pre start of mdev {UUID}, has not ended after 1 s and was killed" in message
    )
    # It may have taken a lock that it gives back when it hears of the end.
    assert whats(checked) == ["check pre start none", "check post start failure", "hear notify start none"]
    assert running(checked) == []


def test_a_notifier_that_never_ends(checked: Host) -> None:
    install(checked, "hear", "sleep 600", kind="notifiers", folder=OLD)
    assert checked.mdev()["changed"]
    assert running(checked) == [UUID]


def test_a_script_that_prints_100_mb(checked: Host) -> None:
    install(checked, "check", "head -c 100000000 /dev/zero; head -c 10000000 /dev/zero >&2; [ $event != pre ]")
    assert len(checked.refused(wait_timeout=60)) < 1500


def test_scripts_that_are_none(host: Host) -> None:
    folder = f"{NEW}/callouts"
    host.run(
        [
            *("sh", "-c"),
            f"mkdir -p {folder}/folder; cd {folder}; ln -s nowhere dangling; ln -s loop loop; mkfifo pipe;"
            "echo 'exit 1' > plain; echo 'exit 1' > bare; echo '#!/nowhere' > nowhere; chmod 755 bare nowhere pipe",
        ]
    )
    assert host.mdev()["changed"]
    assert running(host) == [UUID]


@pytest.fixture
def s390(start: Callable[..., Host]) -> Host:
    """A host with an AP matrix, a device with a queue that runs undefined, and a script that tells which."""
    host = start("s390x")
    host.write("/sys/devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create", UUID)
    host.write(f"{DEVICE}/assign_adapter", "5")
    host.write(f"{DEVICE}/assign_domain", "4")
    install(host, "ap", AP + '[ "$2" = vfio_ap-passthrough ] || exit 2')
    return host


QUEUE = [{"assign_adapter": "5"}, {"assign_domain": "4"}]
AP_NAME = f"mdev_{UUID.replace('-', '_')}_matrix"
KEEPING: list[tuple[str, str, dict[str, Any]]] = [
    ("one", "mdev", {"uuid": UUID}),
    ("one, only defined", "mdev", {"uuid": UUID, "state": "inactive"}),
    ("by name", "nodedev", {"name": AP_NAME}),
    ("a pool", "mdev_pool", {"name": "x", "type": "vfio_ap-passthrough", "uuids": [UUID], "adopt": True}),
]


@pytest.mark.parametrize(("module", "arguments"), [case[1:] for case in KEEPING], ids=[case[0] for case in KEEPING])
def test_a_device_that_runs_undefined_keeps_its_attributes(s390: Host, module: str, arguments: dict[str, Any]) -> None:
    foretold = s390.done(module, check_mode=True, **arguments)
    made = s390.done(module, **arguments)
    assert made["plan"] == foretold["plan"]
    assert json.loads(s390.read(f"/etc/mdevctl.d/matrix/{UUID}"))["attrs"] == QUEUE
    # As mdevctl itself keeps them.
    s390.run(["rm", f"/etc/mdevctl.d/matrix/{UUID}"])
    if UUID in running(s390):
        assert s390.read(f"{DEVICE}/matrix") == "05.0004\n"
        assert mdevctl(s390, "1.4", "define", "-u", UUID).returncode == 0
        assert json.loads(s390.read(f"/etc/mdevctl.d/matrix/{UUID}"))["attrs"] == QUEUE


def test_attributes_that_a_person_gives_win(s390: Host) -> None:
    more = [*QUEUE, {"assign_domain": "5"}]
    s390.done("mdev", uuid=UUID, attrs=more)
    assert json.loads(s390.read(f"/etc/mdevctl.d/matrix/{UUID}"))["attrs"] == more
    assert s390.read(f"{DEVICE}/matrix") == "05.0004\n05.0005\n"


@pytest.mark.parametrize("module", ["mdev", "mdev_pool"])
def test_a_script_that_does_not_tell_the_attributes(s390: Host, module: str) -> None:
    install(s390, "ap", '[ "$event" = get ] || exit 0; echo "the matrix is on fire" >&2; exit 1')
    arguments: dict[str, Any] = (
        {"uuid": UUID}
        if module == "mdev"
        else {"name": "x", "type": "vfio_ap-passthrough", "uuids": [UUID], "adopt": True}
    )
    message = s390.failed(module, **arguments)
    assert (
        f"ap does not tell the attributes of mdev {UUID} on ap_matrix (matrix) (exit status 1): the matrix is on fire;"
        " say what they are with attrs" in message
    )
    s390.done(module, attrs=QUEUE, **arguments)
    assert json.loads(s390.read(f"/etc/mdevctl.d/matrix/{UUID}"))["attrs"] == QUEUE


def attributes(host: Host) -> Any:
    return host.done("nodedev_facts", capabilities=["mdev"])["ansible_facts"]["nodedev"]["devices"][AP_NAME][
        "capability"
    ].get("attr")


def test_the_inventory_has_the_attributes_of_what_runs(s390: Host) -> None:
    said = json.loads(mdevctl(s390, "1.4", "list", "--dumpjson").stdout)[0]["matrix"][0][UUID]["attrs"]
    assert said == QUEUE
    assert attributes(s390) == [{"name": "assign_adapter", "value": "5"}, {"name": "assign_domain", "value": "4"}]
    s390.write(f"{DEVICE}/unassign_domain", "4")
    assert attributes(s390) == [{"name": "assign_adapter", "value": "5"}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 1", "exit status 1"),
        ("echo not JSON", "that cannot be understood"),
        ("seq -s '' 100000 | tr 0-9 '['", "nested too deep"),
        ("head -c 100000000 /dev/zero | tr '\\0' '['", "that cannot be understood"),
        ('printf \'[{"a": "\\377"}]\'', None),
        ("kill -9 $$", None),
    ],
    ids=["fails", "no JSON", "deep", "100 MB", "no UTF-8", "killed"],
)
def test_nonsense_of_a_script_is_a_warning(s390: Host, body: str, reason: str | None) -> None:
    install(s390, "ap", body)
    result = s390.done("nodedev_facts", capabilities=["mdev"])
    device = result["ansible_facts"]["nodedev"]["devices"][AP_NAME]
    assert device["extra"]["active"]
    told = [text for text in warnings(result) if "the attributes of a device are not told" in text]
    assert len(told) == (reason is not None)
    if reason is not None:
        assert reason in told[0]
        assert "attr" not in device["capability"]
        assert len(told[0]) < 800


# Gives an AP device other adapters.
LIVE = """if [ "$event" = live ]; then
    cd "/sys/bus/mdev/devices/${10}" || exit 1
    if [ -e /run/stuck ]; then echo "stuck" >&2; exit 1; fi
    for number in 5 6; do echo $number > unassign_adapter; done
    echo "$said" | grep -o 'adapter":"[0-9]*' | grep -o '[0-9]*$' | while read -r number; do
        echo "$number" > assign_adapter
    done
    exit 0
fi
"""


def test_a_script_changes_a_device_while_it_runs(s390: Host) -> None:
    install(s390, "ap", VERSIONS + AP + LIVE)
    wish: dict[str, Any] = {"uuid": UUID, "attrs": [{"assign_adapter": "6"}, {"assign_domain": "4"}]}
    s390.done("mdev", uuid=UUID, attrs=QUEUE)
    # Without the script's help the kernel takes them at once, too.
    alone = s390.done("mdev", check_mode=True, **wish)
    assert alone["plan"][0] == f"change mdev {UUID} while it runs, to the queues 06.0004"
    asked(s390)
    changed = s390.done("mdev", replace=True, **wish)
    assert changed["plan"][0] == (
        f"have a callout script change the attributes of mdev {UUID}, assign_adapter=6, assign_domain=4"
    )
    assert not any("effect" in text for text in warnings(changed))
    assert whats(s390) == ["ap live modify none", "ap pre modify none", "ap post modify success"]
    assert s390.read(f"{DEVICE}/matrix") == "06.0004\n"
    assert not s390.done("mdev", replace=True, **wish)["changed"]
    # Not from under a guest, unless forced.
    with s390.hold(UUID):
        back = {"uuid": UUID, "attrs": QUEUE, "replace": True}
        assert "is in use by" in s390.failed("mdev", **back)
        s390.write("/run/stuck", "")
        assert "refuses the live modify of mdev" in s390.failed("mdev", force=True, **back)
        s390.run(["rm", "/run/stuck"])
        s390.done("mdev", force=True, **back)
    assert s390.read(f"{DEVICE}/matrix") == "05.0004\n"
    # What is undone is undone while it runs, too.
    install(s390, "ap", VERSIONS + AP + LIVE + '[ "$event $action" != "pre modify" ]')
    assert "undone: have a callout script change" in s390.failed("mdev", replace=True, **wish)
    assert s390.read(f"{DEVICE}/matrix") == "05.0004\n"


def test_scripts_do_not_see_what_is_none_of_their_business(s390: Host) -> None:
    """A script of AP devices is asked about subchannels, says so, and is in nobody's way."""
    made = s390.done("mdev", uuid=OTHER, parent="0.0.0050", type="vfio_ccw-io")
    assert made["changed"]
    told = asked(s390)
    assert {re.sub(" -a .*", "", each.words) for each in told} == {
        "-t vfio_ccw-io -e pre",
        "-t vfio_ccw-io -e post",
    }
    assert definitions(s390) == [OTHER]
