# SPDX-License-Identifier: Apache-2.0
"""Affinity groups: load balancers that shall, or shall not, be served side by side.

A load balancer names its group, and may name another later. The policy of a group never changes.
This module does not decide where anything is placed.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from colonnade.domain.attributes import Attribute
from colonnade.domain.limits import Text


class AffinityPolicy(StrEnum):
    COLOCATION = "colocation"
    APOLOCATION = "apolocation"
    SOFT_COLOCATION = "soft-colocation"
    SOFT_APOLOCATION = "soft-apolocation"


class AffinityGroup(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[Text, Attribute()] = ""
    description: Annotated[Text, Attribute("What it is for.")] = ""
    policy: Annotated[
        AffinityPolicy, Attribute("Together or apart, always or if possible.", fixed=True)
    ]
