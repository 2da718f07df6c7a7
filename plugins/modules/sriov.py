#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sriov
short_description: The virtual functions of a physical one, there now and after every boot
version_added: 0.2.0
description:
  - Ensures how many virtual functions a PCI function with SR-IOV has, which driver has them, and what the driver of a
    network card is told of them.
  - The definition is kept in C(/etc/nodedev.d/sriov). The role P(hostdev.nodedev.persistence#role) restores it at boot
    and when the physical function gets its driver.
  - The kernel goes from no function to some and back only. Another number than there are means that all of them are
    destroyed and made anew, which the plan says, naming each.
  - A warning names others on the host who have the functions of this card made too, as NetworkManager,
    systemd-networkd, a udev rule, Proxmox, or an operator of Kubernetes. Leave them to one.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  device:
    description: The physical function, by libvirt's name such as V(pci_0000_3b_00_0), or by its address.
    type: str
    required: true
  numvfs:
    description:
      - How many virtual functions there are to be, a number or V(max) for as many as the function has.
      - Without this option, as many as are defined, or else as many as there are.
      - Where the driver enables fewer than that, the module fails and removes them again.
    type: str
  autoprobe:
    description:
      - Whether the kernel is to bind new functions to a driver. C(sriov_drivers_autoprobe) is set so while they are
        made, and is then as before. Functions that are there already stay as they are.
      - Without this option, what is defined, or else what C(sriov_drivers_autoprobe) says.
    type: bool
  driver:
    description:
      - The driver that all virtual functions are to have, or V(none) for no driver. It is bound by the function's
        C(driver_override), so that no other device is concerned.
      - Without this option, what is defined, or else the kernel's choice. An empty text means the kernel's choice
        whatever is defined.
    type: str
  vfs:
    description:
      - What the driver of a network card is told of its functions, by iproute2 on the host. What is not named of a
        function stays as it is. What is otherwise on a later run is set again.
      - A MAC address is set before a new function gets its driver, so that its interface has it.
      - Without this option, what is defined. An empty list means nothing whatever is defined.
    type: list
    elements: dict
    suboptions:
      index: {description: "Which function, counted from 0.", type: int, required: true}
      mac: {description: Its MAC address., type: str}
      vlan: {description: "The VLAN that it is in, without its knowledge, 1 to 4094; 0 for none.", type: int}
      qos: {description: "The priority of its frames in the VLAN, 0 to 7.", type: int}
      trust: {description: "Whether it may do what concerns others, such as taking another MAC address.", type: bool}
      spoofchk: {description: Whether frames with another MAC address than its own are dropped., type: bool}
      link_state:
        description: Whether its link is that of the card, or up or down whatever that is.
        type: str
        choices: [auto, enable, disable]
      min_tx_rate: {description: "How much it can always send, in Mbit/s; 0 for no limit.", type: int}
      max_tx_rate: {description: "How much it can send at most, in Mbit/s; 0 for no limit.", type: int}
  state:
    description:
      - V(present) means that the functions are there now and, unless O(persistent=false), after every boot.
      - V(inactive) keeps their definition only.
      - V(absent) removes all functions of the device, whoever made them, and the definition.
  force:
    description:
      - Whether functions may be destroyed, or bound to another driver, that are in use. A function is in use that
        carries a mediated device or a vGPU, or whose interface has an address or a route; and before it is destroyed
        also one that has a driver.
      - What a guest or a program has open by VFIO is never taken away.
    type: bool
    default: false
  wait_timeout:
    description:
      - For how many seconds the task waits at most, in all; for another run on the same card, for the driver of the
        card, and for what comes later than a new function does, its IOMMU group, its driver, its network interface.
        What it has begun by then is undone. At most 86400, a day.
    type: float
    default: 30.0
seealso:
  - module: hostdev.nodedev.nodedev_facts
  - module: hostdev.nodedev.mdev
"""

EXAMPLES = r"""
- name: Four virtual functions, now and after every boot
  hostdev.nodedev.sriov:
    device: pci_0000_3b_00_0
    numvfs: 4

- name: The first one in a VLAN and with an address of its own
  hostdev.nodedev.sriov:
    device: pci_0000_3b_00_0
    vfs:
      - index: 0
        mac: "02:00:00:00:00:01"
        vlan: 100

- name: All of them for guests
  hostdev.nodedev.sriov:
    device: "0000:3b:00.0"
    driver: vfio-pci
  register: functions

- name: Their addresses
  ansible.builtin.debug:
    msg: "{{ functions.sriov.functions | map(attribute='address') }}"

- name: Two only; the four that are there have drivers, and are destroyed
  hostdev.nodedev.sriov:
    device: pci_0000_3b_00_0
    numvfs: 2
    force: true

- name: None, now or later
  hostdev.nodedev.sriov:
    device: pci_0000_3b_00_0
    state: absent
    force: true
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
sriov:
  description:
    - The physical function and its virtual ones afterwards. In check mode, what is known only once a function exists is
      null.
  returned: success
  type: dict
  contains:
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str, sample: pci_0000_3b_00_0}
    address: {description: Its name in the kernel., type: str, sample: "0000:3b:00.0"}
    total:
      description: How many virtual functions there can be; null where the device is not there.
      type: int
      sample: 8
    numvfs: {description: How many there are., type: int, sample: 4}
    autoprobe: {description: What C(sriov_drivers_autoprobe) says; null where there is none., type: bool, sample: true}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
    driver: {description: The driver that it is bound to; null for none., type: str, sample: igb}
    functions:
      description:
        - The virtual functions by their index. C(holders) is as RV(hostdev.nodedev.mdev#module:mdev.holders);
          C(vgpu_type) is the type of the vGPU or of the mediated device that a function carries; C(unusable) is why it
          is there and cannot be used, null where it can.
        - C(mac) is what the driver of the card was told, or else that of C(netdev), its network interface; C(vlan) is
          what that driver was told, 0 for none, and null where it does not say.
      type: list
      elements: dict
      sample:
        - index: 0
          name: pci_0000_3b_10_0
          address: "0000:3b:10.0"
          driver: igbvf
          iommu_group: 41
          netdev: enp59s16
          mac: "02:00:00:00:00:01"
          vlan: 100
          holders: []
          vgpu_type: null
          unusable: null
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.vf_settings import LINK_STATES
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.sriov import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

FUNCTION = {
    "index": {"type": "int", "required": True},
    "mac": {"type": "str"},
    "vlan": {"type": "int"},
    "qos": {"type": "int"},
    "trust": {"type": "bool"},
    "spoofchk": {"type": "bool"},
    "link_state": {"type": "str", "choices": [*LINK_STATES]},
    "min_tx_rate": {"type": "int"},
    "max_tx_rate": {"type": "int"},
}
OPTIONS = {
    **STATE_OPTIONS,
    "device": {"type": "str", "required": True},
    "numvfs": {"type": "str"},
    "autoprobe": {"type": "bool"},
    "driver": {"type": "str"},
    "vfs": {"type": "list", "elements": "dict", "options": FUNCTION},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
