# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's filters: what is counted as what, and that whatever hosts say is text in every form of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hostdev.nodedev.plugins.filter.fleet_report import FilterModule as Fleet
from ansible_collections.hostdev.nodedev.plugins.filter.host_report import FilterModule as One
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from markdown_it import MarkdownIt
from test_filters_odd_input import ODD

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "playbooks" / "templates" / "report.html.j2"
host_report = One().filters()["host_report"]
fleet_report = Fleet().filters()["fleet_report"]
CARD = "pci_0000_41_00_0"
UUID, OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"
ADDRESS = {"domain": "0x0000", "bus": "0x41", "slot": "0x00", "function": "0x0"}
HOSTILE = "</script><!--<script><img src=x onerror=alert(1)>{{ 7 * 191 }}{% raw %}{# `|*_[x](javascript:y) \u2028\u202e"
FORMS = ("json", "markdown", "page")


def told(**facts: Any) -> dict[str, Any]:
    """The part of a host whose modules returned these facts, each under its key."""
    names = {"nodedev": "nodedev", "definitions": "nodedev_definitions", "types": "mdev_types"}
    answers = {key: {"ansible_facts": {names.get(key, key): value}} for key, value in facts.items()}
    found: dict[str, Any] = json.loads(host_report(answers, "h"))
    assert found["failures"] == []
    return found


def mdev(uuid: str, **others: Any) -> dict[str, Any]:
    """A definition of a mediated device."""
    plain = {"uuid": uuid, "name": f"mdev_{uuid}", "pool": None, "drift": [], "parent_missing": False, "domain": None}
    return {**plain, "autostart": True, "active": True, **others}


def card(functions: list[dict[str, Any]], *types: tuple[str, int | None]) -> dict[str, Any]:
    """vgpu_facts of one card."""
    listed = [{"name": name, "free": free} for name, free in types]
    there = {"product": {"id": "0x26b9", "name": "L40S"}, "why": None, "functions": functions, "types": listed}
    return {"cards": {CARD: there}, "readiness": []}


def function(name: str, kind: str | None, uuid: str | None = None, type_id: int | None = None) -> dict[str, Any]:
    return {"name": name, "address": f"at-{name}", "type": kind, "type_id": type_id, "uuid": uuid}


def hba(**others: Any) -> dict[str, Any]:
    return {"npiv": True, "vports": 2, "free_vports": 3, "vhbas": ["scsi_host9"], "hindrance": None, **others}


def parent(*instances: str, free: int = 1) -> dict[str, Any]:
    return {"types": {"t-1": {"name": "T 1", "available_instances": free, "instances": [*instances]}}}


def pci(*capabilities: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"parent": "computer", "capability": {"type": "pci", "capability": [*capabilities]}, **others}


VF = pci({"type": "phys_function", "address": ADDRESS})


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({"vgpu": card([], ("8Q", 6), ("16Q", 3))}, ("vGPUs", 6, 0, 0), id="empty"),
        pytest.param({"vgpu": card([], ("8Q", None))}, ("vGPUs", None, 0, 0), id="unknown"),
        pytest.param({"vgpu": card([])}, ("vGPUs", 0, 0, 0), id="no-types"),
        pytest.param(
            {
                "vgpu": card(
                    [function("f4", "16Q"), function("f5", "16Q"), function("f6", None)], ("8Q", 4), ("16Q", 2)
                ),
                "definitions": {"vgpu": [{**mdev(UUID), "name": "f4"}]},
            },
            ("vGPUs", 2, 1, 1),
            id="functions",
        ),
        pytest.param({"vgpu": card([function("f4", None, type_id=713)])}, ("vGPUs", None, 0, 1), id="nameless-type"),
        pytest.param(
            {
                "vgpu": card([function(CARD, "8Q", UUID), function(CARD, None, OTHER)], ("8Q", 4)),
                "types": {CARD: parent(UUID)},
                "definitions": {"mdev": [mdev(UUID)]},
            },
            ("vGPUs", 4, 1, 1),
            id="nvidia-mdevs-once",
        ),
        pytest.param(
            {"types": {"css_0_0_0013": parent(UUID, OTHER, free=0)}, "definitions": {"mdev": [mdev(UUID)]}},
            ("mediated devices", 0, 1, 1),
            id="parent",
        ),
        pytest.param(
            {"types": {"vf4": parent(UUID), "vf5": parent()}, "nodedev": {"devices": {"vf4": VF, "vf5": VF}}},
            ("mediated devices", 2, 0, 1),
            id="functions-of-one-card",
        ),
        pytest.param(
            {"vhba": {"hbas": {"scsi_host3": hba()}, "vhbas": {"scsi_host9": {"persistent": True}}}},
            ("vHBAs", 3, 1, 1),
            id="hba",
        ),
        pytest.param(
            {"vhba": {"hbas": {"scsi_host3": hba(hindrance="down", vhbas=[])}, "vhbas": {}}},
            ("vHBAs", 0, 0, 2),
            id="hba-that-is-down",
        ),
        pytest.param(
            {"nodedev": {"devices": {CARD: pci({"type": "virt_functions", "maxCount": 8, "address": [ADDRESS] * 3})}}},
            ("virtual functions", 5, 0, 3),
            id="virtual-functions",
        ),
        pytest.param(
            {
                "nodedev": {"devices": {CARD: pci({"type": "virt_functions", "maxCount": 8, "address": [ADDRESS]})}},
                "definitions": {"sriov": [{**mdev(UUID), "name": CARD}]},
            },
            ("virtual functions", 7, 1, 0),
            id="virtual-functions-that-are-defined",
        ),
    ],
)
def test_capacity(facts: dict[str, Any], expected: tuple[str, int | None, int, int]) -> None:
    (found,) = told(**facts)["capacity"]
    assert tuple(found[key] for key in ("kind", "free", "ours", "others")) == expected


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (mdev(UUID), []),
        (mdev(UUID, active=False, autostart=False), []),
        (mdev(UUID, active=False), [("state", "there", "not there")]),
        (mdev(UUID, active=False, parent_missing=True), [("state", "there", "its parent is not there")]),
        (
            mdev(UUID, drift=[{"what": "type", "defined": "t-1", "running": "t-2"}], active=False),
            [("type", "t-1", "t-2")],
        ),
    ],
)
def test_drift(definition: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    found = told(definitions={"mdev": [definition]})["drift"]
    assert [(each["what"], each["defined"], each["running"]) for each in found] == expected


@pytest.mark.parametrize(
    ("kind", "definition", "device"),
    [
        ("ap_mask", {"by": "masks"}, "ap_mask masks"),
        ("vhba", {"name": None, "wwpn": "2101001b32a9da5e"}, "vhba 2101001b32a9da5e"),
        ("vhba", {"name": "scsi_host9", "wwpn": "2101001b32a9da5e"}, "scsi_host9"),
    ],
)
def test_what_a_definition_is_called(kind: str, definition: dict[str, Any], device: str) -> None:
    definition = {**definition, "drift": [], "parent_missing": False, "autostart": True, "active": False}
    (found,) = told(definitions={kind: [definition]})["drift"]
    assert found["device"] == device


@pytest.mark.parametrize(
    ("count", "active", "managed", "short"), [(2, 2, False, 0), (2, 1, False, 1), (1, 2, False, 0), (2, 0, True, 0)]
)
def test_pools_that_are_short(count: int, active: int, managed: bool, short: int) -> None:
    instances = [{"index": number, "id": f"u{number}", "parent_addr": "a"} for number in range(2)]
    pool = {"name": "p", "kind": "mdev", "count": count, "managed": managed, "instances": instances}
    members = [mdev(f"u{number}", pool="p", active=number < active, autostart=False) for number in range(2)]
    part = host_report(
        {"definitions": {"ansible_facts": {"nodedev_definitions": {"mdev": members, "pool": [pool]}}}}, "h"
    )
    assert json.loads(fleet_report([part], "json"))["hosts"]["h"]["marks"]["short"] == short


@pytest.mark.parametrize(
    ("id", "facts"),
    [
        (UUID, {"types": {"a": parent(UUID)}}),
        ("at-f4", {"vgpu": card([function("f4", None, type_id=713)])}),
        ("w", {"vhba": {"hbas": {}, "vhbas": {"scsi_host9": {"wwpn": "w"}}}}),
    ],
)
def test_a_pool_of_this_boot_has_what_runs(id: str, facts: dict[str, Any]) -> None:
    """Its instances have no definitions."""
    instances = [{"index": number, "id": one, "parent_addr": "a"} for number, one in enumerate((id, "x"))]
    pool = {"name": "p", "kind": "mdev", "count": 2, "managed": False, "instances": instances}
    assert told(**facts, definitions={"mdev": [], "pool": [pool]})["pools"][0]["active"] == 1


def test_who_holds_what() -> None:
    holder = {"node": "/dev/vfio/1", "how": "open by", "by": "qemu", "pid": 7, "domain": "desk"}
    devices = {"m": {"capability": {"type": "mdev"}, "extra": {"holders": [holder]}}}
    managed = [{**mdev(UUID), "name": "m", "domain": "desk"}, {**mdev(OTHER), "name": "n", "domain": "next"}]
    held = told(nodedev={"devices": devices}, definitions={"mdev": managed})["held"]
    assert [(each["device"], each["domain"], each["pid"]) for each in held] == [("m", "desk", 7), ("n", "next", None)]


def test_readiness_is_of_hosts_that_could_have_vgpus() -> None:
    finding = {"device": None, "what": "iommu", "ok": False, "found": "it is off", "advice": None}
    assert told(vgpu={"cards": {}, "readiness": [finding]})["readiness"] == []
    assert told(vgpu={**card([]), "readiness": [finding]})["readiness"] == [finding]


@pytest.mark.parametrize(
    ("answers", "failures"),
    [
        ({"nodedev": {"unreachable": True, "msg": "no route"}}, [("nodedev_facts", "no route")]),
        ({"nodedev": {"msg": "x", "module_stderr": "a\nb\n"}}, [("nodedev_facts", "x: b")]),
        ({"nodedev": {"msg": "x"}, "vhba": {"msg": "x"}}, [("nodedev_facts, vhba_facts", "x")]),
        ({"nodedev": {"unreachable": True, "msg": "x"}, "vhba": {"skipped": True}}, [("nodedev_facts", "x")]),
        ({"vgpu": {}}, [("vgpu_facts", "it did not say why")]),
        ({"vgpu": None}, []),
        ({"vgpu": {"ansible_facts": {"vgpu": {"cards": 3}}}}, [("capacity", "the facts have another shape")]),
    ],
)
def test_failures_of_a_host(answers: dict[str, Any], failures: list[tuple[str, str]]) -> None:
    found = json.loads(host_report(answers, "h"))["failures"]
    assert [each["module"] for each in found] == [module for module, _message in failures]
    assert all(each["message"].startswith(message) for each, (_module, message) in zip(found, failures))


class Elements(HTMLParser):
    """The elements and comments of a page, as a browser understands it, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_comment(self, data: str) -> None:
        self.found.append("a comment")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1] == "script":
            self.scripts[-1] += data


def elements(hosts: list[str]) -> Elements:
    template = Environment(trim_blocks=True, keep_trailing_newline=True).from_string(TEMPLATE.read_text())
    found = Elements()
    found.feed(template.render(report_page=fleet_report(hosts, "page", HOSTILE)))
    return found


def facts_with(text: str) -> dict[str, Any]:
    """What modules returned, with this text in every place that a host fills."""
    holder = {"node": text, "by": text, "pid": 1, "domain": text}
    device = {"parent": text, "driver": {"name": text}, "capability": {"type": text, "product": text}}
    finding = {"device": text, "what": text, "ok": None, "found": text, "advice": text}
    drift = [{"what": text, "defined": text, "running": text}]
    definitions = {
        "mdev": [mdev(text, name=text, drift=drift, domain=text)],
        "pool": [{"name": text, "kind": text, "type": text, "count": 1, "instances": [{"parent_addr": text}]}],
        "damaged": [{"path": text, "reason": text}],
    }
    return {
        "nodedev": {
            "ansible_facts": {"nodedev": {"devices": {text: {**device, "extra": {"holders": [holder]}}, "x": device}}},
            "warnings": [text],
            "hint": [text],
        },
        "definitions": {"ansible_facts": {"nodedev_definitions": definitions}},
        "types": {"ansible_facts": {"mdev_types": {text: parent(text)}}},
        "vhba": {"msg": text},
        "vgpu": {"ansible_facts": {"vgpu": {**card([function(text, text, text)], (text, 1)), "readiness": [finding]}}},
    }


@settings(max_examples=25)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
@example(text=HOSTILE)
@example(text="</SCRIPT >")
@example(text="- x\n\n# y\n\n1. z")
@example(text="1. www.example.org https://example.org a@example.org ~~x~~ ==x==")
@example(text="---")
@example(text="\\")
@example(text="x" * 5000)
def test_text_of_hosts_is_text(text: str) -> None:
    part = host_report(facts_with(text), text)
    host = json.loads(part)
    assert (host["name"], host["damaged"][0]["path"], host["warnings"]) == (text, text, [text])
    plain, page = elements([host_report({}, "h")]), elements([part])
    assert page.found == plain.found
    assert json.loads(page.scripts[1])["held"] == host["held"]
    for form in ("json", "markdown"):
        assert not re.search(r"\{[{%#]|[<>]", fleet_report([part], form, text))
    assert json.loads(fleet_report([part], "json", text))["hosts"][text]["drift"] == host["drift"]
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(fleet_report([part], "markdown", text))
    allowed = {
        "heading",
        "paragraph",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "bullet_list",
        "list_item",
        "inline",
    }
    assert {re.sub("_(open|close)$", "", token.type) for token in tokens} <= allowed
    inside = {each.type for token in tokens for each in token.children or ()}
    assert inside <= {"text", "text_special", "strong_open", "strong_close", "softbreak"}


def test_the_page_allows_the_script_that_it_has() -> None:
    text = TEMPLATE.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


@pytest.mark.parametrize(
    ("parts", "form", "message"),
    [
        ([], "pdf", "form is 'pdf', not one of json, markdown, page"),
        (None, "json", "this is not a list of what host_report gives"),
        (["x"], "json", "this is not a list of what host_report gives"),
        ([{}], "page", "this is not a list of what host_report gives"),
    ],
)
def test_what_is_no_report(parts: Any, form: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        fleet_report(parts, form)


@settings(max_examples=50)
@given(key=st.sampled_from(["nodedev", "definitions", "types", "vhba", "vgpu"]), value=ODD, deep=st.booleans())
def test_no_answer_of_a_host_ends_in_a_traceback(key: str, value: Any, deep: bool) -> None:
    names = {"nodedev": "devices", "definitions": "mdev", "types": "x", "vhba": "hbas", "vgpu": "cards"}
    facts = {"nodedev": "nodedev", "definitions": "nodedev_definitions", "types": "mdev_types"}
    answers = {key: {"ansible_facts": {facts.get(key, key): {names[key]: value}}} if deep else value}
    try:
        part = host_report(answers, "h")
    except AnsibleFilterError:
        return
    for form in FORMS:
        fleet_report([part], form)


def test_the_examples(tmp_path: Path) -> None:
    """The filters' documented examples, by ansible itself; a module's task before them is left out."""
    documents = [
        yaml.safe_load((ROOT / f"plugins/filter/{name}.yml").read_text()) for name in ("host_report", "fleet_report")
    ]
    tasks = [task for document in documents for task in yaml.safe_load(document["EXAMPLES"])]
    drift = [{"what": "type", "defined": "t-1", "running": "t-2"}]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "defined": {"ansible_facts": {"nodedev_definitions": {"mdev": [mdev(UUID, drift=drift)]}}},
        },
        "tasks": [task for task in tasks if "register" not in task],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"running": "t-2"' in done.stdout
    assert r"# Virtual devices of 1 host\n" in done.stdout
