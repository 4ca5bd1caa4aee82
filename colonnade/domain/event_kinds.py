# SPDX-License-Identifier: Apache-2.0
"""The kinds of events there are: the words by which people look for them."""

from typing import Final

from colonnade.domain import upgrading
from colonnade.domain.lifecycle import State

# Of load balancers and what is under them: what users may look for.
KINDS: Final = ("created", "updated", "deleted", "applied", "failed", "gone", "operating_status")
# Of the fleet and the control plane: what operators may look for besides.
FLEET_KINDS: Final = (
    *(state.value.lower() for state in State if state.value.lower() not in KINDS),
    *("broken", "restored", "daemon_missed", "daemon_back", "safe_mode", "safe_mode_ended"),
    "upgrade_begun",
    *(f"upgrade_{state.value.lower()}" for state in upgrading.State),
    "webhook_disabled",
)
# What an event is about, as it is shown.
OBJECT_TYPES: Final = ("loadbalancer", "listener", "pool", "member", "healthmonitor")
FLEET_OBJECT_TYPES: Final = ("amphora", "daemon", "fleet", "upgrade", "webhook")
