#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first program of an amphora's kernel: mounts the read-only root of the image, and gives way
# to the one there. The root is the second partition of whatever disk has this image.
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
for module in /modules/*; do
    $bb insmod "$module" || echo "initrd: $module is not loaded"
done
tries=0
while [ "$tries" -lt 200 ]; do
    for disk in /dev/vd?2 /dev/sd?2 /dev/xvd?2 /dev/nvme?n1p2; do
        [ -b "$disk" ] && $bb mount -t squashfs -o ro "$disk" /root 2>/dev/null || continue
        [ -e /root/etc/colonnade-amphora ] && exec $bb switch_root /root /sbin/init
        $bb umount /root
    done
    tries=$((tries + 1))
    $bb sleep 0.05
done
echo "initrd: no disk of this machine has the amphora's root"
$bb sleep 5
$bb reboot -f
