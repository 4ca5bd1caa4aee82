# SPDX-License-Identifier: Apache-2.0
"""A file of sites, "example.com: 10.0.0.5:8080", as the document of one load balancer.

What is not said is as most would have it: HTTPS with a certificate that the system orders, and port
80 that sends everybody there. The document is a plain one: who wants more prints it and goes on
with `apply`. Nothing here speaks to an endpoint.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from colonnade.cli.documents.document import KIND, Document
from colonnade.cli.documents.files import line_of
from colonnade.domain.addresses import is_address
from colonnade.domain.errors import Invalid
from colonnade.domain.ordering import read_host_names

WORDS: Final = ("members", "also", "https", "check")
HTTP, HTTPS = 80, 443
_MEMBER: Final = re.compile(r"(?:http://)?(?:\[([^\]]+)\]|([^:\[\]/]+)):(\d{1,5})/?")
_FORWARDED: Final = {"X-Forwarded-For": "true", "X-Forwarded-Proto": "true"}
_MONITOR: Final = {"delay": 5, "timeout": 3, "max_retries": 2}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[str, ...]  # the first one names the site, its pool and its secret
    members: tuple[tuple[str, int], ...]
    https: bool = True
    check: str = ""  # the path that members are asked for; "": only whether they accept

    @property
    def name(self) -> str:
        return self.names[0]


def read_sites(found: Sequence[Any], where: str) -> list[Site]:
    """Raises Invalid with the line of what cannot be, and what to write."""
    if len(found) != 1 or not isinstance(found[0], dict) or not found[0]:
        raise Invalid(f"{where} must have lines such as `example.com: 10.0.0.5:8080`")
    sites = [_read(str(name), said, where, found[0]) for name, said in found[0].items()]
    names = [name for site in sites for name in site.names]
    for site in sites:
        for name in site.names:
            if names.count(name) > 1:
                raise Invalid(f"{where}{line_of(found[0], site.name)}: {name} stands there twice")
    return sites


def document(name: str, subnet: str, sites: Sequence[Site]) -> Document:
    """What `apply` takes. Each site with HTTPS refers to the secret of its name."""
    secure = [site for site in sites if site.https]
    plain = [site for site in sites if not site.https]
    listeners = [_http(secure, plain)] + ([_https(secure)] if secure else [])
    return {
        "kind": KIND,
        "name": name,
        "vip_subnet": subnet,
        "listeners": listeners,
        "pools": [_pool(site) for site in sites],
    }


def _read(name: str, said: Any, where: str, file: Any) -> Site:
    place = f"{where}{line_of(file, name)}"
    if isinstance(said, str | list):
        said = {"members": said}
    if not isinstance(said, dict):
        raise Invalid(f"{place}: say where {name} leads, such as `{name}: 10.0.0.5:8080`")
    for word in said:
        if word not in WORDS:
            near = get_close_matches(str(word), WORDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(WORDS)}"
            at = line_of(said, str(word)) or line_of(file, name)
            raise Invalid(f"{where}{at}: '{word}' is not a word of a site; {hint}")
    also, https, check = said.get("also") or [], said.get("https", True), said.get("check") or ""
    if not isinstance(https, bool):
        raise Invalid(f"{where}{line_of(said, 'https')}: https is yes or no")
    if not isinstance(check, str) or (check and not check.startswith("/")):
        at = line_of(said, "check")
        raise Invalid(f"{where}{at}: check is a path that members answer, such as /health")
    members = said.get("members") or []
    listed = members if isinstance(members, list) else [members]
    if not listed:
        raise Invalid(f"{place}: {name} has no members: say `members: [10.0.0.5:8080]`")
    at = f"{where}{line_of(said, 'members') or line_of(file, name)}"
    others = also if isinstance(also, list) else [also]
    try:
        names = read_host_names([name, *map(str, others)])
    except Invalid as error:
        raise Invalid(f"{place}: {error.public}") from error
    pairs = tuple(_member(one, at) for one in listed)
    return Site(names=names, members=pairs, https=https, check=check)


def _member(said: Any, place: str) -> tuple[str, int]:
    found = _MEMBER.fullmatch(str(said))
    address, port = (found[1] or found[2], int(found[3])) if found else ("", 0)
    if not is_address(address) or not 0 < port < 65_536:
        raise Invalid(
            f"{place}: '{said}' is not a member: give an IP address and a port, such as "
            "10.0.0.5:8080 or [2001:db8::5]:8080"
        )
    return address, port


def _http(secure: Sequence[Site], plain: Sequence[Site]) -> Document:
    """Sites without HTTPS are served; all others are sent there, whoever is not known to the first
    site."""
    policies = [_to_https(site, host) for site in secure for host in site.names]
    policies += [_to_pool(site, host) for site in plain[1:] for host in site.names]
    if not plain:
        rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}
        policies.append({**_to_https(secure[0], ""), "name": "others-to-https", "rules": [rule]})
    listener = {
        "name": "http",
        "protocol": "HTTP",
        "protocol_port": HTTP,
        "insert_headers": _FORWARDED,
        "l7policies": policies,
    }
    return listener | ({"default_pool": plain[0].name} if plain else {})


def _https(secure: Sequence[Site]) -> Document:
    names = [site.name for site in secure]
    listener = {
        "name": "https",
        "protocol": "TERMINATED_HTTPS",
        "protocol_port": HTTPS,
        "insert_headers": _FORWARDED,
        "default_tls_container_ref": names[0],
        "default_pool": names[0],
        "l7policies": [_to_pool(site, host) for site in secure[1:] for host in site.names],
    }
    return listener | ({"sni_container_refs": names[1:]} if names[1:] else {})


def _to_https(site: Site, host: str) -> Document:
    return {
        "name": f"to-https {host}",
        "action": "REDIRECT_PREFIX",
        "redirect_prefix": f"https://{host or site.name}",
        "redirect_http_code": 308,
        "rules": [_asks(host)],
    }


def _to_pool(site: Site, host: str) -> Document:
    return {
        "name": f"to {host}",
        "action": "REDIRECT_TO_POOL",
        "redirect_pool": site.name,
        "rules": [_asks(host)],
    }


def _asks(host: str) -> Document:
    return {"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": host}


def _pool(site: Site) -> Document:
    monitor: Document = {"type": "TCP", **_MONITOR}
    if site.check:
        monitor = {"type": "HTTP", **_MONITOR, "url_path": site.check}
        monitor |= {"http_version": 1.1, "domain_name": site.name}
    return {
        "name": site.name,
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": address, "protocol_port": port} for address, port in site.members],
        "healthmonitor": monitor,
    }


def addresses(shown: Any) -> Iterator[str]:
    """Those of a load balancer as an endpoint shows it."""
    yield str(shown["vip_address"])
    for one in shown.get("additional_vips") or ():
        yield str(one["ip_address"])
