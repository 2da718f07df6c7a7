# SPDX-License-Identifier: GPL-3.0-or-later
"""vHBAs on a real kernel, on software FCoE: without a fabric, with one, with LUNs; test_reboot.py has the boot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from repeats import repeats

from . import units
from .machine import Machine
from .playbooks import ROOT, Playbooks

HBA = "200002000000fc00"
# Those that stay: made in the other order than that in which they are restored, so that their hosts' numbers change.
PAIRS = [(f"5001a4a1000000d{n}", f"5001a4a0000000d{n}") for n in (3, 2, 1)]
CYCLES = repeats(200, few=40)
# libvirt quotes attributes in the other way.
SAME_XML = """said.stdout.replace("'", '"').split() == ansible_facts.nodedev.devices[{}.vhba.name].xml.split()"""
LIMIT = 300

# What there is once these vHBAs are in this state, within a time limit.
OBSERVE = r"""
import json, os, sys, time

def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None

def vhbas():
    found = {}
    for name in os.listdir("/sys/class/fc_vports"):
        folder = "/sys/class/fc_vports/" + name
        hosts = [entry for entry in os.listdir(folder + "/device") if entry.startswith("host")]
        wwpn = (read(folder + "/port_name") or "")[2:]
        disks = [
            entry for host in hosts for entry in os.listdir("/sys/bus/scsi/devices") if entry.startswith(host[4:] + ":")
        ]
        found[wwpn] = {"hosts": hosts, "state": read(folder + "/vport_state"), "luns": len(disks)}
    return found

wanted, state, luns, seconds = json.loads(sys.argv[1])
deadline = time.monotonic() + seconds
while time.monotonic() < deadline:
    now = vhbas()
    if all(name in now and now[name]["state"] == state and now[name]["luns"] >= luns for name in wanted):
        break
    time.sleep(0.5)
print(json.dumps({
    "vhbas": vhbas(),
    "hbas": {
        read("/sys/class/fc_host/" + name + "/port_name")[2:]: read("/sys/class/fc_host/" + name + "/npiv_vports_inuse")
        for name in os.listdir("/sys/class/fc_host")
        if os.path.exists("/sys/class/fc_host/" + name + "/vport_create")
    },
    "failed": failed(),
    "journal": journal(),
}))
"""

# One vHBA made and removed many times by the installed library, as the module does it; prints what was left over.
CYCLE = r"""
import json, os, sys
sys.path.insert(0, "/usr/lib/nodedev")
from nodedev.resource import ensure
from nodedev.kinds.vhba import device

def left():
    return {
        "fc_hosts": len(os.listdir("/sys/class/fc_host")),
        "scsi_hosts": len(os.listdir("/sys/class/scsi_host")),
        "vports": len(os.listdir("/sys/class/fc_vports")),
        "handles": len(os.listdir("/proc/self/fd")),
        "definitions": os.path.exists("/etc/nodedev.d/vhba"),
    }

pair = {"wwnn": "5001a4a1000000c1", "wwpn": "5001a4a0000000c1"}
counts = []
for cycle in range(int(sys.argv[1])):
    made = ensure(device, device.Wish.checked(**pair))
    gone = ensure(device, device.Wish.checked(**pair, state="absent"))
    assert made["changed"] and made["vhba"]["vport_state"] == "Active" and gone["changed"], (cycle, made, gone)
    counts.append(left())
print(json.dumps({"first": counts[0], "last": counts[-1], "cycles": len(counts)}))
"""


def observe(machine: Machine, wanted: list[str], state: str, luns: int = 0, before: str = ":") -> dict[str, Any]:
    """What is there once these vHBAs are so, LIMIT seconds at most after a shell command was carried out."""
    asked = json.dumps([wanted, state, luns, LIMIT])
    answer: dict[str, Any] = json.loads(
        machine.run(f"{before} && python3 -IS - '{asked}'", stdin=units.LOOK + OBSERVE).stdout
    )
    return answer


def vhba(**options: Any) -> dict[str, Any]:
    return {"hostdev.nodedev.vhba": options}


def refused(why: str, **options: Any) -> dict[str, Any]:
    """A task that must fail with these words in its message."""
    return {
        **vhba(**options),
        "register": "refused",
        "failed_when": f"refused is not failed or refused.msg is not search('{why}')",
    }


@pytest.fixture(scope="module", autouse=True)
def none_is_left(machine: Machine, playbooks: Playbooks, engine: None) -> Iterator[None]:
    """Whatever was defined is gone afterwards."""
    yield
    playbooks.tasks([vhba(wwnn=wwnn, wwpn=wwpn, state="absent") for wwnn, wwpn in PAIRS])
    machine.run("systemctl stop fctarget fabric")
    assert observe(machine, [], "")["vhbas"] == {}


def start_fabric(machine: Machine) -> None:
    """Start the fabric and a target with two LUNs, which the first of PAIRS may see."""
    machine.run(f"systemctl start fabric fctarget && fctarget allow {PAIRS[0][1]}")
    # The port is online once it has logged in to the fabric.
    machine.run(
        f"for n in $(seq {LIMIT}); do grep -l {HBA} /sys/class/fc_host/*/port_name | xargs dirname"
        " | sed 's,$,/port_state,' | xargs grep -q Online && exit 0; sleep 1; done; exit 1"
    )


@pytest.fixture
def fabric(machine: Machine) -> Iterator[None]:
    """The fabric, its target and its LUNs, as long as a test runs."""
    start_fabric(machine)
    yield
    machine.run("systemctl stop fctarget fabric")


def test_the_life_of_one(playbooks: Playbooks, fabric: None) -> None:
    assert "failed=0" in playbooks.run(ROOT / "tests" / "integration" / "vhba.yml", libvirt_runs=True)


def test_a_link_that_comes_up_late(machine: Machine, playbooks: Playbooks) -> None:
    wwnn, wwpn = PAIRS[0]
    names = {"wwnn": wwnn, "wwpn": wwpn}
    playbooks.tasks(
        [refused("its port is (Offline|Linkdown), not Online", **names), vhba(**names, require_online=False)]
    )
    down = observe(machine, [wwpn], "Linkdown")
    assert down["vhbas"][wwpn]["state"] == "Linkdown"
    up = observe(machine, [wwpn], "Active", 2, f"systemctl start fabric fctarget && fctarget allow {wwpn}")
    assert up["vhbas"][wwpn]["state"] == "Active"
    assert up["vhbas"][wwpn]["luns"] == 2
    playbooks.tasks([vhba(**names, state="absent")])
    machine.run("systemctl stop fctarget fabric")


def test_a_disk_in_use(machine: Machine, playbooks: Playbooks, fabric: None) -> None:
    wwnn, wwpn = PAIRS[0]
    names = {"wwnn": wwnn, "wwpn": wwpn}
    disk = "{{ made.vhba.luns[0].block }}"
    playbooks.tasks(
        [
            {**vhba(**names, wait_luns=2), "register": "made"},
            {"shell": f"mkfs.ext4 -q {disk} && mount {disk} /mnt"},
            refused("{{ made.vhba.luns[0].block }} is mounted on /mnt", **names, state="absent"),
            {"shell": "umount /mnt && sleep 600 < {{ made.vhba.luns[1].generic }}", "async": 600, "poll": 0},
            {"shell": "until pgrep -x sleep; do sleep 0.2; done"},
            refused("{{ made.vhba.luns[1].generic }} is open by process [0-9]+ .sleep.", **names, state="inactive"),
            {"shell": "pkill -x sleep"},
            {**vhba(**names, state="absent"), "register": "gone"},
            {"assert": {"that": "gone is changed and gone.plan | select('search', 'remove LUN') | length == 2"}},
        ]
    )
    assert observe(machine, [], "")["vhbas"] == {}


def test_ten_at_once_and_as_many_as_there_are_vports(machine: Machine, playbooks: Playbooks, fabric: None) -> None:
    number = machine.run(f"grep -l {HBA} /sys/class/fc_host/*/port_name | tr -dc '0-9/' | tr -d /").stdout.strip()
    names = [f"many-{index}" for index in range(12)]
    machine.run(f"echo '{number} 12' > /sys/module/fcmaxnpiv/parameters/set")
    playbooks.tasks(
        [
            {
                **vhba(name="{{ item }}", wait_timeout=300),
                "loop": names[:10],
                "async": 600,
                "poll": 0,
                "register": "started",
            },
            {
                "async_status": {"jid": "{{ item.ansible_job_id }}"},
                "loop": "{{ started.results }}",
                "register": "made",
                "until": "made is finished",
                "retries": 120,
                "delay": 3,
            },
            {"assert": {"that": "made.results | map(attribute='vhba.wwpn') | unique | length == 10"}},
            {**vhba(name="{{ item }}"), "loop": names},
            refused("all of its 12 vports are in use", name="one-more"),
            {"hostdev.nodedev.vhba_facts": {}},
            {"assert": {"that": "ansible_facts.vhba.vhbas | length == 12"}},
        ]
    )
    full = observe(machine, [], "")
    assert full["hbas"][HBA] == "12"
    assert {said["state"] for said in full["vhbas"].values()} == {"Active"}
    machine.run(f"echo '{number} 65535' > /sys/module/fcmaxnpiv/parameters/set")
    playbooks.tasks([{**vhba(name="{{ item }}", state="absent"), "loop": names}])
    assert observe(machine, [], "")["vhbas"] == {}


@pytest.mark.endurance
def test_many_cycles_leave_nothing(machine: Machine, fabric: None) -> None:
    done = json.loads(machine.run(f"python3 - {CYCLES}", stdin=CYCLE, limit=1800).stdout)
    assert done["cycles"] == CYCLES
    assert done["last"] == done["first"]
    assert done["last"]["definitions"] is False


def test_the_libvirt_way_round(machine: Machine, playbooks: Playbooks, fabric: None) -> None:
    wwnn, wwpn = PAIRS[1]
    document = (
        "<device><parent wwnn='{{ hba.wwnn }}' wwpn='{{ hba.wwpn }}'/><capability type='scsi_host'>"
        f"<capability type='fc_host'><wwnn>{wwnn}</wwnn><wwpn>{wwpn}</wwpn></capability></capability></device>"
    )
    names = {"wwnn": wwnn, "wwpn": wwpn}
    facts = {"capabilities": ["fc_host"], "xml": True}
    playbooks.tasks(
        [
            {"hostdev.nodedev.vhba_facts": {}},
            {
                "set_fact": {
                    "hba": f"{{{{ ansible_facts.vhba.hbas.values() | selectattr('wwpn', 'eq', '{HBA}') | first }}}}"
                }
            },
            {"shell": f'virsh nodedev-create /dev/stdin <<< "{document}"', "args": {"executable": "/bin/bash"}},
            {**vhba(**names, persistent=False), "register": "theirs"},
            {"assert": {"that": "theirs is not changed and theirs.vhba.parent == hba.name"}},
            {"hostdev.nodedev.nodedev_facts": facts},
            {"command": "virsh nodedev-dumpxml {{ theirs.vhba.name }}", "register": "said"},
            {"assert": {"that": SAME_XML.format("theirs")}},
            {"command": "virsh nodedev-destroy {{ theirs.vhba.name }}"},
            {**vhba(**names, persistent=False), "register": "ours"},
            {"assert": {"that": "ours is changed"}},
            {"hostdev.nodedev.nodedev_facts": facts},
            # libvirtd hears of it from udev, so a moment later.
            {
                "command": "virsh nodedev-dumpxml {{ ours.vhba.name }}",
                "register": "said",
                "until": "said is success",
                "retries": 30,
                "delay": 1,
            },
            {"assert": {"that": SAME_XML.format("ours")}},
            {"command": "virsh nodedev-destroy {{ ours.vhba.name }}"},
            {**vhba(**names, state="absent"), "register": "gone"},
            {"assert": {"that": "gone is not changed"}},
        ]
    )
