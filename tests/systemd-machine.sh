#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a machine of the tests: systemd on a copy of this machine's files that is thrown away.
# It runs in namespaces of its own (mount, pid, network, and the others) and in a control group that
# is its root. It has none of this machine's units but the journal.
# $1: a tmpfs, empty or from an earlier boot. $2: a file that is written once systemd is about to start. The others: folders
# that are there too, wherever they are: the copy has nothing of other file systems, nor of /tmp.
set -eu
place=$1 begun=$2
shift 2
mount --make-rprivate /
copy() { # $1: a folder. $2: where its copy is to be. $3: a word for what is kept of changes
    mkdir -p "$2" "$place/$3" "$place/$3.work"
    mount -t overlay -o "lowerdir=$1,upperdir=$place/$3,workdir=$place/$3.work" machine "$2"
}
begins=$([ -e "$place/changes" ] || echo yes)
copy / "$place/root" changes
cd "$place/root"
[ -z "$begins" ] || rm -rf var/lib/colonnade etc/colonnade # of this machine's own, which stay there
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys # the kernel's settings are this machine's, too
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
number=0
for folder in "$@"; do
    number=$((number + 1))
    copy "$folder" ".$folder" "changes$number"
done
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
ln -s /proc/self/fd dev/fd
mkdir -p "$place/units"
mount --bind "$place/units" etc/systemd/system
units=run/machine-units
mkdir -p "$units/sysinit.target.wants" "$units/sockets.target.wants"
for name in sysinit basic sockets timers paths slices multi-user shutdown umount final rescue; do
    cp "lib/systemd/system/$name.target" "$units"
done
for name in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
    cp "lib/systemd/system/$name" "$units"
done
ln -s ../systemd-journald.service "$units/sysinit.target.wants"
ln -s ../systemd-journald-dev-log.socket "$units/sockets.target.wants"
mkdir -p mnt
pivot_root . mnt
echo ready >"/mnt/$begun"
umount -l /mnt
export container=colonnade-test SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/machine-units
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal
