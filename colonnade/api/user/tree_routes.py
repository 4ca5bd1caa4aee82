# SPDX-License-Identifier: Apache-2.0
"""The five routes of a noun of the tree, made from its place in that: `domain/shape.py`.

All of them are listed, made, shown, changed and deleted alike. What is special about what is said
of one is in `special.py`; where one is made or deleted in another way, it has a handler of its own.
This module knows no noun.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Handler, Route
from colonnade.api.http.decoding import changed
from colonnade.api.resources import bodies, pages
from colonnade.api.resources.resource import act, resource, wire
from colonnade.api.user.nested import NestedObjects
from colonnade.api.user.special import special
from colonnade.domain.flat import Verb
from colonnade.domain.shape import Noun
from colonnade.domain.walking import child, edited, parent_of, with_child, without_child


class TreeNoun(Struct, frozen=True, kw_only=True):
    """What the shape does not say of a noun: summaries and examples, handlers of its own in the
    place of the common ones, and words of routes (`query`, `guarded`, `answers`)."""

    noun: Noun
    list: Verb
    create: Verb
    show: Verb
    update: Verb
    delete: Verb
    handlers: Mapping[str, Handler] = {}
    more: Mapping[str, Mapping[str, Any]] = {}


class _Tree(Struct, frozen=True):
    """The handlers of one noun."""

    noun: Noun

    async def list(self, call: Call) -> JSON:
        noun = self.noun
        if not noun.nested:
            return await pages.page(call, noun, noun.many)
        parent_id = await self._parent_id(call)
        return await pages.page(call, noun, noun.many, within={noun.parent: parent_id})

    async def show(self, call: Call) -> JSON:
        noun, object_id = self.noun, call.id(self.noun.place)
        parent_id = await self._parent_id(call) if noun.nested else None
        return await pages.one(call, noun, object_id, noun.wrapper, parent_id=parent_id)

    async def create(self, call: Call) -> JSON:
        noun, body = self.noun, call.body(bodies.create(self.noun), self.noun.wrapper)
        above = _above(noun)
        parent_id = call.id(above.place) if noun.nested else str(body.said(above.wire_id))
        node = NestedObjects().read(noun, body)
        if members := special(noun).members(node):
            await call.check_members(above, parent_id, lambda _: members)

        def added(parent: Any) -> Any:
            after = with_child(parent, noun, node)
            special(noun).check(after)
            return after

        async with call.editing(above, parent_id) as edit:
            edit.tree = edited(edit.tree, above, parent_id, added)
        return pages.added(call, edit, noun, node.id, noun.wrapper)

    async def update(self, call: Call) -> JSON:
        noun, body = self.noun, call.body(bodies.change(self.noun), self.noun.wrapper)
        above, object_id = _above(noun), call.id(noun.place)

        def after(parent: Any) -> Any:
            node = child(parent, noun, object_id)
            fields = special(noun).change(changed(body, noun.type), node, body)
            parent = with_child(parent, noun, replace(node, **fields))
            special(noun).check(parent)
            return parent

        async with call.editing(*self._place(call)) as edit:
            edit.tree = edited(edit.tree, above, self._parent_in(edit.tree, call), after)
        return await pages.one(call, noun, object_id, noun.wrapper)

    async def delete(self, call: Call) -> JSON:
        noun, object_id = self.noun, call.id(self.noun.place)
        async with call.editing(*self._place(call)) as edit:
            parent_id = self._parent_in(edit.tree, call)
            edit.tree = edited(
                edit.tree, _above(noun), parent_id, lambda x: without_child(x, noun, object_id)
            )

    async def _parent_id(self, call: Call) -> str:
        """As the path says it. Raises NotFound when there is none, and Forbidden for another's."""
        above = _above(self.noun)
        parent_id = call.id(above.place)
        await call.check(above, parent_id)
        return parent_id

    def _place(self, call: Call) -> tuple[Noun, str]:
        """The object that the path names first."""
        noun = _above(self.noun) if self.noun.nested else self.noun
        return noun, call.id(noun.place)

    def _parent_in(self, tree: Any, call: Call) -> str:
        if self.noun.nested:
            return call.id(_above(self.noun).place)
        return parent_of(tree, self.noun, call.id(self.noun.place)).id


def tree_routes(found: TreeNoun) -> list[Route]:
    noun, own = found.noun, _Tree(found.noun)
    takes = {"create": bodies.create(noun), "update": bodies.change(noun)}
    return resource(
        wire(noun),
        **{
            name: act(
                getattr(found, name),
                found.handlers.get(name) or getattr(own, name),
                f"{name}_{noun.name if name == 'list' else noun.one}",
                takes=takes.get(name),
                **found.more.get(name, {}),
            )
            for name in ("list", "create", "show", "update", "delete")
        },
    )


def _above(noun: Noun) -> Noun:
    assert noun.above is not None, "a root has handlers of its own"
    return noun.above
