# SPDX-License-Identifier: Apache-2.0
"""What the agent hands to the process that sends logs, and how that one says no.

A module of its own, because the process runs `shipment` as its main module.
"""

import msgspec

from colonnade.protocol.logs import LogPlace


class Consignment(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    listener: str
    place: LogPlace


class Failed(Exception):
    """The target did not take it; the text says why, in words for its owner."""
