# SPDX-License-Identifier: Apache-2.0
"""TLS attributes of listeners and pools as requests give them: defaults, and lists that are empty.

Which ciphers and versions there are is in `domain/tls.py`; an operator's limits are the
provider's business.
"""

from colonnade.api.http.decoding import Body, Fields, set_fields
from colonnade.domain.errors import Invalid
from colonnade.domain.tls import ALPN_DEFAULT, CIPHERS_DEFAULT, VERSIONS_DEFAULT

DEFAULTS = {
    "tls_ciphers": CIPHERS_DEFAULT,
    "tls_versions": VERSIONS_DEFAULT,
    "alpn_protocols": ALPN_DEFAULT,
}


def read_tls(fields: Fields, *, used: bool, alpn: bool = True) -> Fields:
    """The attributes of a new object. `used`: its traffic is TLS, so what was left out is
    chosen; `alpn`: the protocol to speak is chosen too."""
    _refuse_empty_lists(fields)
    if not used:
        return fields
    chosen = {name: value for name, value in DEFAULTS.items() if alpn or name != "alpn_protocols"}
    return chosen | fields


def change_tls(fields: Fields, body: Body, *, used: bool) -> Fields:
    """The attributes of a changed object; null, which reads as empty, is the default again."""
    _refuse_empty_lists(set_fields(body))
    for name, value in DEFAULTS.items():
        if used and name in fields and not fields[name]:
            fields[name] = value
    return fields


def _refuse_empty_lists(given: Fields) -> None:
    """Raises Invalid for a list that is there and has nothing in it; null is no such list."""
    for name in ("tls_versions", "alpn_protocols"):
        value = given.get(name)
        if value is not None and not value:
            raise Invalid(
                f"Invalid input for field/attribute {name}. Value: '[]'. At least one must be given"
            )
