# SPDX-License-Identifier: Apache-2.0
"""Errors as answers: each class of `domain/errors.py` has one status, said here alone.

The body is the wire contract's. A bug shows its request id and nothing of the program; what the
operator needs goes to the log.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Conflict,
    Forbidden,
    Incompatible,
    Invalid,
    Malformed,
    NotAuthenticated,
    NotFound,
    OverQuota,
    Refused,
    Throttled,
    TooLarge,
    TooSlow,
    Unavailable,
    UnknownEncoding,
    Unprocessable,
)
from colonnade.store.queue.user_messages import for_users

# Looked up along the class hierarchy: the nearest class in this table counts.
STATUS: Final[Mapping[type[BaseException], int]] = {
    Invalid: 400,
    Refused: 400,
    NotAuthenticated: 401,
    Forbidden: 403,
    OverQuota: 403,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    UnknownEncoding: 415,
    Unprocessable: 422,
    Throttled: 429,
    Broken: 500,
    ColonnadeError: 500,
    Incompatible: 501,
    Unavailable: 503,
}
UNAVAILABLE_S: Final = 1.0
CHALLENGE: Final = 'X-Auth-Token realm="colonnade", Bearer realm="colonnade"'


def status_of(error: ColonnadeError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fault(error: ColonnadeError) -> tuple[int, bytes]:
    if isinstance(error, NotAuthenticated):
        return 401, unauthorized_body(error.public)
    text = error.public
    if isinstance(error, Invalid) and error.field:
        text = f"Validation failure: {text}"
    elif isinstance(error, Unavailable | Broken):
        text = for_users(text)
    status = status_of(error)
    return status, fault_body(status, text)


def headers_of(error: ColonnadeError) -> dict[str, str]:
    """What an error says beside its body: when to ask again, and how to say who one is."""
    if isinstance(error, NotAuthenticated):
        return {"www-authenticate": error.challenge or CHALLENGE}
    if isinstance(error, Throttled):
        return {"retry-after": str(max(1, math.ceil(error.after_s)))}
    if isinstance(error, Unavailable):
        return {"retry-after": f"{UNAVAILABLE_S:.0f}"}
    # The rest of the body may still come, and must not be read as the next request.
    return {"connection": "close"} if isinstance(error, TooSlow | Malformed) else {}


def fault_body(status: int, text: str) -> bytes:
    side = "Client" if status < 500 else "Server"
    return msgspec.json.encode({"faultcode": side, "faultstring": text, "debuginfo": None})


def framework_body(status: int, text: str = "") -> bytes:
    """For what is refused before any handler: unknown paths and methods."""
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(
        {"message": text or title, "code": f"{status} {title}", "title": title}
    )


def unauthorized_body(text: str) -> bytes:
    """In the form of Keystone's middleware, which clients with tokens expect."""
    return msgspec.json.encode({"error": {"code": 401, "title": "Unauthorized", "message": text}})


def unacceptable_body(request_id: str) -> bytes:
    return msgspec.json.encode(
        {
            "errors": [
                {
                    "status": 406,
                    "title": "Not Acceptable",
                    "detail": "Only content type application/json is accepted.",
                    "request_id": request_id,
                }
            ]
        }
    )
