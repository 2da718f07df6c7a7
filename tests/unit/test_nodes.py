# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path leads to, on the few devices that every machine has, and on files of a test's own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import nodes
from devices import Host

NULL, ZERO = (stat.S_IFCHR, 1, 3), (stat.S_IFCHR, 1, 5)


@pytest.fixture(params=["statx", "stat"])
def look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the C library's statx, and as without it."""
    if request.param == "stat":
        monkeypatch.setattr(nodes, "_look", lambda: nodes._by_stat)


@pytest.mark.usefixtures("look")
def test_a_device_is_its_kind_and_number(tmp_path: Path) -> None:
    link = tmp_path / "other name"
    link.symlink_to("/dev/null")
    assert nodes.of_path("/dev/null") == nodes.of_path(str(link)) == NULL
    assert nodes.of_path("/dev/zero") == ZERO
    with open(link, "rb") as file:
        assert nodes.of_path(f"/proc/self/fd/{file.fileno()}") == NULL


@pytest.mark.usefixtures("look")
def test_anything_else_is_its_inode(tmp_path: Path) -> None:
    path, other, link = tmp_path / "a", tmp_path / "b\udcff\n", tmp_path / "c"
    path.touch()
    os.link(path, other)
    link.touch()
    found = nodes.of_path(str(path))
    assert found == nodes.of_path(str(other)) == (0, path.stat().st_dev, path.stat().st_ino)
    assert nodes.of_path(str(link)) != found
    with open(path, "rb") as file:
        path.unlink()
        other.unlink()
        assert nodes.of_path(f"/proc/self/fd/{file.fileno()}") == found
    reading, writing = os.pipe()
    assert nodes.of_path(f"/proc/self/fd/{reading}") == (0, os.fstat(reading).st_dev, os.fstat(reading).st_ino)
    os.close(reading)
    os.close(writing)


@pytest.mark.usefixtures("look")
def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        nodes.of_path(str(tmp_path / "gone"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        nodes.of_path(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("number", "node", "found"),
    [
        ("1:3", None, {NULL}),
        ("1:3", "/dev/null", {NULL}),
        # A node that was left behind is another device by now.
        ("1:3", "/dev/zero", {NULL}),
        (None, "/dev/zero", {ZERO}),
        (None, None, set()),
        ("", None, set()),
        ("1", None, set()),
        ("1:3:5", None, set()),
        ("a:b", "/dev/zero", {ZERO}),
        ("-1:3", None, set()),
        (f"{'1' * 5000}:3", None, set()),
    ],
)
def test_the_nodes_of_a_device(
    host: Host, monkeypatch: pytest.MonkeyPatch, number: str | None, node: str | None, found: set[nodes.Identity]
) -> None:
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    if number is not None:
        host.attributes("class/x/some", {"dev": number})
    if node is not None:
        (host.dev / "some").symlink_to(node)
    assert nodes.of_device("some", stat.S_IFCHR, f"{host.sys}/class/x/some") == found


def test_a_node_that_is_a_file_counts_beside_the_number(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    host.attributes("class/x/some", {"dev": "1:3"})
    (host.dev / "some").touch()
    own = os.stat(host.dev / "some")
    assert nodes.of_device("some", stat.S_IFCHR, f"{host.sys}/class/x/some") == {NULL, (0, own.st_dev, own.st_ino)}


def test_a_number_that_cannot_be_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "DEV", str(host.dev))
    host.attributes("class/x/some", {"dev/": ""})
    assert nodes.of_device("some", stat.S_IFCHR, f"{host.sys}/class/x/some") == set()
