#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of the lab: when it ends, the kernel ends all that runs in the lab.
# $1: an empty directory, which becomes a tmpfs that only the lab sees.
set -eu
mount -t tmpfs -o size=16m,nr_inodes=16k,mode=700,nosuid,nodev,noexec lab "$1"
mkdir "$1/netns" "$1/machines"
for name in control router; do
    : >"$1/netns/$name"
    unshare --net="$1/netns/$name" true
done
trap 'exit 0' TERM
echo ready
exec >/dev/null
# A shell that waits reaps every orphan. TERM ends the wait.
while :; do
    sleep 2147483647 &
    wait "$!" || :
done
