# SPDX-License-Identifier: GPL-3.0-or-later
"""A Fibre Channel fabric in one program: an FCoE forwarder for the guest's software FCoE hosts. See ../README.md.

It runs in the guest with Debian 12's Python and nothing else, as `python3 -m fcf`.
"""
