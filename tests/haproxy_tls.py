# SPDX-License-Identifier: Apache-2.0
"""Small trees with TLS, one for each feature, and what their references lead to."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import ProjectId
from colonnade.domain.listeners import Listener
from colonnade.domain.tls import ALPN_DEFAULT, CIPHERS_DEFAULT, VERSIONS_DEFAULT
from colonnade.domain.vocabulary import (
    INSERTED_HEADERS,
    INSERTED_TLS_HEADERS,
    AlpnProtocol,
    ClientAuthentication,
    ListenerProtocol,
    MonitorType,
    TlsVersion,
)
from colonnade.drivers.amphora.haproxy import certificates
from tests.certificates import authority, crl, made
from tests.haproxy_trees import cluster, listener, monitor, pool, tree

CA = authority("Test CA")
WEB = made("www.example.org", CA)
SHOP = made("shop.example.org", CA)
CLIENT = made("a client", CA)
REVOKED = made("a revoked client", CA)
# What each reference of these trees leads to.
SECRETS = {
    "web": WEB.pem,
    "shop": SHOP.pem,
    "client": CLIENT.pem,
    "ca": CA.public,
    "crl": crl(CA, REVOKED),
}
DEFAULTS: Mapping[str, Any] = {
    "tls_ciphers": CIPHERS_DEFAULT,
    "tls_versions": VERSIONS_DEFAULT,
    "alpn_protocols": ALPN_DEFAULT,
}


def ends_tls(number: int = 100, **more: Any) -> Listener:
    """With what the API gives to one that says nothing."""
    given = {**DEFAULTS, "default_tls_container_ref": "web", **more}
    return listener(number, ListenerProtocol.TERMINATED_HTTPS, **given)


def secure(**of_listener: Any) -> Cluster:
    return cluster(tree((ends_tls(**of_listener),), (pool(),)))


def reencrypted(**of_pool: Any) -> Cluster:
    given = {"tls_enabled": True, **DEFAULTS, "alpn_protocols": (), **of_pool}
    return cluster(tree((listener(),), (pool(**given),)))


FEATURES: dict[str, Cluster] = {
    "tls": secure(),
    "tls-sni": secure(sni_container_refs=("shop", "client")),
    "tls-sni-alone": secure(default_tls_container_ref=None, sni_container_refs=("web", "shop")),
    "tls-clients": secure(
        client_authentication=ClientAuthentication.MANDATORY,
        client_ca_tls_container_ref="ca",
        client_crl_container_ref="crl",
    ),
    "tls-clients-optional": secure(
        client_authentication=ClientAuthentication.OPTIONAL, client_ca_tls_container_ref="ca"
    ),
    "tls-clients-unasked": secure(client_ca_tls_container_ref="ca"),
    "tls-versions": secure(tls_versions=(TlsVersion.TLSV1_2, TlsVersion.TLSV1_1)),
    "tls-suites": secure(tls_ciphers="TLS_AES_128_GCM_SHA256"),
    "tls-ciphers": secure(tls_ciphers="ECDHE+AESGCM:!aNULL:@STRENGTH"),
    "tls-hsts": secure(hsts_max_age=31536000, hsts_include_subdomains=True, hsts_preload=True),
    "tls-headers": secure(
        insert_headers=dict.fromkeys((*INSERTED_HEADERS, *INSERTED_TLS_HEADERS), "true")
    ),
    "tls-no-pool": secure(default_pool_id=None),
    "members-tls": reencrypted(),
    "members-tls-verified": reencrypted(
        ca_tls_container_ref="ca",
        crl_container_ref="crl",
        tls_container_ref="client",
        alpn_protocols=(AlpnProtocol.H2, AlpnProtocol.HTTP_1_1),
        health_monitor=monitor(MonitorType.HTTPS, http_version=1.1, domain_name="www.example.org"),
    ),
    "members-tls-hello": reencrypted(health_monitor=monitor(MonitorType.TLS_HELLO)),
    "members-tls-http2": reencrypted(
        http2=True,
        alpn_protocols=(AlpnProtocol.H2,),
        health_monitor=monitor(MonitorType.HTTP),
    ),
}


class Shelf:
    """A `Secrets` that has these."""

    async def fetch(self, project: ProjectId, references: Collection[str]) -> Mapping[str, str]:
        assert project
        return {reference: SECRETS[reference] for reference in references}


def write_secrets(wanted: Cluster, folder: Path) -> None:
    """The files that haproxy's file of this wish may name."""
    for one in wanted.load_balancers:
        for file in certificates.files(one):
            (folder / file.name).write_text(SECRETS[file.reference])
