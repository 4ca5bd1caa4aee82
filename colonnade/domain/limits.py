# SPDX-License-Identifier: Apache-2.0
"""Every bound that a user can meet, in one place, and the types that have them.

Bounds of the Octavia v2 wire contract are marked so; the others are ours.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta

TEXT_MAX = 255  # contract: names, descriptions, tags
PROJECT_ID_MAX = 36  # contract
PORT_MAX = 65535
WEIGHT_MAX = 256  # contract, and haproxy's own limit
RETRIES_MAX = 10  # contract
TIMEOUT_MS_MAX = 2_073_600_000  # contract: 24 days
HAPROXY_TIMEOUT_MS_MAX = 2_147_483_647  # haproxy's own: a signed 32-bit number of ms
TAGS_MAX = 1000
REFERENCE_MAX = 255  # contract: references to certificates
CIPHERS_MAX = 2048  # contract
POSITION_MAX = 2_147_483_647  # contract
INTEGER_MAX = 2_147_483_647  # what clients in any language can read, where nothing else limits
RULES_PER_POLICY_MAX = 50  # contract
POLICIES_PER_LISTENER_MAX = 200
SNI_MAX = 100
ADDITIONAL_VIPS_MAX = 10
HEADERS_MAX = 20
RESPONSE_BODY_MAX = 4096
LISTENERS_PER_LOAD_BALANCER_MAX = 100
POOLS_PER_LOAD_BALANCER_MAX = 500
MEMBERS_PER_POOL_MAX = 1000
BODY_BYTES_MAX = 2 * 1024 * 1024
PAGE_MAX = 1000  # contract: the operator's maximum, 1000 by default
QUOTA_MAX = 2_000_000_000  # contract
PROFILE_DATA_MAX = 4096  # contract: characters of JSON in a profile
SPARES_PER_FLAVOR_MAX = 1000
LOAD_BALANCERS_PER_AMPHORA_MAX = 50
URL_MAX = 1024
CREDENTIAL_MAX = 4096
CA_CERTIFICATE_MAX = 64 * 1024
LOG_TARGETS_PER_PROJECT_MAX = 100
WEBHOOKS_PER_PROJECT_MAX = 20
ALLOWED_CIDRS_MAX = 1000
SECURITY_GROUPS_MAX = 50
AFFINITY_GROUPS_PER_PROJECT_MAX = 1000
SECRETS_PER_PROJECT_MAX = 1000
RESTING_S_MAX = 3600  # for a member to start or to finish

Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_MAX)]
Ciphers: TypeAlias = Annotated[str, Meta(max_length=CIPHERS_MAX)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=PORT_MAX)]
Weight: TypeAlias = Annotated[int, Meta(ge=0, le=WEIGHT_MAX)]
Retries: TypeAlias = Annotated[int, Meta(ge=1, le=RETRIES_MAX)]
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Resting: TypeAlias = Annotated[int, Meta(ge=0, le=RESTING_S_MAX)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=TIMEOUT_MS_MAX)]
Integer: TypeAlias = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
