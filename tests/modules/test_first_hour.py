# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input as somebody gives it who is new here: what each message says, and where it says the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import HERE, THERE, UUID, Host, warnings

GPU, NIC, GONE = "pci_0000_3d_00_0", "pci_0000_3b_00_0", "pci_0000_99_00_0"
MDEV = {"uuid": UUID, "parent": GPU, "type": "GRID T4-4Q"}
POOL = {"name": "x", "type": "GRID T4-4Q", "count": 2}
VGPU = {"parent": "pci_0000_06_00_0", "index": 0, "type": "A16-4Q"}
CARD = "pci_0000_06_00_0 (0000:06:00.0)"
T4 = "nvidia-230 (GRID T4-1Q), nvidia-231 (GRID T4-2Q), nvidia-232 (GRID T4-4Q)"
A16 = "NVIDIA A16-2Q (709), NVIDIA A16-4Q (711), NVIDIA A16-8Q (712), NVIDIA A16-16Q (713)"
EIGHT = "pci_0000_01_00_0 (0000:01:00.0), pci_0000_02_00_0 (0000:02:00.0), pci_0000_03_00_0 (0000:03:00.0) and 5 more"
PARENTS = f"the registered parents are: {HERE}, {THERE}"
AS_MEDIATED = "makes vGPUs as mediated devices: hostdev.nodedev.vgpu_pool and hostdev.nodedev.mdev make them there"
NO_DRIVER = "no driver for pci has this name, and no module could be loaded; did you mean 'vfio-pci'?"
PLAIN = "driver bochs-drm, which offers no types: is it its vendor's driver for vGPU hosts?; the IOMMU is off"
NPIV = "the HBAs with NPIV are: scsi_host3 (WWPN 10000090fa1234a0), scsi_host4 (WWPN 10000090fa1234a1)"

# By scenario: module, options, and what stands in the message, or in a warning of a module with facts.
CASES: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "nvidia-mdev": [
        ("mdev", {"uuid": UUID, "type": "GRID T4-4Q"}, f"parent is required: mdev {UUID} is not known here; {PARENTS}"),
        ("mdev", {**MDEV, "type": "grid t4-4q"}, f"did you mean 'GRID T4-4Q'?; {HERE} has the types: {T4}"),
        ("mdev", {**MDEV, "type": "Nvidia-232"}, "did you mean 'nvidia-232'?"),
        ("mdev", {**MDEV, "type": "GRID T4-4X"}, f"{HERE} has the types: {T4}"),
        ("mdev", {**MDEV, "parent": "pci_0000_3e_00_0"}, f"there is no such device; {PARENTS}"),
        (
            "mdev",
            {**MDEV, "parent": NIC},
            f"it is there with driver mlx5_core, and offers no mediated devices; {PARENTS}",
        ),
        ("mdev", {**MDEV, "uuid": "83b8f4f2"}, "a UUID has 8-4-4-4-12 hexadecimal digits"),
        ("mdev_pool", {**POOL, "parents": {"driver": "nvida"}}, f"leaves out every parent: driver is nvidia on {HERE}"),
        (
            "mdev_pool",
            {**POOL, "parents": {"names": [GPU], "numa_node": 1}},
            f"it leaves out every parent: numa_node is 0 on {HERE}",
        ),
        ("mdev_pool", {"name": "x", "type": "GRID T4-4Q"}, "count is required: pool x is not known here"),
        ("mdev_pool", {**POOL, "count": 100}, f"there is room for 8; free are {HERE}: 4, {THERE}: 4"),
        (
            "mdev_types_facts",
            {"parent": NIC},
            f"it is there with driver mlx5_core, and offers no mediated devices; {PARENTS}",
        ),
        ("mdev_types_facts", {"parent": GONE}, f"there is no such device; {PARENTS}"),
        ("mdev_types_facts", {"driver": "nvida"}, f"{PARENTS}; did you mean 'nvidia'?"),
        ("mdev_types_facts", {"type": "grid t4-4q"}, "did you mean 'GRID T4-4Q'?"),
        ("nodedev_facts", {"names": [GONE]}, f"names: no device that is asked for is called {GONE}"),
        ("nodedev_facts", {"parent": GONE}, f"parent: no device that is asked for is {GONE} or below it"),
        ("nodedev_facts", {"driver": "nvida"}, "has the driver nvida; did you mean 'nvidia'?"),
        (
            "nodedev",
            {"xml": "<device><capability type='mdev'><type id='x'/></capability></device>"},
            "xml: <parent> is",
        ),
        (
            "nodedev",
            {"xml": f"<device><parent>{GPU}</parent><capability type='mdev'/></device>"},
            "xml: <type> is required",
        ),
        ("vgpu", {"parent": GPU, "index": 0, "type": "GRID T4-4Q"}, f"has no such virtual function; it {AS_MEDIATED}"),
        ("vgpu", {"device": GPU, "type": "GRID T4-4Q"}, f"alone can be a vGPU; it {AS_MEDIATED}"),
        (
            "vgpu_pool",
            {**POOL, "backend": "vfio"},
            f"{HERE}, {THERE}: each is a GPU which makes vGPUs as mediated devices",
        ),
        ("vgpu_facts", {"parent": NIC}, f"no GPU of NVIDIA's is called {NIC}; those that are there: {HERE}, {THERE}"),
        ("sriov", {"device": GPU, "numvfs": "max"}, f"device: '{HERE}' cannot be used: it has no virtual functions"),
        ("vhba", {"name": "database"}, "this host has no Fibre Channel HBA"),
    ],
    "nvidia-8cards": [
        (
            "mdev_pool",
            {**POOL, "type": "GRID T4-9Q"},
            f"type: 'GRID T4-9Q' cannot be used: {EIGHT} have the types: nvidia-222",
        ),
        (
            "vgpu_pool",
            {**POOL, "type": "grid t4-1b"},
            f"did you mean 'GRID T4-1B'?; {EIGHT} have the types: nvidia-222",
        ),
        (
            "mdev_types_facts",
            {"type": "GRID T4-9Q"},
            f"no parent is found by type 'GRID T4-9Q'; {EIGHT} have the types",
        ),
        ("vgpu_pool", {**POOL, "backend": "vfio"}, f"{EIGHT}: each is a GPU which makes vGPUs as mediated devices"),
    ],
    "nvidia-sriov": [
        ("mdev", {**MDEV, "parent": "pci_0000_06_00_0"}, "its virtual functions are the parents: pci_0000_06_00_4"),
        ("vgpu", {**VGPU, "wait_timeout": 600}, f"pci_0000_06_00_4 (0000:06:00.4) {AS_MEDIATED}"),
    ],
    "nvidia-vfio-small": [
        (
            "mdev",
            {**MDEV, "parent": "pci_0000_06_00_4"},
            f"{CARD} is a GPU whose driver nvidia makes vGPUs by nvidia/current_vgpu_type of virtual functions, not by",
        ),
        ("vgpu", {**VGPU, "type": "A16-3Q"}, f"type: 'A16-3Q' cannot be used: the types of {CARD} are: {A16}"),
        ("vgpu", {**VGPU, "type": "a16-4q"}, f"did you mean 'A16-4Q'? the types of {CARD} are: {A16}"),
        (
            "vgpu",
            {"parent": CARD[:16], "index": 0},
            "type is required: the vGPU of pci_0000_06_00_4 (0000:06:00.4) is not",
        ),
        (
            "vgpu",
            {**VGPU, "index": 99},
            "has no such virtual function; name one of its 4 virtual functions, counted from 0",
        ),
        ("vgpu", {**VGPU, "parent": "pci_0000_06_00_4"}, f"it is a virtual function of {CARD} itself"),
        (
            "vgpu",
            {"device": CARD[:16], "type": "A16-4Q"},
            "a vGPU; name one of its 4 virtual functions, counted from 0",
        ),
        ("vgpu_pool", {"name": "x", "type": "nvidia a16-4q", "count": 1}, "did you mean 'NVIDIA A16-4Q'?"),
        (
            "vgpu_pool",
            {"name": "x", "type": "A16-4Q", "count": 1, "parents": {"names": [CARD[:16]], "numa_node": 1}},
            "it leaves out every parent: numa_node is 0 on pci_0000_06_00_4 (0000:06:00.4)",
        ),
        ("vgpu_pool", {"name": "x", "type": "A16-4Q", "count": 9}, f"there is room for 4; free are on {CARD}: 4"),
    ],
    "nvidia-vfio": [
        (
            "mdev_pool",
            POOL,
            " more: each is a GPU whose driver nvidia makes vGPUs by nvidia/current_vgpu_type",
        ),
        (
            "vgpu",
            {"parent": "pci_0000_47_00_0", "index": 0, "type": "L40S-8Q"},
            "hostdev.nodedev.sriov with numvfs: max enables",
        ),
        ("vgpu", {"parent": "pci_0000_48_00_0", "index": 0, "type": "L40S-8Q"}, "nvidia-smi mig -cgi makes one"),
    ],
    "no-mdev": [
        (
            "mdev_pool",
            POOL,
            PLAIN,
        ),
        (
            "vgpu_pool",
            POOL,
            PLAIN,
        ),
    ],
    "functions": [
        ("driver", {"device": "pci_0000_81_00_0", "driver": "vfio_pic"}, NO_DRIVER),
        ("driver", {"device": "pci_0000_81_00_0", "driver": "vfio_pci"}, NO_DRIVER),
        ("driver", {"device": "pci_0000_81_00_0", "driver": "VFIO-PCI"}, NO_DRIVER),
        (
            "driver",
            {"device": GONE, "driver": "vfio-pci"},
            f"device: '{GONE} (0000:99:00.0)' cannot be used: there is no",
        ),
        (
            "driver",
            {"device": "0.0.0050", "driver": "vfio_ccw"},
            "a subchannel is named css_0_0_0050, and a CCW device ccw",
        ),
        (
            "driver",
            {"device": "pci_0000_18_00_0", "driver": "vfio-pci"},
            "or set force: true to take it away all the same, which ends what runs over its interface",
        ),
        ("driver", {"device": "pci_0000_0a_00_0", "driver": "vfio-pci"}, "which leaves the console dark"),
        ("sriov", {"device": NIC, "numvfs": 99}, "pci_0000_3b_00_0 (0000:3b:00.0) has at most 8 virtual functions"),
        ("sriov", {"device": "ens3f0", "numvfs": 2}, "a PCI function is named like pci_0000_3b_00_0 or 0000:3b:00.0"),
        (
            "sriov",
            {"device": NIC, "numvfs": 2, "driver": "vifo-pci"},
            "no module of that name; did you mean 'vfio-pci'?",
        ),
        ("sriov", {"device": NIC, "numvfs": 2, "vfs": [{"index": 0, "mac": 2199023255553}]}, "a number: quote it"),
        (
            "sriov",
            {"device": NIC, "numvfs": 2, "vfs": [{"index": 0}, {"index": 0}]},
            "vfs: [0, 0] cannot be used: each index",
        ),
    ],
    "fc": [
        (
            "vhba",
            {"wwnn": 230584415216378690, "wwpn": 5765634094580662},
            "YAML takes digits and colons alone for a number: quote",
        ),
        ("vhba", {}, "name is required: a vHBA has either wwnn and wwpn, or a name they follow from"),
        ("vhba", {"wwpn": "5001a4a0000000a1"}, "wwnn is required: wwnn and wwpn go together"),
        (
            "vhba",
            {"name": "x", "oui": 668},
            "an OUI has 6 hexadecimal digits; YAML takes digits alone for a number: quote them",
        ),
        ("vhba", {"name": "x", "parent": "scsi_host9"}, f"scsi_host9 is not there; {NPIV}"),
        ("vhba", {"name": "x", "parent": "scsi_host0"}, f"scsi_host0 is not a Fibre Channel HBA; {NPIV}"),
        ("vhba", {"name": "x", "parent": "scsi_host5"}, "require_online: false makes it on a port whose link is down"),
        ("vhba_pool", {"name": "x", "count": 2, "parents": {"names": ["scsi_host9"]}}, f"it is not there; {NPIV}"),
        (
            "vhba_pool",
            {"name": "x", "count": 2, "parents": {"names": ["scsi_host3"], "fabric_wwn": "100000051e000002"}},
            "scsi_host3 (WWPN 10000090fa1234a0): it is in fabric 100000051e000001",
        ),
        ("vhba_facts", {"parent": "scsi_host9"}, f"parent: no HBA is called scsi_host9; {NPIV}"),
        ("nodedev", {"name": "scsi_host99"}, "no such SCSI host is there"),
        ("mdev", MDEV, "no GPU, subchannel or crypto adapter is there"),
    ],
    "s390x": [
        *(
            (
                "mdev",
                {**MDEV, "parent": parent},
                "its subchannel css_0_0_0012 (0.0.0012) is bound to io_subchannel: have it",
            )
            for parent in ("css_0_0_0012", "0.0.0012", "ccw_0_0_0815", "0.0.0815")
        ),
        (
            "mdev",
            {**MDEV, "parent": "ccw_0_0_9999"},
            "there is no such device; where the kernel was told to ignore it, cio_ignore -r 0.0.9999 has it come",
        ),
        ("mdev_pool", {**POOL, "type": "vfio_ccw-oi"}, "css_0_0_0051 (0.0.0051) have the types: vfio_ccw-io"),
    ],
}


@pytest.fixture(scope="module")
def hosts(library: str) -> Iterator[Callable[[str], Host]]:
    """Starts each host once, since nothing that is wrong changes one."""
    started: dict[str, Host] = {}

    def start(scenario: str) -> Host:
        if scenario not in started:
            host = started[scenario] = Host(scenario)
            host.library = library
            host.start()
        return started[scenario]

    yield start
    for host in started.values():
        host.stop()


@pytest.mark.parametrize(
    ("scenario", "module", "options", "told"),
    [(scenario, *case) for scenario, cases in CASES.items() for case in cases],
)
def test_wrong_input(
    hosts: Callable[[str], Host], scenario: str, module: str, options: dict[str, Any], told: str
) -> None:
    host = hosts(scenario)
    if module.endswith("_facts"):
        (message,) = warnings(host.done(module, **options))
    else:
        message = host.failed(module, **options)
    assert told in message


def test_each_module_is_among_them() -> None:
    assert {module for cases in CASES.values() for module, _options, _told in cases} == {
        *("mdev", "mdev_pool", "mdev_types_facts", "vhba", "vhba_pool", "vhba_facts", "driver", "sriov"),
        *("vgpu", "vgpu_pool", "vgpu_facts", "nodedev", "nodedev_facts"),
    }


def test_who_uses_a_device_is_told_as_data(hosts: Callable[[str], Host]) -> None:
    host = hosts("functions")
    (console,) = host.module("driver", device="pci_0000_0a_00_0", driver="vfio-pci")["holders"]
    expected = {"node": None, "how": "in use", "by": "it is the GPU of the console", "pid": None, "domain": None}
    assert console == expected
    route, address = host.module("driver", device="pci_0000_18_00_0", driver="vfio-pci")["holders"]
    assert route["by"] == "its interface eno1 has the default route"
    assert address["by"].startswith("its interface eno1 has the address ")
    host.done("sriov", device=NIC, numvfs=2)
    held = host.module("sriov", device=NIC, numvfs=4)["holders"]
    assert [(each["function"], each["by"]) for each in held] == [
        ("0000:3b:01.0", "it is bound to iavf"),
        ("0000:3b:01.1", "it is bound to iavf"),
    ]
    host.done("sriov", device=NIC, state="absent", force=True)


def test_a_right_name_that_is_not_loaded_yet(hosts: Callable[[str], Host]) -> None:
    done = hosts("functions").done("driver", device="81:00.0", driver="vfio-pci", check_mode=True)
    assert done["plan"][0] == "load module vfio-pci"


# By scenario: a task each that defines something.
LASTING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "nvidia-mdev": [("mdev", MDEV), ("mdev_pool", POOL), ("vgpu_pool", {**POOL, "name": "y"})],
    "nvidia-vfio-small": [("vgpu", VGPU), ("vgpu_pool", {"name": "x", "type": "A16-4Q", "count": 2})],
    "fc": [("vhba", {"name": "x"}), ("vhba_pool", {"name": "y", "count": 2})],
    "functions": [
        ("driver", {"device": "pci_0000_81_00_0", "driver": "vfio-pci"}),
        ("sriov", {"device": NIC, "numvfs": 2}),
    ],
}


@pytest.mark.parametrize("scenario", LASTING)
def test_what_will_not_be_there_after_a_boot(start: Callable[..., Host], scenario: str) -> None:
    """It is told by every run that is not in check mode, in one line that names the host and no device."""
    host = start(scenario)
    name = host.run(["uname", "-n"]).stdout.strip()
    beginning = f"what is defined on {name} will not be there after a boot: the boot engine is not installed"
    for module, options in LASTING[scenario]:
        assert warnings(host.done(module, **options, check_mode=True)) == []
        for changed in (True, False):
            result = host.done(module, **options, diff=True)
            assert result["changed"] is changed
            (message,) = warnings(result)
            assert message.startswith(beginning)
            assert message.endswith("Apply the role hostdev.nodedev.persistence to this host")
            # And the diff has a line for each device, which is the same where nothing has changed.
            before, after = (result["diff"][each].splitlines() for each in ("before", "after"))
            assert (before != after) is changed
            ids = [line.partition(" ")[0] for line in after]
            assert len(ids) == len({*ids}) > 0


def test_what_is_not_to_last_is_no_matter(start: Callable[..., Host]) -> None:
    host = start("functions")
    for module, options in LASTING["functions"]:
        assert warnings(host.done(module, **options, persistent=False)) == []
