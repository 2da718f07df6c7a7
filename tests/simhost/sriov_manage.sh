# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=dash
# NVIDIA's sriov-manage on a simulated host, in the terms of sysfs. It enables all virtual functions of a card or none:
# the card is taken from the driver and given to pci-pf-stub, which makes them; then the card and they go to the driver.
# `ask`, which stands above, asks the host whether the card may be taken: 0 yes, 2 there is nothing to do, 1 no.

PCI=/sys/bus/pci

usage() {
    echo "Usage: $0 <-e|-d> <ssss:bb:dd.f|ALL>"
    echo "    Enable or disable the virtual functions of a GPU, or of all of them."
}

cards() {
    for card in "$PCI"/devices/*; do
        case $(cat "$card/vendor") in 0x10de) ;; *) continue ;; esac
        case $(cat "$card/class") in 0x0300*|0x0302*) ;; *) continue ;; esac
        test -e "$card/physfn" || basename "$card"
    done
}

release() {
    test ! -e "$PCI/devices/$1/driver" || echo "$1" > "$PCI/devices/$1/driver/unbind"
}

functions() {
    for link in "$PCI/devices/$1"/virtfn*; do
        test ! -e "$link" || basename "$(readlink "$link")"
    done
}

take() {
    ask "$0" "$1"
    case $? in 0) ;; 2) exit 0 ;; *) exit 1 ;; esac
}

set_functions() {
    test -e "$PCI/drivers/pci-pf-stub" || modprobe pci-pf-stub || return 1
    id="$(cat "$PCI/devices/$1/vendor") $(cat "$PCI/devices/$1/device")"
    release "$1" || return 1
    echo "$id" > "$PCI/drivers/pci-pf-stub/new_id"
    test -e "$PCI/drivers/pci-pf-stub/$1" || echo "$1" > "$PCI/drivers/pci-pf-stub/bind"
    echo "$2" > "$PCI/devices/$1/sriov_numvfs"
    echo "$1" > "$PCI/drivers/pci-pf-stub/unbind"
    echo "$id" > "$PCI/drivers/pci-pf-stub/remove_id"
    echo "$1" > "$PCI/drivers/nvidia/bind"
}

enable() {
    if test "$(cat "$PCI/devices/$1/sriov_numvfs")" != 0; then
        echo "GPU at $1 already has VFs enabled."
        return 0
    fi
    echo "Enabling VFs on $1"
    take "$1"
    set_functions "$1" "$(cat "$PCI/devices/$1/sriov_totalvfs")" || return 1
    for function in $(functions "$1"); do
        test -e "$PCI/drivers/nvidia/$function" && continue
        release "$function"
        echo "$function" > "$PCI/drivers/nvidia/bind"
    done
}

disable() {
    if test "$(cat "$PCI/devices/$1/sriov_numvfs")" = 0; then
        echo "GPU at $1 already has VFs disabled."
        return 0
    fi
    echo "Disabling VFs on $1"
    take "$1"
    for function in $(functions "$1"); do
        release "$function"
    done
    set_functions "$1" 0
}

one() {
    case $2 in ??:??.?) address=0000:$2 ;; *) address=$2 ;; esac
    test -e "$PCI/devices/$address" || exit 1
    # Without a word, as the real one does.
    test -e "$PCI/devices/$address/sriov_numvfs" || return 0
    case $(cat "$PCI/devices/$address/class") in
    0x03*) ;;
    *) echo "This is not a VGA or 3D controller. Exiting." >&2; return 1 ;;
    esac
    "$1" "$address"
}

case $1 in
-e) action=enable ;;
-d) action=disable ;;
-h) usage; exit 0 ;;
*) usage >&2; exit 1 ;;
esac
case $2 in
'') usage >&2; exit 1 ;;
[Aa][Ll][Ll])
    for each in $(cards); do
        (one "$action" "$each") || exit
    done ;;
*) one "$action" "$2" ;;
esac
