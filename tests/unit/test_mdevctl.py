# SPDX-License-Identifier: GPL-3.0-or-later
"""mdevctl's files: understood as mdevctl does, written as mdevctl does, never lost.

What mdevctl does with names and contents was seen with its releases 1.2 and 1.4; tests/modules/test_mdevctl_files.py
asks the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files, mdevctl
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Definition
from hypothesis import given
from hypothesis import strategies as st

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    monkeypatch.setattr(files, "STORE", str(tmp_path / "nodedev.d"))
    return tmp_path / "mdevctl.d"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"mdev_type": "t", "start": "auto"}, ("t", True, ())),
        ({"mdev_type": "t", "start": "manual", "attrs": []}, ("t", False, ())),
        ({"mdev_type": "t", "start": "Auto", "attrs": None}, ("t", False, ())),
        ({"mdev_type": "t", "start": True}, ("t", False, ())),
        ({"mdev_type": "t", "start": 1, "attrs": None}, ("t", False, ())),
        ({"mdev_type": "t", "start": ["auto"]}, ("t", False, ())),
        ({"mdev_type": "t", "start": {}}, ("t", False, ())),
        ({"mdev_type": "t", "start": "auto", "attrs": [{"a": ""}, {"": "b"}]}, ("t", True, (("a", ""), ("", "b")))),
        (
            {"mdev_type": "t", "start": "auto", "attrs": [{"a": "1"}, {"b/c": "2"}, {"a": "3"}], "unknown": 1},
            ("t", True, (("a", "1"), ("b/c", "2"), ("a", "3"))),
        ),
    ],
)
def test_decode(document: object, expected: tuple[str, bool, mdevctl.Attrs]) -> None:
    assert mdevctl.decode(UUID, "p", json.dumps(document)) == Definition(UUID, "p", *expected)


def test_of_two_keys_the_last_counts() -> None:
    text = '{"mdev_type": "s", "start": "auto", "mdev_type": "t", "start": "manual", "attrs": [{"a": "1", "a": "2"}]}'
    assert mdevctl.decode(UUID, "p", text) == Definition(UUID, "p", "t", False, (("a", "2"),))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "not a JSON object"),
        ('["mdev_type"]', "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('\ufeff{"mdev_type": "t", "start": "auto"}', "no JSON"),
        ('{"mdev_type": "t", "start": "auto"} x', "no JSON"),
        ('{"mdev_type": "t", "start": "auto", "x": NaN}', "no JSON"),
        ('{"start": "auto"}', "mdev_type"),
        ('{"mdev_type": null, "start": "auto"}', "mdev_type"),
        ('{"mdev_type": 5, "start": "auto"}', "mdev_type"),
        ('{"mdev_type": "", "start": "auto"}', "mdev_type"),
        ('{"mdev_type": "..", "start": "auto"}', "mdev_type"),
        ('{"mdev_type": "../../x/mdev_supported_types/t", "start": "auto"}', "mdev_type is not the name of a type"),
        ('{"mdev_type": "t"}', "start is missing"),
        ('{"mdev_type": "t", "start": null}', "start is missing"),
        ('{"mdev_type": "t", "start": "auto", "attrs": {}}', "attrs is not a list"),
        ('{"mdev_type": "t", "start": "auto", "attrs": "a"}', "attrs is not a list"),
        ('{"mdev_type": "t", "start": "auto", "attrs": ["a"]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{"a": 1}]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{"a": null}]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{"a": "1", "b": "2"}]}', "an item of attrs"),
        ('{"mdev_type": "t", "start": "auto", "attrs": [{}]}', "an item of attrs"),
    ],
)
def test_a_damaged_definition_is_named(text: str, reason: str) -> None:
    with pytest.raises(DamagedDefinition, match=rf"mdevctl\.d/p/{UUID} is damaged \({reason}.*left alone"):
        mdevctl.decode(UUID, "p", text)


@pytest.mark.parametrize(
    ("name", "uuid"),
    [
        (UUID, UUID),
        (UUID.upper(), UUID),
        (UUID.replace("-", ""), UUID),
        (UUID.replace("-", "").upper(), UUID),
        ("{" + UUID + "}", UUID),
        ("urn:uuid:" + UUID, UUID),
        ("urn:uuid:" + UUID.upper(), UUID),
        ("URN:UUID:" + UUID, None),
        ("{" + UUID.replace("-", "") + "}", None),
        ("urn:uuid:" + UUID.replace("-", ""), None),
        ("{" + UUID, None),
        ("urn:uuid:{" + UUID + "}", None),
        (" " + UUID, None),
        (UUID + "\n", None),
        (UUID + ".swp", None),
        (UUID + "~", None),
        (".nodedev-" + UUID, None),
        ("83b8f4f2-509f-382f-3c1e", None),
        ("\u0661" * 32, None),
        ("notes.txt", None),
        ("", None),
    ],
)
def test_names_of_files(name: str, uuid: str | None) -> None:
    assert mdevctl.uuid_of(name) == uuid


texts = st.text(st.characters(codec="utf-8"), min_size=1)
kinds = texts.filter(lambda kind: kind not in (".", "..") and not set(kind) & {"/", "\0"})


@given(kinds, st.booleans(), st.lists(st.tuples(texts, texts)))
def test_what_is_written_reads_back(kind: str, autostart: bool, attrs: list[tuple[str, str]]) -> None:
    definition = Definition(UUID, "p", kind, autostart, tuple(attrs))
    mdevctl.check(definition)
    assert mdevctl.decode(UUID, "p", mdevctl.encode(definition)) == definition
    assert mdevctl.decode(UUID, "p", mdevctl.compact(definition)) == definition


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        (Definition(UUID, "p", "", True), "mdev_type is not the name of a type"),
        (Definition(UUID, "p", "../t", True), "mdev_type is not the name of a type"),
        (Definition(UUID, "p", "t\0", True), "mdev_type is not the name of a type"),
        (Definition(UUID, "p", "t", True, (("a", "\udcff"),)), "surrogates not allowed"),
        (Definition(UUID, "p", "t", True, (("a", "x" * files.LARGEST),)), "more than 1048576 bytes"),
        (Definition(UUID, "scripts.d", "t", True), "mdevctl would not find it there"),
        (Definition(UUID, ".hidden", "t", True), "mdevctl would not find it there"),
        (Definition(UUID, "a/b", "t", True), "mdevctl would not find it there"),
        (Definition(UUID.upper(), "p", "t", True), "mdevctl would not find it there"),
        (Definition("x", "p", "t", True), "mdevctl would not find it there"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(definition: Definition, reason: str) -> None:
    with pytest.raises(NodedevError, match=f"cannot be defined: .*{reason}"):
        mdevctl.check(definition)


def test_define_and_undefine(store: Path) -> None:
    first, second = Definition(UUID, "0000:06:00.0", "t", True), Definition(OTHER, "0000:06:00.0", "t", False)
    mdevctl.define(first)
    mdevctl.define(second)
    assert mdevctl.defined(UUID) == ([first], [])
    assert mdevctl.all_defined() == ([first, second], [])
    file = store / "0000:06:00.0" / UUID
    assert file.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in file.parent.iterdir()) == [UUID, OTHER]
    mdevctl.undefine(first)
    assert file.parent.is_dir()
    mdevctl.undefine(second)
    mdevctl.undefine(second)
    assert sorted(path.name for path in store.iterdir()) == ["scripts.d"]


def test_one_uuid_may_stand_under_two_parents(store: Path) -> None:
    for parent in ("matrix", "mtty"):
        mdevctl.define(Definition(UUID, parent, "t", True))
    assert [known.parent for known in mdevctl.defined(UUID)[0]] == ["matrix", "mtty"]


@pytest.mark.parametrize("name", [UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", "urn:uuid:" + UUID])
def test_a_file_stays_under_its_own_name(store: Path, name: str) -> None:
    file = store / "mtty" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"mdev_type": "t", "start": "auto", "more": [1]}')
    file.chmod(0o640)
    former = file.read_bytes()
    (known,), damaged = mdevctl.defined(UUID)
    assert (known, known.file, damaged) == (Definition(UUID, "mtty", "t", True), name, [])
    assert mdevctl.all_defined() == ([known], [])
    undo = mdevctl.define(Definition(UUID, "mtty", "u", False, file=known.file))
    assert [path.name for path in file.parent.iterdir()] == [name]
    assert mdevctl.defined(UUID)[0] == [Definition(UUID, "mtty", "u", False)]
    undo()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (former, 0o640)
    undo = mdevctl.undefine(known)
    assert not file.exists()
    undo()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (former, 0o640)


def test_of_two_files_of_one_device_that_of_mdevctls_name_counts(store: Path) -> None:
    kept = Definition(UUID, "mtty", "t", True)
    mdevctl.define(kept)
    for name in (UUID.upper(), UUID.replace("-", "")):
        (store / "mtty" / name).write_text('{"mdev_type": "u", "start": "auto"}')
    for found, damaged in (mdevctl.all_defined(), mdevctl.defined(UUID)):
        assert found == [kept]
        assert {os.path.basename(error.path) for error in damaged} == {UUID.upper(), UUID.replace("-", "")}
        assert {error.reason for error in damaged} == {f"{UUID} in the same folder defines the same device"}


# What stands beside a definition: made by a command in its folder, and what is wrong about it. None is skipped, as by
# mdevctl.
STRANGERS: list[tuple[str, str, str | None]] = [
    ("a file of another name", "printf x > notes.txt", None),
    ("an editor's swap file", f"printf x > .{UUID}.swp", None),
    ("an editor's copy", f"printf x > {UUID}~", None),
    ("a folder named as a device", f"mkdir {UUID}", None),
    ("a link", f"cp {OTHER} ../x; ln -s ../x {UUID}", f"{UUID}: it is a link, which mdevctl does not follow"),
    ("a link that leads nowhere", f"ln -s nowhere {UUID}", f"{UUID}: it is a link, which mdevctl does not follow"),
    ("a link to itself", f"ln -s {UUID} {UUID}", f"{UUID}: it is a link, which mdevctl does not follow"),
    ("zeros without end", f"ln -s /dev/zero {UUID}", f"{UUID}: it is a link, which mdevctl does not follow"),
    ("a pipe", f"mkfifo {UUID}", f"{UUID}: it is not a regular file"),
    ("a device", f"mknod {UUID} c 1 5", f"{UUID}: it is not a regular file"),
    ("3 GB", f"truncate -s 3G {UUID}", f"{UUID}: it has more than 1048576 bytes"),
    ("nested deep", f"printf '[%.0s' $(seq 200000) > {UUID}", f"{UUID}: no JSON: it is nested too deep"),
    ("no text", f"printf '\\377' > {UUID}", f"{UUID}: it is not UTF-8 text"),
    ("plain files beside the folders", "printf x > ../plain; printf x > ../.plain.swp", None),
    ("links beside the folders", "ln -s nowhere ../gone; ln -s /etc/hostname ../file", None),
    ("a folder of version control", f"mkdir ../.git; printf x > ../.git/{UUID}", None),
    ("a file among the scripts", f"printf x > ../scripts.d/{UUID}", None),
    (
        "a folder that is a link",
        "mkdir ../../x; ln -s ../x ../y; printf x > ../y/x",
        "y: it is a link, which mdevctl does not follow",
    ),
    ("a folder that is a loop", "ln -s y ../y", "y: Too many levels of symbolic links"),
]


@pytest.mark.parametrize(("command", "reason"), [case[1:] for case in STRANGERS], ids=[case[0] for case in STRANGERS])
def test_strangers_do_not_hide_definitions(store: Path, command: str, reason: str | None) -> None:
    good = Definition(OTHER, "mtty", "t", True)
    mdevctl.define(good)
    subprocess.run(["bash", "-c", command], cwd=store / "mtty", check=True)
    found, damaged = mdevctl.all_defined()
    assert found == [good]
    assert [f"{os.path.basename(error.path)}: {error.reason}" for error in damaged] == [reason] * (reason is not None)
    assert mdevctl.defined(OTHER)[0] == [good]
    assert mdevctl.defined(UUID)[0] == []


def test_a_store_that_cannot_be_read_is_one_damage(store: Path) -> None:
    store.symlink_to(store)
    found, damaged = mdevctl.all_defined()
    assert (found, [error.path for error in damaged]) == ([], [str(store)])


def test_where_a_damage_is(store: Path) -> None:
    for path, place in (
        (store / "mtty" / UUID.upper(), ("mtty", UUID)),
        (store / "mtty", ("mtty", None)),
        (store / "mtty" / "x", ("mtty", "x")),
    ):
        assert mdevctl.place_of(DamagedDefinition(str(path), "x")) == place


def test_a_failed_write_leaves_the_old_text_and_nothing_else(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Definition(UUID, "mtty", "t", True)
    mdevctl.define(old)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NodedevError, match="could not be changed: ENOSPC"):
        mdevctl.define(Definition(UUID, "mtty", "other", True))
    monkeypatch.undo()
    monkeypatch.setattr(mdevctl, "STORE", str(store))
    assert mdevctl.all_defined() == ([old], [])
    assert [path.name for path in (store / "mtty").iterdir()] == [UUID]


def test_what_killed_runs_left_is_no_definition_and_is_cleared_up(store: Path) -> None:
    kept = Definition(UUID, "mtty", "t", True)
    mdevctl.define(kept)
    for parent in ("mtty", "matrix"):
        (store / parent).mkdir(exist_ok=True)
        (store / parent / f".nodedev-{OTHER}").write_text("{")
    (store / "loop").symlink_to(store / "loop")
    assert mdevctl.all_defined()[0] == [kept]
    mdevctl.clear_up(["loop", "mtty", "0000:06:00.0"])
    assert sorted(path.name for path in (store / "mtty").iterdir()) == [UUID]
    mdevctl.clear_up(["matrix"])
    assert not (store / "matrix").exists()


def test_no_store_is_no_definition(store: Path) -> None:
    assert mdevctl.all_defined() == ([], [])
    assert files.read(str(store / "gone")) is None
