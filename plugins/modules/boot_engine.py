#!/usr/bin/python
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: boot_engine
short_description: The library that restores devices at boot
version_added: 0.2.0
description:
  - Installs this collection's library, without Ansible, below C(/usr/lib/nodedev), where C(nodedev-restore) finds it.
  - Each release is written whole beside the one before, and one rename of a link switches to it. A run that is killed
    leaves the old release or the new one, and the next run removes what it left.
  - Owner, mode, type and content of each entry are checked. A release in which something is not as it was installed, as
    a file that others may write or a compiled file that does not belong there, is replaced, with a warning.
  - The role P(hostdev.nodedev.persistence#role) calls this module and installs the command, the units and the udev
    rules beside it; by itself the library does nothing.
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
    - What is below C(/usr/lib/nodedev), before and after, as the release that runs with its files.
    - The faults say what of the release that is wanted was not as it had been installed.
  returned: success
  type: dict
  sample:
    before: {release: null, files: [], faults: []}
    after: {release: release-5c1f0f4d2a7e93b8, files: [nodedev/restore.py], faults: []}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot.install import ensure


def main() -> None:
    # The engine itself will need it, at a boot where nobody looks.
    run({}, lambda params, check_mode: ensure(check_mode), libraries=("pyudev",))


if __name__ == "__main__":
    main()
