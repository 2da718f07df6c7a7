# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev module on the simulated host: what it makes, refuses, undoes and leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from conftest import CARD, HERE, OTHER, OTHER_CARD, THERE, UUID, Host, definitions, ids, open_by, warnings
from looks import looks

DEVICE = f"/sys/bus/mdev/devices/{UUID}"
REAL = f"/sys/devices/pci0000:3d/{CARD}/{UUID}"
DEFINITION = f"/etc/mdevctl.d/{CARD}/{UUID}"


def test_what_is_returned(host: Host) -> None:
    made = host.mdev(
        uuid=UUID.upper(), parent="pci_0000_3d_00_0", type="GRID T4-2Q", attrs=[{"nvidia/vgpu_params": "a=1"}]
    )
    group = int(host.run(["sh", "-c", f"basename $(readlink {DEVICE}/iommu_group)"]).stdout)
    assert made["changed"]
    assert made["mdev"] == {
        "name": "mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001_0000_3d_00_0",
        "uuid": UUID,
        "parent": "pci_0000_3d_00_0",
        "parent_addr": CARD,
        "type": "nvidia-231",
        "device_api": "vfio-pci",
        "iommu_group": group,
        "active": True,
        "persistent": True,
        "autostart": True,
        "managed": False,
        "attrs": [{"nvidia/vgpu_params": "a=1"}],
        "holders": [],
    }
    told = f'type nvidia-231, parent_addr {CARD}, autostart true, attrs [{{"nvidia/vgpu_params": "a=1"}}]'
    assert made["diff"] == {"before": "", "after": f"{UUID}: runs and is defined; {told}\n"}
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"


def test_the_definition_is_byte_for_byte_as_mdevctl_writes_it(host: Host) -> None:
    host.mdev(state="inactive", attrs=[{"nvidia/vgpu_params": "a=1"}, {"nvidia/vgpu_params": "ü=2"}])
    ours = host.read(DEFINITION)
    host.mdev(state="absent")
    given = json.dumps(json.loads(ours))
    host.run(["mdevctl", "define", "--uuid", UUID, "--parent", CARD, "--jsonfile", "/dev/stdin"], input=given)
    assert ours == host.read(DEFINITION)


def test_check_mode_touches_nothing(host: Host) -> None:
    for arguments in ({}, {"state": "inactive"}):
        before = host.state()
        assert host.mdev(check_mode=True, **arguments)["changed"]
        assert host.state() == before
    host.mdev()
    before = host.state()
    for arguments in ({"state": "absent"}, {"state": "inactive"}, {"type": "nvidia-230", "replace": True}):
        assert host.mdev(check_mode=True, **arguments)["changed"]
    assert host.state() == before


@pytest.mark.parametrize("spelled", [f"0000{CARD.upper()}", CARD.removeprefix("0000:")])
def test_a_parent_as_nvidia_smi_and_lspci_write_it(host: Host, spelled: str) -> None:
    assert host.mdev(parent=spelled)["mdev"]["parent_addr"] == CARD
    assert not host.mdev()["changed"]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"uuid": "83b8f4f2"}, "uuid: '83b8f4f2' cannot be used: a UUID has 8-4-4-4-12 hexadecimal digits"),
    ({"uuid": f"../{UUID}"}, "uuid: "),
    ({"parent": "0000:99:00.0"}, "parent: '0000:99:00.0' cannot be used: there is no such device; the registered"),
    ({"parent": "pci_0000_3b_00_0"}, f"the registered parents are: {HERE}, {THERE}"),
    ({"parent": "../../etc"}, "parent: '../../etc'"),
    ({"parent": None}, f"not known here; the registered parents are: {HERE}, {THERE}"),
    ({"type": "nvidia-99"}, f"type: 'nvidia-99' cannot be used: {HERE} has the types: nvidia-230 (GRID"),
    ({"type": "../nvidia-231"}, "type: '../nvidia-231'"),
    ({"type": None}, f"not known here; {HERE} has the types: nvidia-230 (GRID T4-1Q)"),
    ({"attrs": [{"../remove": "1"}]}, "attrs: '../remove' cannot be used: an attribute is named by its path below"),
    ({"attrs": [{"/etc/passwd": "1"}]}, "attrs: '/etc/passwd'"),
    ({"attrs": [{"a": "1", "b": "2"}]}, "each item is a mapping of one name to one value"),
    ({"state": "inactive", "persistent": False}, "persistent: False"),
    ({"wait_timeout": -1}, "wait_timeout: -1"),
    (
        {"attrs": [{"nvidia/none": "1"}]},
        f"could not set nvidia/none=1 on mdev {UUID}: writing '1\\n' to {DEVICE}/nv",
    ),
    (
        {"attrs": [{"nvidia/vgpu_params": "no"}]},
        "EINVAL (Invalid argument): the driver does not take this value. undone",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[case[1][:40] for case in REFUSALS])
def test_bad_input(host: Host, arguments: dict[str, Any], message: str) -> None:
    assert message in host.refused(**{"wait_timeout": 5, **arguments})


def test_no_instance_left(host: Host) -> None:
    host.mdev(uuid=OTHER, type="nvidia-234")
    assert f"type: 'nvidia-231' cannot be used: no instance is left on {HERE}; left are nvidia-230: 0" in host.refused()


def test_a_damaged_definition_is_named_and_left(host: Host) -> None:
    host.mdev(uuid=OTHER)
    host.run(["sh", "-c", f"printf '{{' > {DEFINITION}"])
    for state in ("present", "inactive"):
        assert f"the definition {DEFINITION} is damaged (no JSON" in host.refused(state=state)
    assert not host.mdev(uuid=OTHER)["changed"]
    # It is just the thing that is meant not to be there.
    assert host.mdev(state="absent")["plan"] == [f"remove the damaged definition of mdev {UUID}, {DEFINITION}"]
    assert definitions(host) == [OTHER]


def test_an_ambiguous_name(start: Callable[..., Host]) -> None:
    host = start("ambiguous")
    parent = next(iter(host.module("mdev_types_facts")["ansible_facts"]["mdev_types"].values()))
    names = [said["name"] for said in parent["types"].values()]
    name = next(name for name in names if names.count(name) > 1)
    ids = ", ".join(kind for kind, said in parent["types"].items() if said["name"] == name)
    message = host.refused(parent=parent["address"], type=name)
    assert (
        f"type: {name!r} cannot be used: {called(parent['address'])} has several types of that name, use an id: {ids}"
        in message
    )


def test_a_readonly_sysfs(start: Callable[..., Host]) -> None:
    host = start("readonly")
    parent = next(iter(host.module("mdev_types_facts")["ansible_facts"]["mdev_types"].values()))
    message = host.refused(parent=parent["address"], type=next(iter(parent["types"])))
    assert "/sys is mounted read-only" in message


def test_not_root(host: Host) -> None:
    # Reading whatever this checkout's own permissions are is the one thing of root's that is kept.
    host.user = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    assert host.mdev(check_mode=True)["changed"]
    assert "needs root: run the task with 'become: true'" in host.refused()


def test_pyudev_is_missing(host: Host, library: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "pyudev.py").write_text("raise ImportError('no module')\n")
    host.library = f"{hidden}:{library}"
    for check_mode in (False, True):
        assert "Failed to import the required Python library (pyudev)" in host.refused(check_mode=check_mode)
    assert not host.mdev(state="absent")["changed"]


def test_no_parents_at_all(start: Callable[..., Host]) -> None:
    host = start("no-mdev")
    assert host.module("mdev_types_facts")["ansible_facts"] == {"mdev_types": {}}
    assert ": no device on this host offers mediated devices; " in host.refused()


@pytest.mark.parametrize(
    "arguments", [{"state": "absent"}, {"state": "inactive"}, {"type": "nvidia-230", "replace": True}]
)
def test_in_use(host: Host, arguments: dict[str, Any]) -> None:
    host.mdev()
    with host.hold(UUID) as pid:
        start = time.monotonic()
        assert f"mdev {UUID} on {HERE} is in use by process {pid} (" in host.refused(**arguments)
        assert time.monotonic() - start < 10, "the module waited in the kernel's remove"
        refusal = host.module("mdev", **{"uuid": UUID, "parent": CARD, "type": "nvidia-231", **arguments})
        assert refusal["holders"] == [{**open_by(pid, node_of(host)), "uuid": UUID}]
        assert [holder["pid"] for holder in host.mdev()["mdev"]["holders"]] == [pid]
    assert host.mdev(**arguments)["changed"]


def node_of(host: Host) -> str:
    return f"/dev/vfio/{os.path.basename(host.realpath(f'/sys/bus/mdev/devices/{UUID}/iommu_group'))}"


# How often a node is opened for a device that runs; a guest that starts at that moment would not get it.
OPENED: list[tuple[dict[str, Any], int]] = [
    ({}, 0),
    ({"persistent": False, "attrs": [{"nvidia/vgpu_params": "b=2"}]}, 0),
    ({"replace": True, "type": "GRID T4-2Q", "attrs": [{"nvidia/vgpu_params": "a=1"}]}, 0),
    ({"replace": True, "attrs": [{"nvidia/vgpu_params": "b=2"}]}, 1),
    ({"replace": True, "type": "nvidia-230"}, 1),
    ({"managed": True}, 1),
    ({"state": "inactive"}, 1),
    ({"state": "absent"}, 1),
]


def test_nodes_are_opened_only_where_the_device_may_go(host: Host) -> None:
    host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    wish: dict[str, Any] = {"uuid": UUID, "parent": CARD, "type": "nvidia-231"}
    assert [looks(host, "mdev.device", check_mode=True, **{**wish, **options}) for options, _opened in OPENED] == [
        (1, opened) for _options, opened in OPENED
    ]


def test_a_guest_with_a_node_of_its_own(host: Host) -> None:
    """In a mount namespace of its own, in which alone the node has that name, as QEMU's /dev by libvirt."""
    host.mdev()
    host.write("/run/own", "")
    script = f'mount --bind {node_of(host)} /run/own; exec "$@"'
    with host.hold("/run/own", program=["unshare", "-m", "sh", "-c", script, "sh", host.python]) as pid:
        (holder,) = host.mdev()["mdev"]["holders"]
        assert holder == open_by(pid, node_of(host))
        assert f"is in use by process {pid} (simhost-guest): stop that first" in host.refused(state="absent")
    assert host.mdev(state="absent")["changed"]


def test_a_file_of_a_nodes_name(host: Host) -> None:
    host.mdev()
    node = node_of(host).replace("/dev", "/run/mine")
    host.run(["mkdir", "-p", os.path.dirname(node)])
    host.write(node, "")
    with host.hold(node):
        assert host.mdev()["mdev"]["holders"] == []
        assert host.mdev(state="absent")["changed"]


def test_names_of_processes_and_guests_are_escaped(host: Host) -> None:
    host.mdev()
    hold = (
        f"import os, signal; os.open({node_of(host)!r}, os.O_RDWR); open('/proc/self/comm', 'w').write('q\x1b[2J');"
        "print(os.getpid(), flush=True); signal.pause()"
    )
    guest = "guest=a,,b\n\x1b]0;,debug-threads=on"
    process = host.popen([host.python, "-c", hold, "-name", guest], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert rf"is in use by process {pid} (q\x1b[2J) of domain a,b\n\x1b]0;: stop" in host.refused(state="absent")
    assert host.mdev()["mdev"]["holders"][0]["domain"] == "a,b\n\x1b]0;"
    process.kill()
    process.communicate(timeout=5)


@pytest.mark.parametrize(
    ("user", "why"),
    [("--reuid=65534", " by who is not root"), ("--bounding-set=-sys_ptrace", "")],
    ids=["a user", "root in part"],
)
def test_who_may_not_look_at_processes_is_told_so(host: Host, user: str, why: str) -> None:
    host.mdev()
    host.user = ["setpriv", user, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    words = f"whose open files cannot be read{why} (EACCES, Permission denied)"
    (holder,) = host.mdev(check_mode=True)["mdev"]["holders"]
    assert (holder["pid"], holder["node"]) == (None, node_of(host))
    assert holder["by"].startswith("possibly process 1 (")
    assert holder["by"].endswith(words)
    for state in ("inactive", "absent"):
        assert f"{words}: stop that first, or set force: true" in host.refused(state=state, check_mode=True)
        assert host.mdev(state=state, check_mode=True, force=True)["changed"]
    host.user = ()
    assert host.mdev(state="absent")["changed"]


def test_force_waits_for_the_release_no_longer_than_told(host: Host) -> None:
    host.mdev()
    with host.hold(UUID):
        result = host.module("mdev", uuid=UUID, state="absent", force=True, wait_timeout=0.5)
        assert f"the kernel still waits for the users of {REAL} after 0.5 s" in result["msg"]
        assert "undone: undefine mdev" in result["msg"]
        assert "is still being removed" in host.refused(wait_timeout=1)
    assert not host.mdev(state="inactive", type=None)["mdev"]["active"]


def test_another_type_or_parent(host: Host) -> None:
    host.mdev()
    assert f"runs with type nvidia-231 on {HERE}, not with type nvidia-230 on {HERE}" in host.refused(type="nvidia-230")
    assert f"not with type nvidia-231 on {THERE}" in host.refused(parent=OTHER_CARD)
    moved = host.mdev(parent=OTHER_CARD, replace=True)
    assert moved["mdev"]["parent_addr"] == OTHER_CARD
    assert host.run(["find", "/etc/mdevctl.d", "-name", UUID]).stdout.split() == [f"/etc/mdevctl.d/{OTHER_CARD}/{UUID}"]


def test_one_uuid_under_two_parents(host: Host) -> None:
    for parent in (CARD, OTHER_CARD):
        host.run(["mdevctl", "define", "--uuid", UUID, "--parent", parent, "--type", "nvidia-231"])
    assert f"uuid: '{UUID}' cannot be used: it is defined under several parents" in host.refused(
        parent=None, state="absent"
    )
    host.mdev(parent=OTHER_CARD, state="absent")
    assert host.run(["find", "/etc/mdevctl.d", "-name", UUID]).stdout.split() == [DEFINITION]


def test_a_reboot_keeps_the_definition(host: Host) -> None:
    host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.reboot()
    again = host.mdev()
    assert [step.split(" ")[0] for step in again["plan"]] == ["create", "set"]
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"


# A plan that replaces a device has every kind of step; each of them fails once.
FAULTS = [
    ("/sys/devices/*/" + UUID + "/remove", "EBUSY", "remove"),
    ("/sys/devices/*/nvidia-232/create", "EIO", "create"),
    ("/sys/devices/*/vgpu_params", "EIO", "set"),
]


@pytest.mark.parametrize(("path", "errno", "step"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_a_fault_at_any_step_leaves_the_host_as_it_was(host: Host, path: str, errno: str, step: str) -> None:
    host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.fault(path, op="write", errno=errno, nth=1)
    wish: dict[str, Any] = {"type": "nvidia-232", "replace": True, "attrs": [{"nvidia/vgpu_params": "b=2"}]}
    message = host.refused(**wish)
    assert message.startswith(f"could not {step} ")
    assert errno in message
    assert "NOT undone" not in message
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"
    host.clear_faults()
    assert host.mdev(**wish)["mdev"]["type"] == "nvidia-232"
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "b=2\n"


def test_a_definition_that_cannot_be_written_undoes_the_device(host: Host) -> None:
    host.run(["mkdir", "-p", "/etc/mdevctl.d"])
    host.run(["mount", "-t", "tmpfs", "-o", "ro", "none", "/etc/mdevctl.d"])
    message = host.refused()
    assert f"could not define mdev {UUID}" in message
    assert "EROFS" in message
    assert f"undone: create mdev {UUID}" in message


@pytest.mark.parametrize("link", ["mdev_type", "iommu_group"])
def test_a_device_that_is_slow_to_come_is_waited_for(host: Host, link: str) -> None:
    host.fault(f"/sys/devices/*/{UUID}/{link}", lag=0.5)
    made = host.mdev()["mdev"]
    assert made["type"] == "nvidia-231"
    assert made["iommu_group"] is not None


def test_a_device_that_never_comes_is_taken_away_again(host: Host) -> None:
    host.fault(f"/sys/devices/*/{UUID}/iommu_group", lag=60)
    message = host.refused(wait_timeout=0.5)
    assert "has not got its VFIO group (is the vfio driver loaded?) after 0.5 s; it was removed again" in message


def test_two_runs_at_once_make_one_device(host: Host) -> None:
    host.fault("/sys/devices/*/create", op="write", delay=0.3)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _run: host.mdev(), range(3)))
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert len({json.dumps(result["mdev"]) for result in results}) == 1


def test_mdevctls_callout_scripts_are_asked(host: Host) -> None:
    folder = "/etc/mdevctl.d/scripts.d"
    script = '#!/bin/sh\ncat > /dev/null\necho "$@" >> /etc/asked\n[ ! -e /etc/refuse ]\n'
    host.run(["mkdir", "-p", f"{folder}/callouts", f"{folder}/notifiers"])
    host.write(f"{folder}/callouts/check", script)
    host.run(["chmod", "755", f"{folder}/callouts/check"])
    made = host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    assert made["plan"][0] == (
        f"create mdev {UUID} of type nvidia-231 on {HERE}, nvidia/vgpu_params=a=1, asking the callout scripts"
    )
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"
    assert not host.mdev()["changed"]
    host.mdev(state="inactive")
    asked = [line.split(" -a ")[1].split()[0] for line in host.read("/etc/asked").splitlines() if "-e pre" in line]
    assert asked == ["start", "define", "stop"]
    host.mdev()
    with host.hold(UUID):
        forced = host.module("mdev", uuid=UUID, state="absent", force=True, wait_timeout=0.5)
        assert "the kernel still waits for the users of" in forced["msg"]
    host.mdev(state="inactive")
    host.write("/etc/refuse", "")
    assert f"{folder}/callouts/check refuses the start of mdev {UUID}" in host.refused()


@pytest.mark.parametrize(
    ("scenario", "kind", "name"),
    [
        ("mtty", "mtty-2", "mtty_mtty"),
        ("s390x", "vfio_ap-passthrough", "ap_matrix"),
        ("s390x", "vfio_ccw-io", "css_0_0_"),
    ],
)
def test_parents_that_are_not_pci(start: Callable[..., Host], scenario: str, kind: str, name: str) -> None:
    host = start(scenario)
    facts = host.module("mdev_types_facts", type=kind)["ansible_facts"]["mdev_types"]
    parent = next(parent for parent in facts.values() if parent["types"][kind]["available_instances"] > 0)
    assert parent["name"].startswith(name)
    made = host.mdev(parent=parent["name"], type=kind)["mdev"]
    assert (made["parent"], made["active"], made["persistent"]) == (parent["name"], True, True)
    assert made["device_api"] == parent["types"][kind]["device_api"]
    assert not host.mdev(parent=parent["address"], type=kind)["changed"]
    assert host.mdev(parent=None, type=None, state="absent")["mdev"]["active"] is False


def test_attributes_of_an_ap_device(start: Callable[..., Host]) -> None:
    host = start("s390x")
    attrs = [{"assign_adapter": "5"}, {"assign_domain": "0x4"}]
    host.mdev(parent="matrix", type="vfio_ap-passthrough", attrs=attrs)
    assert host.read(f"{DEVICE}/matrix") == "05.0004\n"
    host.mdev(parent="matrix", type="vfio_ap-passthrough", state="absent")
    bad = [{"assign_adapter": "5"}, {"assign_domain": "0x47"}]
    assert "could not set assign_domain=0x47" in host.refused(parent="matrix", type="vfio_ap-passthrough", attrs=bad)


def test_virtual_functions_share_their_card(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    facts = host.module("mdev_types_facts")["ansible_facts"]["mdev_types"]
    first, second = list(facts.values())[:2]
    kind = next(kind for kind, said in first["types"].items() if said["available_instances"] == 1)
    host.mdev(parent=first["name"], type=kind)
    assert "no instance is left" in host.refused(uuid=OTHER, parent=first["name"], type=kind)
    host.mdev(uuid=OTHER, parent=second["name"], type=kind)


def test_what_udev_has_not_dealt_with_is_a_warning(host: Host) -> None:
    host.fault(f"/sys/devices/*/{UUID}/uevent", lag=3600)
    made = host.mdev(wait_timeout=0.5)
    assert made["mdev"]["active"]
    assert warnings(made)[0] == (
        f"udev has not dealt with {UUID} in time: links, owners and modes that its rules give may come later"
    )


def test_what_udev_has_not_dealt_with_of_a_pool_is_a_warning(host: Host) -> None:
    host.fault("/sys/devices/*-*-*-*-*/uevent", lag=3600)
    made = host.pool(type="nvidia-232", count=2, wait_timeout=1)
    assert warnings(made)[0].startswith(f"udev has not dealt with {', '.join(sorted(ids(made)))} in time: ")


@pytest.mark.parametrize(
    ("parent", "told"),
    [
        ("pci_0000_3b_00_0", "it is there with driver mlx5_core, and offers no mediated devices"),
        ("0000:3b:00.0", "it is there with driver mlx5_core, and offers no mediated devices"),
        ("0000:99:00.0", "there is no such device"),
    ],
)
def test_what_is_not_a_parent(host: Host, parent: str, told: str) -> None:
    listed = f"the registered parents are: {HERE}, {THERE}"
    assert host.refused(parent=parent) == f"parent: {parent!r} cannot be used: {told}; {listed}"


def test_a_card_whose_functions_are_the_parents(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    for card in ("0000:06:00.0", "pci_0000_06_00_0"):
        told = (
            f"parent: {card!r} cannot be used: its virtual functions are the parents: pci_0000_06_00_4 (0000:06:00.4), "
        )
        assert host.refused(parent=card).startswith(told)


def test_a_type_in_another_spelling(host: Host) -> None:
    message = host.refused(type="grid t4-2q")
    assert (
        "type: 'grid t4-2q' cannot be used: did you mean 'GRID T4-2Q'?; pci_0000_3d_00_0 (0000:3d:00.0) has" in message
    )


def test_others_who_make_mediated_devices_are_named_where_something_changes(host: Host) -> None:
    host.run(["mkdir", "-p", "/etc/nova"])
    host.write("/etc/nova/nova.conf", "[devices]\nenabled_mdev_types = nvidia-231\n")
    told = "/etc/nova/nova.conf has nova make those of type nvidia-231: leave them to one"
    foretold, made, again = host.mdev(check_mode=True), host.mdev(), host.mdev()
    assert [told in " ".join(warnings(each)) for each in (foretold, made, again)] == [True, True, False]
    grown = host.pool(type="nvidia-231", count=1)
    assert [told in " ".join(warnings(each)) for each in (grown, host.pool(count=1))] == [True, False]
