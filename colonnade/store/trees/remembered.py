# SPDX-License-Identifier: Apache-2.0
"""Trees as this process last read or wrote them, so that a change need not load its tree again.

A tree is remembered with its generation and the version of its root's row. The statement that
writes the next change compares both, so a tree that is stale costs another try and is never
written on. Writers of one tree in one process take turns here, not at the row. The memory is
bounded by the number of objects; the tree that was not used for longest goes first. Asks the
database nothing.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec
from msgspec.structs import replace

from colonnade.domain.shape import BELOW, L7RULES, MEMBERS
from colonnade.domain.tree import LoadBalancer
from colonnade.store.catalogue.quotas import Row
from colonnade.store.postgres.database import Database
from colonnade.store.rows.difference import Difference, difference, places

UNASKED: Final = (MEMBERS, L7RULES)  # changed by the names of their parents
OBJECTS_MAX: Final = 50_000  # of all trees together: some 25 MB
LOOKS: Final = 8  # at a tree that another process wrote, before it is this one's alone again

# What changes with each write of a load balancer's row, whoever writes it and with whatever
# release, and is never the same again: not after a restore, nor on a promoted copy.
_WRITTEN: Final = "concat({by}, '@', extract(epoch FROM pg_postmaster_start_time()))"
NEXT_VERSION: Final = _WRITTEN.format(by="pg_current_xact_id()::xid")


def version_of(row: str) -> str:
    return _WRITTEN.format(by=f"{row}.xmin")


VERSION: Final = version_of("lb")


class Issue(msgspec.Struct, frozen=True):
    """What a tree lacks to be served. `path` begins with the object's plural and id."""

    path: str
    reason: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tree, and what tells whether it still is what is stored."""

    tree: LoadBalancer
    generation: int
    version: str
    issues: Sequence[Issue] | None = None  # as they are stored; None: nobody looked
    quota: Row | None = None  # the project's own, when it was last looked at
    looks: int = 0  # so often it is yet looked at before it is written: others write it too
    objects: int = 0  # how many it is made of; counted as it is kept


class Remembered:
    def __init__(self, objects_max: int) -> None:
        self._objects_max = objects_max
        self._objects = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._roots: dict[str, str] = {}  # by object; without those that nobody asks for
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, object_id: str) -> asyncio.Lock:
        """Held by whoever changes the tree that the object is part of, first come, first served."""
        return self._turns.setdefault(self._roots.get(object_id, object_id), asyncio.Lock())

    def find(self, object_id: str) -> Known | None:
        """The tree that the object was part of. It may be stale."""
        root_id = self._roots.get(object_id)
        if root_id is None:
            return None
        self._known.move_to_end(root_id)
        return self._known[root_id]

    def keep(self, known: Known) -> None:
        """What has just been read under the row's lock, or made."""
        root_id, last = known.tree.id, self._known.get(known.tree.id)
        if last is None:
            known = replace(known, objects=1 + len(places(known.tree)))
            self._objects += known.objects
            self._roots |= dict.fromkeys((root_id, *ids_asked_for(known.tree)), root_id)
            self._put(known)
        else:
            self.advance(last, known, difference(last.tree, known.tree))

    def advance(self, before: Known, after: Known | None, found: Difference) -> None:
        """What has just been written; None: the tree is deleted."""
        root_id, last = before.tree.id, self._known.get(before.tree.id)
        if after is None or last is None or last.tree is not before.tree:
            self.forget(root_id)
            return
        grown = len(found.added) - len(found.removed)
        self._objects += grown
        for place in found.removed:
            self._roots.pop(place.id, None)
        self._roots |= {p.id: root_id for p in found.added if p.table not in UNASKED}
        self._put(replace(after, objects=last.objects + grown))

    def _put(self, known: Known) -> None:
        self._known[known.tree.id] = known
        self._known.move_to_end(known.tree.id)
        while self._objects > self._objects_max:
            self.forget(next(iter(self._known)))

    def forget(self, root_id: str) -> None:
        known = self._known.pop(root_id, None)
        if known is None:
            return
        self._objects -= known.objects
        for one in (root_id, *ids_asked_for(known.tree)):
            self._roots.pop(one, None)

    def lost(self, known: Known) -> None:
        """Somebody else was quicker: from now on the tree is looked at before it is written."""
        last = self._known.get(known.tree.id)
        if last is not None:
            self._known[known.tree.id] = replace(last, looks=LOOKS)


def ids_asked_for(tree: LoadBalancer) -> Iterator[str]:
    """Of the objects below the root that requests for a change name."""
    for table in BELOW:
        if table not in UNASKED:
            yield from (node.id for node, _ in table.each(tree))


_REMEMBERED: Final[WeakKeyDictionary[Database, Remembered]] = WeakKeyDictionary()


def remembered_by(database: Database, *, objects_max: int = OBJECTS_MAX) -> Remembered:
    """What this process knows of that database. `objects_max`: for whoever asks first."""
    found = _REMEMBERED.get(database)
    if found is None:
        found = _REMEMBERED[database] = Remembered(objects_max)
    return found
