# SPDX-License-Identifier: Apache-2.0
# Runs "$@" in a child, so that the child is in the pid namespace just entered, and passes
# signals on to it: whoever started this waits for the child and not for a go-between.
# What runs in the background would read /dev/null, so standard input is kept aside for it.
exec 3<&0
# The trap is there first: the child may run, and somebody may know of it, before its number is here.
child= told=
trap 'told=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
"$@" <&3 3<&- &
child=$!
[ -z "$told" ] || kill -TERM "$child" 2>/dev/null
while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
done
# A signal may have ended the wait, and the child have ended since: then its code is still there.
wait "$child" 2>/dev/null
last=$?
[ "$last" = 127 ] || code=$last
exit "$code"
