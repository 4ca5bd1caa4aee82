#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Around an amphora, before its init: covers what it must not see, in mounts that it cannot take
# away, because it goes on in a user namespace of its own as an id that is nobody else's.
# $1: that id; 0: the one that starts it, which is all that there is. Then pairs: `hide` a folder,
# `keep` a folder, `cover` a folder with an empty one that nobody (or, `empty`, anybody) may write
# to, put the next kept one `back` in its place. Then `run` and the amphora's init.
set -eu
umask 022
id=$1
shift
mount -t tmpfs -o size=16m,mode=755,nosuid,nodev amphora /run
mkdir -m 755 /run/kept
kept=0
put=0
while [ "$1" != run ]; do
    case $1 in
        hide) if [ -d "$2" ]; then mount -t tmpfs -o ro,size=4k,mode=000 hidden "$2"; fi ;;
        keep)
            kept=$((kept + 1))
            mkdir "/run/kept/$kept"
            mount --bind "$2" "/run/kept/$kept"
            ;;
        empty) mount -t tmpfs -o size=16m,mode=1777,nosuid,nodev amphora "$2" ;;
        cover) mount -t tmpfs -o size=1m,mode=755,nosuid,nodev covered "$2" ;;
        back)
            put=$((put + 1))
            mkdir -p "$2"
            mount --bind "/run/kept/$put" "$2"
            mount -o remount,bind,ro "$2"
            ;;
    esac
    shift 2
done
shift
inside="unshare --user --map-root-user --net --mount --"
[ "$id" = 0 ] && exec $inside sh "$@"
exec setpriv --reuid "$id" --regid "$id" --clear-groups --no-new-privs --pdeathsig KILL -- $inside sh "$@"
