# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module with a state shares."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(present) means that the device is there now and, unless O(persistent=false), after every boot.
      - V(inactive) keeps its definition only.
      - V(absent) removes both the device and its definition.
    type: str
    choices: [present, inactive, absent]
    default: present
  persistent:
    description:
      - Whether the device is to be there after a boot. With V(false), no definition is written, and one that exists
        is left as it is.
      - Of no effect with O(state=absent).
    type: bool
    default: true
  force:
    description:
      - Whether a device in use, or of which it cannot be told whether it is, may be removed. The kernel then asks its
        user, such as a guest, to let go, and the module fails when that has not happened after O(wait_timeout).
    type: bool
    default: false
  wait_timeout:
    description:
      - For how many seconds to wait at most for another run on the same parent, for the kernel and udev to finish
        a new device, and for a forced removal, each by itself. At most 86400, a day.
    type: float
    default: 30.0
"""
