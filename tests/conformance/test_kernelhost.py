# SPDX-License-Identifier: GPL-3.0-or-later
"""Real devices: the virtual machine's own libvirtd against our module, run there through Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernelhost import Machine

from . import hosts, waivers
from .compare import compare
from .hosts import DUMP, EVERYTHING, ROOT, Dump

pytestmark = pytest.mark.every_release

URI = "qemu:///system"
UUIDS = [f"83b8f4f2-509f-382f-3c1e-e6bfe0fa100{index}" for index in (1, 2, 3)]
# Two mediated devices that run, one of them with a definition, one definition alone, and two virtual functions.
PREPARE = f"""\
set -e
echo 2 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs
mdevctl start -u {UUIDS[0]} -p 0000:02:00.0 -t vgpusim-11
mdevctl define -u {UUIDS[0]}
mdevctl start -u {UUIDS[1]} -p mtty -t mtty-1
mdevctl define -u {UUIDS[2]} -p 0000:02:00.0 -t vgpusim-12
udevadm settle
"""
RESTORE = f"""\
for uuid in {" ".join(UUIDS[:2])}; do mdevctl stop -u $uuid; done
rm -rf /etc/mdevctl.d/0000:02:00.0
echo 0 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs
udevadm settle
"""
# A subchannel that is a guest's, with the one mediated device that it takes and the definition of another.
SUBCHANNEL = """\
device=0.0.1000
for subchannel in /sys/bus/css/devices/*; do
    test "$(cat $subchannel/dev_busid)" != $device || break
done
name=$(basename $subchannel)
"""
PREPARE_S390X = f"""\
{SUBCHANNEL}
set -e
modprobe vfio_ccw
echo 0 > /sys/bus/ccw/devices/$device/online
echo vfio_ccw > $subchannel/driver_override
echo $name > $subchannel/driver/unbind
echo $name > /sys/bus/css/drivers_probe
mdevctl start -u {UUIDS[0]} -p $name -t vfio_ccw-io
mdevctl define -u {UUIDS[0]}
mdevctl define -u {UUIDS[1]} -p $name -t vfio_ccw-io
udevadm settle
"""
RESTORE_S390X = f"""\
{SUBCHANNEL}
mdevctl stop -u {UUIDS[0]}
rm -rf /etc/mdevctl.d/$name
echo > $subchannel/driver_override
echo $name > $subchannel/driver/unbind
echo $name > /sys/bus/css/drivers_probe
echo 1 > /proc/cio_settle
udevadm settle
"""
# By the architecture of the machine.
STATES = {"amd64": (PREPARE, RESTORE), "s390x": (PREPARE_S390X, RESTORE_S390X)}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """The machine that is up already, which stays up; else one for this file."""
    with Machine() as up:
        prepare, restore = STATES[up.release.architecture]
        up.run(prepare)
        yield up
        up.run(restore, check=False)


def facts(machine: Machine, folder: Path) -> dict[str, object]:
    """Our facts, gathered by Ansible over ssh."""
    inventory = folder / "kernelhost.yml"
    inventory.write_text(machine.inventory())
    module = ["--module-name", "hostdev.nodedev.nodedev_facts", "--args", json.dumps(EVERYTHING)]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "kernelhost", "--inventory", str(inventory), *module],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    result = json.loads(done.stdout.partition("=>")[2])
    return hosts.facts_of(result)


def test_real_devices(machine: Machine, tmp_path: Path, rules: waivers.Rules) -> None:
    dump = Dump(json.loads(machine.run(f"python3 - {URI}", stdin=DUMP.read_text()).stdout))
    ours = hosts.listing_of(facts(machine, tmp_path))
    comparison = compare(ours, dump.listing, rules, dump.version)
    print(f"kernelhost: {comparison.devices} devices compared, waivers {', '.join(sorted(comparison.used)) or 'none'}")
    comparison.check()
