# SPDX-License-Identifier: Apache-2.0
"""The nouns of a load balancer's tree: lb, listener, pool, member, hm.

Names of attributes and their choices are the wire contract's; what they default to is the
endpoint's business and not repeated here.
"""

from typing import Final

from colonnade.cli.nouns.description import (
    DESCRIPTION,
    ENABLED,
    ID,
    NAME,
    OF_LOAD_BALANCER,
    STATUS,
    TAGS,
    WHY,
    Attribute,
    Column,
    Kind,
    Noun,
)

LISTENER_PROTOCOLS: Final = (
    "HTTP", "HTTPS", "TERMINATED_HTTPS", "TCP", "UDP", "SCTP", "PROMETHEUS",
)  # fmt: skip
POOL_PROTOCOLS: Final = ("HTTP", "HTTPS", "PROXY", "PROXYV2", "TCP", "UDP", "SCTP")
ALGORITHMS: Final = ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT")
MONITORS: Final = ("HTTP", "HTTPS", "PING", "TCP", "TLS-HELLO", "UDP-CONNECT", "SCTP")
METHODS: Final = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH",
)  # fmt: skip
TLS_VERSIONS: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
ALPN: Final = ("h2", "http/1.1", "http/1.0")

TLS: Final = (
    Attribute("tls_ciphers", "OpenSSL's list of ciphers."),
    Attribute("tls_versions", "A version; repeat.", Kind.TEXTS, ("--tls-version",), TLS_VERSIONS),
    Attribute("alpn_protocols", "A protocol; repeat.", Kind.TEXTS, ("--alpn",), ALPN),
)

LOAD_BALANCERS: Final = Noun(
    word="lb",
    noun="load balancer",
    help="load balancers",
    path="lbaas/loadbalancers",
    one="loadbalancer",
    many="loadbalancers",
    columns=(
        NAME, ID, Column("VIP", "vip_address"), STATUS, Column("Provider", "provider"), WHY,
    ),
    filters=(
        Attribute("vip_address", "With this VIP.", options=("--vip-address",)),
        Attribute("project_id", "Of this project.", options=("--of-project",)),
    ),
    attributes=(
        Attribute(
            "vip_subnet_id", "Subnet of the VIP.",
            options=("--subnet",), refers="subnet", fixed=True,
        ),
        Attribute(
            "vip_network_id", "Network of the VIP, when no subnet is named.",
            options=("--network",), refers="network",
            fixed=True,
        ),
        Attribute(
            "vip_port_id", "An existing port.", options=("--vip-port",), fixed=True
        ),
        Attribute("vip_address", "Chosen when none is given.", fixed=True),
        Attribute(
            "additional_vips", "One more VIP; repeat.", Kind.VIPS, ("--additional-vip",),
            fixed=True,
        ),
        Attribute("vip_qos_policy_id", "QoS policy of the VIP's port.", options=("--vip-qos",)),
        Attribute(
            "vip_sg_ids", "A security group; repeat for more.", Kind.TEXTS,
            ("--vip-security-group",),
        ),
        Attribute("provider", "The provider.", refers="provider", fixed=True),
        Attribute("flavor_id", "Its flavor.", options=("--flavor",), refers="flavor", fixed=True),
        Attribute(
            "availability_zone", "Its zone.", options=("--az",),
            refers="az", fixed=True,
        ),
        Attribute("project_id", "Owned by this project.", options=("--for-project",), fixed=True),
        Attribute(
            "affinity_group_id", "Placed by this group's policy.", options=("--affinity-group",),
            refers="affinity", fixed=True,
        ),
        Attribute(
            "deletion_protection", "Refuse to delete it.", Kind.FLAG,
            ("--protect/--no-protect",),
        ),
        Attribute(
            "access_log", "format=JSON, target=LOGTARGET.", Kind.PAIRS,
            refers="logtarget",
        ),
        DESCRIPTION, ENABLED, TAGS,
    ),
)  # fmt: skip

LISTENERS: Final = Noun(
    word="listener",
    noun="listener",
    help="listeners",
    path="lbaas/listeners",
    one="listener",
    many="listeners",
    within=("lb", "loadbalancer_id"),
    columns=(
        NAME, ID, Column("Protocol", "protocol"), Column("Port", "protocol_port"), STATUS,
        Column("Default pool", "default_pool_id", refers="pool"),
        Column("Load balancer", "loadbalancers", refers="lb"),
    ),
    filters=(OF_LOAD_BALANCER,),
    attributes=(
        Attribute(
            "loadbalancer_id", "The load balancer it is for.",
            options=("--lb",), refers="lb", required=True, fixed=True,
        ),
        Attribute(
            "protocol", "Protocol of the clients.", choices=LISTENER_PROTOCOLS, required=True,
            fixed=True,
        ),
        Attribute(
            "protocol_port", "Port that clients connect to.", Kind.INTEGER,
            ("--port",), required=True, fixed=True,
        ),
        Attribute(
            "default_pool_id", "Pool for requests that no L7 policy decides.",
            options=("--default-pool",), refers="pool",
        ),
        Attribute("connection_limit", "-1: none.", Kind.INTEGER),
        Attribute(
            "insert_headers", "Header to add for members: X-Forwarded-For=true; repeat.",
            Kind.PAIRS, ("--insert-header",),
        ),
        Attribute("allowed_cidrs", "Who may connect; repeat.", Kind.TEXTS, ("--allowed-cidr",)),
        Attribute("timeout_client_data", "Milliseconds.", Kind.INTEGER),
        Attribute("timeout_member_connect", "Milliseconds.", Kind.INTEGER),
        Attribute("timeout_member_data", "Milliseconds.", Kind.INTEGER),
        Attribute("timeout_tcp_inspect", "Milliseconds.", Kind.INTEGER),
        Attribute(
            "default_tls_container_ref", "Certificate and key: a secret.",
            options=("--certificate",), refers="secret",
        ),
        Attribute(
            "sni_container_refs", "One more certificate, chosen by SNI; repeat.", Kind.TEXTS,
            ("--sni-certificate",), refers="secret",
        ),
        Attribute(
            "client_ca_tls_container_ref", "CA of client certificates: a secret.",
            options=("--client-ca",), refers="secret",
        ),
        Attribute(
            "client_authentication", "Whether clients show a certificate.",
            choices=("NONE", "OPTIONAL", "MANDATORY"),
        ),
        Attribute(
            "client_crl_container_ref", "Revoked client certificates: a secret.",
            options=("--client-crl",), refers="secret",
        ),
        *TLS,
        Attribute("hsts_max_age", "Seconds.", Kind.INTEGER),
        Attribute("hsts_include_subdomains", "", Kind.FLAG),
        Attribute("hsts_preload", "", Kind.FLAG),
        Attribute("compression", "Compress answers.", Kind.FLAG),
        Attribute(
            "access_log", "format=JSON, target=LOGTARGET.", Kind.PAIRS,
            refers="logtarget",
        ),
        DESCRIPTION, ENABLED, TAGS,
    ),
)  # fmt: skip

POOLS: Final = Noun(
    word="pool",
    noun="pool",
    help="pools",
    path="lbaas/pools",
    one="pool",
    many="pools",
    within=("lb", "loadbalancer_id"),
    columns=(
        NAME, ID, Column("Protocol", "protocol"), Column("Algorithm", "lb_algorithm"), STATUS,
        Column("Load balancer", "loadbalancers", refers="lb"), WHY,
    ),
    filters=(OF_LOAD_BALANCER,),
    attributes=(
        Attribute(
            "loadbalancer_id", "The load balancer it is for, or --listener.",
            options=("--lb",), refers="lb", fixed=True,
        ),
        Attribute(
            "listener_id", "Become this listener's default pool.", options=("--listener",),
            refers="listener", fixed=True,
        ),
        Attribute(
            "protocol", "Protocol of the members.", choices=POOL_PROTOCOLS, required=True,
            fixed=True,
        ),
        Attribute(
            "lb_algorithm", "Who is next.", options=("--algorithm",),
            choices=ALGORITHMS, required=True,
        ),
        Attribute(
            "session_persistence", "type=SOURCE_IP, or type=APP_COOKIE and cookie_name=NAME.",
            Kind.PAIRS, nested=True,
        ),
        Attribute("slow_start", "Seconds until a new member has its full share.", Kind.INTEGER),
        Attribute("drain_seconds", "Seconds for a removed member to finish.", Kind.INTEGER),
        Attribute("panic_threshold", "Use all members when fewer are up (%).", Kind.INTEGER),
        Attribute("retries", "How often a failed request is repeated.", Kind.INTEGER),
        Attribute("http2", "Use HTTP/2 to members.", Kind.FLAG),
        Attribute("outlier_ejection", "errors=10, observe=RESPONSES.", Kind.PAIRS, nested=True),
        Attribute("tls_enabled", "Use TLS to members.", Kind.FLAG, ("--tls/--no-tls",)),
        Attribute(
            "tls_container_ref", "Our certificate for members: a secret.",
            options=("--certificate",), refers="secret",
        ),
        Attribute(
            "ca_tls_container_ref", "CA of members' certificates: a secret.",
            options=("--ca",), refers="secret",
        ),
        Attribute(
            "crl_container_ref", "Members' revoked certificates: a secret.",
            options=("--crl",), refers="secret",
        ),
        *TLS, DESCRIPTION, ENABLED, TAGS,
    ),
)  # fmt: skip

MEMBERS: Final = Noun(
    word="member",
    noun="member",
    help="members of a pool",
    path="lbaas/pools/{parent}/members",
    one="member",
    many="members",
    parent="pool",
    columns=(
        NAME, ID, Column("Address", "endpoint"), Column("Weight", "weight"), STATUS, WHY,
        Column("Backup", "backup"), Column("Subnet", "subnet_id", refers="subnet"),
    ),
    attributes=(
        Attribute("address", "Its IP address.", required=True, fixed=True),
        Attribute(
            "protocol_port", "Its port.", Kind.INTEGER, ("--port",),
            required=True, fixed=True,
        ),
        Attribute("weight", "Its share; 0 drains it.", Kind.INTEGER),
        Attribute("backup", "Serves only when the others are down.", Kind.FLAG),
        Attribute(
            "subnet_id", "Subnet of its address; without it, the route is used.",
            options=("--subnet",), refers="subnet", fixed=True,
        ),
        Attribute("monitor_address", "Address for health checks, if another."),
        Attribute("request_sriov", "Reach it over SR-IOV.", Kind.FLAG, fixed=True),
        Attribute("monitor_port", "Port for health checks, if another.", Kind.INTEGER),
        ENABLED, TAGS,
    ),
)  # fmt: skip

HEALTH_MONITORS: Final = Noun(
    word="hm",
    noun="health monitor",
    help="health monitors",
    path="lbaas/healthmonitors",
    one="healthmonitor",
    many="healthmonitors",
    within=("pool", "pool_id"),
    columns=(
        NAME, ID, Column("Type", "type"), Column("Delay", "delay"), STATUS,
        Column("Pool", "pools", refers="pool"),
    ),
    filters=(Attribute("pool_id", "Of this pool.", options=("--pool",), refers="pool"),),
    attributes=(
        Attribute(
            "pool_id", "The pool whose members it checks.", options=("--pool",), refers="pool",
            required=True, fixed=True,
        ),
        Attribute("type", "How it asks.", choices=MONITORS, required=True, fixed=True),
        Attribute("delay", "Seconds between checks.", Kind.INTEGER, required=True),
        Attribute("timeout", "Seconds to answer a check.", Kind.INTEGER, required=True),
        Attribute("max_retries", "Successful checks until it is up.", Kind.INTEGER, required=True),
        Attribute("max_retries_down", "Failed checks until it is down.", Kind.INTEGER),
        Attribute("http_method", "", choices=METHODS),
        Attribute("url_path", "Path of the request."),
        Attribute("expected_codes", "Status codes: 200, or 200,202, or 200-204."),
        Attribute("http_version", "1.0 or 1.1.", Kind.NUMBER),
        Attribute("domain_name", "Host header of the request."),
        ENABLED, TAGS,
    ),
)  # fmt: skip
