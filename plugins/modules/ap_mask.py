#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ap_mask
short_description: Which crypto queues of a mainframe are for guests, now and after every boot
version_added: 0.2.0
description:
  - Ensures that queues of crypto adapters are left to C(vfio_ap), from which guests get them by mediated devices on
    the matrix (M(hostdev.nodedev.mdev)), or that the host has them again. C(vfio_ap) is loaded.
  - A queue is one usage domain of one adapter. It is for guests where its adapter is named, B(or) its domain, or
    itself. What is not named stays as it is, so that several tasks may each name their own.
  - Where the queues have an override of their own (C(driver_override), from Linux 6.19) and no mask is in use or kept,
    each queue that is there is given away by that. This is kept in C(/etc/nodedev.d/ap_mask), and the role
    P(hostdev.nodedev.persistence#role) restores it, also for a queue that arrives later.
  - Else the masks of the bus are changed (C(apmask), C(aqmask)), those bits alone that are named. This is kept in
    C(/etc/udev/rules.d/41-ap.rules) in C(chzdev)'s own form, so that C(lszdev) shows it, C(chzdev) changes it and
    C(udev) restores it. A rule that C(chzdev) has written is understood, and what it keeps stays.
  - The kernel takes no masks while queues have overrides, and the other way round; never are both used.
  - All is done under the lock that C(chzdev) and C(ap-check), mdevctl's script, take too
    (C(/run/lock/s390apconfig.lock)).
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  adapters:
    description:
      - The adapters all of whose queues are meant, as V(5), V(0x1f), or a range V(4-7), as C(lszcrypt) and C(chzdev)
        have them, be they there or not.
    type: list
    elements: str
  domains:
    description: The usage domains that are meant on all adapters, written in the same way.
    type: list
    elements: str
  queues:
    description: Single queues, in hexadecimal as C(lszcrypt) names them, V(05.0047). Only where queues have overrides.
    type: list
    elements: str
  state:
    description:
      - V(present) means that what is named is for guests, now and, unless O(persistent=false), after every boot. Where
        nothing is named, what is defined is.
      - V(inactive) keeps that for the next boot only, and leaves it to the host now.
      - V(absent) means that the host has what is named, now and after every boot; where nothing is named, all that
        guests have got since the kernel began.
  force:
    description:
      - Take queues from the host although it works with them, or although none would be left to a program that has
        C(/dev/z90crypt) open; with a domain also those of adapters that are too old for C(vfio_ap). Leave queues to the
        host although a definition of a mediated device has them, which then cannot start.
      - Never left to the host is what a mediated device that runs has, and never given to guests an adapter older than
        CEX4.
seealso:
  - module: hostdev.nodedev.mdev
  - module: hostdev.nodedev.definition_facts
  - module: hostdev.nodedev.nodedev_facts
"""

EXAMPLES = r"""
- name: Two adapters for guests, now and after every boot
  hostdev.nodedev.ap_mask:
    adapters: [5, 0x06]

- name: One domain of all adapters, only until the next boot, although nobody has it then on one that is too old
  hostdev.nodedev.ap_mask:
    domains: [71]
    persistent: false
    force: true

- name: A device with two queues of them, which a guest gets
  hostdev.nodedev.mdev:
    uuid: 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
    parent: matrix
    type: vfio_ap-passthrough
    attrs:
      - assign_adapter: 5
      - assign_domain: 4
      - assign_domain: 0x47

- name: No such device any more
  hostdev.nodedev.mdev:
    uuid: 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
    state: absent

- name: The second adapter is the host's again
  hostdev.nodedev.ap_mask:
    adapters: [0x06]
    state: absent

- name: All queues are the host's, as when it was started first
  hostdev.nodedev.ap_mask:
    state: absent
"""

RETURN = r"""
plan: {description: As RV(hostdev.nodedev.mdev#module:plan)., returned: success, type: list, elements: str}
diff: {description: As RV(hostdev.nodedev.mdev#module:diff)., returned: success, type: dict}
ap_mask:
  description: What is for guests afterwards.
  returned: success
  type: dict
  contains:
    by:
      description: In which way queues are given to guests on this host now, V(masks) or V(overrides).
      type: str
      sample: masks
    adapters: {description: The adapters that C(apmask) leaves to guests., type: list, elements: int, sample: [5, 6]}
    domains: {description: The domains that C(aqmask) leaves to guests., type: list, elements: int, sample: []}
    queues:
      description: The queues that are there and for guests, without those of adapters that are too old.
      type: list
      elements: str
      sample: ["05.0004", "06.0004"]
    apmask:
      description: The adapters that are the host's, as C(/sys/bus/ap/apmask) has them.
      type: str
      sample: "0xf9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    aqmask:
      description: The domains that are the host's, as C(/sys/bus/ap/aqmask) has them.
      type: str
      sample: "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
    defined:
      description: What is for guests after a boot, with RV(ap_mask.by), C(adapters), C(domains) and C(queues).
      type: list
      elements: dict
      sample:
        - {by: masks, adapters: [5, 6], domains: [], queues: []}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.ap_mask import device
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "adapters": {"type": "list", "elements": "str"},
    "domains": {"type": "list", "elements": "str"},
    "queues": {"type": "list", "elements": "str"},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(device, device.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
