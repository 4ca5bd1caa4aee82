# SPDX-License-Identifier: Apache-2.0
"""As many requests as come back: some connections, on each the next request after the answer.

`python -m bench.closed_loop HOST PORT SECONDS CONNECTIONS keep|fresh` prints requests a second
and latencies as one JSON line. `fresh` is a connection for each request. Port 443 and 8443 are
TLS; certificates are not verified, for no figure is about that. Only the standard library.
"""

import asyncio
import json
import ssl
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
TLS_PORTS = (443, 8443)
ANSWER_BYTES_MAX = 65536
WARM_UP_SHARE = 0.2


class Asking(asyncio.Protocol):
    """One connection. `took` gets the seconds of each request; `again` is told when it closed."""

    def __init__(self, took: list[float], *, keep: bool) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._took = took
        self._keep = keep
        self._answer = b""
        self._began = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._end(ConnectionError(head[:60].decode(errors="replace")))
        elif len(body) >= _length(head):
            now = time.perf_counter()
            self._took.append(now - self._began)
            self._began, self._answer = now, b""
            if self._keep:
                self._transport.write(REQUEST)
            else:
                self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("hung up"))

    def _end(self, error: Exception | None) -> None:
        self._transport.close()
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


async def asked(
    place: tuple[str, int], seconds: float, connections: int, *, keep: bool
) -> dict[str, float]:
    """Raises OSError when any request fails."""
    loop = asyncio.get_running_loop()
    context = _context() if place[1] in TLS_PORTS else None
    took: list[float] = []
    ends = loop.time() + seconds

    async def client() -> None:
        while loop.time() < ends:
            began = time.perf_counter()
            _, one = await loop.create_connection(
                lambda: Asking(took, keep=keep), *place, ssl=context
            )
            if keep:
                await asyncio.wait((one.over,), timeout=ends - loop.time())
                if one.over.done():
                    one.over.result()
            else:
                await one.over
                took[-1] = time.perf_counter() - began  # with the time to connect

    await asyncio.gather(*(client() for _ in range(connections)))
    whole = len(took)
    took = sorted(took[int(whole * WARM_UP_SHARE) :])
    return {
        "requests": whole,
        "per_s": whole / seconds,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
    }


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


if __name__ == "__main__":
    host, port, seconds, connections, way = sys.argv[1:]
    found = asked((host, int(port)), float(seconds), int(connections), keep=way == "keep")
    print(json.dumps(asyncio.run(found)))
