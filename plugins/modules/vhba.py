#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vhba
short_description: One virtual Fibre Channel HBA, there now and after every boot
version_added: 0.2.0
description:
  - Ensures that a virtual HBA (vHBA, a vport of NPIV) exists, is only defined, or is gone.
  - Its definition is kept in C(/etc/nodedev.d/vhba), with the HBA by its WWPN, since the numbers of SCSI hosts change
    from boot to boot. The role P(hostdev.nodedev.persistence#role) restores it.
  - A vHBA that libvirt made is the same vHBA here. libvirt is not needed on the host.
extends_documentation_fragment:
  - hostdev.nodedev.state.vhba
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  wwnn: {description: "The World Wide Node Name, 16 hexadecimal digits with or without C(0x) and colons.", type: str}
  wwpn: {description: The World Wide Port Name. It must be unique in the fabric., type: str}
  name:
    description:
      - A name from which both WWNs follow, with the host's machine-id and O(oui), so that they are the same in every
        run and different on every host. They are returned, so that they can be zoned.
    type: str
  identity:
    description:
      - A text of 1 to 255 characters without blanks that stands in for the host's machine-id in WWNs that follow from
        O(name), such as the host's name in the inventory. It makes up for machine-ids that several hosts have, which is
        a warning where it can be told, and lasts when a host is installed anew.
      - It is not kept. With another identity, or without it, the same name means another vHBA.
    type: str
  oui:
    description: The vendor's part of WWNs that follow from O(name), 6 hexadecimal digits.
    type: str
    default: 001a4a
  parent:
    description:
      - The HBA by libvirt's name, C(scsi_host) and its number.
      - Without this and the following options, the HBA of the definition is taken, else of all that are online and have
        free vports the one with the most of them. What was against each other HBA is returned.
    type: str
  parent_wwnn: {description: The HBA by its names; goes with O(parent_wwpn)., type: str}
  parent_wwpn: {description: The HBA by its names; goes with O(parent_wwnn)., type: str}
  parent_fabric_wwn: {description: The HBA by the WWN of the fabric that it is connected to., type: str}
  require_online:
    description:
      - Whether the HBA must be online, and the vHBA be logged in to the fabric before it counts as made. A vHBA that
        the fabric turns away is deleted again.
      - With V(false), it is made on a port whose link is down too, and logs in when the link comes up.
      - Without this option, what the definition of the vHBA says, and V(true) where there is none.
    type: bool
seealso:
  - module: hostdev.nodedev.vhba_pool
  - module: hostdev.nodedev.vhba_facts
"""

EXAMPLES = r"""
- name: The names of a vHBA before there is one, for whoever zones the fabric and masks the storage
  hostdev.nodedev.vhba:
    name: database
    state: inactive
  register: database

- name: Show them
  ansible.builtin.debug:
    msg: "zone {{ database.vhba.wwpn }} (WWNN {{ database.vhba.wwnn }}) with the storage"

- name: Make it, now and after every boot
  hostdev.nodedev.vhba:
    name: database

- name: Another with names that were given out, its three LUN paths awaited
  hostdev.nodedev.vhba:
    wwnn: 50:01:a4:a1:00:00:00:a1
    wwpn: 50:01:a4:a0:00:00:00:a1
    parent: scsi_host3
    wait_luns: 3
  register: images

- name: A storage pool of libvirt on it
  ansible.builtin.debug:
    msg: "{{ images.vhba | hostdev.nodedev.storage_pool_xml(name='images') }}"

- name: Its plain LUN as a guest's disk
  ansible.builtin.debug:
    msg: "{{ images.vhba.luns[1] | hostdev.nodedev.disk_xml(target='sda', bus='scsi') }}"

- name: On a port whose link is down, as before the switch answers
  hostdev.nodedev.vhba:
    name: late
    parent: scsi_host5
    require_online: false

- name: No such vHBA, now or later; refused while one of its LUNs is used
  hostdev.nodedev.vhba:
    name: "{{ item }}"
    state: absent
  loop: [database, late]
"""

RETURN = r"""
plan:
  description: As RV(hostdev.nodedev.mdev#module:plan).
  returned: success
  type: list
  elements: str
  sample:
    - create vHBA 2101001b32a9da5e (WWNN 2001001b32a9da5e) on scsi_host3 (WWPN 2100001b32a9da4e)
    - define vHBA 2101001b32a9da5e (WWNN 2001001b32a9da5e) on the HBA with WWPN 2100001b32a9da4e
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
hindrances:
  description: Why each other HBA is not the parent, by libvirt's name.
  returned: success
  type: dict
  sample:
    scsi_host4: its port is Linkdown, not Online
vhba:
  description: The vHBA afterwards. In check mode, what is known only once it exists is null.
  returned: success
  type: dict
  contains:
    wwnn:
      description: The World Wide Node Name, 16 hexadecimal digits; null where that is not known.
      type: str
      sample: 2001001b32a9da5e
    wwpn: {description: The World Wide Port Name., type: str, sample: 2101001b32a9da5e}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
    host: {description: The number of its SCSI host; another after every boot., type: int, sample: 9}
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str}
    parent: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent)., type: str}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str}
    parent_wwnn: {description: The WWNN of the HBA; null where that is not there., type: str, sample: 2000001b32a9da4e}
    parent_wwpn: {description: The WWPN of the HBA; null where that is not there., type: str, sample: 2100001b32a9da4e}
    fabric_wwn: {description: The WWN of the fabric; null where the port has none., type: str, sample: 100000051e000001}
    port_state: {description: What its port says., type: str, sample: Online}
    vport: {description: The kernel's name of the vport., type: str, sample: vport-3:0-0}
    vport_state:
      description: What the vport says, such as V(Active), V(Linkdown) or V(Fabric Rejected WWN).
      type: str
      sample: Active
    targets:
      description: The remote ports with storage that it sees.
      type: list
      elements: dict
      sample:
        - {rport: rport-9:0-0, wwpn: 500601603ea01234, state: Online}
    luns:
      description:
        - Its LUNs, by address. The size is in bytes; what is no disk has no block device. C(multipath) is the multipath
          map that the disk is a path of, by its name and its nodes, null where it is in none.
      type: list
      elements: dict
      sample:
        - address: "9:0:0:0"
          block: /dev/sdb
          generic: /dev/sg2
          size: 10737418240
          by_path: /dev/disk/by-path/pci-0000:04:00.0-fc-0x500601603ea01234-lun-0
          by_id: /dev/disk/by-id/wwn-0x600601601234000000000000000000a0
          multipath: {name: mpatha, path: /dev/mapper/mpatha, block: /dev/dm-0}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "wwnn": {"type": "str"},
    "wwpn": {"type": "str"},
    "name": {"type": "str"},
    "identity": {"type": "str"},
    "oui": {"type": "str", "default": device.OUI},
    "parent": {"type": "str"},
    "parent_wwnn": {"type": "str"},
    "parent_wwpn": {"type": "str"},
    "parent_fabric_wwn": {"type": "str"},
    "require_online": {"type": "bool"},
    "wait_luns": {"type": "int", "default": 0},
    "rescan": {"type": "bool", "default": False},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
