#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: definition_facts
short_description: What is defined on a host, and whether it is so
version_added: 0.2.0
description:
  - Tells which devices and pools are defined to be there after a boot, which of them run now, where what runs is unlike
    its definition, whose parent is missing, and which files cannot be understood.
  - Reads the definitions and, of sysfs, the defined devices and their parents only; of cards that MIG divides, what
    C(nvidia-smi) tells.
extends_documentation_fragment:
  - hostdev.nodedev.attributes.facts
  - hostdev.nodedev.pages
options:
  kinds:
    description: Only these kinds; without this option, all.
    type: list
    elements: str
    choices:
      - driver
      - ap_mask
      - mig
      - sriov
      - vgpu
      - mdev
      - vhba
      - pool
seealso:
  - module: hostdev.nodedev.ap_mask
  - module: hostdev.nodedev.driver
  - module: hostdev.nodedev.mdev
  - module: hostdev.nodedev.mdev_pool
  - module: hostdev.nodedev.mig
  - module: hostdev.nodedev.nodedev
  - module: hostdev.nodedev.sriov
  - module: hostdev.nodedev.vgpu
  - module: hostdev.nodedev.vgpu_pool
  - module: hostdev.nodedev.vhba
  - module: hostdev.nodedev.vhba_pool
"""

EXAMPLES = r"""
- name: All that is defined
  hostdev.nodedev.definition_facts:

- name: Fail where something that is defined does not run, or runs otherwise
  ansible.builtin.assert:
    that:
      - ansible_facts.nodedev_definitions.mdev | selectattr('autostart') | rejectattr('active') | length == 0
      - ansible_facts.nodedev_definitions.mdev | map(attribute='drift') | flatten | length == 0

- name: The pools alone
  hostdev.nodedev.definition_facts:
    kinds: [pool]
"""

RETURN = r"""
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    nodedev_definitions:
      description:
        - What is defined, a list for each kind that was asked for. C(active) says whether it is so now, C(drift) has an
          entry for each thing that is otherwise than defined, and C(pool) is the pool that it belongs to, or null.
        - C(managed) says that a device comes and goes with its guest, and C(domain) which domain has it now or is about
          to, null where none has it, and for a device that is not managed.
      type: dict
      contains:
        driver:
          description:
            - The bindings of devices to drivers, which are those of driverctl, by bus and name. C(driver) is V(none)
              for no driver. C(drift) tells of another driver than defined.
          type: list
          elements: dict
          sample:
            - name: pci_0000_5e_00_0
              address: "0000:5e:00.0"
              driver: vfio-pci
              parent_missing: false
              autostart: true
              active: true
              drift: []
              pool: null
        ap_mask:
          description:
            - What crypto queues are for guests after a boot, V(masks) of chzdev's rule and V(overrides) of ours, by
              C(by). C(drift) tells of queues that are the host's and not defined so.
          type: list
          elements: dict
          sample:
            - by: masks
              adapters: [5, 6]
              domains: []
              queues: []
              parent_missing: false
              autostart: true
              active: true
              drift: []
              pool: null
        mig:
          description:
            - How cards are divided by MIG after a boot, by the card. C(drift) tells of another mode or of other GPU
              instances than defined, while MIG is on.
          type: list
          elements: dict
          sample:
            - name: pci_0000_41_00_0
              address: "0000:41:00.0"
              enabled: true
              instances: {1g.18gb: 3}
              parent_missing: false
              autostart: true
              active: true
              drift: []
              pool: null
        sriov:
          description:
            - The definitions of virtual functions, by their physical one. C(numvfs) is a number or V(max). C(drift)
              tells of another number than defined, of functions with another driver, and of settings of a
              function that are others.
          type: list
          elements: dict
          sample:
            - name: pci_0000_3b_00_0
              address: "0000:3b:00.0"
              numvfs: "4"
              autoprobe: null
              driver: vfio-pci
              vfs: [{index: 0, mac: "02:00:00:00:00:01", vlan: 100}]
              parent_missing: false
              autostart: true
              active: true
              drift:
                - {what: vlan of 0, defined: 100, running: 0}
              pool: null
        vgpu:
          description:
            - The definitions of vGPUs that are virtual functions, by the function. C(active) says whether the function
              has this type now. C(drift) tells of another type, or of another place or parameters than defined.
          type: list
          elements: dict
          sample:
            - name: pci_0000_41_00_4
              address: "0000:41:00.4"
              parent: pci_0000_41_00_0
              parent_addr: "0000:41:00.0"
              parent_missing: false
              type: NVIDIA L40S-8Q
              type_id: 1152
              params: frame_rate_limiter=0
              placement_id: null
              autostart: true
              managed: false
              domain: null
              active: true
              drift:
                - {what: params, defined: frame_rate_limiter=0, running: ""}
              pool: null
        mdev:
          description:
            - The definitions of mediated devices, which are those of mdevctl. C(active) says whether the device runs on
              this parent. C(drift) tells of another parent or type, and of an attribute that can be read back.
          type: list
          elements: dict
          sample:
            - uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01
              name: mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0
              parent: pci_0000_3d_00_0
              parent_addr: "0000:3d:00.0"
              parent_missing: false
              type: nvidia-232
              attrs: [{nvidia/vgpu_params: frame_rate_limiter=0}]
              autostart: true
              managed: false
              domain: null
              active: true
              drift:
                - {what: attribute nvidia/vgpu_params, defined: frame_rate_limiter=0, running: frame_rate_limiter=1}
              pool: null
        vhba:
          description: The definitions of vHBAs, by WWPN. C(drift) tells of another WWNN or HBA than defined.
          type: list
          elements: dict
          sample:
            - wwnn: 2001001b32a9da5e
              wwpn: 2101001b32a9da5e
              parent_wwpn: 2100001b32a9da4e
              require_online: true
              name: scsi_host9
              parent: scsi_host3
              parent_addr: host3
              parent_missing: false
              autostart: true
              active: true
              drift: []
              pool: null
        pool:
          description:
            - The pools with what they were told, or else what holds for new instances, and their instances by index, id
              and parent. C(identity) is there only where one was told.
          type: list
          elements: dict
          sample:
            - name: desktops
              kind: mdev
              type: GRID T4-1Q
              count: 1
              parents: {driver: nvidia}
              placement: spread
              attrs: []
              autostart: true
              managed: false
              path: /etc/nodedev.d/pool/desktops.json
              instances:
                - {index: 0, id: 1f9d6c0e-7a55-5c6b-9d0f-0a4e3c2b1a00, parent_addr: "0000:3d:00.0"}
        damaged:
          description: The files that cannot be understood, and why. They are left as they are.
          type: list
          elements: dict
          sample:
            - {path: /etc/mdevctl.d/0000:3d:00.0/9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02, reason: mdev_type is not text}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.definitions import POOL, facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import KINDS

OPTIONS = {"kinds": {"type": "list", "elements": "str", "choices": [*KINDS, POOL]}}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: facts(params["kinds"]))


if __name__ == "__main__":
    main()
