# SPDX-License-Identifier: Apache-2.0
"""An issuer without a network. `tests/integration/test_issuers.py` holds it to a real one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from colonnade.drivers.issuers.protocol import Account, NotIssued
from tests.certificates import authority

CA = authority("Fake issuer")


class FakeIssuer:
    """An `Issuer`. It proves a name when the test says that it leads to us: `led`."""

    def __init__(self, *led: str, life: timedelta = timedelta(days=90)) -> None:
        self.directory = "https://issuer.example.test/dir"
        self.led = set(led)
        self.life = life
        self.asked: list[tuple[str, ...]] = []  # each order
        self.accounts: dict[str, str] = {}

    async def register(self, account: Account) -> Account:
        number = len(self.accounts) + 1
        uri = self.accounts.setdefault(account.key_pem, f"{self.directory}/{number}")
        return Account(account.key_pem, uri)

    async def issue(self, account: Account, csr_pem: str, host_names: Sequence[str]) -> str:
        assert account.uri == self.accounts[account.key_pem]
        self.asked.append(tuple(host_names))
        for name in host_names:
            if name not in self.led:
                raise NotIssued(f"The issuer says of {name}: it is lost. To do: let it lead here.")
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert sorted(names.get_values_for_type(x509.DNSName)) == sorted(host_names)
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(CA.certificate.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + self.life)
            .add_extension(names, critical=True)
            .sign(CA.key, hashes.SHA256())
        )
        return leaf.public_bytes(Encoding.PEM).decode() + CA.public
