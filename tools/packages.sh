#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the integration tests need of the distribution. Without it they are skipped, and say so.
set -eu

PATH=$PWD/.venv/bin:$PATH:/usr/sbin:/sbin

packet_filter() {
    command -v nft >/dev/null && return 0
    [ "$(id -u)" = 0 ] || {
        echo "packages: no nft here; tests of allowed_cidrs are skipped (as root: apt-get install nftables)"
        return 0
    }
    echo "packages: installing nftables"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends nftables; } >/dev/null 2>&1 ||
        echo "packages: apt-get install nftables did not work; tests of allowed_cidrs are skipped"
}

service_manager() {
    [ ! -e /lib/systemd/systemd ] || return 0
    [ "$(id -u)" = 0 ] || {
        echo "packages: no systemd here; tests of units are skipped (as root: apt-get install systemd)"
        return 0
    }
    echo "packages: installing systemd"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd; } >/dev/null 2>&1 ||
        echo "packages: apt-get install systemd did not work; tests of units are skipped"
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

# Not started by its package: a policy that says no, where the machine has none of its own.
pairs() {
    command -v keepalived >/dev/null && return 0
    [ "$(id -u)" = 0 ] || {
        echo "packages: no keepalived here; tests of pairs are skipped (as root: apt-get install keepalived)"
        return 0
    }
    echo "packages: installing keepalived"
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; }
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends keepalived; } >/dev/null 2>&1 ||
        echo "packages: apt-get install keepalived did not work; tests of pairs are skipped"
    [ -z "$policy" ] || rm "$policy"
}

# A server of ACME for tests; nothing is started by its package.
issuer() {
    command -v pebble >/dev/null && return 0
    [ "$(id -u)" = 0 ] || {
        echo "packages: no pebble here; a test of ordered certificates is skipped (as root: apt-get install pebble)"
        return 0
    }
    echo "packages: installing pebble"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends pebble; } >/dev/null 2>&1 ||
        echo "packages: apt-get install pebble did not work; a test of ordered certificates is skipped"
}

packet_filter
issuer
service_manager
pairs
metrics_checker
