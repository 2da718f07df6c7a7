# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/report.yml on several hosts, and its page in a browser, as a person uses it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ansible_playbook
import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.filter.fleet_report import fleet_report
from chromium import Page, chromium
from conftest import CARD, OTHER, OTHER_CARD, ROOT, Host
from jinja2 import Environment
from plays import connection
from simhost.scenario import FOLDER

REPORT = ROOT / "playbooks" / "report.yml"
TEMPLATE = ROOT / "playbooks" / "templates" / "report.html.j2"
THIRD = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"
# Of a computer, of a type, and of who made the computer: what ends scripts, forges lines, turns the direction of
# writing, is taken for a template, and is long.
HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>{{ 7 * 191 }}{% raw %}{# \u202e"
HOSTILE_TYPE = "`|*[x](javascript:alert(1)) www.example.org \x1b[31m"
HOSTILE_NAME = "</ScRiPt><svg onload=alert(2)>" + 2000 * "x"
GUEST = "desk01<b>{{ 6 * 7 }}\x07"
MOST_SECONDS_TO_LOAD = 5.0
MOST_SECONDS_TO_UNFOLD = 0.5
# Ratio of the lightness of text and what is behind it (WCAG 2.2, 1.4.3).
LEAST_CONTRAST = 4.5


def hostile() -> dict[str, Any]:
    """The host with vGPU cards, on which vendors say what they should not."""
    text = (FOLDER / "nvidia-mdev.yml").read_text()
    for harmless, text_of_host in (
        ("GPU server", HOSTILE),
        ("Example", HOSTILE_NAME),
        ("GRID T4-4Q", HOSTILE_TYPE),
    ):
        text = text.replace(harmless, json.dumps(text_of_host))
    scenario: dict[str, Any] = yaml.safe_load(text)
    return scenario


@pytest.fixture(scope="module")
def folder(library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The report of three hosts, one that cannot be reached, and one that cannot run a module."""
    hosts = {"gpu": Host("nvidia-mdev"), "hostile": Host(hostile()), "fc": Host("fc")}
    folder = tmp_path_factory.mktemp("fleet")
    try:
        for host in hosts.values():
            host.library = library
            host.start()
        gpu = hosts["gpu"]
        # A pool of three of which one is gone, one that nobody has defined, one that a guest has, and a damaged file.
        pool = gpu.pool(name="desktops", type="nvidia-232", count=3)
        gone = pool["instances"][0]["uuid"]
        gpu.run(["sh", "-c", f"echo 1 > /sys/bus/mdev/devices/{gone}/remove"])
        gpu.mdev(uuid=OTHER, type="nvidia-232", parent=OTHER_CARD, persistent=False)
        gpu.write(f"/etc/mdevctl.d/{CARD}/{THIRD}", "{")
        hosts["hostile"].pool(type="nvidia-232", count=2)
        hosts["fc"].vhba()
        with guest(gpu, pool["instances"][1]["uuid"]):
            gathered(hosts, folder)
        yield folder
    finally:
        for host in hosts.values():
            host.stop()


@contextmanager
def guest(host: Host, uuid: str) -> Iterator[None]:
    """A process that has a mediated device open and calls itself a guest with a name that is a mischief."""
    node = f"/dev/vfio/{host.path(f'/sys/bus/mdev/devices/{uuid}/iommu_group').readlink().name}"
    hold = f"import os, signal; os.open({node!r}, os.O_RDWR); print(flush=True); signal.pause()"
    process = host.popen(
        [host.python, "-c", hold, "-name", f"guest={GUEST}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate(timeout=5)


def gathered(hosts: dict[str, Host], folder: Path, **others: dict[str, str]) -> None:
    """Run the playbook, as a person does; ``others`` are what the inventory says of more hosts."""
    broken = folder / "broken"
    broken.write_text("#!/bin/sh\necho 'there is no Python here' >&2\nexit 1\n")
    broken.chmod(0o755)
    inventory = {
        **others,
        **{name: connection(host, folder / f"python-{name}") for name, host in hosts.items()},
        "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "broken": {"ansible_connection": "local", "ansible_python_interpreter": str(broken)},
    }
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": inventory}}))
    (folder / "output").write_text(ansible_playbook.printed(folder, "-i", "inventory.yml", str(REPORT)))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser, one for all tests of this file."""
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(folder: Path, browser: Page) -> Page:
    """The page of the report, just opened."""
    browser.show(1200, 900)
    browser.open(folder / "report" / "report.html")
    return browser


def hosts_of(folder: Path) -> dict[str, Any]:
    """The same report as JSON."""
    found: dict[str, Any] = json.loads((folder / "report" / "report.json").read_text())["hosts"]
    return found


def test_what_is_reported(folder: Path) -> None:
    hosts = hosts_of(folder)
    assert list(hosts) == ["gpu", "hostile", "fc", "gone", "broken"]
    marks = {key: value for key, value in hosts["gpu"]["marks"].items() if value}
    assert marks == {"drift": 1, "damaged": 1, "short": 1, "held": 1}
    assert hosts["gpu"]["held"][0]["domain"] == GUEST
    counted = [(each["free"], each["ours"], each["others"]) for each in hosts["gpu"]["capacity"]]
    assert sorted(counted) == [(2, 1, 1), (3, 1, 0)]
    (pool,) = hosts["gpu"]["pools"]
    assert (pool["name"], pool["active"], pool["count"]) == ("desktops", 2, 3)
    fc = {each["card"]: (each["ours"], each["free"]) for each in hosts["fc"]["capacity"]}
    assert fc["scsi_host3"] == (1, 3)
    assert not any(hosts["fc"]["marks"].values())


def test_hosts_that_fail_are_there_with_their_error(folder: Path) -> None:
    hosts = hosts_of(folder)
    (gone,), (broken,) = hosts["gone"]["failures"], hosts["broken"]["failures"]
    assert gone["module"] == "nodedev_facts"
    assert "Connection refused" in gone["message"]
    assert broken["module"] == "nodedev_facts, definition_facts, mdev_types_facts, vhba_facts, vgpu_facts"
    assert broken["message"].endswith("there is no Python here")
    recap = (folder / "output").read_text().partition("PLAY RECAP")[2]
    assert re.findall(r"failed=(\d+)", recap) == ["0"] * len(hosts)


def test_hosts_that_fail_before_they_are_asked(tmp_path: Path) -> None:
    odd = {"ansible_connection": "ssh", "ansible_host": "{{ nope }}"}
    gathered({}, tmp_path, odd=odd, other={"ansible_connection": "nosuch"})
    hosts = hosts_of(tmp_path)
    assert {*hosts} == {"odd", "other", "gone", "broken"}
    for name, why in (("odd", "'nope' is undefined"), ("other", "nosuch")):
        (failure,) = hosts[name]["failures"]
        assert failure["module"].startswith("nodedev_facts")
        assert why in failure["message"]


def test_what_hosts_say_is_text_on_the_page(folder: Path, page: Page) -> None:
    host = hosts_of(folder)["hostile"]
    assert host["system"]["product"] == f"{HOSTILE_NAME} {HOSTILE}"
    assert HOSTILE_TYPE in [each["name"] for card in host["capacity"] for each in card["types"]]
    page.say("articles.forEach((each) => unfold(each, true))")
    page.say("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    while page.say(
        "[...document.querySelectorAll('[role=treeitem][aria-expanded=false]')].map((e) => e.unfold(true)).length"
    ):
        pass
    assert page.say("document.querySelectorAll('img, svg, iframe, a:not(.skip), b').length") == 0
    assert page.say("document.querySelectorAll('script').length") == 2 + len(hosts_of(folder))
    seen = page.say("document.body.innerText")
    for text in (
        HOSTILE.replace("\u202e", "\\u202e"),
        HOSTILE_TYPE.replace("\x1b", "\\u001b"),
        GUEST.replace("\x07", "\\u0007"),
    ):
        assert text in seen
    assert not re.search("[\u202e\x1b\x07]", seen)
    # What is long is cut, and the page is no wider than the window.
    assert HOSTILE_NAME[:300] in seen
    assert HOSTILE_NAME not in seen
    assert page.say("document.documentElement.scrollWidth") <= 1200
    assert (page.complaints, {url.partition(":")[0] for url in page.requests}) == ([], {"file"})


def test_it_folds_by_keyboard(page: Page) -> None:
    def at() -> str:
        return str(page.say("document.activeElement.closest('[aria-expanded], input, select, button, a').textContent"))

    def is_open() -> bool:
        return bool(page.say("document.activeElement.getAttribute('aria-expanded') === 'true'"))

    # Past the way to the hosts, the filter, the choice and the button, to the first host.
    page.press("Tab", "Tab", "Tab", "Tab", "Tab")
    assert at().startswith("gpu")
    assert not is_open()
    assert page.say("document.querySelectorAll('[role=tree]').length") == 0
    page.press("Enter")
    assert is_open()
    assert page.say("document.querySelectorAll('[role=tree]').length") == 1
    # The tree is one stop, and what is below a card is drawn when the card is unfolded.
    page.say("document.querySelector('[role=tree] [tabindex=\"0\"]').focus()")
    assert (at()[:8], is_open()) == ("computer", True)
    page.press("End")
    assert page.say("document.activeElement.getAttribute('aria-label')").startswith("pci_0000_af_00_0")
    assert page.say("document.querySelectorAll('[aria-level=\"3\"]').length") == 0
    page.press("ArrowRight", "ArrowRight")
    assert page.say("document.activeElement.getAttribute('aria-label')").startswith("mdev_")
    assert page.say("document.activeElement.getAttribute('aria-level')") == "3"
    page.press("ArrowLeft", "ArrowLeft")
    assert (page.say("document.activeElement.getAttribute('aria-label')")[:16], is_open()) == (
        "pci_0000_af_00_0",
        False,
    )
    page.press("ArrowUp", "Home", " ")
    assert (at()[:8], is_open()) == ("computer", False)
    assert page.say("document.querySelectorAll('[role=tree] [tabindex=\"0\"]').length") == 1
    # From host to host, and folded again.
    page.say("document.querySelector('h2 button').focus()")
    page.press("ArrowDown")
    assert at().startswith("hostile")
    page.press("Home", " ")
    assert (at()[:3], is_open()) == ("gpu", False)
    assert page.say("document.querySelector('.details').hidden")
    page.press("End")
    assert at().startswith("broken")


@pytest.mark.parametrize("dark", [False, True])
def test_what_has_the_focus_is_seen_to_have_it(page: Page, dark: bool) -> None:
    page.show(1200, 900, dark)
    page.say("unfold(articles[0], true)")
    stops = 0
    for _stop in range(12):
        page.press("Tab")
        style = page.say(
            "(({outlineStyle, outlineWidth, outlineColor}) => [outlineStyle, outlineWidth, outlineColor])"
            "(getComputedStyle(document.activeElement))"
        )
        if page.say("document.activeElement !== document.body"):
            stops += 1
            assert style[:2] == ["solid", "3px"]
            assert contrast(style[2], page.say("getComputedStyle(document.body).backgroundColor")) >= 3
    assert stops >= 8


def contrast(one: str, other: str) -> float:
    """How much two colours of CSS differ in lightness, as WCAG 2.2 counts."""

    def lightness(colour: str) -> float:
        red, green, blue = (int(each) / 255 for each in re.findall(r"\d+", colour)[:3])
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((lightness(one), lightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(page: Page, dark: bool) -> None:
    page.show(1200, 900, dark)
    page.say("unfold(articles[0], true)")
    pairs = page.say(
        "[...document.querySelectorAll('h1, h3, .quiet, .mark, td .text, .device .name, label')].map((each) => {"
        " let behind = each;"
        " while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;"
        " return [getComputedStyle(each).color, getComputedStyle(behind).backgroundColor]; })"
    )
    assert len({tuple(pair) for pair in pairs}) >= 4
    assert [pair for pair in pairs if contrast(*pair) < LEAST_CONTRAST] == []
    behind = pairs[0][1]
    assert contrast(behind, "rgb(0, 0, 0)") < 2 if dark else behind == "rgb(255, 255, 255)"


def test_the_filter(page: Page) -> None:
    def shown() -> list[str]:
        """Which hosts are to be seen, once the page has said how many."""
        time.sleep(0.2)
        names = page.say("articles.filter((e) => !e.hidden).map((e) => e.querySelector('h2 .text').textContent)")
        assert page.say("document.querySelector('[role=status]').textContent") == f"{len(names)} of 5 hosts"
        found: list[str] = names
        return found

    assert len(shown()) == 5
    page.press("/")
    assert page.say("document.activeElement.id") == "filter"
    page.press(*"Desk01")
    assert shown() == ["gpu"]
    page.say("document.activeElement.value = ''")
    # A device, a guest and an error of hosts that nobody has unfolded.
    for text, hosts in (("scsi_host8", ["fc"]), ("desk01", ["gpu"]), ("refused", ["gone"]), ("nothing at all", [])):
        page.say(f"document.activeElement.value = {text!r}; document.activeElement.dispatchEvent(new Event('input'))")
        assert shown() == hosts
    page.say("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")
    page.say("which.value = 'failed'; which.dispatchEvent(new Event('change'))")
    assert shown() == ["gone", "broken"]
    page.press("Enter")
    assert page.say("location.href").endswith("report.html")


def test_what_a_screen_reader_is_told(page: Page) -> None:
    page.say("unfold(articles[0], true)")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    told = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and "role" in node
    }
    names: dict[str, set[str]] = {}
    for role, name in told:
        names.setdefault(role, set()).add(name)
    assert names["tree"] == {"Devices of gpu"}
    assert "computer GPU server" in names["treeitem"]
    assert {"searchbox", "combobox", "status", "main", "search", "columnheader"} <= set(names)
    assert not {name for name in names["button"] if not name}
    assert any(name.startswith("gpu") for name in names["button"])
    # Bars are drawings of what is said beside them.
    assert page.say("document.querySelectorAll('.bar:not([aria-hidden])').length") == 0
    assert "2 ours, 1 others, 5 free" in page.say("document.querySelector('.host').innerText")
    assert page.say("document.querySelector('h2 button').ariaDescribedByElements[0].innerText").splitlines() == [
        "\u2716 damaged files: 1",
        "\u2260 drift: 1",
        "\u25bd pools short: 1",
        "\u25cf in use: 1",
    ]


def test_five_hundred_hosts(folder: Path, browser: Page, tmp_path: Path) -> None:
    parts = []
    devices = [
        {"name": f"pci_0000_{bus:02x}_{slot:02x}_0", "parent": "computer" if slot == 0 else f"pci_0000_{bus:02x}_00_0"}
        | {"kind": "pci", "what": "Example Corporation, a card of several functions", "driver": "vfio-pci"}
        for bus in range(12)
        for slot in range(25)
    ]
    (host,) = (each for name, each in hosts_of(folder).items() if name == "gpu")
    for number in range(500):
        computer = {"name": "computer", "parent": None, "kind": "system", "what": "server", "driver": None}
        parts.append({**host, "name": f"host{number:03}", "devices": [computer, *devices]})
    template = Environment(trim_blocks=True, keep_trailing_newline=True).from_string(TEMPLATE.read_text())
    file = tmp_path / "report.html"
    file.write_text(template.render(report_page=fleet_report(parts, "page", "now")))
    browser.show(1200, 900)
    begun = time.monotonic()
    browser.open(file)
    assert browser.say("articles.length") == 500
    loaded = time.monotonic() - begun
    unfolded = seconds(browser, "unfold(articles[250], true)")
    assert browser.say("document.querySelectorAll('[role=tree]').length") == 1
    found = seconds(browser, "document.getElementById('filter').value = 'host4'; choose()")
    assert browser.say("articles.filter((each) => !each.hidden).length") == 100
    print(f"{file.stat().st_size >> 20} MiB, loaded {loaded:.2f} s, unfolded {unfolded:.3f} s, filtered {found:.3f} s")
    assert loaded < MOST_SECONDS_TO_LOAD
    assert max(unfolded, found) < MOST_SECONDS_TO_UNFOLD


def seconds(page: Page, script: str) -> float:
    """How long something takes in the page until all of it has its place."""
    start, end = "const begun = performance.now()", "document.body.offsetHeight; return performance.now() - begun"
    return float(page.say(f"(() => {{ {start}; {script}; {end}; }})()")) / 1000
