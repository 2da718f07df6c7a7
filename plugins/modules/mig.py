#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mig
short_description: How MIG divides a GPU of NVIDIA's, now and after every boot
version_added: 0.2.0
description:
  - Ensures whether MIG divides a card, and which GPU instances it has, each with its compute instance. All is done by
    C(nvidia-smi), and judged by what that lists afterwards.
  - What is wished and there stays as it is. What is missing is made, what is there beyond it removed, unless somebody
    works on it.
  - The definition is kept in C(/etc/nodedev.d/mig), and restored by the role P(hostdev.nodedev.persistence#role), the
    mode before virtual functions and GPU instances after them.
  - Where C(nvidia-mig-manager.service) is enabled or runs, it is left in charge.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  device:
    description: The card, by libvirt's name such as V(pci_0000_41_00_0), or by its address.
    type: str
    required: true
  enabled:
    description:
      - Whether MIG divides the card.
      - Without this option, what is defined; or else V(true) where O(instances) names any.
    type: bool
  instances:
    description:
      - All GPU instances that there are to be, profiles with the number of each. A profile is named as C(nvidia-smi mig
        -lgip) lists it, V(1g.18gb) or V(1g.18gb+me), or by its id. An empty mapping means none.
      - Without this option, those that are defined, or else those that are there.
    type: dict
  types:
    description:
      - In the place of O(instances), the vGPUs that are to be made on them, types with the number of each, named as
        O(hostdev.nodedev.vgpu#module:type) has them. The GPU instances follow from that - for each profile and
        framebuffer as few as take them all.
      - The card may list these types only while MIG is on, for which O(enabled) is set alone first. With
        O(state=inactive), with which MIG is off, O(instances) is named instead.
    type: dict
  allow_reset:
    description:
      - Whether this card, and no other, may be reset where its mode changes in no other way, as on Ampere.
    type: bool
    default: false
  state:
    description:
      - V(present) means that the card is divided so now and, unless O(persistent=false), after every boot.
      - V(inactive) keeps the definition only, and V(absent) not even that. MIG is off, and all GPU instances are gone.
  force:
    description: Of no effect. A card or a GPU instance in use is never changed or removed.
seealso:
  - module: hostdev.nodedev.sriov
author:
  - The hostdev.nodedev authors (@hostdev)
"""

EXAMPLES = r"""
- name: Three small GPU instances and a large one, now and after every boot
  hostdev.nodedev.mig:
    device: pci_0000_41_00_0
    instances:
      1g.18gb: 3
      3g.71gb: 1

- name: Only the mode, before virtual functions are made
  hostdev.nodedev.mig:
    device: "0000:41:00.0"
    enabled: true

- name: As many GPU instances as these vGPUs need
  hostdev.nodedev.mig:
    device: "0000:41:00.0"
    types: {H200X-1-18C: 2, H200X-3-71C: 1}

- name: A whole card again, which may be reset for that
  hostdev.nodedev.mig:
    device: "0000:41:00.0"
    state: absent
    allow_reset: true
"""

RETURN = r"""
plan:
  description: As RV(hostdev.nodedev.mdev#module:plan).
  returned: success
  type: list
  elements: str
  sample:
    - enable MIG on pci_0000_41_00_0 (0000:41:00.0)
    - create 3 GPU instances 1g.18gb on pci_0000_41_00_0 (0000:41:00.0)
    - define the MIG mode of pci_0000_41_00_0 (0000:41:00.0), on, with 3 of 1g.18gb GPU instances
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
mig:
  description: The card afterwards. In check mode, the id of a GPU instance that is to be made is null.
  returned: success
  type: dict
  contains:
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str, sample: pci_0000_41_00_0}
    address: {description: As RV(hostdev.nodedev.sriov#module:sriov.address)., type: str, sample: "0000:41:00.0"}
    enabled:
      description: Whether MIG divides the card now; null where it cannot, or where the card is not there.
      type: bool
      sample: true
    pending: {description: The same after a reset of the card., type: bool, sample: true}
    gpu_instances:
      description: The GPU instances by id, each with the ids of its compute instances.
      type: list
      elements: dict
      sample:
        - id: 1
          profile: 1g.18gb
          profile_id: 19
          compute_instances: [0]
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mig import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "device": {"type": "str", "required": True},
    "enabled": {"type": "bool"},
    "instances": {"type": "dict"},
    "types": {"type": "dict"},
    "allow_reset": {"type": "bool", "default": False},
}


def main() -> None:
    run(
        OPTIONS,
        lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode),
        mutually_exclusive=[("instances", "types")],
    )


if __name__ == "__main__":
    main()
