# SPDX-License-Identifier: GPL-3.0-or-later
"""The mdev_types_facts module on the simulated host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import CARD, HERE, OTHER, OTHER_CARD, THERE, UUID, Host, warnings

NAME, OTHER_NAME = "pci_0000_3d_00_0", "pci_0000_af_00_0"


def facts(host: Host, **options: Any) -> dict[str, Any]:
    result = host.module("mdev_types_facts", **options)
    assert result["changed"] is False
    known: dict[str, Any] = result["ansible_facts"]["mdev_types"]
    return known


def test_all_there_is(host: Host) -> None:
    host.mdev()
    host.mdev(uuid=OTHER, parent=CARD)
    known = facts(host)
    assert list(known) == [NAME, OTHER_NAME]
    card = known[NAME]
    assert {key: card[key] for key in ("name", "address", "driver", "numa_node", "iommu_group")} == {
        "name": NAME,
        "address": CARD,
        "driver": "nvidia",
        "numa_node": 0,
        "iommu_group": 30,
    }
    assert card["path"].endswith(f"/{CARD}")
    assert card["vendor"] == {"id": "0x10de", "name": "NVIDIA Corporation"}
    assert card["product"] == {"id": "0x1eb8", "name": "TU104GL [Tesla T4]"}
    assert card["types"]["nvidia-231"] == {
        "name": "GRID T4-2Q",
        "device_api": "vfio-pci",
        "available_instances": 6,
        "description": "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=8",
        "instances": [UUID, OTHER],
    }
    assert known[OTHER_NAME]["types"]["nvidia-231"]["instances"] == []


@pytest.mark.parametrize(
    ("options", "parents", "types"),
    [
        ({"parent": NAME}, [NAME], 5),
        ({"parent": OTHER_CARD}, [OTHER_NAME], 5),
        ({"parent": f"0000{OTHER_CARD.upper()}"}, [OTHER_NAME], 5),
        ({"parent": "pci_0000_3b_00_0"}, [], 0),
        ({"driver": "nvidia"}, [NAME, OTHER_NAME], 5),
        ({"driver": "mlx5_core"}, [], 0),
        ({"type": "nvidia-231"}, [NAME, OTHER_NAME], 1),
        ({"type": "GRID T4-2Q"}, [NAME, OTHER_NAME], 1),
        ({"type": "GRID T4-2Q", "parent": CARD}, [NAME], 1),
        ({"type": "nvidia-2"}, [], 0),
    ],
)
def test_narrowed(host: Host, options: dict[str, str], parents: list[str], types: int) -> None:
    known = facts(host, **options)
    assert list(known) == parents
    assert {len(parent["types"]) for parent in known.values()} <= {types}


AVAILABLE = f"/sys/class/mdev_bus/{CARD}/mdev_supported_types/nvidia-231/available_instances"
OF_CARD = f"/sys/bus/pci/devices/{CARD}"


def odd(host: Host, **options: Any) -> tuple[dict[str, Any], str]:
    """The facts and the only warning."""
    result = host.done("mdev_types_facts", **options)
    (told,) = warnings(result)
    known: dict[str, Any] = result["ansible_facts"]["mdev_types"]
    return known, told


@pytest.mark.parametrize("value", ["N/A", "", "0x10", "-1", "9" * 4000])
def test_a_number_that_is_none_is_one_warning(host: Host, value: str) -> None:
    before = facts(host)
    host.fault(AVAILABLE, op="read", content=f"{value}\n")
    known, told = odd(host)
    assert "available_instances" not in known[NAME]["types"]["nvidia-231"]
    before[NAME]["types"]["nvidia-231"].pop("available_instances")
    assert known == before
    assert "nvidia-231/available_instances is '" in told
    assert value[:100] in told


def test_a_node_that_is_none_is_one_warning(host: Host) -> None:
    before = facts(host)
    host.fault(f"{OF_CARD}/numa_node", op="read", content="\n")
    known, told = odd(host)
    before[NAME].pop("numa_node")
    assert known == before
    assert told.endswith(f"/{CARD}/numa_node is '', which is not a number that makes sense there")


@pytest.mark.parametrize("file", ["vendor", "mdev_supported_types/nvidia-231/name"])
def test_what_cannot_be_read_is_one_warning(host: Host, file: str) -> None:
    host.fault(f"{OF_CARD}/{file}", op="read", errno="EIO")
    known, told = odd(host)
    assert list(known) == [NAME, OTHER_NAME]
    assert f"{file} failed with EIO" in told


@pytest.mark.parametrize("errno", ["ELOOP", "EACCES"])
@pytest.mark.parametrize(
    ("op", "path", "left"),
    [
        ("read", f"{OF_CARD}/driver", [NAME, OTHER_NAME]),
        ("read", f"class/mdev_bus/{CARD}", [OTHER_NAME]),
        ("list", f"{OF_CARD}/mdev_supported_types", [NAME, OTHER_NAME]),
        ("list", f"{OF_CARD}/mdev_supported_types/nvidia-231/devices", [NAME, OTHER_NAME]),
        ("list", "/sys/class/mdev_bus", []),
    ],
)
def test_a_folder_or_link_that_cannot_be_read_is_one_warning(
    host: Host, errno: str, op: str, path: str, left: list[str]
) -> None:
    # Through a path of the class, a rule would stand for the device.
    host.fault(path.removeprefix("/sys/") if path.startswith("/sys/class") else path, op=op, errno=errno)
    known, told = odd(host)
    assert list(known) == left
    assert f"failed with {errno}" in told


def test_texts_that_are_not_utf_8(host: Host) -> None:
    for name in ("name", "description", "device_api"):
        host.fault(f"{OF_CARD}/mdev_supported_types/nvidia-231/{name}", op="read", content="T4\udcff\udcfe\x1b[31m\n")
    known = facts(host)[NAME]["types"]["nvidia-231"]
    for name in ("name", "description", "device_api"):
        assert known[name] == "T4\ufffd\ufffd\x1b[31m"


def test_a_vendors_name_with_a_slash(start: Callable[..., Host]) -> None:
    host = start("s390x")
    name = "I/O subchannel (Non-QDIO)"
    host.fault("vfio_ccw-io/name", op="read", content=f"{name}\n")
    known = facts(host, type=name)
    assert known
    parent = next(iter(known.values()))
    assert parent["types"]["vfio_ccw-io"]["name"] == name
    made = host.done("mdev", uuid=UUID, parent=parent["name"], type=name)["mdev"]
    assert (made["type"], made["active"]) == ("vfio_ccw-io", True)
    pool = host.pool(type=name, count=1, adopt=True)
    assert [each["type"] for each in pool["instances"]] == ["vfio_ccw-io"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"parent": "pci_0000_3b_00_0"},
            "parent 'pci_0000_3b_00_0'; it is there with driver mlx5_core, and offers no mediated devices; the"
            f" registered parents are: {HERE}, {THERE}",
        ),
        ({"driver": "nvida"}, f"driver 'nvida'; the registered parents are: {HERE}, {THERE}; did you mean 'nvidia'?"),
        (
            {"parent": "pci_0000_3d_00_0", "driver": "x"},
            f"parent 'pci_0000_3d_00_0' and driver 'x'; the registered parents are: {HERE}, {THERE}",
        ),
        ({"type": "grid t4-2q"}, f"type 'grid t4-2q'; did you mean 'GRID T4-2Q'?; {HERE}, {THERE} have the types: "),
        ({"type": "x", "parent": CARD}, f"parent '{CARD}' and type 'x'; {HERE}, {THERE} have the types: nvidia-230"),
    ],
)
def test_what_is_not_there_is_a_warning(host: Host, options: dict[str, str], told: str) -> None:
    (warning,) = warnings(host.module("mdev_types_facts", **options))
    assert warning.startswith(f"no parent is found by {told}")


def test_a_host_without_parents_is_told_what_is_there(start: Callable[..., Host]) -> None:
    host = start("no-mdev")
    found = host.module("mdev_types_facts")
    assert found["ansible_facts"]["mdev_types"] == {}
    assert found["hint"][0].startswith(
        "pci_0000_00_02_0 (0000:00:02.0) is a GPU with driver bochs-drm, which offers no"
    )
    assert warnings(found) == []
    (warning,) = warnings(host.module("mdev_types_facts", type="x"))
    assert warning.startswith(
        "no parent is found by type 'x'; no device on this host offers mediated devices; pci_0000_"
    )


def test_a_host_with_parents_has_no_hint(host: Host) -> None:
    assert "hint" not in host.module("mdev_types_facts")
