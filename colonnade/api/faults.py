# SPDX-License-Identifier: Apache-2.0
"""Errors as answers: each class of `domain/errors.py` has one status, said here alone.

The body is the wire contract's. A bug shows its request id and nothing of the program; what the
operator needs goes to the log.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from colonnade.api.words import for_users
from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Conflict,
    Forbidden,
    Incompatible,
    Invalid,
    NotFound,
    OverQuota,
    Refused,
    Unavailable,
)

# Found along the class hierarchy: the most exact class that is named.
STATUS: Final[Mapping[type[BaseException], int]] = {
    Invalid: 400,
    Refused: 400,
    Forbidden: 403,
    OverQuota: 403,
    NotFound: 404,
    Conflict: 409,
    Broken: 500,
    ColonnadeError: 500,
    Incompatible: 501,
    Unavailable: 503,
}


def status_of(error: ColonnadeError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fault(error: ColonnadeError) -> tuple[int, bytes]:
    text = error.public
    if isinstance(error, Invalid) and error.field:
        text = f"Validation failure: {text}"
    elif isinstance(error, Unavailable | Broken):
        text = for_users(text)
    status = status_of(error)
    return status, fault_body(status, text)


def fault_body(status: int, text: str) -> bytes:
    side = "Client" if status < 500 else "Server"
    return msgspec.json.encode({"faultcode": side, "faultstring": text, "debuginfo": None})


def framework_body(status: int, text: str = "") -> bytes:
    """For what is refused before any handler: unknown paths and methods."""
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(
        {"message": text or title, "code": f"{status} {title}", "title": title}
    )


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
