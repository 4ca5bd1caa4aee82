# SPDX-License-Identifier: Apache-2.0
"""A URL that puts one object into a bucket of any S3-compatible store, for some minutes.

AWS signature version 4 in the query, payload not signed:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html. Pure: the clock is
the caller's. The bucket is in the path, which every such store understands.
"""

import hmac
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PORTS: Final = {"http": 80, "https": 443}


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the store's own: `https://s3.eu-west-1.amazonaws.com`."""

    url: str
    name: str
    region: str
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"Bucket(url={self.url!r}, name={self.name!r})"


def presigned_put(bucket: Bucket, key: str, *, at: datetime, expires_s: int) -> str:
    """`at` in UTC."""
    return presigned("PUT", bucket, f"/{bucket.name}/{key}", at=at, expires_s=expires_s)


def presigned(method: str, bucket: Bucket, path: str, *, at: datetime, expires_s: int) -> str:
    """`path` begins below the store's URL, not yet quoted; one parameter may follow it, quoted,
    whose name comes after `X-Amz`, as small letters do."""
    store = urlsplit(bucket.url)
    host = _host(store.scheme, store.hostname or "", store.port)
    path, _, query = path.partition("?")
    target = quote(store.path.rstrip("/") + path, safe="/~")
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{bucket.region}/s3/aws4_request"
    signed = "&".join(
        f"{name}={quote(value, safe='~')}"
        for name, value in (  # in the order of their names, as the rule wants it
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{bucket.access_key}/{scope}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires_s)),
            ("X-Amz-SignedHeaders", "host"),
        )
    )
    query = f"{signed}&{query}" if query else signed
    request = f"{method}\n{target}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_key(bucket, stamp[:8]), text.encode(), "sha256").hex()
    return f"{store.scheme}://{host}{target}?{query}&X-Amz-Signature={signature}"


def _key(bucket: Bucket, day: str) -> bytes:
    key = f"AWS4{bucket.secret_key}".encode()
    for word in (day, bucket.region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def _host(scheme: str, name: str, port: int | None) -> str:
    """As a client says it in its Host header."""
    shown = f"[{name}]" if ":" in name else name
    return shown if port in (None, _PORTS.get(scheme)) else f"{shown}:{port}"
