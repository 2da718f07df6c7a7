#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mdev_types_facts
short_description: The parents of mediated devices, their types and what is free
version_added: 0.2.0
description:
  - Tells which devices of a host can carry mediated devices, of which types, how many instances of each are free,
    and which instances run.
  - Reads sysfs only, and of it only the parents that are asked for.
extends_documentation_fragment:
  - hostdev.nodedev.attributes.facts
  - hostdev.nodedev.pages
options:
  parent:
    description:
      - Only this parent, named as libvirt does (V(pci_0000_3d_00_0)) or by its address in sysfs (V(0000:3d:00.0)).
    type: str
  driver: {description: Only parents that are bound to this driver., type: str}
  type:
    description: Only this type, by the kernel's id or the vendor's name, and only the parents that have it.
    type: str
seealso:
  - module: hostdev.nodedev.mdev
"""

EXAMPLES = r"""
- name: All parents and types
  hostdev.nodedev.mdev_types_facts:

- name: Where instances of one type are
  hostdev.nodedev.mdev_types_facts:
    type: GRID T4-4Q

- name: How many of it are free, by parent
  ansible.builtin.debug:
    msg: "{{ item.key }}: {{ item.value.types.values() | map(attribute='available_instances') | sum }}"
  loop: "{{ ansible_facts.mdev_types | dict2items }}"
"""

RETURN = r"""
hint:
  description:
    - What is there of what could offer mediated devices, and what keeps it from doing so, as far as files show it. Of
      NVIDIA's GPUs it is what M(hostdev.nodedev.vgpu_facts) returns as C(readiness), as far as that is not as it should
      be.
  returned: where no device of the host offers mediated devices
  type: list
  elements: str
  sample:
    - >-
      pci_0000_3d_00_0 (0000:3d:00.0) is a GPU with driver nvidia, and none of its 16 virtual functions is enabled:
      hostdev.nodedev.sriov with numvfs: max enables them, by /usr/lib/nvidia/sriov-manage; which vGPUs the card makes
      is seen then
    - >-
      the IOMMU is off: switch the IOMMU on in the firmware (VT-d), and by intel_iommu=on among the kernel's arguments
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    mdev_types:
      description:
        - The parents by libvirt's device name. A key is absent where the kernel or pci.ids says nothing of it, such as
          a vendor for a parent that is no PCI function, and where what a driver says makes no sense, of which a
          warning tells.
      type: dict
      sample:
        pci_0000_3d_00_0:
          name: pci_0000_3d_00_0
          address: "0000:3d:00.0"
          path: /sys/devices/pci0000:00/0000:3a:00.0/0000:3d:00.0
          driver: nvidia
          vendor: {id: "0x10de", name: NVIDIA Corporation}
          product: {id: "0x1eb8", name: "TU104GL [Tesla T4]"}
          numa_node: 0
          iommu_group: 12
          types:
            nvidia-232:
              name: GRID T4-4Q
              device_api: vfio-pci
              available_instances: 3
              description: num_heads=4, frl_config=60, framebuffer=4096M, max_resolution=7680x4320, max_instance=4
              instances: [9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01]
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run_facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.mdev_types import facts

OPTIONS = {"parent": {"type": "str"}, "driver": {"type": "str"}, "type": {"type": "str"}}


def main() -> None:
    run_facts(OPTIONS, lambda params, check_mode: facts(**params))


if __name__ == "__main__":
    main()
