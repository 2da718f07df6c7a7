# SPDX-License-Identifier: GPL-3.0-or-later
"""vHBAs in libvirt's words on the simulated host: documents and names, libvirt's own devices, facts, domains' XML."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.filter.disk_xml import disk_xml
from ansible_collections.hostdev.nodedev.plugins.filter.hostdev_xml import hostdev_xml
from ansible_collections.hostdev.nodedev.plugins.filter.storage_pool_xml import storage_pool_xml
from conftest import ROOT, Host, Result
from lxml import etree
from simhost.libvirt import Libvirtd

WWNN, WWPN = "5001a4a1000000a3", "5001a4a0000000a3"
# A pair that sees LUNs, one of which a multipath map is built on.
USED = {"wwnn": "5001a4a1000000a1", "wwpn": "5001a4a0000000a1"}
HBA = {"scsi_host3": ("20000090fa1234a0", "10000090fa1234a0"), "scsi_host4": ("20000090fa1234a1", "10000090fa1234a1")}
FABRICS = {"scsi_host3": "100000051e000001", "scsi_host4": "100000051e000002"}
NAMED = "<parent>scsi_host3</parent>"
CREATE = f"create vHBA {WWPN} (WWNN {WWNN}) on scsi_host3 (WWPN {HBA['scsi_host3'][1]})"
DELETE = f"delete vHBA {WWPN} (WWNN {WWNN}) from scsi_host3 (WWPN {HBA['scsi_host3'][1]})"
DEFINE = f"define vHBA {WWPN} (WWNN {WWNN}) on the HBA with WWPN {HBA['scsi_host3'][1]}"
SETTLE_SECONDS = 5.0


def document(parent: str = NAMED, wwnn: str | None = WWNN, wwpn: str | None = WWPN) -> str:
    """A vHBA as a person writes it for nodedev-create."""
    names = "".join(f"<{key}>{name}</{key}>" for key, name in (("wwnn", wwnn), ("wwpn", wwpn)) if name)
    port = f"<capability type='fc_host'>{names}</capability>"
    return f"<device>{parent}<capability type='scsi_host'>{port}</capability></device>"


def by_wwns(hba: str) -> str:
    return "<parent wwnn='{}' wwpn='{}'/>".format(*HBA[hba])


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A host with Fibre Channel HBAs."""
    return start("fc")


class Virsh:
    """virsh with a way to give it a document."""

    def __init__(self, host: Host, libvirtd: Libvirtd) -> None:
        self.host = host
        self.libvirtd = libvirtd

    def __call__(self, *arguments: str) -> str:
        return self.libvirtd.virsh(*arguments)

    def create(self, text: str) -> str:
        """The name of the device that libvirt makes of a document."""
        self.host.write("/run/device.xml", text)
        return self("nodedev-create", "/run/device.xml").split()[2]

    def vhbas(self) -> list[str]:
        """The names of all vHBAs."""
        return sorted(set(self("nodedev-list", "--cap", "fc_host").split()) - set(self.hbas()))

    def hbas(self) -> list[str]:
        return [f"scsi_host{number}" for number in range(3, 8)]

    def soon(self, names: list[str]) -> None:
        """libvirt lists these vHBAs, as soon as it has seen udev's event."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.vhbas() != names and time.monotonic() < end:
            time.sleep(0.05)
        assert self.vhbas() == names


@pytest.fixture
def virsh(host: Host) -> Iterator[Virsh]:
    """virsh on that host, for as long as its libvirtd runs."""
    with host.libvirtd() as libvirtd:
        yield Virsh(host, libvirtd)


def made(host: Host, module: str = "nodedev", /, **options: Any) -> Result:
    result = host.module(module, **options)
    assert not result.get("failed"), result
    return result


def state(host: Host) -> str:
    """All that the module may change: which ports there are, where and under which names, and what is defined."""
    look = (
        "for port in /sys/class/fc_host/*; do readlink -f $port; cat $port/port_name $port/node_name; done;"
        "find /etc/nodedev.d -type f 2>/dev/null | sort | xargs -r tail -n +1"
    )
    return host.run(["sh", "-c", look]).stdout


def refused(host: Host, **options: Any) -> str:
    """The one line of message of a run that must fail and change nothing."""
    before = state(host)
    result = host.module("nodedev", **options)
    assert result.get("failed"), result
    assert state(host) == before
    message = str(result["msg"])
    assert "\n" not in message
    return message


def facts(host: Host, **options: Any) -> dict[str, Any]:
    devices: dict[str, Any] = made(host, "nodedev_facts", **options)["ansible_facts"]["nodedev"]["devices"]
    return devices


def canonical(text: str) -> bytes:
    parsed = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(parsed, method="c14n")


def test_a_vhba_by_xml_is_the_vhba_modules(host: Host) -> None:
    checked = made(host, xml=document(), check_mode=True)
    first = made(host, xml=document())
    assert checked["plan"] == first["plan"] == [CREATE, DEFINE]
    vhba = first["vhba"]
    assert (vhba["name"], vhba["parent"], vhba["active"], vhba["persistent"]) == (
        "scsi_host8",
        "scsi_host3",
        True,
        True,
    )
    assert (vhba["parent_wwnn"], vhba["parent_wwpn"]) == HBA["scsi_host3"]
    again = made(host, xml=document())
    assert (again["changed"], again["vhba"]) == (False, vhba)
    same = made(host, "vhba", wwnn=WWNN, wwpn=WWPN)
    assert (same["changed"], same["vhba"]) == (False, vhba)


def test_states(host: Host) -> None:
    text = document()
    assert made(host, xml=text, state="inactive")["plan"] == [DEFINE]
    assert made(host, xml=text)["plan"] == [CREATE]
    assert not made(host, name="scsi_host8")["changed"]
    assert made(host, name="scsi_host8", state="inactive")["plan"] == [DELETE]
    gone = made(host, name="scsi_host8", state="absent")
    assert (gone["changed"], gone["vhba"]) == (False, None)
    assert made(host, xml=text, state="absent")["plan"] == [f"undefine vHBA {WWPN}"]
    assert not made(host, xml=text, state="absent")["changed"]
    transient = made(host, xml=text, persistent=False)["vhba"]
    assert (transient["name"], transient["persistent"]) == ("scsi_host9", False)
    assert made(host, name="scsi_host9")["plan"] == [DEFINE]
    assert made(host, name="scsi_host9", state="absent")["plan"] == [f"undefine vHBA {WWPN}", DELETE]


@pytest.mark.parametrize(
    ("parent", "hba"),
    [
        (by_wwns("scsi_host4"), "scsi_host4"),
        (f"<parent fabric_wwn='{FABRICS['scsi_host4']}'/>", "scsi_host4"),
        (by_wwns("scsi_host4").replace("/>", ">scsi_host3</parent>"), "scsi_host3"),
        (by_wwns("scsi_host4").replace("/>", f" fabric_wwn='{FABRICS['scsi_host3']}'/>"), "scsi_host4"),
    ],
)
def test_the_parent_is_libvirts(host: Host, virsh: Virsh, parent: str, hba: str) -> None:
    assert made(host, xml=document(parent), persistent=False)["vhba"]["parent"] == hba
    made(host, xml=document(parent), state="absent")
    virsh.soon([])
    assert f"<parent>{hba}</parent>" in virsh("nodedev-dumpxml", virsh.create(document(parent)))
    assert not made(host, xml=document(parent), persistent=False)["changed"]


def test_libvirt_makes_the_same_vhba(host: Host, start: Callable[..., Host], virsh: Virsh) -> None:
    """Two hosts alike, on one of which libvirt makes what this module makes on the other."""
    name = virsh.create(document())
    other = start("fc")
    ours = made(other, xml=document(), persistent=False)["vhba"]
    assert (ours["name"], ours["parent"]) == (name, "scsi_host3")
    with other.libvirtd() as libvirtd:
        for words in (("nodedev-dumpxml", name), ("nodedev-dumpxml", "scsi_host3"), ("nodedev-list", "--tree")):
            assert libvirtd.virsh(*words) == virsh(*words)
    written = facts(other, names=[name], xml=True)[name]["xml"]
    assert canonical(written) == canonical(virsh("nodedev-dumpxml", name))


def test_each_takes_the_others_vhba_for_its_own(host: Host, virsh: Virsh) -> None:
    name = virsh.create(document())
    seen = made(host, xml=document(), persistent=False)
    assert (seen["changed"], seen["vhba"]["name"]) == (False, name)
    assert made(host, xml=document(), state="absent")["plan"] == [DELETE]
    virsh.soon([])
    ours = made(host, xml=document(), persistent=False)["vhba"]["name"]
    virsh.soon([ours])
    virsh("nodedev-destroy", ours)
    assert made(host, xml=document(), persistent=False)["plan"] == [CREATE]


def test_libvirts_own_documents_are_taken_back(host: Host, virsh: Virsh) -> None:
    ours = made(host, xml=document())["vhba"]["name"]
    offline = made(host, "vhba", name="late", parent="scsi_host5", require_online=False)["vhba"]["name"]
    virsh.soon(sorted([ours, offline]))
    for name in (ours, offline):
        assert not made(host, xml=virsh("nodedev-dumpxml", name))["changed"]
        assert not made(host, name=name)["changed"]
    text = virsh("nodedev-dumpxml", ours)
    made(host, xml=text, state="absent")
    assert made(host, xml=text)["plan"] == [CREATE, DEFINE]


def test_without_wwns_it_is_the_same_vhba_each_time(host: Host, start: Callable[..., Host]) -> None:
    text = document(by_wwns("scsi_host3"), None, None)
    first = made(host, xml=text)["vhba"]
    assert first["wwnn"].startswith("5001a4a")
    assert first["wwpn"].startswith("5001a4a")
    again = made(host, xml=text)
    assert (again["changed"], again["vhba"]) == (False, first)
    other = made(host, xml=document(by_wwns("scsi_host4"), None, None))["vhba"]
    assert not {other["wwnn"], other["wwpn"]} & {first["wwnn"], first["wwpn"]}
    elsewhere = start("fc")
    elsewhere.run(["sh", "-c", "echo 00112233445566778899aabbccddeeff > /etc/machine-id"])
    third = made(elsewhere, xml=text)["vhba"]
    assert not {third["wwnn"], third["wwpn"]} & {first["wwnn"], first["wwpn"]}


def test_without_wwns_and_parent_it_stays_where_it_is(host: Host) -> None:
    text = document("", None, None)
    first = made(host, xml=text)
    assert first["vhba"]["parent"] == "scsi_host3"
    assert first["hindrances"]["scsi_host5"] == "its port is Linkdown, not Online"
    # Now another HBA has more room.
    assert made(host, xml=text, state="inactive")["changed"]
    made(host, xml=document())
    assert made(host, xml=text)["vhba"]["parent"] == "scsi_host3"


def test_a_port_whose_link_is_down(host: Host, virsh: Virsh) -> None:
    text = document("<parent>scsi_host5</parent>")
    message = refused(host, xml=text)
    assert "scsi_host5: its port is Linkdown, not Online; require_online: false makes it" in message
    # libvirt does not look.
    virsh("nodedev-destroy", virsh.create(text))
    made(host, xml=text, require_online=False)
    assert not made(host, xml=text)["changed"]


def test_a_vhba_in_use(host: Host) -> None:
    name = made(host, xml=document(**USED), persistent=False)["vhba"]["name"]
    host.write("/proc/1/mountinfo", host.read("/proc/1/mountinfo") + "40 21 253:0 / /srv rw - xfs x rw\n")
    message = refused(host, name=name, state="absent")
    assert f"vHBA {USED['wwpn']} ({name}) is in use" in message
    assert "multipath map mpatha" in message
    assert made(host, name=name, state="absent", force=True)["plan"][-1].startswith(f"delete vHBA {USED['wwpn']}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            document("<parent>scsi_host0</parent>"),
            "parent: 'scsi_host0' cannot be used: scsi_host0 is not a Fibre Channel HBA",
        ),
        (document("<parent>scsi_host77</parent>"), "scsi_host77 is not there; the HBAs with NPIV are: scsi_host3"),
        (document("<parent>scsi_host7</parent>"), "scsi_host7: it has no NPIV"),
        (document("<parent>pci_0000_04_00_0</parent>"), "the <parent> of a vHBA is its HBA"),
        (document("<parent>computer</parent>"), "the <parent> of a vHBA is its HBA"),
        (document("<parent wwnn='20000090fa1234a0'/>"), "named by wwnn or wwpn has both"),
        (
            document("<parent wwnn='20000090fa1234a1' wwpn='10000090fa1234a0'/>"),
            "parent_wwpn: '10000090fa1234a0' cannot",
        ),
        (document("<parent fabric_wwn='100000051e0000ff'/>"), "parent_fabric_wwn: '100000051e0000ff' cannot be used"),
        (document(wwpn=HBA["scsi_host4"][1]), "it is the port's own name of HBA scsi_host4"),
        (document(wwpn="f" * 16), "stands for no port"),
        (document(wwnn="5001"), "wwnn: '5001' cannot be used"),
        (document().replace("fc_host", "vport_ops"), "a vHBA has a <capability type='fc_host'>"),
        (
            document().replace("type='scsi_host'", "type='scsi'"),
            "kinds of devices that can be made are: mdev, scsi_host",
        ),
    ],
)
def test_bad_documents(host: Host, text: str, message: str) -> None:
    assert message in refused(host, xml=text)


def test_an_hbas_own_document(host: Host, virsh: Virsh) -> None:
    assert "the <parent> of a vHBA is its HBA" in refused(host, xml=virsh("nodedev-dumpxml", "scsi_host3"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "scsi_host3"}, "it is an HBA (WWPN 10000090fa1234a0), not a vHBA"),
        ({"name": "scsi_host3", "state": "absent", "force": True}, "it is an HBA (WWPN 10000090fa1234a0), not a vHBA"),
        ({"name": "scsi_host0", "state": "absent"}, "it is a SCSI host without Fibre Channel, not a vHBA"),
        ({"name": "scsi_host77"}, "no such SCSI host is there"),
        ({"name": "scsi_host"}, "a vHBA is named scsi_host and the number"),
        ({"name": "scsi_target3_0_0"}, "the kinds of devices that can be made are: mdev, scsi_host"),
        ({"xml": document(), "autostart": False}, "a vHBA that is defined is there after every boot"),
        ({"xml": document(), "state": "inactive", "persistent": False}, "the definition is all that is kept"),
    ],
)
def test_bad_input(host: Host, options: dict[str, Any], message: str) -> None:
    assert message in refused(host, **options)


def test_a_vhba_on_another_hba_is_not_replaced(host: Host) -> None:
    made(host, xml=document())
    message = refused(host, xml=document("<parent>scsi_host4</parent>"), replace=True)
    assert "is on scsi_host3 (WWPN 10000090fa1234a0), not where it is asked for, parent scsi_host4" in message


def test_facts_of_hbas_and_vhbas(host: Host) -> None:
    made(host, xml=document(**USED))
    found = {name: device["extra"] for name, device in facts(host, capabilities=["fc_host"]).items()}
    told = made(host, "vhba_facts")["ansible_facts"]["vhba"]
    assert set(found) == {*told["hbas"], *told["vhbas"]}
    of_hba = ("port_state", "port_type", "free_vports", "vhbas", "hindrance", "targets", "luns")
    for name, hba in told["hbas"].items():
        assert found[name] == {key: hba[key] for key in of_hba}
    of_vhba = ("port_state", "port_type", "vport", "vport_state", "targets", "luns")
    for name, vhba in told["vhbas"].items():
        definition = {"parent_wwpn": HBA["scsi_host3"][1], "require_online": True}
        assert found[name] == {**{key: vhba[key] for key in of_vhba}, "definition": definition}
    assert (found["scsi_host3"]["vhbas"], found["scsi_host3"]["free_vports"]) == (["scsi_host8"], 3)
    assert found["scsi_host5"]["hindrance"] == "its port is Linkdown, not Online"
    assert len(found["scsi_host8"]["luns"]) == 3
    assert "extra" not in facts(host, names=["scsi_host0"])["scsi_host0"]


def test_facts_by_persistence(host: Host) -> None:
    made(host, xml=document())
    made(host, xml=document(**USED), persistent=False)
    vhbas = {"scsi_host8", "scsi_host9"}
    assert vhbas & set(facts(host, persistence="persistent")) == {"scsi_host8"}
    assert vhbas & set(facts(host, persistence="transient")) == {"scsi_host9"}


def test_what_a_domain_and_a_pool_get(host: Host) -> None:
    result = made(host, "vhba", **USED)
    lun = result["vhba"]["luns"][1]
    assert f'<source dev="{lun["by_path"]}" />' in disk_xml(lun, "sda")
    # The element of the same unit in nodedev_facts.
    name = f"scsi_{lun['address'].replace(':', '_')}"
    assert hostdev_xml(lun) == hostdev_xml(facts(host, names=[name])[name])
    pool = storage_pool_xml(result, "images")
    assert 'parent_wwnn="20000090fa1234a0" parent_wwpn="10000090fa1234a0"' in pool
    vhba = made(host, "vhba_facts")["ansible_facts"]["vhba"]["vhbas"][result["vhba"]["name"]]
    assert storage_pool_xml(vhba, "images") == pool


def test_the_documented_task(host: Host) -> None:
    """The task in docs/nodedev.md; the module's own examples run on a host with mediated devices."""
    page = (ROOT / "docs" / "nodedev.md").read_text()
    (task,) = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    assert made(host, **task["hostdev.nodedev.nodedev"])["vhba"]["parent"] == "scsi_host3"
