# SPDX-License-Identifier: Apache-2.0
"""The topologies that the demo shows. It imports nothing: each command of ours loads it."""

from enum import StrEnum


class Kind(StrEnum):
    SINGLE = "single"
    ACTIVE_STANDBY = "active-standby"
    ACTIVE_ACTIVE = "active-active"
