# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a virtual environment of ansible-test its pip, from Python's own copy instead of a download.

ansible-test looks for the usual bootstrap script in its cache before it fetches one; this one takes its place there.
"""

from __future__ import annotations

import subprocess
import sys

# These speak to the real script alone: ensurepip brings neither package with a Python that has none.
wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]

subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)
