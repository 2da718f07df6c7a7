# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt hook on the simulated host: what it makes for a domain, removes after it, and does when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER, OTHER_CARD, THERE, UUID, Host, ids, running
from guests import RECORDS, Answer, Libvirt, domain, domain_uuid, libvirtd, recorded
from scripts import install as install_script
from scripts import whats
from test_restore import HOOK, install, restore

__all__ = ["libvirtd"]

KIND = "nvidia-231"
PARAMS = "nvidia/vgpu_params"
THIRD = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"
LIBRARY = "/usr/lib/nodedev/nodedev"
QUIET = Answer(0, "", "")


@pytest.fixture
def hooked(host: Host) -> Host:
    """A host with the hook and two managed devices, one with an attribute, on two cards."""
    install(host)
    host.mdev(managed=True, attrs=[{PARAMS: "a=1"}])
    host.mdev(uuid=OTHER, parent=OTHER_CARD, managed=True)
    return host


@pytest.fixture
def libvirt(hooked: Host, libvirtd: Callable[[Host], Libvirt]) -> Libvirt:
    """libvirtd on it."""
    return libvirtd(hooked)


def devices(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """The devices of a record, by their UUIDs and how they came to be there."""
    return [{"kind": "mdev", "id": uuid, "how": how} for uuid, how in pairs]


def test_life(hooked: Host, libvirt: Libvirt) -> None:
    before = hooked.state()
    for _time in range(2):
        libvirt.done("desk", "prepare", UUID, OTHER)
        assert running(hooked) == [UUID, OTHER]
        assert hooked.read(f"/sys/bus/mdev/devices/{UUID}/{PARAMS}") == "a=1\n"
        assert recorded(hooked) == {"desk": devices((UUID, "made"), (OTHER, "made"))}
        assert hooked.mdev()["plan"] == hooked.mdev(state="present", managed=True)["plan"] == []
        for operation in ("start", "started", "stopped"):
            libvirt.done("desk", operation, UUID, OTHER)
        assert running(hooked) == [UUID, OTHER]
        libvirt.done("desk", "release", UUID, OTHER)
        assert hooked.state() == before
        assert recorded(hooked) == {}


def test_a_start_that_fails_elsewhere(hooked: Host, libvirt: Libvirt) -> None:
    """libvirt tells of the end of what has never run, too; and of an end of which the hook has heard no beginning."""
    before = hooked.state()
    libvirt.done("desk", "prepare", UUID)
    libvirt.done("desk", "release", UUID)
    libvirt.done("desk", "release", UUID)
    assert hooked.state() == before


def test_a_device_that_is_there_stays(hooked: Host, libvirt: Libvirt) -> None:
    hooked.write(f"/sys/class/mdev_bus/{CARD}/mdev_supported_types/{KIND}/create", UUID)
    libvirt.done("desk", "prepare", UUID, OTHER)
    assert recorded(hooked) == {"desk": devices((UUID, "found"), (OTHER, "made"))}
    libvirt.done("desk", "release", UUID, OTHER)
    assert running(hooked) == [UUID]
    assert recorded(hooked) == {}


def test_what_is_not_managed_is_none_of_its_business(hooked: Host, libvirt: Libvirt) -> None:
    hooked.mdev(uuid=THIRD, state="inactive")
    unknown = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1009"
    for document in (
        domain("desk", THIRD, unknown, "nonsense", "../../x"),
        # A name of a managed device elsewhere in a document.
        domain("desk", THIRD, more=f"<x><hostdev type='mdev'><source><address uuid='{UUID}'/></source></hostdev></x>"),
        domain("desk", more=f"<hostdev type='pci'><source><address uuid='{UUID}' mdev='1'/></source></hostdev>"),
        domain("desk", more=f"<!-- <hostdev type='mdev'><source><address uuid='{UUID}'/></source></hostdev> -->"),
    ):
        assert libvirt.call("desk", "prepare", document) == QUIET
        assert (running(hooked), recorded(hooked)) == ([], {})
        assert libvirt.call("desk", "release", document) == QUIET


@pytest.mark.parametrize("nth", [1, 2])
def test_all_or_none(hooked: Host, libvirt: Libvirt, nth: int) -> None:
    before = hooked.state()
    hooked.fault("/sys/devices/*/create", op="write", errno="EIO", nth=nth)
    reason = libvirt.refused("desk", UUID, OTHER)
    called = f"mdev {UUID} of type {KIND} on {HERE}", f"mdev {OTHER} of type {KIND} on {THERE}"
    assert reason.startswith(f"nodedev: could not make {called[nth - 1]} for domain desk: could not create ")
    assert "EIO (Input/output error): the vendor's driver failed" in reason
    assert ("undone: make " in reason) == (nth == 2)
    assert hooked.state() == before
    assert recorded(hooked) == {}
    # libvirt tells of the end all the same, and the next start may succeed.
    libvirt.done("desk", "release", UUID, OTHER)
    libvirt.done("desk", "prepare", UUID, OTHER)
    assert running(hooked) == [UUID, OTHER]


def test_an_attribute_that_fails(hooked: Host, libvirt: Libvirt) -> None:
    before = hooked.state()
    hooked.fault(f"/sys/devices/*/{UUID}/{PARAMS}", op="write", errno="EINVAL")
    reason = libvirt.refused("desk", OTHER, UUID)
    assert f"could not set {PARAMS}=a=1 on mdev {UUID}: " in reason
    assert "undone: make mdev" in reason
    assert (hooked.state(), recorded(hooked)) == (before, {})


def test_one_that_cannot_be_taken_back_is_removed_later(hooked: Host, libvirt: Libvirt) -> None:
    hooked.fault(f"/sys/devices/*/{OTHER_CARD}/*/create", op="write", errno="EIO")
    hooked.fault(f"/sys/devices/*/{UUID}/remove", op="write", errno="EIO", times=1)
    assert "NOT undone: make mdev" in libvirt.refused("desk", UUID, OTHER)
    assert running(hooked) == [UUID]
    assert recorded(hooked) == {"desk": devices((UUID, "made"))}
    libvirt.done("desk", "release", UUID, OTHER)
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_no_room(hooked: Host, libvirt: Libvirt) -> None:
    hooked.done("mdev_pool", name="y", type=KIND, count=8, parents={"addresses": [CARD]})
    assert f"no instance is left on {HERE}" in libvirt.refused("desk", UUID)


def test_a_definition_that_is_gone_or_damaged(hooked: Host, libvirt: Libvirt) -> None:
    hooked.write(f"/etc/mdevctl.d/{CARD}/{UUID}", "{")
    assert f"the definition /etc/mdevctl.d/{CARD}/{UUID} is damaged" in libvirt.refused("desk", UUID)
    hooked.run(["rm", f"/etc/mdevctl.d/{CARD}/{UUID}"])
    assert f"mdev {UUID} is managed, but its definition is gone: define it again" in libvirt.refused("desk", UUID)
    assert running(hooked) == []


def test_a_parent_that_is_not_there(hooked: Host, libvirt: Libvirt) -> None:
    hooked.run(["mv", f"/etc/mdevctl.d/{CARD}", "/etc/mdevctl.d/0000:99:00.0"])
    assert "its parent pci_0000_99_00_0 (0000:99:00.0) is not there" in libvirt.refused("desk", UUID)


def test_a_device_that_is_still_held_after_the_end(hooked: Host, libvirt: Libvirt) -> None:
    libvirt.done("desk", "prepare", UUID, OTHER)
    with hooked.hold(UUID) as pid:
        done = libvirt.release("desk", UUID, OTHER)
        assert (done.status, done.err) == (1, f"nodedev: mdev {UUID} is in use by process {pid} (simhost-guest)\n")
        assert running(hooked) == [UUID]
        libvirt.done("other", "prepare")
        assert recorded(hooked) == {"desk": devices((UUID, "made"))}
    # Any other domain that starts, and names no such device itself, has it removed.
    libvirt.done("other", "prepare")
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_a_domain_that_starts_while_something_of_its_former_life_is_held(hooked: Host, libvirt: Libvirt) -> None:
    libvirt.done("desk", "prepare", UUID)
    with hooked.hold(UUID):
        assert libvirt.release("desk", UUID).status == 1
        libvirt.done("desk", "prepare", UUID, OTHER)
        assert recorded(hooked) == {"desk": devices((UUID, "made"), (OTHER, "made"))}
    libvirt.done("desk", "release", UUID, OTHER)
    assert running(hooked) == []


def test_a_driver_that_blocks(hooked: Host, libvirt: Libvirt) -> None:
    soon(hooked, wait=2.0, limit=60.0)
    hooked.fault(f"/sys/devices/*/{OTHER_CARD}/*/create", op="write", delay=600)
    reason = libvirt.refused("desk", UUID, OTHER)
    assert f"could not make mdev {OTHER} of type {KIND} on {THERE} for domain desk: " in reason
    assert "undone: make mdev" in reason
    assert UUID not in running(hooked)


def test_a_run_that_has_had_its_time(hooked: Host, libvirt: Libvirt) -> None:
    """Its process is ended then, whatever it does; libvirt tells of the end, and all is removed."""
    soon(hooked, wait=30.0, limit=2.0)
    hooked.fault(f"/sys/devices/*/{OTHER_CARD}/*/create", op="write", delay=5)
    assert libvirt.refused("desk", UUID, OTHER) == "nodedev: it has not answered after 2 s"
    assert recorded(hooked) == {"desk": devices((UUID, "making"), (OTHER, "making"))}
    hooked.clear_faults()
    soon(hooked, wait=30.0, limit=60.0)
    libvirt.done("desk", "release", UUID, OTHER)
    assert (running(hooked), recorded(hooked)) == ([], {})


def soon(host: Host, wait: float, limit: float) -> None:
    """Give the hook so many seconds, in the library that is installed."""
    sed = f"s/^WAIT = .*/WAIT = {wait}/; s/^LIMIT = .*/LIMIT = {limit}/"
    host.run(["sed", "-i", sed, f"{LIBRARY}/boot/guests.py"])


def test_a_run_that_is_killed(hooked: Host, libvirt: Libvirt) -> None:
    hooked.fault(f"/sys/devices/*/{OTHER_CARD}/*/create", op="write", delay=600)
    number = libvirt.begin("desk", "prepare", domain("desk", UUID, OTHER))
    while OTHER not in running(hooked):
        time.sleep(0.05)
    assert recorded(hooked) == {"desk": devices((UUID, "making"), (OTHER, "making"))}
    libvirt.end(number)
    assert libvirt.answer(number).status == -9
    hooked.clear_faults()
    libvirt.done("desk", "release", UUID, OTHER)
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_two_domains_at_once(hooked: Host, libvirt: Libvirt) -> None:
    hooked.mdev(uuid=THIRD, managed=True)
    numbers = [
        libvirt.begin("desk", "prepare", domain("desk", UUID, OTHER)),
        libvirt.begin("other", "prepare", domain("other", THIRD)),
    ]
    assert [libvirt.answer(number) for number in numbers] == [QUIET, QUIET]
    assert running(hooked) == [UUID, OTHER, THIRD]
    libvirt.done("desk", "release", UUID, OTHER)
    assert running(hooked) == [THIRD]
    libvirt.done("other", "release", THIRD)
    assert running(hooked) == []


def test_two_domains_that_name_the_same_device(hooked: Host, libvirt: Libvirt) -> None:
    """libvirt refuses the second; its end takes nothing from the first."""
    numbers = [libvirt.begin(name, "prepare", domain(name, UUID)) for name in ("desk", "other")]
    assert [libvirt.answer(number) for number in numbers] == [QUIET, QUIET]
    ((first, _devices),) = [each for each in recorded(hooked).items() if each[1] == devices((UUID, "made"))]
    (second,) = {"desk", "other"} - {first}
    assert recorded(hooked)[second] == devices((UUID, "found"))
    libvirt.done(second, "release", UUID)
    assert running(hooked) == [UUID]
    libvirt.done(first, "release", UUID)
    assert running(hooked) == []


def test_libvirtd_is_killed_during_a_start(hooked: Host, libvirt: Libvirt, libvirtd: Callable[[Host], Libvirt]) -> None:
    hooked.mdev(uuid=THIRD, managed=True)
    libvirt.done("desk", "prepare", UUID)
    libvirt.done("running", "prepare", OTHER)
    with hooked.hold(OTHER):
        libvirt.done("other", "prepare")
        # Who is told of its end is there: it is about to have its device.
        assert running(hooked) == [UUID, OTHER]
        libvirt.kill()
        again = libvirtd(hooked)
        again.done("running", "reconnect", OTHER)
        again.done("starting", "prepare", THIRD)
        again.done("other", "prepare")
        assert running(hooked) == [OTHER, THIRD]
    # It ended, and libvirtd, which has been told that it runs, has not said so yet.
    again.done("other", "prepare")
    assert running(hooked) == [OTHER, THIRD]
    again.done("running", "release", OTHER)
    again.done("starting", "release", THIRD)
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_libvirtd_is_killed_while_guests_run(
    hooked: Host, libvirt: Libvirt, libvirtd: Callable[[Host], Libvirt]
) -> None:
    """What a guest has stays, also before libvirtd has found it again, and where the guest has not opened it yet."""
    libvirt.done("desk", "prepare", UUID, OTHER)
    libvirt.kill()
    again = libvirtd(hooked)
    for program in (["-c", "import time; time.sleep(600)", f"sysfsdev=/sys/bus/mdev/devices/{UUID}"],):
        process = hooked.popen([hooked.python, *program])
        wait_until(lambda: UUID in hooked.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"], check=False).stdout)
        again.done("other", "prepare")
        assert running(hooked) == [UUID, OTHER]
        process.kill()
        process.wait()
    wait_until(lambda: UUID not in hooked.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"], check=False).stdout)
    with hooked.hold(OTHER):
        again.done("other", "prepare")
        assert running(hooked) == [UUID, OTHER]
    again.done("other", "prepare")
    assert (running(hooked), recorded(hooked)) == ([], {})


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def test_after_a_boot_nothing_is_left(hooked: Host, libvirtd: Callable[[Host], Libvirt]) -> None:
    libvirtd(hooked).done("desk", "prepare", UUID, OTHER)
    hooked.reboot()
    assert restore(hooked).stdout == "0 restored, 0 there already, 0 failed\n"
    assert (running(hooked), recorded(hooked)) == ([], {})
    again = libvirtd(hooked)
    again.done("desk", "prepare", UUID, OTHER)
    assert running(hooked) == [UUID, OTHER]
    again.done("desk", "release", UUID, OTHER)
    assert running(hooked) == []


def test_a_domain_without_such_devices_waits_for_no_import(hooked: Host, libvirt: Libvirt) -> None:
    """Without a mediated device nothing of the library is loaded; while other guests have some, little of it."""
    hooked.run(["mv", LIBRARY, "/run/away"])
    assert libvirt.prepare("other") == libvirt.release("other") == QUIET
    answer = libvirt.prepare("desk", UUID)
    assert (answer.status, answer.err) == (
        1,
        f"nodedev: the library {LIBRARY} cannot be used: No module named 'nodedev'\n",
    )
    hooked.run(["mv", "/run/away", LIBRARY])
    libvirt.done("desk", "prepare", UUID)
    registry = f"{hooked.realpath(LIBRARY)}/kinds/registry.py"
    hooked.run(["mv", registry, "/run/away"])
    assert libvirt.prepare("other") == QUIET
    hooked.run(["mv", "/run/away", registry])
    # A host on which nothing is managed loads nothing for a domain with mediated devices of others.
    libvirt.done("desk", "release", UUID)
    hooked.mdev(state="absent")
    hooked.mdev(uuid=OTHER, parent=OTHER_CARD, state="absent")
    hooked.run(["mv", LIBRARY, "/run/away"])
    assert libvirt.prepare("desk", UUID) == QUIET


def test_what_libvirt_tells_besides(hooked: Host, libvirt: Libvirt) -> None:
    for operation in ("start", "started", "stopped", "migrate", "restore", "attach", "define", ""):
        assert libvirt.call("desk", operation, domain("desk", UUID)) == QUIET
    assert running(hooked) == []


def test_of_another_user(hooked: Host) -> None:
    """A user's own libvirt runs the hooks of the host too."""
    as_user = ["setpriv", "--reuid", "1000", "--clear-groups", HOOK, "desk", "prepare", "begin", "-"]
    done = hooked.run(as_user, input=domain("desk", UUID), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert running(hooked) == []


BOMB = """<?xml version="1.0"?>
<!DOCTYPE domain [<!ENTITY a "mdev"><!ENTITY b "&a;&a;&a;&a;">]>
<domain><name>&b;</name></domain>"""


# Documents that libvirt does not write, and what is said of them.
STRANGE = {
    "mdev": "syntax error",
    domain("desk", UUID).removesuffix("</domain>\n"): "no element found",
    BOMB: "it has a document type declaration",
    "<domain><name>desk</name><x>mdev</x></domain>": "uuid: '' cannot be used",
    f"<domain><uuid>{UUID}</uuid><x>mdev</x></domain>": "it names no domain",
    f"<domain><uuid>../../{UUID}</uuid><name>mdev</name></domain>": "a UUID has 8-4-4-4-12 hexadecimal digits",
    "<mdev>" * 200 + "</mdev>" * 200: "more than 100 elements within each other",
    domain("desk", UUID, more=f"<x>{'y' * (1 << 24)}</x>"): "more than 16777216 bytes",
}


def test_documents_that_libvirt_does_not_write(hooked: Host, libvirt: Libvirt) -> None:
    for document, reason in STRANGE.items():
        done = libvirt.call("desk", "prepare", document)
        assert done.status == 1
        assert done.err.startswith("nodedev: the domain's document cannot be understood: ")
        assert reason in done.err
        assert done.err.count("\n") == 1
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_a_record_that_makes_no_sense(hooked: Host, libvirt: Libvirt) -> None:
    path = f"{RECORDS}/{domain_uuid('desk')}.json"
    hooked.run(["mkdir", "-p", RECORDS])
    for text in ("{", '{"version": 1}', '{"version": 1, "name": "x", "devices": [{}], "ended": false, "daemon": {}}'):
        hooked.write(path, text)
        libvirt.done("other", "prepare", OTHER)
        libvirt.done("other", "release", OTHER)
        done = libvirt.release("desk", UUID)
        assert (done.status, done.err.startswith(f"nodedev: the definition {path} is damaged (")) == (1, True)
    # Of its own domain, the next start has a new one.
    libvirt.done("desk", "prepare", UUID)
    libvirt.done("desk", "release", UUID)
    assert running(hooked) == []


def test_a_kind_of_a_later_release(hooked: Host, libvirt: Libvirt) -> None:
    libvirt.done("desk", "prepare", UUID)
    path = f"{RECORDS}/{domain_uuid('desk')}.json"
    document = json.loads(hooked.read(path))
    document["devices"].append({"kind": "later", "id": "x", "how": "made"})
    hooked.write(path, json.dumps(document))
    done = libvirt.release("desk", UUID)
    assert done.err == "nodedev: devices of the kind later are not known to come and go with guests\n"
    assert (running(hooked), recorded(hooked)) == ([], {"desk": [document["devices"][1]]})


def test_callout_scripts_have_their_say(hooked: Host, libvirt: Libvirt) -> None:
    install_script(hooked, "x")
    libvirt.done("desk", "prepare", UUID)
    libvirt.done("desk", "release", UUID)
    assert whats(hooked) == [
        *("x pre start none", "x post start success"),
        *("x pre stop none", "x post stop success"),
    ]
    install_script(hooked, "x", 'if [ "$event $action" = "pre start" ]; then echo no >&2; exit 1; fi')
    assert "the callout script /usr/lib/mdevctl/scripts.d/callouts/x refuses the start" in libvirt.refused("desk", UUID)
    assert (running(hooked), recorded(hooked)) == ([], {})


def test_a_release_of_the_library_that_is_replaced(hooked: Host, libvirt: Libvirt) -> None:
    """What the link led to has gone when it is imported: the hook runs once more, with what it has read."""
    switch = f'import os; os.unlink("{LIBRARY}"); os.symlink("{hooked.realpath(LIBRARY)}", "{LIBRARY}")\n'
    going = "/usr/lib/nodedev/release-0/nodedev"
    hooked.run(["mkdir", "-p", going])
    hooked.write(f"{going}/__init__.py", f'{switch}raise ImportError("gone")\n')
    hooked.run(["ln", "-sfn", going, LIBRARY])
    libvirt.done("desk", "prepare", UUID)
    assert running(hooked) == [UUID]


def test_a_pool(hooked: Host, libvirt: Libvirt) -> None:
    first, second, third = ids(hooked.pool(type="nvidia-230", count=3, managed=True, parents={"addresses": [CARD]}))
    hooked.mdev(state="absent")
    libvirt.done("desk", "prepare", first, third)
    done: dict[str, Any] = hooked.pool()
    assert done["plan"] == []
    assert [each["active"] for each in done["instances"]] == [True, False, True]
    assert done["capacity"]["pci_0000_3d_00_0"]["nvidia-230"] == {"free": 14, "pool": 2, "others": 0}
    libvirt.done("desk", "release", first, third)
    assert running(hooked) == []
    assert second in ids(hooked.pool())
