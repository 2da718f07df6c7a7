#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mdev_pool
short_description: A named, counted set of mediated devices, running now and after every boot
version_added: 0.2.0
description:
  - Ensures that so many mediated devices of one type exist over a choice of parents, are only defined, or are gone.
  - The UUIDs are of version 5 and follow from the host's machine-id, the pool's name and an index, so that a second
    run, another controller or a restored host means the same instances. They may be listed instead.
  - Each instance is defined in C(/etc/mdevctl.d) as mdevctl does it, the pool in C(/etc/nodedev.d/pool).
  - Instances that others made are never taken or removed. A failure half way undoes what this run did.
  - mdevctl's callout scripts are asked about each instance where there are any; O(force=true) passes over what they
    refuse. An instance that is adopted while it runs undefined keeps the attributes that a script tells of it.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.pool
  - hostdev.nodedev.parents
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  type:
    description:
      - The type, as the kernel's id (V(nvidia-711)) or as the vendor's name (V(GRID A16-4Q)).
      - C(vfio_ap-passthrough) is refused, since each device on the AP matrix needs crypto queues of its own. Make each
        by M(hostdev.nodedev.mdev); what runs can be adopted.
      - Needed for a pool that is not known here, as one of O(count) and O(uuids) is. What is left out of this and of
        the following options is as it was when the pool was changed last.
    type: str
  count:
    description:
      - How many instances the pool has, or V(max) for as many as fit. With V(max), instances that are defined and have
        no room, as while a card is missing, are left as they are.
      - Growing takes the lowest free indexes. Shrinking removes the idle instances of the highest indexes, and fails
        naming the holders when too few are idle, unless O(force=true).
    type: str
  uuids:
    description:
      - The UUIDs of the instances, instead of O(count). An instance that is listed no longer is removed, if it is idle.
    type: list
    elements: str
  attrs:
    description:
      - Attributes to write to each instance after it was made, in this order; a name may stand more than once.
      - Each item is a mapping of one name, which is the path of a file below the device, to one value.
      - Other attributes for instances that run change their definitions only, with a warning.
      - Without this option, instances that are defined keep what they have, and new ones get what the pool was told
        last.
    type: list
    elements: dict
  autostart:
    description:
      - Whether the definitions say that the instances start when their parent appears.
      - Without this option, instances that are defined keep what they have, and new ones get what the pool was told
        last, and start if it was not told.
    type: bool
  managed:
    description:
      - Whether the instances come and go with the guests that name them, as by O(hostdev.nodedev.mdev#module:managed).
        The pool is complete when all are defined. It counts for all instances alike.
      - There has to be room for all of them, beside what runs and beside managed devices of others, so that each guest
        gets its instance as long as nobody else takes the room.
      - Without this option, it is as the pool was told last, and a new pool is not managed.
    type: bool
  adopt:
    description:
      - Whether an instance of O(uuids) that exists already, made by others, is taken into the pool. From then on it is
        removed with the pool. Nothing else of it changes but what this task says.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.mdev
  - module: hostdev.nodedev.mdev_types_facts
  - module: hostdev.nodedev.definition_facts
"""

EXAMPLES = r"""
- name: Twelve vGPUs over the cards of one NUMA node
  hostdev.nodedev.mdev_pool:
    name: desktops
    type: GRID T4-1Q
    count: 12
    parents:
      driver: nvidia
      numa_node: 0
  register: desktops

- name: What a domain needs to get the first of them
  ansible.builtin.debug:
    msg: "{{ desktops.instances[0].hostdev_xml }}"

- name: Two fewer; idle ones go
  hostdev.nodedev.mdev_pool:
    name: desktops
    count: 10

- name: All that fits on one card, with attributes that are written before a guest opens it
  hostdev.nodedev.mdev_pool:
    name: render
    type: nvidia-232
    count: max
    parents:
      addresses: ["0000:af:00.0"]
    attrs:
      - nvidia/vgpu_params: frame_rate_limiter=0

- name: Four over the virtual functions of one SR-IOV card that its driver has
  hostdev.nodedev.mdev_pool:
    name: workstations
    type: NVIDIA A16-4Q
    count: 4
    parents:
      physical_function: [pci_0000_06_00_0]
      driver: nvidia

- name: Take two instances into a pool that were made by hand
  hostdev.nodedev.mdev_pool:
    name: lab
    type: nvidia-230
    uuids:
      - 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01
      - 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02
    adopt: true

- name: No such pool, now or later
  hostdev.nodedev.mdev_pool:
    name: render
    state: absent

- name: Four that are made when guests start with them, and removed when those have ended
  hostdev.nodedev.mdev_pool:
    name: classroom
    type: GRID T4-2Q
    count: 4
    managed: true
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
instances:
  description:
    - The instances of the pool afterwards, by index. In check mode, what is known only once they are there is null.
  returned: success
  type: list
  elements: dict
  contains:
    index:
      description: The index, from which UUID or WWNs follow; with a list of UUIDs, the place in that.
      type: int
      sample: 0
    uuid: {description: As RV(hostdev.nodedev.mdev#module:mdev.uuid)., type: str}
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str}
    parent: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent)., type: str}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str}
    type: {description: As RV(hostdev.nodedev.mdev#module:mdev.type)., type: str}
    device_api: {description: As RV(hostdev.nodedev.mdev#module:mdev.device_api)., type: str}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    holders: {description: As RV(hostdev.nodedev.mdev#module:mdev.holders)., type: list, elements: dict}
    hostdev_xml:
      description: The C(<hostdev>) element by which a domain gets the instance; null where its API is not known.
      type: str
      sample: |-
        <hostdev mode="subsystem" type="mdev" model="vfio-pci">
          <source>
            <address uuid="1f9d6c0e-7a55-5c6b-9d0f-0a4e3c2b1a00" />
          </source>
        </hostdev>
capacity:
  description:
    - By parent and type, how many instances the pool and others have there (C(pool), C(others)) and how many more the
      parent says it can take (C(free)). Parents of one card share what is free.
  returned: success
  type: dict
  sample:
    pci_0000_3d_00_0:
      nvidia-230: {free: 15, pool: 1, others: 0}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import pool
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import PARENT_OPTIONS
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "name": {"type": "str", "required": True},
    "type": {"type": "str"},
    "count": {"type": "str"},
    **PARENT_OPTIONS,
    "uuids": {"type": "list", "elements": "str"},
    "attrs": {"type": "list", "elements": "dict"},
    "autostart": {"type": "bool"},
    "managed": {"type": "bool"},
    "identity": {"type": "str"},
    "adopt": {"type": "bool", "default": False},
}


def main() -> None:
    run(
        OPTIONS,
        lambda params, check_mode: ensure(pool, pool.Wish.checked(**params), check_mode),
        mutually_exclusive=[("count", "uuids")],
    )


if __name__ == "__main__":
    main()
