#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of an amphora: when it ends, the kernel ends all of the amphora.
# The arguments: the agent.
# Standard input: its files, a tar archive, once the network is there: the config drive and, of one
# that is back after a boot of the machine, what it had become.
set -eu
umask 022
mount -t tmpfs -o size=64m,mode=755,nosuid,nodev amphora /run
mkdir /run/netns
mkdir -m 1777 /run/tmp
mkdir -m 700 /run/colonnade /run/colonnade/config
: >/run/netns/traffic
unshare --net=/run/netns/traffic true
trap 'exit 0' TERM
echo ready
(umask 077 && tar -xf - --no-same-owner -C /run/colonnade)
exec </dev/null >/dev/null
cd /
# Interfaces and the packet filter; announcements; low ports; to enter the traffic namespace;
# to end haproxy and to take rights from it.
rights=-all,+net_admin,+net_raw,+net_bind_service,+sys_admin,+setpcap
# An agent that ends is back at once, for it is missed within seconds. One that ends young waits, so
# that it does not keep a processor busy.
young_s=10
while :; do
    read -r began _ </proc/uptime
    setpriv --no-new-privs --bounding-set="$rights" --inh-caps=-all -- "$@" &
    wait "$!" || :
    read -r ended _ </proc/uptime
    [ $((${ended%.*} - ${began%.*})) -lt "$young_s" ] || continue
    sleep 1 &
    wait "$!" || :
done
