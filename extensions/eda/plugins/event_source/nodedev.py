# SPDX-License-Identifier: GPL-3.0-or-later
"""An event source of ansible-rulebook: the node devices and definitions of the host on which the rulebook runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
short_description: Node devices and definitions that come, go and change on this host
description:
  - Runs on the host whose devices it tells of, which needs python3-pyudev for the Python of ansible-rulebook, and no
    libvirt. Hosts of a fleet send theirs by C(nodedev-events) to a source that listens, as C(ansible.eda.webhook).
  - Events are those of C(virsh nodedev-event), V(created), V(deleted) and V(changed) of devices, and V(defined),
    V(undefined) and V(changed) of definitions and pools. docs/events.md has their keys.
options:
  interval:
    description:
      - Seconds between two looks at the folders of definitions, of which the kernel does not tell.
    type: float
    default: 2.0
"""

EXAMPLES = r"""
- name: Tell of vGPUs that go
  hosts: localhost
  sources:
    - hostdev.nodedev.nodedev:
  rules:
    - name: A vGPU has gone
      condition: event.event == "deleted" and event.kind == "mdev"
      action:
        debug:
          msg: "{{ event.name }} has gone"
"""

# The folder in which ansible_collections is: ansible-rulebook runs this file by its path alone.
COLLECTIONS = Path(__file__).absolute().parents[7]


async def main(queue: asyncio.Queue[dict[str, Any]], args: dict[str, Any]) -> None:
    """Put each event into the queue until the rulebook ends."""
    interval = args.get("interval", 2.0)
    if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0.1 <= interval <= 3600:
        raise ValueError(f"interval: {interval!r} cannot be used: a number of seconds, 0.1 to 3600")
    sys.path.append(str(COLLECTIONS))
    from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts import events

    loop = asyncio.get_running_loop()
    stream = events.stream(interval)
    while True:
        # In a thread, since a look at a host with many devices takes a while; none outlasts the interval and a look.
        event = await loop.run_in_executor(None, next, stream)
        if event is not None:
            await queue.put(event)
