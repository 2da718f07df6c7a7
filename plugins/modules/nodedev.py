#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nodedev
short_description: A device described by libvirt's XML, running now and after every boot
version_added: 0.1.0
description:
  - Ensures that a device that libvirt's XML describes, or that has a name of libvirt's, exists, is only defined,
    or is gone.
  - Takes the XML that C(virsh nodedev-create) and C(virsh nodedev-define) take, and what C(virsh nodedev-dumpxml)
    prints. libvirt itself is not needed on the host.
  - Mediated devices can be made; it then does what M(hostdev.nodedev.mdev) does. The XML of another kind is an error.
  - Elements that libvirt ignores when it makes a device, such as C(<name>), C(<path>) and C(<iommuGroup>), are
    ignored here too.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
requirements:
  - lxml (python3-lxml)
options:
  xml:
    description:
      - The document, with a C(<device>) that has a C(<parent>) by libvirt's name and a C(<capability>).
      - It is the whole of the device. Attributes that the definition has and the document has not are removed from it.
        C(virsh nodedev-dumpxml) without C(--inactive) does not print the attributes of a device that runs on
        libvirt 10 and later.
      - A mediated device without C(<uuid>), for which libvirt would make up another UUID each time, gets one that is
        derived from parent and type, so that the same document means the same device on every run and every host.
        Several devices of one type on one parent need a C(<uuid>) each.
      - A document with a document type, entities or other than one device is an error. Nothing is fetched.
    type: str
  name:
    description:
      - libvirt's name of a device that runs or is defined, such as
        V(mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0).
      - With O(state=absent), a name of no device is no error.
    type: str
  autostart:
    description:
      - Whether the definition says that the device starts when its parent appears.
      - This is no part of libvirt's XML, and libvirt itself defines devices without it.
    type: bool
    default: true
  replace:
    description:
      - Whether a device that exists with another type, parent or other defined attributes may be removed and made anew.
      - It is removed only when nobody uses it, unless O(force=true).
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.mdev
  - module: hostdev.nodedev.nodedev_facts
author:
  - The hostdev.nodedev authors (@hostdev)
"""

EXAMPLES = r"""
- name: What virsh nodedev-define and nodedev-start would do, and nothing on a second run
  hostdev.nodedev.nodedev:
    xml: |
      <device>
        <parent>pci_0000_3d_00_0</parent>
        <capability type='mdev'>
          <type id='nvidia-232'/>
          <uuid>9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01</uuid>
          <attr name='nvidia/vgpu_params' value='frame_rate_limiter=0'/>
        </capability>
      </device>

- name: Keep only its definition
  hostdev.nodedev.nodedev:
    name: mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0
    state: inactive

- name: No such device, now or later
  hostdev.nodedev.nodedev:
    name: mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0
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
  description: What runs (C(runtime)) and what is kept for the next boot (C(boot)), before and after.
  returned: success
  type: dict
  sample:
    before: {runtime: {}, boot: {}}
    after:
      runtime: {type: nvidia-232, parent: "0000:3d:00.0"}
      boot: {type: nvidia-232, parent: "0000:3d:00.0", autostart: true, attrs: []}
mdev:
  description:
    - The device afterwards, if it is a mediated one. In check mode, what is known only once the device exists is null.
  returned: success
  type: dict
  contains:
    name:
      description: libvirt's name of the device; null when no parent of it is known.
      type: str
      sample: mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0
    uuid:
      description: The UUID, in lower case.
      type: str
      sample: 9a2c9c9e-6c1f-4f0e-8b2b-2d1c1a5f3a01
    parent:
      description: libvirt's name of the parent; null where the parent is not there.
      type: str
      sample: pci_0000_3d_00_0
    parent_addr:
      description: The parent's address in sysfs.
      type: str
      sample: "0000:3d:00.0"
    type:
      description: The kernel's id of the type.
      type: str
      sample: nvidia-232
    device_api:
      description: How a guest gets the device.
      type: str
      sample: vfio-pci
    iommu_group:
      description: The number of the VFIO group; null while the device does not run.
      type: int
      sample: 12
    active:
      description: Whether the device runs.
      type: bool
      sample: true
    persistent:
      description: Whether the device is defined.
      type: bool
      sample: true
    autostart:
      description: Whether the definition says to start it with its parent; null without a definition.
      type: bool
      sample: true
    attrs:
      description: The attributes of the definition.
      type: list
      elements: dict
      sample:
        - nvidia/vgpu_params: frame_rate_limiter=0
    holders:
      description: The processes that hold the device open, with the domain where one is a guest.
      type: list
      elements: dict
      sample:
        - {pid: 4711, command: qemu-system-x86, node: /dev/vfio/12, domain: workstation-3}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils.resources.nodedev import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "xml": {"type": "str"},
    "name": {"type": "str"},
    "autostart": {"type": "bool", "default": True},
    "replace": {"type": "bool", "default": False},
}
ONE = [("xml", "name")]


def main() -> None:
    run(
        OPTIONS,
        lambda params, check_mode: ensure(check_mode, **params),
        ("pyudev", "lxml"),
        mutually_exclusive=ONE,
        required_one_of=ONE,
    )


if __name__ == "__main__":
    main()
