# SPDX-License-Identifier: Apache-2.0
"""How a listener's access log is written: the two formats, as haproxy's `log-format`s.

Each line begins with the listener's id, by which the agent sorts it. What a client may choose
goes through haproxy's `json` converter, so that a line is one line, and valid JSON where it
says so, whatever was asked for. Texts are cut so that a line always fits into a datagram. Knows
no target.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from colonnade.domain.listeners import AccessLog, Listener
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import LogFormat
from colonnade.drivers.amphora.haproxy import words
from colonnade.drivers.amphora.haproxy.words import Word

LINE_BYTES_MAX: Final = 16384  # six bytes for each of a client's, and room for the rest
TEXT_BYTES_MAX: Final = 256
# Kept while the request is there; the log is written when it has gone.
CAPTURED: Final = {
    "txn.log_host": "req.hdr(host)",
    "txn.log_agent": "req.hdr(user-agent)",
    "txn.log_referer": "req.hdr(referer)",
}


class AccessLogView(msgspec.Struct, frozen=True, kw_only=True):
    line: Word  # of a request or connection
    error_line: Word  # of what never became one
    captures: tuple[Word, ...]  # "set-var(...) ...": empty but for HTTP
    bytes_max: int = LINE_BYTES_MAX


def access_log(listener: Listener, tree: LoadBalancer, *, http: bool) -> AccessLogView | None:
    """The listener's own setting or else its load balancer's. None: nothing is logged."""
    wish = wished(listener, tree)
    if wish is None:
        return None
    lines = _JSON if wish.format is LogFormat.JSON else _COMBINED
    name = words.name(listener.id)
    captures = tuple(
        Word(f"set-var({variable}) {source},bytes(0,{TEXT_BYTES_MAX})")
        for variable, source in CAPTURED.items()
    )
    return AccessLogView(
        line=Word(f"'{name} {lines['http' if http else 'tcp']}'"),
        error_line=Word(f"'{name} {lines['error']}'"),
        captures=captures if http else (),
    )


def wished(listener: Listener, tree: LoadBalancer) -> AccessLog | None:
    """The setting in force. A listener's setting without a target turns logging off."""
    wish = listener.access_log or tree.access_log
    return wish if wish is not None and wish.target_id is not None else None


def _text(source: str) -> str:
    return f"%[{source},json(utf8s)]"


def _plain(source: str) -> str:
    return rf'%[{source},json(utf8s),regsub("\\\\/","/",g)]'


def _object(fields: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


_ALWAYS: Final = {
    "time": "%Ts.%ms",
    "listener": '"%f"',
    "client": '"%ci"',
    "client_port": "%cp",
}
_SESSION: Final = {
    "bytes_in": "%U",
    "bytes_out": "%B",
    "tls_version": '"%sslv"',
    "tls_cipher": '"%sslc"',
    "sni": f'"{_text("ssl_fc_sni")}"',
    "pool": '"%b"',
    "member": '"%s"',
    "member_address": '"%si"',
    "member_port": '"%sp"',
    "retries": "%rc",
    "termination": '"%ts"',
    "queue_ms": "%Tw",
    "connect_ms": "%Tc",
}
_REQUEST: Final = {
    "method": f'"{_text("capture.req.method")}"',
    "uri": f'"{_text("capture.req.uri")}"',
    "version": f'"{_text("capture.req.ver")}"',
    "host": f'"{_text("var(txn.log_host)")}"',
    "user_agent": f'"{_text("var(txn.log_agent)")}"',
    "referer": f'"{_text("var(txn.log_referer)")}"',
    "status": "%ST",
}
_JSON: Final = {
    "http": _object(
        {**_ALWAYS, **_REQUEST, **_SESSION, "request_ms": "%TR", "response_ms": "%Tr"}
        | {"total_ms": "%Ta"}
    ),
    "tcp": _object({**_ALWAYS, **_SESSION, "total_ms": "%Tt"}),
    "error": _object({**_ALWAYS, "status": "%ST", "error": f'"{_text("fc_err_str")}"'}),
}
# The combined format of web servers (NCSA with referer and agent): the same escapes, but for the
# slash, which needs none and which readers of this format do not expect to have one.
_COMBINED: Final = {
    "http": (
        f'%ci - - [%trg] "{_plain("capture.req.method")} {_plain("capture.req.uri")}'
        f' {_plain("capture.req.ver")}" %ST %B "{_plain("var(txn.log_referer)")}"'
        f' "{_plain("var(txn.log_agent)")}"'
    ),
    "tcp": '%ci - - [%T] "-" - %B "-" "-"',
    "error": '%ci - - [%T] "-" 400 0 "-" "-"',
}
