# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that its driver leaves in the moment in which it is to be taken from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import binding, sysfs

ADDRESS = "0000:03:10.0"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device's folder, beside that of a driver without an unbind file."""
    for name in ("driver-gone", "device"):
        (tmp_path / name).mkdir()
    return tmp_path / "device"


def test_a_driver_that_has_left(device: Path) -> None:
    binding.unbind(binding.Target("pci", ADDRESS, str(device)), 5)


class Taken(binding.Target):
    """A device that another takes from its driver meanwhile, and gives to vfio-pci."""

    @property
    def driver(self) -> str | None:
        path = Path(self.path, "driver")
        found = path.resolve().name
        path.unlink()
        path.symlink_to("../vfio-pci")
        return found


def test_a_driver_from_which_another_has_taken_it(device: Path) -> None:
    (device / "driver").symlink_to("../driver-gone")
    taken = Taken("pci", ADDRESS, str(device))
    binding.unbind(taken, 5)
    assert taken.driver == "vfio-pci"


class Looking(binding.Target):
    """A device at which its driver has looked in vain, and looks again: the one that is asked for is then there."""

    @property
    def driver(self) -> str | None:
        looks, unbind = Path(self.path, "looks"), Path(self.path, "driver", "unbind")
        if looks.exists():
            unbind.touch()
        looks.touch()
        return "driver-gone"


def test_a_driver_that_looks_at_it_again(device: Path) -> None:
    (device / "driver").symlink_to("../driver-gone")
    binding.unbind(Looking("pci", ADDRESS, str(device)), 5)
    assert (device / "driver" / "unbind").read_text() == f"{ADDRESS}\n"


def test_a_driver_that_stays(device: Path) -> None:
    (device / "driver").symlink_to(device.parent / "driver-gone")
    with pytest.raises(sysfs.SysfsError, match=r"driver/unbind failed with ENOENT"):
        binding.unbind(binding.Target("pci", ADDRESS, str(device)), 5)
