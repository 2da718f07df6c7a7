#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Fetches promtool of this machine's own archive, which checks what Prometheus is to read. Its package is not installed,
# since that would start a server.
# Usage: tests/get_promtool.sh FOLDER   (what is there already is left as it is)
set -eu

folder=$1
[ ! -x "$folder/promtool" ] || exit 0
echo "setup: promtool in $folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
download() {
    (cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download prometheus)
}
download 2>/dev/null || { apt-get -qq update && download; } || {
    echo "setup: the package prometheus cannot be had from this machine's archive" >&2
    exit 1
}
dpkg-deb --extract "$work"/prometheus_*.deb "$work/root"
mkdir -p "$folder"
mv "$work/root/usr/bin/promtool" "$folder/promtool"
