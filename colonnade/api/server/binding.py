# SPDX-License-Identifier: Apache-2.0
"""Where the API may listen, and whether it can. Small, so that a supervisor can ask before it
starts anything; the API asks again when it starts.
"""

from typing import Final

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Broken
from colonnade.runtime.config import NO_AUTH, Api
from colonnade.runtime.sockets import is_loopback, tcp_listener

WORKERS_MAX: Final = 64


def check_address(api: Api) -> None:
    """Raises Broken for an address where this API must not or cannot listen."""
    if api.auth == NO_AUTH and not is_loopback(api.host):
        raise Broken(
            f"auth 'none' lets in everybody who reaches the API, so it listens on loopback alone, "
            f'and {api.host} is not loopback: set auth = "token" in the section [api], or '
            "listen on 127.0.0.1"
        )
    if not 1 <= api.workers <= WORKERS_MAX:
        raise Broken(f"there are 1 to {WORKERS_MAX} workers, not {api.workers}")
    try:
        tcp_listener(api.host, api.port).close()
    except OSError as error:
        raise Broken(
            f"cannot listen on {address_of(api)}: {error.strerror}; choose another address or port"
        ) from error


def address_of(api: Api) -> str:
    """HOST:PORT, as a URL has it."""
    return endpoint(api.host, api.port)
