# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/results.md has the words of the modules, all of them where it lists them, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import ROOT, Host
from pages import page, tables
from test_documentation import MODULES, returned, told

TEXT = page("results.md")
STATES, EVERY, DEVICE, HOLDERS, LUNS, FUNCTIONS, TABLE = tables(TEXT)
NAMES = [module.stem for module in MODULES]
WORD = re.compile(r"`([a-z_]+)`")
# Those of which the page says what a device has.
COLUMNS = WORD.findall(re.findall(r"^\| key (.*) what it says \|$", TEXT, re.MULTILINE)[0])
# What Ansible itself has in every result.
ANSIBLES = {"changed", "warnings", "failed", "msg", "ansible_facts"}
FILTERS = {file.stem for file in (ROOT / "plugins" / "filter").glob("*.yml")}
VALUES = {"true", "false", "null"}


def words(cell: str) -> set[str]:
    return set(WORD.findall(cell))


def options(module: str) -> set[str]:
    """The options of a module, with those of the fragments that it has."""
    return set(told(module).get("options", {}))


def keys(value: object) -> Iterator[str]:
    """All keys of a mapping and of what is in it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


def of_each(module: str) -> dict[str, Any]:
    """What a module's RETURN says of one device, or of an instance of a pool."""
    known = returned(module)
    found: dict[str, Any] = known["instances" if module.endswith("_pool") else module]["contains"]
    return found


@pytest.mark.parametrize("module", NAMES)
def test_each_module_has_its_row(module: str) -> None:
    ((_name, named, told),) = (row for row in TABLE if row[0] == f"`{module}`")
    known = returned(module)
    facts = set(known["ansible_facts"]["contains"]) if "ansible_facts" in known else set()
    assert words(told) == {*known, *facts}
    assert words(named) <= options(module)


def test_there_is_no_other_row() -> None:
    assert sorted(row[0] for row in TABLE) == sorted(f"`{name}`" for name in NAMES)
    assert {"mdev", "vhba", "mdev_pool", "vhba_pool"} <= {*COLUMNS}


def test_what_every_module_with_a_state_returns() -> None:
    with_a_state = [name for name in NAMES if "state" in options(name)]
    assert with_a_state
    common = set.intersection(*(set(returned(name)) for name in with_a_state))
    assert set.union(*(words(row[0]) for row in EVERY)) == common | (ANSIBLES - {"ansible_facts"})


@pytest.mark.parametrize("module", COLUMNS)
def test_what_is_said_of_a_device(module: str) -> None:
    column = COLUMNS.index(module) + 1
    said = set.union(*(words(row[0]) for row in DEVICE if row[column]))
    assert said == set(of_each(module))


def test_holders_luns_and_targets() -> None:
    contains = of_each("vhba_pool")
    assert set.union(*(words(row[0]) for row in HOLDERS)) == set(keys(contains["holders"]["sample"]))
    lun = contains["luns"]["sample"][0]
    assert set.union(*(words(row[0]) for row in LUNS)) == set(lun)
    (multipath,) = (words(row[1]) for row in LUNS if row[0] == "`multipath`")
    assert multipath == set(lun["multipath"])
    (targets,) = (words(row[-1]) for row in DEVICE if row[0] == "`targets`")
    assert targets == set(of_each("vhba")["targets"]["sample"][0])


def test_virtual_functions() -> None:
    (sample,) = of_each("sriov")["functions"]["sample"]
    assert set.union(*(words(row[0]) for row in FUNCTIONS)) == set(sample)


def test_each_word_of_the_page_exists() -> None:
    known = {*NAMES, *FILTERS, *ANSIBLES, *VALUES}
    for name in NAMES:
        known |= options(name)
        for key, value in returned(name).items():
            known |= {key, *keys(value.get("sample")), *documented(value)}
    assert words(TEXT) - known == set()


def documented(value: dict[str, Any]) -> Iterator[str]:
    """The keys that RETURN has below a key."""
    for key, each in value.get("contains", {}).items():
        yield key
        yield from keys(each.get("sample"))
        yield from documented(each)


@pytest.mark.parametrize("row", STATES, ids=[row[0].strip("`") for row in STATES])
@pytest.mark.parametrize("module", ["mdev", "vhba"])
def test_the_states(row: list[str], module: str, host: Host, fc: Host) -> None:
    run = {"mdev": host.mdev, "vhba": fc.vhba}[module]
    wish = yaml.safe_load(f"{{{row[0].strip('`')}}}")
    result = run(**wish)
    device = result[module]
    assert [device["active"], device["persistent"]] == [cell == "`true`" for cell in row[1:3]]
    # The same from what was there before.
    run()
    after = run(**wish)[module]
    assert after["active"] == device["active"]
    # A definition that there is stays as it is where nothing is said to be defined.
    assert after["persistent"] == (device["persistent"] or wish.get("persistent") is False)
