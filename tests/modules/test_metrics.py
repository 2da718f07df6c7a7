# SPDX-License-Identifier: GPL-3.0-or-later
"""nodedev-restore --metrics on the simulated host, by the timer that the role installs, and the example of alerts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.metrics import HELP
from conftest import CARD, OTHER, OTHER_CARD, ROOT, UUID, Host
from plays import play
from prometheus_client.parser import text_string_to_metric_families
from simhost.scenario import FOLDER
from test_playbooks import ROLE, quiet
from test_restore import COMMAND, install, restore

FILE = "/var/lib/prometheus/node-exporter/nodedev.prom"
UNIT, TIMER = (f"/etc/systemd/system/nodedev-metrics.{kind}" for kind in ("service", "timer"))
WANTS = "/etc/systemd/system/timers.target.wants/nodedev-metrics.timer"
PROMTOOL = str(ROOT / ".build" / "promtool" / "promtool")
RULES = ROOT / "docs" / "examples" / "nodedev.rules.yml"
PAGE = ROOT / "docs" / "monitoring.md"
HOSTILE = 'x"} 7\n# TYPE a b\\ \x1b[31m\u202e'

Metrics = dict[tuple[str, ...], float]


def gathered(host: Host, *options: str, status: int = 0) -> Metrics:
    """What the command writes, as Prometheus' own parser reads it: by the name and the values of the labels."""
    done = restore(host, "--metrics", "/run/textfiles/nodedev.prom", *options)
    assert done.returncode == status, done.stderr
    return parsed(host.read("/run/textfiles/nodedev.prom"))


def parsed(text: str) -> Metrics:
    found: Metrics = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def counts(metrics: Metrics, kind: str, pool: str = "") -> tuple[float, ...]:
    """How many are wanted, made, drifted and failed."""
    return tuple(metrics[(f"nodedev_{name}", kind, pool)] for name in ("wanted", "made", "drifted", "failed"))


def test_what_is_counted(host: Host) -> None:
    install(host)
    assert counts_of_nothing(gathered(host))
    pool = host.pool(name="desktops", type="nvidia-232", count=3)
    host.mdev(uuid=UUID, type="nvidia-232", parent=OTHER_CARD)
    host.mdev(uuid=OTHER, type="nvidia-232", parent=OTHER_CARD, autostart=False)
    now = gathered(host)
    assert counts(now, "mdev", "desktops") == (3, 3, 0, 0)
    assert counts(now, "mdev") == (1, 1, 0, 0)
    free = {key[2:]: value for key, value in now.items() if key[0] == "nodedev_free" and key[3] == "GRID T4-4Q"}
    cards = [each["parent_addr"] for each in pool["instances"]]
    assert free == {
        ("pci_0000_3d_00_0", "GRID T4-4Q"): 4 - cards.count(CARD),
        ("pci_0000_af_00_0", "GRID T4-4Q"): 2 - cards.count(OTHER_CARD),
    }
    # One is gone, one runs with another attribute than defined, and a file is damaged.
    gone = pool["instances"][0]["uuid"]
    host.run(["sh", "-c", f"echo 1 > /sys/bus/mdev/devices/{gone}/remove"])
    host.run(
        [
            "sed",
            "-i",
            's/"attrs": .*/"attrs": [{"nvidia\\/vgpu_params": "a=1"}]/',
            f"/etc/mdevctl.d/{OTHER_CARD}/{UUID}",
        ]
    )
    host.write(f"/etc/mdevctl.d/{CARD}/{OTHER[:-1]}9", "{")
    now = gathered(host)
    assert counts(now, "mdev", "desktops") == (3, 2, 0, 0)
    assert counts(now, "mdev") == (1, 1, 1, 0)
    assert now[("nodedev_damaged_files",)] == 1
    assert ("nodedev_last_restore_timestamp_seconds",) not in now


def counts_of_nothing(metrics: Metrics) -> bool:
    """Whether nothing is told but what is free, and that all could be gathered."""
    named = {key[0]: value for key, value in metrics.items() if key[0] != "nodedev_free"}
    return named == {"nodedev_damaged_files": 0, "nodedev_unreadable": 0, "nodedev_collector_success": 1}


def test_what_could_not_be_restored_is_counted_until_it_is_there(host: Host) -> None:
    install(host)
    host.pool(name="desktops", type="nvidia-232", count=2, parents={"addresses": [CARD]})
    host.mdev(uuid=UUID, type="nvidia-232", parent=OTHER_CARD)
    host.reboot()
    host.fault(f"/sys/devices/*/{CARD}/*/create", op="write", errno="ENOSPC")
    assert restore(host, "--wait", "0").returncode == 1
    now = gathered(host)
    assert counts(now, "mdev", "desktops") == (2, 0, 0, 2)
    assert counts(now, "mdev") == (1, 1, 0, 0)
    before = now[("nodedev_last_restore_timestamp_seconds",)]
    host.clear_faults()
    assert restore(host, "--parent", CARD).returncode == 0
    now = gathered(host)
    assert counts(now, "mdev", "desktops") == (2, 2, 0, 0)
    assert now[("nodedev_last_restore_timestamp_seconds",)] > before
    # One that is gone after it was restored has not failed to be restored.
    host.run(["sh", "-c", f"echo 1 > /sys/bus/mdev/devices/{UUID}/remove"])
    assert counts(gathered(host), "mdev") == (1, 0, 0, 0)


def test_an_outcome_that_cannot_be_kept_changes_nothing(host: Host) -> None:
    install(host)
    host.mdev()
    host.write("/run/nodedev/restored", "a file in the place of the folder")
    host.run(["sh", "-c", f"echo 1 > /sys/bus/mdev/devices/{UUID}/remove"])
    done = restore(host)
    assert (done.returncode, done.stderr) == (0, "")
    assert counts(gathered(host), "mdev") == (1, 1, 0, 0)


def test_what_is_free_of_hbas_and_of_functions(start: Callable[..., Host]) -> None:
    fibre, cards = start("fc"), start("nvidia-vfio-small")
    for host in (fibre, cards):
        install(host)
    fibre.vhba()
    now = gathered(fibre)
    assert counts(now, "vhba") == (1, 1, 0, 0)
    free = {key[2]: value for key, value in now.items() if key[:2] == ("nodedev_free", "vhba")}
    assert free["scsi_host3"] == 3
    # A port that is down takes none.
    assert free["scsi_host5"] == 0
    facts = cards.done("vgpu_facts")["ansible_facts"]["vgpu"]["cards"]
    types = [(name, each) for name, card in facts.items() for each in card["types"] if each["free"] is not None]
    now = gathered(cards)
    assert types
    for name, each in types:
        assert now[("nodedev_free", "vgpu", name, each["name"])] == each["free"]


def test_no_functions_are_a_wish_too(start: Callable[..., Host]) -> None:
    host = start("functions")
    install(host)
    assert host.done("sriov", device="0000:3b:00.0", numvfs=0)["changed"]
    assert counts(gathered(host), "sriov") == (1, 1, 0, 0)
    host.write("/sys/bus/pci/devices/0000:3b:00.0/sriov_numvfs", "2")
    assert counts(gathered(host), "sriov") == (1, 0, 1, 0)


def test_names_of_drivers_are_text(start: Callable[..., Host]) -> None:
    scenario: dict[str, Any] = yaml.safe_load((FOLDER / "nvidia-mdev.yml").read_text())
    (behaviour, *_rest) = (each["behaviour"] for each in scenario["devices"] if "behaviour" in each)
    for each in behaviour["mdev_parent"]["types"].values():
        each["name"] = HOSTILE.replace("\n", "")
    host = start(scenario)
    install(host)
    types = {key[3] for key in gathered(host) if key[0] == "nodedev_free"}
    assert len(types) == 1
    assert all(name.isprintable() and name.startswith('x"} 7') for name in types)


def test_a_driver_that_does_not_answer(host: Host) -> None:
    install(host)
    host.mdev()
    host.fault(f"/sys/devices/*/{CARD}/*/available_instances", op="read", delay=60)
    done = restore(host, "--metrics", "/run/textfiles/nodedev.prom", "--limit", "2")
    assert done.returncode == 1
    assert "the capacity could not be gathered: it has not answered after 2 s" in done.stderr
    now = parsed(host.read("/run/textfiles/nodedev.prom"))
    assert now[("nodedev_collector_success", "capacity")] == 0
    assert counts(now, "mdev") == (1, 1, 0, 0)
    assert host.run(["ls", "-A", "/run/textfiles"]).stdout == "nodedev.prom\n"


def test_the_role_installs_the_timer_when_asked(host: Host, tmp_path: Path) -> None:
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)

    def played(*options: str, **variables: Any) -> str:
        return quiet(play(host, playbook, tmp_path, *options, **variables))

    def there() -> list[str]:
        paths = (UNIT, TIMER, WANTS, FILE)
        return [path for path in paths if host.run(["test", "-e", path], check=False).returncode == 0]

    played("--check", persistence_metrics=True)
    played()
    assert there() == []
    played(persistence_metrics=True)
    assert there() == [UNIT, TIMER, WANTS]
    assert "changed=0" in played(persistence_metrics=True)
    # The timer is not served here; what its unit runs is run.
    (command,) = re.findall(r"^ExecStart=(.*)$", host.read(UNIT), re.MULTILINE)
    assert command == f"{COMMAND} --metrics {FILE}"
    host.run(command.split())
    assert parsed(host.read(FILE))[("nodedev_collector_success", "definitions")] == 1
    assert host.run(["stat", "-c", "%a %U", FILE]).stdout == "644 root\n"
    assert f"ReadWritePaths=/run {Path(FILE).parent}\n" in host.read(UNIT)
    # The unit says where it writes, and what another folder has of it would be told for ever.
    played(persistence_metrics=True, persistence_metrics_folder="/srv/other")
    assert there() == [UNIT, TIMER, WANTS]
    host.write("/srv/other/nodedev.prom", "")
    played(persistence_metrics=False)
    assert (there(), host.run(["ls", "/srv/other"]).stdout) == ([], "")
    played(persistence_metrics=True)
    play(host, playbook, tmp_path, persistence_state="absent")
    assert there() == []
    with pytest.raises(AssertionError, match="persistence_metrics_folder has to be a path"):
        played(persistence_metrics=True, persistence_metrics_folder="/var/lib/a b")


def promtool(*arguments: str) -> str:
    """What promtool prints; it must find nothing wrong."""
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_is_written_passes_promtool(host: Host) -> None:
    install(host)
    host.pool(name="desktops", type="nvidia-232", count=2)
    assert restore(host).returncode == 0
    gathered(host)
    text = host.read("/run/textfiles/nodedev.prom")
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_rules_of_alerts() -> None:
    assert "SUCCESS: 6 rules found" in promtool("check", "rules", str(RULES))


WELL = {
    'nodedev_wanted{kind="mdev",pool="desktops",instance="gpu01"}': 3,
    'nodedev_made{kind="mdev",pool="desktops",instance="gpu01"}': 3,
    'nodedev_drifted{kind="mdev",pool="desktops",instance="gpu01"}': 0,
    'nodedev_failed{kind="mdev",pool="desktops",instance="gpu01"}': 0,
    'nodedev_free{kind="mdev",card="c",type="T",instance="gpu01"}': 1,
    'nodedev_free{kind="vhba",card="h",type="",instance="gpu01"}': 0,
    'nodedev_damaged_files{instance="gpu01"}': 0,
    'nodedev_unreadable{instance="gpu01"}': 0,
    'nodedev_collector_success{collector="capacity",instance="gpu01"}': 1,
}
NAMES = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]


@pytest.mark.parametrize(
    ("changed", "alerts"),
    [
        ({}, []),
        ({"nodedev_made": 2}, ["NodedevDevicesMissing"]),
        ({"nodedev_failed": 1}, ["NodedevRestoreFailed"]),
        ({"nodedev_drifted": 1}, ["NodedevDrift"]),
        ({"nodedev_damaged_files": 1}, ["NodedevFilesDamaged"]),
        ({"nodedev_unreadable": 1}, ["NodedevFilesDamaged"]),
        ({'nodedev_free{kind="mdev"': 0}, ["NodedevTypeFull"]),
        ({'nodedev_free{kind="mdev"': "NaN"}, []),
        ({"nodedev_collector_success": 0}, ["NodedevMetricsOld"]),
    ],
)
def test_alerts_fire_where_they_should(tmp_path: Path, changed: dict[str, Any], alerts: list[str]) -> None:
    series = []
    for name, value in WELL.items():
        value = next((other for key, other in changed.items() if name.startswith(key)), value)
        series.append({"series": name, "values": " ".join([str(value)] * 121)})
    test = tmp_path / "test.yml"
    fired = "count by (alertname) (ALERTS{alertstate='firing'})"
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts]
    asked = {"expr": fired, "eval_time": "2h", "exp_samples": expected}
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}],
    }
    test.write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(test))


def test_the_page_has_all_metrics_and_alerts() -> None:
    listed = re.findall(r"^\| `([Nn]odedev\w+)(?:\{.*\})?` \|", PAGE.read_text(), re.MULTILINE)
    assert listed == [*HELP, *NAMES]
