#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make .venv with the locked versions. Works on a bare Debian 12: where python3-venv is missing it
# is installed when root, and otherwise the message says what to install.
set -eu

PYTHON=${PYTHON:-python3}

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null || fail "no $PYTHON here: install Python 3.11 or newer (apt-get install python3 python3-venv)"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON is $("$PYTHON" --version 2>&1): 3.11 or newer is needed (make setup PYTHON=python3.11)"

if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] || fail "Python's venv module is missing: as root, apt-get install python3-venv"
    echo "setup: installing python3-venv"
    { apt-get update -qq && apt-get install -y -qq python3-venv; } >/dev/null 2>&1 ||
        fail "apt-get install python3-venv did not work; run it by hand to see why"
fi

[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
echo "setup: installing the locked versions into .venv (a minute or less)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint requirements.lock --editable '.[local,dev]' 2>.venv/setup.log ||
    { cat .venv/setup.log >&2; fail "pip could not install the packages (see above)"; }
touch .venv/ready
