# SPDX-License-Identifier: Apache-2.0
"""One request, as a handler sees it, and the table's row that leads to the handler.

The caller is known before, and the route's rule has decided which objects it may touch: handlers
look at `project` alone. An object made by a caller without a project belongs to `DEFAULT_PROJECT`.
This module knows no noun.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from colonnade.api.http.decoding import read_body, read_flag, read_list
from colonnade.api.http.open_requests import OpenRequests
from colonnade.api.http.request_counts import RequestCounts
from colonnade.api.identity.caller import Caller, Identity
from colonnade.api.identity.hosts import Hosts
from colonnade.api.identity.policy import Policy
from colonnade.api.identity.rates import Rates
from colonnade.api.identity.rules import DefaultPolicy
from colonnade.api.identity.trusting import Trusting
from colonnade.domain.errors import POLICY, Forbidden, Incompatible, NotFound, Refused
from colonnade.domain.fleet import Topology
from colonnade.domain.ids import ProjectId, read_id
from colonnade.domain.pools import Member
from colonnade.domain.shape import OF_TYPE, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.webhooks import Reach
from colonnade.drivers.network.protocol import NetworkDriver, Taken
from colonnade.drivers.secrets.database import Seal
from colonnade.drivers.secrets.key_manager import KeyManager
from colonnade.providers.provider import Providers
from colonnade.providers.shared_addresses import check_free
from colonnade.runtime.config import Acme, Quotas
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database
from colonnade.store.requests.context import Key, RequestContext
from colonnade.store.trees import current, edits, records
from colonnade.store.trees.records import Record
from colonnade.store.trees.remembered import Known

T = TypeVar("T", bound=msgspec.Struct)
JSON: TypeAlias = Any

BODY_S_MAX: Final = 20.0  # for all of a body to come
DEFAULT_PROJECT: Final = ProjectId("default")
NOUNS: Final[Mapping[str, Noun]] = {f"{table.one}_id": table for table in OF_TYPE.values()}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What handlers need beside the request: one for each process."""

    database: Database
    providers: Providers
    default_topology: Topology = Topology.SINGLE  # where no flavor says
    network: NetworkDriver | None = None
    identity: Identity = msgspec.field(default_factory=Trusting)
    policy: Policy = msgspec.field(default_factory=DefaultPolicy)
    hosts: Hosts = msgspec.field(default_factory=lambda: Hosts(None))
    open_requests: OpenRequests = msgspec.field(default_factory=OpenRequests)
    counts: RequestCounts | None = None  # None: nobody asks how many requests there were
    rates: Rates = msgspec.field(default_factory=lambda: Rates(0))
    body_s_max: float = BODY_S_MAX
    quotas: Quotas = Quotas()  # of projects that have none of their own
    rules: Rules = Rules()  # of silence, as it is configured
    seal: Seal | None = None  # None: nothing secret is kept
    reach: Reach = Reach()  # which addresses webhooks may have
    key_manager: KeyManager | None = None  # where references may lead beside our own store
    acme: Acme = Acme()  # from whom certificates are ordered

    def sealing(self) -> Seal:
        """Raises Incompatible where nothing secret is kept."""
        if self.seal is None:
            raise Incompatible("This service stores no secrets: it has no master key.")
        return self.seal


class Call(msgspec.Struct, frozen=True, kw_only=True):
    site: Site
    project: ProjectId | None  # whose objects may be touched; None: anybody's
    caller: Caller = Caller()
    places: Mapping[str, str]  # the ids in the path
    query: Mapping[str, list[str]]
    path: str = ""  # as it was asked for
    base: str = ""  # scheme and host, as the caller sees them
    raw: bytes = b""
    headers: Mapping[str, str] = {}
    key: Key | None = None  # under which this request may be repeated
    is_dry_run: bool = False  # nothing is to be kept
    seen: frozenset[str] = frozenset()  # secrets of a key manager that the caller may read
    again: bool = False  # tried again: another request changed the tree first

    def id(self, name: str) -> str:
        """An id from the path. What is no id names nothing."""
        try:
            return read_id(self.places[name])
        except ValueError as error:
            words = name.removesuffix("_id").replace("_", " ")
            noun = NOUNS[name].noun if name in NOUNS else words.title()
            raise NotFound(f"{noun} {self.places[name]} not found.") from error

    def flag(self, name: str) -> bool:
        """False where it is not said. Raises Invalid for a word that is neither yes nor no."""
        return read_flag(name, self.query.get(name, [""])[-1])

    def body(self, kind: type[T], wrapper: str) -> T:
        return read_body(self.raw, kind, wrapper)

    def body_list(self, kind: type[T], wrapper: str) -> list[T]:
        return read_list(self.raw, kind, wrapper)

    def owner(self, asked: str | None) -> ProjectId:
        """Who owns what is created now. Raises Forbidden for another's project."""
        if asked and self.project is not None and asked != self.project:
            raise Forbidden(POLICY)
        return ProjectId(asked) if asked else self.caller.project or DEFAULT_PROJECT

    @asynccontextmanager
    async def editing(self, table: Noun, object_id: str) -> AsyncIterator[edits.Edit]:
        database, review = self.site.database, self.site.providers
        taken = await self._taken(table, object_id)
        async with edits.editing(
            database, table, object_id, project=self.project, review=review, again=self.again
        ) as edit:
            edit.defaults = self.site.quotas
            edit.context = self.context
            yield edit
            if edit.after is not None:
                check_free(edit.before, edit.after, taken)

    async def _taken(self, table: Noun, object_id: str) -> Sequence[Taken]:
        """Asked before any row is held. VIPs stay, so what is remembered of the tree will do."""
        known = await current.look(
            self.site.database, table, object_id, project=self.project, fresh=False
        )
        return await self.site.providers.taken(known.tree.provider, known.tree.vips)

    async def look(self, table: Noun, object_id: str) -> Known:
        """The tree that the object is part of, before it is changed."""
        project = self.project
        return await current.look(self.site.database, table, object_id, project=project, fresh=True)

    async def check_members(
        self, table: Noun, object_id: str, wished: Callable[[LoadBalancer], Iterable[Member]]
    ) -> None:
        """Ask the provider of members before the tree is changed, for that may take long, and
        whoever else changes the tree would wait. What `wished` refuses is left to the change."""
        database, project = self.site.database, self.project
        known = await current.look(database, table, object_id, project=project, fresh=False)
        try:
            members = list(wished(known.tree))
        except Refused:
            return
        tree = known.tree
        await self.site.providers.check_members(
            tree.provider, members, tree.subnets, token=self.caller.token
        )

    @property
    def reader(self) -> tuple[str | None, str]:
        """Who holds this request open: the project, and which of its callers (in mode `token`
        that names the token)."""
        return self.caller.project, self.caller.user

    @property
    def context(self) -> RequestContext:
        """What the store records of this request and its caller."""
        return RequestContext(
            project=self.caller.project or "",
            user=self.caller.user,
            key=self.key,
            is_dry_run=self.is_dry_run,
            seen=self.seen if self.site.key_manager is not None else None,
        )

    async def check(self, table: Noun, object_id: str) -> None:
        """Raises NotFound, Forbidden."""
        async with self.site.database.read() as connection:
            await records.check(connection, table, object_id, project=self.project)

    async def record(self, table: Noun, object_id: str) -> Record[Any]:
        async with self.site.database.read() as connection:
            return await records.get(connection, table, object_id, project=self.project)


Handler: TypeAlias = Callable[[Call], Awaitable[JSON]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: what leads where, what it takes, what success is called."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    success: int = 200
    summary: str = ""
    operation: str = ""  # in the OpenAPI document, where it is not the handler's name
    takes: type[msgspec.Struct] | None = None
    wrapper: str = ""
    query: tuple[str, ...] = ()
    rule: str = ""  # the policy rule that decides who may: "os_load-balancer_api:pool:post"
    # Rules that must hold too, each unless the flag of that name is in the query ("": always).
    more_rules: Mapping[str, str] = {}
    vouched: bool = False  # whoever may ask need not see the secrets that are named
    guarded: tuple[str, ...] = ()  # attributes whose use has a rule of its own: "<rule>:<name>"
    media_type: str = "application/json"
    answers: Any = None  # the type of what success answers, for the OpenAPI document
    example: Any = None  # of what it takes, inside its wrapper
