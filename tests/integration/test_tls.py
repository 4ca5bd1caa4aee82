# SPDX-License-Identifier: Apache-2.0
"""TLS at listeners and towards members: real agent, real haproxy, real clients.

For each feature a handshake or a request that shows it, and one that shows its absence.
"""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.domain.errors import Rejected
from colonnade.domain.pools import Pool
from colonnade.domain.vocabulary import (
    INSERTED_TLS_HEADERS,
    AlpnProtocol,
    ClientAuthentication,
    MonitorType,
    TlsVersion,
)
from colonnade.protocol import paths
from tests.agent_bench import until
from tests.certificates import Made, authority, crl, made
from tests.haproxy_tls import DEFAULTS, ends_tls
from tests.haproxy_trees import ident, member, monitor, pool
from tests.tls_bench import MEMBER, TlsBench, facts

CA = authority("Test CA")
STRANGE_CA = authority("Strange CA")
WEB, SHOP = made("www.example.org", CA), made("shop.example.org", CA)
CLIENT, REVOKED, STRANGER = (
    made("client", CA),
    made("revoked", CA),
    made("stranger", STRANGE_CA),
)
SECRETS = {
    "web": WEB.pem,
    "shop": SHOP.pem,
    "ca": CA.public,
    "strange-ca": STRANGE_CA.public,
    "crl": crl(CA, REVOKED),
    "client": CLIENT.pem,
}
NOT_TRUSTED = (ssl.SSLError, ConnectionError)
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[TlsBench]:
    made_here = TlsBench(tmp_path)
    made_here.secrets = dict(SECRETS)
    try:
        await made_here.bench.start()
        yield made_here
    finally:
        await made_here.end()


def listener(**more: Any) -> Any:
    return ends_tls(protocol_port=443, **more)


def plain(port: int = 8080, **more: Any) -> Pool:
    return pool(members=(replace(member(1, MEMBER), protocol_port=port),), **more)


def encrypted(**more: Any) -> Pool:
    return plain(8443, **{"tls_enabled": True, **DEFAULTS, "alpn_protocols": (), **more})


async def test_the_name_asked_for_decides_which_certificate_is_shown(bench: TlsBench) -> None:
    await bench.member()
    await bench.serve(listener(sni_container_refs=("shop",), hsts_max_age=60), plain())
    client = bench.client(CA.public)
    web = await bench.get(client)
    assert (web.status, web.shown, web.protocol) == (200, "CN=www.example.org", "TLSv1.3")
    assert web.headers["strict-transport-security"] == "max-age=60"
    assert (await bench.get(client, "shop.example.org")).shown == "CN=shop.example.org"
    with pytest.raises(ssl.SSLCertVerificationError):
        await bench.get(client, "other.example.org")  # gets the default, which is another's
    with pytest.raises(ssl.SSLCertVerificationError):
        await bench.get(bench.client(STRANGE_CA.public))
    assert await bench.serve(listener(), plain()) == "reload"
    assert "strict-transport-security" not in (await bench.get(client)).headers
    with pytest.raises(ssl.SSLCertVerificationError):
        await bench.get(client, "shop.example.org")


async def test_versions_ciphers_and_alpn_are_as_asked_for(bench: TlsBench) -> None:
    await bench.member()
    await bench.serve(listener(), plain())
    old = bench.client(CA.public, versions=(V12, V12))
    assert (await bench.get(old)).protocol == "TLSv1.2"
    h2 = bench.client(CA.public, alpn=("h2", "http/1.1"))
    assert (await bench.get(h2)).alpn == "h2"
    await bench.serve(
        listener(tls_versions=(TlsVersion.TLSV1_3,), alpn_protocols=(AlpnProtocol.HTTP_1_1,)),
        plain(),
    )
    assert (await bench.get(h2)).alpn == "http/1.1"
    with pytest.raises(NOT_TRUSTED):
        await bench.get(old)
    await bench.serve(listener(tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"), plain())
    old.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(NOT_TRUSTED):
        await bench.get(old)
    old.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert (await bench.get(old)).status == 200


async def test_client_certificates_are_asked_for_checked_and_told(bench: TlsBench) -> None:
    await bench.member()
    wish = {
        "client_authentication": ClientAuthentication.MANDATORY,
        "client_ca_tls_container_ref": "ca",
        "insert_headers": dict.fromkeys((*INSERTED_TLS_HEADERS, "X-Forwarded-Proto"), "true"),
    }
    await bench.serve(listener(**wish), plain())
    nobody = bench.client(CA.public)
    known, revoked, stranger = (
        bench.client(CA.public, own=own) for own in (CLIENT, REVOKED, STRANGER)
    )
    seen = json.loads((await bench.get(known, headers={"X-SSL-Client-CN": "root"})).body)
    assert seen["x-ssl-client-cn"].strip('"') == "client"
    assert seen["x-ssl-client-dn"].strip('"') == "/CN=client"
    assert seen["x-ssl-issuer"].strip('"') == "/CN=Test CA"
    assert (seen["x-ssl-client-verify"], seen["x-ssl-client-has-cert"]) == ("0", "1")
    assert len(seen["x-ssl-client-sha1"].strip('"')) == 40
    assert seen["x-ssl-client-not-after"].strip('"').endswith("Z")
    assert seen["x-forwarded-proto"] == "https"
    assert (await bench.get(revoked)).status == 200
    for refused in (nobody, stranger):
        with pytest.raises(NOT_TRUSTED):
            await bench.get(refused)

    await bench.serve(listener(**wish, client_crl_container_ref="crl"), plain())
    assert (await bench.get(known)).status == 200
    with pytest.raises(NOT_TRUSTED):
        await bench.get(revoked)

    wish["client_authentication"] = ClientAuthentication.OPTIONAL
    await bench.serve(listener(**wish), plain())
    seen = json.loads((await bench.get(nobody)).body)
    assert seen["x-ssl-client-has-cert"] == "0"
    with pytest.raises(NOT_TRUSTED):
        await bench.get(stranger)


async def test_members_are_spoken_to_in_tls_and_verified(bench: TlsBench) -> None:
    await bench.member(8443, bench.server(WEB, asks=CA.public))
    client = bench.client(CA.public)
    await bench.serve(listener(), encrypted(tls_container_ref="client"))
    seen = json.loads((await bench.get(client)).body)
    assert (seen["@tls"], seen["@client"]) == ("TLSv1.3", "CN=client")
    await bench.serve(listener(), encrypted())  # without the certificate that it wants to see
    assert (await bench.get(client)).status in (502, 503)
    own = {"tls_container_ref": "client"}
    await bench.serve(listener(), encrypted(ca_tls_container_ref="ca", **own))
    assert (await bench.get(client)).status == 200
    await bench.serve(listener(), encrypted(ca_tls_container_ref="strange-ca", **own))
    assert (await bench.get(client)).status == 503
    bench.secrets["crl"] = crl(CA, WEB)
    revoking = {"ca_tls_container_ref": "ca", "crl_container_ref": "crl"}
    await bench.serve(listener(), encrypted(**revoking, **own))
    assert (await bench.get(client)).status == 503
    old = encrypted(tls_versions=(TlsVersion.TLSV1_2,), **own)
    await bench.serve(listener(), old)
    assert json.loads((await bench.get(client)).body)["@tls"] == "TLSv1.2"


async def test_members_are_checked_over_tls(bench: TlsBench) -> None:
    await bench.member(8443, bench.server(WEB))
    await bench.member(8080)
    often = {"delay": 1, "timeout": 1, "max_retries": 1, "max_retries_down": 1}

    async def comes_to(state: str, wanted: Pool) -> None:
        await bench.serve(listener(), wanted)

        async def so() -> bool:
            return await bench.bench.states() == {ident(1): state}

        await until(so)

    for kind in (MonitorType.HTTPS, MonitorType.TLS_HELLO, MonitorType.HTTP):
        check = monitor(kind, **often)
        await comes_to("UP", encrypted(health_monitor=check, ca_tls_container_ref="ca"))
        wrong = encrypted(health_monitor=check, ca_tls_container_ref="strange-ca")
        await comes_to("DOWN", wrong)
    await comes_to("DOWN", plain(health_monitor=monitor(MonitorType.TLS_HELLO, **often)))


async def test_keys_are_in_memory_for_the_owner_alone_and_gone_when_unused(
    bench: TlsBench,
) -> None:
    files = bench.bench.site.files
    await bench.serve(
        listener(sni_container_refs=("shop",), client_ca_tls_container_ref="ca"), plain()
    )
    of = ident(100)
    assert files(paths.SECRETS) == {
        f"{of}.pem": (0o600, "tmpfs"),
        f"{of}.sni1.pem": (0o600, "tmpfs"),  # the CA is not asked for, so it is not there
    }
    await bench.serve(listener(), plain())
    assert set(files(paths.SECRETS)) == {f"{of}.pem"}
    await bench.serve(listener(admin_state_up=False), plain())
    assert files(paths.SECRETS) == {}
    root = files(paths.ROOT)
    assert (root["present.json"], root["secrets"]) == ((0o600, "tmpfs"), (0o700, "tmpfs"))
    await bench.serve(listener(), plain())
    assert set(files(paths.SECRETS)) == {f"{of}.pem"}


async def test_a_certificate_is_replaced_in_place_and_connections_stay(bench: TlsBench) -> None:
    await bench.member()
    wish = {
        "client_authentication": ClientAuthentication.MANDATORY,
        "client_ca_tls_container_ref": "ca",
        "client_crl_container_ref": "crl",
    }
    await bench.serve(listener(**wish), plain())
    client = bench.client(CA.public, own=CLIENT)
    workers = bench.bench.site.processes("haproxy.cfg")
    reader, writer = await bench.connect(client, "www.example.org")
    before = writer.get_extra_info("ssl_object").getpeercert(True)

    fresh = made("www.example.org", CA)
    bench.secrets |= {"web": fresh.pem, "renewed": fresh.pem}
    assert await bench.serve(listener(**wish), plain()) == "runtime"
    # Another reference and the same name: new contents alone, and a member that comes too.
    both = replace(plain(), members=(*plain().members, member(2, MEMBER)))
    renewed = listener(default_tls_container_ref="renewed", **wish)
    assert await bench.serve(renewed, both) == "runtime"
    reader2, writer2 = await bench.connect(client, "www.example.org")
    after = writer2.get_extra_info("ssl_object").getpeercert(True)
    assert after != before
    assert facts(writer2).shown == "CN=www.example.org"
    assert bench.bench.site.processes("haproxy.cfg") == workers

    writer.write(b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 ")
    for one in (writer, writer2):
        one.close()
    # The next process shows the same: a reload reads the files.
    bench.secrets["crl"] = crl(CA, REVOKED, made("another", CA))
    assert await bench.serve(renewed, both) == "reload"
    _, writer3 = await bench.connect(client, "www.example.org")
    assert writer3.get_extra_info("ssl_object").getpeercert(True) == after
    writer3.close()
    bench.secrets["crl"] = crl(CA, REVOKED, CLIENT)
    assert await bench.serve(renewed, both) == "reload"
    with pytest.raises(NOT_TRUSTED):
        await bench.get(client)
    assert reader2 is not None


async def test_what_is_too_long_for_the_socket_comes_by_a_reload(bench: TlsBench) -> None:
    await bench.member()
    await bench.serve(listener(), plain())
    names = [f"{number}.{'x' * 40}.example.org" for number in range(300)]
    large = made("www.example.org", CA, names=("www.example.org", *names))
    bench.secrets["web"] = large.pem
    assert await bench.serve(listener(), plain()) == "reload"
    assert (await bench.get(bench.client(CA.public), names[-1])).shown == "CN=www.example.org"


async def test_a_key_that_haproxy_refuses_changes_nothing_and_is_not_told(
    bench: TlsBench, capfd: pytest.CaptureFixture[str]
) -> None:
    await bench.member()
    await bench.serve(listener(), plain())
    client = bench.client(CA.public)
    wrong = Made(WEB.certificate, SHOP.key)
    bench.secrets["web"] = wrong.pem
    with pytest.raises(Rejected) as refused:
        await bench.serve(listener(), plain())
    said = f"{refused.value} {getattr(refused.value, 'detail', '')}"
    assert "inconsistencies" in said or "private key" in said.lower()
    piece = SHOP.secret.splitlines()[1][:20]
    assert piece not in said
    assert (await bench.get(client)).status == 200
    bench.secrets["web"] = WEB.pem
    assert await bench.serve(listener(), plain()) == "nothing"
    out, err = capfd.readouterr()
    assert piece not in out + err
    assert WEB.secret.splitlines()[1][:20] not in out + err
