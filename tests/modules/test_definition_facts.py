# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition_facts module on the simulated host: what is defined, and whether it is so."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import KINDS
from conftest import CARD, OTHER, OTHER_CARD, UUID, Host, warnings

KIND = "nvidia-232"
FOLDER = f"/etc/mdevctl.d/{CARD}"


def facts(host: Host, **arguments: Any) -> dict[str, Any]:
    result = host.done("definition_facts", **arguments)
    assert not result["changed"]
    found: dict[str, Any] = result["ansible_facts"]["nodedev_definitions"]
    return found


def test_nothing_is_defined(host: Host) -> None:
    assert facts(host) == {**{kind: [] for kind in KINDS}, "pool": [], "damaged": []}


def test_a_definition(host: Host) -> None:
    host.mdev(type=KIND, attrs=[{"nvidia/vgpu_params": "a=1"}])
    expected = {
        "uuid": UUID,
        "name": "mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001_0000_3d_00_0",
        "parent": "pci_0000_3d_00_0",
        "parent_addr": CARD,
        "parent_missing": False,
        "type": KIND,
        "attrs": [{"nvidia/vgpu_params": "a=1"}],
        "autostart": True,
        "managed": False,
        "active": True,
        "drift": [],
        "domain": None,
        "pool": None,
    }
    assert facts(host)["mdev"] == [expected]
    host.mdev(type=None, state="inactive", autostart=False)
    assert facts(host)["mdev"] == [{**expected, "autostart": False, "active": False}]
    host.mdev(type=None, state="absent")
    assert facts(host)["mdev"] == []


def test_what_runs_otherwise_than_defined(host: Host) -> None:
    host.mdev(type=KIND, attrs=[{"nvidia/vgpu_params": "a=1"}])
    device = f"/sys/bus/mdev/devices/{UUID}"
    host.write(f"{device}/nvidia/vgpu_params", "a=2\n")
    drift = {"what": "attribute nvidia/vgpu_params", "defined": "a=1", "running": "a=2"}
    assert facts(host)["mdev"][0]["drift"] == [drift]
    host.run(["sed", "-i", f"s/{KIND}/nvidia-231/", f"{FOLDER}/{UUID}"])
    assert facts(host)["mdev"][0]["drift"] == [{"what": "type", "defined": "nvidia-231", "running": KIND}, drift]
    host.run(["mv", FOLDER, f"/etc/mdevctl.d/{OTHER_CARD}"])
    found = facts(host)["mdev"][0]
    assert found["drift"][0] == {"what": "parent", "defined": OTHER_CARD, "running": CARD}
    assert (found["active"], found["parent_addr"]) == (False, OTHER_CARD)


def test_a_parent_that_is_missing(host: Host) -> None:
    host.mdev(type=KIND, state="inactive")
    host.run(["mv", FOLDER, "/etc/mdevctl.d/0000:99:00.0"])
    found = facts(host)["mdev"][0]
    assert {key: found[key] for key in ("parent", "parent_addr", "parent_missing", "active")} == {
        "parent": None,
        "parent_addr": "0000:99:00.0",
        "parent_missing": True,
        "active": False,
    }


def test_damaged_files_are_named_and_hide_no_other(host: Host) -> None:
    host.mdev(type=KIND)
    host.pool(type=KIND, count=1)
    host.write(f"{FOLDER}/{OTHER}", "{")
    host.write("/etc/nodedev.d/pool/y.json", '{"version": 2}')
    host.write(f"{FOLDER}/notes.txt", "not a definition")
    result = host.done("definition_facts")
    found = result["ansible_facts"]["nodedev_definitions"]
    assert (len(found["mdev"]), [pool["name"] for pool in found["pool"]]) == (2, ["x"])
    assert [damage["path"] for damage in found["damaged"]] == [f"{FOLDER}/{OTHER}", "/etc/nodedev.d/pool/y.json"]
    assert found["damaged"][0]["reason"].startswith("no JSON")
    assert [damage["path"] in text for damage, text in zip(found["damaged"], warnings(result), strict=True)] == [
        True
    ] * 2
    assert host.read(f"{FOLDER}/{OTHER}") == "{"


def test_pools(host: Host) -> None:
    made = host.pool(type="GRID T4-4Q", count=2, parents={"driver": "nvidia"}, attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.pool(name="y", type=KIND, count=1, persistent=False, placement="pack")
    found = facts(host)
    assert found["pool"][0] == {
        "name": "x",
        "kind": "mdev",
        "type": "GRID T4-4Q",
        "count": 2,
        "parents": {"driver": "nvidia"},
        "placement": "spread",
        "attrs": [{"nvidia/vgpu_params": "a=1"}],
        "autostart": True,
        "managed": False,
        "path": "/etc/nodedev.d/pool/x.json",
        "instances": [
            {"index": each["index"], "id": each["uuid"], "parent_addr": each["parent_addr"]}
            for each in made["instances"]
        ],
    }
    assert (found["pool"][1]["name"], found["pool"][1]["path"]) == ("y", "/run/nodedev.d/pool/y.json")
    # What is not persistent is recorded, but not defined.
    assert sorted(each["uuid"] for each in found["mdev"]) == sorted(each["uuid"] for each in made["instances"])
    assert [each["pool"] for each in found["mdev"]] == ["x", "x"]


def test_a_pool_of_a_kind_that_is_not_known_here(host: Host) -> None:
    document = f'{{"version": 1, "kind": "later", "instances": [{{"index": 0, "id": "{UUID}", "parent": "{CARD}"}}]}}'
    host.run(["mkdir", "-p", "/etc/nodedev.d/pool"])
    host.write("/etc/nodedev.d/pool/x.json", document)
    (pool,) = facts(host)["pool"]
    assert (pool["kind"], pool["instances"]) == ("later", [{"index": 0, "id": UUID, "parent_addr": CARD}])


@pytest.mark.parametrize("kinds", [["mdev"], ["pool"], ["mdev", "pool"], []])
def test_kinds(host: Host, kinds: list[str]) -> None:
    host.pool(type=KIND, count=1)
    found = facts(host, kinds=kinds)
    assert set(found) == {*kinds, "damaged"}
    assert all(found[kind] for kind in kinds)


def test_an_unknown_kind(host: Host) -> None:
    message = host.failed("definition_facts", kinds=["vf"])
    assert f"value of kinds must be one or more of: {', '.join(KINDS)}, pool" in message


def test_check_mode(host: Host) -> None:
    host.pool(type=KIND, count=1)
    assert facts(host, check_mode=True) == facts(host)
