# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=dash
# The whole initial ram disk: load what the root disk needs, mount it, let the test's key in, go on there.
busybox=/bin/busybox
$busybox mount -t devtmpfs devtmpfs /dev
$busybox mount -t proc proc /proc
while read -r module; do
    $busybox insmod "/modules/$module"
done < /modules/order

tries=0
until [ -b /dev/vda ] || [ "$tries" -ge 600 ]; do
    $busybox sleep 0.1
    tries=$((tries + 1))
done
$busybox mount -t ext4 -o rw /dev/vda /root

read -r arguments < /proc/cmdline
for argument in $arguments; do
    case $argument in
        kernelhost.key=*) echo "ssh-ed25519 ${argument#kernelhost.key=}" > /root/root/.ssh/authorized_keys ;;
    esac
done

$busybox umount /proc
$busybox mount --move /dev /root/dev
exec $busybox switch_root /root /sbin/init
