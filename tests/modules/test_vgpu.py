# SPDX-License-Identifier: GPL-3.0-or-later
"""The vgpu module on the simulated host: its states, what is refused, what is undone, and what restores vGPUs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from conftest import Host, open_by, warnings
from looks import looks
from simhost.scenario import FOLDER
from test_documentation import returned, samples_unlike, shape
from test_restore import install, restore

# A card of 16 GiB with four functions, each of which can be a vGPU.
CARD, NAME = "0000:06:00.0", "pci_0000_06_00_0"
FN = [f"0000:06:00.{number}" for number in (4, 5, 6, 7)]
FIRST, SECOND = FN[:2]
CALLED = f"pci_0000_06_00_4 ({FIRST})"
TWO, FOUR, EIGHT, ALL = 709, 711, 712, 713
TITLES = {TWO: "NVIDIA A16-2Q", FOUR: "NVIDIA A16-4Q", EIGHT: "NVIDIA A16-8Q", ALL: "NVIDIA A16-16Q"}
DEFINITION, RECORD = (f"/{root}/nodedev.d/vgpu/{FIRST}.json" for root in ("etc", "run"))
CREATE = f"create a vGPU of type NVIDIA A16-4Q (711) on {CALLED}"
DEFINE = f"define the vGPU of {CALLED} with type NVIDIA A16-4Q (711)"
CLEAR = f"clear the vGPU of type NVIDIA A16-4Q (711) on {CALLED}"
UNDEFINE = f"undefine the vGPU of {CALLED}"
PARAMS = "frame_rate_limiter=0,disable_vnc=1"
SET = f"set params {PARAMS} of the vGPU of {CALLED}"
CHANGE = f"change the definition of the vGPU of {CALLED} with type NVIDIA A16-4Q (711), params {PARAMS}"
LATE = 3600


@pytest.fixture
def host(start: Callable[..., Host]) -> Iterator[Host]:
    """A host with one card, on which nothing was written where nobody may write, whatever the test did."""
    host = start("nvidia-vfio-small")
    yield host
    assert host.forbidden_writes() == []


@pytest.fixture
def engine(host: Host) -> Host:
    """The same with the boot engine, so that nothing is warned of."""
    install(host)
    return host


def file(function: str, name: str = "current_vgpu_type") -> str:
    return f"/sys/bus/pci/devices/{function}/nvidia/{name}"


def current(host: Host, *functions: str) -> list[str]:
    """The types that functions have."""
    return [host.read(file(each)).strip() for each in functions]


def vgpu(host: Host, **wish: Any) -> dict[str, Any]:
    """The result of a run that succeeds."""
    return host.done("vgpu", **{"device": FIRST, **wish})


def refused(host: Host, **wish: Any) -> str:
    """The message of a run that fails and changes nothing."""
    return host.failed("vgpu", **{"device": FIRST, **wish})


def defined(host: Host) -> dict[str, Any] | None:
    """The definition, None where there is none."""
    found = host.run(["cat", DEFINITION], check=False)
    return json.loads(found.stdout) if found.returncode == 0 else None


def foretold(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what only a run tells, or what is known once there is a vGPU."""
    return {**result, "invocation": None, "warnings": None}


def test_its_life(engine: Host) -> None:
    """Each change is foretold by check mode, and is none when it is asked for again."""
    document = {"version": 1, "type": FOUR, "title": "NVIDIA A16-4Q"}
    life: list[tuple[dict[str, Any], list[str], str, dict[str, Any] | None]] = [
        ({"type": "NVIDIA A16-4Q"}, [DEFINE, CREATE], "711", document),
        ({"state": "inactive"}, [CLEAR], "0", document),
        ({}, [CREATE], "711", document),
        ({"params": PARAMS}, [SET, CHANGE], "711", {**document, "params": PARAMS}),
        ({"state": "absent"}, [CLEAR, UNDEFINE], "0", None),
    ]
    for wish, plan, type, kept in life:
        expected = vgpu(engine, **wish, _ansible_check_mode=True)
        assert expected["plan"] == plan
        done = vgpu(engine, **wish)
        assert foretold(done) == foretold(expected)
        assert (done["changed"], warnings(done)) == (True, [])
        assert (current(engine, FIRST), defined(engine)) == ([type], kept)
        again = vgpu(engine, **wish)
        assert (again["plan"], again["vgpu"]) == ([], done["vgpu"])


@pytest.mark.parametrize("type", ["NVIDIA A16-4Q", "A16-4Q", "711", "nvidia-711", "0x2c7", 711])
def test_a_type_has_many_names(host: Host, type: object) -> None:
    assert vgpu(host, type=type)["plan"] == [DEFINE, CREATE]
    assert vgpu(host, type=type)["plan"] == []


@pytest.mark.parametrize(
    "name", [{"device": CALLED.split()[0]}, {"device": f"0000{FIRST}"}, {"parent": NAME, "index": 0}]
)
def test_a_function_has_many_names(host: Host, name: dict[str, Any]) -> None:
    assert host.done("vgpu", type="A16-4Q", **name)["plan"] == [DEFINE, CREATE]
    assert host.done("vgpu", **name)["vgpu"]["index"] == 0


def test_parameters_are_set_before_use_and_whole(host: Host) -> None:
    """The driver drops the last character of what it gets."""
    done = vgpu(host, type="A16-4Q", params=PARAMS)
    assert done["plan"] == [f"{DEFINE}, params {PARAMS}", CREATE, SET]
    assert (host.read(file(FIRST, "vgpu_params")), done["vgpu"]["params"]) == (f"{PARAMS}\n", PARAMS)
    cleared = vgpu(host, params="")
    assert cleared["plan"][0] == f"clear the params of the vGPU of {CALLED}"
    assert (host.read(file(FIRST, "vgpu_params")).strip(), vgpu(host, params="")["plan"]) == ("", [])


def test_for_now(host: Host) -> None:
    """What does not outlast the boot is recorded for it, so that it is known when it is to go."""
    done = vgpu(host, type="A16-4Q", persistent=False)
    assert done["plan"] == [DEFINE.replace("define", "record"), CREATE]
    assert (done["vgpu"]["persistent"], defined(host), warnings(done)) == (False, None, [])
    assert json.loads(host.read(RECORD))["type"] == FOUR
    assert vgpu(host, persistent=False)["plan"] == []
    assert vgpu(host)["plan"] == [DEFINE]
    assert host.run(["ls", RECORD], check=False).returncode != 0
    assert vgpu(host, state="absent")["plan"] == [CLEAR, UNDEFINE]


def test_a_stale_absent_never_hits_the_next_owner(host: Host) -> None:
    vgpu(host, type="A16-4Q")
    host.write(file(FIRST), "0")
    host.write(file(FIRST), "712")
    gone = vgpu(host, state="absent")
    assert (gone["plan"], current(host, FIRST)) == ([UNDEFINE], ["712"])
    assert (
        "has a vGPU of type NVIDIA A16-8Q (712), which is not the one that is recorded here, and stays"
        in warnings(gone)[0]
    )
    assert vgpu(host, state="absent")["plan"] == []
    assert vgpu(host, state="absent", type="A16-4Q")["plan"] == []
    assert vgpu(host, state="inactive", type="711")["plan"] == [DEFINE]
    assert current(host, FIRST) == ["712"]
    assert vgpu(host, state="absent", type="712")["changed"]
    assert current(host, FIRST) == ["0"]


def test_anothers_type_is_replaced_by_force_alone(host: Host) -> None:
    host.write(file(FIRST), "712")
    assert "which is not the one that is recorded here" in refused(host, type="711")
    done = vgpu(host, type="711", force=True)
    assert done["plan"][0].startswith("clear the vGPU of type NVIDIA A16-8Q (712)")
    assert current(host, FIRST) == ["711"]
    assert vgpu(host, type="A16-8Q")["plan"][::2] == [CLEAR, CREATE.replace("4Q (711)", "8Q (712)")]


def test_one_that_is_there_is_adopted(host: Host) -> None:
    host.write(file(FIRST), "711")
    assert vgpu(host, type="A16-4Q")["plan"] == [DEFINE]


def test_a_guest_has_it(host: Host) -> None:
    """Nothing takes it away, not even force; what it is is told without opening a node."""
    vgpu(host, type="A16-4Q")
    with host.hold(FIRST) as pid:
        there = vgpu(host)
        (node,) = host.holders()
        assert (there["plan"], there["vgpu"]["holders"]) == ([], [open_by(pid, node)])
        for wish in ({"state": "absent"}, {"state": "inactive"}, {"type": "712"}, {"state": "absent", "force": True}):
            failure = host.module("vgpu", device=FIRST, **wish)
            assert f"is in use by process {pid}" in failure["msg"]
            assert [each["pid"] for each in failure["holders"]] == [pid]
        late = vgpu(host, params=PARAMS)
        assert "the new params are set after that" in warnings(late)[0]
        assert current(host, FIRST) == ["711"]
    assert vgpu(host)["plan"] == [SET]


def test_a_guest_that_comes_in_between(host: Host) -> None:
    """It has the function when that is written to, and nobody had it when it was looked at."""
    vgpu(host, type="A16-4Q")
    host.fault(file(FIRST), op="write", errno="EPERM")
    message = refused(host, state="absent")
    assert f"could not {CLEAR}: writing" in message
    assert "failed with EPERM (Operation not permitted): a guest has the function" in message


def test_nodes_are_opened_only_before_it_is_cleared(host: Host) -> None:
    vgpu(host, type="A16-4Q")
    assert looks(host, "vgpu.device", device=FIRST)[1] == 0
    assert looks(host, "vgpu.device", check_mode=True, device=FIRST, state="absent")[1] > 0


def test_a_full_card_says_what_it_has(host: Host) -> None:
    vgpu(host, type="A16-8Q")
    vgpu(host, device=SECOND, type="A16-8Q")
    told = refused(host, device=FN[2], type="A16-8Q")
    assert told == (
        f"type: 'NVIDIA A16-8Q (712)' cannot be used: pci_0000_06_00_6 ({FN[2]}) offers no type at all now, and not"
        " NVIDIA A16-8Q (712): its card is full, or takes one framebuffer at a time; of its functions there are:"
        f" NVIDIA A16-8Q (712) on {called(FIRST)}, {called(SECOND)}; no vGPU on {called(FN[2])}, {called(FN[3])}"
    )
    vgpu(host, state="absent")
    assert "offers NVIDIA A16-8Q (712) now, and not NVIDIA A16-4Q (711)" in refused(host, device=FN[2], type="A16-4Q")


def test_another_size_beside_one_is_refused_before_it_is_cleared(start: Callable[..., Host]) -> None:
    small = {"name": "NVIDIA A16-2B", "framebuffer": 2048}
    host = start(changed(lambda card, _vf: card["types"].update({708: small})))
    for device in (FIRST, SECOND):
        vgpu(host, device=device, type="A16-2Q")
    for check_mode in (True, False):
        told = refused(host, type="A16-8Q", check_mode=check_mode)
        assert "takes one framebuffer at a time; of its functions there are: NVIDIA A16-2Q (709) on" in told
    # Those of one framebuffer share a card whatever their letters, as do all once it is the only one.
    vgpu(host, type="A16-2B")
    vgpu(host, device=SECOND, state="absent")
    vgpu(host, type="A16-8Q")


BAD = [
    ({"type": "NVIDIA A16-3Q"}, "type: 'NVIDIA A16-3Q' cannot be used: the types of pci_0000_06_00_0"),
    ({"type": "nvidia a16-4q"}, "did you mean 'NVIDIA A16-4Q'? the types of"),
    ({"type": "999"}, "type: '999' cannot be used: the types of"),
    ({}, "type is required: the vGPU of pci_0000_06_00_4 (0000:06:00.4) is not defined; the types of"),
    ({"type": "711", "params": "a b"}, "params: 'a b' cannot be used: parameters are key=value"),
    ({"type": "711", "params": "a=1,"}, "params: 'a=1,' cannot be used"),
    ({"type": "711", "placement_id": -1}, "placement_id: -1 cannot be used"),
    ({"type": "711", "managed": True, "persistent": False}, "persistent: False cannot be used"),
    ({"type": "711", "device": CARD}, f"device: '{NAME} ({CARD})' cannot be used: it is not a virtual"),
    ({"type": "711", "device": "0000:ff:00.1"}, "there is no such device: are the card's virtual functions enabled?"),
    ({"type": "711", "device": "eth0"}, "a PCI function is named like pci_0000_3b_00_0"),
    ({"type": "a/../b"}, "type: 'a/../b' cannot be used"),
]


@pytest.mark.parametrize(("wish", "message"), BAD)
def test_bad_input(host: Host, wish: dict[str, Any], message: str) -> None:
    assert message in refused(host, **wish)


def test_no_such_index(host: Host) -> None:
    message = host.failed("vgpu", parent=CARD, index=4, type="711")
    assert message == (
        f"index: 4 cannot be used: {NAME} ({CARD}) has no such virtual function; name one of its 4 virtual functions,"
        " counted from 0"
    )
    assert "functions are counted from 0" in host.failed("vgpu", parent=CARD, index=-1, type="711")


# What is written in that order where one type takes the place of another, and which of the writes to that file it is.
FAULTS = [("current_vgpu_type", 1), ("current_vgpu_type", 2), ("vgpu_params", 1)]


@pytest.mark.parametrize(("path", "nth"), FAULTS)
@pytest.mark.parametrize("errno", ["EIO", "EINTR", "EBUSY"])
def test_a_fault_at_every_step_is_undone(host: Host, path: str, nth: int, errno: str) -> None:
    vgpu(host, type="A16-8Q", params="disable_vnc=1")
    before = host.state()
    host.fault(file(FIRST, path), op="write", errno=errno, nth=nth)
    message = refused(host, type="A16-4Q", params=PARAMS)
    assert f"nvidia/{path} failed with {errno}" in message
    assert "NOT undone" not in message
    assert host.state() == before
    host.clear_faults()
    assert vgpu(host, type="A16-4Q", params=PARAMS)["changed"]


def test_nothing_is_made_whose_definition_cannot_be_written(host: Host) -> None:
    host.run(["sh", "-c", "mkdir -p /etc/nodedev.d; touch /etc/nodedev.d/vgpu"])
    assert f"could not {DEFINE}" in refused(host, type="A16-4Q")
    assert current(host, FIRST) == ["0"]


@pytest.mark.parametrize(
    ("content", "told"), [("712\n", "is 712 after 711 was written there"), ("x\n", "is 'x', which is not the id of")]
)
def test_a_driver_that_lies(host: Host, content: str, told: str) -> None:
    """What was written is read back; what came about is not left."""
    host.fault(file(FIRST), op="read", content=content, nth=3)
    assert told in refused(host, type="A16-4Q")
    host.clear_faults()
    assert current(host, FIRST) == ["0"]


def test_a_driver_that_never_answers(host: Host) -> None:
    host.fault(file(FIRST), op="write", delay=LATE, nth=1)
    message = host.module("vgpu", device=FIRST, type="A16-4Q", wait_timeout=1)["msg"]
    assert "the driver has not answered after 1 s" in message


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"errno": "EIO"}, "reading"),
        ({"content": "none\n"}, "is 'none', which is not the id of a type"),
    ],
)
def test_a_function_that_cannot_be_read_is_not_written(host: Host, rule: dict[str, Any], told: str) -> None:
    host.fault(file(FIRST), op="read", **rule)
    assert told in host.module("vgpu", device=FIRST, type="A16-4Q")["msg"]
    assert vgpu(host, device=SECOND, type="A16-4Q")["changed"]
    host.clear_faults()
    assert current(host, FIRST, SECOND) == ["0", "711"]


def test_a_list_without_a_header(start: Callable[..., Host]) -> None:
    host = start(changed(lambda card, vf: vf.update(header=False)))
    assert vgpu(host, type="A16-4Q")["plan"] == [DEFINE, CREATE]


def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> dict[str, Any]:
    """The scenario with another card, or other functions."""
    scenario: dict[str, Any] = yaml.safe_load((FOLDER / "nvidia-vfio-small.yml").read_text())
    behaviour = scenario["devices"][0]["behaviour"]
    change(behaviour["nvidia_card"], behaviour["sriov"]["vf"]["behaviour"]["nvidia_vgpu"])
    return scenario


SMI = "/usr/bin/nvidia-smi"
TOLD = f"GPU 0000{CARD}\n    GPU Virtualization Mode\n        Host VGPU Mode                 : "


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_is_written_on_a_card_of_another_mode(start: Callable[..., Host], check_mode: bool) -> None:
    host = start(changed(lambda card, vf: card.update(mode="Non SR-IOV")))
    told = f"{NAME} ({CARD}) does not make vGPUs of its functions, so nothing is written: its Host VGPU Mode is "
    assert refused(host, type="711", _ansible_check_mode=check_mode).startswith(f"{told}Non SR-IOV, not SR-IOV")
    for mode in ("N/A", "", "SR-IOV (partly)"):
        host.fault(SMI, content=f"{TOLD}{mode}\n")
        assert refused(host, type="711", _ansible_check_mode=check_mode).startswith(told)
        host.clear_faults()
    assert host.forbidden_writes() == []


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"content": "%&/()=\n"}, "nvidia-smi tells of no card; it said: %&/()="),
        ({"content": ""}, "nvidia-smi tells of no card"),
        ({"errno": "EIO"}, "nvidia-smi tells of no card"),
        ({"delay": LATE}, "has not ended after"),
    ],
)
def test_a_tool_that_does_not_tell(host: Host, rule: dict[str, Any], told: str) -> None:
    """Whether the card is in the mode for vGPUs is not known, so nothing is written; what is there is not asked."""
    vgpu(host, device=SECOND, type="711")
    host.fault(SMI, **rule)
    message = refused(host, type="711", wait_timeout=3)
    assert message.startswith(f"whether {NAME} ({CARD}) makes vGPUs of its functions is not known, so nothing is")
    assert told in message
    assert vgpu(host, device=SECOND)["plan"] == []


def test_no_tool(host: Host) -> None:
    host.run(["rm", SMI])
    assert "nvidia-smi is not installed" in refused(host, type="711")


def test_a_folder_that_is_not_there(start: Callable[..., Host]) -> None:
    host = start(changed(lambda card, vf: vf.update(without=[0])))
    assert f"{CALLED} has no nvidia/ with driver nvidia" in refused(host, type="711", wait_timeout=0.5)
    assert vgpu(host, device=SECOND, type="711")["changed"]
    host.write(f"/sys/bus/pci/devices/{FN[2]}/driver/unbind", FN[2])
    assert "has no driver, which makes vGPUs" in refused(host, device=FN[2], type="711")


def test_a_heterogeneous_card_and_places(start: Callable[..., Host]) -> None:
    host = start(changed(lambda card, vf: card.update(heterogeneous=True)))
    first = vgpu(host, type="A16-8Q", placement_id=8)
    assert (first["plan"][1].endswith("at placement 8"), first["vgpu"]["placement_id"]) == (True, 8)
    assert vgpu(host, device=SECOND, type="A16-4Q")["vgpu"]["placement_id"] is not None
    assert "is at 8: have it cleared first, with state: inactive" in refused(host, placement_id=0)
    assert vgpu(host, placement_id=8)["plan"] == []
    assert "ENOENT" not in refused(host, device=FN[2], type="A16-4Q", placement_id=9)
    assert host.forbidden_writes() == []


def test_a_damaged_definition(host: Host) -> None:
    vgpu(host, type="A16-4Q")
    for text in (
        "{",
        '{"version": 1, "type": 0}',
        '{"version": 1, "type": true}',
        '{"version": 1, "type": 711, "params": 3}',
    ):
        host.write(DEFINITION, text)
        assert f"{DEFINITION} is damaged" in refused(host)
    gone = vgpu(host, state="absent")
    assert (current(host, FIRST), defined(host)) == (["711"], None)
    assert "stays" in warnings(gone)[0]


def test_two_at_once(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _number: vgpu(host, type="A16-4Q"), range(2)))
    assert sorted(each["changed"] for each in results) == [False, True]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda each: host.module("vgpu", device=each, type="A16-8Q"), FN[1:3]))
    assert all("takes one framebuffer at a time" in each["msg"] for each in found)


def test_it_is_back_after_a_reboot(engine: Host) -> None:
    vgpu(engine, type="A16-4Q", params=PARAMS)
    vgpu(engine, device=SECOND, type="A16-4Q", persistent=False)
    vgpu(engine, device=FN[2], type="A16-4Q", managed=True)
    engine.reboot()
    assert current(engine, *FN) == ["0"] * 4
    done = restore(engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 restored, 0 there already, 0 failed" in done.stdout
    assert (current(engine, *FN), engine.read(file(FIRST, "vgpu_params")).strip()) == (["711", "0", "0", "0"], PARAMS)
    assert "1 there already" in restore(engine).stdout
    assert vgpu(engine)["plan"] == []


def test_functions_come_first_at_boot(start: Callable[..., Host]) -> None:
    """Those are made by the vendor's tool, the folders of vGPUs come later, and then the types."""
    scenario = changed(lambda card, vf: vf.update(delay=0.5))
    scenario["devices"][0]["behaviour"]["sriov"]["numvfs"] = 0
    engine = start(scenario)
    install(engine)
    functions = engine.done("sriov", device=CARD, numvfs="max")
    assert functions["sriov"]["numvfs"] == 4
    vgpu(engine, type="A16-4Q")
    engine.reboot()
    done = restore(engine, "--wait", "20")
    assert (done.returncode, done.stderr) == (0, "")
    assert current(engine, FIRST) == ["711"]


def test_it_is_back_when_its_function_arrives(engine: Host) -> None:
    """The driver of the function is loaded anew, and its folder comes late."""
    vgpu(engine, type="A16-4Q")
    engine.write(f"/sys/bus/pci/devices/{FIRST}/driver/unbind", FIRST)
    done = restore(engine, "--wait", "0")
    assert "has no driver, which makes vGPUs of its functions" in done.stderr
    engine.write("/sys/bus/pci/drivers_probe", FIRST)
    assert current(engine, FIRST) == ["0"]
    done = restore(engine, "--parent", FIRST)
    assert (done.returncode, current(engine, FIRST)) == (0, ["711"])


def test_a_function_that_is_gone(engine: Host) -> None:
    vgpu(engine, type="A16-4Q")
    engine.write(DEFINITION.replace("06", "f6"), '{"version": 1, "type": 711}')
    assert "its function is not there; it is restored when that arrives" in restore(engine).stderr
    assert vgpu(engine, device="0000:f6:00.4", state="inactive")["plan"] == []
    assert vgpu(engine, device="0000:f6:00.4", state="absent")["changed"]


def test_it_returns_what_it_documents(host: Host) -> None:
    known = returned("vgpu")
    made = vgpu(host, type="A16-4Q", params=PARAMS)
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["vgpu"]) == shape(known["vgpu"]["contains"])
    assert samples_unlike(known, made) == []
    facts = returned("definition_facts")["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]["vgpu"]
    host.write(file(FIRST, "vgpu_params"), "enable_uvm=1\n")
    (found,) = host.done("definition_facts", kinds=["vgpu"])["ansible_facts"]["nodedev_definitions"]["vgpu"]
    assert set(found) == set(facts["sample"][0])
    assert found["drift"] == [{"what": "params", "defined": PARAMS, "running": "enable_uvm=1"}]
