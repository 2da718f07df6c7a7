# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes which files of the host a process opens, each once, as strace sees it; prints how many, and how many again.

A process of its own, since what a process that measures others remembers counts as theirs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# What a module reads of the host, in contrast to what Python reads of itself.
DATA = ("/sys/", "/run/udev/", "/etc/mdevctl.d/", "/usr/share/misc/", "/usr/share/hwdata/", "/proc/")
OPENED = re.compile(r'open(?:at)?\([^"]*"[^"]*", ([A-Z_|]+).* = \d+<(.*)>$')


def main(answer: str, *command: str) -> None:
    trace = Path(f"{answer}.trace")
    strace = ["strace", "-f", "-y", "-qq", "-e", "trace=open,openat", "-o", str(trace)]
    subprocess.run([*strace, *command], stdout=subprocess.DEVNULL, check=True)
    matches = (OPENED.search(line) for line in trace.read_text(errors="replace").splitlines())
    opens = [match[2] for match in matches if match and "O_DIRECTORY" not in match[1] and match[2].startswith(DATA)]
    distinct = dict.fromkeys(opens)
    Path(answer).write_text("\n".join(distinct), encoding="utf-8")
    print(len(distinct), len(opens) - len(distinct))


if __name__ == "__main__":
    main(*sys.argv[1:])
