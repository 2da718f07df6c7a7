# SPDX-License-Identifier: GPL-3.0-or-later
"""Conformance: nodedev_facts against real libvirtds, device by device, but for the waivers in waivers.yml."""
