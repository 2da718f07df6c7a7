# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest gets of what the modules return: the filters take each result as it is, and nodedev_facts agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter.hostdev_xml import hostdev_xml
from ansible_collections.hostdev.nodedev.plugins.filter.interface_xml import interface_xml
from conftest import Host
from lxml import etree

# A network card with 8 functions, a GPU with 4, an NVMe card with 4.
CARD, GPU, SSD = "0000:3b:00.0", "0000:06:00.0", "0000:81:00.0"
VFS = [{"index": 0, "mac": "02:00:00:00:00:01", "vlan": 100}]
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    return start("functions")


def functions(host: Host, **wish: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = host.done("sriov", numvfs=2, persistent=False, **wish)["sriov"]["functions"]
    return found


def facts(host: Host, name: str) -> dict[str, Any]:
    device: dict[str, Any] = host.done("nodedev_facts", names=[name])["ansible_facts"]["nodedev"]["devices"][name]
    return device


def managed(text: str) -> str | None:
    return etree.fromstring(text).get("managed")


@pytest.mark.parametrize(("driver", "wanted"), [("vfio-pci", "no"), ("iavf", "yes")])
def test_a_network_function(host: Host, driver: str, wanted: str) -> None:
    first, second = functions(host, device=CARD, driver=driver, vfs=VFS)
    assert (first["driver"], first["mac"], first["vlan"]) == (driver, "02:00:00:00:00:01", 100)
    for function in (first, second):
        assert hostdev_xml(function) == hostdev_xml(facts(host, function["name"]))
        assert managed(hostdev_xml(function)) == managed(interface_xml(function)) == wanted
    element = etree.fromstring(interface_xml(first))
    assert [element.find(path).attrib for path in ("mac", "vlan/tag")] == [{"address": first["mac"]}, {"id": "100"}]
    assert etree.fromstring(interface_xml(second)).find("vlan") is None
    # The facts tell neither of them.
    told = facts(host, first["name"])
    assert interface_xml(told, mac=first["mac"], vlan=first["vlan"]) == interface_xml(first)


def test_functions_that_are_foretold(host: Host) -> None:
    """Where it is known where the kernel will put them, their elements are too."""
    foretold = functions(host, device=CARD, driver="vfio-pci", vfs=VFS, check_mode=True)
    made = functions(host, device=CARD, driver="vfio-pci", vfs=VFS)
    assert [*map(hostdev_xml, foretold)] == [*map(hostdev_xml, made)]
    assert interface_xml(foretold[0]) == interface_xml(made[0])


def test_a_function_of_no_network_card(host: Host) -> None:
    function = functions(host, device=SSD, driver="vfio-pci")[0]
    assert managed(hostdev_xml(function)) == "no"
    with pytest.raises(AnsibleFilterError, match=f"{function['name']} is not a function of a network card"):
        interface_xml(function)


def test_a_function_with_a_mediated_device(host: Host) -> None:
    parent = functions(host, device=GPU)[1]
    made = host.done("mdev", uuid=UUID, parent=parent["address"], type="vgpusim-2", persistent=False)
    assert etree.fromstring(hostdev_xml(made["mdev"])).get("type") == "mdev"
    with pytest.raises(AnsibleFilterError, match="carries a mediated device of type vgpusim-2, and a domain gets that"):
        hostdev_xml(functions(host, device=GPU)[1])


def test_a_device_that_is_bound(host: Host) -> None:
    name = functions(host, device=CARD)[0]["name"]
    bound = host.done("driver", device=name, driver="vfio-pci", persistent=False)
    assert hostdev_xml(bound) == hostdev_xml(bound["device"]) == hostdev_xml(facts(host, name))
    assert managed(hostdev_xml(bound)) == "no"
    given_back = host.done("driver", device=name, state="absent")
    assert managed(hostdev_xml(given_back)) == "yes"
