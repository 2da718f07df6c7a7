# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mdev_pool module refuses on the simulated host, with nothing changed and a message that says what may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, HERE, THERE, UUID, Host, ids, warnings

TYPE = "GRID T4-4Q"
RECORD = "/etc/nodedev.d/pool/x.json"

BOTH = f"{HERE}, {THERE}"
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"name": "../x"}, "name: '../x' cannot be used: a pool's name has up to 64 letters, digits"),
    ({"name": ""}, "name: '' cannot be used"),
    ({"count": -1}, "count: '-1' cannot be used: a number from 0 to 4096, or 'max' for as many as fit"),
    ({"count": "all"}, "count: 'all' cannot be used: a number from 0 to 4096, or 'max'"),
    ({"count": 5000}, "count: '5000' cannot be used"),
    ({"count": 9}, "count: 9 cannot be used: pool x needs 9 more instances of type GRID T4-4Q and there is room for 8"),
    ({"count": None}, "count is required: pool x is not known here; or list its uuids"),
    ({"count": 1, "uuids": [UUID]}, "parameters are mutually exclusive: count|uuids"),
    ({"uuids": ["x"], "count": None}, "uuids: 'x' cannot be used: a UUID has 8-4-4-4-12 hexadecimal digits"),
    ({"uuids": [UUID, UUID], "count": None}, "each UUID stands once"),
    ({"type": None}, f"type is required: pool x is not known here; {BOTH} have the types: nvidia-230 (GRID T4-1Q)"),
    ({"type": "nvidia-9"}, f"type: 'nvidia-9' cannot be used: {BOTH} have the types: nvidia-230 (GRID T4-1Q)"),
    ({"type": "../nvidia-231"}, "type: '../nvidia-231' cannot be used"),
    (
        {"parents": {"names": ["pci_0000_99_00_0"]}},
        "parents: 'pci_0000_99_00_0' cannot be used: there is no such device",
    ),
    (
        {"parents": {"addresses": [CARD, "0000:3b:00.0"]}},
        "parents: '0000:3b:00.0' cannot be used: it is there with driver",
    ),
    ({"parents": {"addresses": ["../x"]}}, "parents: '../x' cannot be used: a device name or address has"),
    ({"parents": {"driver": "i915"}}, "parents: {'driver': 'i915'} cannot be used: it leaves out every parent: "),
    (
        {"parents": {"numa_node": 7}},
        "it leaves out every parent: numa_node is 0 on pci_0000_3d_00_0 (0000:3d:00.0) and 1",
    ),
    ({"parents": {"slot": 1}}, "Unsupported parameters"),
    ({"placement": "random"}, "value of placement must be one of: spread, pack, got: random"),
    ({"attrs": [{"../remove": "1"}]}, "attrs: '../remove' cannot be used: an attribute is named by its path below"),
    ({"attrs": [{"a": "1", "b": "2"}]}, "each item is a mapping of one name to one value"),
    ({"state": "inactive", "persistent": False}, "persistent: False cannot be used"),
    ({"wait_timeout": -1}, "wait_timeout: -1"),
    ({"attrs": [{"nvidia/none": "1"}]}, "could not set nvidia/none=1 on mdev"),
    ({"attrs": [{"nvidia/vgpu_params": "no"}]}, "EINVAL (Invalid argument): the driver does not take this value. und"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[case[1][:40] for case in REFUSALS])
def test_bad_input(host: Host, arguments: dict[str, Any], message: str) -> None:
    given = {"type": TYPE, "count": 3, "wait_timeout": 5, **arguments}
    if "uuids" in arguments and "count" not in arguments:
        del given["count"]
    assert message in host.pool_refused(**{key: value for key, value in given.items() if value is not None})


def test_a_readonly_sysfs(start: Callable[..., Host]) -> None:
    host = start("readonly")
    assert "/sys is mounted read-only" in host.pool_refused(type=TYPE, count=1)
    assert host.pool(check_mode=True, type=TYPE, count=1)["changed"]


def test_no_parents_at_all(start: Callable[..., Host]) -> None:
    message = start("no-mdev").pool_refused(type=TYPE, count=1)
    assert message.startswith(
        "pool x: no device on this host offers mediated devices; pci_0000_00_02_0 (0000:00:02.0) is a GPU"
    )
    assert "with driver bochs-drm, which offers no types: is it its vendor's driver for vGPU hosts?" in message


def test_a_card_is_chosen_for_its_functions(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    made = host.pool(type="nvidia-712", count=2, parents={"names": ["pci_0000_06_00_0"]})
    assert [each["parent_addr"] for each in made["instances"]] == ["0000:06:00.4", "0000:06:00.5"]
    assert not host.pool()["changed"]
    # An instance rests where it is, with no function there at all.
    host.pool(state="inactive")
    host.run(["mv", "/etc/mdevctl.d/0000:06:00.4", "/etc/mdevctl.d/0000:06:01.4"])
    host.run(["sed", "-i", "s/0000:06:00.4/0000:06:01.4/", "/etc/nodedev.d/pool/x.json"])
    assert not host.pool(state="inactive")["changed"]


def test_who_holds_instances_is_told_as_data(host: Host) -> None:
    uuids = [each["uuid"] for each in host.pool(type=TYPE, count=2)["instances"]]
    with host.hold(uuids[0]) as pid:
        refusal = host.module("mdev_pool", name="x", state="absent")
        assert [(holder["uuid"], holder["pid"]) for holder in refusal["holders"]] == [(uuids[0], pid)]
        assert "which takes them from guests that run" in refusal["msg"]


def test_an_instance_that_is_taken_out_by_itself_is_told(host: Host) -> None:
    uuids = [each["uuid"] for each in host.pool(type=TYPE, count=2)["instances"]]
    plan = host.done("mdev", uuid=uuids[1], state="absent", check_mode=True)["plan"]
    assert len(plan) == 2
    assert all(step.endswith(", an instance of pool x") for step in plan)
    assert host.done("mdev", uuid=UUID, state="absent")["plan"] == []
    host.write("/etc/nodedev.d/pool/x.json", "{")
    assert not any("pool" in step for step in host.done("mdev", uuid=uuids[1], state="absent")["plan"])


def test_a_damaged_record_is_named_and_left(host: Host) -> None:
    host.pool(type=TYPE, count=2)
    for text, reason in (
        ("{", "no JSON"),
        ('{"version": 2}', "its version is 2"),
        ('{"version": 1}', "it has no kind"),
    ):
        host.write(RECORD, text)
        # What cannot be understood may be removed by its name, but not what a later release wrote.
        absent = [{"state": "absent"}] if "2" in text else []
        for arguments in ({"count": 3}, {"state": "inactive"}, *absent):
            assert f"the definition {RECORD} is damaged ({reason}" in host.pool_refused(**arguments)
    assert host.pool(name="y", type=TYPE, count=2)["changed"]


def test_damaged_definitions(host: Host) -> None:
    made = host.pool(type=TYPE, count=2)
    new = ids(host.pool(check_mode=True, count=3))[2]
    others = f"/etc/mdevctl.d/{CARD}/{UUID}"
    host.write(others, "{")
    again = host.pool()
    assert not again["changed"]
    assert f"the definition {others} is damaged (no JSON" in warnings(again)[0]
    of_new = f"/etc/mdevctl.d/{CARD}/{new}"
    host.write(of_new, "{")
    assert f"the definition {of_new} is damaged" in host.pool_refused(count=3)
    host.write(of_new, "")
    of_member = f"/etc/mdevctl.d/{CARD}/{ids(made)[0]}"
    host.write(of_member, "[]")
    for arguments in ({"count": 1}, {"state": "inactive"}):
        assert f"the definition {of_member} is damaged (not a JSON object" in host.pool_refused(**arguments)
    # It is just what is meant not to be there; others' stay.
    removed = host.pool(state="absent")["plan"][0]
    assert removed == f"remove the damaged definition of mdev {ids(made)[0]}, {of_member}"
    assert f"the definition {others} is damaged" in host.refused(type=TYPE)
