# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of mediated devices beside what runs, on a host made of files: drift, and what is in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import restore
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import mdev_parents, mdevs, pci
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.sysfs import SysfsError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import registry
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import restored
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import Defined
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.names import called
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import Hindrance
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store import files, mdevctl
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.mdevctl import Attrs, Definition
from devices import Host

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
CARD, OTHER_CARD = "0000:3d:00.0", "0000:af:00.0"


@pytest.fixture
def cards(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    """Two cards of one type, no definition and no device."""
    monkeypatch.setattr(mdev_parents, "BUS", str(host.sys / "class" / "mdev_bus"))
    monkeypatch.setattr(pci, "DEVICES", str(host.sys / "class" / "mdev_bus"))
    monkeypatch.setattr(mdevs, "BUS", str(host.sys / "bus" / "mdev" / "devices"))
    monkeypatch.setattr(mdevctl, "STORE", str(tmp_path / "mdevctl.d"))
    for card in (CARD, OTHER_CARD):
        host.make_device("pci", card)
        host.attributes(f"devices/{card}/mdev_supported_types/t", {"device_api": "vfio-pci"})
        host.link(f"bus/pci/devices/{card}", f"devices/{card}")
        host.link(f"class/mdev_bus/{card}", f"devices/{card}")
    return host


def run(host: Host, parent: str = CARD, kind: str = "t", **attributes: str) -> None:
    """A device of the UUID."""
    types = f"devices/{parent}/mdev_supported_types/{kind}"
    host.attributes(f"devices/{parent}/{UUID}", {name.replace("__", "/"): value for name, value in attributes.items()})
    host.link(f"devices/{parent}/{UUID}/mdev_type", types)
    host.link(f"bus/mdev/devices/{UUID}", f"devices/{parent}/{UUID}")


def define(parent: str = CARD, kind: str = "t", autostart: bool = True, attrs: Attrs = ()) -> Defined:
    """Define the device, and find it so."""
    mdevctl.define(Definition(UUID, parent, kind, autostart, attrs))
    found, damaged = registry.KINDS["mdev"].read()
    assert (len(found), damaged) == (1, [])
    return found[0]


def test_what_is_said(cards: Host) -> None:
    kept = define(attrs=(("a", "1"), ("a", "2")))
    assert (kept.id, kept.name) == (UUID, f"mdev {UUID} of type t on {called(CARD)}")
    assert kept.facts() == {
        "uuid": UUID,
        "name": "mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001_0000_3d_00_0",
        "parent": "pci_0000_3d_00_0",
        "parent_addr": CARD,
        "parent_missing": False,
        "type": "t",
        "attrs": [{"a": "1"}, {"a": "2"}],
        "autostart": True,
        "managed": False,
        "active": False,
        "drift": [],
    }
    assert (kept.concerns(CARD), kept.concerns(OTHER_CARD)) == (True, False)
    assert (kept.autostart, define(autostart=False).autostart) == (True, False)


@pytest.mark.parametrize(
    ("attrs", "running", "drift"),
    [
        ((), {}, []),
        ((), {"params": "1"}, []),
        ((("params", "1"),), {"params": "1"}, []),
        ((("params", "1 "),), {"params": "1\n"}, []),
        ((("params", "1"),), {"params": "2"}, [("attribute params", "1", "2")]),
        ((("params", "1"),), {"params": ""}, [("attribute params", "1", "")]),
        ((("vendor/params", "1"),), {"vendor__params": "2"}, [("attribute vendor/params", "1", "2")]),
        # It cannot be read back.
        ((("params", "1"),), {}, []),
        # Written several times, as assign_adapter is: the sum of it reads otherwise.
        ((("params", "1"), ("params", "2")), {"params": "3"}, []),
    ],
)
def test_drift_of_attributes(
    cards: Host, attrs: Attrs, running: dict[str, str], drift: list[tuple[str, str, str]]
) -> None:
    run(cards, **running)
    facts = define(attrs=attrs).facts()
    assert facts["active"]
    assert [(each["what"], each["defined"], each["running"]) for each in facts["drift"]] == drift


def test_drift_of_parent_and_type(cards: Host) -> None:
    run(cards, OTHER_CARD, "u")
    facts = define().facts()
    assert not facts["active"]
    assert facts["drift"] == [
        {"what": "parent", "defined": CARD, "running": OTHER_CARD},
        {"what": "type", "defined": "t", "running": "u"},
    ]


def test_nothing_is_in_the_way(cards: Host) -> None:
    assert define().hindrance() is None


def test_the_parent_is_not_there(cards: Host) -> None:
    kept = define("0000:99:00.0")
    assert (kept.facts()["parent"], kept.facts()["parent_missing"]) == (None, True)
    assert kept.hindrance() == Hindrance(
        "its parent pci_0000_99_00_0 (0000:99:00.0) is not there; it is restored when the parent arrives",
        passing=False,
    )


def test_the_parent_is_not_registered_yet(cards: Host) -> None:
    (cards.sys / "class" / "mdev_bus" / CARD).unlink()
    assert define().hindrance() == Hindrance(
        f"its parent {called(CARD)} is not registered for mediated devices: is its driver bound?", passing=True
    )


@pytest.mark.parametrize(("there", "named"), [(["u", "v"], "u, v"), ([], "none")])
def test_the_type_is_not_there_yet(cards: Host, there: list[str], named: str) -> None:
    types = cards.sys / "devices" / CARD / "mdev_supported_types"
    (types / "t" / "device_api").unlink()
    (types / "t").rmdir()
    for kind in there:
        (types / kind).mkdir()
    assert define().hindrance() == Hindrance(
        f"its parent {called(CARD)} does not have type t, only {named}", passing=True
    )


def test_a_device_of_which_the_api_cannot_be_read_is_still_told_of(cards: Host) -> None:
    run(cards)
    api = cards.sys / "devices" / CARD / "mdev_supported_types" / "t" / "device_api"
    api.unlink()
    # A link to itself fails with ELOOP, whoever reads it.
    api.symlink_to("device_api")
    found = mdevs.find(UUID)
    assert found is not None
    assert (found.device_api, ["ELOOP" in each for each in found.oddities]) == (None, [True])
    assert (define().facts()["active"], define().facts()["drift"]) == (True, [])


def test_damaged_files_are_named(cards: Host) -> None:
    define()
    folder = Path(mdevctl.STORE) / CARD
    (folder / UUID.replace("1001", "1002")).write_text("{")
    (folder / ".nodedev-x").write_text("{")
    found, damaged = registry.KINDS["mdev"].read()
    assert [kept.id for kept in found] == [UUID]
    assert [damage.path for damage in damaged] == [str(folder / UUID.replace("1001", "1002"))]


OWN = [
    ("vendor/params", True),
    ("none", True),
    ("mdev_type/name", False),
    ("remove", False),
    ("link/params", False),
    ("vendor/up/params", False),
    ("../x", False),
    ("", False),
]


@pytest.mark.parametrize(("name", "own"), OWN)
def test_which_files_are_the_devices_own(cards: Host, name: str, own: bool) -> None:
    """A link on the way leads elsewhere, whoever put it there; one that is missing leads nowhere."""
    run(cards, vendor__params="a=1")
    cards.link(f"devices/{CARD}/{UUID}/link", f"devices/{OTHER_CARD}")
    cards.link(f"devices/{CARD}/{UUID}/vendor/up", f"devices/{CARD}")
    assert mdevs.own_file(UUID, name) == (f"{mdevs.BUS}/{UUID}/{name}" if own else None)


def test_an_attribute_that_is_not_the_devices_own_is_no_drift(cards: Host) -> None:
    run(cards)
    cards.attributes(f"devices/{OTHER_CARD}", {"params": "other"})
    cards.link(f"devices/{CARD}/{UUID}/link", f"devices/{OTHER_CARD}")
    assert define(attrs=(("link/params", "1"),)).facts()["drift"] == []


def test_what_is_damaged_concerns_its_own_parent() -> None:
    def concerned(path: str, parent: str) -> bool:
        return restored.may_concern(DamagedDefinition(path, "x"), parent)

    assert concerned(f"{mdevctl.STORE}/{CARD}/{UUID}", CARD)
    assert concerned(f"{mdevctl.STORE}/{CARD}", CARD)
    assert concerned(mdevctl.STORE, CARD)
    assert not concerned(f"{mdevctl.STORE}/{OTHER_CARD}/{UUID}", CARD)
    assert not concerned(f"{mdevctl.STORE}/{OTHER_CARD}", CARD)
    assert not concerned("/etc/nodedev.d/vhba", "vhba")


def test_nothing_is_read_before_it_is_asked_for(cards: Host) -> None:
    """A device that cannot be read hides no other definition."""
    kept = define()
    loop = cards.sys / "class" / "mdev_bus" / CARD
    loop.unlink()
    loop.symlink_to(loop.name)
    assert registry.KINDS["mdev"].read()[0][0].name == kept.name
    with pytest.raises(SysfsError, match="ELOOP"):
        kept.hindrance()


def test_what_shares_a_card(cards: Host) -> None:
    assert define().place() == (CARD,)
    cards.link(f"devices/{CARD}/physfn", f"devices/{OTHER_CARD}")
    assert define().place() == (OTHER_CARD, CARD)


def test_whoever_wrote_it_its_names_are_under_our_rules_and_its_values_are_not(cards: Host) -> None:
    """mdevctl itself starts a device whose attribute's value is empty."""
    assert define(attrs=(("params", ""),)).ensure(True)["plan"][1] == f"set params= on mdev {UUID}"
    for name in ("../params", "/etc/passwd"):
        with pytest.raises(BadInput, match="attrs"):
            define(attrs=((name, "1"),)).ensure(True)


def test_a_parent_that_arrives_has_its_own_definitions_read_alone(
    cards: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of 64 virtual functions that arrive, each would read those of all."""
    monkeypatch.setattr(files, "STORE", str(tmp_path / "nodedev.d"))
    parents = [f"0000:3d:{number:02x}.0" for number in range(64)]
    for parent in parents:
        mdevctl.define(Definition(UUID, parent, "t", True))
    opened: list[str] = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(str(path)) or original(path, *more))
    found, damaged = registry.defined(parents[5])
    assert ([each.definition.parent for each in found], damaged) == ([parents[5]], [])
    assert opened == [f"{mdevctl.STORE}/{parents[5]}/{UUID}"]


def test_a_damaged_file_is_told_when_its_parent_arrives(
    cards: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "STORE", str(tmp_path / "nodedev.d"))
    path = Path(mdevctl.STORE) / CARD / UUID
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert [restore.main(["--list", "--parent", parent]) for parent in (OTHER_CARD, CARD)] == [0, 1]
    assert [str(path) in line for line in capsys.readouterr().err.splitlines()] == [True]
