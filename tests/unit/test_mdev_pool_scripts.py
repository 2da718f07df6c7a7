# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a pool where mdevctl's scripts tell what instances have, and where a file of one makes no sense."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev.pool import plan
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.scripts import Refused, Scripts
from pools import IDS, OTHERS, PARENTS, defined, new, observed, recorded, runs, shortly, wished

U = OTHERS["u"]


def test_what_scripts_tell_of_an_adopted_instance_is_kept() -> None:
    scripts = Scripts(("/x",))
    told: dict[str, Any] = {U: (("a", "1"), ("b", "2"))}
    adopting = new(uuids=[U], adopt=True)
    planned = plan(adopting, observed(active=runs("uA"), callouts=scripts, script_attrs=told))
    asking = ", asking the callout scripts"
    assert shortly(planned)[1:] == [f"define #u on A, a=1, b=2{asking}"]
    assert planned.warnings == ()
    # What a person says is not asked.
    given_ones = new(uuids=[U], adopt=True, attrs=[{"c": "3"}])
    assert shortly(plan(given_ones, observed(active=runs("uA"), callouts=scripts)))[1:] == [
        f"define #u on A, c=3{asking}"
    ]
    refused = Refused("the script says nothing")
    with pytest.raises(Refused, match="the script says nothing"):
        plan(adopting, observed(active=runs("uA"), callouts=scripts, script_attrs={U: refused}))


def test_a_damaged_file_of_an_instance_goes_with_the_pool() -> None:
    path = f"/etc/mdevctl.d/{PARENTS['A']}/{IDS[0].upper()}"
    seen = observed(recorded("0A", "1B"), runs("1B"), defined("1B"), damaged=(DamagedDefinition(path, "no JSON"),))
    planned = plan(wished(state="absent"), seen)
    assert shortly(planned)[1:] == ["undefine #1 on B", "remove #1 from B", "remove the record of pool x, STORE"]
    assert planned.steps[0].description.startswith("remove the damaged definition")
    assert path in planned.steps[0].description
    assert planned.warnings == ()
    for wish in (wished(), wished(count=1), wished(state="inactive")):
        with pytest.raises(DamagedDefinition, match="no JSON"):
            plan(wish, seen)
