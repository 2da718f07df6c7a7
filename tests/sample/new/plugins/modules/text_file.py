# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: text_file
short_description: One text file, there now and after every boot
version_added: 0.2.0
description:
  - Ensures that a file with one line of text exists below C(/run/text_files), is only defined, or is gone.
  - Its definition is kept in C(/etc/nodedev.d/text_file). The role P(hostdev.nodedev.persistence#role) restores it.
extends_documentation_fragment:
  - hostdev.nodedev.state
  - hostdev.nodedev.attributes
  - hostdev.nodedev.pages
options:
  name:
    description:
      - The name of the file, 1 to 64 small letters, digits and underscores. There is one of a name on a host.
    type: str
    required: true
  folder:
    description:
      - The folder that it is in, by its name below C(/run/text_files), which has to be there.
      - Without this option, the folder that it is defined in, or is in.
    type: str
  text:
    description:
      - What is in the file, one line of at most 1000 characters.
      - Without this option, what is defined, or what is in it.
    type: str
  force:
    description:
      - Of no effect, since a file may be removed whoever has it open.
    type: bool
    default: false
seealso:
  - module: hostdev.nodedev.definition_facts
author:
  - The hostdev.nodedev authors (@hostdev)
"""

EXAMPLES = r"""
- name: A folder for text files
  ansible.builtin.file:
    path: /run/text_files/notes
    state: directory
    mode: "0755"

- name: A file in it, now and after every boot
  hostdev.nodedev.text_file:
    name: today
    folder: notes
    text: Look at the card in slot 3

- name: Keep its definition only
  hostdev.nodedev.text_file:
    name: today
    state: inactive

- name: No such file, now or later
  hostdev.nodedev.text_file:
    name: today
    state: absent
"""

RETURN = r"""
plan:
  description: As RV(hostdev.nodedev.mdev#module:plan).
  returned: success
  type: list
  elements: str
  sample:
    - create text file today in folder notes
    - define text file today in folder notes
diff:
  description: As RV(hostdev.nodedev.mdev#module:diff).
  returned: success
  type: dict
  sample:
    before: ""
    after: >
      today: runs and is defined; folder notes, text Look at the card in slot 3
text_file:
  description: The file afterwards.
  returned: success
  type: dict
  contains:
    file: {description: The name of the file., type: str, sample: today}
    parent_addr: {description: As RV(hostdev.nodedev.mdev#module:mdev.parent_addr)., type: str, sample: notes}
    text: {description: What is in it; null where nothing is., type: str, sample: Look at the card in slot 3}
    active: {description: As RV(hostdev.nodedev.mdev#module:mdev.active)., type: bool}
    persistent: {description: As RV(hostdev.nodedev.mdev#module:mdev.persistent)., type: bool}
"""

from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.ansible_module import STATE_OPTIONS, run
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds import text_file
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.resource import ensure

OPTIONS = {
    **STATE_OPTIONS,
    "name": {"type": "str", "required": True},
    "folder": {"type": "str"},
    "text": {"type": "str"},
}


def main() -> None:
    run(OPTIONS, lambda params, check_mode: ensure(text_file, text_file.Wish.checked(**params), check_mode))


if __name__ == "__main__":
    main()
