# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures pools of mediated devices against loops over mdevctl, and writes their part of docs/performance.md."""

from __future__ import annotations

from typing import Any

from bench.report import COMMAND, Goal, goals, machine, measured, ratio, write

CARDS = 8
# By type: its name, the units of the card that it takes, and how many fit.
TYPES = {
    "nvidia-230": ("GRID T4-1Q", 1, 16),
    "nvidia-231": ("GRID T4-2Q", 2, 8),
    "nvidia-232": ("GRID T4-4Q", 4, 4),
    "nvidia-233": ("GRID T4-8Q", 8, 2),
    "nvidia-234": ("GRID T4-16Q", 16, 1),
}


def scenario() -> dict[str, Any]:
    """A host with cards of which each takes one type of mediated devices at a time, eight of the type measured."""
    types = {
        kind: {"name": name, "units": units, "description": f"num_heads=4, frl_config=60, max_instance={most}"}
        for kind, (name, units, most) in TYPES.items()
    }
    function = {"vendor": 0x10DE, "device": 0x1EB8, "class": 0x030200, "express": {"speed": 3, "width": 16}}
    cards = [f"0000:{number + 1:x}1:00.0" for number in range(CARDS)]
    devices = [
        {
            "pci": {**function, "address": card, "numa_node": number * 2 // CARDS},
            "driver": "nvidia",
            "iommu_group": number,
            "behaviour": {"mdev_parent": {"card": card, "driver": "nvidia-vgpu-vfio", "types": types}},
        }
        for number, card in enumerate(cards)
    ]
    return {"cards": {card: {"units": 16, "homogeneous": True} for card in cards}, "devices": devices}


def table(results: dict[str, Any]) -> list[str]:
    """The figures, a row each, in Markdown; what is compared stands together."""
    count, playbooks = results["instances"], results["playbooks"]
    rows = (
        ("pool", f"{count} instances by one mdev_pool task", "loops"),
        ("loops", f"the same by two loops of ansible.builtin.command, {2 * count} calls of mdevctl", "loops"),
        ("idle", f"mdev_pool with nothing to do, {count} instances", "ping"),
        ("ping", "ansible.builtin.ping", "ping"),
    )
    lines = ["| what | seconds of the tasks | of the other | seconds of the whole run | of the other | runs |"]
    lines.append("|---|---|---|---|---|---|")
    for name, what, other in rows:
        cells = [what]
        for part in ("tasks", "whole"):
            own, others = (playbooks[each][part]["median"] for each in (name, other))
            cells += [f"{own:.3f}", f"{own / others:.3f}"]
        lines.append(f"| {' | '.join(cells)} | {playbooks[name]['tasks']['runs']} |")
    return lines


def asked(results: dict[str, Any]) -> list[Goal]:
    """The goals of pools, of the tasks' own durations."""
    seconds = {name: playbook["tasks"]["median"] for name, playbook in results["playbooks"].items()}
    return [
        (f"{results['instances']} instances against loops", ratio(seconds["pool"], seconds["loops"]), 1 / 40),
        ("nothing to do against ansible.builtin.ping", ratio(seconds["idle"], seconds["ping"]), 1.4),
    ]


def main() -> None:
    results = measured(scenario(), "playbooks.py")
    told = f"`{COMMAND}` on {machine('mdevctl', 'mdevctl')}; medians."
    write("pools", [told, "", *table(results), "", *goals(asked(results))])


if __name__ == "__main__":
    main()
