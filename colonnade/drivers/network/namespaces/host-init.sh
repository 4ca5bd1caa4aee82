#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a lab host. The network is there once a line comes in.
# $1: the working directory. The rest: what the host runs; nothing: it idles.
set -eu
trap 'exit 0' TERM
echo ready
read -r _go
exec </dev/null >/dev/null 2>&1
cd "$1" || cd /
shift
if [ "$#" -gt 0 ]; then
    "$@" &
    wait "$!" || :
fi
while :; do
    sleep 2147483647 &
    wait "$!" || :
done
