#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: boot_engine
short_description: The library that restores devices at boot
version_added: 0.2.0
description:
  - Installs this collection's library, without Ansible, as C(lib/nodedev) below a prefix, where C(nodedev-restore)
    finds it.
  - The prefix is C(/usr), and where that cannot be written the first of C(/usr/local), C(/opt/nodedev) and
    C(/var/lib/nodedev) that can be, as on hosts that boot from an image. What is installed stays where it is.
  - Each release is written whole beside the one before, and one rename of a link switches to it. A run that is killed
    leaves the old release or the new one, and the next run removes what it left.
  - Owner, mode, type and content of each entry are checked. A release in which something is not as it was installed, as
    a file that others may write or a compiled file that does not belong there, is replaced, with a warning.
  - The role P(hostdev.nodedev.persistence#role) calls this module and installs the command, the units and the udev
    rules beside it; by itself the library does nothing.
options:
  state:
    description:
      - V(present) has the library there as it is in this collection.
      - V(absent) removes it, and the commands beside it, from wherever it is. What cannot be removed, as from an image,
        is named in a warning.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description:
      - The folder below which it is to be, with letters, digits and the signs V(/), V(_), V(.), V(+), V(-) only. It is
        made where it is not there.
      - What is not there at boot, as V(/run), or hidden from the units, as V(/home), is refused, and what everybody may
        write to.
      - Without it, the library stays where it is, or a prefix is found.
      - A library that is elsewhere is left there, since the units may run it, and told as RV(superseded).
    type: path
extends_documentation_fragment:
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
seealso:
  - module: hostdev.nodedev.definition_facts
"""

EXAMPLES = r"""
- name: Install the boot engine with its units and rules
  ansible.builtin.import_role:
    name: hostdev.nodedev.persistence

- name: Bring the library alone up to date
  hostdev.nodedev.boot_engine:

- name: Look where it is, or would be
  hostdev.nodedev.boot_engine:
  check_mode: true
  register: engine
"""

RETURN = r"""
plan:
  description: As RV(hostdev.nodedev.mdev#module:plan).
  returned: success
  type: list
  elements: str
  sample:
    - write /usr/lib/nodedev/release-5c1f0f4d2a7e93b8
    - have /usr/lib/nodedev/nodedev lead to release-5c1f0f4d2a7e93b8
diff:
  description:
    - What is in the library's folder, before and after, as the release that runs with its files.
    - The faults say what of the release that is wanted was not as it had been installed.
  returned: success
  type: dict
  sample:
    before: {release: null, files: [], faults: []}
    after: {release: release-5c1f0f4d2a7e93b8, files: [nodedev/restore.py], faults: []}
prefix:
  description: The folder below which the library is; null with O(state=absent).
  returned: success
  type: str
  sample: /usr
superseded:
  description:
    - What of the boot engine is at other prefixes and can be removed, once the units run the one at RV(prefix).
    - The role P(hostdev.nodedev.persistence#role) does so.
  returned: success
  type: list
  elements: str
  sample: []
idle:
  description:
    - Why nothing is restored at a boot of this host, such as a unit that is not enabled; null where it is.
    - Units and commands are of the role P(hostdev.nodedev.persistence#role).
  returned: success
  type: str
  sample: the boot engine is installed, and nodedev-restore.service is not enabled
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.engine import ensure

OPTIONS = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}, "prefix": {"type": "path"}}


def main() -> None:
    run(OPTIONS, ensure)


if __name__ == "__main__":
    main()
