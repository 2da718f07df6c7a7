#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nodedev_facts
short_description: The devices of a host as libvirt knows them, without libvirt
version_added: 0.2.0
description:
  - Tells of every node device that libvirt's driver would list, under the same name, with the same parent and the same
    details, and what libvirt leaves out.
  - Reads sysfs, the udev database and the definitions of devices. A subset reads the files of its own kinds, and of the
    devices above those. What vanishes meanwhile or cannot be read is left out as libvirt leaves it out.
extends_documentation_fragment:
  - hostdev.nodedev.attributes.facts
  - hostdev.nodedev.pages
requirements:
  - lxml (python3-lxml), for O(xml=true) only
options:
  capabilities:
    description:
      - Only devices with one of these capabilities, which mean what they mean to C(virsh nodedev-list --cap).
      - V(fc_host), V(vports), V(mdev_types), V(vpd) and V(ccwgroup_member) stand for the devices that have such a
        capability within their own.
    type: list
    elements: str
    choices: [system, pci, usb_device, usb, net, scsi_host, scsi_target, scsi, storage, scsi_generic, drm, mdev, ccw,
              ccwgroup, css, vdpa, ap_card, ap_queue, ap_matrix, mdev_types, fc_host, vports, vpd, ccwgroup_member]
  names:
    description: Only devices of these names, or PCI functions of these addresses. One that is not there is a warning.
    type: list
    elements: str
  parent: {description: "Only this device, by its name, or a PCI function by its address, and all below it.", type: str}
  driver: {description: Only devices that are bound to this driver., type: str}
  include:
    description:
      - V(active) devices are there now.
      - V(inactive) are the mediated devices that are defined and do not run.
      - V(all) are both.
    type: str
    choices: [active, inactive, all]
    default: active
  persistence:
    description:
      - V(persistent) devices are the computer itself, as libvirt counts, the mediated devices that are defined,
        whether they run or not, and the vHBAs that are there and defined, which libvirt counts as transient.
      - V(transient) are all others.
    type: str
    choices: [persistent, transient]
  xml:
    description: Add the document that C(virsh nodedev-dumpxml) prints, in the form of libvirt 11.
    type: bool
    default: false
  tree:
    description:
      - Add the lines of C(virsh nodedev-list --tree).
      - Of a subset, a device whose parent is not part of it begins a tree of its own.
    type: bool
    default: false
  devices:
    description: Whether the devices are returned; without them O(tree=true) is short.
    type: bool
    default: true
  unlisted:
    description: Add the devices of the same subsystems that libvirt does not list, each with the reason.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.mdev_types_facts
  - module: hostdev.nodedev.vhba_facts
  - module: hostdev.nodedev.nodedev
"""

EXAMPLES = r"""
- name: All there is, and how it hangs together
  hostdev.nodedev.nodedev_facts:
    tree: true

- name: The tree alone
  hostdev.nodedev.nodedev_facts:
    tree: true
    devices: false

- name: Network cards that can have virtual functions
  hostdev.nodedev.nodedev_facts:
    capabilities: [pci]
    driver: mlx5_core

- name: What hangs on one card, with what could be started there
  hostdev.nodedev.nodedev_facts:
    parent: pci_0000_3d_00_0
    include: all

- name: Cards and controllers that are not carved into parts
  ansible.builtin.debug:
    msg: "{{ ansible_facts.nodedev.devices | dict2items | selectattr('value.extra.role', 'defined')
      | selectattr('value.extra.role', 'equalto', 'whole') | map(attribute='key') }}"

- name: Documents for virt-install or the libvirt modules
  hostdev.nodedev.nodedev_facts:
    names: [pci_0000_3d_00_0]
    xml: true

- name: What of a mainframe's channels is free for guests, in a few lines
  hostdev.nodedev.nodedev_facts:
    capabilities: [ccw, css]
    devices: false

- name: Why a disk is missing
  hostdev.nodedev.nodedev_facts:
    capabilities: [storage]
    unlisted: true
"""

RETURN = r"""
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    nodedev:
      description: What was found.
      type: dict
      contains:
        devices:
          description:
            - The devices by libvirt's name. Each mirrors its XML - an element is a key, with its text or with a dict of
              its attributes and children, or a list of such where it may repeat; C(capability) has its type under
              C(type), and a list of the capabilities within it under C(capability).
            - The C(type) element of a capability is C(scsi_type), C(drm_type), C(mdev_type) or, as a list, C(types).
            - What libvirt does not say is under C(extra). Of a virtual function C(vf_index) and, with NVIDIA's vendor
              VFIO driver, C(current_vgpu_type); of a mediated device C(active), C(device_api) and C(definition); of any
              device with a VFIO node, when mediated devices are asked for, its C(holders), as M(hostdev.nodedev.mdev)
              returns them. Who is not root may not look at all processes, and is told so there.
            - Of PCI functions C(role), and with it C(subsystem_id). C(role) is C(function) for a virtual function;
              C(carved) for another one that has virtual functions, or mediated devices, now; C(whole) for one that is
              neither and can have virtual functions, or is a network or display controller, an NVMe or Fibre Channel
              controller, a co-processor or a processing accelerator. It is absent for bridges and all others. It does
              not say whether the host or a guest uses the function.
            - Of a Fibre Channel port C(port_state), C(port_type), C(targets) and C(luns), as M(hostdev.nodedev.vhba)
              returns them; of an HBA also C(free_vports), C(vhbas) and C(hindrance), as M(hostdev.nodedev.vhba_facts)
              tells them; of a vHBA C(vport), C(vport_state) and, where it is defined, C(definition).
            - Of a CCW device C(devtype) and C(cutype), the kernel's words for what it is and by what it is attached; of
              it and of a group C(owner), which is C(host) while the kernel has it, C(online), where that is told, and
              C(rules), those of chzdev's that set it or its group online at boot, each with its C(path), C(type) and
              C(sites). C(free) says of a CCW device that it is offline, in no group and has no such rule, so that
              nobody loses it when a guest gets it.
            - Of a subchannel C(owner), which is C(guests) once vfio_ccw has it, C(device), the name of its CCW device,
              and of one for guests C(free), whether a mediated device can be made there now.
            - Of a crypto adapter C(type), C(hwtype), C(online), C(takes_vfio), C(queues), how many are whose, and
              C(free), those that are for guests and that no mediated device has; of a queue C(owner), V(host),
              V(guests), or V(nobody) where it is for guests and vfio_ap has not got it, C(driver), C(online), C(mdev),
              the UUID of the mediated device that has it, and C(free); of the matrix C(free), and C(assigned), the
              queues of each mediated device.
            - With O(xml=true) the document is under C(xml).
          returned: O(devices=true)
          type: dict
          sample:
            pci_0000_3d_00_4:
              name: pci_0000_3d_00_4
              path: /sys/devices/pci0000:3c/0000:3c:00.0/0000:3d:00.4
              parent: pci_0000_3c_00_0
              driver: {name: nvidia}
              capability:
                type: pci
                class: "0x030200"
                domain: 0
                bus: 61
                slot: 0
                function: 4
                product: {id: "0x25b6", name: "GA107GL [A2 / A16]"}
                vendor: {id: "0x10de", name: NVIDIA Corporation}
                capability:
                  - {type: phys_function, address: {domain: "0x0000", bus: "0x3d", slot: "0x00", function: "0x0"}}
                iommuGroup: {number: 31, address: [{domain: "0x0000", bus: "0x3d", slot: "0x00", function: "0x4"}]}
                numa: {node: 0}
              extra: {role: function, vf_index: 0, subsystem_id: "10de:1518", current_vgpu_type: 711}
            ap_05_0004:
              name: ap_05_0004
              path: /sys/devices/ap/card05/05.0004
              parent: ap_card05
              driver: {name: vfio_ap}
              capability: {type: ap_queue, ap-adapter: "0x05", ap-domain: "0x0004"}
              extra:
                {owner: guests, driver: vfio_ap, online: true, mdev: 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001, free: false}
            ap_matrix:
              name: ap_matrix
              path: /sys/devices/vfio_ap/matrix
              parent: computer
              driver: {name: vfio_ap}
              capability: {type: ap_matrix}
              extra: {free: ["05.0005"], assigned: {83b8f4f2-509f-382f-3c1e-e6bfe0fa1001: ["05.0004"]}}
            scsi_host9:
              name: scsi_host9
              path: /sys/devices/pci0000:04/0000:04:00.0/host3/vport-3:0-0/host9
              parent: scsi_host3
              capability:
                type: scsi_host
                host: 9
                unique_id: 0
                capability:
                  - {type: fc_host, wwnn: 2001001b32a9da5e, wwpn: 2101001b32a9da5e, fabric_wwn: 100000051e000001}
              extra:
                port_state: Online
                port_type: NPIV VPORT
                vport: vport-3:0-0
                vport_state: Active
                targets:
                  - {rport: rport-9:0-0, wwpn: 500601603ea01234, state: Online}
                luns: []
                definition: {parent_wwpn: 10000090fa1234a0, require_online: true}
        channels:
          description:
            - What is free for guests of the channels of a mainframe, among the devices that are asked for; also without
              O(devices=true).
            - C(free) are the subchannels where a mediated device can be made, and the CCW devices that nobody loses.
              C(guests) are the subchannels that carry one, C(host) is how many CCW devices are online.
          returned: where there are CCW devices, subchannels or groups of them
          type: dict
          sample: {free: [ccw_0_0_1521, css_0_0_0013], guests: [css_0_0_0014], host: 7}
        crypto:
          description:
            - What is for guests of the crypto queues of a mainframe, where an adapter, a queue or the matrix is among
              the devices that are asked for; also without O(devices=true).
            - C(adapters) and C(domains) are those that the masks of the bus leave to guests, C(queues) those that an
              override does. C(free) are the queues that C(vfio_ap) has and no mediated device, C(host) is how many are
              the host's.
          returned: where there are crypto adapters
          type: dict
          sample: {adapters: [5], domains: [], queues: [], free: ["05.0005"], host: 6}
        tree:
          description: The lines of C(virsh nodedev-list --tree).
          returned: O(tree=true)
          type: list
          elements: str
          sample:
            - computer
            - "  |"
            - "  +- pci_0000_3c_00_0"
            - "      |"
            - "      +- pci_0000_3d_00_4"
        unlisted:
          description:
            - Devices that libvirt does not list, by their folder, and why. Of those that it would list if what the
              kernel says of them made sense, a warning tells too.
          returned: O(unlisted=true)
          type: list
          elements: dict
          sample:
            - {path: /sys/devices/virtual/net/br0, reason: libvirt has no kind of device for DEVTYPE bridge}
msg:
  description: The tree as text.
  returned: O(tree=true)
  type: str
  sample: "computer\n  |\n  +- pci_0000_3c_00_0\n      |\n      +- pci_0000_3d_00_4\n        \n"
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run_facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.nodedev import facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.libvirt.kinds import CAPABILITIES

OPTIONS = {
    "capabilities": {"type": "list", "elements": "str", "choices": list(CAPABILITIES)},
    "names": {"type": "list", "elements": "str"},
    "parent": {"type": "str"},
    "driver": {"type": "str"},
    "include": {"type": "str", "choices": ["active", "inactive", "all"], "default": "active"},
    "persistence": {"type": "str", "choices": ["persistent", "transient"]},
    "xml": {"type": "bool", "default": False},
    "tree": {"type": "bool", "default": False},
    "devices": {"type": "bool", "default": True},
    "unlisted": {"type": "bool", "default": False},
}


def main() -> None:
    run_facts(OPTIONS, lambda params, check_mode: facts(params))


if __name__ == "__main__":
    main()
