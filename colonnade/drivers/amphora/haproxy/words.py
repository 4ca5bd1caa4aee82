# SPDX-License-Identifier: Apache-2.0
"""Texts that may stand in haproxy's file. A template can print nothing else.

Every `Word` was made by one of the functions here, and each either proves that its text fits a
grammar or quotes it so that haproxy reads one argument. So no text of a user can end a line or
begin a directive, whatever a template does with it. Knows no listener and no pool.
"""

import re
import string
from ipaddress import IPv4Address, ip_address
from typing import Final
from urllib.parse import quote

from colonnade.domain.errors import Invalid, require
from colonnade.domain.limits import HAPROXY_TIMEOUT_MS_MAX
from colonnade.domain.pools import is_host_name

NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,255}", re.ASCII)
# RFC 6265: a token; without the apostrophe, a quote to both of haproxy's parsers on the way.
COOKIE: Final = re.compile(r"[!#$%&*+.^_`|~A-Za-z0-9-]{1,255}", re.ASCII)
CODES: Final = re.compile(r"[1-5]\d\d(,[1-5]\d\d)*|[1-5]\d\d-[1-5]\d\d", re.ASCII)
METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH")
)
# RFC 9110, 5.6.2. It has the apostrophe, which `quoted` takes care of.
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]{1,255}", re.ASCII)
URL_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F))
PLAIN: Final = frozenset((string.ascii_letters + string.digits + " .,:;-_/<>=").encode())
PATH_SAFE: Final = "/%?&=:;@,+!$'()*~._-[]"


class Word(str):
    """Text that cannot break out of the place where a template prints it."""

    __slots__ = ()

    def __html__(self) -> str:
        """Printed as it is: Jinja's way of saying that a text is safe."""
        return self


def name(text: str) -> Word:
    """An id, or ids joined by colons. Not for a user's own text: an odd one is our bug."""
    assert NAME.fullmatch(text), "not a name"
    return Word(text)


def endpoint(host: str, port: int) -> Word:
    """`10.0.0.5:80`, or `[2001:db8::5]:80`."""
    return Word(f"{address(host)}:{int(port)}")


def address(text: str) -> Word:
    """An address as it stands in a URL: of version 6 in brackets. A scope (`fe80::1%eth0`) is
    refused: it is any text at all, and means nothing on another machine."""
    found = ip_address(text)
    require("address", "%" not in text, "must not have a scope")
    return Word(str(found) if isinstance(found, IPv4Address) else f"[{found}]")


def milliseconds(amount: int) -> Word:
    return Word(f"{min(max(int(amount), 0), HAPROXY_TIMEOUT_MS_MAX)}ms")


def quoted(text: str) -> Word:
    """One argument to haproxy, whatever is in the text. Control characters are refused."""
    require("text", text.isprintable(), "has characters that cannot be printed")
    return Word("'" + text.replace("'", "'\\''") + "'")


def escaped(text: str) -> str:
    """Text in which haproxy, where it reads a format, finds nothing to fill in. Not yet quoted."""
    return text.replace("%", "%%")


def formatted(text: str) -> Word:
    """One argument that haproxy reads as a format, and prints as the text."""
    return quoted(escaped(text))


def header_value(text: str) -> Word:
    """haproxy sets no empty header."""
    require("rewrite", text != "", "sets a header to an empty value: remove it instead")
    return formatted(text)


def header(text: str) -> Word:
    _fitting("header", text, "is no name of a header", TOKEN.fullmatch(text) is not None)
    return quoted(text)


def fetch(function: str, argument: str, converters: str = "") -> Word:
    """`req.hdr("Accept")`: a function of haproxy's with an argument of the user's, who is held to
    a token, in which nothing closes the inner quotes."""
    _fitting("key", argument, "is not a token", TOKEN.fullmatch(argument) is not None)
    return quoted(f'{function}("{argument}"){converters}')


def body(text: str) -> Word:
    """Any bytes but NUL, each one escaped, so that nothing in them is read."""
    require("body", "\0" not in text, "has a NUL")
    try:
        octets = text.encode()
    except UnicodeEncodeError as error:
        raise Invalid("body is not text", field="body") from error
    return Word('"' + "".join(_octet(octet) for octet in octets) + '"')


def ascii_url(text: str) -> str:
    """The URL with what is not ASCII percent-encoded."""
    return quote(text, safe=URL_SAFE)


def url_path(text: str) -> Word:
    """The target of a request: what RFC 3986 does not allow is percent-encoded, and a fragment
    is not sent (RFC 9110, 7.1)."""
    require("url_path", text.startswith("/"), "must begin with /")
    require("url_path", text.isprintable() and " " not in text, "has spaces or control characters")
    return quoted(quote(text.partition("#")[0], safe=PATH_SAFE))


def method(text: str) -> Word:
    return _fitting("http_method", text, "is not an HTTP method", text in METHODS)


def host(text: str) -> Word:
    """Without the dot at its end, which servers do not expect in a Host header."""
    return _fitting("domain_name", text.rstrip("."), "is not a host name", is_host_name(text))


def cookie(text: str) -> Word:
    fits = COOKIE.fullmatch(text) is not None
    _fitting("cookie_name", text, "has characters that a cookie's name cannot have", fits)
    return quoted(text)


def status_codes(text: str) -> Word:
    """`200`, `200,202` or `200-204`, as haproxy's `expect status` reads them too."""
    rule = "must be a code, a list (200,202) or a range (200-204)"
    text = "".join(text.split(" "))
    word = _fitting("expected_codes", text, rule, CODES.fullmatch(text) is not None)
    first, _, last = text.partition("-")
    if last and int(first) > int(last):
        raise Invalid(f"expected_codes {rule}, lowest first", field="expected_codes")
    return word


def _fitting(field: str, text: str, rule: str, fits: bool) -> Word:
    require(field, fits, rule)
    return Word(text)


def _octet(octet: int) -> str:
    return chr(octet) if octet in PLAIN else f"\\x{octet:02x}"
