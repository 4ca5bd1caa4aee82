# SPDX-License-Identifier: Apache-2.0
"""The worlds outside, each behind a protocol: haproxy, compute, networks, secrets, places for logs."""
