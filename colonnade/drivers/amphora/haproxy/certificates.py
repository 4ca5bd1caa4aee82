# SPDX-License-Identifier: Apache-2.0
"""TLS as haproxy is told of it: which files, and the words after `bind` and in server lines.

A file is named after what it does for which listener or pool, not after the secret in it, so that
another certificate in its place changes no word of haproxy's file. Only references are known
here; who has the secrets is asked elsewhere.
"""

import ssl
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from colonnade.domain.errors import Invalid, require
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.secrets import SecretType
from colonnade.domain.tls import CIPHERS, CIPHERS_DEFAULT, TlsAttributes
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    AlpnProtocol,
    ClientAuthentication,
    TlsVersion,
)
from colonnade.drivers.amphora.haproxy.words import Word, host, name, quoted
from colonnade.protocol import paths

TRUST: Final = {SecretType.CA: "ca-file", SecretType.CRL: "crl-file"}
VERSIONS: Final = {
    TlsVersion.TLSV1: Word("TLSv1.0"),
    TlsVersion.TLSV1_1: Word("TLSv1.1"),
    TlsVersion.TLSV1_2: Word("TLSv1.2"),
    TlsVersion.TLSV1_3: Word("TLSv1.3"),
}
SUITES: Final = frozenset(
    {
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_CCM_SHA256",
        "TLS_AES_128_CCM_8_SHA256",
    }
)
# The wire contract's default names ciphers for RSA keys alone; these change nothing for those.
CIPHERS_ECDSA: Final = ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
AUTHENTICATION: Final = {
    ClientAuthentication.OPTIONAL: Word("optional"),
    ClientAuthentication.MANDATORY: Word("required"),
}


class File(msgspec.Struct, frozen=True):
    name: str
    reference: str
    type: SecretType


def files(tree: LoadBalancer) -> Iterator[File]:
    """Every file that the tree could need."""
    for listener in tree.listeners:
        yield from _files_of_listener(listener)
    for pool in tree.pools:
        yield from _files_of_pool(pool)


def path(file: str) -> Word:
    return Word(f"{paths.SECRETS}/{name(file)}")


def bind_options(listener: Listener) -> Word | None:
    """What follows the address in a `bind` line; None where TLS does not end. Raises Invalid."""
    found = {file.type: file for file in _files_of_listener(listener)}
    if SecretType.CERTIFICATE not in found:
        return None
    said = [Word("ssl")]
    for file in _files_of_listener(listener):
        if file.type is SecretType.CERTIFICATE:
            said += [Word("crt"), path(file.name)]
    verify = AUTHENTICATION.get(listener.client_authentication)
    if verify is not None:
        said += [*_trust(found), Word("verify"), verify]
    said += [*_versions_and_ciphers(listener), *_alpn(listener.alpn_protocols)]
    return Word(" ".join(said))


def server_options(pool: Pool, mode: Word) -> Word | None:
    """What a server line says of TLS to the members; None where there is none. Raises Invalid."""
    if not pool.tls_enabled:
        return None
    found = {file.type: file for file in _files_of_pool(pool)}
    said = [Word("ssl")]
    if SecretType.CERTIFICATE in found:
        said += [Word("crt"), path(found[SecretType.CERTIFICATE].name)]
    if SecretType.CA in found:
        # The name asked for is verified where one is: clients that spoke TLS named it to us.
        said += [*_trust(found), Word("verify required")]
    else:
        said.append(Word("verify none"))
    said += [Word("sni ssl_fc_sni"), *_versions_and_ciphers(pool)]
    if mode == "http":
        h2 = (AlpnProtocol.H2,) if pool.http2 else ()
        said += [*_alpn(tuple(dict.fromkeys((*h2, *pool.alpn_protocols)))), *_check(pool)]
    return Word(" ".join(said))


def hsts(listener: Listener) -> Word | None:
    """The value of Strict-Transport-Security (RFC 6797)."""
    if listener.hsts_max_age is None:
        return None
    directives = [f"max-age={int(listener.hsts_max_age)}"]
    if listener.hsts_include_subdomains:
        directives.append("includeSubDomains")
    if listener.hsts_preload:
        directives.append("preload")
    return quoted("; ".join(directives))


def check_versions(node: TlsAttributes) -> None:
    """Raises Invalid for versions that haproxy cannot offer together."""
    _span(node.tls_versions)


def check_ciphers(node: TlsAttributes) -> None:
    """Raises Invalid for a list in which nothing is known."""
    older, suites = _ciphers(node)
    unknown = [suite for suite in suites if suite not in SUITES]
    require("tls_ciphers", not unknown, f"name {', '.join(unknown[:3])}, which do not exist")
    if older:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(older)
        except ssl.SSLError:
            raise Invalid("tls_ciphers name no known cipher", field="tls_ciphers") from None
    elif suites:
        versions = node.tls_versions or tuple(VERSIONS)
        fits = TlsVersion.TLSV1_3 in versions
        require("tls_ciphers", fits, "are all of TLSv1.3, which is not in tls_versions")


def _files_of_listener(listener: Listener) -> Iterator[File]:
    of = listener.id
    if listener.default_tls_container_ref is not None:
        yield File(f"{of}.pem", listener.default_tls_container_ref, SecretType.CERTIFICATE)
    for number, reference in enumerate(listener.sni_container_refs, start=1):
        yield File(f"{of}.sni{number}.pem", reference, SecretType.CERTIFICATE)
    yield from _trusted(of, listener.client_ca_tls_container_ref, listener.client_crl_container_ref)


def _files_of_pool(pool: Pool) -> Iterator[File]:
    if pool.tls_container_ref is not None:
        yield File(f"{pool.id}.pem", pool.tls_container_ref, SecretType.CERTIFICATE)
    yield from _trusted(pool.id, pool.ca_tls_container_ref, pool.crl_container_ref)


def _trusted(of: str, ca: str | None, crl: str | None) -> Iterator[File]:
    if ca is not None:
        yield File(f"{of}.ca.pem", ca, SecretType.CA)
    if crl is not None:
        yield File(f"{of}.crl.pem", crl, SecretType.CRL)


def _trust(found: dict[SecretType, File]) -> Iterator[Word]:
    for kind, word in TRUST.items():
        if kind in found:
            yield Word(f"{word} {path(found[kind].name)}")


def _versions_and_ciphers(node: TlsAttributes) -> Iterator[Word]:
    older, suites = _ciphers(node)
    lowest, highest = _span(node.tls_versions)
    if suites and not older:
        lowest = TlsVersion.TLSV1_3  # else older versions would be offered with OpenSSL's own list
    yield Word(f"ssl-min-ver {VERSIONS[lowest]} ssl-max-ver {VERSIONS[highest]}")
    if older:
        yield Word(f"ciphers {older}")
    if suites:
        yield Word(f"ciphersuites {':'.join(suites)}")


def _span(versions: Sequence[TlsVersion]) -> tuple[TlsVersion, TlsVersion]:
    if not versions:
        return TlsVersion.TLSV1_2, TlsVersion.TLSV1_3
    old = TlsVersion.SSLV3 in versions
    require("tls_versions", not old, "name SSLv3, which is broken and not served")
    places = sorted(list(VERSIONS).index(version) for version in versions)
    whole = places == list(range(places[0], places[-1] + 1))
    require("tls_versions", whole, "must have no gap: give all from lowest to highest")
    known = list(VERSIONS)
    return known[places[0]], known[places[-1]]


def _ciphers(node: TlsAttributes) -> tuple[str, list[str]]:
    """Those until TLSv1.2 as OpenSSL's list, and the suites of TLSv1.3, which it keeps apart."""
    given = node.tls_ciphers or ""
    require(
        "tls_ciphers", CIPHERS.fullmatch(given) is not None, "have characters that no cipher has"
    )
    parts = [part for part in given.split(":") if part]
    older = ":".join(part for part in parts if not part.startswith("TLS_"))
    if given == CIPHERS_DEFAULT:
        older += CIPHERS_ECDSA
    return older, [part for part in parts if part.startswith("TLS_")]


def _alpn(protocols: Sequence[AlpnProtocol]) -> Iterator[Word]:
    if protocols:
        yield Word(f"alpn {','.join(protocol.value for protocol in protocols)}")


def _check(pool: Pool) -> Iterator[Word]:
    """How checks speak: as HTTP/1.1 unless members know HTTP/2 alone."""
    monitor = pool.health_monitor
    if monitor is None or not monitor.admin_state_up:
        return
    if set(pool.alpn_protocols) - {AlpnProtocol.H2}:
        yield Word("check-alpn http/1.1")
    if monitor.domain_name is not None:
        yield Word(f"check-sni {host(monitor.domain_name)}")
