# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated host: sysfs over FUSE in private namespaces, for tests. README.md beside this file describes it."""

from simhost.api import SimHost, SimHostError

__all__ = ["SimHost", "SimHostError"]
