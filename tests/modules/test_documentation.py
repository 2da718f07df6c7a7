# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules' documentation says is true: its examples run, and what it lists is what is returned."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CARD, OTHER, ROOT, UUID, Host
from plays import play
from test_restore import install

MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
# The boot engine's examples need systemd: tests/kernelhost/test_boot.py runs them.
SIMULATED = [module for module in MODULES if module.stem != "boot_engine"]
# The hosts that examples are written for, where that is not one with vGPUs.
SCENARIOS = {
    **dict.fromkeys(("driver", "sriov"), "functions"),
    **dict.fromkeys(("vhba", "vhba_facts", "vhba_pool"), "fc"),
    **dict.fromkeys(("vgpu_facts", "vgpu_pool"), "nvidia-vfio-small"),
    "vgpu": "nvidia-vfio",
    "ap_mask": "ap",
    "mig": "nvidia-mig",
}
# Of those whose examples are of devices of two hosts.
MORE = {"mdev_pool": "nvidia-sriov"}
REPOSITORY = yaml.safe_load((ROOT / "galaxy.yml").read_text())["repository"]
# The pages of docs that every module's documentation leads to.
PAGES = ("start", "troubleshooting", "migration", "results")
REFERENCE = re.compile(r"As RV\(hostdev\.nodedev\.(?P<module>\w+)#module:(?P<path>[\w.\[\]]+)\)\.")
# Facts are trees of their own, and the boot engine is no device.
ANSWERS_OF_THEIR_OWN = (
    "boot_engine",
    "definition_facts",
    "mdev_types_facts",
    "nodedev_facts",
    "vgpu_facts",
    "vhba_facts",
)
# What a pool has room for is counted by type where parents have types. A type has the kernel's name, or else the
# vendor's; the members of a pool are counted, and the functions of a card.
OF_EACH_KIND = ("capacity", "type", "index")


def documentation(module: Path, name: str) -> Any:
    """A documentation variable of a module, read without running it."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no {name}")


@cache
def all_told() -> dict[str, Any]:
    """What ansible-doc tells of all modules, with what the fragments have."""
    arguments = ["doc", "--json", *(f"hostdev.nodedev.{module.stem}" for module in MODULES)]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", *arguments],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(module: str) -> dict[str, Any]:
    """The DOCUMENTATION of a module as ansible-doc tells it."""
    found: dict[str, Any] = all_told()[f"hostdev.nodedev.{module}"]["doc"]
    return found


@pytest.mark.parametrize("module", MODULES, ids=[module.stem for module in MODULES])
def test_each_module_leads_to_the_pages(module: Path) -> None:
    links = [each["link"] for each in told(module.stem)["seealso"] if "link" in each]
    assert links == [f"{REPOSITORY}/blob/main/docs/{page}.md" for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_there(page: str) -> None:
    assert (ROOT / "docs" / f"{page}.md").exists()


def anchors(page: Path) -> set[str]:
    """What a link may lead to within a page: its headings, as a repository's pages have them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: str(page.stem))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)]*)\)", page.read_text())
    wrong = []
    for target, anchor in links:
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


def scenario(module: str) -> dict[str, Any]:
    """The host that a module's examples are of."""
    names = [SCENARIOS.get(module, "nvidia-mdev"), *([MORE[module]] if module in MORE else [])]
    plans = [yaml.safe_load((ROOT / "tests" / "simhost" / "scenarios" / f"{name}.yml").read_text()) for name in names]
    cards = {card: size for plan in plans for card, size in plan.get("cards", {}).items()}
    return {**plans[0], "cards": cards, "devices": [device for plan in plans for device in plan["devices"]]}


@pytest.mark.parametrize("module", SIMULATED, ids=[module.stem for module in SIMULATED])
def test_examples_run(start: Callable[..., Host], module: Path, tmp_path: Path) -> None:
    host = start(scenario(module.stem))
    install(host)
    tasks = documentation(module, "EXAMPLES")
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    output = play(host, playbook, tmp_path)
    assert f"ok={len(tasks)}" in output
    assert "WARNING]" not in output


def returned(module: str) -> dict[str, Any]:
    """The RETURN section of a module; where it refers to another's for a key, with what stands there."""
    found: dict[str, Any] = documentation(ROOT / "plugins" / "modules" / f"{module}.py", "RETURN")
    return {key: resolved(value) for key, value in found.items()}


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """A key's documentation with what it refers to; its own sample is the one that counts."""
    reference = REFERENCE.fullmatch(paragraphs(value)[0])
    if reference is not None:
        there = {"contains": returned(reference["module"])}
        for key in reference["path"].replace("[]", "").split("."):
            there = there["contains"][key]
        value = {**there, **value}
    if "contains" in value:
        value = {**value, "contains": {key: resolved(part) for key, part in value["contains"].items()}}
    return value


def paragraphs(value: dict[str, Any]) -> list[str]:
    text = value["description"]
    return [text] if isinstance(text, str) else list(text)


def texts(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each key that is documented and does not refer to another module's, with its text."""
    for key, value in values.items():
        if REFERENCE.fullmatch(paragraphs(value)[0]) is None:
            yield key, " ".join(paragraphs(value))
        yield from texts(value.get("contains", {}))


def test_what_several_modules_return_is_documented_once() -> None:
    found: dict[str, set[str]] = {}
    for module in MODULES:
        if module.stem not in ANSWERS_OF_THEIR_OWN:
            for key, text in texts(documentation(module, "RETURN")):
                found.setdefault(key, set()).add(text)
    assert {key: told for key, told in found.items() if len(told) > 1 and key not in OF_EACH_KIND} == {}


def unlike(value: dict[str, Any], actual: Any, path: str) -> Iterator[str]:
    """Where a sample of RETURN has another type than what is returned; what is null or empty tells none."""
    if "sample" in value:
        yield from differing(value["sample"], actual, path)
    for key, part in value.get("contains", {}).items():
        for each in actual if isinstance(actual, list) else [actual]:
            yield from unlike(part, each.get(key), f"{path}.{key}")


def differing(sample: Any, actual: Any, path: str) -> Iterator[str]:
    if sample is None or actual is None:
        return
    if type(sample) is not type(actual):
        yield f"{path}: {sample!r} instead of one like {actual!r}"
    elif isinstance(sample, dict):
        for key in sample.keys() & actual.keys():
            yield from differing(sample[key], actual[key], f"{path}.{key}")
    elif isinstance(sample, list):
        for each, other in zip(sample, actual):
            yield from differing(each, other, f"{path}[]")


def samples_unlike(known: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """All samples of a RETURN section that are not like what a module has returned."""
    return [each for key, value in known.items() if key in made for each in unlike(value, made[key], key)]


def shape(contains: dict[str, Any]) -> set[str]:
    """The keys that a RETURN section lists, each of which has a sample."""
    assert [key for key, said in contains.items() if "sample" not in said and "contains" not in said] == []
    return set(contains)


def test_the_mdev_module_returns_what_it_documents(host: Host) -> None:
    known = returned("mdev")
    made = host.mdev(uuid=UUID)
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["mdev"]) == shape(known["mdev"]["contains"])
    assert samples_unlike(known, made) == []


def test_the_nodedev_module_returns_what_it_documents(host: Host, fc: Host) -> None:
    known = returned("nodedev")
    name = host.mdev(uuid=UUID)["mdev"]["name"]
    made = host.done("nodedev", name=name)
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known) - {"vhba", "hindrances"}
    assert set(made["mdev"]) == shape(known["mdev"]["contains"])
    vhba = fc.vhba()["vhba"]
    found = fc.done("nodedev", name=vhba["name"])
    assert set(found) - {"changed", "invocation", "warnings"} == shape(known) - {"mdev"}
    assert set(found["vhba"]) == shape(known["vhba"]["contains"])
    assert samples_unlike(known, made) + samples_unlike(known, found) == []


def test_the_mdev_types_facts_module_returns_what_it_documents(host: Host) -> None:
    known = returned("mdev_types_facts")
    sample = known["ansible_facts"]["contains"]["mdev_types"]["sample"]["pci_0000_3d_00_0"]
    facts = host.module("mdev_types_facts")["ansible_facts"]["mdev_types"]["pci_0000_3d_00_0"]
    assert set(facts) == set(sample)
    assert set(facts["types"]["nvidia-232"]) == set(sample["types"]["nvidia-232"])
    assert [*differing(sample, facts, "mdev_types")] == []


def test_the_mdev_pool_module_returns_what_it_documents(host: Host) -> None:
    known = returned("mdev_pool")
    made = host.pool(type="nvidia-232", count=1)
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    assert set(made["instances"][0]) == shape(known["instances"]["contains"])
    said = [*made["capacity"].values(), *known["capacity"]["sample"].values()]
    assert {frozenset(each) for types in said for each in types.values()} == {frozenset({"free", "pool", "others"})}
    assert samples_unlike(known, made) == []


def test_the_definition_facts_module_returns_what_it_documents(host: Host) -> None:
    known = returned("definition_facts")
    contains = known["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]
    host.pool(type="nvidia-232", count=1, attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.mdev(type="nvidia-232", attrs=[{"nvidia/vgpu_params": "a=1"}])
    host.write(f"/sys/bus/mdev/devices/{UUID}/nvidia/vgpu_params", "a=2")
    host.write(f"/etc/mdevctl.d/{CARD}/{OTHER}", "{")
    found = host.done("definition_facts")["ansible_facts"]["nodedev_definitions"]
    assert set(found) == shape(contains)
    for kind in ("mdev", "pool", "damaged"):
        assert {frozenset(each) for each in found[kind]} == {frozenset(contains[kind]["sample"][0])}
    drift = next(each["drift"] for each in found["mdev"] if each["uuid"] == UUID)
    assert set(drift[0]) == set(contains["mdev"]["sample"][0]["drift"][0])
    assert set(found["pool"][0]["instances"][0]) == set(contains["pool"]["sample"][0]["instances"][0])
    assert samples_unlike(contains, found) == []


def test_the_boot_engine_module_returns_what_it_documents(host: Host) -> None:
    known = returned("boot_engine")
    made = host.done("boot_engine")
    assert set(made) - {"changed", "invocation"} == shape(known)
    assert {frozenset(side) for side in made["diff"].values()} == {frozenset({"release", "files", "faults"})}
    assert [step.split(" ")[0] for step in made["plan"]] == [step.split(" ")[0] for step in known["plan"]["sample"]]


def test_the_vhba_module_returns_what_it_documents(fc: Host) -> None:
    known = returned("vhba")
    made = fc.vhba(wait_luns=3)
    assert set(made) - {"changed", "invocation", "warnings"} == shape(known)
    contains = known["vhba"]["contains"]
    assert set(made["vhba"]) == shape(contains)
    for part in ("targets", "luns"):
        assert {frozenset(each) for each in made["vhba"][part]} == {frozenset(contains[part]["sample"][0])}
    assert [step.split(" ")[0] for step in made["plan"]] == [step.split(" ")[0] for step in known["plan"]["sample"]]
    assert samples_unlike(known, made) == []


def test_the_vhba_facts_module_returns_what_it_documents(fc: Host) -> None:
    known = returned("vhba_facts")
    contains = known["ansible_facts"]["contains"]["vhba"]["contains"]
    fc.vhba(wait_luns=3)
    found = fc.done("vhba_facts")["ansible_facts"]["vhba"]
    assert set(found) == shape(contains)
    (sample,) = contains["hbas"]["sample"].values()
    assert {frozenset(each) for each in found["hbas"].values()} == {frozenset(sample)}
    assert [*differing(sample, next(iter(found["hbas"].values())), "hbas")] == []
    # Those are as the module vhba has them, but for what the description says.
    documented = shape(contains["vhbas"]["contains"])
    assert {frozenset(each) for each in found["vhbas"].values()} == {frozenset({*documented, "port_type"} - {"active"})}
    vhba = found["vhbas"]["scsi_host8"]
    assert [*unlike(contains["vhbas"], {"active": True, **vhba}, "vhbas")] == []
    assert [*differing(sample["port_type"], vhba["port_type"], "port_type")] == []
    for part in ("targets", "luns"):
        assert set(vhba[part][0]) == set(contains["vhbas"]["contains"][part]["sample"][0])


def test_the_definition_facts_module_returns_of_vhbas_what_it_documents(fc: Host) -> None:
    known = returned("definition_facts")
    (sample,) = known["ansible_facts"]["contains"]["nodedev_definitions"]["contains"]["vhba"]["sample"]
    fc.vhba()
    (said,) = fc.done("definition_facts", kinds=["vhba"])["ansible_facts"]["nodedev_definitions"]["vhba"]
    assert set(said) == set(sample)
    assert [*differing(sample, said, "vhba")] == []
