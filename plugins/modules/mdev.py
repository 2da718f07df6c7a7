#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mdev
short_description: One mediated device, running now and after every boot
version_added: 0.2.0
description:
  - Ensures that a mediated device exists, is only defined, or is gone.
  - Its definition is kept in C(/etc/mdevctl.d) in the form of mdevctl, so that mdevctl and libvirt know the device too,
    and a device that was made by either of them is the same device here.
  - Neither libvirt nor mdevctl is needed on the host. mdevctl's callout scripts are asked where there are any, when a
    device is defined, changed, undefined, started or stopped; O(force=true) passes over what they refuse.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.state.mdev
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  uuid:
    description: The UUID of the device, in upper or lower case. It is kept in lower case, as the kernel does.
    type: str
    required: true
  type:
    description:
      - The type, as the kernel's id (V(nvidia-63)) or as the vendor's name (V(GRID T4-2Q)). With O(state=inactive), a
        device whose parent is gone or offers its type no more stays defined as it is.
      - A name that several types of the parent share is an error that lists their ids.
      - Needed for a device that neither runs nor is defined.
    type: str
  parent:
    description:
      - The parent, as libvirt's device name (V(pci_0000_3d_00_0)) or as its address in sysfs (V(0000:3d:00.0),
        V(0.0.0013), V(matrix)), of a PCI function also as nvidia-smi and lspci write it.
      - A subchannel of a mainframe is named by itself (V(css_0_0_0013), V(0.0.0013)) or by the CCW device on it
        (V(ccw_0_0_0816), V(0.0.0816), V("0816")). A number that may be both is an error. The device that the subchannel
        carries is one guest's, so that there is one mediated device on it.
      - Needed for a device that neither runs nor is defined, and for one that is defined under several parents.
        To be removed, one that runs and is defined under different parents needs it too.
      - With O(state=absent), only the device under this parent is meant.
    type: str
  attrs:
    description:
      - Attributes to write to the device after it was made, in this order; a name may stand more than once.
      - Each item is a mapping of one name, which is the path of a file below the device, to one value.
      - Without this option, the attributes of the definition stay as they are; of a device that runs without one, those
        are defined that a callout script tells. Attributes of a running device cannot be read back otherwise, so other
        attributes than the defined ones change the definition only, with a warning, unless O(replace=true).
      - On the matrix of a mainframe, whose devices have crypto queues, numbers are decimal or hexadecimal (V(31),
        V(0x1f)). What the kernel would refuse is found before anything is written. A device that runs gets other queues
        at once, where it has C(ap_config) (Linux 6.9). For queues that its guest would lose, that takes O(force=true).
        A device that runs without a definition and is idle gets them when it is defined; without C(ap_config), only if
        all that it has is among them.
    type: list
    elements: dict
  managed:
    description:
      - Whether the device comes and goes with its guest. It is defined, and does not start at boot. It is made, with
        its attributes, when a domain that names its UUID starts, and removed when that has ended or has failed to
        start, by a libvirt hook that the role P(hostdev.nodedev.persistence#role) installs.
      - One that runs when it becomes managed is removed if nobody uses it. Else it stays until it is removed, or the
        host boots.
      - One that is managed no longer is made and starts with its parent, unless O(autostart=false).
      - Without this option, the definition stays as it is in this, and a new one is not managed.
    type: bool
seealso:
  - module: hostdev.nodedev.mdev_types_facts
  - module: hostdev.nodedev.definition_facts
"""

EXAMPLES = r"""
- name: A vGPU that is there now and after every boot
  hostdev.nodedev.mdev:
    uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01
    type: GRID T4-4Q
    parent: pci_0000_3d_00_0

- name: Another, with vendor attributes that are written before a guest opens it
  hostdev.nodedev.mdev:
    uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02
    type: nvidia-232
    parent: "0000:3d:00.0"
    attrs:
      - nvidia/vgpu_params: frame_rate_limiter=0

- name: One that is made when a guest starts with it, and removed when that has ended
  hostdev.nodedev.mdev:
    uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a03
    type: nvidia-232
    parent: "0000:3d:00.0"
    managed: true

- name: Keep only its definition
  hostdev.nodedev.mdev:
    uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02
    state: inactive

- name: No such device, now or later
  hostdev.nodedev.mdev:
    uuid: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a02
    state: absent
"""

RETURN = r"""
plan:
  description: The steps that were taken, or in check mode would be, in order.
  returned: success
  type: list
  elements: str
  sample:
    - create mdev 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01 of type nvidia-232 on 0000:3d:00.0
    - define mdev 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01 with type nvidia-232 on 0000:3d:00.0, start auto
diff:
  description:
    - What there is before and after, as text with a line for each device. It says whether the device runs now and is
      defined for the next boot, and what it is; where the two differ, what it is defined as stands in brackets.
  returned: success
  type: dict
  sample:
    before: ""
    after: >
      9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01: runs and is defined; type nvidia-232, parent_addr 0000:3d:00.0, autostart
      true
mdev:
  description: The device afterwards. In check mode, what is known only once the device exists is null.
  returned: success
  type: dict
  contains:
    name:
      description: libvirt's name of the device; null where it has none now.
      type: str
      sample: mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0
    uuid: {description: "The UUID, in lower case.", type: str, sample: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01}
    parent:
      description: libvirt's name of the parent; null where that is not there.
      type: str
      sample: pci_0000_3d_00_0
    parent_addr:
      description: The kernel's name of the parent; null where that is not there.
      type: str
      sample: "0000:3d:00.0"
    type: {description: The kernel's id of the type; null where that is not known., type: str, sample: nvidia-232}
    device_api: {description: How a guest gets the device., type: str, sample: vfio-pci}
    iommu_group: {description: The number of the VFIO group; null while the device does not run., type: int, sample: 12}
    active: {description: Whether the device is there now., type: bool, sample: true}
    persistent: {description: Whether the device is defined., type: bool, sample: true}
    autostart:
      description: Whether the definition says to start it with its parent; null without a definition.
      type: bool
      sample: true
    managed:
      description: Whether the device is defined to come and go with the guest that names it.
      type: bool
      sample: false
    attrs:
      description: The attributes of the definition.
      type: list
      elements: dict
      sample:
        - nvidia/vgpu_params: frame_rate_limiter=0
    holders:
      description:
        - Who uses the device (C(by)), how, and by which node. Of a process C(by) is its name, and C(domain) that of the
          guest if it is one. What does not apply is null. A managed device that was made for a guest which libvirt is
          starting has libvirt's process as its holder.
        - C(pid) is null too where a process cannot be seen, or where it cannot be told whether any has it open, so that
          it is not known to be free.
      type: list
      elements: dict
      sample:
        - {node: /dev/vfio/12, how: open by, by: qemu-system-x86, pid: 4711, domain: workstation-3}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mdev import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "uuid": {"type": "str", "required": True},
    "type": {"type": "str"},
    "parent": {"type": "str"},
    "attrs": {"type": "list", "elements": "dict"},
    "autostart": {"type": "bool"},
    "managed": {"type": "bool"},
    "replace": {"type": "bool", "default": False},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
