#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: driver
short_description: Which driver a device is bound to, now and after every boot
version_added: 0.2.0
description:
  - Ensures that a PCI function, or a subchannel of a mainframe, is bound to a driver, as C(virsh nodedev-detach)
    binds it to a VFIO driver for a guest, or that the kernel's own choice has it again, as C(virsh nodedev-reattach)
    gives it back.
  - The binding is an override of the device's own (C(driver_override)), so that no other device of the same product
    is concerned. The driver's module is loaded, the override set, the device unbound and probed, and then it is
    verified that this driver has it. Where it has not, all is put back as it was.
  - It is kept in C(/etc/driverctl.d), in C(driverctl)'s own form. What C(driverctl) has kept there is understood, and
    C(driverctl list-overrides) lists what this module has set. The role P(hostdev.nodedev.persistence#role) restores
    it, and so does C(driverctl) where it is installed.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  device:
    description:
      - The device, by libvirt's name or by the address of a PCI function, as V(pci_0000_5e_00_1) or V(0000:5e:00.1),
        and V(css_0_0_0013) for a subchannel.
      - For a CCW device, as V(ccw_0_0_1520) or by its number alone, V("1520"), its subchannel is bound. The device is
        set offline before, if nobody uses it, and is gone while a VFIO driver has the subchannel. Given back, it is
        there again, and offline.
    type: str
    required: true
  driver:
    description:
      - The name of the driver.
      - V(vfio) is the driver that gives the device to guests, the most specific one by the C(modules.alias) of this
        kernel, as libvirt chooses it from 10.0 on, and else V(vfio-pci).
      - V(none) is for no driver.
      - Without this option, the driver that is defined for the device, or that an override binds it to. With O(group),
        others for which none is defined get this one too.
    type: str
  group:
    description:
      - Bind all functions of the device's IOMMU group, but for bridges, since a guest can have none of them while the
        host uses another.
    type: bool
    default: false
  take_over:
    description:
      - Whether chzdev is to give up what it keeps of a CCW device whose subchannel is bound, where a rule of chzdev's
        sets that online at each boot, or at some sites. chzdev's own exports of it are kept in
        C(/etc/nodedev.d/chzdev), and imported again when the subchannel is given back with O(state=absent). Without
        this option such a rule is an error.
    type: bool
    default: false
  force:
    description:
      - Take a device from its driver although the host uses it, that is, its interface has an address, a route, the
        default route or this ssh connection, one of its disks is mounted or open, it is the console's GPU, it has
        virtual functions, mediated devices or vHBAs, or others of its IOMMU group stay with the host.
      - Never taken away is what a guest has, by the device or by its IOMMU group, what carries C(/), C(/boot), swap,
        or an active map or array, a disk that something else in the kernel has for itself, as a ZFS pool, a bridge,
        and a virtual function of NVIDIA's vGPU driver from that.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.definition_facts
  - module: hostdev.nodedev.nodedev_facts
"""

EXAMPLES = r"""
- name: Give an NVMe disk, and all that is in its IOMMU group, to guests, now and after every boot
  hostdev.nodedev.driver:
    device: pci_0000_5e_00_0
    driver: vfio
    group: true

- name: Only until the next boot
  hostdev.nodedev.driver:
    device: 0000:5e:00.0
    driver: vfio-pci
    persistent: false

- name: Give it back to the host
  hostdev.nodedev.driver:
    device: pci_0000_5e_00_0
    state: absent
    group: true
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
device:
  description: The device afterwards.
  returned: success
  type: dict
  contains:
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str, sample: pci_0000_5e_00_0}
    address: {description: Its name in the kernel., type: str, sample: "0000:5e:00.0"}
    driver: {description: The driver that it is bound to; null for none., type: str, sample: vfio-pci}
    override: {description: The driver that its override names; null for none., type: str, sample: vfio-pci}
    iommu_group: {description: As RV(hostdev.nodedev.mdev#module:mdev.iommu_group)., type: int}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
group:
  description: With O(group=true), the other functions of its IOMMU group, each as RV(device).
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.driver import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "device": {"type": "str", "required": True},
    "driver": {"type": "str"},
    "take_over": {"type": "bool", "default": False},
    "group": {"type": "bool", "default": False},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
