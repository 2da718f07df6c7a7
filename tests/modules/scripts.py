# SPDX-License-Identifier: GPL-3.0-or-later
"""Callout scripts on a simulated host, each of which writes down what it was asked; and the real mdevctl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from conftest import ROOT, Host

NEW, OLD = "/usr/lib/mdevctl/scripts.d", "/etc/mdevctl.d/scripts.d"
LOG = "/run/asked"
# Writes down its name, parent process, folder, arguments and standard input, a line each time.
HEAD = f"""#!/bin/sh
said=$(cat)
echo "${{0##*/}}|$PPID|$(tr '\\0\\n' '  ' < /proc/$PPID/cmdline)|$PWD|$*|$said" >> {LOG}
env > /run/environment
event=$4 action=$6
"""
# What a script with versions answers first.
VERSIONS = """if [ "$event $action" = "get capabilities" ]; then
    echo '{"supports":{"version":2,"actions":["start","stop","define","undefine","modify","attributes","capabilities"],'
    echo '"events":["pre","post","get","live"]}}'
    exit 0
fi
"""
# As s390-tools' ap-check tells what an AP device has.
AP = """each() {
    sed -n "$1" matrix | sort -u | while read -r number; do printf '{"%s": "%d"},' "$2" "0x$number"; done
}
if [ "$event $action" = "get attributes" ]; then
    cd "/sys/bus/mdev/devices/${10}" || exit 0
    found=$(each 's/^\\(..\\)\\..*/\\1/p' assign_adapter; each 's/^.*\\.\\(....\\)$/\\1/p' assign_domain)
    echo "[${found%,}]"
    exit 0
fi
"""


@dataclass(frozen=True)
class Asked:
    """One time that a script was asked."""

    script: str
    parent: str
    command: str
    folder: str
    words: str
    document: str

    @property
    def what(self) -> str:
        """Its name, event, action and state."""
        words = self.words.split()
        return f"{self.script} {words[3]} {words[5]} {words[7]}"


def install(host: Host, name: str, body: str = "exit 0", kind: str = "callouts", folder: str = NEW) -> None:
    """Put a script there that writes down what it is asked, and then does what ``body`` says."""
    host.run(["mkdir", "-p", f"{folder}/{kind}"])
    path = f"{folder}/{kind}/{name}"
    host.write(path, f"{HEAD}{body}\n")
    host.run(["chmod", "755", path])


def asked(host: Host) -> list[Asked]:
    """What scripts were asked since the last time, without what they understand at all."""
    text = host.run(["sh", "-c", f"cat {LOG} 2>/dev/null; rm -f {LOG}"]).stdout
    found = [Asked(*line.split("|", 5)) for line in text.splitlines()]
    return [each for each in found if " capabilities " not in each.words]


def whats(host: Host) -> list[str]:
    return [each.what for each in asked(host)]


def mdevctls() -> dict[str, list[str]]:
    """The commands of the real mdevctl by release: this machine's, of Debian 12, and Debian 13's (get_mdevctl.sh)."""
    root = ROOT / ".build" / "mdevctl-1.4"
    assert (root / "release").exists(), f"{root} is not there: run make setup"
    (loader,) = root.glob("usr/lib/*/ld-linux-*.so.*")
    libraries = f"{loader.parent}:/lib/{loader.parent.name}:/usr/lib/{loader.parent.name}"
    return {
        "1.2": ["mdevctl"],
        "1.4": [str(loader), "--library-path", libraries, str(root / "usr" / "bin" / "mdevctl")],
    }


def mdevctl(host: Host, release: str, *arguments: str, document: str = "") -> subprocess.CompletedProcess[str]:
    """Run the real mdevctl, which needs its folders to be there."""
    host.run(["mkdir", "-p", *(f"{folder}/{kind}" for folder in (NEW, OLD) for kind in ("callouts", "notifiers"))])
    return host.run([*mdevctls()[release], *arguments], check=False, input=document, env={"RUST_BACKTRACE": "0"})
