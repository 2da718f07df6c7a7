#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Fetches the mdevctl of Debian 13 and the C library that it was built with, for tests that run it beside this machine's
# own. Nothing is installed: both are unpacked in a folder.
# Usage: tests/get_mdevctl.sh FOLDER   (what is there already is left as it is)
set -eu

suite=trixie
release=1.4.0
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
folder=$1

die() {
    echo "setup: $*" >&2
    exit 1
}

[ "$(cat "$folder/release" 2>/dev/null)" != "$release" ] || exit 0
echo "setup: mdevctl $release of Debian $suite in $folder"
[ -e "$keyring" ] || die "$keyring is missing: install the package debian-archive-keyring"

# The mirror that the virtual machine's packages come from, or this machine's if it is a Debian.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian main [a-z]* //p' | head -n 1)
mirror=${KERNELHOST_MIRROR:-$mirror}
[ -n "$mirror" ] || die "this machine has no mirror of Debian: name one in KERNELHOST_MIRROR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keyring] ${mirror%% *} $suite main" >"$work/sources.list"

# apt with a state of its own, so that this machine's packages stay as they are.
apt() {
    (cd "$work" && apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" "$@")
}

apt update || die "the package lists of Debian $suite cannot be had"
apt download "mdevctl/$suite" "libc6/$suite" || die "mdevctl and libc6 of Debian $suite cannot be had"
set -- "$work"/mdevctl_"$release"-*.deb
[ -e "$1" ] || die "the mdevctl of Debian $suite is not $release any more: change it in tests/get_mdevctl.sh"
rm -rf "$folder"
mkdir -p "$folder"
for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" "$folder"
done
echo "$release" >"$folder/release"
