# SPDX-License-Identifier: Apache-2.0
"""One HTTP request to a target, with a body and without any patience.

Redirects are not followed: what was signed for one place is not shown to another. Of an answer
only its status counts, and a few words when it is none of success.
"""

import http.client
import re
from typing import IO, Final
from urllib.parse import urlsplit

from colonnade.agent.logs.connection import TIMEOUT_S, dial, trust
from colonnade.agent.logs.consignment import Failed
from colonnade.protocol.logs import LogPlace

ANSWER_BYTES_MAX: Final = 65536
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")  # how S3 says what went wrong


def send(
    method: str, place: LogPlace, body: bytes | IO[bytes], size: int, headers: dict[str, str]
) -> bytes:
    """The start of the answer's body. Raises Failed, OSError."""
    url = urlsplit(place.url)
    connection = _connection(url.scheme, url.hostname or "", url.port, place.ca)
    target = url.path + (f"?{url.query}" if url.query else "")
    try:
        connection.request(
            method, target, body, {**place.headers, **headers, "Content-Length": str(size)}
        )
        answer = connection.getresponse()
        said = answer.read(ANSWER_BYTES_MAX)
    except http.client.HTTPException as error:
        raise Failed(f"the answer of {url.netloc} is no HTTP: {type(error).__name__}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        code = _CODE.search(said.decode(errors="replace"))
        more = f" ({code[1]})" if code else ""
        raise Failed(f"{url.netloc} answered {answer.status} {answer.reason}{more}")
    return said


def _connection(scheme: str, host: str, port: int | None, ca: str) -> http.client.HTTPConnection:
    if scheme == "https":
        secure = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S)
        secure.sock = trust(ca).wrap_socket(dial(host, port or 443), server_hostname=host)
        return secure
    plain = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    plain.sock = dial(host, port or 80)
    return plain
