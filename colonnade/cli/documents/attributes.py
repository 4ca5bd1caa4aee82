# SPDX-License-Identifier: Apache-2.0
"""What a document may say of each kind of object, and what it means to leave it out.

The order is that of an exported file. Defaults are the wire contract's. What the endpoint chooses
when it is not said (`CHOSEN`) is compared only when it is said.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Absent(Enum):
    CHOSEN = "chosen"  # by the endpoint
    NEEDED = "needed"


CHOSEN, NEEDED = Absent.CHOSEN, Absent.NEEDED

LB, LISTENER, POLICY, RULE = "loadbalancer", "listener", "l7policy", "rule"
POOL, MEMBER, MONITOR = "pool", "member", "healthmonitor"

WORDS: Final[Mapping[str, str]] = {
    LB: "load balancer",
    LISTENER: "listener",
    POLICY: "L7 policy",
    RULE: "rule",
    POOL: "pool",
    MEMBER: "member",
    MONITOR: "health monitor",
}

_ABOUT: Final = {"name": "", "description": "", "admin_state_up": True, "tags": []}
_TLS: Final = {"tls_ciphers": CHOSEN, "tls_versions": CHOSEN, "alpn_protocols": CHOSEN}

FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    LB: {
        **_ABOUT,
        "vip_subnet_id": CHOSEN,
        "vip_network_id": CHOSEN,
        "vip_port_id": CHOSEN,
        "vip_address": CHOSEN,
        "vip_qos_policy_id": None,
        "vip_sg_ids": [],
        "additional_vips": [],
        "provider": CHOSEN,
        "flavor_id": CHOSEN,
        "availability_zone": CHOSEN,
        "project_id": CHOSEN,
        "affinity_group_id": None,
        "deletion_protection": False,
        "access_log": None,
    },
    LISTENER: {
        **_ABOUT,
        "protocol": NEEDED,
        "protocol_port": NEEDED,
        "default_pool": None,
        "connection_limit": -1,
        "insert_headers": {},
        "allowed_cidrs": [],
        "timeout_client_data": 50000,
        "timeout_member_connect": 5000,
        "timeout_member_data": 50000,
        "timeout_tcp_inspect": 0,
        "default_tls_container_ref": None,
        "sni_container_refs": [],
        "client_ca_tls_container_ref": None,
        "client_authentication": "NONE",
        "client_crl_container_ref": None,
        **_TLS,
        "hsts_max_age": None,
        "hsts_include_subdomains": False,
        "hsts_preload": False,
        "compression": False,
        "access_log": None,
    },
    POLICY: {
        **_ABOUT,
        "action": NEEDED,
        "redirect_pool": None,
        "redirect_url": None,
        "redirect_prefix": None,
        "redirect_http_code": CHOSEN,
        "redirect_pools": [],
        "rate_limit": None,
        "fixed_response": None,
        "rewrite": None,
    },
    RULE: {
        "type": NEEDED,
        "compare_type": NEEDED,
        "key": None,
        "value": NEEDED,
        "invert": False,
        "admin_state_up": True,
        "tags": [],
    },
    POOL: {
        **_ABOUT,
        "protocol": NEEDED,
        "lb_algorithm": NEEDED,
        "session_persistence": None,
        "tls_enabled": False,
        "tls_container_ref": None,
        "ca_tls_container_ref": None,
        "crl_container_ref": None,
        **_TLS,
        "slow_start": 0,
        "drain_seconds": 0,
        "panic_threshold": 0,
        "retries": CHOSEN,
        "http2": False,
        "outlier_ejection": None,
    },
    MEMBER: {
        "address": NEEDED,
        "protocol_port": NEEDED,
        "name": "",
        "weight": 1,
        "backup": False,
        "subnet_id": None,
        "monitor_address": None,
        "monitor_port": None,
        "request_sriov": False,
        "admin_state_up": True,
        "tags": [],
    },
    MONITOR: {
        "name": "",
        "type": NEEDED,
        "delay": NEEDED,
        "timeout": NEEDED,
        "max_retries": NEEDED,
        "max_retries_down": 3,
        "http_method": "GET",
        "url_path": "/",
        "expected_codes": "200",
        "http_version": None,
        "domain_name": None,
        "admin_state_up": True,
        "tags": [],
    },
}

# What attributes that have parts mean when a part is left out.
PARTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "session_persistence": {},
    "access_log": {"format": "JSON"},
    "outlier_ejection": {"errors": 10, "observe": "RESPONSES"},
    "rate_limit": {"seconds": 1},
    "fixed_response": {"status_code": 200, "content_type": "text/plain", "body": ""},
    "rewrite": {},
}

# Lists of children, by the word of the document; a health monitor stands alone.
CHILDREN: Final[Mapping[str, Mapping[str, str]]] = {
    LB: {"listeners": LISTENER, "pools": POOL},
    LISTENER: {"l7policies": POLICY},
    POLICY: {"rules": RULE},
    RULE: {},
    POOL: {"members": MEMBER, "healthmonitor": MONITOR},
    MEMBER: {},
    MONITOR: {},
}
ALONE: Final = frozenset({"healthmonitor"})

# What may be said by name instead of by id: the word, the attribute it becomes, whose name it is.
NAMED: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    LB: {
        "vip_subnet": ("vip_subnet_id", "subnet"),
        "vip_network": ("vip_network_id", "network"),
        "flavor": ("flavor_id", "flavor"),
        "affinity_group": ("affinity_group_id", "affinity"),
    },
    MEMBER: {"subnet": ("subnet_id", "subnet")},
}
SECRETS: Final = frozenset(
    {
        "default_tls_container_ref", "sni_container_refs", "client_ca_tls_container_ref",
        "client_crl_container_ref", "tls_container_ref", "ca_tls_container_ref",
        "crl_container_ref",
    }
)  # fmt: skip
# YAML reads these as numbers or flags where a person meant text.
TEXTS: Final = frozenset({"name", "description", "expected_codes", "key", "value"})
# Cannot be changed in what is there; the endpoint will say so.
FIXED: Final[Mapping[str, frozenset[str]]] = {
    LB: frozenset(
        {
            "vip_subnet_id", "vip_network_id", "vip_port_id", "vip_address", "provider",
            "flavor_id", "availability_zone", "project_id", "additional_vips",
        }
    ),
}  # fmt: skip
# Exported only when they cannot be found out again.
NOT_EXPORTED: Final = frozenset({"vip_port_id", "vip_network_id", "project_id"})
