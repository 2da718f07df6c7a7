# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a pool: written, found, replaced and forgotten, here or in /run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import Step
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools import record
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.record import Record, Recorded
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files as definitions
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

ONE, TWO = Recorded(0, "id0", "0000:06:00.0"), Recorded(1, "id1", "0000:07:00.0")


class Roots:
    """The two folders in which a record may stand, below a test's own."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "etc"
        self.runtime = folder / "run"

    def record(self, *instances: Recorded, runtime: bool = False, name: str = "x") -> Record:
        root = str(self.runtime if runtime else self.store)
        return Record(name, "mdev", {"type": "t", "count": len(instances)}, instances, root)

    def files(self) -> list[str]:
        """All files below both, by their paths there."""
        folder = self.store.parent
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    roots = Roots(tmp_path)
    monkeypatch.setattr(definitions, "STORE", str(roots.store))
    monkeypatch.setattr(definitions, "RUNTIME", str(roots.runtime))
    return roots


def do(steps: list[Step]) -> None:
    for step in steps:
        step.apply()


def take_back(steps: list[Step]) -> None:
    for step in reversed(steps):
        assert step.undo is not None
        step.undo()


def test_what_is_kept_is_found(roots: Roots) -> None:
    assert record.RECORDS.find("x") is None
    for kept in (roots.record(ONE, TWO), roots.record(ONE, runtime=True, name="y")):
        do(record.keep(kept, None))
        assert record.RECORDS.find(kept.name) == kept
    assert [each.name for each in record.RECORDS.all()[0]] == ["x", "y"]
    assert roots.files() == ["etc/pool/x.json", "run/pool/y.json"]


def test_the_document_is_the_wish_with_the_instances(roots: Roots) -> None:
    do(record.keep(roots.record(ONE), None))
    assert json.loads((roots.store / "pool" / "x.json").read_text()) == {
        "version": 1,
        "kind": "mdev",
        "type": "t",
        "count": 1,
        "instances": [{"index": 0, "id": "id0", "parent": "0000:06:00.0"}],
    }


def test_what_is_there_already_needs_no_step(roots: Roots) -> None:
    assert record.keep(roots.record(ONE), roots.record(ONE)) == []


def test_the_steps_say_what_they_do(roots: Roots) -> None:
    first, second = roots.record(ONE), roots.record(ONE, TWO)
    path = roots.store / "pool" / "x.json"
    assert record.keep(first, None)[0].description == f"record pool x with 1 instances in {path}"
    assert record.keep(second, first)[0].description == f"change the record of pool x with 2 instances in {path}"
    assert record.forget(second).description == f"remove the record of pool x, {path}"


@pytest.mark.parametrize("before", [None, "store", "runtime"])
@pytest.mark.parametrize("then", ["store", "runtime", "forgotten"])
def test_every_step_can_be_taken_back(roots: Roots, before: str | None, then: str) -> None:
    former = roots.record(ONE, runtime=before == "runtime") if before else None
    if former is not None:
        do(record.keep(former, None))
    files = roots.files()
    if then == "forgotten":
        steps = [record.forget(former)] if former is not None else []
    else:
        steps = record.keep(roots.record(ONE, TWO, runtime=then == "runtime"), former)
    do(steps)
    if steps:
        wanted = None if then == "forgotten" else roots.record(ONE, TWO, runtime=then == "runtime")
        assert record.RECORDS.find("x") == wanted
        assert len(roots.files()) == (wanted is not None)
    take_back(steps)
    assert record.RECORDS.find("x") == former
    assert roots.files() == files


@pytest.mark.parametrize("then", ["kept", "forgotten"])
def test_one_that_a_killed_run_left_in_the_other_place_goes_too(roots: Roots, then: str) -> None:
    lasting = roots.record(ONE, TWO)
    do(record.keep(roots.record(ONE, runtime=True), None))
    do(record.keep(lasting, None))
    assert record.RECORDS.find("x") == lasting
    do([record.forget(lasting)] if then == "forgotten" else record.keep(roots.record(ONE), lasting))
    assert roots.files() == ([] if then == "forgotten" else ["etc/pool/x.json"])


def test_instances_are_kept_by_their_indexes(roots: Roots) -> None:
    assert record.with_instances(roots.record(), [TWO, ONE]) == replace(roots.record(), instances=(ONE, TWO))


DAMAGED: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "no JSON"),
    ({"version": 2, "kind": "mdev", "instances": []}, "its version is 2"),
    ({"kind": "mdev", "instances": []}, "its version is None"),
    ({"version": 1, "instances": []}, "it has no kind or no list of instances"),
    ({"version": 1, "kind": "mdev"}, "it has no kind or no list"),
    ({"version": 1, "kind": 5, "instances": []}, "it has no kind or no list"),
    ({"version": 1, "kind": "mdev", "instances": {}}, "it has no kind or no list"),
    ({"version": 1, "kind": "mdev", "instances": ["id0"]}, "an instance is not an index, an id and a parent"),
    ({"version": 1, "kind": "mdev", "instances": [{"index": 0, "id": "id0"}]}, "an instance is not"),
    ({"version": 1, "kind": "mdev", "instances": [{"index": "0", "id": "a", "parent": "p"}]}, "an instance is not"),
    ({"version": 1, "kind": "mdev", "instances": [{"index": True, "id": "a", "parent": "p"}]}, "an instance is not"),
]


@pytest.mark.parametrize(("content", "reason"), DAMAGED, ids=[str(case[0])[:50] for case in DAMAGED])
@pytest.mark.parametrize("place", ["store", "runtime"])
def test_a_damaged_record_is_named_and_hides_no_other(
    roots: Roots, place: str, content: dict[str, Any] | str, reason: str
) -> None:
    good = roots.record(ONE, name="y")
    do(record.keep(good, None))
    path = getattr(roots, place) / "pool" / "x.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DamagedDefinition, match=rf"{path} is damaged \({reason}"):
        record.RECORDS.find("x")
    found, damaged = record.RECORDS.all()
    assert found == [good]
    assert [each.path for each in damaged] == [str(path)]


def test_what_a_killed_run_left_is_no_record_and_is_cleared_up(roots: Roots) -> None:
    do(record.keep(roots.record(ONE), None))
    for folder in (roots.store, roots.runtime):
        (folder / "pool").mkdir(parents=True, exist_ok=True)
        (folder / "pool" / ".nodedev-y.json").write_text("{")
    assert record.RECORDS.all() == ([roots.record(ONE)], [])
    record.RECORDS.clear_up("x")
    assert len(roots.files()) == 3
    record.RECORDS.clear_up("y")
    assert roots.files() == ["etc/pool/x.json"]


def test_an_instance_belongs_to_a_pool_of_its_kind(roots: Roots) -> None:
    """Ids of two kinds may be alike, as a virtual function's address is for its driver and for its vGPU."""
    do(record.keep(roots.record(ONE, name="y"), None))
    do(record.keep(replace(roots.record(ONE, TWO, name="z"), kind="vhba"), None))
    assert record.owners("x", "mdev") == {ONE.id: "y"}
    assert record.owners("x", "vhba") == {ONE.id: "z", TWO.id: "z"}
    assert record.owners("z", "vhba") == {}
