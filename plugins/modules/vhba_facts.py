#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vhba_facts
short_description: The Fibre Channel HBAs of a host and the vHBAs on them
version_added: 0.2.0
description:
  - Tells which HBAs a host has, how many virtual ones each can take more, what is against making one, which vHBAs there
    are, in which state, and which remote ports and LUNs each of them sees.
  - Reads sysfs only.
extends_documentation_fragment:
  - hostdev.nodedev.attributes.facts
  - hostdev.nodedev.pages
options:
  parent: {description: "Only this HBA and the vHBAs on it, by libvirt's name.", type: str}
seealso:
  - module: hostdev.nodedev.vhba
"""

EXAMPLES = r"""
- name: All HBAs and vHBAs
  hostdev.nodedev.vhba_facts:

- name: The HBAs that can take one more
  ansible.builtin.debug:
    msg: "{{ ansible_facts.vhba.hbas.values() | selectattr('hindrance', 'none') | map(attribute='name') }}"

- name: One HBA with its vHBAs
  hostdev.nodedev.vhba_facts:
    parent: scsi_host3
"""

RETURN = r"""
hint:
  description: What is there of Fibre Channel on a host without any HBA, and what keeps it from being one.
  returned: where no port is there
  type: list
  elements: str
  sample:
    - this host has no Fibre Channel HBA
    - pci_0000_04_00_0 (0000:04:00.0) is a Fibre Channel adapter without a driver, such as lpfc or qla2xxx
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    vhba:
      description: HBAs and vHBAs.
      type: dict
      contains:
        hbas:
          description:
            - The HBAs by libvirt's name. C(hindrance) says why no vHBA can be made there now, null where one can.
              C(vports) is how many there are, C(vhbas) their names. Numbers of a driver that are none count as 0, with
              a warning.
          type: dict
          sample:
            scsi_host3:
              name: scsi_host3
              host: 3
              wwnn: 20000090fa1234a0
              wwpn: 10000090fa1234a0
              fabric_wwn: 100000051e000001
              port_state: Online
              port_type: NPort (fabric via point-to-point)
              npiv: true
              max_vports: 4
              vports: 1
              free_vports: 3
              hindrance: null
              vhbas: [scsi_host9]
              targets: []
              luns: []
        vhbas:
          description:
            - As RV(hostdev.nodedev.vhba#module:vhba).
            - By libvirt's name. C(port_type) is told as of an HBA, and C(active) is not, as all of them are there.
          type: dict
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run_facts
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.facts.vhba import facts

OPTIONS = {"parent": {"type": "str"}}


def main() -> None:
    run_facts(OPTIONS, lambda params, check_mode: facts(**params))


if __name__ == "__main__":
    main()
