# SPDX-License-Identifier: Apache-2.0
"""Receives heartbeats, statistics and statuses of amphorae, and tells which are silent."""
