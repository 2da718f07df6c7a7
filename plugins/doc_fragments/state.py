# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module with a state shares, and those of modules for mediated devices and for vHBAs."""

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
      - For how many seconds the task waits at most, in all; for another run on the same parent, for the kernel, for
        udev and for the tools that it asks. What it has begun by then is undone. At most 86400, a day.
    type: float
    default: 30.0
"""

    MDEV = r"""
options:
  autostart:
    description:
      - Whether the definition says that the device starts when its parent appears.
      - Without this option, the definition stays as it is in this, and a new one says that the device starts.
    type: bool
  replace:
    description:
      - Whether a device that exists with another type, parent or other defined attributes may be removed and made anew.
      - It is removed only when nobody uses it, unless O(force=true).
      - Where a callout script can change attributes of a running device, it does that instead.
    type: bool
    default: false
"""

    VHBA = r"""
options:
  force:
    description:
      - Whether a vHBA may be removed whose LUNs are in use. What was written to a LUN reaches it; whoever uses it gets
        errors from then on.
      - A multipath map that nobody uses needs no force, it is removed with its paths, and neither does one that is used
        and keeps a path that works, if that is not by way of another instance of the same pool. What cannot be told to
        be free, as where processes are hidden from who runs the task, counts as in use.
    type: bool
    default: false
  wait_luns:
    description:
      - How many LUNs to wait for on each vHBA, for O(wait_timeout) in all. Where fewer come the module fails and the
        vHBA stays, since it has to be there to be zoned.
    type: int
    default: 0
  rescan:
    description: Whether a vHBA looks for LUNs anew. This counts as a change only where some were found.
    type: bool
    default: false
"""
