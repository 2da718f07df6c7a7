#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nodedev
short_description: A device described by libvirt's XML, running now and after every boot
version_added: 0.2.0
description:
  - Ensures that a device that libvirt's XML describes, or that has a name of libvirt's, exists, is only defined,
    or is gone.
  - Takes the XML that C(virsh nodedev-create) and C(virsh nodedev-define) take, and what C(virsh nodedev-dumpxml)
    prints. libvirt itself is not needed on the host.
  - Mediated devices can be made, for which it does what M(hostdev.nodedev.mdev) does, and virtual Fibre Channel HBAs
    (vHBAs), for which it does what M(hostdev.nodedev.vhba) does. The XML of another kind is an error.
  - Elements that libvirt ignores when it makes a device, such as C(<name>), C(<path>) and C(<iommuGroup>), are
    ignored here too. O(autostart) is no part of libvirt's XML, and libvirt itself defines devices without it.
  - A vHBA that is defined always starts with its HBA, so that O(autostart=false) is an error where one is to be
    defined. O(replace) has no effect on a vHBA; one that is on another HBA than the document says is an error.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.state.mdev
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
requirements:
  - lxml (python3-lxml), for O(xml)
options:
  xml:
    description:
      - The document, with a C(<device>) that has a C(<parent>) and a C(<capability>).
      - It is the whole of the device. Attributes that the definition has and the document has not are removed from it.
        C(virsh nodedev-dumpxml) without C(--inactive) does not print the attributes of a device that runs on
        libvirt 10 and later.
      - A mediated device without C(<uuid>), for which libvirt would make up another UUID each time, gets one that is
        derived from parent and type, so that the same document means the same device on every run and every host.
        Several devices of one type on one parent need a C(<uuid>) each.
      - A vHBA is a C(scsi_host) with an C(fc_host) within. Its C(<parent>) is the HBA by libvirt's name, or by the
        attributes C(wwnn) and C(wwpn), or C(fabric_wwn); the first of these that the document has counts. Without any,
        the HBA is the one of the definition or the best that there is, as for M(hostdev.nodedev.vhba). The numbers of
        SCSI hosts change from boot to boot, so that a document that is kept should name its parent by the WWNs.
      - A vHBA without C(<wwnn>) or C(<wwpn>), for which libvirt would make it up anew each time, gets one that is
        derived from the host's machine-id and from what the document says of the parent, so that the same document
        means the same vHBA on every run, and another one on every host. Several vHBAs on one parent need a C(<wwpn>)
        each.
      - A document with a document type, entities or other than one device is an error. Nothing is fetched.
    type: str
  name:
    description:
      - libvirt's name of a device that runs or is defined, such as
        V(mdev_9a2c9c9e_6c1f_4f0e_8b2b_2d1c1a5f3a01_0000_3d_00_0) or V(scsi_host9).
      - A vHBA has a name only while it is there, and after the next boot the name may be another one's. What is to last
        takes O(xml), or M(hostdev.nodedev.vhba).
      - With O(state=absent), a name of no device is no error.
    type: str
  require_online:
    description:
      - Whether the HBA of a vHBA must be online, as for M(hostdev.nodedev.vhba). libvirt does not ask for that.
      - Without it, what the definition of the vHBA says, and V(true) where there is none.
      - Of no effect on other devices.
    type: bool
  identity:
    description:
      - A text of 1 to 255 characters without blanks that stands in for the host's machine-id where the WWNs of a vHBA
        follow from it, such as the host's name in the inventory. Another text means another vHBA.
      - Of no effect on other devices, and on a vHBA whose document has both WWNs.
    type: str
seealso:
  - module: hostdev.nodedev.mdev
  - module: hostdev.nodedev.vhba
  - module: hostdev.nodedev.nodedev_facts
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
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
mdev: {description: As RV(hostdev.nodedev.mdev#module:mdev)., returned: for a mediated device, type: dict}
vhba:
  description:
    - As RV(hostdev.nodedev.vhba#module:vhba).
    - Null where O(name) of a SCSI host that is not there was to be absent.
  returned: for a vHBA
  type: dict
hindrances: {description: As RV(hostdev.nodedev.vhba#module:hindrances)., returned: for a vHBA, type: dict}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.registry import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "xml": {"type": "str"},
    "name": {"type": "str"},
    "autostart": {"type": "bool"},
    "replace": {"type": "bool", "default": False},
    "require_online": {"type": "bool"},
    "identity": {"type": "str"},
}
ONE = [("xml", "name")]


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(check_mode, **params), mutually_exclusive=ONE, required_one_of=ONE)


if __name__ == "__main__":
    main()
