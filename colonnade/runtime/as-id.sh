#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a program as another id, without rights and without a way to them. What it may read can lie
# below folders that are closed to it: those are covered, for it alone, and only that is put back.
# $1: the id, $2: a further group, $3: the signal that tells it of its starter's end, $4: its working
# directory, $5: a folder to put things aside in, "" if that is not needed. Then pairs: `keep` a path, `cover` a folder,
# put the next kept one back, `read` or `write`, `account` a file in place of /etc/passwd. Then
# `run` and the program.
set -eu
umask 022
id=$1 group=$2 signal=$3 directory=$4 scratch=$5
shift 5
if [ -n "$scratch" ]; then mount -t tmpfs -o size=64k,mode=700 kept "$scratch"; fi
kept=0
put=0
beside() {
    if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "$(dirname "$2")" && : >"$2"; fi
}
while [ "$1" != run ]; do
    case $1 in
        keep)
            kept=$((kept + 1))
            beside "$2" "$scratch/$kept"
            mount --bind "$2" "$scratch/$kept"
            ;;
        cover) mount -t tmpfs -o size=1m,mode=755,nosuid,nodev covered "$2" ;;
        account) mount --bind "$2" /etc/passwd ;;
        read | write)
            put=$((put + 1))
            beside "$scratch/$put" "$2"
            mount --bind "$scratch/$put" "$2"
            if [ "$1" = read ]; then mount -o remount,bind,ro "$2"; fi
            ;;
    esac
    shift 2
done
shift
if [ -n "$scratch" ]; then umount -l "$scratch"; fi
# The caller's home cannot be entered, and the id has no name to be looked up by.
export HOME=/ LOGNAME="${LOGNAME:-root}" PGUSER="${PGUSER:-root}"
cd /
exec setpriv --reuid "$id" --regid "$id" --groups "$group" --no-new-privs --bounding-set=-all \
    --inh-caps=-all --pdeathsig "$signal" -- \
    sh -c 'cd "$1" 2>/dev/null || :; shift; exec "$@"' sh "$directory" "$@"
