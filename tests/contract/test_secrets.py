# SPDX-License-Identifier: Apache-2.0
"""Secrets, row by row: what is taken, what is refused and how, and that nothing comes out."""

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from colonnade.domain.limits import SECRETS_PER_PROJECT_MAX
from colonnade.store.postgres.database import Database
from tests.certificates import Made, authority, crl, made
from tests.contract.api_client import Api, api

__all__ = ["api"]

ROOT = authority("Root")
BETWEEN = authority("Between", ROOT)
LEAF = made("www.example.org", BETWEEN, names=("www.example.org", "example.org"))
OTHER = made("other.example.org", ROOT)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OLD_FORM = RSA.private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"word")
).decode()


def p12(passphrase: bytes | None, *others: Made, leaf: Made = LEAF) -> str:
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    content = pkcs12.serialize_key_and_certificates(
        b"x", leaf.key, leaf.certificate, [one.certificate for one in others], lock
    )
    return base64.b64encode(content).decode()


def relabelled(pem: str, label: str) -> str:
    return pem.replace(" CERTIFICATE-----", f" {label}-----")


def trusted(one: Made) -> str:
    """As `openssl x509 -addtrust serverAuth -trustout` writes it: what to trust it for follows."""
    content = one.certificate.public_bytes(Encoding.DER) + bytes.fromhex(
        "300c300a06082b06010505070301"
    )
    lines = base64.encodebytes(content).decode()
    return f"-----BEGIN TRUSTED CERTIFICATE-----\n{lines}-----END TRUSTED CERTIFICATE-----\n"


CHAIN = LEAF.public + BETWEEN.public + ROOT.public
ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chain and key": ({"pem": CHAIN + LEAF.secret}, {"count": 3, "key_type": "EC secp256r1"}),
    "key first": ({"pem": LEAF.secret + LEAF.public}, {"count": 1}),
    "labels of other tools": (
        {"pem": relabelled(CHAIN, "X509 CERTIFICATE") + LEAF.secret},
        {"count": 3},
    ),
    "OpenSSL's trusted certificate": ({"pem": trusted(LEAF) + LEAF.secret}, {"count": 1}),
    "one that stands twice": ({"pem": LEAF.public + CHAIN + LEAF.secret}, {"count": 3}),
    "any text between, a mark of order before": (
        {"pem": f"\ufeffSchlüssel für José\r\n{LEAF.pem}\nfin ✓\n"},
        {"count": 1},
    ),
    "lines of Windows": ({"pem": LEAF.pem.replace("\n", "\r\n")}, {"count": 1}),
    "a CA that stands twice": ({"type": "CA", "pem": ROOT.public * 3}, {"count": 1}),
    "a CRL that stands twice": (
        {"type": "CRL", "pem": (twice := crl(ROOT, OTHER)) + twice},
        {"count": 1},
    ),
    "pkcs12 with one that stands twice": ({"pkcs12": p12(None, BETWEEN, BETWEEN)}, {"count": 2}),
    "text between": ({"pem": f"Bag\n{LEAF.pem}\nend\r\n"}, {"count": 1}),
    "an encrypted key with its passphrase": (
        {"pem": LEAF.public + LEAF.locked("word"), "passphrase": "word"},
        {"subject": "CN=www.example.org", "issuer": "CN=Between"},
    ),
    "a key of the old form": (
        {"pem": made("rsa.test", key=RSA).public + OLD_FORM, "passphrase": "word"},
        {"key_type": "RSA 2048"},
    ),
    "pkcs12 in disorder": (
        {"pkcs12": p12(b"word", ROOT, BETWEEN), "passphrase": "word"},
        {"count": 3, "subject_alt_names": ["www.example.org", "example.org"]},
    ),
    "pkcs12 without passphrase": ({"pkcs12": p12(None, BETWEEN)}, {"count": 2}),
    "CAs": ({"type": "CA", "pem": ROOT.public + BETWEEN.public}, {"count": 2, "type": "CA"}),
    "a CRL": ({"type": "CRL", "pem": crl(ROOT, OTHER)}, {"issuer": "CN=Root", "subject": ""}),
    "one that ends soon": (
        {"pem": made("soon.test", days=(-1, 5)).pem},
        {"expiring": True, "subject": "CN=soon.test"},
    ),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "pem or pkcs12 must be given"),
    "both": ({"pem": LEAF.pem, "pkcs12": p12(None)}, "pem or pkcs12 must be given, and not both"),
    "no PEM": ({"pem": "hello"}, "no PEM block"),
    "half a block": ({"pem": LEAF.pem[:-20]}, "does not end"),
    "garbage in a block": (
        {"pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + LEAF.secret},
        "certificate of the pem cannot be read",
    ),
    "no key": ({"pem": LEAF.public}, "private key is missing"),
    "no certificate": ({"pem": LEAF.secret}, "certificate is missing"),
    "two keys": ({"pem": LEAF.pem + OTHER.secret}, "several"),
    "another's key": ({"pem": LEAF.public + OTHER.secret}, "does not belong to the certificate"),
    "a chain upside down": (
        {"pem": BETWEEN.public + LEAF.public + LEAF.secret},
        "belongs to another certificate of the chain",
    ),
    "a gap in the chain": (
        {"pem": LEAF.public + ROOT.public + LEAF.secret},
        "certificate 1 (CN=www.example.org) was not issued by certificate 2 (CN=Root)",
    ),
    "a stranger in a pkcs12": ({"pkcs12": p12(None, OTHER)}, "was not issued by"),
    "an encrypted key": ({"pem": LEAF.public + LEAF.locked("word")}, "give its passphrase"),
    "a wrong passphrase": (
        {"pem": LEAF.public + LEAF.locked("word"), "passphrase": "wrong"},
        "is the passphrase right?",
    ),
    "a wrong passphrase of a pkcs12": (
        {"pkcs12": p12(b"word"), "passphrase": "wrong"},
        "pkcs12 cannot be read",
    ),
    "no base64": ({"pkcs12": "%%%"}, "must be in base64"),
    "expired": ({"pem": made("a.test", days=(-9, -1)).pem}, "has expired on"),
    "not yet valid": ({"pem": made("a.test", days=(2, 9)).pem}, "is not valid before"),
    "an expired issuer": (
        {
            "pem": (late := made("l.test", old := authority("Old", days=(-9, -1)))).public
            + old.public
            + late.secret
        },
        "intermediate certificate (CN=Old) has expired",
    ),
    "a weak RSA key": (
        {"pem": made("a.test", key=rsa.generate_private_key(65537, 1024)).pem},
        "RSA with 1024 bits",
    ),
    "a weak curve": (
        {"pem": made("a.test", key=ec.generate_private_key(ec.SECP192R1())).pem},
        "secp192r1",
    ),
    "a DSA key": ({"pem": made("a.test", key=dsa.generate_private_key(1024)).pem}, "DSA"),
    "too long": ({"pem": "x" * 1_048_577}, "1048576 characters"),
    "too long a chain": (
        {"pem": LEAF.public + "".join(authority(f"{n}").public for n in range(10)) + LEAF.secret},
        "comes with at most 9 others",
    ),
    "a stranger among the blocks": ({"pem": LEAF.pem + crl(ROOT)}, "does not belong there"),
    "a block of another kind of certificate": (
        {"pem": relabelled(LEAF.public, "ATTRIBUTE CERTIFICATE") + LEAF.pem},
        "does not belong there: ATTRIBUTE CERTIFICATE (block 1)",
    ),
    "a key of SSH": (
        {"pem": LEAF.public + LEAF.secret.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY")},
        "does not belong there: OPENSSH PRIVATE KEY (block 2)",
    ),
    "a block with other letters": (
        {"pem": LEAF.pem.replace("-----END CERT", "é\n-----END CERT")},
        "not ASCII in a block",
    ),
    "a key among CAs": ({"type": "CA", "pem": ROOT.pem}, "has a private key"),
    "no CA": ({"type": "CA", "pem": OTHER.public}, "is not that of a CA"),
    "an expired CA": (
        {"type": "CA", "pem": authority("Gone", days=(-9, -1)).public},
        "CA certificate (CN=Gone) has expired",
    ),
    "CAs as pkcs12": ({"type": "CA", "pkcs12": p12(None)}, "give a CA as pem"),
    "an expired CRL": (
        {"type": "CRL", "pem": crl(ROOT, days=(-9, -1))},
        "The CRL of CN=Root has expired",
    ),
    "a certificate as CRL": ({"type": "CRL", "pem": ROOT.public}, "does not belong there"),
    "another type": ({"type": "KEY", "pem": LEAF.pem}, "Value should be one of: CERTIFICATE"),
    "a list": ({"pem": [LEAF.secret]}, "Invalid input for field/attribute pem."),
    "an unknown attribute": ({"pem": LEAF.pem, "payload": "x"}, "Unknown attribute"),
    "a long name": ({"pem": LEAF.pem, "name": "x" * 256}, "attribute name."),
}


async def secret(api: Api, status: int = 201, **body: Any) -> Any:
    answer = await api.post("secrets", {"secret": body}, status)
    return answer["secret"] if status == 201 else answer["faultstring"]


async def test_what_is_sound_is_kept_and_shown_without_its_content(api: Api) -> None:
    for name, (body, facts) in ACCEPTED.items():
        shown = await secret(api, name=name, **body)
        assert shown.items() >= facts.items(), name
        again = (await api.get(f"secrets/{shown['id']}"))["secret"]
        assert again | {"expires_in": 0} == shown | {"expires_in": 0}
        assert shown["secret_ref"] == f"http://api.test/v2/lbaas/secrets/{shown['id']}"
        assert "-----" not in str(shown)
        fresh = name != "one that ends soon"
        assert shown["expiring"] is not fresh
        assert (shown["expires_in"] > 20 * 86400) is fresh
    names = [one["name"] for one in (await api.get("secrets"))["secrets"]]
    assert names == list(ACCEPTED)
    soon = (await api.get("secrets?expiring=True"))["secrets"]
    assert [one["name"] for one in soon] == ["one that ends soon"]
    cas = (await api.get("secrets?type=CA&fields=name"))["secrets"]
    assert [one["name"] for one in cas] == ["a CA that stands twice", "CAs"]
    page = await api.get("secrets?limit=2&sort=name:desc")
    assert len(page["secrets"]) == 2
    assert page["secrets_links"][0]["rel"] == "next"


async def test_what_is_not_sound_is_refused_with_the_reason_and_nothing_of_it(api: Api) -> None:
    for name, (body, text) in REFUSED.items():
        reason = await secret(api, 400, **body)
        assert text in reason, (name, reason)
        assert len(reason) < 400, name
        for piece in (LEAF.secret, OTHER.secret, LEAF.public):
            assert piece.splitlines()[1][:20] not in reason, name
    assert (await api.get("secrets"))["secrets"] == []


async def test_a_project_has_so_many_and_no_more(api: Api, database: Database) -> None:
    first = await secret(api, pem=LEAF.pem)
    columns = "name, type, issuer, fingerprint, count, not_before, not_after, public,"
    async with database.transaction() as connection:
        await connection.execute(
            f"INSERT INTO secrets (id, project_id, {columns} wrapped_key, sealed)"
            f" SELECT gen_random_uuid(), project_id, {columns} wrapped_key, sealed"
            " FROM secrets, generate_series(2, %s)".encode(),
            [SECRETS_PER_PROJECT_MAX],
        )
    answer = await secret(api, 403, pem=LEAF.pem)
    assert answer == "Quota has been met for resources: secret"
    await secret(api, pem=LEAF.pem, project_id="another")
    await api.delete(f"secrets/{first['id']}")
    await secret(api, pem=LEAF.pem)
