# SPDX-License-Identifier: Apache-2.0
"""What the data of flavor and availability zone profiles may say, for our own providers.

The words are those of `FlavorFacts` and `ZoneFacts`; here they are explained to operators, and
data is refused in a provider's name. Which of them a provider can serve is its own to say.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from colonnade.domain.catalogue import FlavorFacts, ZoneFacts
from colonnade.domain.errors import Incompatible

T = TypeVar("T", FlavorFacts, ZoneFacts)

FLAVOR_CAPABILITIES: Final[Mapping[str, str]] = {
    # Suites compare the first one of each kind to the letter.
    "loadbalancer_topology": "The load balancer topology. One of: SINGLE - One amphora per load "
    "balancer. ACTIVE_STANDBY - Two amphora per load balancer.",
    "compute_flavor": "The compute driver's flavor of each amphora.",
    "amp_image_tag": "The tag of the image that amphorae start from.",
    "sriov_vip": "When true, the VIP's port uses SR-IOV.",
    "allow_member_sriov": "When true, members may ask for SR-IOV ports.",
    "spare_pool_size": "How many amphorae of this flavor are kept ready.",
    "front_end": "How packets reach the amphorae: layer2 or routed.",
    "connection_limit_max": "The highest connection_limit that a listener may have.",
    "amphora_driver": "What serves on each amphora: haproxy.",
    "failover_after_s": "After how many seconds without a heartbeat an amphora is replaced (3 to "
    "60).",
    "vrrp_advert_ms": "In ACTIVE_STANDBY: milliseconds between two adverts of the active amphora "
    "(20 to 10000); the other takes over after three.",
    "amphorae": "In ACTIVE_ACTIVE: how many amphorae serve at once (2 to 16; 2 when not said).",
    "max_load_balancers": "How many load balancers of one project share an amphora (1 to 50; 1 "
    "when not said).",
}
ZONE_CAPABILITIES: Final[Mapping[str, str]] = {
    "compute_zone": "The compute availability zone.",
    "volume_zone": "The availability zone of the amphorae's volumes.",
    "management_network": "The network over which controllers reach the amphorae.",
    "valid_vip_networks": "The networks on which VIPs may be, as a list of ids.",
}


def read_flavor(provider: str, data: Mapping[str, Any]) -> FlavorFacts:
    """Raises Incompatible for a word or a value that nobody knows."""
    return _read(provider, data, FlavorFacts, "flavor")


def read_zone(provider: str, data: Mapping[str, Any]) -> ZoneFacts:
    """Raises Incompatible for a word or a value that nobody knows."""
    return _read(provider, data, ZoneFacts, "availability zone")


def _read(provider: str, data: Mapping[str, Any], kind: type[T], noun: str) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`", "'")
        raise Incompatible(
            f"Provider '{provider}' does not support a requested option:"
            f" Invalid {noun} metadata: {reason}"
        ) from error
