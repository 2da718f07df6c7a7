# SPDX-License-Identifier: GPL-3.0-or-later
"""What a document or a name of a vHBA means as a wish: a table, on a host made of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import fc_port, machine
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import device as vhba
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import document as vhba_wish
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.definition import Definition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.device import Wish, names_of
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba.parent import Asked
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt import xml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from devices import Host

WWNN, WWPN = "5001a4a1000000a1", "5001a4a0000000a1"
HBA_WWNN, HBA_WWPN, FABRIC = "20000090fa1234a0", "10000090fa1234a0", "100000051e000001"
BOTH = f"<wwnn>{WWNN}</wwnn><wwpn>{WWPN}</wwpn>"
NAMED = "<parent>scsi_host5</parent>"
BY_WWNS = f"<parent wwnn='{HBA_WWNN}' wwpn='{HBA_WWPN}'/>"
BY_FABRIC = f"<parent fabric_wwn='{FABRIC}'/>"
MACHINE = "0123456789abcdef0123456789abcdef"


def device(inside: str = BOTH, parent: str = NAMED, beside: str = "") -> dict[str, Any]:
    port = f"<capability type='fc_host'>{inside}</capability>"
    return xml.from_xml(f"<device>{parent}<capability type='scsi_host'>{beside}{port}</capability></device>")


@pytest.fixture(autouse=True)
def host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """An HBA as host3 with a vHBA as host9, a disk controller as host0."""
    monkeypatch.setattr(files, "STORE", str(host.root / "nodedev.d"))
    monkeypatch.setattr(machine, "MACHINE_ID", str(host.root / "machine-id"))
    (host.root / "machine-id").write_text(f"{MACHINE}\n")
    for name in ("PORTS", "SCSI_HOSTS"):
        monkeypatch.setattr(fc_port, name, getattr(fc_port, name).replace("/sys", str(host.sys)))
    for number, below, names in (
        (3, "pci0/host3", (HBA_WWNN, HBA_WWPN)),
        (9, "pci0/host3/vport-3:0-0/host9", (WWNN, WWPN)),
    ):
        folder = f"devices/{below}/fc_host/host{number}"
        host.attributes(folder, dict(zip(("node_name", "port_name"), (f"0x{name}" for name in names))))
        host.link(f"{folder}/device", f"devices/{below}")
        host.link(f"class/fc_host/host{number}", folder)
    host.link("class/scsi_host/host0", "devices/pci1/host0/scsi_host/host0")
    return host


def test_all_that_a_document_says() -> None:
    wish = vhba_wish.from_device(device(), state="inactive", force=True, wait_timeout=5, persistent=True)
    assert wish == Wish(
        wwnn=WWNN, wwpn=WWPN, asked=Asked(parent="scsi_host5"), state="inactive", force=True, wait_timeout=5
    )


@pytest.mark.parametrize(
    ("parent", "asked"),
    [
        ("", Asked()),
        ("<parent/>", Asked()),
        ("<parent><a/></parent>", Asked()),
        ("<parent wwnn='' wwpn='' fabric_wwn=''/>", Asked()),
        (NAMED, Asked(parent="scsi_host5")),
        (BY_WWNS, Asked(wwnn=HBA_WWNN, wwpn=HBA_WWPN)),
        (BY_WWNS.upper().replace("PARENT", "parent").replace("WWNN", "wwnn").replace("WWPN", "wwpn"), None),
        (BY_FABRIC, Asked(fabric_wwn=FABRIC)),
        # Of several, libvirt takes the first in this order.
        (f"<parent wwnn='{HBA_WWNN}' wwpn='{HBA_WWPN}' fabric_wwn='{FABRIC}'>scsi_host5</parent>", Asked("scsi_host5")),
        (f"<parent wwnn='{HBA_WWNN}' wwpn='{HBA_WWPN}' fabric_wwn='{FABRIC}'/>", Asked(None, HBA_WWNN, HBA_WWPN)),
        (f"{NAMED}<parent>scsi_host6</parent>", Asked(parent="scsi_host5")),
    ],
)
def test_the_parent(parent: str, asked: Asked | None) -> None:
    wanted = Asked(wwnn=HBA_WWNN, wwpn=HBA_WWPN) if asked is None else asked
    assert vhba_wish.from_device(device(parent=parent)).asked == wanted


def test_what_libvirt_ignores_is_ignored() -> None:
    more = f"<name>scsi_host8</name><path>/sys/x</path>{NAMED}"
    inside = f"{BOTH}<fabric_wwn>{FABRIC}</fabric_wwn>"
    said = device(inside, more, "<host>8</host><unique_id>0</unique_id>")
    assert vhba_wish.from_device(said) == vhba_wish.from_device(device())


def test_names_in_any_notation() -> None:
    said = device("<wwnn>50:01:A4:A1:00:00:00:A1</wwnn><wwpn>0x5001A4A0000000A1</wwpn>")
    assert vhba_wish.from_device(said) == vhba_wish.from_device(device())


def test_a_comment_changes_nothing() -> None:
    said = device(
        f"<wwnn>{WWNN}<!-- node --></wwnn><wwpn><!-- zoned -->{WWPN}</wwpn>", "<parent><?c?>scsi_host5</parent>"
    )
    assert vhba_wish.from_device(said) == vhba_wish.from_device(device())


@pytest.mark.parametrize("last", ["", BOTH, f"<wwpn>{WWPN}</wwpn>"])
def test_of_two_fc_hosts_the_last_counts(last: str) -> None:
    first = "<capability type='fc_host'><wwnn>5001a4a1000000a2</wwnn><wwpn>5001a4a0000000a2</wwpn></capability>"
    vports = "<capability type='vport_ops'/>"
    said = device(last, beside=first + vports)
    assert vhba_wish.from_device(said) == vhba_wish.from_device(device(last))


def test_derived_names_never_change() -> None:
    wish = vhba_wish.from_device(device(""))
    # Written out, since other values would make every such vHBA anew.
    assert names_of(wish) == ("5001a4a36a83faf0", "5001a4ae7c965d55")
    assert vhba_wish.from_device(device("<wwnn/><wwpn></wwpn>")) == wish


def test_derived_names_differ_by_host_and_by_what_the_document_says(host: Host) -> None:
    parents = ("", NAMED, "<parent>scsi_host6</parent>", BY_WWNS, BY_FABRIC)
    insides = ("", f"<wwnn>{WWNN}</wwnn>", f"<wwpn>{WWPN}</wwpn>", "<wwpn>5001a4a0000000a2</wwpn>")
    documents = [device(inside, parent) for inside in insides for parent in parents]
    pairs = [names_of(vhba_wish.from_device(document)) for document in documents]
    assert len(set(pairs)) == len(pairs)
    assert all(WWNN in pair for pair in pairs[len(parents) : 2 * len(parents)])
    assert all(WWPN in pair for pair in pairs[2 * len(parents) : 3 * len(parents)])
    # The parent's notation is of no meaning.
    spelled = f"<parent wwnn='0x{HBA_WWNN.upper()}' wwpn='{HBA_WWPN}'/>"
    assert names_of(vhba_wish.from_device(device("", spelled))) == pairs[parents.index(BY_WWNS)]
    (host.root / "machine-id").write_text(f"{MACHINE[::-1]}\n")
    assert not {names_of(vhba_wish.from_device(document)) for document in documents} & set(pairs)


def test_nothing_is_derived_without_a_machine_id(host: Host) -> None:
    (host.root / "machine-id").unlink()
    with pytest.raises(NodedevError, match="holds no machine-id"):
        vhba_wish.from_device(device(""))
    assert names_of(vhba_wish.from_device(device())) == (WWNN, WWPN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<capability type='scsi_host'/>", "a vHBA has a <capability type='fc_host'>"),
        ("<capability type='scsi_host'><capability/></capability>", "a vHBA has a <capability type='fc_host'>"),
        (
            "<capability type='scsi_host'><capability type='vport_ops'/></capability>",
            "a vHBA has a <capability type='fc_host'>",
        ),
    ],
)
def test_a_document_of_no_vhba(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        vhba_wish.from_device(xml.from_xml(f"<device>{NAMED}{text}</device>"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (device(f"<wwnn>{WWNN}</wwnn><wwpn>5001</wwpn>"), "wwpn: '5001' cannot be used"),
        (device("<wwnn>0000000000000000</wwnn>"), "stands for no port"),
        (device("<wwnn><a/></wwnn>"), "wwnn is text and nothing else"),
        (device(parent="<parent>pci_0000_04_00_0</parent>"), "is its HBA, by libvirt's name such as scsi_host5"),
        (device(parent="<parent>scsi_host05</parent>"), "is its HBA, by libvirt's name"),
        (device(parent="<parent>scsi_host5/../x</parent>"), "is its HBA, by libvirt's name"),
        (device(parent=f"<parent wwnn='{HBA_WWNN}'/>"), "has both"),
        (device(parent=f"<parent wwpn='{HBA_WWPN}'>scsi_host5</parent>"), "has both"),
        (device(parent="<parent wwnn='x' wwpn='y'/>"), "parent_wwnn: 'x' cannot be used"),
        (device(parent="<parent fabric_wwn='x'/>"), "parent_fabric_wwn: 'x' cannot be used"),
    ],
)
def test_what_is_wrong_in_a_document(said: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        vhba_wish.from_device(said)


def test_a_name_stands_for_the_vhba_that_has_it() -> None:
    wish = vhba_wish.from_name("scsi_host9", state="inactive", wait_timeout=5)
    assert wish == Wish(wwnn=WWNN, wwpn=WWPN, state="inactive", wait_timeout=5)


@pytest.mark.parametrize("state", ["present", "inactive", "absent"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scsi_host3", f"it is an HBA .WWPN {HBA_WWPN}., not a vHBA"),
        ("scsi_host0", "it is a SCSI host without Fibre Channel"),
        ("scsi_host", "is named scsi_host and the number"),
        ("scsi_host09", "is named scsi_host and the number"),
        ("scsi_host9/..", "is named scsi_host and the number"),
    ],
)
def test_names_of_no_vhba(name: str, message: str, state: str) -> None:
    with pytest.raises(BadInput, match=message):
        vhba_wish.from_name(name, state=state)


def test_a_name_that_nothing_has() -> None:
    assert vhba_wish.from_name("scsi_host77", state="absent") is None
    for state in ("present", "inactive"):
        with pytest.raises(BadInput, match="no such SCSI host is there"):
            vhba_wish.from_name("scsi_host77", state=state)
    result = registry.ensure(False, None, "scsi_host77", state="absent", replace=False)
    assert (result["changed"], result["plan"], result["vhba"]) == (False, [], None)


@pytest.mark.parametrize(
    ("defined", "option", "online"),
    [(None, None, True), (True, None, True), (False, None, False), (None, False, False), (False, True, True)],
)
def test_online_is_as_defined_unless_told(defined: bool | None, option: bool | None, online: bool) -> None:
    if defined is not None:
        definition.define(Definition(WWPN, WWNN, HBA_WWPN, defined), None).apply()
    named = vhba_wish.from_name("scsi_host9", require_online=option)
    for wish in (vhba_wish.from_device(device(parent=BY_WWNS), require_online=option), named):
        assert wish is not None
        planned = vhba.plan(wish, vhba.observe(wish)).then.definition
        assert planned is not None
        assert planned.require_online is online


def test_a_damaged_definition_is_named(host: Host) -> None:
    path = Path(definition.DOCUMENTS.paths(WWPN)[0])
    path.parent.mkdir(parents=True)
    path.write_text("{")
    wish = vhba_wish.from_device(device(parent=BY_WWNS))
    with pytest.raises(DamagedDefinition, match=str(path)):
        vhba.plan(wish, vhba.observe(wish))


def test_a_definition_without_a_start_is_no_vhbas() -> None:
    with pytest.raises(BadInput, match="autostart: False cannot be used: a vHBA that is defined is there after"):
        vhba_wish.from_device(device(), autostart=False)
    with pytest.raises(BadInput, match="autostart: False cannot be used"):
        vhba_wish.from_name("scsi_host9", autostart=False, state="inactive")
    for more in ({"persistent": False}, {"state": "absent"}):
        assert names_of(vhba_wish.from_device(device(), autostart=False, **more)) == (WWNN, WWPN)


def test_kinds_by_type_and_by_prefix() -> None:
    documents = {name: kind.documents for name, kind in registry.KINDS.items() if kind.documents}
    found = {name: (kind.CAPABILITY, kind.PREFIX) for name, kind in documents.items()}
    assert found == {"mdev": ("mdev", "mdev_"), "vhba": ("scsi_host", "scsi_host")}
    options = {"state": "present", "replace": True, "require_online": None, "autostart": True}
    assert set(registry.own(documents["mdev"], options)) == {"state", "replace", "autostart"}
    assert set(registry.own(documents["vhba"], options)) == {"state", "require_online", "autostart"}
    for name in ("scsi_9_0_0_0", "scsi_target9_0_0", "mdevx", ""):
        with pytest.raises(BadInput, match="the kinds of devices that can be made are: mdev, scsi_host"):
            registry.ensure(True, None, name)
