# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo shows what its chapters say."""

from __future__ import annotations

import re
import subprocess

import pytest
from conftest import CARD, OTHER_CARD, ROOT

CHAPTER = re.compile(r"^### \d+\. ", re.MULTILINE)
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def chapters() -> list[str]:
    """What each chapter prints, its heading first; all white space is one space."""
    done = subprocess.run(
        ["make", "--silent", "demo"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "WARNING]" not in done.stdout
    first, *chapters = CHAPTER.split(done.stdout)
    assert first.strip() == ""
    return [" ".join(chapter.split()) for chapter in chapters]


def made(text: str) -> list[str]:
    return re.findall(rf"- create mdev ({UUID}) of type", text)


def listed(text: str) -> dict[str, str]:
    """What mdevctl lists as running, with the parents."""
    return dict(re.findall(rf"({UUID}) (\S+) nvidia-232 auto \(defined\)", text))


def recaps(text: str) -> list[tuple[int, int]]:
    """How many tasks of each playbook changed something, and how many failed."""
    found = re.findall(r"PLAY RECAP \*+ gpuhost : ok=\d+ changed=(\d+) unreachable=0 failed=(\d+)", text)
    return [(int(changed), int(failed)) for changed, failed in found]


def test_the_order_of_the_chapters(chapters: list[str]) -> None:
    beginnings = ("A host", "A pool", "The same", "Six", "Five", "The host reboots", "A second pool")
    assert len(chapters) == len(beginnings)
    assert [text for chapter, text in zip(chapters, beginnings) if not chapter.startswith(text)] == []


def test_the_host_gets_what_restores_devices(chapters: list[str]) -> None:
    assert recaps(chapters[0]) == [(6, 0)]
    assert made(chapters[0]) == []


def test_the_pool_is_as_foretold(chapters: list[str]) -> None:
    foretold, done = chapters[1].split("PLAY RECAP")[:2]
    assert "--check --diff" in foretold
    assert "type nvidia-232, parent_addr 0000:af:00.0, autostart true" in foretold
    assert len(made(foretold)) == 4
    assert made(done) == made(foretold)


def test_the_second_run_changes_nothing(chapters: list[str]) -> None:
    assert recaps(chapters[2]) == [(0, 0)]
    assert sorted(listed(chapters[2])) == sorted(made(chapters[1].split("PLAY RECAP")[0]))
    assert sorted(listed(chapters[2]).values()) == [CARD, CARD, OTHER_CARD, OTHER_CARD]


def test_the_pool_grows(chapters: list[str]) -> None:
    assert recaps(chapters[3]) == [(1, 0)]
    assert len(made(chapters[3])) == 2
    assert "remove mdev" not in chapters[3]


def test_the_pool_shrinks_around_the_guest(chapters: list[str]) -> None:
    (guest, held), *_again = re.findall(rf"guest \(process (\d+)\) has the last one open, ({UUID}):", chapters[4])
    first, last = made(chapters[3])
    assert held == last
    assert re.findall(rf"- remove mdev ({UUID})", chapters[4]) == [first]
    left = {*listed(chapters[2]), held}
    assert set(listed(chapters[4])) == left
    assert recaps(chapters[4]) == [(1, 0), (0, 1)]
    assert re.search(rf"\[ERROR\]: .*{held}.* process {guest} \(simhost-guest\)", chapters[4])
    assert set(listed(chapters[5])) == left


def test_all_is_back_after_the_reboot(chapters: list[str]) -> None:
    on_host = chapters[5].partition(" $ ")[0].split(" gpuhost# ")
    reboot, gone, enabled, restored, back = on_host[1:]
    assert (reboot, gone) == ("reboot", "mdevctl list")
    assert enabled == "systemctl is-enabled nodedev-restore.service enabled"
    assert restored.endswith(" 5 restored, 0 there already, 0 failed")
    assert listed(back) == listed(chapters[4])
    assert recaps(chapters[5]) == [(0, 0)]


def test_the_failure_has_a_way_out(chapters: list[str]) -> None:
    assert recaps(chapters[6]) == [(0, 1), (1, 0)]
    assert re.search(r"\[ERROR\]: .*'GRID T4-4' .*GRID T4-4Q.* PLAY RECAP .* PLAY RECAP ", chapters[6])
    assert len(made(chapters[6])) == 1
