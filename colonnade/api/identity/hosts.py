# SPDX-License-Identifier: Apache-2.0
"""By which names this API may be called, where it trusts whoever reaches it.

A page of another site can have its own name lead to this machine (DNS rebinding). Its reader's
browser then sends that name in `Host`, and it is refused. Knows no caller.
"""

from collections.abc import Collection, Iterable

from colonnade.domain.errors import Forbidden, Invalid
from colonnade.runtime.sockets import is_loopback


class Hosts:
    def __init__(self, allowed: Collection[str] | None) -> None:
        """`allowed`: names beside those of loopback. None: any name, for callers prove who they
        are."""
        self._allowed = None if allowed is None else {_plain(name) for name in allowed}

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Forbidden for a name that is not this API's, Invalid for several."""
        named = [value for name, value in headers if name == b"host"]
        if len(named) > 1:
            raise Invalid("A request has one Host header, not several.")
        if self._allowed is None or not named:
            return
        text = named[0].decode("latin-1")
        name = _plain(_without_port(text))
        if name not in self._allowed and not _is_local(name):
            raise Forbidden(
                f"This API is not called '{text[:100]}'. Call it by a name of loopback, or name "
                "that one in api.allowed_hosts."
            )


def _without_port(text: str) -> str:
    """Of "name:port" and "[address]:port" (RFC 9110, 7.2)."""
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]


def _plain(name: str) -> str:
    return name.strip().strip("[]").removesuffix(".").lower()


def _is_local(name: str) -> bool:
    return is_loopback(name) or name.endswith(".localhost")
