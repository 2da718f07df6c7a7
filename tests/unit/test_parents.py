# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parents a pool may use: a selector, read against a host made of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import iommu, mdev_parents, pci, pci_ids
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.parents import Parent, choose
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import Selector
from devices import Host
from hypothesis import given
from hypothesis import strategies as st

T4, A16, MTTY = "0000:3d:00.0", "0000:af:00.4", "mtty"
PF, PF_NAME = "0000:af:00.0", "pci_0000_af_00_0"
NVIDIA = "0x10de NVIDIA Corporation"
SMALL = {"name": "GRID T4-1Q", "device_api": "vfio-pci", "available_instances": "16"}
TYPES = {"nvidia-230": SMALL, "nvidia-231": {**SMALL, "name": "GRID T4-2Q", "available_instances": "8"}}


def parent(host: Host, subsystem: str, name: str, types: Mapping[str, Mapping[str, str]], **attributes: str) -> None:
    links = {"driver": f"bus/{subsystem}/drivers/{attributes.pop('driver')}"} if "driver" in attributes else {}
    device = host.make_device(subsystem, name, attributes, links=links)
    for kind, said in types.items():
        host.attributes(f"devices/{name}/mdev_supported_types/{kind}", said)
    host.link(f"class/mdev_bus/{name}", device.path.removeprefix(f"{host.sys}/"))


@pytest.fixture
def cards(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A card, a virtual function of another, and the kernel's sample driver."""
    monkeypatch.setattr(mdev_parents, "BUS", str(host.sys / "class" / "mdev_bus"))
    monkeypatch.setattr(mdev_parents, "PCI", str(host.sys / "bus" / "pci" / "devices"))
    monkeypatch.setattr(pci, "DEVICES", str(host.sys / "bus" / "pci" / "devices"))
    ids = host.root / "pci.ids"
    ids.write_text("10de  NVIDIA Corporation\n\t1eb8  TU104GL [Tesla T4]\n\t25b6  GA107GL [A2 / A16]\n")
    monkeypatch.setattr(pci_ids, "PCI_IDS", (str(ids),))
    for cached in (pci_ids.names_of, pci_ids._pci_ids):
        cached.cache_clear()
    parent(host, "pci", T4, TYPES, vendor="0x10de", device="0x1eb8", numa_node="0", driver="nvidia")
    a16 = {"nvidia-711": {**SMALL, "available_instances": "1", "description": "framebuffer=4096M, max_instance=4"}}
    parent(host, "pci", A16, {**TYPES, **a16}, vendor="0x10de", device="0x25b6", numa_node="1", driver="nvidia")
    host.link(f"devices/{A16}/physfn", f"devices/{PF}")
    host.link(f"bus/pci/devices/{PF}", f"devices/{PF}")
    for name, group in ((T4, "7"), (A16, "44")):
        host.link(f"devices/{name}/iommu_group", f"kernel/iommu_groups/{group}")
    # An interface of its own, one of a virtio device below it, and those of the card.
    for folder in (f"{A16}/net/ens1v0", f"{A16}/virtio3/net/eth7", f"{PF}/net/ens1f0np0"):
        (host.sys / "devices" / folder).mkdir(parents=True)
    parent(host, "mtty", MTTY, {"mtty-1": {"device_api": "vfio-pci", "available_instances": "24"}})
    yield host
    for cached in (pci_ids.names_of, pci_ids._pci_ids):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [T4, A16, MTTY]),
        ({"names": ["pci_0000_3d_00_0"]}, [T4]),
        ({"addresses": [A16, MTTY]}, [A16, MTTY]),
        ({"names": ["mtty_mtty"], "addresses": [T4]}, [T4, MTTY]),
        ({"driver": "nvidia"}, [T4, A16]),
        ({"driver": "i915"}, []),
        ({"numa_node": 1}, [A16]),
        ({"numa_node": 0, "driver": "nvidia"}, [T4]),
        ({"vendor": "0x10de"}, [T4, A16]),
        ({"vendor": "10DE", "product": "25b6"}, [A16]),
        ({"vendor": "nvidia corporation", "product": "TU104GL [Tesla T4]"}, [T4]),
        ({"vendor": "0x1000"}, []),
        ({"product": "0x10de"}, []),
        ({"names": ["pci_0000_3d_00_0"], "numa_node": 1}, []),
        ({"physical_function": [PF]}, [A16]),
        ({"physical_function": [PF_NAME]}, [A16]),
        ({"physical_function": ["00000000:AF:00.0", T4]}, [A16]),
        ({"physical_function": ["af:00.0"], "numa_node": 1}, [A16]),
        ({"physical_function": [PF], "names": ["pci_0000_3d_00_0"]}, []),
        ({"physical_function": [T4]}, []),
        ({"iommu_group": 44}, [A16]),
        ({"iommu_group": 4}, []),
        ({"interface": "ens1v0"}, [A16]),
        ({"interface": "eth7"}, [A16]),
        ({"interface": "ens1f0np0"}, [A16]),
        ({"interface": "ens1f0np0", "iommu_group": 7}, []),
        ({"interface": "ens1"}, []),
    ],
)
def test_what_a_selector_takes(cards: Host, chosen: dict[str, Any], expected: list[str]) -> None:
    selector = Selector.checked(chosen)
    assert [*choose(selector, None).offers] == sorted(expected)


@pytest.mark.parametrize(
    ("chosen", "misses"),
    [
        ({}, {}),
        ({"driver": "nvida"}, {"driver": {"nvidia": [T4, A16], "none": [MTTY]}}),
        ({"numa_node": 7}, {"numa_node": {"0": [T4], "1": [A16], "none": [MTTY]}}),
        ({"numa_node": 0, "driver": "nvidia"}, {"driver": {"none": [MTTY]}, "numa_node": {"1": [A16]}}),
        ({"vendor": "0x1000", "driver": "nvidia"}, {"driver": {"none": [MTTY]}, "vendor": {NVIDIA: [T4, A16]}}),
        ({"product": "1eb8"}, {"product": {"0x25b6 GA107GL [A2 / A16]": [A16], "none": [MTTY]}}),
        ({"names": ["pci_0000_3d_00_0"], "numa_node": 1}, {"numa_node": {"0": [T4]}}),
        (
            {"physical_function": [T4]},
            {"physical_function": {"none": [T4, MTTY], f"{PF_NAME} ({PF})": [A16]}},
        ),
        (
            {"physical_function": [PF], "driver": "nvidia"},
            {"driver": {"none": [MTTY]}, "physical_function": {"none": [T4]}},
        ),
        ({"iommu_group": 9}, {"iommu_group": {"7": [T4], "44": [A16], "none": [MTTY]}}),
        ({"interface": "eth0"}, {"interface": {"none": [T4, MTTY], "ens1v0, eth7, ens1f0np0": [A16]}}),
        (
            {"interface": "eth0", "iommu_group": 7},
            {"iommu_group": {"44": [A16], "none": [MTTY]}, "interface": {"none": [T4]}},
        ),
    ],
)
def test_which_part_leaves_a_parent_out(cards: Host, chosen: dict[str, Any], misses: dict[str, Any]) -> None:
    assert choose(Selector.checked(chosen), None).chosen.misses == misses


@pytest.mark.parametrize("listed", [{"names": [PF_NAME]}, {"addresses": [PF]}, {"names": [PF]}])
def test_a_card_that_is_listed_means_its_functions(cards: Host, listed: dict[str, Any]) -> None:
    found = choose(Selector.checked(listed), "nvidia-711")
    assert [parent.address for parent in found.parents] == [A16]
    assert (found.chosen.missing, found.chosen.cards) == ({}, set(*listed.values()))


@pytest.mark.parametrize(
    ("listed", "missing"),
    [
        (PF, {}),
        (T4, {T4: "it is a parent itself, and not the physical function of one: choose it by names or addresses"}),
        ("0000:5e:00.0", {"0000:5e:00.0": "it is there, and offers no mediated devices"}),
        ("pci_0000_99_00_0", {"pci_0000_99_00_0": "there is no such device"}),
    ],
)
def test_a_physical_function_without_functions_here_is_told(cards: Host, listed: str, missing: dict[str, str]) -> None:
    cards.make_device("pci", "0000:5e:00.0", {"sriov_totalvfs": "16"})
    cards.link("bus/pci/devices/0000:5e:00.0", "devices/0000:5e:00.0")
    found = choose(Selector.checked({"physical_function": [PF_NAME, listed]}), "nvidia-711")
    assert ([parent.address for parent in found.parents], found.chosen.missing) == ([A16], missing)
    # It is chosen by, and not listed for its functions: what rests on another one is no concern of it.
    assert found.chosen.cards == set()


def noting(read: list[str], plain: Callable[..., Any], host: Host) -> Callable[..., Any]:
    """A function of os that also notes which path of the host it is called with."""

    def noted(path: str, *rest: Any) -> Any:
        read.append(os.path.relpath(path, host.sys))
        return plain(path, *rest)

    return noted


def test_each_value_is_read_once_and_only_when_it_is_asked_for(cards: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two functions of one card, which has the interfaces."""
    second = "0000:af:00.5"
    parent(cards, "pci", second, TYPES)
    cards.link(f"devices/{second}/physfn", f"devices/{PF}")
    read: list[str] = []
    for name in ("readlink", "open", "listdir"):
        monkeypatch.setattr(os, name, noting(read, getattr(os, name), cards))
    choose(Selector(physical_function=(PF,), interface="ens1f0np0"), "nvidia-230")
    chosen_by = [path for path in read if path.endswith(("/physfn", "/net", "/iommu_group", "/numa_node", "/vendor"))]
    assert sorted(chosen_by) == sorted(
        [
            *(f"devices/{address}/physfn" for address in (T4, A16, second, MTTY)),
            *(f"devices/{address}/net" for address in (T4, A16, second, MTTY)),
            f"devices/{A16}/virtio3/net",
            f"bus/pci/devices/{PF}/net",
        ]
    )


def test_parents_with_the_type(cards: Host) -> None:
    found = choose(Selector(), "nvidia-230")
    assert found.parents == (
        Parent(T4, "pci_0000_3d_00_0", T4, "nvidia-230", "vfio-pci", 16),
        Parent(A16, "pci_0000_af_00_4", "0000:af:00.0", "nvidia-230", "vfio-pci", 16),
    )
    assert found.offers == {MTTY: {"mtty-1": None}}
    assert choose(Selector(addresses=(T4, MTTY)), "GRID T4-1Q") == choose(Selector(addresses=(T4, MTTY)), "nvidia-230")


def test_what_a_whole_card_takes(cards: Host) -> None:
    assert choose(Selector(), "nvidia-711").parents == (
        Parent(A16, "pci_0000_af_00_4", "0000:af:00.0", "nvidia-711", "vfio-pci", 1, most=4),
    )


def test_a_name_that_several_types_have(cards: Host) -> None:
    with pytest.raises(BadInput, match=rf"type: 'GRID T4-1Q' .*\({A16}\) has several types of that name.*nvidia-230"):
        choose(Selector(addresses=(A16,)), "GRID T4-1Q")


@pytest.mark.parametrize("wanted", ["nvidia-9", None])
def test_what_is_offered_instead(cards: Host, wanted: str | None) -> None:
    found = choose(Selector(driver="nvidia"), wanted)
    assert found.parents == ()
    assert found.offers[T4] == {"nvidia-230": "GRID T4-1Q", "nvidia-231": "GRID T4-2Q"}
    assert set(found.offers) == {T4, A16}


def test_what_is_chosen_and_not_registered(cards: Host) -> None:
    selector = Selector.checked({"names": ["pci_0000_99_00_0", "mtty_mtty"], "addresses": ["0000:98:00.0"]})
    assert choose(selector, "mtty-1").chosen.missing == {
        "pci_0000_99_00_0": "there is no such device",
        "0000:98:00.0": "there is no such device",
    }


def test_a_type_that_says_nothing_of_its_room_has_none(cards: Host) -> None:
    cards.attributes(f"devices/{MTTY}/mdev_supported_types/mtty-2", {"device_api": "vfio-pci"})
    assert [parent.free for parent in choose(Selector(), "mtty-2").parents] == [0]


@pytest.mark.parametrize("left", ["N/A", "", "0x10", "-1", "9" * 5000])
def test_a_type_that_says_nonsense_of_its_room_has_none_and_is_told(cards: Host, left: str) -> None:
    file = cards.sys / "devices" / T4 / "mdev_supported_types/nvidia-230/available_instances"
    file.write_text(f"{left}\n")
    found = choose(Selector(), "nvidia-230")
    assert {parent.address: parent.free for parent in found.parents} == {T4: 0, A16: 16}
    (told,) = found.oddities
    assert told.startswith(f"{file} is '{left[:50]}")


@pytest.mark.parametrize("key", ["vendor", "product"])
def test_a_parent_of_an_odd_vendor_is_not_chosen_and_is_told(cards: Host, key: str) -> None:
    for name in (T4, A16):
        (cards.sys / "devices" / name / "vendor").write_text("N/A\n")
    found = choose(Selector(**{key: "0x10de"}), "nvidia-230")
    assert found.parents == ()
    assert [f"/{name}/vendor is 'N/A'" in told for name, told in zip((T4, A16), found.oddities)] == [True, True]


def test_a_card_whose_functions_are_not_there_yet_is_a_card(cards: Host) -> None:
    cards.make_device("pci", "0000:5e:00.0", {"sriov_totalvfs": "16"})
    cards.link("bus/pci/devices/0000:5e:00.0", "devices/0000:5e:00.0")
    found = choose(Selector(names=("pci_0000_5e_00_0", "pci_0000_99_00_0")), "nvidia-230")
    assert found.chosen.cards == {"pci_0000_5e_00_0"}
    assert found.chosen.missing["pci_0000_5e_00_0"] == "it is there, and offers no mediated devices"


def test_what_cannot_be_read_of_others_is_told(cards: Host) -> None:
    for address in mdev_parents.addresses():
        (Path(mdev_parents.BUS) / address).unlink()
    cards.make_device("pci", "0000:5e:00.0", {"class": "0x030200"})
    (cards.sys / "devices" / "0000:5e:00.0" / "class").unlink()
    (cards.sys / "devices" / "0000:5e:00.0" / "class").mkdir()
    cards.link("bus/pci/devices/0000:5e:00.0", "devices/0000:5e:00.0")
    found = choose(Selector(), "nvidia-230")
    assert found.parents == ()
    assert ["EISDIR" in told for told in found.instead] == [True]


texts = st.text(min_size=1)
addresses = st.lists(st.from_regex(r"[a-z0-9]{1,4}(:[0-9]{2})?", fullmatch=True), min_size=1)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "names": addresses,
            "addresses": addresses,
            "driver": texts,
            "vendor": texts,
            "product": texts,
            "numa_node": st.integers(0, 8),
            "physical_function": addresses,
            "iommu_group": st.integers(0, 8),
            "interface": texts,
        },
    )
)
def test_a_selector_is_kept_and_read_back(chosen: dict[str, Any]) -> None:
    selector = Selector.checked(chosen)
    assert selector.document() == chosen
    assert Selector.checked(selector.document()) == selector


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"slot": 1},
            "parents: {'slot': 1} cannot be used: what can be chosen by is: names, addresses, driver, vendor",
        ),
        ({"names": ["../x"]}, "parents: '../x' cannot be used: a device name or address has letters"),
        ({"addresses": [""]}, "parents: '' cannot be used"),
        ({"physical_function": ["a b"]}, "parents: 'a b' cannot be used: a device name or address has letters"),
        ({"physical_function": []}, r"parents: {'physical_function': \[\]} cannot be used: a list without any would"),
        ({"iommu_group": "44"}, "parents.iommu_group: '44' cannot be used: iommu_group is a whole number"),
        ({"iommu_group": True}, "parents.iommu_group: True cannot be used"),
        ({"interface": 3}, "parents.interface: 3 cannot be used: interface is text"),
        ({"addresses": []}, r"parents: {'addresses': \[\]} cannot be used: a list without any would choose every"),
    ],
)
def test_what_is_no_selector(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selector.checked(chosen)


GPU = "0000:01:00.0"
GPU_NAME = f"pci_0000_01_00_0 ({GPU}) is a GPU"


def gpu(host: Host, driver: str | None = "nvidia", **attributes: str) -> None:
    links = {"driver": f"bus/pci/drivers/{driver}"} if driver else {}
    host.make_device("pci", GPU, {"class": "0x030200", **attributes}, links=links)


def functions(host: Host, files: Mapping[str, str]) -> None:
    """Two virtual functions of the GPU."""
    for number in (0, 1):
        host.make_device("pci", f"0000:01:00.{number + 4}", {"class": "0x030200", **files})
        host.link(f"devices/{GPU}/virtfn{number}", f"devices/0000:01:00.{number + 4}")
        host.link(f"devices/0000:01:00.{number + 4}/physfn", f"devices/{GPU}")


def nic(host: Host) -> None:
    host.make_device("pci", "0000:02:00.0", {"class": "0x020000"})


def vendors_own(host: Host) -> None:
    gpu(host)
    functions(host, {"nvidia/current_vgpu_type": "0"})


def with_functions(host: Host) -> None:
    gpu(host)
    functions(host, {})


def subchannels(host: Host) -> None:
    for number in (0, 1):
        host.make_device("css", f"0.0.000{number}")


OFF = "the IOMMU is off: switch the IOMMU on in the firmware"


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (nic, ["no GPU, subchannel or crypto adapter is there"]),
        (lambda host: gpu(host, None), [f"{GPU_NAME} without a driver: install its vendor's driver for vGPU hosts"]),
        (
            lambda host: gpu(host, "vfio-pci"),
            [f"{GPU_NAME} bound to vfio-pci, for a guest to have it whole: bind its own driver to it for vGPUs"],
        ),
        (
            lambda host: gpu(host, "nouveau"),
            [f"{GPU_NAME} with driver nouveau, which offers no types: is it its vendor's driver for vGPU hosts?"],
        ),
        (
            lambda host: gpu(host, sriov_totalvfs="16"),
            [f"{GPU_NAME} with driver nvidia, and none of its 16 virtual functions is enabled"],
        ),
        (
            with_functions,
            [
                f"{GPU_NAME} with driver nvidia and 2 virtual functions, which offers no types: is it its vendor's"
                " driver for vGPU hosts?"
            ],
        ),
        (
            vendors_own,
            [
                f"{GPU_NAME} whose driver nvidia makes vGPUs by nvidia/current_vgpu_type of virtual functions, not by"
                " mediated devices"
            ],
        ),
        (subchannels, ["2 subchannels are there, and none is bound to vfio_ccw"]),
        (lambda host: (host.sys / "bus" / "ap").mkdir(), ["crypto adapters are there, and vfio_ap is not loaded"]),
    ],
)
def test_what_is_there_where_nothing_offers_mediated_devices(
    host: Host, monkeypatch: pytest.MonkeyPatch, made: Callable[[Host], None], found: list[str]
) -> None:
    monkeypatch.setattr(pci, "DEVICES", str(host.sys / "bus" / "pci" / "devices"))
    monkeypatch.setattr(iommu, "CPUINFO", str(host.sys / "cpuinfo"))
    (host.sys / "bus").mkdir()
    made(host)
    for device in (host.sys / "devices").glob("*"):
        subsystem = (device / "subsystem").readlink().name
        host.link(f"bus/{subsystem}/devices/{device.name}", f"devices/{device.name}")
    assert mdev_parents.why_none() == ([*found, OFF] if GPU_NAME in found[0] else found)
    (host.sys / "kernel" / "iommu_groups" / "0").mkdir(parents=True)
    assert mdev_parents.why_none() == found
