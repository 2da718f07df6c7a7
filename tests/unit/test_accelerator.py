# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accelerator the test machine runs with: found out once, and anew where what is kept is none."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from kernelhost import qemu
from kernelhost.emulator import LIBRARIES, Emulator
from kernelhost.image import Image

# What is kept of an earlier machine, what this one runs with, and whether it had to try.
KEPT: list[tuple[str | None, str, bool]] = [
    (None, "tcg", True),
    ("", "tcg", True),
    ("kv", "tcg", True),
    ("kvm\n", "kvm", False),
    ("tcg\n", "tcg", False),
]


@pytest.mark.parametrize(("kept", "found", "tried"), KEPT)
def test_what_is_kept(
    kept: str | None, found: str, tried: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a QEMU that ends at once, as where KVM does not work; another machine may be writing the file."""
    starter = tmp_path / LIBRARIES / "ld-linux-x86-64.so.2"
    starter.parent.mkdir(parents=True)
    starter.write_text(f"#!/bin/sh\ntouch {tmp_path}/tried\n")
    starter.chmod(0o755)
    file = tmp_path / "hostdev-nodedev" / f"accelerator-{platform.release()}"
    file.parent.mkdir()
    if kept is not None:
        file.write_text(kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KERNELHOST_ACCEL", raising=False)
    # Whether there is a /dev/kvm depends on the machine.
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert qemu.accelerator(Emulator(tmp_path, "qemu"), Image(tmp_path)) == found
    assert (tmp_path / "tried").exists() == tried
    assert file.read_text() == f"{found}\n"
