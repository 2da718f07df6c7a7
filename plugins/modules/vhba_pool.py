#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vhba_pool
short_description: A named, counted set of virtual Fibre Channel HBAs, there now and after every boot
version_added: 0.2.0
description:
  - Ensures that so many virtual HBAs (vHBAs, vports of NPIV) exist over a choice of HBAs, are only defined, or are
    gone.
  - The WWNs follow from the host's machine-id, the pool's name and an index, so that a second run, another controller
    or a restored host means the same vHBAs, and zones and LUN masks that were made for them hold. They are those of a
    single vHBA whose O(hostdev.nodedev.vhba#module:name) is the pool's name, a space and the index.
  - Each vHBA is defined in C(/etc/nodedev.d/vhba) with its HBA by WWPN, the pool in C(/etc/nodedev.d/pool). The role
    P(hostdev.nodedev.persistence#role) restores them.
  - vHBAs that others made are never taken or removed. A failure half way undoes what this run did.
extends_documentation_fragment:
  - hostdev.nodedev.state.vhba
  - hostdev.nodedev.state
  - hostdev.nodedev.pool
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  count:
    description:
      - How many vHBAs the pool has, or V(max) for as many as fit.
      - Growing takes the lowest free indexes. Shrinking removes the idle vHBAs of the highest indexes, and fails naming
        the LUNs and who uses them when too few are idle, unless O(force=true).
      - Needed for a pool that is not known here. What is left out of this and of the following options is as it was
        when the pool was changed last.
    type: str
  parents:
    description:
      - What the HBAs must be, all of it; without this option, every HBA that is online is used.
      - Only HBAs with NPIV are counted, and with O(require_online=true) none that says of no fabric, unless it is
        listed.
    type: dict
    suboptions:
      names:
        description:
          - HBAs by libvirt's names, such as V(scsi_host3). The pool keeps them by WWPN, since the numbers change from
            boot to boot.
        type: list
        elements: str
      wwpns:
        description: HBAs by WWPN, in addition to O(parents.names). One that is not there is passed over.
        type: list
        elements: str
      fabric_wwn: {description: The WWN of the fabric that the HBA is connected to., type: str}
      online:
        description:
          - Whether only HBAs that are online are used for new vHBAs. V(false) goes with O(require_online=false).
        type: bool
        default: true
  placement:
    description:
      - Where new vHBAs go. V(spread) takes the HBA with the fewest vHBAs of the pool, V(pack) fills one HBA before the
        next. vHBAs that are there stay where they are. One that is only defined, and whose HBA is gone, full or not
        counted, moves to an HBA with room and keeps its WWNs. A new pool is spread.
    type: str
    choices: [spread, pack]
  require_online:
    description:
      - Whether a vHBA must be logged in to the fabric before it counts as made. One that the fabric turns away is
        deleted again, with all that this run made. A new pool requires it.
      - Without this option, what is defined stays as it is in this.
    type: bool
  oui:
    description:
      - The vendor's part of the WWNs, 6 hexadecimal digits. That of a pool cannot be changed; a new pool has V(001a4a).
    type: str
seealso:
  - module: hostdev.nodedev.vhba
  - module: hostdev.nodedev.vhba_facts
  - module: hostdev.nodedev.definition_facts
"""

EXAMPLES = r"""
- name: The names of four vHBAs before there is one, for whoever zones the fabric and masks the storage
  hostdev.nodedev.vhba_pool:
    name: guests
    count: 4
    state: inactive
  register: guests

- name: Show them
  ansible.builtin.debug:
    msg: "zone {{ guests.instances | map(attribute='wwpn') | join(', ') }} with the storage"

- name: Make them, on every HBA that is online, now and after every boot
  hostdev.nodedev.vhba_pool:
    name: guests
  register: guests

- name: The disks that each of them sees, by names that last
  ansible.builtin.debug:
    msg: "{{ item.wwpn }} sees {{ item.luns | map(attribute='by_path') | join(', ') or 'nothing yet' }}"
  loop: "{{ guests.instances }}"

- name: A storage pool of libvirt on the first of them
  ansible.builtin.debug:
    msg: "{{ guests.instances[0] | hostdev.nodedev.storage_pool_xml(name='guest-0') }}"

- name: Look for LUNs that were unmasked meanwhile; with wait_luns, how many each is to have
  hostdev.nodedev.vhba_pool:
    name: guests
    rescan: true

- name: One fewer; an idle one goes
  hostdev.nodedev.vhba_pool:
    name: guests
    count: 3

- name: All that fits on one HBA
  hostdev.nodedev.vhba_pool:
    name: backup
    count: max
    parents:
      names: [scsi_host4]

- name: Two in one fabric, also on HBAs whose link is down, as before the switch answers
  hostdev.nodedev.vhba_pool:
    name: late
    count: 2
    parents:
      wwpns: ["10:00:00:90:fa:12:34:b0"]
      online: false
    require_online: false

- name: No such pool, now or later; refused while a LUN of its vHBAs is used
  hostdev.nodedev.vhba_pool:
    name: "{{ item }}"
    state: absent
  loop: [guests, backup, late]
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
instances:
  description: As RV(hostdev.nodedev.mdev_pool#module:instances).
  returned: success
  type: list
  elements: dict
  contains:
    index: {description: "As RV(hostdev.nodedev.mdev_pool#module:instances[].index).", type: int}
    wwnn: {description: As RV(hostdev.nodedev.vhba#module:vhba.wwnn)., type: str}
    wwpn: {description: As RV(hostdev.nodedev.vhba#module:vhba.wwpn)., type: str}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    host: {description: As RV(hostdev.nodedev.vhba#module:vhba.host)., type: int}
    name: {description: As RV(hostdev.nodedev.mdev#module:mdev.name)., type: str}
    parent: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent)., type: str}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str}
    parent_wwnn: {description: As RV(hostdev.nodedev.vhba#module:vhba.parent_wwnn)., type: str}
    parent_wwpn: {description: As RV(hostdev.nodedev.vhba#module:vhba.parent_wwpn)., type: str}
    vport_state: {description: As RV(hostdev.nodedev.vhba#module:vhba.vport_state)., type: str}
    luns: {description: As RV(hostdev.nodedev.vhba#module:vhba.luns)., type: list, elements: dict}
    holders:
      description:
        - As RV(hostdev.nodedev.mdev#module:mdev.holders).
        - C(lun) is the address of the LUN that is used. A multipath map that nobody uses is no holder; one that is used
          is, even where it has a path by way of another instance.
      type: list
      elements: dict
      sample:
        - {node: /dev/sdb, how: held by, by: the multipath map mpatha (dm-0), pid: null, domain: null, lun: "8:0:0:0"}
        - {node: /dev/dm-0, how: open by, by: qemu-system-x86, pid: 4711, domain: database, lun: "8:0:0:0"}
capacity:
  description:
    - By HBA that is chosen, how many vHBAs the pool and others have there (C(pool), C(others)), how many more it can
      take (C(free)), and why it is used for no new ones of the pool (C(hindrance)), null where it is.
  returned: success
  type: dict
  sample:
    scsi_host3: {free: 3, pool: 1, others: 0, hindrance: null}
    scsi_host5: {free: 4, pool: 0, others: 0, hindrance: "its port is Linkdown, not Online"}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.vhba import pool
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "name": {"type": "str", "required": True},
    "count": {"type": "str"},
    "parents": {
        "type": "dict",
        "options": {
            "names": {"type": "list", "elements": "str"},
            "wwpns": {"type": "list", "elements": "str"},
            "fabric_wwn": {"type": "str"},
            "online": {"type": "bool", "default": True},
        },
    },
    "placement": {"type": "str", "choices": ["spread", "pack"]},
    "require_online": {"type": "bool"},
    "oui": {"type": "str"},
    "identity": {"type": "str"},
    "wait_luns": {"type": "int", "default": 0},
    "rescan": {"type": "bool", "default": False},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(pool, pool.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
