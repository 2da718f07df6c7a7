# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine beside driverctl, which takes a device from its driver in any case, and fails if that is gone."""

from __future__ import annotations

import pytest
from conftest import Host
from test_driver import CALLED, DISK, bound, machine
from test_restore import restore

__all__ = ["machine"]

RULE = """ACTION=="add", TEST=="/etc/driverctl.d/$env{SUBSYSTEM}-$kernel", TAG+="systemd", \\
ENV{SYSTEMD_WANTS}="driverctl@$env{SUBSYSTEM}-$kernel.service"
"""
RECORD = f"/run/udev/data/+pci:{DISK}"
TAGGED, OTHER = "I:1\nG:systemd\nV:1\n", "I:1\nV:1\n"
# What systemd says of driverctl's unit, one line a question and the last one for ever; where it says "load", driverctl
# does its work first.
SYSTEMCTL = f"""#!/bin/sh
test "$1 $3" = "show driverctl@pci-{DISK}.service" || exit 1
echo >> /run/asked
state=$(sed -n "$(wc -l < /run/asked)p" /run/states)
test -n "$state" || state=$(tail -n 1 /run/states)
if [ "$state" = load ]; then
    state=active
    cd /sys/bus/pci/devices/{DISK}
    echo {DISK} > driver/unbind && echo vfio-pci > driver_override && echo {DISK} > /sys/bus/pci/drivers_probe
fi
case "$state" in
    hangs) exec sleep 60 ;;
    not-found|masked) printf 'LoadState=%s\\nActiveState=inactive\\n' "$state" ;;
    *) printf 'LoadState=loaded\\nActiveState=%s\\n' "$state" ;;
esac
"""
# How far driverctl's unit is, what udev knows of the device, who binds it, and how often systemd is asked.
TURNS = {
    "yet to come": (["inactive", "activating", "load"], TAGGED, False, 3),
    "at work": (["activating", "load"], TAGGED, False, 2),
    "failed": (["activating", "failed"], TAGGED, True, 2),
    "over": (["active"], TAGGED, True, 1),
    "masked": (["masked"], TAGGED, True, 1),
    "not installed": (["not-found"], TAGGED, True, 1),
    "never to come": (["inactive"], OTHER, True, 0),
    "systemd does not answer": (["hangs"], TAGGED, True, 1),
}


@pytest.fixture
def defined(machine: Host) -> Host:
    """A host after a boot, with a definition and driverctl's own rule."""
    machine.done("driver", device=DISK, driver="vfio-pci")
    machine.reboot()
    machine.write("/etc/udev/rules.d/05-driverctl.rules", RULE)
    for path, text in (("/usr/sbin/driverctl", "#!/bin/sh\n"), ("/usr/bin/systemctl", SYSTEMCTL)):
        machine.run(["install", "-m", "755", "/dev/stdin", path], input=text)
    machine.run(["modprobe", "vfio-pci"])
    return machine


def restored(host: Host) -> tuple[bool, int]:
    """Whether it was the engine that has bound it, and how often systemd was asked."""
    done = restore(host)
    assert done.returncode == 0, done.stderr
    assert bound(host, DISK)[0] == "vfio-pci"
    asked = host.path("/run/asked")
    lines = done.stdout.splitlines()
    how = "restored" if f"restored: driver vfio-pci for {CALLED}" in lines else "there already"
    assert f"{how}: driver vfio-pci for {CALLED}" in lines
    return how == "restored", len(asked.read_text()) if asked.exists() else 0


@pytest.mark.parametrize(("states", "record", "ours", "asked"), TURNS.values(), ids=TURNS)
def test_turn(defined: Host, states: list[str], record: str, ours: bool, asked: int) -> None:
    defined.write("/run/states", "".join(f"{state}\n" for state in states))
    defined.write(RECORD, record)
    assert restored(defined) == (ours, asked)


def test_udev_has_not_dealt_with_the_device_yet(defined: Host) -> None:
    defined.write("/run/states", "load\n")
    defined.path(RECORD).unlink(missing_ok=True)
    udev = defined.popen(["sh", "-c", f"sleep 1; printf 'I:1\\nG:systemd\\nV:1\\n' > {RECORD}"])
    assert restored(defined) == (False, 1)
    assert udev.wait() == 0


def test_without_its_rule_nobody_is_waited_for(defined: Host) -> None:
    defined.path("/etc/udev/rules.d/05-driverctl.rules").unlink()
    defined.write("/run/states", "inactive\n")
    defined.write(RECORD, TAGGED)
    assert restored(defined) == (True, 0)
