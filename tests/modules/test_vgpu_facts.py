# SPDX-License-Identifier: GPL-3.0-or-later
"""What vgpu_facts tells of cards of each framework, what it says is missing, and what becomes of odd values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from conftest import OTHER, UUID, Host, ids, open_by, warnings
from guests import Libvirt, libvirtd
from simhost.scenario import FOLDER
from test_documentation import differing, returned
from test_restore import install

__all__ = ["libvirtd"]

CARD, NAME = "0000:06:00.0", "pci_0000_06_00_0"
FN = [f"0000:06:00.{number}" for number in (4, 5, 6, 7)]
SMI = "/usr/bin/nvidia-smi"
TYPES = {709: ("NVIDIA A16-2Q", 2048, 8), 711: ("NVIDIA A16-4Q", 4096, 4)}
TYPES |= {712: ("NVIDIA A16-8Q", 8192, 2), 713: ("NVIDIA A16-16Q", 16384, 1)}
# Runs the facts with a limit of nvidia-smi's that a test can wait for, and prints them.
LIMITED = """
import importlib, json
HOUSE = "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev."
importlib.import_module(HOUSE + "host.nvidia_smi").PATIENCE = 1.0
print(json.dumps(importlib.import_module(HOUSE + "facts.vgpu").facts()))
"""


@pytest.fixture
def vfio(start: Callable[..., Host]) -> Iterator[Host]:
    """A host with one card whose functions are vGPUs, on which nothing was written where nobody may write."""
    host = start("nvidia-vfio-small")
    yield host
    assert host.forbidden_writes() == []


@pytest.fixture
def eight(start: Callable[..., Host]) -> Iterator[Host]:
    """A host with eight such cards, each in another state."""
    host = start("nvidia-vfio")
    yield host
    assert host.forbidden_writes() == []


def plan(name: str, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A scenario whose first device is changed."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    change(found["devices"][0])
    return found


def told(host: Host, **arguments: Any) -> dict[str, Any]:
    """The facts of a run without a warning."""
    result = host.done("vgpu_facts", **arguments)
    assert warnings(result) == []
    facts: dict[str, Any] = result["ansible_facts"]["vgpu"]
    return facts


def card(host: Host, **arguments: Any) -> dict[str, Any]:
    """The one card of a host."""
    (found,) = told(host, **arguments)["cards"].values()
    assert isinstance(found, dict)
    return found


def ready(facts: dict[str, Any], device: str | None = None) -> dict[str, bool | None]:
    """What is ready of the host, or of a card."""
    return {each["what"]: each["ok"] for each in facts["readiness"] if each["device"] == device}


def free(found: dict[str, Any]) -> dict[int, tuple[int, int | None]]:
    """By type how many there are, and how many more fit."""
    return {each["id"]: (each["now"], each["free"]) for each in found["types"]}


def outlook(found: dict[str, Any], type: int) -> tuple[int | None, int | None, dict[str, int]]:
    """Of a type, how many would fit without idle vGPUs, without any, and by type after one more of it."""
    (own,) = (each for each in found["types"] if each["id"] == type)
    return own["free_released"], own["free_emptied"], own["free_then"]


def make(host: Host, function: str, type: int) -> None:
    host.write(f"/sys/bus/pci/devices/{function}/nvidia/current_vgpu_type", str(type))


def create(host: Host, parent: str, type: int, uuid: str = UUID) -> None:
    host.write(f"/sys/class/mdev_bus/{parent}/mdev_supported_types/nvidia-{type}/create", uuid)


def the_types(found: dict[str, Any]) -> dict[int, tuple[str, int, int]]:
    return {each["id"]: (each["name"], each["framebuffer"], each["most"]) for each in found["types"]}


def test_a_card_whose_functions_are_vgpus(vfio: Host) -> None:
    found = card(vfio)
    functions, types = found.pop("functions"), found.pop("types")
    assert found == {
        "name": NAME,
        "address": CARD,
        "driver": "nvidia",
        "vendor": {"id": "0x10de", "name": "NVIDIA Corporation"},
        "product": {"id": "0x25b6", "name": "GA107GL [A2 / A16]"},
        "numa_node": 0,
        "framework": "vfio",
        "why": None,
        "mode": "SR-IOV",
        "heterogeneous": False,
        "mig": None,
        "total": 4,
    }
    assert [(each["index"], each["address"], each["driver"]) for each in functions] == [
        (index, address, "nvidia") for index, address in enumerate(FN)
    ]
    assert the_types({"types": types}) == TYPES
    # The card has room for eight of the first, and four functions.
    assert free({"types": types}) == {709: (0, 4), 711: (0, 4), 712: (0, 2), 713: (0, 1)}
    assert outlook({"types": types}, 709) == (4, 4, {"NVIDIA A16-2Q": 3})
    assert outlook({"types": types}, 713) == (1, 1, {})


def test_both_frameworks_are_told_of_alike(vfio: Host, start: Callable[..., Host]) -> None:
    mdev = start("nvidia-sriov")
    for host, create_one in ((vfio, lambda: make(vfio, FN[0], 711)), (mdev, lambda: create(mdev, FN[0], 711))):
        create_one()
        node = FN[0] if host is vfio else UUID
        with host.hold(node) as pid:
            found = card(host)
        first, second, *_others = found["functions"]
        (holder,) = first.pop("holders")
        assert holder == open_by(pid, holder["node"])
        uuid = None if host is vfio else UUID
        assert first == {
            "index": 0,
            "name": "pci_0000_06_00_4",
            "address": FN[0],
            "driver": "nvidia",
            "uuid": uuid,
            "type": "NVIDIA A16-4Q",
            "type_id": 711,
            "params": "",
            "placement_id": None,
            "hindrance": None,
        }
        assert (second["type"], second["type_id"], second["uuid"], second["holders"]) == (None, None, None, [])
        assert the_types(found) == TYPES
        assert free(found) == {709: (0, 0), 711: (1, 3), 712: (0, 0), 713: (0, 0)}
        assert outlook(found, 711) == (3, 4, {"NVIDIA A16-4Q": 2})
        # Somebody has it, so that the card stays at its size.
        assert outlook(found, 712) == (0, 2, {})
        assert outlook(card(host), 712) == (2, 2, {})
    assert (card(mdev)["framework"], card(mdev)["mode"], card(mdev)["total"]) == ("mdev", None, 16)


def test_params_and_placement(eight: Host) -> None:
    """The place on a card in heterogeneous mode, which takes several framebuffers."""
    function = "0000:43:00.4"
    eight.write(f"/sys/bus/pci/devices/{function}/nvidia/placement_id", "8")
    make(eight, function, 1152)
    make(eight, "0000:43:00.5", 1154)
    eight.write(f"/sys/bus/pci/devices/{function}/nvidia/vgpu_params", "frame_rate_limiter=0\n")
    found = card(eight, parent="pci_0000_43_00_0")
    first, second, *_others = found["functions"]
    assert (first["type"], first["params"], first["placement_id"]) == ("NVIDIA L40S-8Q", "frame_rate_limiter=0", 8)
    assert (second["type_id"], second["placement_id"]) == (1154, 16)
    assert found["heterogeneous"] is True
    # 24 of its 48 GiB are left.
    counted = free(found)
    assert (counted[1152], counted[1154], counted[1156]) == ((1, 3), (1, 1), (0, 0))
    assert outlook(found, 1155) == (2, 2, {})
    then = outlook(found, 1154)[2]
    assert (then["NVIDIA L40S-8Q"], then.get("NVIDIA L40S-12Q"), then["NVIDIA L40S-1Q"]) == (1, None, 8)


def test_vgpus_on_the_card_itself(host: Host) -> None:
    create(host, "0000:3d:00.0", 232)
    create(host, "0000:3d:00.0", 232, OTHER)
    facts = told(host)
    found = facts["cards"]["pci_0000_3d_00_0"]
    assert (found["framework"], found["total"]) == ("mdev", None)
    assert sorted(
        (each["index"], each["address"], each["uuid"], each["type"]) for each in found["functions"]
    ) == sorted((None, "0000:3d:00.0", uuid, "GRID T4-4Q") for uuid in (UUID, OTHER))
    assert free(found) == {230: (0, 0), 231: (0, 0), 232: (2, 2), 233: (0, 0), 234: (0, 0)}
    assert outlook(found, 232) == (4, 4, {"GRID T4-4Q": 1})
    assert outlook(found, 230)[0] is not None
    assert facts["cards"]["pci_0000_af_00_0"]["functions"] == []
    # Nobody needs it there.
    assert ready(facts)["nvidia_smi"] is None
    assert ready(facts, "pci_0000_3d_00_0") == {"driver": True, "sriov": None, "types": True, "mode": None}


def test_sriov_alone_makes_no_framework(start: Callable[..., Host]) -> None:
    """A T4 claims 16 functions and makes its vGPUs on the card itself; a card may have no types at all."""
    claims = plan("nvidia-sriov", lambda device: device["pci"].update(virtfns=[]))
    claims["devices"] = claims["devices"][:1]
    facts = told(start(claims))
    (found,) = facts["cards"].values()
    assert (found["framework"], found["total"], found["functions"], found["types"]) == (None, 16, [], [])
    assert found["why"].startswith(
        "with driver nvidia, and none of its 16 virtual functions is enabled: hostdev.nodedev."
    )
    assert ready(facts, NAME) == {"driver": True, "sriov": None, "functions": False, "mode": None}


def test_each_card_of_eight(eight: Host) -> None:
    facts = told(eight)
    why = {name[9:11]: found["why"] for name, found in facts["cards"].items() if found["framework"] is None}
    assert why == {
        "44": (
            "whose Host VGPU Mode is Non SR-IOV: is SR-IOV on in the firmware, and the driver the one for vGPU hosts?"
        ),
        "47": (
            "with driver nvidia, and none of its 16 virtual functions is enabled: hostdev.nodedev.sriov with numvfs:"
            " max enables them, by /usr/lib/nvidia/sriov-manage; which vGPUs the card makes is seen then"
        ),
    }
    assert {found["framework"] for found in facts["cards"].values()} == {"vfio", None}
    # Nothing is ever made on a card in another mode, whatever its functions list.
    types = facts["cards"]["pci_0000_44_00_0"]["types"]
    assert {(each["free"], each["free_emptied"], str(each["free_then"])) for each in types} == {(0, None, "{}")}
    assert [len(found["functions"]) for found in facts["cards"].values()] == [16] * 6 + [0, 16]
    with_mig = facts["cards"]["pci_0000_48_00_0"]
    assert (with_mig["mig"], with_mig["types"]) == (True, [])
    (types,) = (each for each in facts["readiness"] if (each["device"], each["what"]) == ("pci_0000_48_00_0", "types"))
    assert (types["ok"], "nvidia-smi mig -cgi" in types["advice"]) == (False, True)


def test_one_card(eight: Host) -> None:
    every = told(eight)
    for name in ("pci_0000_42_00_0", "0000:42:00.0", "00000000:42:00.0"):
        facts = told(eight, parent=name)
        assert facts["cards"] == {"pci_0000_42_00_0": every["cards"]["pci_0000_42_00_0"]}
        assert {each["device"] for each in facts["readiness"]} == {None, "pci_0000_42_00_0"}
        assert [each for each in every["readiness"] if each in facts["readiness"]] == facts["readiness"]


@pytest.mark.parametrize("parent", ["pci_0000_06_00_4", "0000:ff:00.0", "../x", ""])
def test_a_card_that_is_not_there_is_a_warning(vfio: Host, parent: str) -> None:
    result = vfio.done("vgpu_facts", parent=parent)
    assert result["ansible_facts"]["vgpu"]["cards"] == {}
    assert warnings(result) == [f"parent: no GPU of NVIDIA's is called {parent}; those that are there: {NAME} ({CARD})"]


def test_a_host_without_a_card(start: Callable[..., Host]) -> None:
    host = start("no-mdev")
    facts = told(host)
    assert (facts["cards"], ready(facts)) == ({}, {"iommu": False})
    assert warnings(host.done("vgpu_facts", parent="x")) == [
        "parent: no GPU of NVIDIA's is called x; those that are there: none"
    ]


def test_without_nvidia_smi(vfio: Host) -> None:
    """What it alone tells is not known then, and nothing else is amiss."""
    vfio.fault(SMI, op="read", errno="EIO", nth=1000)
    make(vfio, FN[0], 711)
    found = card(vfio, nvidia_smi=False)
    assert (found["framework"], found["mode"], found["heterogeneous"], found["mig"]) == ("vfio", None, None, None)
    assert the_types(found) == {711: ("NVIDIA A16-4Q", 4096, None)}
    assert free(found) == {711: (1, None)}
    assert ready(told(vfio, nvidia_smi=False))["nvidia_smi"] is None
    (fault,) = vfio.faults()
    assert fault["seen"] == 0


def test_a_type_that_is_offered_no_more_has_the_name_that_is_kept_of_it(vfio: Host) -> None:
    vfio.done("vgpu", device=FN[0], type="A16-16Q", persistent=False)
    found = card(vfio, nvidia_smi=False)
    assert (found["functions"][0]["type"], the_types(found)) == (
        "NVIDIA A16-16Q",
        {713: ("NVIDIA A16-16Q", 16384, None)},
    )
    make(vfio, FN[0], 0)
    vfio.done("vgpu", device=FN[0], state="absent")
    make(vfio, FN[0], 713)
    found = card(vfio, nvidia_smi=False)
    assert (found["functions"][0]["type"], found["functions"][0]["type_id"]) == (None, 713)
    assert free(found) == {713: (1, 0)}


def test_nvidia_smi_that_is_not_installed(start: Callable[..., Host]) -> None:
    found = yaml.safe_load((FOLDER / "nvidia-vfio-small.yml").read_text())
    found["nvidia"]["nvidia_smi"] = False
    host = start(found)
    facts = told(host)
    assert (facts["cards"][NAME]["framework"], facts["cards"][NAME]["mode"]) == ("vfio", None)
    assert (ready(facts)["nvidia_smi"], ready(facts, NAME)["mode"]) == (False, None)


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ({"content": "No devices were found\n"}, "nvidia-smi tells of no card; it said: No devices were found"),
        ({"content": "\x1b[31m\x00\udcff"}, "nvidia-smi tells of no card; it said: "),
        ({"errno": "EIO"}, "nvidia-smi tells of no card; it said: "),
    ],
)
def test_nvidia_smi_that_says_nothing_of_use(vfio: Host, fault: dict[str, Any], warning: str) -> None:
    vfio.fault(SMI, op="read", **fault)
    result = vfio.done("vgpu_facts")
    (said,) = warnings(result)
    assert said.startswith(warning)
    assert "\x1b" not in said
    facts = result["ansible_facts"]["vgpu"]
    assert (facts["cards"][NAME]["framework"], facts["cards"][NAME]["mode"]) == ("vfio", None)
    assert (ready(facts)["nvidia_smi"], ready(facts, NAME)["mode"]) == (False, None)


def test_nvidia_smi_that_hangs_is_given_up(vfio: Host) -> None:
    """It is not asked for the types after that."""
    vfio.fault(SMI, op="read", delay=5)
    done = vfio.run([vfio.python, "-c", LIMITED], env=vfio.environment)
    answer = json.loads(done.stdout)
    assert answer["warnings"] == [f"{SMI} -q has not ended after 1 s and was killed"]
    assert len(answer["ansible_facts"]["vgpu"]["cards"][NAME]["functions"]) == 4
    (fault,) = vfio.faults()
    assert fault["seen"] == 1


def function(result: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = result["ansible_facts"]["vgpu"]["cards"][NAME]["functions"][index]
    return found


@pytest.mark.parametrize("odd", [{"content": "many\n"}, {"content": "\udcff"}, {"content": ""}, {"errno": "EIO"}])
def test_a_type_that_makes_no_sense_is_a_warning_of_that_function(vfio: Host, odd: dict[str, Any]) -> None:
    """What may be on the card is not known then, and all else is told."""
    vfio.fault(f"{FN[1]}/nvidia/current_vgpu_type", op="read", **odd)
    make(vfio, FN[0], 711)
    result = vfio.done("vgpu_facts")
    (warning,) = warnings(result)
    assert "nvidia/current_vgpu_type" in warning
    found = function(result, 1)
    assert (found["type"], found["type_id"]) == (None, None)
    assert "nvidia/current_vgpu_type" in found["hindrance"]
    assert [function(result, index)["hindrance"] for index in (0, 2, 3)] == [None, None, None]
    assert free(result["ansible_facts"]["vgpu"]["cards"][NAME]) == {
        709: (0, 0),
        711: (1, None),
        712: (0, 0),
        713: (0, 0),
    }


@pytest.mark.parametrize("name", ["creatable_vgpu_types", "vgpu_params", "placement_id"])
@pytest.mark.parametrize("odd", [{"content": "\udcff \x1b[31m\n"}, {"errno": "EIO"}])
def test_other_odd_files(vfio: Host, name: str, odd: dict[str, Any]) -> None:
    make(vfio, FN[0], 711)
    vfio.fault(f"/sys/devices/*/{FN[0 if name != 'creatable_vgpu_types' else 1]}/nvidia/{name}", op="read", **odd)
    result = vfio.done("vgpu_facts")
    assert all(name in text for text in warnings(result))
    assert len(warnings(result)) <= 1
    assert [function(result, index)["type_id"] for index in range(4)] == [711, None, None, None]


@pytest.mark.parametrize(
    ("name", "text"), [("sriov_totalvfs", "many"), ("numa_node", "x"), ("device", "nothing"), ("vendor", "0x10de ")]
)
def test_odd_values_of_the_card(vfio: Host, name: str, text: str) -> None:
    vfio.fault(f"/sys/devices/*/{CARD}/{name}", op="read", content=f"{text}\n")
    result = vfio.done("vgpu_facts")
    if name == "vendor":
        assert result["ansible_facts"]["vgpu"]["cards"] == {}
    else:
        assert [name in warning for warning in warnings(result)] == [True]
        assert function(result, 3)["address"] == FN[3]


def test_odd_values_of_mediated_devices(start: Callable[..., Host]) -> None:
    host = start("nvidia-sriov")
    create(host, FN[0], 711)
    for name, text in (("available_instances", "many\n"), ("description", "\udcff\n"), ("name", "\udcff\n")):
        host.fault(f"/sys/devices/*/{FN[1]}/mdev_supported_types/nvidia-711/{name}", op="read", content=text)
    result = host.done("vgpu_facts")
    (warning,) = warnings(result)
    assert "available_instances" in warning
    assert free(result["ansible_facts"]["vgpu"]["cards"][NAME])[711] == (1, 2)


def test_functions_that_cannot_be_vgpus(start: Callable[..., Host]) -> None:
    """One whose driver never makes the folder, and one that was given away: told of each, and no warning."""
    found = yaml.safe_load((FOLDER / "nvidia-vfio-small.yml").read_text())
    found["devices"][0]["behaviour"]["sriov"]["vf"]["behaviour"]["nvidia_vgpu"]["without"] = [1]
    host = start(found)
    host.write(f"/sys/bus/pci/devices/{FN[2]}/driver/unbind", FN[2])
    every = told(host)
    facts = every["cards"][NAME]
    (finding,) = (each for each in every["readiness"] if each["what"] == "functions")
    assert (finding["ok"], finding["found"].split(" virtual")[0]) == (False, "2 of whose 4")
    hindrances = [each["hindrance"] for each in facts["functions"]]
    assert hindrances[1].startswith(f"pci_0000_06_00_5 ({FN[1]}) has no nvidia/ with driver nvidia: it comes some")
    assert hindrances[2].endswith("has no driver, which makes vGPUs of its functions: bind nvidia to it")
    assert (hindrances[0], hindrances[3]) == (None, None)
    assert free(facts)[709] == (0, 2)


def test_a_guest_that_is_about_to_have_a_vgpu_is_its_holder(host: Host, libvirtd: Any) -> None:
    install(host)
    (first,) = ids(host.pool(type="nvidia-231", count=1, managed=True))
    libvirt: Libvirt = libvirtd(host)
    libvirt.done("desk", "prepare", first)
    functions = [each for found in told(host)["cards"].values() for each in found["functions"]]
    ((holder,),) = (each["holders"] for each in functions)
    assert (holder["how"], holder["domain"]) == ("about to be opened by", "desk")
    libvirt.done("desk", "release", first)


def test_nothing_is_opened_and_everything_is_read_once(eight: Host) -> None:
    make(eight, "0000:41:00.4", 1152)
    before = eight.state()
    eight.fault("/dev/vfio/*", op="open", errno="EIO", nth=100000)
    for name in ("current_vgpu_type", "creatable_vgpu_types"):
        eight.fault(f"/sys/devices/*/nvidia/{name}", op="read", errno="EIO", nth=100000)
    eight.done("vgpu_facts", check_mode=True)
    opened, types, offers = (fault["seen"] for fault in eight.faults())
    assert (opened, types, offers) == (0, 7 * 16, 7 * 16 - 1)
    eight.clear_faults()
    assert eight.state() == before


def test_the_hint_of_others_is_of_the_same_words(start: Callable[..., Host]) -> None:
    """What keeps a host from making vGPUs is told by whoever finds nothing that offers any."""
    found = yaml.safe_load((FOLDER / "nvidia-vfio-small.yml").read_text())
    found["devices"][0]["behaviour"]["sriov"]["numvfs"] = 0
    host = start(found)
    lacking = [each for each in told(host)["readiness"] if each["ok"] is False]
    (card_of_it,) = [f"{each['found']}: {each['advice']}" for each in lacking if each["device"] == NAME]
    hint = host.done("mdev_types_facts")["hint"]
    assert hint[0] == f"{NAME} ({CARD}) is a GPU {card_of_it}"
    message = host.failed("mdev", uuid=UUID, parent=CARD, type="nvidia-711")
    assert card_of_it in message
    assert card_of_it in host.pool_refused(type="nvidia-711", count=1)


def test_what_is_documented_is_returned(vfio: Host) -> None:
    contains = returned("vgpu_facts")["ansible_facts"]["contains"]["vgpu"]["contains"]
    make(vfio, FN[0], 711)
    with vfio.hold(FN[0]):
        facts = told(vfio)
    assert set(facts) == set(contains)
    (sample,), (found,) = contains["cards"]["sample"].values(), facts["cards"].values()
    assert set(found) == set(sample)
    for part in ("functions", "types"):
        assert {frozenset(each) for each in found[part]} == {frozenset(sample[part][0])}
    assert [*differing(sample, found, "cards")] == []
    assert {frozenset(each) for each in facts["readiness"]} == {
        frozenset(each) for each in contains["readiness"]["sample"]
    }
    documented = " ".join(contains["readiness"]["description"])
    assert [each["what"] for each in facts["readiness"] if f"C({each['what']})" not in documented] == []
