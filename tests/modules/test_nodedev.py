# SPDX-License-Identifier: GPL-3.0-or-later
"""The generic module on the simulated host: libvirt's own XML and names, and what libvirt says afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from ansible_collections.hostdev.nodedev.plugins.modules import nodedev
from conftest import CARD, HERE, OTHER, OTHER_CARD, UUID, Host, Result

NAME = f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"
DEVICE = f"/sys/bus/mdev/devices/{UUID}"
SETTLE_SECONDS = 5.0


def document(*inside: str, parent: str = "pci_0000_3d_00_0", kind: str = "nvidia-231", uuid: str | None = UUID) -> str:
    """A device as a person writes it for nodedev-define, with a name that libvirt ignores."""
    own = f"<uuid>{uuid}</uuid>" if uuid else ""
    capability = f"<capability type='mdev'><type id='{kind}'/>{own}{''.join(inside)}</capability>"
    return f"<device><name>any</name><parent>{parent}</parent>{capability}</device>"


def attr(name: str, value: str) -> str:
    return f"<attr name='{name}' value='{value}'/>"


def made(host: Host, **options: Any) -> Result:
    result = host.module("nodedev", **options)
    assert not result.get("failed"), result
    return result


def refused(host: Host, **options: Any) -> str:
    """The one line of message of a run that must fail and change nothing."""
    before = host.state()
    result = host.module("nodedev", **options)
    assert result.get("failed"), result
    assert host.state() == before
    message = str(result["msg"])
    assert "\n" not in message
    return message


def listed(virsh: Callable[..., str], *options: str) -> list[str]:
    return sorted(virsh("nodedev-list", "--cap", "mdev", *options).split())


def soon(virsh: Callable[..., str], wanted: list[str], *options: str) -> None:
    """libvirt lists these mediated devices, as soon as it has seen mdevctl's folder and udev's event."""
    end = time.monotonic() + SETTLE_SECONDS
    while listed(virsh, *options) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert listed(virsh, *options) == wanted


def test_a_device_by_xml_is_the_mdev_modules(host: Host) -> None:
    text = document(attr("nvidia/vgpu_params", "a=1"))
    checked = made(host, xml=text, check_mode=True)
    first = made(host, xml=text)
    assert checked["plan"] == first["plan"]
    assert first["changed"]
    assert first["mdev"]["name"] == NAME
    assert (first["mdev"]["active"], first["mdev"]["persistent"], first["mdev"]["autostart"]) == (True, True, True)
    assert host.read(f"{DEVICE}/nvidia/vgpu_params") == "a=1\n"
    assert not made(host, xml=text)["changed"]
    same = host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    assert not same["changed"]
    assert made(host, xml=text)["mdev"] == same["mdev"]


def test_states(host: Host) -> None:
    text = document()
    assert made(host, xml=text, state="inactive")["mdev"]["active"] is False
    assert made(host, name=NAME)["plan"] == [f"create mdev {UUID} of type nvidia-231 on {HERE}"]
    assert not made(host, name=NAME)["changed"]
    assert made(host, name=NAME, state="inactive")["plan"] == [f"remove mdev {UUID} of type nvidia-231 from {HERE}"]
    gone = made(host, name=NAME, state="absent")
    assert (gone["mdev"]["active"], gone["mdev"]["persistent"]) == (False, False)
    assert not made(host, name=NAME, state="absent")["changed"]
    assert not made(host, xml=text, state="absent")["changed"]
    transient = made(host, xml=text, persistent=False)["mdev"]
    assert (transient["active"], transient["persistent"]) == (True, False)
    assert made(host, xml=text, state="absent")["plan"] == [f"remove mdev {UUID} of type nvidia-231 from {HERE}"]


def test_attributes_keep_their_order_and_the_document_is_all_of_them(host: Host) -> None:
    pairs = [("nvidia/vgpu_params", "a=1"), ("nvidia/vgpu_params", "b=2")]
    result = made(host, xml=document(*(attr(*pair) for pair in pairs)))
    assert result["mdev"]["attrs"] == [dict([pair]) for pair in pairs]
    assert made(host, xml=document())["mdev"]["attrs"] == []


def test_without_a_uuid_it_is_the_same_device_each_time(host: Host, start: Callable[..., Host]) -> None:
    first = made(host, xml=document(uuid=None))["mdev"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first["uuid"])
    assert not made(host, xml=document(uuid=None))["changed"]
    assert made(start(), xml=document(uuid=None))["mdev"]["uuid"] == first["uuid"]
    other = made(host, xml=document(uuid=None, parent="pci_0000_af_00_0"))["mdev"]
    assert other["uuid"] != first["uuid"]
    # What is known of the device does not move it elsewhere.
    assert made(host, xml=document(attr("nvidia/vgpu_params", "a=1"), uuid=None))["mdev"]["uuid"] == first["uuid"]


def test_libvirts_own_documents_are_taken_back(host: Host) -> None:
    host.mdev(attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.mdev(uuid=OTHER, state="inactive", parent=OTHER_CARD, type="nvidia-232")
    other = f"mdev_{OTHER.replace('-', '_')}_0000_af_00_0"
    with host.libvirtd() as libvirtd:
        documents = {name: libvirtd.virsh("nodedev-dumpxml", name) for name in (NAME, other)}
    assert "<iommuGroup number=" in documents[NAME]
    assert not made(host, xml=documents[NAME])["changed"]
    assert not made(host, xml=documents[other], state="inactive")["changed"]
    host.mdev(state="absent")
    again = made(host, xml=documents[NAME])["mdev"]
    assert (again["name"], again["attrs"]) == (NAME, [{"nvidia/vgpu_params": "a=1"}])


def test_a_device_whose_parent_was_away_is_taken_back(host: Host) -> None:
    away = "0000:77:00.0"
    host.run(["mdevctl", "define", "--uuid", UUID, "--parent", away, "--type", "nvidia-231"])
    with host.libvirtd() as libvirtd:
        text = libvirtd.virsh("nodedev-dumpxml", f"mdev_{UUID.replace('-', '_')}_0000_77_00_0")
    assert "<parent>computer</parent>" in text
    assert not made(host, xml=text, state="inactive", autostart=False)["changed"]
    assert made(host, xml=text, state="absent")["plan"] == [f"undefine mdev {UUID} on {called(away)}"]


def test_libvirt_agrees_after_every_step(host: Host) -> None:
    with host.libvirtd() as libvirtd:
        virsh = libvirtd.virsh
        soon(virsh, [], "--all")
        made(host, xml=document())
        soon(virsh, [NAME])
        soon(virsh, [NAME], "--all")
        made(host, name=NAME, state="inactive")
        soon(virsh, [])
        soon(virsh, [NAME], "--inactive")
        made(host, name=NAME, state="absent")
        soon(virsh, [], "--all")


def test_what_libvirt_makes_of_a_document_is_what_we_want(host: Host) -> None:
    text = document(attr("nvidia/vgpu_params", "a=1"))
    host.write("/run/device.xml", text)
    with host.libvirtd() as libvirtd:
        libvirtd.virsh("nodedev-define", "/run/device.xml")
    same = made(host, xml=text, state="inactive", autostart=False)
    assert not same["changed"]
    with host.libvirtd() as libvirtd:
        soon(libvirtd.virsh, [NAME], "--all")
        libvirtd.virsh("nodedev-start", NAME)
    assert not made(host, xml=text, autostart=False)["changed"]


def test_a_name_means_its_own_parent_only(host: Host) -> None:
    host.mdev()
    elsewhere = NAME.replace("3d", "af")
    assert not made(host, name=elsewhere, state="absent")["changed"]
    assert "no such device runs or is defined here" in refused(host, name=elsewhere)
    assert not made(host, name=NAME.removesuffix("_0000_3d_00_0"))["changed"]
    assert made(host, name=NAME, state="absent")["changed"]
    assert "no such device runs or is defined here" in refused(host, name=NAME)


@pytest.mark.parametrize(
    ("scenario", "parent", "kind"),
    [
        ("mtty", "mtty_mtty", "mtty-2"),
        ("s390x", "ap_matrix", "vfio_ap-passthrough"),
        ("s390x", "css_0_0_0050", "vfio_ccw-io"),
    ],
)
def test_parents_that_are_not_pci(start: Callable[..., Host], scenario: str, parent: str, kind: str) -> None:
    host = start(scenario)
    result = made(host, xml=document(parent=parent, kind=kind))["mdev"]
    assert (result["parent"], result["type"], result["active"]) == (parent, kind, True)
    assert made(host, name=result["name"], state="absent")["changed"]


def test_in_use(host: Host) -> None:
    made(host, xml=document())
    with host.hold(UUID) as pid:
        message = refused(host, name=NAME, state="absent")
    assert f"in use by process {pid} (" in message


def test_the_examples(host: Host) -> None:
    plans = []
    for task in yaml.safe_load(nodedev.EXAMPLES):
        options = task["hostdev.nodedev.nodedev"]
        plans.append([step.split(" ")[0] for step in made(host, **options)["plan"]])
        assert not made(host, **options)["changed"]
    assert plans == [["create", "set", "define"], ["remove"], ["undefine"]]


ENTITIES = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10 if n else 'x' * 10}'>" for n in range(10))
SECRET = "<!DOCTYPE device [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
HOSTILE = {
    "empty": "",
    "not XML": "mdev",
    "not closed": "<device><parent>",
    "an unknown entity": document("&nothing;"),
    "an entity": "<!DOCTYPE device [<!ENTITY e 'x'>]>" + document(attr("a", "&e;")),
    "a file": SECRET + document("&e;"),
    "a file in an attribute": SECRET + document(attr("nvidia/vgpu_params", "&e;")),
    "the network": "<!DOCTYPE device SYSTEM 'http://192.0.2.1/x.dtd'>" + document(),
    "a parameter entity": "<!DOCTYPE device [<!ENTITY % e SYSTEM 'http://192.0.2.1/x.dtd'> %e;]>" + document(),
    "a billion laughs": f"<!DOCTYPE device [{ENTITIES}]>" + document("&e9;"),
    "endless depth": "<device>" * 100_000,
    "endless length": document(" " * (2 << 20)),
    "a NUL": document("\0"),
    "a DTD in UTF-7": "<?xml version='1.0' encoding='utf-7'?>+ADw-!DOCTYPE device SYSTEM 'x'+AD4-" + document(),
    "another root": document().replace("device>", "domain>"),
    "two roots": document() * 2,
    "no capability": "<device><parent>pci_0000_3d_00_0</parent></device>",
    "an empty capability": "<device><parent>pci_0000_3d_00_0</parent><capability/></device>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents(host: Host, text: str) -> None:
    before = time.monotonic()
    message = refused(host, xml=text)
    assert message.startswith("xml: ")
    assert "root:" not in message
    assert len(message) < 500
    assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document().replace("type='mdev'", "type='net'"), "the kinds of devices that can be made are: mdev"),
        (document().replace("<type id='nvidia-231'/>", ""), "a mediated device has a <type> with an id"),
        (document().replace(" id='nvidia-231'", ""), "a mediated device has a <type> with an id"),
        (
            document(kind="nvidia-999"),
            "type: 'nvidia-999' cannot be used: pci_0000_3d_00_0 (0000:3d:00.0) has the types: nvidia-230",
        ),
        (document(kind="../create"), "type: '../create' cannot be used"),
        (document(parent=""), "by libvirt's name such as pci_0000_06_00_0"),
        (document(parent="computer"), "by libvirt's name such as pci_0000_06_00_0"),
        (document(parent="../x"), "by libvirt's name such as pci_0000_06_00_0"),
        (document(parent=CARD), "by libvirt's name such as pci_0000_06_00_0"),
        (
            document(parent="pci_0000_77_00_0"),
            "parent: 'pci_0000_77_00_0' cannot be used: there is no such device; the reg",
        ),
        (document(uuid="x"), "xml: 'x' cannot be used: <uuid> holds a UUID"),
        (document("<attr name='a'/>"), "an <attr> has a name and a value"),
        (document("<attr/>"), "an <attr> has a name and a value"),
        (document(attr("../remove", "1")), "attrs: '../remove' cannot be used"),
        (document(attr("nvidia/vgpu_params", "")), "attrs: {'nvidia/vgpu_params': ''} cannot be used"),
    ],
)
def test_bad_documents(host: Host, text: str, message: str) -> None:
    assert message in refused(host, xml=text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the following is required: xml, name"),
        ({"xml": document(), "name": NAME}, "parameters are mutually exclusive: xml|name"),
        ({"name": "pci_0000_3d_00_0"}, "the kinds of devices that can be made are: mdev"),
        ({"name": ""}, "the kinds of devices that can be made are: mdev"),
        ({"name": "mdev_x"}, "a mediated device is named mdev_, its UUID and its parent's address"),
        ({"name": NAME.upper()}, "the kinds of devices that can be made are: mdev"),
        ({"name": f"{NAME}/.."}, "a mediated device is named mdev_"),
        ({"xml": document(), "state": "inactive", "persistent": False}, "the definition is all that is kept"),
        ({"xml": document(), "wait_timeout": -1}, "a number of seconds, 0 or more"),
    ],
)
def test_bad_input(host: Host, options: dict[str, Any], message: str) -> None:
    assert message in refused(host, **options)


def test_lxml_is_needed_for_a_document_alone(
    host: Host, library: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made(host, xml=document())
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "lxml.py").write_text("raise ImportError('no module')\n")
    host.library, host.prepares = f"{hidden}:{library}", False
    assert "Failed to import the required Python library (lxml)" in refused(host, xml=document())
    assert made(host, name=NAME, state="absent")["changed"]
