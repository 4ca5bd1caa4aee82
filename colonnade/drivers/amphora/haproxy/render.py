# SPDX-License-Identifier: Apache-2.0
"""A cluster's wish as a bundle: haproxy's file, and the servers in it one by one.

Pure but for `Templates.load`, which reads the template folder once. The same wish gives the same
bytes, on any controller. The text is made once with a mark in place of each backend's servers;
with the marks replaced it is the file. A mark holds a NUL, which no `Word` has, so nothing else
can be taken for one. The frame is a digest of the marked text and of what all servers of a
backend share: a new health monitor is one reload, not the exchange of every server.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from markupsafe import Markup

from colonnade.domain.errors import Broken
from colonnade.domain.fleet import Cluster
from colonnade.drivers.amphora.haproxy import words
from colonnade.drivers.amphora.haproxy.firewall import (
    between_amphorae,
    firewall_rules,
    from_routers,
    who_shares,
)
from colonnade.drivers.amphora.haproxy.l7 import RATE_LIMITS_MAX
from colonnade.drivers.amphora.haproxy.sample import SAMPLE
from colonnade.drivers.amphora.haproxy.sections import BackendView, LoadBalancerView
from colonnade.drivers.amphora.haproxy.view import views
from colonnade.drivers.amphora.haproxy.words import Word
from colonnade.protocol import paths
from colonnade.protocol.bundle import (
    BGP,
    LOCAL,
    PAIR,
    ROUTED,
    Backend,
    Bundle,
    Interface,
    Pair,
    Server,
)
from colonnade.protocol.messages import PORT_STICK_TABLES

OUR_TEMPLATES: Final = Path(__file__).parent / "templates"
FILE_TEMPLATE: Final = "haproxy.cfg.j2"
SERVER_TEMPLATE: Final = "server.j2"
MARK: Final = "\0%d\0"


class _Paths(msgspec.Struct, frozen=True, kw_only=True):
    socket: Word
    log_socket: Word
    access_socket: Word
    server_state: Word
    peers_socket: Word


class HalfView(msgspec.Struct, frozen=True, kw_only=True):
    """One half of a pair, or of many, as haproxy finds it to share stick tables."""

    name: Word
    place: Word


class _Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of ours that an operator's template may replace."""

    hard_stop_after: Word = Word("30m")  # old workers end by then, with whatever they hold
    descriptors: int = 200_000
    threads: int = 2
    stick_counters: int = RATE_LIMITS_MAX
    stick_entries: int = 100_000
    stick_expires: Word = Word("30m")


PATHS: Final = _Paths(
    socket=Word(paths.HAPROXY_SOCKET),
    log_socket=Word(paths.HAPROXY_LOG_SOCKET),
    access_socket=Word(paths.HAPROXY_ACCESS_SOCKET),
    server_state=Word(paths.SERVER_STATE),
    peers_socket=Word(paths.HAPROXY_PEERS_SOCKET),
)


class Templates:
    """The compiled templates: the operator's where there is one, else ours."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._file = environment.get_template(FILE_TEMPLATE)
        self._options = environment.get_template(SERVER_TEMPLATE).module.options  # type: ignore[attr-defined]

    @classmethod
    def load(cls, operators: Path | None = None) -> "Templates":
        """Read and compile all. Raises Broken, naming the file and line, when one does not do."""
        folders = [OUR_TEMPLATES] if operators is None else [operators, OUR_TEMPLATES]
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            finalize=_only_words,
            autoescape=True,  # words are safe; what a macro returns is too
            auto_reload=False,
            keep_trailing_newline=True,
        )
        environment.globals.update(paths=PATHS, tuning=_Tuning())
        try:
            for name in environment.list_templates(extensions=("j2",)):
                environment.get_template(name)
            templates = cls(environment)
            templates.try_out()
        except jinja2.TemplateSyntaxError as wrong:
            place = f"{wrong.filename or wrong.name}, line {wrong.lineno}"
            raise Broken(f"the haproxy template {place}: {wrong.message}") from wrong
        except (jinja2.TemplateError, AttributeError, TypeError) as wrong:
            where = f" in {operators}" if operators is not None else ""
            raise Broken(f"the haproxy templates{where} do not work: {wrong}") from wrong
        return templates

    def try_out(self) -> None:
        """Print every feature once, so that a misspelt name shows now and not at a failover."""
        for pair in (None, Pair(own="192.0.2.1", peer="192.0.2.2", priority=1)):
            render(SAMPLE, (), self, pair)

    def file(self, load_balancers: Sequence[LoadBalancerView], sharing: Sequence[str]) -> str:
        halves = tuple(_halves(sharing))
        return self._file.render(load_balancers=load_balancers, halves=halves)

    def options(self, backend: BackendView, member: Any) -> str:
        return " ".join(str(self._options(backend, member)).split())


def render(
    wanted: Cluster,
    interfaces: Sequence[Interface],
    templates: Templates,
    pair: Pair | None = None,
) -> Bundle:
    """The bundle of this wish, for an amphora alone or for one half of a pair. Raises Broken when a
    template lost the servers, or Invalid when the tree has a text that no objection let pass."""
    served = views(wanted)
    sharing = who_shares(interfaces, pair)
    bundle = Bundle(
        generation=wanted.generation,
        look=wanted.look,
        config="",
        frame="",
        interfaces=tuple(interfaces),
        access=(*between_amphorae(pair, sharing), *from_routers(interfaces)),
        pair=pair,
        needs=tuple(_needs(interfaces, pair)),
    )
    if not served:
        return bundle
    marked, shown = _marked(served)
    text = templates.file(marked, sharing)
    backends = tuple(_backend(view, templates) for view in shown)
    return msgspec.structs.replace(
        bundle,
        config=_with_servers(text, backends),
        frame=_frame(text, marked),
        backends=backends,
        access=(*firewall_rules(wanted), *bundle.access),
    )


def _needs(interfaces: Sequence[Interface], pair: Pair | None) -> Iterator[str]:
    if pair is not None:
        yield PAIR
    if any(interface.mac == LOCAL for interface in interfaces):
        yield ROUTED
    if any(interface.hearers for interface in interfaces):
        yield BGP


def _halves(sharing: Sequence[str]) -> Iterator[HalfView]:
    """The one itself first. Each has the same name in the files of the others."""
    for text in sharing:
        yield HalfView(
            name=words.name(f"half-{ip_address(text).packed.hex()}"),
            place=words.endpoint(text, PORT_STICK_TABLES),
        )


def server_line(server: Server) -> str:
    """One server of haproxy's file. `add server` takes the same words, but for the state."""
    state = "" if server.enabled else " disabled"
    return (
        f"    server {server.name} {server.address} weight {server.weight} {server.options}{state}"
    )


def _marked(
    served: Sequence[LoadBalancerView],
) -> tuple[tuple[LoadBalancerView, ...], list[BackendView]]:
    """The views with a mark in place of each backend's servers, and the backends by mark."""
    shown: list[BackendView] = []
    marked = []
    for view in served:
        backends = []
        for backend in view.backends:
            mark = Word(MARK % len(shown))
            backends.append(msgspec.structs.replace(backend, servers=mark))
            shown.append(backend)
        marked.append(msgspec.structs.replace(view, backends=tuple(backends)))
    return tuple(marked), shown


def _frame(text: str, marked: Sequence[LoadBalancerView]) -> str:
    shared = [
        msgspec.structs.replace(backend, members=(), drain_seconds=0, own=None)
        for view in marked
        for backend in view.backends
    ]
    return sha256(text.encode() + msgspec.json.encode(shared, enc_hook=str)).hexdigest()


def _backend(view: BackendView, templates: Templates) -> Backend:
    return Backend(
        name=str(view.name),  # plain text: a bundle travels, and a Word does not
        servers=tuple(
            Server(
                name=str(member.name),
                address=str(member.address),
                weight=member.weight,
                enabled=member.enabled,
                options=templates.options(view, member),
                drain_seconds=view.drain_seconds,
            )
            for member in view.members
        ),
    )


def _with_servers(text: str, backends: Sequence[Backend]) -> str:
    parts = text.split("\0")
    if parts[1::2] != [str(number) for number in range(len(backends))]:
        raise Broken("a haproxy template does not print the servers of each backend once")
    for number, backend in enumerate(backends):
        parts[2 * number + 1] = "\n".join(map(server_line, backend.servers))
    return "".join(parts)


def _only_words(value: Any) -> Any:
    """What a template may print. Anything else never went through `words`: a bug, not a text."""
    if isinstance(value, Word | Markup | jinja2.Undefined) or type(value) is int:
        return value
    raise TypeError(f"a template printed a {type(value).__name__}, which is not a checked word")
