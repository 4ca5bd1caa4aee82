#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The last step in an image's root ($1), after all packages and files are there: what must be made
# by the programs inside, and what differs from one build to the next is taken away.
set -eu
cd "$1"
# By content and not by time: the files are read only, and their times are those of the build.
chroot . python3 -m compileall -q -f --invalidation-mode unchecked-hash \
    /usr/lib/python3 /usr/lib/python3.* /usr/local/lib
: >etc/machine-id
rm -rf var/cache/* var/log/* var/lib/apt/lists/* var/lib/systemd/* var/lib/dpkg/*-old \
    etc/*- usr/lib/udev/hwdb.bin etc/udev/hwdb.bin
