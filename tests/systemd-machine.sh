#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a machine of the tests: systemd on a copy of this machine's files that is thrown away.
# It runs in namespaces of its own (mount, pid, network, and the others) and in a control group that
# is its root. It has none of this machine's units but the journal.
# $1: an empty folder. $2: a file that is written once systemd is about to start.
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=2g,mode=755 machine "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" machine "$1/root"
cd "$1/root"
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys # the kernel's settings are this machine's, too
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
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
mount -t tmpfs -o mode=755 units etc/systemd/system
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
echo ready >"/mnt/$2"
umount -l /mnt
export container=colonnade-test SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/machine-units
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal
