# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not said of vHBAs stays as it is, and what needs no place asks for none: on the simulated host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Host, warnings
from simhost.testing import names
from test_vhba_pool import pool as pool_done
from vhbas import DEFINE, DEFINITION, DELETE, HBAS, UNDEFINE, WWNN, WWPN, document, kept, made_by_hand, vports

RECORD = "/etc/nodedev.d/pool/x.json"
OTHER = "5001a4a1000000b2"
GONE = "10000090fa1234ff"
XML = (
    "<device><parent>scsi_host3</parent><capability type='scsi_host'><capability type='fc_host'>"
    f"<wwnn>{WWNN}</wwnn><wwpn>{WWPN}</wwpn></capability></capability></device>"
)


def full(fc: Host) -> None:
    """Have the vports of both HBAs with a link taken."""
    for hba in (3, 4):
        for number in range(4):
            made_by_hand(fc, f"{hba}{number}", hba)


def down(fc: Host) -> None:
    for hba in ("host3", "host4"):
        fc.link(hba, "Linkdown")


def gone(fc: Host) -> None:
    """Have the HBAs go: what was defined on them is on one that is not there."""
    for hba in (3, 4):
        fc.run(["sh", "-c", f"sed -i s/{HBAS[hba]}/{GONE}/ $(find /etc/nodedev.d -type f)"])


PLIGHTS = pytest.mark.parametrize("plight", [full, down, gone])


def unchanged(fc: Host, module: str, **arguments: Any) -> None:
    """Run a module; it must find nothing to do, twice, and in check mode."""
    before = fc.state()
    for mode in (False, True, False):
        again = fc.done(module, check_mode=mode, **arguments)
        assert (again["changed"], again["plan"]) == (False, [])
    assert fc.state() == before


def pool(fc: Host, **arguments: Any) -> dict[str, Any]:
    return pool_done(fc, **arguments)


def online(fc: Host) -> list[bool]:
    """What each definition says of its HBA's link."""
    folder = "/etc/nodedev.d/vhba"
    return [document(fc, f"{folder}/{name}")["require_online"] for name in names(fc, folder)]


def test_whether_online_stays_as_it_is_defined(fc: Host) -> None:
    named = {"wwnn": WWNN, "wwpn": WWPN}
    fc.vhba(require_online=False, state="inactive")
    unchanged(fc, "vhba", **named, state="inactive")
    unchanged(fc, "nodedev", xml=XML, state="inactive")
    fc.vhba()
    assert online(fc) == [False]
    assert fc.vhba(require_online=True)["changed"]
    unchanged(fc, "vhba", **named)
    assert online(fc) == [True]


def test_a_pool_and_the_vhba_module_do_not_undo_each_other(fc: Host) -> None:
    pool(fc, count=2)
    fc.done("vhba", name="x 0", require_online=False)
    assert online(fc).count(False) == 1
    for _run in range(2):
        unchanged(fc, "vhba_pool", name="x", count=2)
        unchanged(fc, "vhba", name="x 0")
    pool(fc, count=3)
    assert online(fc).count(False) == 1
    # What is said is done, to all of them.
    pool(fc, require_online=False)
    assert online(fc) == [False] * 3
    assert document(fc, RECORD)["require_online"] is False
    pool(fc, count=4)
    assert online(fc) == [False] * 4


def test_a_record_of_an_earlier_release(fc: Host) -> None:
    pool(fc, count=2)
    defaults = {"parents": {"online": True}, "placement": "spread", "require_online": True, "oui": "001a4a"}
    assert not set(defaults) & set(document(fc, RECORD))
    fc.write(RECORD, json.dumps({**document(fc, RECORD), **defaults}))
    fc.done("vhba", name="x 0", require_online=False)
    unchanged(fc, "vhba_pool", name="x", count=2)
    unchanged(fc, "vhba_pool", name="x")


@PLIGHTS
def test_a_pool_that_is_not_there_needs_no_place_and_no_hba(fc: Host, plight: Any) -> None:
    wish: dict[str, Any] = {"count": 3, "state": "inactive"}
    pool(fc, **wish)
    plight(fc)
    unchanged(fc, "vhba_pool", name="x", **wish)
    unchanged(fc, "vhba_pool", name="x", state="inactive")
    assert len(pool(fc, state="inactive", require_online=False)["plan"]) == 4
    assert len(pool(fc, state="inactive", count=2)["instances"]) == 2
    assert pool(fc, state="inactive", count=0)["instances"] == []
    assert kept(fc) == []
    unchanged(fc, "vhba_pool", name="x", count=0)
    pool(fc, state="absent")


@pytest.mark.parametrize("plight", [full, down])
def test_a_new_pool_that_is_not_to_be_there(fc: Host, plight: Any) -> None:
    plight(fc)
    made = pool(fc, count=2, state="inactive")
    assert [each["active"] for each in made["instances"]] == [False] * 2
    unchanged(fc, "vhba_pool", name="x", count=2, state="inactive")
    pool(fc, name="y", count=0)
    unchanged(fc, "vhba_pool", name="y", count=0)


def test_hbas_by_names_that_are_not_there_any_more(fc: Host) -> None:
    wish: dict[str, Any] = {"count": 2, "state": "inactive", "parents": {"names": ["scsi_host3"]}}
    pool(fc, **wish)
    chosen = document(fc, RECORD)["parents"]
    fc.reload("host3")
    gone(fc)
    unchanged(fc, "vhba_pool", name="x", **wish)
    assert document(fc, RECORD)["parents"] == {**chosen, "wwpns": [GONE]}


@PLIGHTS
def test_one_vhba_that_is_not_to_be_there(fc: Host, plight: Any) -> None:
    named = {"wwnn": WWNN, "wwpn": WWPN}
    by_fabric = {**named, "parent_fabric_wwn": "100000051e000001", "state": "inactive"}
    fc.done("vhba", **by_fabric)
    plight(fc)
    unchanged(fc, "vhba", **by_fabric)
    unchanged(fc, "vhba", **named, state="inactive")
    assert fc.vhba(state="absent")["plan"] == [UNDEFINE]
    if plight is not gone:
        assert fc.vhba(state="inactive", parent="scsi_host3")["plan"] == [DEFINE]
        unchanged(fc, "vhba", **named, state="inactive", parent="scsi_host3")


def test_one_that_is_there_stays_when_its_link_goes(fc: Host) -> None:
    wish = {"wwnn": WWNN, "wwpn": WWPN, "parent_fabric_wwn": "100000051e000001"}
    fc.done("vhba", **wish)
    down(fc)
    unchanged(fc, "vhba", **wish)


@pytest.mark.parametrize("name", ["0x0", "0x0000000000000000", "0xffffffffffffffff", ""])
@pytest.mark.parametrize("state", ["present", "inactive"])
def test_an_hba_that_its_driver_has_not_named(fc: Host, name: str, state: str) -> None:
    fc.fault("/sys/class/fc_host/host3/port_name", op="read", content=f"{name}\n")
    told = "by which no HBA can be found again: its driver has not named it"
    assert told in fc.vhba_refused(parent="scsi_host3", state=state)
    assert told in fc.failed("nodedev", xml=XML, state=state)
    assert told in fc.failed("vhba_pool", name="x", count=1, parents={"names": ["scsi_host3"]}, state=state)
    made = fc.vhba(state=state)
    assert made["vhba"]["parent"] == "scsi_host4"
    assert told in made["hindrances"]["scsi_host3"]


def test_what_runs_on_an_hba_without_a_name_is_not_defined(fc: Host) -> None:
    fc.vhba(persistent=False)
    fc.fault("/sys/class/fc_host/host3/port_name", op="read", content="0x0\n")
    assert f"vHBA {WWPN} cannot be defined so that it can be read again: parent_wwpn: '0'" in fc.vhba_refused()
    assert kept(fc) == []


def test_a_damaged_definition_is_removed_by_its_name(fc: Host) -> None:
    fc.vhba()
    fc.run(["sh", "-c", f"printf '\\377{{' > {DEFINITION}"])
    before = fc.run(["md5sum", DEFINITION]).stdout
    fc.fault("/sys/devices/*/vport_delete", op="write", errno="EIO")
    message = fc.module("vhba", wwnn=WWNN, wwpn=WWPN, state="absent", force=True)["msg"]
    assert f"remove the damaged definition of vHBA {WWPN}, {DEFINITION}" in message.partition("undone: ")[2]
    assert fc.run(["md5sum", DEFINITION]).stdout == before
    fc.clear_faults()
    foretold = fc.vhba(state="absent", force=True, check_mode=True)
    removed = fc.vhba(state="absent", force=True)
    assert foretold["plan"][0] == removed["plan"][0] == f"remove the damaged definition of vHBA {WWPN}, {DEFINITION}"
    assert (vports(fc), kept(fc)) == ([], [])
    unchanged(fc, "vhba", wwnn=WWNN, wwpn=WWPN, state="absent")
    fc.run(["mkdir", "-p", "/etc/nodedev.d/vhba"])
    fc.write(DEFINITION, "{")
    assert fc.done("nodedev", xml=XML, state="absent")["changed"]
    fc.run(["sh", "-c", f"mkdir -p /etc/nodedev.d/vhba; echo '{{\"version\": 2}}' > {DEFINITION}"])
    assert "its version is 2, and this release knows 1 only" in fc.vhba_refused(state="absent")
    fc.run(["sh", "-c", f"rm {DEFINITION}; mkfifo {DEFINITION}"])
    assert "it is not a regular file" in fc.module("vhba", wwnn=WWNN, wwpn=WWPN)["msg"]
    assert fc.vhba(state="absent")["changed"]
    assert kept(fc) == []


def test_a_damaged_pool_is_removed_by_its_name(fc: Host) -> None:
    made = pool(fc, count=3)
    wwpns = [each["wwpn"] for each in made["instances"]]
    fc.write(RECORD, "{")
    fc.write(f"/etc/nodedev.d/vhba/{wwpns[2]}.json", "[]")
    for arguments in ({"count": 2}, {"state": "inactive"}):
        assert "is damaged" in fc.failed("vhba_pool", name="x", **arguments)
    removed = pool(fc, state="absent", force=True)
    assert removed["plan"][:2] == [
        f"remove the damaged definition of pool x, {RECORD}",
        f"remove the damaged definition of vHBA {wwpns[2]}, /etc/nodedev.d/vhba/{wwpns[2]}.json",
    ]
    assert (vports(fc), kept(fc), removed["instances"]) == ([], [], [])
    unchanged(fc, "vhba_pool", name="x", state="absent")


def test_absent_tells_of_another_wwnn(fc: Host) -> None:
    fc.vhba(persistent=False)
    told = f"wwpn: '{WWPN}' cannot be used: vHBA scsi_host8 has it already, with WWNN {WWNN} instead of {OTHER}"
    for state in ("present", "inactive", "absent"):
        assert told in fc.failed("vhba", wwnn=OTHER, wwpn=WWPN, state=state)
        assert told in fc.failed("nodedev", xml=XML.replace(WWNN, OTHER), state=state)
    assert fc.vhba(state="absent", force=True)["plan"][-1] == DELETE
    fc.vhba()
    defined = f"wwnn: '{OTHER}' cannot be used: vHBA {WWPN} is defined with WWNN {WWNN}"
    assert defined in fc.failed("vhba", wwnn=OTHER, wwpn=WWPN, state="absent")
    fc.vhba(state="inactive", force=True)
    assert defined in fc.failed("vhba", wwnn=OTHER, wwpn=WWPN, state="absent")
    own = f"wwpn: '{HBAS[3]}' cannot be used: it is the port's own name of HBA scsi_host3"
    assert own in fc.failed("vhba", wwnn=OTHER, wwpn=HBAS[3], state="absent")


def test_an_identity_stands_in_for_the_machine_id(fc: Host) -> None:
    fc.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    by_id = fc.done("vhba", name="database", state="inactive", check_mode=True)["vhba"]["wwpn"]
    pooled = pool(fc, count=1, state="inactive", identity="fc-1")["instances"][0]
    single = fc.done("vhba", name="x 0", identity="fc-1", state="inactive")
    assert (single["vhba"]["wwpn"], single["changed"]) == (pooled["wwpn"], False)
    other = fc.done("vhba", name="database", identity="fc-1", state="inactive", check_mode=True)["vhba"]["wwpn"]
    assert len({by_id, other, pooled["wwpn"]}) == 3
    fc.write("/etc/machine-id", "uninitialized\n")
    again = fc.done("vhba", name="database", identity="fc-1", state="inactive")["vhba"]["wwpn"]
    former = "0123456789abcdef0123456789abcdef"
    assert again == other
    assert fc.done("vhba", name="database", identity=former, state="inactive")["vhba"]["wwpn"] == by_id
    unchanged(fc, "vhba_pool", name="x", state="inactive")
    message = fc.failed("vhba_pool", name="x", identity="fc-2", state="absent")
    assert "pool x has names that follow from the identity fc-1: leave it so, or remove the pool first" in message
    fc.run(["rm", RECORD])
    restored = pool(fc, count=1, state="inactive", identity="fc-1")
    assert restored["instances"][0]["wwpn"] == pooled["wwpn"]
    assert "or name the host by the option identity" in fc.vhba_refused(name="database")
    nameless = XML.replace(f"<wwnn>{WWNN}</wwnn><wwpn>{WWPN}</wwpn>", "")
    assert "or name the host by the option identity" in fc.failed("nodedev", xml=nameless)
    made = fc.done("nodedev", xml=nameless, identity="fc-1", state="inactive")
    assert not fc.done("nodedev", xml=nameless, identity="fc-1", state="inactive")["changed"]
    assert made["vhba"]["wwpn"] not in (by_id, other, pooled["wwpn"])


def test_a_machine_id_that_others_have_is_told(fc: Host) -> None:
    fc.write("/etc/machine-id", f"{'0' * 32}\n")
    told = f"/etc/machine-id holds {'0' * 32}, which is no random number: the WWNs of "
    assert told in " ".join(warnings(pool(fc, count=1, state="inactive")))
    assert told in " ".join(warnings(fc.done("vhba", name="database", state="inactive")))
    nameless = XML.replace(f"<wwnn>{WWNN}</wwnn><wwpn>{WWPN}</wwpn>", "")
    assert told in " ".join(warnings(fc.done("nodedev", xml=nameless, state="inactive")))
    assert told not in " ".join(warnings(fc.done("nodedev", xml=nameless, state="inactive", identity="a")))
    assert told not in " ".join(warnings(fc.done("vhba", name="database", state="inactive", identity="a")))
    assert told not in " ".join(warnings(fc.vhba(state="inactive")))


LONG = "1" * 5000


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        *[
            (module, {**named, "state": "absent", "wait_timeout": value}, "a number of seconds, 0 or more")
            for module, named in (("vhba", {"wwnn": WWNN, "wwpn": WWPN}), ("vhba_pool", {"name": "x"}))
            for value in ("inf", "nan", "1e300", 86401)
        ],
        ("vhba", {"wwnn": WWNN, "wwpn": WWPN, "parent": f"scsi_host{LONG}"}, "an HBA is named as libvirt does"),
        ("vhba_pool", {"name": "x", "count": LONG}, "a number from 0 to 4096"),
        ("vhba_pool", {"name": "x", "count": 1, "parents": {"names": [f"host{LONG}"]}}, "an HBA is named as"),
        ("nodedev", {"name": f"scsi_host{LONG}"}, "a vHBA is named scsi_host and the number of its SCSI host"),
        ("nodedev", {"xml": XML.replace("scsi_host3", f"scsi_host{LONG}")}, "the <parent> of a vHBA is its HBA"),
        ("vhba", {"name": "x", "identity": "a b"}, "it is text of 1 to 255 characters without blanks"),
        ("vhba", {"name": "x", "wait_luns": 65537}, "a number from 0 to 65536"),
    ],
)
def test_numbers_and_texts_that_are_too_long(fc: Host, module: str, arguments: dict[str, Any], message: str) -> None:
    assert message in fc.failed(module, **arguments)
    assert len(fc.failed(module, **arguments)) < 1000


def test_definitions_of_other_types_are_damaged(fc: Host) -> None:
    fc.run(["mkdir", "-p", "/etc/nodedev.d/vhba"])
    good = {"version": 1, "wwnn": WWNN, "wwpn": WWPN, "parent_wwpn": HBAS[3], "require_online": True}
    for key, value in (("wwnn", 5001400000000001), ("wwpn", [WWPN]), ("parent_wwpn", True), ("require_online", "no")):
        fc.write(DEFINITION, json.dumps({**good, key: value}))
        for state in ("present", "inactive"):
            assert f"the definition {DEFINITION} is damaged (" in fc.vhba_refused(state=state)
    assert "is damaged" in " ".join(warnings(pool(fc, count=1)))
