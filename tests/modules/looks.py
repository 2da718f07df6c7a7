# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a run looks at the processes of a host, and opens VFIO's nodes, by which it would keep out a guest."""

from __future__ import annotations

import json
from typing import Any

from conftest import Host

SCRIPT = """
import collections, importlib, json, re, sys
HOUSE = "ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev."
kind = importlib.import_module(HOUSE + "kinds." + sys.argv[1])
resource = importlib.import_module(HOUSE + "resource")
read = collections.Counter()
def watch(event, arguments):
    if event == "os.listdir" and re.fullmatch("/proc/[0-9]+/fd", str(arguments[0])):
        read[arguments[0]] += 1
sys.addaudithook(watch)
resource.ensure(kind, kind.Wish.checked(**json.loads(sys.argv[2])), sys.argv[3] == "check")
print(max(read.values(), default=0))
"""


def looks(host: Host, kind: str, check_mode: bool = False, **wish: Any) -> tuple[int, int]:
    """How often the open files of one process were read at most, and how often a node of VFIO was opened."""
    host.clear_faults()
    host.fault("/dev/vfio/*", op="open", errno="EIO", nth=1000)
    mode = "check" if check_mode else "apply"
    done = host.run([host.python, "-c", SCRIPT, kind, json.dumps(wish), mode], env=host.environment)
    (fault,) = host.faults()
    host.clear_faults()
    return int(done.stdout), fault["seen"]
