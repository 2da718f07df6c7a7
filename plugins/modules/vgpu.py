#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vgpu
short_description: One NVIDIA vGPU that is a virtual function, there now and after every boot
version_added: 0.2.0
description:
  - Ensures that a virtual function of a GPU is a vGPU of a type, is only defined to be one, or is none.
  - It is for hosts on which NVIDIA's driver makes vGPUs of virtual functions (vendor-specific VFIO).
    M(hostdev.nodedev.mdev) makes mediated devices, M(hostdev.nodedev.vgpu_pool) either.
  - Nothing is written to a card that C(nvidia-smi) does not say to be in the mode C(SR-IOV).
  - The role P(hostdev.nodedev.persistence#role) restores what is defined at boot, and when the driver is loaded anew.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  device:
    description: The virtual function, by libvirt's name such as V(pci_0000_41_00_4), or by its address.
    type: str
  parent:
    description: The card instead, together with O(index), named likewise.
    type: str
  index:
    description: Which virtual function of O(parent), counted from 0.
    type: int
  type:
    description:
      - The type, as the vendor's name (V(NVIDIA L40S-8Q)), the last word of that (V(L40S-8Q)), or its id, V(1152),
        V(nvidia-1152) or V(0x480).
      - Needed for a vGPU that is not defined. Another type than the recorded one means that the function is cleared and
        made anew, if nobody uses it.
    type: str
  params:
    description:
      - Parameters of the vGPU, as V(frame_rate_limiter=0,disable_vnc=1). They are set together before a guest opens it.
        Those of a vGPU in use are set by a later run, with a warning until then.
      - Without this option they are as defined, or else untouched. An empty text clears them.
    type: str
  placement_id:
    description:
      - Its place on a card in heterogeneous mode. Without this option, as it is defined, or else as the driver chooses.
        M(hostdev.nodedev.vgpu_facts) has those that are free as C(placement_ids).
    type: int
  state:
    description:
      - V(present) means that the vGPU is there now and, unless O(persistent=false), after every boot.
      - V(inactive) keeps its definition, and clears the function.
      - V(absent) removes the definition, and clears the function if its type is the recorded one, or is O(type). Else
        the function has become another's, and stays, with a warning.
  managed:
    description:
      - As O(hostdev.nodedev.mdev#module:managed), for a domain that names its function.
    type: bool
  force:
    description:
      - Whether a function may be cleared that has a type which is not recorded here. What a guest has open is never
        taken from it, since the driver does not let go of that.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.vgpu_pool
  - module: hostdev.nodedev.vgpu_facts
  - module: hostdev.nodedev.sriov
"""

EXAMPLES = r"""
- name: A vGPU that is there now and after every boot
  hostdev.nodedev.vgpu:
    device: pci_0000_41_00_4
    type: NVIDIA L40S-8Q

- name: Another, by its card and its number there, with parameters that are set before a guest opens it
  hostdev.nodedev.vgpu:
    parent: pci_0000_41_00_0
    index: 1
    type: L40S-8Q
    params: frame_rate_limiter=0
  register: second

- name: What a domain needs to get it
  ansible.builtin.debug:
    msg: "{{ second.vgpu.hostdev_xml }}"

- name: One that is made when a guest starts with it, and cleared when that has ended
  hostdev.nodedev.vgpu:
    device: "0000:41:00.6"
    type: "1152"
    managed: true
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
vgpu:
  description: The vGPU afterwards, or else what it is defined as.
  returned: success
  type: dict
  contains:
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str}
    address: {description: As RV(hostdev.nodedev.sriov#module:sriov.address)., type: str}
    index: {description: Which function of its card it is; null while that has none., type: int, sample: 0}
    parent: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent)., type: str}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str}
    type:
      description: The vendor's name of the type; null where it is not known, or there is no vGPU.
      type: str
      sample: NVIDIA L40S-8Q
    type_id: {description: The id of the type; null where there is no vGPU., type: int, sample: 1152}
    params: {description: Its parameters., type: str, sample: frame_rate_limiter=0}
    placement_id: {description: Its place on the card; null where that is not told., type: int, sample: 8}
    iommu_group: {description: As RV(hostdev.nodedev.mdev#module:mdev.iommu_group)., type: int}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
    managed: {description: As RV(hostdev.nodedev.mdev#module:mdev.managed)., type: bool}
    holders: {description: As RV(hostdev.nodedev.mdev#module:mdev.holders)., type: list, elements: dict}
    hostdev_xml: {description: "As RV(hostdev.nodedev.mdev_pool#module:instances[].hostdev_xml).", type: str}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vgpu import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "device": {"type": "str"},
    "parent": {"type": "str"},
    "index": {"type": "int"},
    "type": {"type": "str"},
    "params": {"type": "str"},
    "placement_id": {"type": "int"},
    "managed": {"type": "bool"},
}


def main() -> None:
    run(
        OPTIONS,
        lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode),
        required_one_of=[("device", "parent")],
        mutually_exclusive=[("device", "parent"), ("device", "index")],
        required_together=[("parent", "index")],
    )


if __name__ == "__main__":
    main()
