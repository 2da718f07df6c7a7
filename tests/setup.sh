#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what development and the tests need: Debian packages through apt, Python packages in .venv.
# Usage: tests/setup.sh [--demo] PACKAGES.txt...   (lists of Debian packages; what is there already is left as it is)
# With --demo only what make demo runs by is put into .venv, unless it has that already.
# Usage: tests/setup.sh --core VERSION   (the newest ansible-core of a version, as 2.17, in .venv-VERSION)
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "setup: $*" >&2
    exit 1
}

demo=
core=
if [ "$1" = --core ]; then
    core=$2
    shift 2
fi
if [ "${1-}" = --demo ]; then
    demo=yes
    shift
fi

packages=$(cat "$@" </dev/null | sed 's/#.*//' | tr -s ' \t\n' ' ')
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || die "this is not Debian or Ubuntu; install what corresponds to:$missing"
    install="apt-get update && apt-get install -y --no-install-recommends$missing"
    echo "setup: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    if [ "$(id -u)" = 0 ]; then
        sh -c "$install" >/dev/null || die "this failed: $install"
    elif sudo -n true 2>/dev/null; then
        sudo DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null || die "this failed: $install"
    else
        die "Debian packages are missing, run as root: $install"
    fi
fi

# find_python VERSION...: the first that is there, with its venv module; pyenv's count although its shims hide them.
find_python() {
    for version in "$@"; do
        for candidate in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if [ -x "$candidate" ] && "$candidate" -c 'import ensurepip' 2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

# make_venv DIR PYTHON REQUIREMENTS: a virtual environment with the pinned packages, made anew when either changes.
make_venv() {
    stamp=$("$2" --version | cat - "$3" | cksum)
    if [ "$(cat "$1/stamp" 2>/dev/null)" != "$stamp" ]; then
        echo "setup: $3 for $("$2" --version) in $1"
        rm -rf "$1"
        "$2" -m venv "$1"
        "$1/bin/pip" install -qq --disable-pip-version-check --requirement "$3"
        echo "$stamp" >"$1/stamp"
    fi
}

if [ -n "$core" ]; then
    case $core in
    2.16 | 2.18) exit ;; # pinned, and there already
    2.[0-9]*) ;;
    *) die "$core is not a version of ansible-core, as 2.17" ;;
    esac
    # The one Python that all of them run on.
    python=$(find_python 3.12) || die "Python 3.12 is needed, with its venv module"
    mkdir -p .build
    sed "s/^ansible-core==.*/ansible-core~=$core.0/" tests/modules/requirements-2.16.txt >".build/requirements-$core.txt"
    make_venv ".venv-$core" "$python" ".build/requirements-$core.txt"
    exit
fi

# The newest ansible-core runs on the first three, an older one on the last.
python=$(find_python 3.13 3.12 3.14 3.11) || die "Python 3.11 or newer is needed, with its venv module"
if [ -n "$demo" ]; then
    .venv/bin/python -c 'import ansible, mfusepy' 2>/dev/null && exit
    echo "setup: ansible-core and mfusepy for $("$python" --version) in .venv"
    "$python" -m venv --clear .venv
    .venv/bin/pip install -qq --disable-pip-version-check --constraint requirements-dev.txt ansible-core mfusepy
    exit
fi
make_venv .venv "$python" requirements-dev.txt

# Older ansible-cores on what they run on, the oldest Python of a managed host, ansible-rulebook, galaxy-importer; the
# test run says what is missing.
if python=$(find_python 3.12 3.11 3.10); then make_venv .venv-2.16 "$python" tests/modules/requirements-2.16.txt; fi
if python=$(find_python 3.13 3.12 3.11); then make_venv .venv-2.18 "$python" tests/modules/requirements-2.18.txt; fi
if python=$(find_python 3.12 3.11 3.13); then make_venv .venv-rulebook "$python" tests/modules/requirements-rulebook.txt; fi
if python=$(find_python 3.13 3.12 3.14); then make_venv .venv-importer "$python" tests/modules/requirements-importer.txt; fi
if python=$(find_python 3.9); then make_venv .venv-3.9 "$python" tests/unit/requirements-3.9.txt; fi
