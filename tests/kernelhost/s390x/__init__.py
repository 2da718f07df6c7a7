# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine with an emulated mainframe's channel subsystem: its kernel, its image and what QEMU gives it."""
