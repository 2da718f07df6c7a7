# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine with a real kernel, real drivers and a real libvirtd, for tests. See README.md."""

from .machine import Machine
from .steps import KernelhostError

__all__ = ["KernelhostError", "Machine"]
