#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vgpu_facts
short_description: NVIDIA's cards, the vGPUs on them, and what a host lacks for vGPUs
version_added: 0.2.0
description:
  - Tells which GPUs of NVIDIA's a host has, in which way each makes vGPUs, which types it has, how many more of each
    fit now, which vGPUs there are and who has them.
  - C(readiness) lists what vGPUs need of the host and of each card, with what was found and what to do.
  - Nothing is opened that would keep a guest out.
extends_documentation_fragment:
  - hostdev.nodedev.attributes.facts
  - hostdev.nodedev.pages
options:
  parent:
    description:
      - Only this card, named as libvirt does (V(pci_0000_41_00_0)) or by its address (V(0000:41:00.0)).
    type: str
  nvidia_smi:
    description:
      - Whether to ask C(nvidia-smi), which has a minute for each answer. What it alone tells is null otherwise, namely
        C(mode), C(heterogeneous) and C(mig), and where vGPUs are virtual functions C(most) and C(free) of a type.
    type: bool
    default: true
seealso:
  - module: hostdev.nodedev.vgpu
  - module: hostdev.nodedev.mdev_types_facts
"""

EXAMPLES = r"""
- name: All cards with their vGPUs
  hostdev.nodedev.vgpu_facts:

- name: What is not as vGPUs need it, and what to do
  ansible.builtin.debug:
    msg: "{{ ansible_facts.vgpu.readiness | selectattr('ok', 'equalto', false) }}"

- name: How many more of a type fit, by card
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.types | selectattr('name', 'equalto', 'NVIDIA A16-4Q') | map(attribute='free') }}"
  loop: "{{ ansible_facts.vgpu.cards.values() }}"

- name: One card, without starting nvidia-smi
  hostdev.nodedev.vgpu_facts:
    parent: pci_0000_06_00_0
    nvidia_smi: false
"""

RETURN = r"""
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    vgpu:
      description: NVIDIA's cards and what vGPUs need.
      type: dict
      contains:
        cards:
          description:
            - The cards by libvirt's name, which are the GPUs of NVIDIA's that are not virtual functions. What is not
              known is null.
            - C(framework) is V(mdev) where the card or its functions are parents of mediated devices, V(vfio) where
              functions are vGPUs themselves (vendor-specific VFIO). Otherwise it is null, and C(why) says what is
              missing; of a card with SR-IOV it is not known until its functions are enabled.
            - C(mode) is what C(nvidia-smi) calls Host VGPU Mode. C(heterogeneous) says whether vGPUs of different
              framebuffers may share the card, C(mig) whether it is divided by MIG. C(total) is how many virtual
              functions it can have.
            - C(functions) are those that there are. Of a card whose vGPUs are on the card itself, there is one for each
              of these instead, with C(index) null. C(type) and C(type_id) are null where there is no vGPU, C(uuid) is
              that of a mediated device. C(hindrance) says why it cannot be a vGPU, or why what it has is not known.
            - C(types) are those that the card knows, with C(framebuffer) in MiB, C(most) that fit on an empty card,
              those that there are C(now), and how many more fit, C(free), which is never more than are offered.
            - C(free_released) is how many of a type would fit once the vGPUs that nobody has were gone,
              C(free_emptied) once all were, and C(free_then) by type what would fit after one more of it. They are not
              known of a card with MIG, or in another mode.
            - C(placement_ids) are the places on a heterogeneous card at which one of a type can begin now, for
              O(hostdev.nodedev.vgpu#module:placement_id); null of another card, and where NVML does not tell them.
          type: dict
          sample:
            pci_0000_41_00_0:
              name: pci_0000_41_00_0
              address: "0000:41:00.0"
              driver: nvidia
              vendor: {id: "0x10de", name: NVIDIA Corporation}
              product: {id: "0x26b9", name: "AD102GL [L40S]"}
              numa_node: 0
              framework: vfio
              why: null
              mode: SR-IOV
              heterogeneous: false
              mig: null
              total: 32
              functions:
                - index: 0
                  name: pci_0000_41_00_4
                  address: "0000:41:00.4"
                  driver: nvidia
                  uuid: null
                  type: NVIDIA L40S-8Q
                  type_id: 1152
                  params: frame_rate_limiter=0
                  placement_id: null
                  holders: []
                  hindrance: null
              types:
                - id: 1152
                  name: NVIDIA L40S-8Q
                  framebuffer: 8192
                  most: 6
                  now: 1
                  free: 5
                  free_released: 5
                  free_emptied: 6
                  free_then: {NVIDIA L40S-8Q: 4, NVIDIA L40S-8A: 4}
                  placement_ids: null
        readiness:
          description:
            - What vGPUs need, first of the host, with C(device) null, then of each card, by libvirt's name. C(ok) is
              null where it cannot be told. C(advice) is what to do, null where nothing is.
            - Of the host C(what) is C(manager), whether NVIDIA's driver is the one for vGPU hosts, C(nvidia-vgpud) and
              C(nvidia-vgpu-mgr), its services, C(sriov_manage), C(iommu) and C(nvidia_smi). Of a card it is C(driver),
              C(sriov), C(functions), C(types) and C(mode).
          type: list
          elements: dict
          sample: [{device: null, what: iommu, ok: true, found: the IOMMU is on, advice: null}]
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run_facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.vgpu import facts

OPTIONS = {
    "parent": {"type": "str"},
    "nvidia_smi": {"type": "bool", "default": True},
}


def main() -> None:
    run_facts(OPTIONS, lambda params, check_mode: facts(**params))


if __name__ == "__main__":
    main()
