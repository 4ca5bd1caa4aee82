# SPDX-License-Identifier: Apache-2.0
"""The outside, each part behind a protocol: haproxy, compute, networks, secrets, log places."""
