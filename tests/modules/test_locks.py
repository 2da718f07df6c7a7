# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on the simulated host: where /run takes none, and where somebody has put something in their place."""

from __future__ import annotations

import pytest
from conftest import CARD, Host

LOCKS = "/run/nodedev/locks"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        # The file system has a root, and the last one room for the folder too.
        ("nr_inodes=1", LOCKS),
        ("nr_inodes=2", f"{LOCKS}/{CARD}"),
    ],
)
def test_a_full_run_is_one_message(host: Host, options: str, path: str) -> None:
    host.run(["sh", "-c", f"mkdir /run/nodedev && mount -t tmpfs -o {options},mode=755 full /run/nodedev"])
    assert host.refused() == f"{path} could not be changed: ENOSPC (No space left on device)"
    assert host.pool_refused(type="nvidia-231", count=1).endswith(
        "could not be changed: ENOSPC (No space left on device)"
    )


def test_a_folder_of_another_user_is_refused(host: Host) -> None:
    host.run(["sh", "-c", f"mkdir -p {LOCKS} && chown 65534 {LOCKS}"])
    assert host.refused() == f"{LOCKS} belongs to user 65534: remove it, and it is made anew"


def test_a_link_in_the_place_of_a_lock_is_refused(host: Host) -> None:
    host.run(["sh", "-c", f"mkdir -p {LOCKS} && ln -s /etc/made {LOCKS}/{CARD}"])
    assert host.refused() == f"{LOCKS}/{CARD} could not be changed: ELOOP (Too many levels of symbolic links)"
    assert host.run(["ls", "/etc/made"], check=False).returncode != 0


def test_locks_are_roots_alone_whatever_the_umask_is(host: Host) -> None:
    host.user = ["sh", "-c", 'umask 000; exec "$@"', "sh"]
    host.mdev()
    told = host.run(["find", "/run/nodedev", "-printf", "%p %m %u\n"]).stdout.splitlines()
    assert sorted(told) == ["/run/nodedev 755 root", f"{LOCKS} 755 root", f"{LOCKS}/{CARD} 600 root"]
