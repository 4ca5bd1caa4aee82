# SPDX-License-Identifier: Apache-2.0
"""A URL that puts one object into a container of OpenStack Swift, for some minutes.

https://docs.openstack.org/swift/latest/api/temporary_url_middleware.html, with SHA-256. Pure:
the clock is the caller's. The key is the account's or the container's `Temp-URL-Key`.
"""

import hmac
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

_DIGEST: Final = "sha256"


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the account's: `https://swift.example.org/v1/AUTH_1234`."""

    url: str
    name: str
    key: str

    def __repr__(self) -> str:
        return f"Container(url={self.url!r}, name={self.name!r})"


def temporary_put(container: Container, key: str, *, at: datetime, expires_s: int) -> str:
    account = urlsplit(container.url)
    path = f"{account.path.rstrip('/')}/{container.name}/{key}"
    expires = int(at.timestamp()) + expires_s
    signature = temporary("PUT", path, expires, container.key)
    query = f"temp_url_sig={signature}&temp_url_expires={expires}"
    return f"{account.scheme}://{account.netloc}{quote(path, safe='/~')}?{query}"


def temporary(method: str, path: str, expires: int, key: str) -> str:
    """The signature of one method on one path, as it is before it is quoted."""
    return hmac.digest(key.encode(), f"{method}\n{expires}\n{path}".encode(), _DIGEST).hex()
