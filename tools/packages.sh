#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the integration tests need of the distribution. Without it they are skipped, and say so.
set -eu

PATH=$PWD/.venv/bin:$PATH:/usr/sbin:/sbin

# NAME PACKAGE TESTS: install the package, or say which tests are skipped without NAME.
want() {
    [ "$(id -u)" = 0 ] || {
        echo "packages: no $1 here; $3 skipped (as root: apt-get install $2)"
        return 0
    }
    echo "packages: installing $2"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1 ||
        echo "packages: apt-get install $2 did not work; $3 skipped"
}

packet_filter() {
    command -v nft >/dev/null || want nft nftables "tests of allowed_cidrs are"
}

service_manager() {
    [ -e /lib/systemd/systemd ] || want systemd systemd "tests of units are"
}

# The same, not started by its package: a policy says no, where the machine has none of its own.
want_idle() {
    policy=/usr/sbin/policy-rc.d
    if [ "$(id -u)" != 0 ] || [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    want "$@"
    [ -z "$policy" ] || rm "$policy"
}

pairs() {
    command -v keepalived >/dev/null || want_idle keepalived keepalived "tests of pairs are"
}

announcements() {
    command -v bird >/dev/null || want_idle bird bird2 "tests of VIPs that are announced are"
}

# A server of ACME for tests; nothing is started by its package.
issuer() {
    command -v pebble >/dev/null || want pebble pebble "a test of ordered certificates is"
}

# One program of the package, in the virtual environment: installed, the package would start a server.
metrics_checker() {
    command -v promtool >/dev/null && return 0
    echo "packages: taking promtool out of the package prometheus"
    unpacked=$(mktemp -d)
    {
        [ "$(id -u)" != 0 ] || apt-get update -qq
        (cd "$unpacked" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .) &&
            mv "$unpacked/usr/bin/promtool" .venv/bin/
    } >/dev/null 2>&1 || echo "packages: apt-get download prometheus did not work; a test of metrics is skipped"
    rm -r "$unpacked"
}

packet_filter
issuer
service_manager
pairs
announcements
metrics_checker
