# SPDX-License-Identifier: Apache-2.0
"""Where access logs may go: an object store, a syslog server or an OpenTelemetry collector.

A target is a project's own. What opens it, its credentials, is kept apart from it and never
shown. Nothing is known here of how anything is sent.
"""

import re
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Invalid, require
from colonnade.domain.limits import Text


class TargetType(StrEnum):
    S3 = "S3"
    SWIFT = "SWIFT"
    SYSLOG = "SYSLOG"
    OTLP = "OTLP"


STORES: Final = frozenset({TargetType.S3, TargetType.SWIFT})
SCHEMES: Final = {
    TargetType.S3: ("https", "http"),
    TargetType.SWIFT: ("https", "http"),
    TargetType.SYSLOG: ("tls", "tcp"),
    TargetType.OTLP: ("https", "http"),
}
# Names of credentials; an OTLP collector's are headers, of any name.
CREDENTIALS: Final = {
    TargetType.S3: frozenset({"access_key", "secret_key"}),
    TargetType.SWIFT: frozenset({"temp_url_key"}),
    TargetType.SYSLOG: frozenset[str](),
}
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*|", re.ASCII)
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_HEADERS_OF_HTTP: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding"}
)


class LogTarget(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the store's, the Swift account's or the collector's; `bucket` is also Swift's
    container; `ca_certificate` (PEM) is trusted in the place of the system's authorities."""

    id: str
    type: Annotated[TargetType, Attribute("What it is.", fixed=True)]
    url: Annotated[
        Annotated[str, Meta(max_length=limits.URL_MAX)],
        Attribute("Where it is.", option="--to"),
    ]
    name: Annotated[Text, Attribute()] = ""
    description: Annotated[Text, Attribute("What it is for.")] = ""
    bucket: Annotated[Text, Attribute("Of an object store.")] = ""
    prefix: Annotated[Text, Attribute("Prefix of the objects' names.")] = ""
    region: Annotated[Text, Attribute("Of an object store.")] = "us-east-1"
    ca_certificate: Annotated[
        Annotated[str, Meta(max_length=limits.CA_CERTIFICATE_MAX)],
        Attribute("CA of its certificate: a PEM file."),
    ] = ""

    def __post_init__(self) -> None:
        for field in ("name", "description", "prefix"):
            long = len(getattr(self, field)) > limits.TEXT_MAX
            require(field, not long, f"is at most {limits.TEXT_MAX} long")
        self._check_url()
        if self.type in STORES:
            require("bucket", _BUCKET.fullmatch(self.bucket) is not None, "is not a bucket's name")
        else:
            require("bucket", not self.bucket, f"does not go with type {self.type.value}")
            require("prefix", not self.prefix, f"does not go with type {self.type.value}")
        parts = self.prefix.split("/")
        fits = _PREFIX.fullmatch(self.prefix) is not None and not {".", ".."} & set(parts)
        require("prefix", fits, "is words of letters, digits and ._=- between slashes")
        require("region", _REGION.fullmatch(self.region) is not None, "is not a region's name")
        short = len(self.ca_certificate) <= limits.CA_CERTIFICATE_MAX
        require("ca_certificate", short, f"is at most {limits.CA_CERTIFICATE_MAX} long")

    def _check_url(self) -> None:
        rule = f"must begin with {' or '.join(f'{s}://' for s in SCHEMES[self.type])} and a host"
        try:
            url = urlsplit(self.url)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise Invalid(f"url {rule}", field="url") from error
        require("url", url.scheme in SCHEMES[self.type] and bool(host) and port != 0, rule)
        plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        require("url", plain and len(self.url) <= limits.URL_MAX, "has characters it cannot have")
        bare = not (url.query or url.fragment or url.username or url.password is not None)
        require("url", bare, "must have no user, query or fragment")
        if self.type is TargetType.SYSLOG:
            require("url", url.path in ("", "/"), "of a syslog server has no path")
        require("url", not _is_inward(host or ""), "must not name the amphora itself")

    def check_credentials(self, credentials: dict[str, str]) -> None:
        """Raises Invalid, without a word of what they are."""
        require("credentials", len(credentials) <= limits.HEADERS_MAX, "are too many")
        for value in credentials.values():
            fits = 0 < len(value) <= limits.CREDENTIAL_MAX and value.isascii()
            require("credentials", fits and value.isprintable(), "must be printable ASCII")
        if self.type is TargetType.OTLP:
            for name in credentials:
                fits = _HEADER.fullmatch(name) is not None
                fits = fits and name.lower() not in _HEADERS_OF_HTTP
                require("credentials", fits, "of an OTLP collector are headers to send")
            return
        wanted = CREDENTIALS[self.type]
        rule = f"of type {self.type.value} are: {', '.join(sorted(wanted)) or 'none'}"
        require("credentials", credentials.keys() == wanted, rule)


def _is_inward(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    inward = address.is_loopback or address.is_link_local or address.is_unspecified
    return inward or address.is_multicast
