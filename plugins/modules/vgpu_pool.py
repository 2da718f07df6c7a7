#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vgpu_pool
short_description: A named, counted set of vGPUs, made as the host makes them
version_added: 0.2.0
description:
  - Ensures that so many vGPUs of one type, or of each of several, exist over a choice of cards, are only defined, or
    are gone.
  - Where the driver offers mediated devices, the pool is made of these, as by M(hostdev.nodedev.mdev_pool). Where
    virtual functions are the vGPUs (vendor-specific VFIO), it is made of functions, as by M(hostdev.nodedev.vgpu).
    Which of the two is seen by what is there; the result is the same.
  - What does not fit is refused before anything is written, with what is free on each card. A card takes one
    framebuffer at a time, of whatever letters, unless it is in heterogeneous mode.
  - Functions that are defined by M(hostdev.nodedev.vgpu), or belong to another pool, are never taken.
  - In RV(instances), C(uuid) is null of a function and C(address) of a mediated device. The parent of a function is its
    card.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.pool
  - hostdev.nodedev.parents
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  type:
    description:
      - The type, as the vendor's name (V(NVIDIA A16-4Q)), the last word of that (V(A16-4Q)), or its id, V(711) or
        V(nvidia-711).
      - Needed for a pool that is not known here, as O(count) is. What is left out of this and of the following options
        is as it was when the pool was changed last.
    type: str
  count:
    description:
      - How many instances the pool has, or V(max) for as many as fit. Of instances that are functions, a function that
        is free is looked at for it.
      - Shrinking removes the idle instances of the highest indexes, and fails naming the holders when too few are idle.
    type: str
  types:
    description:
      - A mix, instead of O(type), O(count) and O(placement). Each type has its number of instances; those of other
        types go.
      - The largest are made first, each framebuffer on as few homogeneous cards as will do, and what fills none on
        heterogeneous ones. There their places are chosen and kept, where the driver's library NVML tells which there
        are; else the driver chooses.
      - Where it does not fit, the failure has what is C(free) by card and type, and C(leaving), the vGPUs without which
        it would fit, with their C(holders).
    type: dict
  in_use:
    description:
      - What becomes of a change of a mix while instances that would have to go are in use. With V(refuse) nothing is
        done. With V(wait) what can be is done, and a later run does what is RV(waiting).
    type: str
    choices: [refuse, wait]
    default: refuse
  mig:
    description:
      - Whether GPU instances that MIG-backed vGPUs need and do not find are made with them (V(derive)) or have to be
        there (V(keep), which is so for a new pool). They are defined as by M(hostdev.nodedev.mig), which makes them at
        boot. A pool removes none, and warns of those that no vGPU needs any more.
      - Of virtual functions alone, on cards for which MIG is on.
    type: str
    choices: [keep, derive]
  params:
    description:
      - Parameters of the vGPUs, as O(hostdev.nodedev.vgpu#module:params).
      - Mediated devices that run get them when they are started next.
    type: str
  managed:
    description: As O(hostdev.nodedev.mdev_pool#module:managed).
    type: bool
  backend:
    description:
      - How the vGPUs are made, V(mdev) as mediated devices, V(vfio) of virtual functions, or V(auto) in the way that
        the chosen parents offer. A host that offers both needs O(parents) that choose one, or this option.
    type: str
    choices: [auto, mdev, vfio]
    default: auto
  migrate:
    description:
      - Whether a pool of mediated devices becomes one of functions, where a new kernel or driver makes vGPUs of these
        now. It is carried over by its types, with its size, parents, placement and parameters; its definitions of
        mediated devices are removed.
    type: bool
    default: false
  force:
    description:
      - Whether mediated devices in use may be removed, as by M(hostdev.nodedev.mdev_pool). A function that is in use is
        never cleared, since its driver does not let go of it.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.vgpu
  - module: hostdev.nodedev.mdev_pool
  - module: hostdev.nodedev.sriov
  - module: hostdev.nodedev.mig
"""

EXAMPLES = r"""
- name: Two vGPUs over the cards of one NUMA node, whichever way the host makes them
  hostdev.nodedev.vgpu_pool:
    name: desktops
    type: NVIDIA A16-4Q
    count: 2
    parents:
      driver: nvidia
      numa_node: 0
  register: desktops

- name: What a domain needs to get the first of them
  ansible.builtin.debug:
    msg: "{{ desktops.instances[0].hostdev_xml }}"

- name: As many as fit on one card, with parameters
  hostdev.nodedev.vgpu_pool:
    name: desktops
    count: max
    parents:
      physical_function: [pci_0000_06_00_0]
    params: frame_rate_limiter=0

- name: Carry the pool over if a new kernel makes vGPUs of virtual functions
  hostdev.nodedev.vgpu_pool:
    name: desktops
    migrate: true

- name: No such pool, now or later
  hostdev.nodedev.vgpu_pool:
    name: desktops
    state: absent

- name: A mix, from which the small ones go as soon as no guest has them
  hostdev.nodedev.vgpu_pool:
    name: studio
    types:
      NVIDIA A16-8Q: 2
      NVIDIA A16-4Q: 0
    in_use: wait
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
instances:
  description: As RV(hostdev.nodedev.mdev_pool#module:instances).
  returned: success
  type: list
  elements: dict
  contains:
    index: {description: "As RV(hostdev.nodedev.mdev_pool#module:instances[].index).", type: int}
    uuid: {description: As RV(hostdev.nodedev.mdev#module:mdev.uuid)., type: str, sample: null}
    address: {description: As RV(hostdev.nodedev.sriov#module:sriov.address)., type: str}
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str}
    parent: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent)., type: str}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str}
    type: {description: As RV(hostdev.nodedev.vgpu#module:vgpu.type)., type: str}
    type_id: {description: As RV(hostdev.nodedev.vgpu#module:vgpu.type_id)., type: int}
    device_api: {description: As RV(hostdev.nodedev.mdev#module:mdev.device_api)., type: str}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    holders: {description: As RV(hostdev.nodedev.mdev#module:mdev.holders)., type: list, elements: dict}
    hostdev_xml: {description: "As RV(hostdev.nodedev.mdev_pool#module:instances[].hostdev_xml).", type: str}
capacity:
  description:
    - By card, how many vGPUs the pool and others have there (C(pool), C(others)), and how many more of the type fit
      (C(free)). Of a mix C(free) is null, and C(types) has how many of each fit.
  returned: success
  type: dict
  sample: {pci_0000_06_00_0: {free: 3, pool: 1, others: 0}}
waiting:
  description:
    - What a change of a mix waits for, by name the instances that C(go) once nobody has them, by type how many C(come)
      then.
  returned: success
  type: dict
  sample: {go: [], come: {}}
derived:
  description: By card, the GPU instances that were made, by their profiles.
  returned: where GPU instances are derived
  type: dict
  sample: {pci_0000_41_00_0: {1g.18gb: 2}}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import backends
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.pools.selector import PARENT_OPTIONS

OPTIONS = {
    **STATE_OPTIONS,
    "name": {"type": "str", "required": True},
    "type": {"type": "str"},
    "count": {"type": "str"},
    "types": {"type": "dict"},
    "in_use": {"type": "str", "choices": ["refuse", "wait"], "default": "refuse"},
    **PARENT_OPTIONS,
    "params": {"type": "str"},
    "managed": {"type": "bool"},
    "identity": {"type": "str"},
    "backend": {"type": "str", "choices": ["auto", "mdev", "vfio"], "default": "auto"},
    "migrate": {"type": "bool", "default": False},
    "mig": {"type": "str", "choices": ["keep", "derive"]},
}


def main() -> None:
    run(
        OPTIONS,
        lambda params, check_mode: backends.ensure(check_mode=check_mode, **params),
        mutually_exclusive=[(other, "types") for other in ("type", "count", "placement")],
    )


if __name__ == "__main__":
    main()
