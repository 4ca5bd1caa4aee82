#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the integration tests need of the distribution. Root installs it; for anybody else the tests
# that need it are skipped, and say so.
set -eu

PATH=$PATH:/usr/sbin:/sbin

command -v nft >/dev/null && exit 0
[ "$(id -u)" = 0 ] || {
    echo "packages: no nft here; tests of allowed_cidrs are skipped (as root: apt-get install nftables)"
    exit 0
}
echo "packages: installing nftables"
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends nftables; } >/dev/null 2>&1 ||
    echo "packages: apt-get install nftables did not work; tests of allowed_cidrs are skipped"
