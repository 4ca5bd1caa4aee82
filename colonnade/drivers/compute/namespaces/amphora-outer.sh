#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Around an amphora, before its init: gives it a root of its own and nothing else of the machine,
# and goes on in a user namespace of its own, from which no mount can be taken away.
# $1: the image, mounted read only. $2: the first of its ids outside, $3: how many; 0: there is only
# the id that starts it. $4: how many processes it may have, counted for each of its ids. The rest:
# the init with its arguments.
set -eu
umask 022
image=$1 first=$2 count=$3 processes=$4
shift 4
cd "$image"
mount -t proc -o nosuid,nodev,noexec proc proc
# What tells of the machine, of its memory and its keys.
for name in kcore keys key-users kmsg kallsyms timer_list sched_debug sysrq-trigger; do
    if [ -e "proc/$name" ]; then mount --bind dev/null "proc/$name"; fi
done
mount -t tmpfs -o size=64k,mode=755,nosuid,nodev amphora run
pivot_root . mnt
cd /
umount -l /mnt
# Inside: no further user namespace, in which a process without rights would have them again.
inside='echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --no-new-privs "$@"'
if [ "$count" = 0 ]; then
    exec unshare --user --map-root-user --net --mount -- sh -euc "$inside" sh -- sh "$@"
fi
# Only somebody outside may say which ids there are inside, so a child does that.
prlimit --pid $$ --nproc="$processes"
mkfifo -m 600 /run/born /run/named
{
    read -r _ </run/born
    echo "0 $first $count" >/proc/1/uid_map
    echo "0 $first $count" >/proc/1/gid_map
    echo >/run/named
} &
named='echo >/run/born; read -r _ </run/named; rm /run/born /run/named'
root='--reuid 0 --regid 0 --clear-groups --inh-caps=-all --ambient-caps=-all'
# shellcheck disable=SC2086
exec unshare --user --keep-caps --net --mount -- sh -euc "$named; $inside" sh $root -- sh "$@"
