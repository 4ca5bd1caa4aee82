# SPDX-License-Identifier: Apache-2.0
"""Names of things. Every id is a UUID in lower case with dashes, kept as text.

A `NewType` each, so that a pool's id cannot be passed where a listener's is meant.
This module knows only how an id is written.
"""

import os
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, NewType

_NORMAL: Final = re.compile("-".join(f"[0-9a-f]{{{count}}}" for count in (8, 4, 4, 4, 12)))

ProjectId = NewType("ProjectId", str)  # any text of at most 36 characters, not always a UUID
LoadBalancerId = NewType("LoadBalancerId", str)
ListenerId = NewType("ListenerId", str)
PoolId = NewType("PoolId", str)
MemberId = NewType("MemberId", str)
HealthMonitorId = NewType("HealthMonitorId", str)
L7PolicyId = NewType("L7PolicyId", str)
L7RuleId = NewType("L7RuleId", str)
FlavorId = NewType("FlavorId", str)
FlavorProfileId = NewType("FlavorProfileId", str)
ZoneProfileId = NewType("ZoneProfileId", str)
AffinityGroupId = NewType("AffinityGroupId", str)
ClusterId = NewType("ClusterId", str)
AmphoraId = NewType("AmphoraId", str)  # also the instance's id at the compute driver
NetworkId = NewType("NetworkId", str)
SubnetId = NewType("SubnetId", str)
PortId = NewType("PortId", str)
QosPolicyId = NewType("QosPolicyId", str)
SecurityGroupId = NewType("SecurityGroupId", str)


# The source of new ids. A simulated world makes them from its seed.
source: Final[ContextVar[Callable[[int], bytes]]] = ContextVar("source", default=os.urandom)


def new_id() -> str:
    return str(uuid.UUID(bytes=source.get()(16), version=4))


def derived_id(*parts: str) -> str:
    """Always the same id for the same parts: so a create may be repeated."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "colonnade:" + "/".join(parts)))


def read_id(text: str) -> str:
    """Normalise a UUID with or without dashes. Raises ValueError when it is none."""
    return text if _NORMAL.fullmatch(text) else str(uuid.UUID(text))


def is_id(text: str) -> bool:
    try:
        read_id(text)
    except ValueError:
        return False
    return True
