# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/migration.md and playbooks/adopt.yml, beside the real mdevctl and libvirt."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, OTHER, OTHER_CARD, UUID, Host, definitions, running
from pages import Controller, blocks, page, tables, unlike
from plays import reach
from scripts import mdevctl
from simhost.testing import names
from test_mdevctl_suite import STATE, understood
from vhbas import HBAS, WWNN, WWPN, kept, made_by_hand, vports

TEXT = page("migration.md")
BLOCKS = [*blocks(TEXT)]
ADOPT = "Adopt what is there"
FILES = {block.file: block.text for block in BLOCKS if block.file}
NAME = f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"
THIRD, FOURTH, FIFTH = (f"{UUID[:-1]}{number}" for number in (3, 4, 5))
INVENTORY = {
    "gpu_hosts": {"hosts": {"gpu01": None}},
    "fibre_channel_hosts": {"hosts": {"fc01": None}},
}
FOLDER = "/tmp/documents"
LOOKUP = re.compile(r"{{ lookup\('ansible.builtin.file', '(.*?)'\) }}")
# What is named by both sides: a device or a type.
NAMED = re.compile(r"[0-9a-f]{8}[-_](?:[0-9a-f]{4}[-_]){3}[0-9a-f]{12}|nvidia-[0-9]+")
ATTRIBUTE = {"nvidia/vgpu_params": "a=1"}


@pytest.fixture
def controller(tmp_path: Path, archive: Path) -> Controller:
    made = Controller(tmp_path, archive)
    (made.folder / "inventory.yml").write_text(yaml.safe_dump(INVENTORY))
    return made


def shown(chapter: str, language: str, what: str) -> str:
    """The only block of a chapter with this in it."""
    (found,) = (
        each.text for each in BLOCKS if (each.chapter, each.language) == (chapter, language) and what in each.text
    )
    return found


def adopt(controller: Controller, host: str) -> dict[str, Any]:
    """The variables that the command of the page writes for a host."""
    output = controller.run(f"{shown(ADOPT, 'shell', 'hostdev.nodedev.adopt').strip()} --limit {host}")
    assert "WARNING]" not in output
    found: dict[str, Any] = yaml.safe_load((controller.folder / "adopted" / f"{host}.yml").read_text())
    return found


def nothing(but: str) -> dict[str, list[Any]]:
    """What is adopted of a host on which there is nothing but of this kind."""
    kinds = ("drivers", "function_drivers", "ap_masks", "mig", "sriov", "vgpus", "mdevs", "vhbas")
    return {f"{kind}{boot}": [] for kind in kinds if kind != but for boot in ("", "_of_this_boot")}


def follow(controller: Controller, file: str, host: str) -> str:
    """What the page's command prints that runs a file of it."""
    (controller.folder / file).write_text(FILES[file])
    return controller.run(f"{shown(ADOPT, 'shell', f' {file}').strip()} --limit {host}")


def fill(host: Host, release: str) -> None:
    """What mdevctl leaves on a host with some years behind it."""
    for words in (
        f"define --auto -u {UUID} -p {CARD} -t nvidia-231",
        f"modify -u {UUID} --addattr nvidia/vgpu_params --value a=1",
        f"start -u {UUID}",
        f"define -u {OTHER} -p {OTHER_CARD} -t nvidia-232",
        f"start -u {OTHER}",
        f"define --auto -u {THIRD} -p {CARD} -t nvidia-231",
        f"define -u {FOURTH} -p {CARD} -t nvidia-230",
        f"start -u {FIFTH} -p {CARD} -t nvidia-231",
    ):
        done = mdevctl(host, release, *words.split())
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("release", ["1.2", "1.4"])
def test_what_mdevctl_made_is_adopted(host: Host, controller: Controller, release: str) -> None:
    fill(host, release)
    # As a person writes it, with the line feed that a vendor's driver may want.
    host.run(["sed", "-i", 's/"a=1"/"a=1\\\\n"/', f"/etc/mdevctl.d/{CARD}/{UUID}"])
    reach(controller, {"gpu01": host})
    before = host.state()
    found = adopt(controller, "gpu01")
    assert host.state() == before

    def device(uuid: str, parent: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"uuid": uuid, "parent": parent, "type": kind, **more}

    def defined(*place: str, autostart: bool, state: str, **more: Any) -> dict[str, Any]:
        return device(*place, **{"attrs": [], "autostart": autostart, "state": state, **more})

    attrs = [{"nvidia/vgpu_params": "a=1\n"}]
    assert sorted(found.pop("mdevs"), key=lambda each: str(each["uuid"])) == [
        defined(UUID, CARD, "nvidia-231", autostart=True, state="present", attrs=attrs),
        defined(OTHER, OTHER_CARD, "nvidia-232", autostart=False, state="present"),
        defined(THIRD, CARD, "nvidia-231", autostart=True, state="inactive"),
        defined(FOURTH, CARD, "nvidia-230", autostart=False, state="inactive"),
    ]
    gone = device(FIFTH, CARD, "nvidia-231", persistent=False)
    assert found.pop("mdevs_of_this_boot") == [gone]
    assert found == nothing("mdevs")

    output = follow(controller, "adopted.yml", "gpu01")
    assert unlike(shown(ADOPT, "text", "changed=0"), output) is None, output
    assert host.state() == before


def test_a_pool_of_what_was_adopted(host: Host, controller: Controller) -> None:
    fill(host, "1.4")
    reach(controller, {"gpu01": host})
    adopt(controller, "gpu01")
    before = running(host), definitions(host)
    assert "changed=1 " in follow(controller, "pool.yml", "gpu01")
    assert (running(host), definitions(host)) == before
    assert [each["uuid"] for each in host.pool(name="desktops")["instances"]] == [UUID]
    found = adopt(controller, "gpu01")
    assert sorted(each["uuid"] for each in found["mdevs"]) == [OTHER, THIRD, FOURTH]


def test_vhbas_are_adopted(fc: Host, controller: Controller) -> None:
    fc.vhba("a1", parent="scsi_host3", require_online=False)
    fc.vhba("a2", parent="scsi_host3", state="inactive")
    made_by_hand(fc, "a4", hba=4)
    # The HBA of this one is gone.
    fc.vhba("a3", parent="scsi_host3", state="inactive")
    fc.run(["sed", "-i", f"s/{HBAS[3]}/10000090fa1234ff/", "/etc/nodedev.d/vhba/5001a4a0000000a3.json"])
    reach(controller, {"fc01": fc})
    before = fc.state()
    found = adopt(controller, "fc01")
    hba = {"parent_wwnn": f"2{HBAS[3][1:]}", "parent_wwpn": HBAS[3]}
    other = {"parent_wwnn": f"2{HBAS[4][1:]}", "parent_wwpn": HBAS[4]}

    def vhba(end: str, **more: Any) -> dict[str, Any]:
        return {"wwnn": f"{WWNN[:-2]}{end}", "wwpn": f"{WWPN[:-2]}{end}", **more}

    assert sorted(found.pop("vhbas"), key=lambda each: str(each["wwpn"])) == [
        vhba("a1", require_online=False, state="present", **hba),
        vhba("a2", require_online=True, state="inactive", **hba),
        vhba("a3", require_online=True, state="inactive"),
    ]
    gone = vhba("a4", persistent=False, **other)
    assert found.pop("vhbas_of_this_boot") == [gone]
    assert found == nothing("vhbas")
    assert "changed=0 " in follow(controller, "adopted.yml", "fc01")
    assert fc.state() == before


def test_what_driverctl_and_scripts_did_is_adopted(start: Callable[..., Host], controller: Controller) -> None:
    """A binding of driverctl's, one that is not saved, and functions of an echo."""
    host = start("functions")
    host.run(["mkdir", "-p", "/etc/driverctl.d"])
    # As driverctl set-override leaves it.
    host.done("driver", device="pci_0000_81_00_0", driver="vfio-pci", persistent=False)
    host.write("/etc/driverctl.d/pci-0000:81:00.0", "vfio-pci\n")
    host.write("/sys/bus/pci/devices/0000:5e:00.0/sriov_numvfs", "2")
    host.done("driver", device="pci_0000_5e_1f_6", driver="mlx5_vfio_pci", persistent=False)
    reach(controller, {"gpu01": host})
    before = host.state()
    found = adopt(controller, "gpu01")
    assert {kind: listed for kind, listed in found.items() if listed} == {
        "drivers": [{"device": "pci_0000_81_00_0", "driver": "vfio-pci", "state": "present"}],
        "function_drivers_of_this_boot": [
            {"device": "pci_0000_5e_1f_6", "driver": "mlx5_vfio_pci", "persistent": False}
        ],
        "sriov_of_this_boot": [{"device": "pci_0000_5e_00_0", "numvfs": "2", "persistent": False}],
    }
    assert "changed=0 " in follow(controller, "adopted.yml", "gpu01")
    assert host.state() == before


def test_vgpus_of_functions_are_adopted(start: Callable[..., Host], controller: Controller) -> None:
    """As a script makes them at each boot, and as they are defined to come with a guest."""
    host = start("nvidia-vfio")
    host.write("/sys/bus/pci/devices/0000:45:00.4/nvidia/current_vgpu_type", "1155")
    host.done("vgpu", parent="pci_0000_45_00_0", index=1, type="L40S-24Q", managed=True)
    reach(controller, {"gpu01": host})
    before = host.state()
    found = adopt(controller, "gpu01")
    assert host.state() == before
    (own,) = found["vgpus"]
    assert (own["managed"], "state" in own) == (True, False)
    assert [each["persistent"] for each in found["vgpus_of_this_boot"]] == [False]
    # That of a script is recorded, in /run.
    assert "changed=1 " in follow(controller, "adopted.yml", "gpu01")
    assert "changed=0 " in follow(controller, "adopted.yml", "gpu01")


def test_what_runs_otherwise_than_defined_is_named(host: Host, controller: Controller) -> None:
    fill(host, "1.4")
    host.run(["mv", f"/etc/mdevctl.d/{CARD}/{THIRD}", f"/etc/mdevctl.d/{OTHER_CARD}/{THIRD}"])
    done = mdevctl(host, "1.4", *f"start -u {THIRD} -p {CARD} -t nvidia-231".split())
    assert done.returncode == 0, done.stderr
    reach(controller, {"gpu01": host})
    before = host.state()
    with pytest.raises(AssertionError) as failure:
        controller.run("ansible-playbook -i inventory.yml hostdev.nodedev.adopt --limit gpu01")
    assert re.search(rf"failed: \[gpu01\] \(item={THIRD} on {OTHER_CARD}\)", str(failure.value))
    assert re.search(r"fatal: \[gpu01\]: FAILED! => .*" + f"mdev {THIRD}", str(failure.value))
    assert host.state() == before


def test_without_a_file_the_variables_are_shown(host: Host, controller: Controller) -> None:
    host.mdev(persistent=False)
    reach(controller, {"gpu01": host})
    output = controller.run("ansible-playbook -i inventory.yml hostdev.nodedev.adopt --limit gpu01")
    (told,) = re.findall(r'^ok: \[gpu01\] => (\{\n    "present_found": .*?^\})', output, re.MULTILINE | re.DOTALL)
    (device,) = json.loads(told)["present_found"]["mdevs_of_this_boot"]
    assert device == {"uuid": UUID, "parent": CARD, "type": "nvidia-231", "persistent": False}
    assert sorted(path.name for path in controller.folder.iterdir()) == ["host_vars", "inventory.yml"]


def arguments(cell: str) -> tuple[str, dict[str, Any]]:
    """The module and the options of a task in a table, as Ansible would have them."""
    ((module, options),) = yaml.safe_load(cell.strip("`")).items()
    text = json.dumps(options or {}).replace("{{ uuid }}", UUID).replace("{{ name }}", NAME)
    filled = LOOKUP.sub(lambda match: json.dumps(FILES[match[1]])[1:-1], text)
    found: dict[str, Any] = json.loads(filled)
    return module, found


def theirs(host: Host, command: str) -> str:
    """What a command of a table prints. libvirt sees a moment later what there is."""
    words = {"UUID": UUID, "NAME": NAME, "LIBVIRT_DEFAULT_URI": "nodedev:///system"}
    end = time.monotonic() + 20
    while True:
        done = host.run(["sh", "-ec", command], check=False, env=words, cwd=FOLDER)
        if done.returncode == 0 or time.monotonic() > end or "virsh" not in command:
            assert done.returncode == 0, f"{command}: {done.stderr}"
            return done.stdout
        time.sleep(0.1)


def mediated(host: Host) -> tuple[Any, Any]:
    """What is defined, and what runs with the attribute that it has."""
    return understood(host.run(["sh", "-c", STATE]).stdout)


def virtual(host: Host) -> tuple[Any, Any]:
    return kept(host), (vports(host), names(host, "/sys/block"))


def whole(state: tuple[Any, Any]) -> Any:
    return state


def without_values(state: tuple[Any, Any]) -> Any:
    """For mdevctl, which does not write attributes as lines: of what runs only the places and types."""
    return state[0], {uuid: what.split()[:2] for uuid, what in state[1].items()}


def only_what_runs(state: tuple[Any, Any]) -> Any:
    """For scripts, which define nothing."""
    return state[1]


@pytest.mark.parametrize(
    ("chapter", "compared"),
    [("From mdevctl", without_values), ("From virsh", whole), ("From a script", only_what_runs)],
)
def test_a_task_does_what_the_command_does(
    chapter: str, compared: Callable[[tuple[Any, Any]], Any], start: Callable[..., Host]
) -> None:
    looks = {"nvidia-mdev": mediated, "fc": virtual}
    pairs = {scenario: (start(scenario), start(scenario)) for scenario in looks}
    with ExitStack() as stack:
        for host, _ours in pairs.values():
            mdevctl(host, "1.4", "list")
            host.run(["mkdir", "-p", FOLDER])
            for file, text in FILES.items():
                host.run(["sh", "-c", f"cat > {FOLDER}/{file}"], input=text)
            if "virsh" in chapter:
                stack.enter_context(host.libvirtd())
        (rows,) = tables(TEXT.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0])
        assert len(rows) > 4
        for command, task in rows:
            module, options = arguments(task)
            scenario = "fc" if module == "vhba" else "nvidia-mdev"
            host, ours = pairs[scenario]
            look = looks[scenario]
            before = look(ours)
            printed, result = theirs(host, command.strip("`")), ours.done(module, **options)
            assert compared(look(host)) == compared(look(ours)), command
            if module.endswith("_facts"):
                told = {each.replace("_", "-") for each in NAMED.findall(printed)}
                assert told, command
                assert told <= {each.replace("_", "-") for each in NAMED.findall(json.dumps(result))}
                assert look(ours) == before
            else:
                assert result["changed"], command
                assert look(ours) != before
